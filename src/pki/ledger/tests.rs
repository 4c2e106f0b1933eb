//! Decides nothing: what the ledger takes, what it refuses, and what it never
//! forgets.

mod line;

use std::time::Duration;

use proptest::prelude::*;
use rustls::pki_types::CertificateDer;

use super::*;
use crate::model::certificate::Peers;
use crate::model::position::Seq;
use crate::pki::authority::{Generation, Phase};

const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn noon() -> Timestamp {
    Timestamp::from_micros_clamped(1_780_315_200_000_000)
}

fn issuer(name: u8) -> IssuerDigest {
    IssuerDigest::from_bytes([name; 32])
}

fn holder(n: u8) -> SpiffeId {
    SpiffeId::parse(&format!("spiffe://test.example/org/org-{n}/system/feed")).unwrap()
}

fn id(serial: u32) -> CertificateId {
    CertificateId { issuer: issuer(1), serial: format!("{serial:x}") }
}

fn generation(name: u8) -> Generation {
    Generation {
        number: u32::from(name),
        issuer: issuer(name),
        key: [name; 32],
        key_identifier: vec![name],
        name: format!("Client CA G{name}"),
        not_before: noon().saturating_sub(DAY),
        not_after: noon().saturating_add(DAY * 700),
        certificate: CertificateDer::from(vec![name]),
    }
}

fn certificate(serial: u32, of: u8, origin: Origin, issued: Timestamp) -> Certificate {
    let mut key = [0; 32];
    key[..4].copy_from_slice(&serial.to_be_bytes());
    Certificate {
        id: id(serial),
        der: serial.to_be_bytes().to_vec(),
        holder: holder(of),
        key,
        not_before: issued,
        not_after: issued.saturating_add(DAY * 30),
        issued,
        origin,
        first_used: None,
        superseded: None,
        doubtful: false,
        unconfirmed: false,
    }
}

/// A ledger with its authority in use, and who changes it.
struct Book {
    ledger: Ledger,
    now: Timestamp,
    seq: u64,
    /// Whose role is operator.
    operators: BTreeSet<SpiffeId>,
}

impl Book {
    fn new() -> Self {
        let mut ledger = Ledger::default();
        let first = Rotation::begin(Hierarchy::Client, generation(1), noon());
        ledger.rotate(Hierarchy::Client, &Arc::new(first)).unwrap();
        Self { ledger, now: noon(), seq: 0, operators: BTreeSet::new() }
    }

    fn wait(&mut self, span: Duration) {
        self.now = self.now.saturating_add(span);
    }

    fn by(&mut self, author: &str, change: CertificateChange) -> Result<Position, Refusal> {
        self.seq += 1;
        let at = Seq::new(0, self.seq).at(0);
        let entry = CertificateEntry { time: self.now, change };
        let operators = self.operators.clone();
        self.ledger.apply(&entry, Asker { author, at }, &|id| operators.contains(id)).map(|()| at)
    }

    fn change(&mut self, change: CertificateChange) -> Result<Position, Refusal> {
        self.by("", change)
    }

    fn make(&mut self, author: &str, digest: u8, of: u8) -> Position {
        let expires = self.now.saturating_add(DAY);
        let note = String::new();
        self.by(author, CertificateChange::Make { digest: [digest; 32], holder: holder(of), expires, note })
            .unwrap()
    }

    fn ready(&mut self, digest: u8, of: u8) -> Position {
        let at = self.make("somebody", digest, of);
        self.by("another", CertificateChange::Approve(at)).unwrap();
        at
    }

    fn issue(&mut self, serial: u32, of: u8, origin: Origin) -> Result<Position, Refusal> {
        let certificate = certificate(serial, of, origin, self.now);
        self.change(CertificateChange::Issue(Arc::new(certificate)))
    }

    fn enrol(&mut self, serial: u32, of: u8) -> CertificateId {
        let digest = u8::try_from(serial).unwrap();
        self.ready(digest, of);
        self.issue(serial, of, Origin::Token([digest; 32])).unwrap();
        id(serial)
    }

    fn revoke(&mut self, id: &CertificateId) -> Result<Position, Refusal> {
        self.change(CertificateChange::Revoke {
            id: id.clone(),
            reason: "stolen".to_owned(),
            descendants: false,
        })
    }

    fn certificate(&self, id: &CertificateId) -> &Certificate {
        self.ledger.certificates.get(id).unwrap()
    }

    fn is_live(&self, id: &CertificateId) -> bool {
        self.ledger.certificates.get(id).is_some_and(|known| self.ledger.is_live(known, self.now))
    }
}

