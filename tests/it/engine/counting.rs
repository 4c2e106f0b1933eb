//! What holds is counted, and the counters are those that a
//! look at every record would give.

use std::collections::BTreeMap;
use std::path::Path;

use luytre::base::clock::Timestamp;
use luytre::hub::verify;
use luytre::model::audience::{ClassDefinition, ClassNo};
use luytre::model::indicator::lifecycle::{Revocation, RevocationReason};
use luytre::model::indicator::{Draft, Kind, State, normalise};
use luytre::store::counters::{Counted, Counts, Granularity};
use luytre::store::index::Index;
use luytre::store::keys::{self, Dimension};
use luytre::store::{Store, Tuning};
use luytre::wire::event;
use luytre::wire::proto::v1;
use proptest::prelude::*;
use prost::Message as _;
use uuid::Uuid;

use super::model::{labels, marking};
use super::support::{Engine, block_on, slug};

const DAY: u64 = 86_400_000_000;

#[derive(Debug, Clone)]
enum Op {
    /// By an organisation: values with marking, labels, and days until they
    /// end; 0: they do not. What was revoked is brought back.
    Publish(usize, Vec<(u8, u8, u8, u8)>),
    Revoke(usize),
    Wait(u8),
    Reopen,
}

fn op() -> impl Strategy<Value = Op> {
    let item = (0..9_u8, 0..4_u8, 0..8_u8, 0..5_u8);
    prop_oneof![
        6 => (0..2_usize, prop::collection::vec(item, 1..8)).prop_map(|(org, items)| Op::Publish(org, items)),
        2 => any::<usize>().prop_map(Op::Revoke),
        2 => (1..20_u8).prop_map(Op::Wait),
        1 => Just(Op::Reopen),
    ]
}

/// Values of three kinds; of a file the hash by which it is known may change.
fn draft(engine: &Engine, (value, marked, bits, days): (u8, u8, u8, u8)) -> Draft {
    let (md5, sha256) = ("0a".repeat(16), "0d".repeat(32));
    let (observable, aliases) = match value {
        0 => normalise::file(normalise::Hashes { md5: Some(&md5), ..Default::default() }).unwrap(),
        1 => {
            let both = normalise::Hashes { md5: Some(&md5), sha256: Some(&sha256), ..Default::default() };
            normalise::file(both).unwrap()
        }
        2..5 => (normalise::detect(&format!("n{value}.example")).unwrap().observable, vec![]),
        _ => (normalise::detect(&format!("198.51.100.{value}")).unwrap().observable, vec![]),
    };
    // The last is past its validity as it comes.
    let until = engine.hub.now().as_micros() + u64::from(days % 4) * 3 * DAY;
    Draft {
        aliases,
        labels: labels(bits),
        family: ["", "Họ A"][usize::from(value % 2)].to_owned(),
        techniques: [vec![], vec!["T1566.001".to_owned()]][usize::from(bits % 2)].clone(),
        valid_until: (days > 0).then(|| Timestamp::from_micros_clamped(until)),
        reinstate: Some("it is back".to_owned()),
        ..Draft::new(observable, marking(marked))
    }
}

async fn apply(engine: Engine, op: &Op, all: &mut Vec<(usize, Uuid)>) -> Engine {
    match op {
        Op::Publish(org, items) => {
            let drafts = items.iter().map(|item| Ok(draft(&engine, *item))).collect();
            let answers = engine.hub.publish(&engine.caller(*org), Uuid::new_v4(), drafts).await.unwrap();
            for published in answers.into_iter().flatten() {
                if !all.contains(&(*org, published.id)) {
                    all.push((*org, published.id));
                }
            }
        }
        Op::Revoke(pick) if !all.is_empty() => {
            let (org, id) = all[pick % all.len()];
            let revocation = Revocation { reason: RevocationReason::Withdrawn, note: String::new() };
            engine.hub.revoke(&engine.caller(org), Uuid::new_v4(), id, revocation, None).await.unwrap();
        }
        Op::Revoke(_) => {}
        Op::Wait(days) => {
            engine.clock.advance(u64::from(*days) * DAY);
            while engine.hub.expire().await.unwrap().more {}
        }
        Op::Reopen => return engine.reopen(|_| ()).await,
    }
    engine
}

/// Granularity, dimension, bucket, term, class and, beside labels, kind to how
/// many.
type Counters = BTreeMap<(u8, u8, u32, u64, ClassNo, u8), u64>;

