//! Decides nothing: what becomes of the certificates that one was renewed to,
//! and of the one itself.

use super::*;

/// One that was enrolled, and used, and renewed twenty days later.
fn renewed() -> (Book, CertificateId) {
    let mut book = Book::new();
    let first = book.enrol(1, 1);
    book.change(CertificateChange::Use(first.clone())).unwrap();
    book.wait(DAY * 20);
    book.issue(2, 1, Origin::Renewal(first.clone())).unwrap();
    (book, first)
}

#[test]
fn what_a_revoked_certificate_was_renewed_to_and_nobody_used_is_revoked_with_it() {
    let (mut book, first) = renewed();
    // One that was never used is renewed too, and that in its turn.
    book.wait(DAY * 20);
    let second = certificate(3, 1, Origin::Renewal(id(2)), book.now);
    book.ledger.insert(Arc::new(second));
    let other = book.enrol(9, 2);
    book.revoke(&first).unwrap();
    for gone in [&first, &id(2), &id(3)] {
        assert!(book.ledger.revoked.contains_key(gone), "{}", gone.serial);
        assert!(!book.is_live(gone), "{}", gone.serial);
    }
    assert_eq!(book.ledger.revoked.len(), 3);
    assert!(book.is_live(&other));
    let reason = |id| &book.ledger.revoked.get(id).unwrap().reason;
    assert_eq!(reason(&first), reason(&id(3)));
}

#[test]
fn what_was_used_since_or_came_of_another_token_stays_when_a_certificate_is_revoked() {
    let (mut book, first) = renewed();
    book.change(CertificateChange::Use(id(2))).unwrap();
    let again = book.enrol(4, 1);
    book.revoke(&first).unwrap();
    assert_eq!(book.ledger.revoked.len(), 1);
    assert!(book.is_live(&id(2)) && book.is_live(&again));
}

#[test]
fn one_that_was_revoked_before_keeps_its_own_reason() {
    let (mut book, first) = renewed();
    let reason = "lost on the way".to_owned();
    book.change(CertificateChange::Revoke { id: id(2), reason: reason.clone(), descendants: false }).unwrap();
    book.wait(MINUTE);
    book.revoke(&first).unwrap();
    assert_eq!(book.ledger.revoked.get(&id(2)).unwrap().reason, reason);
}

#[test]
fn one_whose_successor_is_in_use_renews_nothing_even_in_its_grace() {
    let (mut book, first) = renewed();
    // Long enough that no pause between two renewals stands in the way.
    book.wait(DAY * 4);
    let mut unused = Book { ledger: book.ledger.clone(), now: book.now, ..Book::new() };
    unused.issue(3, 1, Origin::Renewal(first.clone())).unwrap();

    book.change(CertificateChange::Use(id(2))).unwrap();
    book.wait(GRACE / 2);
    assert_eq!(book.ledger.certificates.get(&first).unwrap().state(book.now), State::Grace);
    assert!(book.is_live(&first), "it is still taken");
    assert_eq!(book.issue(3, 1, Origin::Renewal(first)), Err(Refusal::State));
}

#[test]
fn a_revoked_certificate_renews_nothing() {
    let mut book = Book::new();
    let first = book.enrol(1, 1);
    book.wait(DAY * 20);
    book.revoke(&first).unwrap();
    assert_eq!(book.issue(2, 1, Origin::Renewal(first)), Err(Refusal::State));
}

#[test]
fn what_the_own_authorities_never_issued_is_not_revoked_and_what_others_issued_is() {
    let mut book = Book::new();
    assert_eq!(book.revoke(&id(77)), Err(Refusal::Absent));
    assert!(book.ledger.revoked.is_empty());
    let foreign = CertificateId { issuer: issuer(99), serial: "4d".to_owned() };
    book.revoke(&foreign).unwrap();
    assert!(book.ledger.revoked.contains_key(&foreign));
}

#[test]
fn a_shorter_journal_is_noted_after_a_restore_alone() {
    let mut book = Book::new();
    book.change(CertificateChange::Read(5)).unwrap();
    let entry = CertificateEntry { time: book.now, change: CertificateChange::Read(2) };
    let mut read = |epoch| {
        let at = Seq::new(epoch, 900).at(0);
        book.ledger.apply(&entry, Asker { author: "", at }, &|_| false)
    };
    assert_eq!(read(0), Err(Refusal::Stale));
    assert_eq!(read(1), Ok(()));
    assert_eq!(book.ledger.read.0, 2);
}