#[test]
fn a_token_is_used_once_by_its_holder_after_a_second_person_and_before_its_end() {
    let mut book = Book::new();
    let at = book.make("maker", 7, 1);
    let token = Origin::Token([7; 32]);
    assert_eq!(book.issue(1, 1, token.clone()), Err(Refusal::State), "nobody approved it");
    assert_eq!(book.by("maker", CertificateChange::Approve(at)), Err(Refusal::SecondPerson));
    book.by("checker", CertificateChange::Approve(at)).unwrap();
    assert_eq!(book.by("checker", CertificateChange::Approve(at)), Err(Refusal::State), "approved already");
    assert_eq!(book.issue(1, 2, token.clone()), Err(Refusal::State), "it is another's");
    assert_eq!(book.issue(1, 1, Origin::Token([8; 32])), Err(Refusal::Absent));
    book.issue(1, 1, token.clone()).unwrap();
    assert_eq!(book.issue(2, 1, token), Err(Refusal::State), "it was used");
    assert_eq!(book.change(CertificateChange::Cancel(at)), Err(Refusal::State), "it was used");

    let late = book.ready(9, 1);
    book.wait(DAY);
    assert_eq!(book.issue(3, 1, Origin::Token([9; 32])), Err(Refusal::Expired));
    let pending = book.make("maker", 10, 1);
    book.wait(DAY);
    assert_eq!(book.by("checker", CertificateChange::Approve(pending)), Err(Refusal::Expired));
    book.change(CertificateChange::Cancel(late)).unwrap();
    assert_eq!(book.change(CertificateChange::Cancel(late)), Err(Refusal::Absent));
    assert_eq!(book.change(CertificateChange::Approve(late)), Err(Refusal::Absent));
}

#[test]
fn the_machine_approves_its_own_token_only_while_no_operator_holds_a_certificate() {
    let mut book = Book::new();
    let at = book.make("", 1, 1);
    book.change(CertificateChange::Approve(at)).unwrap();
    let operator = book.enrol(2, 2);
    book.operators.insert(holder(2));
    let at = book.make("", 3, 1);
    assert_eq!(book.change(CertificateChange::Approve(at)), Err(Refusal::SecondPerson));
    book.by(holder(2).as_str(), CertificateChange::Approve(at)).unwrap();
    let at = book.make(holder(2).as_str(), 4, 1);
    assert_eq!(book.by(holder(2).as_str(), CertificateChange::Approve(at)), Err(Refusal::SecondPerson));
    book.change(CertificateChange::Approve(at)).unwrap();
    // The last operator's certificate is gone, and so is the second person.
    book.revoke(&operator).unwrap();
    let at = book.make("", 5, 1);
    book.change(CertificateChange::Approve(at)).unwrap();
}

#[test]
fn there_are_only_so_many_tokens_and_those_that_ended_make_room() {
    let mut book = Book::new();
    for _ in 0..MAX_TOKENS {
        book.make("maker", 1, 1);
    }
    let one_more = CertificateChange::Make {
        digest: [2; 32],
        holder: holder(1),
        expires: book.now.saturating_add(DAY * 3),
        note: String::new(),
    };
    assert_eq!(book.change(one_more.clone()), Err(Refusal::TooMany));
    book.wait(DAY + REPEAT);
    book.change(one_more).unwrap();
    assert_eq!(book.ledger.tokens.len(), 1);
}

#[test]
fn an_old_certificate_ends_a_grace_after_the_first_use_of_the_new_one() {
    let mut book = Book::new();
    let old = book.enrol(1, 1);
    book.change(CertificateChange::Use(old.clone())).unwrap();
    assert_eq!(book.change(CertificateChange::Use(old.clone())), Err(Refusal::State), "it is the second");
    book.wait(DAY * 20);
    book.issue(2, 1, Origin::Renewal(old.clone())).unwrap();
    book.wait(DAY);
    assert!(book.is_live(&old), "the new one was never used");
    book.change(CertificateChange::Use(id(2))).unwrap();
    book.wait(GRACE - MINUTE);
    assert!(book.is_live(&old) && book.is_live(&id(2)));
    assert_eq!(book.certificate(&old).state(book.now), State::Grace);
    book.wait(MINUTE);
    assert!(!book.is_live(&old) && book.is_live(&id(2)));
    assert_eq!(book.issue(3, 1, Origin::Renewal(old)), Err(Refusal::State), "it is over");
    assert_eq!(book.change(CertificateChange::Use(id(9))), Err(Refusal::Absent));
}