/// The counters as a look at every record gives them.
fn naive(records: &[(usize, v1::Indicator)], classes: &[(ClassNo, ClassDefinition)]) -> Counters {
    let mut counters = Counters::new();
    for (org, indicator) in records {
        if indicator.state != i32::from(State::Active.number()) {
            continue;
        }
        let marking = event::stored_marking(indicator.marking.as_ref().unwrap()).unwrap();
        let class = ClassDefinition { owner: slug(*org), marking };
        let class = classes.iter().find(|(_, known)| *known == class).unwrap().0;
        let born = event::timestamp(indicator.create_time.as_ref().unwrap()).unwrap();
        let kind = event::observables(indicator).unwrap().0.kind().number();
        let role = u8::try_from(indicator.role).unwrap();
        let (family, campaign) = (&indicator.family, &indicator.campaign);
        let labels = keys::terms(&indicator.labels, role, family, campaign, &indicator.attack_techniques);
        let mut carried = vec![(Dimension::Class, 0), (Dimension::Kind, u64::from(kind))];
        carried.extend(labels.iter().map(|&term| (Dimension::Label, term)));
        for granularity in Granularity::ALL {
            for (dimension, term) in &carried {
                let key = (granularity as u8, *dimension as u8, granularity.bucket(born), *term, class, 0);
                *counters.entry(key).or_default() += 1;
            }
        }
        let month = Granularity::Month;
        for term in labels {
            let key = (month as u8, Dimension::LabelKind as u8, month.bucket(born), term, class, kind);
            *counters.entry(key).or_default() += 1;
        }
    }
    counters
}

fn stored(store: &Store) -> Counters {
    let mut counters = Counters::new();
    for granularity in Granularity::ALL {
        for dimension in Dimension::ALL {
            let mut all = store.counts(granularity, dimension, 0..=u32::MAX, &[]).unwrap();
            while let Some(of) = all.next_count().unwrap() {
                let key = (granularity as u8, dimension as u8, of.bucket, of.term, of.class, of.kind);
                assert_eq!(counters.insert(key, of.count), None);
            }
        }
    }
    counters
}

fn open(path: &Path) -> Store {
    Store::open(path, &Tuning::default()).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 24, max_shrink_iters: 60, failure_persistence: None, ..ProptestConfig::default()
    })]

    #[test]
    fn the_counters_are_what_a_look_at_every_record_gives(ops in prop::collection::vec(op(), 1..24)) {
        block_on(async {
            let (mut engine, mut all) = (Engine::new(), Vec::new());
            for op in &ops {
                engine = apply(engine, op, &mut all).await;
            }
            let mut records = Vec::new();
            for (org, id) in all {
                let found = engine.hub.get(&engine.caller(org), id).await.unwrap();
                records.push((org, v1::Indicator::decode(found.indicator).unwrap()));
            }
            let path = engine.path().to_owned();
            let _dir = engine.close().await;
            let report = verify(&path, |_| ()).unwrap();
            prop_assert!(report.is_clean(), "{:?}", report.differences);
            let store = open(&path);
            prop_assert_eq!(stored(&store), naive(&records, &store.directory().unwrap().classes));
            Ok(())
        })?;
    }
}

#[tokio::test]
async fn verify_tells_of_a_counter_that_was_changed() {
    let engine = Engine::new();
    let draft = draft(&engine, (5, 1, 3, 0));
    engine.hub.publish(&engine.caller(0), Uuid::new_v4(), vec![Ok(draft)]).await.unwrap();
    let path = engine.path().to_owned();
    let _dir = engine.close().await;
    assert!(verify(&path, |_| ()).unwrap().is_clean());
    // One that stands, and one that does not.
    let days = |store: &Store| {
        let mut days = store.counts(Granularity::Day, Dimension::Class, 0..=u32::MAX, &[]).unwrap();
        std::iter::from_fn(|| days.next_count().unwrap()).collect::<Vec<_>>()
    };
    let stands = days(&open(&path))[0];
    let change = |day: u32, by| {
        let store = open(&path);
        let mut counts = Counts::default();
        let born = Timestamp::from_micros_clamped(u64::from(day) * DAY);
        let kind = Kind::Ipv4.number();
        counts.add(&Counted { born, class: stands.class, kind, terms: &[] }, by);
        let index = Index { counts, ..Index::default() };
        store.add_index(&index, store.indexed().unwrap()).unwrap();
    };
    for day in [stands.bucket, stands.bucket + 1] {
        change(day, 1);
        let report = verify(&path, |_| ()).unwrap();
        assert_eq!(report.differences, ["the counters are not what the log says"]);
        change(day, -1);
        assert!(verify(&path, |_| ()).unwrap().is_clean(), "one of nothing is as good as none");
    }
    assert_eq!(days(&open(&path)), [stands]);
}
