//! Decides nothing: what is written of certificates is read back.

use std::time::Duration;

use super::*;
use crate::model::position::Seq;
use crate::pki::issue;
use crate::pki::ledger::Asker;
use crate::store::Tuning;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn noon() -> Timestamp {
    Timestamp::from_micros_clamped(1_780_315_200_000_000)
}

fn system(n: u32) -> SpiffeId {
    SpiffeId::parse(&format!("spiffe://test.example/org/org-{n}/system/feed")).unwrap()
}

fn generation(hierarchy: Hierarchy, number: u32) -> Generation {
    let root = issue::Authority::root(hierarchy, "Owner", noon(), DAY * 3_650).unwrap();
    let made = root.issuing(hierarchy, "Owner", number, noon(), DAY * 700).unwrap();
    Generation::from_der(number, made.certificate().clone()).unwrap()
}

fn certificate(issuer: IssuerDigest, serial: u32, origin: Origin) -> Certificate {
    let mut key = [7; 32];
    key[..4].copy_from_slice(&serial.to_be_bytes());
    Certificate {
        id: CertificateId { issuer, serial: format!("{serial:x}") },
        der: vec![1, 2, 3],
        holder: system(serial % 3),
        key,
        not_before: noon().saturating_sub(DAY),
        not_after: noon().saturating_add(DAY * 30),
        issued: noon(),
        origin,
        first_used: None,
        superseded: None,
        doubtful: serial == 4,
        unconfirmed: serial == 2,
    }
}

/// Everything that happens to a ledger, one after the other.
fn story(current: &Generation, next: &Generation) -> Vec<CertificateChange> {
    let make = |digest: u8| CertificateChange::Make {
        digest: [digest; 32],
        holder: system(1),
        expires: noon().saturating_add(DAY),
        note: "ghi chú".to_owned(),
    };
    let at = |seq: u64| Seq::new(0, seq).at(0);
    let issue =
        |serial, origin| CertificateChange::Issue(Arc::new(certificate(current.issuer, serial, origin)));
    let id = |serial: u32| CertificateId { issuer: current.issuer, serial: format!("{serial:x}") };
    vec![
        make(1),
        make(2),
        make(3),
        CertificateChange::Approve(at(1)),
        CertificateChange::Approve(at(2)),
        CertificateChange::Cancel(at(3)),
        issue(1, Origin::Token([1; 32])),
        issue(2, Origin::Recovered),
        CertificateChange::Confirm(vec![id(2), id(77)]),
        CertificateChange::Use(id(1)),
        issue(4, Origin::Renewal(id(1))),
        CertificateChange::Use(id(4)),
        CertificateChange::Revoke { id: id(2), reason: "mất máy".to_owned(), descendants: false },
        CertificateChange::Revoke { id: id(1), reason: "mất máy".to_owned(), descendants: true },
        CertificateChange::Sever { peers: Peers::Certificate(id(1)), reason: "thử".to_owned() },
        CertificateChange::Sever { peers: Peers::Identity(system(1)), reason: String::new() },
        CertificateChange::Sever {
            peers: Peers::Organisation(system(2).org().clone()),
            reason: String::new(),
        },
        CertificateChange::Draw(current.issuer),
        CertificateChange::Skip { issuer: next.issuer, number: 9 },
        CertificateChange::Prove { holder: system(1), issuer: next.issuer },
        CertificateChange::Prove { holder: system(2), issuer: next.issuer },
        CertificateChange::Read(17),
        CertificateChange::BackUp(noon()),
    ]
}

#[test]
fn whatever_is_written_of_the_ledger_is_read_back() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::create(&dir.path().join("store"), &Tuning::default()).unwrap();
    let [client, client_next] = [1, 2].map(|number| generation(Hierarchy::Client, number));
    let [server, server_next] = [1, 2].map(|number| generation(Hierarchy::Server, number));
    let (mut ledger, mut steps) = (Ledger::default(), Vec::new());
    for (hierarchy, first) in [(Hierarchy::Client, &client), (Hierarchy::Server, &server)] {
        steps.push(Rotation::begin(hierarchy, first.clone(), noon()));
    }
    let begun = steps[1].clone();
    let next = Some(server_next.clone());
    steps.push(Rotation { phase: Phase::Prepared, next, version: 2, ..begun.clone() });
    let save = |before: &Ledger, after: &Ledger| {
        let mut batch = Batch::new(&store);
        batch.ledger(before, after).unwrap();
        store.commit(batch).unwrap();
        assert_eq!(format!("{:?}", store.ledger().unwrap()), format!("{after:?}"));
    };
    for step in steps {
        // In the log as in the store.
        let Some(Stored::Rotate(stored)) = encode_rotation(noon(), &step).change else { panic!("a step") };
        assert_eq!(decode_rotation(&stored).unwrap(), step);
        let before = ledger.clone();
        ledger.rotate(step.hierarchy, &Arc::new(step.clone())).unwrap();
        save(&before, &ledger);
    }
    for (number, change) in story(&client, &server_next).into_iter().enumerate() {
        let entry = CertificateEntry { time: noon(), change };
        assert_eq!(decode_change(&encode_change(&entry)).unwrap(), entry);
        let before = ledger.clone();
        let at = Seq::new(0, number as u64 + 1).at(0);
        // The second one approves what the first one made.
        let author = if number < 3 { "maker" } else { "" };
        ledger.apply(&entry, Asker { author, at }, &|_| false).unwrap();
        save(&before, &ledger);
    }
    // The rotation is over, and with it what was proved.
    let before = ledger.clone();
    let over = Rotation {
        retired: vec![(begun.current.issuer, begun.current.key), (client_next.issuer, client_next.key)],
        version: 3,
        ..begun
    };
    ledger.rotate(Hierarchy::Server, &Arc::new(over)).unwrap();
    assert!(ledger.proofs.is_empty());
    save(&before, &ledger);
    drop(store);
    let store = Store::open_engine(&dir.path().join("store"), &Tuning::default(), false).unwrap();
    assert_eq!(format!("{:?}", store.ledger().unwrap()), format!("{ledger:?}"));
}