#[test]
fn a_renewal_is_for_the_same_holder_with_a_new_key_and_not_at_once_again() {
    let mut book = Book::new();
    let old = book.enrol(1, 1);
    book.wait(DAY * 20);
    assert_eq!(book.issue(2, 2, Origin::Renewal(old.clone())), Err(Refusal::State), "it is another's");
    assert_eq!(book.issue(2, 1, Origin::Renewal(id(9))), Err(Refusal::Absent));
    assert_eq!(book.issue(1, 1, Origin::Renewal(old.clone())), Err(Refusal::Reused), "the serial");
    let mut same_key = certificate(2, 1, Origin::Renewal(old.clone()), book.now);
    same_key.key = book.certificate(&old).key;
    assert_eq!(book.change(CertificateChange::Issue(Arc::new(same_key))), Err(Refusal::Reused), "the key");
    book.issue(2, 1, Origin::Renewal(old.clone())).unwrap();
    assert_eq!(book.issue(3, 1, Origin::Renewal(old.clone())), Err(Refusal::Early));
    // The one that was never used has lost its way.
    book.wait(DAY * 4);
    book.issue(3, 1, Origin::Renewal(old.clone())).unwrap();
    assert!(!book.is_live(&id(2)) && book.is_live(&id(3)) && book.is_live(&old));
}

#[test]
fn the_same_request_gets_the_same_answer_for_some_minutes() {
    let mut book = Book::new();
    let one = book.enrol(1, 1);
    let key = book.certificate(&one).key;
    book.wait(REPEAT);
    assert_eq!(book.ledger.repeat(&holder(1), &key, book.now).unwrap().id, one);
    assert!(book.ledger.repeat(&holder(2), &key, book.now).is_none(), "it is another's");
    let mut later = Book { ledger: book.ledger.clone(), ..Book::new() };
    later.wait(REPEAT + MINUTE);
    assert!(later.ledger.repeat(&holder(1), &key, later.now).is_none());
    book.revoke(&one).unwrap();
    assert!(book.ledger.repeat(&holder(1), &key, book.now).is_none(), "it is revoked");
}

#[test]
fn only_the_authority_that_signs_issues_and_what_was_tainted_is_renewed_at_once() {
    let mut book = Book::new();
    let old = book.enrol(1, 1);
    let stands = Rotation::clone(&book.ledger.rotations[&Hierarchy::Client]);
    let draining = Rotation {
        phase: Phase::Draining,
        next: Some(generation(2)),
        version: stands.version + 1,
        ..stands.clone()
    };
    let skipped = Rotation { version: stands.version + 2, ..draining.clone() };
    assert_eq!(book.ledger.rotate(Hierarchy::Client, &Arc::new(skipped)), Err(Refusal::Stale));
    assert_eq!(book.ledger.rotate(Hierarchy::Server, &Arc::new(draining.clone())), Err(Refusal::Stale));
    book.ledger.rotate(Hierarchy::Client, &Arc::new(draining.clone())).unwrap();
    assert_eq!(book.ledger.rotate(Hierarchy::Client, &Arc::new(draining)), Err(Refusal::Stale), "again");

    assert_eq!(
        book.issue(2, 1, Origin::Renewal(old.clone())),
        Err(Refusal::Stale),
        "the old one signs no more"
    );
    let mut new = certificate(2, 1, Origin::Renewal(old.clone()), book.now);
    new.id.issuer = issuer(2);
    assert!(book.ledger.is_tainted(&issuer(1)) && !book.ledger.is_tainted(&issuer(2)));
    book.change(CertificateChange::Issue(Arc::new(new))).unwrap();
    let mut more = certificate(3, 1, Origin::Renewal(old), book.now);
    more.id.issuer = issuer(2);
    assert_eq!(book.change(CertificateChange::Issue(Arc::new(more.clone()))), Err(Refusal::Early));
    book.wait(REPEAT);
    book.change(CertificateChange::Issue(Arc::new(more))).unwrap();
}

#[test]
fn numbers_only_rise_and_what_was_noted_once_is_not_noted_again() {
    let mut book = Book::new();
    book.change(CertificateChange::Draw(issuer(1))).unwrap();
    book.change(CertificateChange::Draw(issuer(1))).unwrap();
    assert_eq!(book.ledger.numbers[&issuer(1)], 2);
    let skip = |number| CertificateChange::Skip { issuer: issuer(1), number };
    assert_eq!(book.change(skip(2)), Err(Refusal::Stale));
    book.change(skip(NUMBER_STEP)).unwrap();
    book.change(CertificateChange::Draw(issuer(1))).unwrap();
    assert_eq!(book.ledger.numbers[&issuer(1)], NUMBER_STEP + 1);

    book.change(CertificateChange::Read(5)).unwrap();
    assert_eq!(book.change(CertificateChange::Read(4)), Err(Refusal::Stale));
    let proof = CertificateChange::Prove { holder: holder(1), issuer: issuer(9) };
    book.change(proof.clone()).unwrap();
    assert_eq!(book.change(proof), Err(Refusal::State));
    let one = book.enrol(1, 1);
    book.revoke(&one).unwrap();
    assert_eq!(book.revoke(&one), Err(Refusal::State));
}

#[test]
fn what_only_the_journal_knows_is_not_live_until_it_is_confirmed() {
    let mut book = Book::new();
    let found =
        |serial| Certificate { unconfirmed: true, ..certificate(serial, 1, Origin::Recovered, noon()) };
    for serial in [1, 2, 3] {
        book.change(CertificateChange::Issue(Arc::new(found(serial)))).unwrap();
    }
    assert!(!book.is_live(&id(1)) && book.ledger.waits(book.certificate(&id(1)), book.now));
    assert_eq!(book.issue(4, 1, Origin::Renewal(id(1))), Err(Refusal::State), "nobody renews it");
    book.revoke(&id(2)).unwrap();
    book.change(CertificateChange::Confirm(vec![id(1), id(2), id(99)])).unwrap();
    assert!(book.is_live(&id(1)) && !book.is_live(&id(2)) && !book.is_live(&id(3)));
    for ids in [vec![id(1), id(2)], vec![id(1)]] {
        assert_eq!(book.change(CertificateChange::Confirm(ids)), Err(Refusal::State));
    }
    assert_eq!(book.change(CertificateChange::Confirm(vec![id(99)])), Err(Refusal::Absent));
    // An operator whose certificate waits is nobody's second person.
    book.operators.insert(holder(1));
    book.revoke(&id(1)).unwrap();
    let at = book.make("", 5, 2);
    book.change(CertificateChange::Approve(at)).unwrap();
    book.wait(DAY * 31);
    assert_eq!(book.change(CertificateChange::Confirm(vec![id(3)])), Err(Refusal::State), "it has ended");
}

#[test]
fn what_a_revoked_certificate_was_renewed_to_and_used_is_named_and_goes_with_it_if_asked() {
    let mut book = Book::new();
    let first = book.enrol(1, 1);
    let other = book.enrol(9, 1);
    // Two are used, the third waits.
    for (serial, before) in [(2, 1), (3, 2), (4, 3)] {
        book.wait(DAY * 20);
        book.issue(serial, 1, Origin::Renewal(id(before))).unwrap();
        if serial < 4 {
            book.change(CertificateChange::Use(id(serial))).unwrap();
        }
    }
    assert_eq!(book.ledger.descendants(&first), [id(2), id(3), id(4)]);
    assert_eq!(book.ledger.descendants(&other), []);
    let mut alone = Book { ledger: book.ledger.clone(), now: book.now, ..Book::new() };
    alone.revoke(&id(3)).unwrap();
    assert!(!alone.is_live(&id(3)) && !alone.is_live(&id(4)), "nobody used the last one");
    let mut alone = Book { ledger: book.ledger.clone(), now: book.now, ..Book::new() };
    alone.revoke(&id(2)).unwrap();
    assert!(alone.is_live(&id(3)) && alone.is_live(&id(4)), "they were used");
    let all = |id: &CertificateId| CertificateChange::Revoke {
        id: id.clone(),
        reason: "stolen".to_owned(),
        descendants: true,
    };
    // Also once it is revoked itself.
    alone.change(all(&id(2))).unwrap();
    assert!(!alone.is_live(&id(3)) && !alone.is_live(&id(4)));
    assert_eq!(alone.change(all(&id(2))), Err(Refusal::State), "there is nothing more to revoke");
    assert!(!alone.ledger.revoked.contains_key(&first) && !alone.ledger.revoked.contains_key(&other));

    // Of what comes from the signer's journal nobody knows.
    let mut found = certificate(7, 1, Origin::Recovered, book.now);
    found.issued = book.now;
    book.change(CertificateChange::Issue(Arc::new(found))).unwrap();
    assert!(book.ledger.descendants(&id(4)).is_empty(), "it is no younger");
    assert!(book.ledger.descendants(&first).contains(&id(7)));
}

#[test]
fn the_last_time_that_a_certificates_connections_were_ended_is_told() {
    let mut book = Book::new();
    let (one, two) = (book.enrol(1, 1), book.enrol(2, 2));
    let told = |book: &Book, id: &CertificateId| {
        let severed = book.ledger.last_severed(book.certificate(id));
        severed.map(|severed| (severed.by.clone(), severed.reason.clone()))
    };
    let sever = |peers, why: &str| CertificateChange::Sever { peers, reason: why.to_owned() };
    assert_eq!(told(&book, &one), None);
    book.by("lan", sever(Peers::Certificate(one.clone()), "floods")).unwrap();
    assert_eq!((told(&book, &one), told(&book, &two)), (Some(("lan".into(), "floods".into())), None));
    book.by("", sever(Peers::Organisation(holder(2).org().clone()), "moves")).unwrap();
    assert_eq!(told(&book, &two), Some((String::new(), "moves".into())));
    for number in 0..MAX_SEVERANCES {
        book.by("minh", sever(Peers::Identity(holder(1)), &number.to_string())).unwrap();
    }
    assert_eq!(told(&book, &one), Some(("minh".into(), (MAX_SEVERANCES - 1).to_string())));
    assert_eq!((told(&book, &two), book.ledger.severances.len()), (None, MAX_SEVERANCES), "only so many");
}

#[test]
fn what_was_proved_of_an_authority_ends_with_it() {
    let mut book = Book::new();
    let first = Rotation::begin(Hierarchy::Server, generation(8), noon());
    book.ledger.rotate(Hierarchy::Server, &Arc::new(first.clone())).unwrap();
    let next = Rotation { phase: Phase::Prepared, next: Some(generation(9)), version: 2, ..first };
    book.ledger.rotate(Hierarchy::Server, &Arc::new(next.clone())).unwrap();
    book.change(CertificateChange::Prove { holder: holder(1), issuer: issuer(9) }).unwrap();
    let back = Rotation { phase: Phase::Rollback, version: 3, ..next.clone() };
    book.ledger.rotate(Hierarchy::Server, &Arc::new(back)).unwrap();
    assert_eq!(book.ledger.proofs.len(), 1);
    let over = Rotation { phase: Phase::Stable, next: None, version: 4, ..next };
    book.ledger.rotate(Hierarchy::Server, &Arc::new(over)).unwrap();
    assert!(book.ledger.proofs.is_empty());
}

/// Something that somebody might ask for.
fn deed() -> impl Strategy<Value = (u8, u8, u8)> {
    (0..8_u8, 0..6_u8, 0..4_u8)
}

proptest! {
    #[test]
    fn a_token_gives_one_certificate_and_what_is_revoked_stays_so(deeds in prop::collection::vec(deed(), 1..120)) {
        let mut book = Book::new();
        let (mut made, mut digests, mut revoked) = (Vec::new(), Vec::new(), BTreeSet::new());
        for (serial, (what, one, two)) in (1_u32..).zip(deeds) {
            let digest = one;
            let known = book.ledger.certificates.keys().nth(usize::from(one)).cloned();
            let before = format!("{:?}", book.ledger);
            let done = match what {
                0 => {
                    made.push(book.make("maker", digest, two));
                    digests.push(digest);
                    Ok(Position::ZERO)
                }
                1 => match made.get(usize::from(one)) {
                    Some(at) => book.by("checker", CertificateChange::Approve(*at)),
                    None => Ok(Position::ZERO),
                },
                2 | 3 => book.issue(serial, two, Origin::Token([digest; 32])),
                4 => book.issue(serial, two, Origin::Renewal(known.unwrap_or_else(|| id(99_999)))),
                5 => book.change(CertificateChange::Use(known.unwrap_or_else(|| id(99_999)))),
                6 => match known {
                    Some(known) => {
                        revoked.insert(known.clone());
                        book.revoke(&known)
                    }
                    None => Ok(Position::ZERO),
                },
                _ => {
                    book.wait(DAY / 3);
                    Ok(Position::ZERO)
                }
            };
            if done.is_err() && what != 0 {
                prop_assert_eq!(before, format!("{:?}", book.ledger), "what is refused changes nothing");
            }
            for token in book.ledger.tokens.values() {
                let of_it = book.ledger.certificates.values().filter(|c| {
                    matches!(&token.state, TokenState::Used(id) if *id == c.id)
                });
                let used = matches!(token.state, TokenState::Used(_));
                prop_assert_eq!(of_it.count(), usize::from(used));
            }
            // Never more certificates than tokens with that digest.
            for digest in 0..6 {
                let of_it = Origin::Token([digest; 32]);
                let issued = book.ledger.certificates.values().filter(|c| c.origin == of_it).count();
                let tokens = digests.iter().filter(|made| **made == digest).count();
                prop_assert!(issued <= tokens, "{} for {} tokens", issued, tokens);
            }
            for id in &revoked {
                prop_assert!(!book.is_live(id), "{} is revoked", id.serial);
            }
        }
    }
}
