//! What points to a masked source though it is not named: neighbours, and what
//! was told of the record while it was open.

use luytre::hub::error::Reason;
use luytre::hub::{Open, Start};
use luytre::model::indicator::{Draft, Observable};
use luytre::model::invalid;
use luytre::model::marking::{Caveats, Marking, Recipients, Tlp};
use luytre::model::principal::SpiffeId;
use luytre::model::sighting::{Outcome, SightingDraft};
use luytre::wire::proto::v1;
use prost::Message as _;
use uuid::Uuid;

use super::support::{Engine, block_on, slug};

const ALPHA: usize = 0;
const BRAVO: usize = 1;
const CHARLIE: usize = 2;
const DELTA: usize = 3;

fn amber(to: &[usize], caveats: Caveats) -> Marking {
    let organisations = to.iter().map(|&org| slug(org)).collect();
    Marking { tlp: Tlp::Amber, recipients: Recipients { organisations, ..Recipients::default() }, caveats }
}

fn draft(value: u8, caveats: Caveats) -> Draft {
    Draft::new(Observable::Ipv4([192, 0, 2, value].into()), amber(&[BRAVO, CHARLIE], caveats))
}

async fn publish(hub: &Engine, org: usize, draft: Draft) -> Uuid {
    let answer = hub.hub.publish(&hub.caller(org), Uuid::new_v4(), vec![Ok(draft)]).await.unwrap();
    answer.into_iter().next().unwrap().unwrap().id
}

fn sighting(indicator: Uuid, marking: Option<Marking>) -> SightingDraft {
    SightingDraft {
        indicator,
        outcome: Outcome::SeenBlocked,
        count: 1,
        first_seen: None,
        last_seen: None,
        note: String::new(),
        marking,
    }
}

#[test]
fn one_request_holds_masked_items_or_open_ones_and_a_mixed_one_stores_nothing() {
    block_on(async {
        let hub = Engine::new();
        let caller = hub.caller(ALPHA);
        let mixed = vec![Ok(draft(1, Caveats::NONE)), Ok(draft(2, Caveats::MASKED_SOURCE))];
        let refused = hub.hub.publish(&caller, Uuid::new_v4(), mixed).await.unwrap_err();
        assert_eq!(refused.reason, Reason::Input(invalid::Reason::SourcesMixed));
        assert_eq!(refused.fields[0].field, "indicators[1].marking.caveats.masked_source");
        assert_eq!(hub.hub.statistics().items, 0);
        for caveats in [Caveats::NONE, Caveats::MASKED_SOURCE] {
            let alike = vec![Ok(draft(3, caveats)), Ok(draft(4, caveats))];
            assert!(hub.hub.publish(&caller, Uuid::new_v4(), alike).await.unwrap().iter().all(Result::is_ok));
        }
        let seen = publish(&hub, BRAVO, draft(5, Caveats::NONE)).await;
        let masked = amber(&[BRAVO], Caveats::MASKED_SOURCE);
        let mixed = vec![Ok(sighting(seen, Some(masked))), Ok(sighting(seen, None))];
        let reporter = hub.caller(CHARLIE);
        let refused = hub.hub.report_sightings(&reporter, Uuid::new_v4(), mixed).await.unwrap_err();
        assert_eq!(refused.reason, Reason::Input(invalid::Reason::SourcesMixed));
    });
}

/// The sightings that `get` shows, and those that a replay tells, by name.
async fn told(hub: &Engine, org: usize, id: Uuid) -> [Vec<v1::Sighting>; 2] {
    let got = hub.hub.get(&hub.caller(org), id).await.unwrap().sightings;
    let mut got: Vec<_> = got.into_iter().map(|bytes| v1::Sighting::decode(bytes).unwrap()).collect();
    let open = Open { start: Some(Start::Earliest), include_sightings: true, ..Open::default() };
    let mut stream = hub.stream(org, open).await.unwrap();
    let batches = stream.drain(100).await;
    stream.leave().await;
    let mut replayed: Vec<_> =
        batches.into_iter().flat_map(|batch| batch.events).filter_map(|event| event.sighting).collect();
    for told in [&mut got, &mut replayed] {
        told.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    }
    [got, replayed]
}

async fn report(hub: &Engine, org: usize, draft: SightingDraft) {
    let answer = hub.hub.report_sightings(&hub.caller(org), Uuid::new_v4(), vec![Ok(draft)]).await.unwrap();
    answer[0].as_ref().unwrap();
}

#[test]
fn a_sighting_from_before_its_indicator_was_masked_names_its_reporter_no_more() {
    block_on(async {
        let mut hub = Engine::new();
        let id = publish(&hub, ALPHA, draft(1, Caveats::NONE)).await;
        // The owner's own, and one of a recipient, for all who see the indicator.
        report(&hub, ALPHA, sighting(id, Some(amber(&[BRAVO, CHARLIE], Caveats::NONE)))).await;
        report(&hub, BRAVO, sighting(id, Some(amber(&[CHARLIE], Caveats::NONE)))).await;
        for told in told(&hub, CHARLIE, id).await {
            assert!(told.len() == 2 && told.iter().all(|sighting| !sighting.reporter.is_empty()));
        }
        assert_eq!(publish(&hub, ALPHA, draft(1, Caveats::MASKED_SOURCE)).await, id);
        for again in [false, true] {
            if again {
                hub = hub.reopen(|_| ()).await;
            }
            for told in told(&hub, CHARLIE, id).await {
                assert_eq!(told.len(), 2);
                for sighting in told {
                    let marking = sighting.marking.unwrap();
                    assert_eq!((sighting.reporter.as_str(), marking.organisations.len()), ("", 0));
                    assert!(marking.caveats.unwrap().masked_source);
                }
            }
            // Whoever reported knows himself, and the owner is told.
            for told in told(&hub, BRAVO, id).await {
                let named: Vec<_> =
                    told.iter().map(|s| s.reporter.as_str()).filter(|r| !r.is_empty()).collect();
                assert_eq!(named, ["organisations/bravo"]);
            }
        }
        // What is reported since says by itself what it tells.
        report(&hub, ALPHA, sighting(id, Some(amber(&[CHARLIE], Caveats::MASKED_SOURCE)))).await;
        let dir = hub.close().await;
        let report = luytre::hub::verify(&dir.path().join("hub"), |_| ()).unwrap();
        assert!(report.is_clean(), "{:?}", report.differences);
    });
}

#[test]
fn one_who_reports_often_pushes_out_nobody_elses_sightings() {
    block_on(async {
        let hub = Engine::new();
        let id = publish(&hub, ALPHA, draft(1, Caveats::NONE)).await;
        let to = || Some(Marking { tlp: Tlp::AmberStrict, ..amber(&[ALPHA, BRAVO, CHARLIE], Caveats::NONE) });
        report(&hub, ALPHA, sighting(id, to())).await;
        report(&hub, CHARLIE, sighting(id, to())).await;
        // Some that others see, and more than are looked at that nobody else does.
        for (requests, marking) in [(1, to()), (11, Some(Marking::open(Tlp::AmberStrict)))] {
            for _ in 0..requests {
                let many = (0..1_000).map(|_| Ok(sighting(id, marking.clone()))).collect();
                let bravo = hub.caller(BRAVO);
                let recorded = hub.hub.report_sightings(&bravo, Uuid::new_v4(), many).await.unwrap();
                assert!(recorded.iter().all(Result::is_ok));
            }
        }
        let before = hub.hub.store_calls();
        for viewer in [ALPHA, BRAVO, CHARLIE] {
            let got = hub.hub.get(&hub.caller(viewer), id).await.unwrap().sightings;
            let reporters: Vec<_> =
                got.iter().map(|bytes| v1::Sighting::decode(bytes.clone()).unwrap().reporter).collect();
            let of = |org: &str| reporters.iter().filter(|reporter| reporter.ends_with(org)).count();
            assert_eq!((of("alpha"), of("bravo"), of("charlie")), (1, 98, 1), "to {viewer}");
        }
        let after = hub.hub.store_calls();
        assert!(after.chunks - before.chunks <= 3 * 101, "{before:?} {after:?}");
    });
}

/// The collisions that `get` shows to the owner, and those that a replay tells.
async fn notices(hub: &Engine, org: usize, id: Uuid) -> [Vec<v1::Collision>; 2] {
    let got = hub.hub.get(&hub.caller(org), id).await.unwrap().collisions;
    let got: Vec<_> = got.into_iter().map(|bytes| v1::Collision::decode(bytes).unwrap()).collect();
    let open = Open { start: Some(Start::Earliest), include_notices: true, ..Open::default() };
    let mut stream = hub.stream(org, open).await.unwrap();
    let batches = stream.drain(100).await;
    stream.leave().await;
    [got, batches.into_iter().flat_map(|batch| batch.events).filter_map(|event| event.collision).collect()]
}

#[test]
fn a_notice_tells_of_the_other_record_only_what_its_reader_may_know_now() {
    block_on(async {
        let hub = Engine::with(|options| options.debt_delay = std::time::Duration::ZERO);
        let held =
            publish(&hub, ALPHA, Draft::new(draft(1, Caveats::NONE).observable, amber(&[], Caveats::NONE)));
        let held = held.await;
        let other = |marking| Draft::new(draft(1, Caveats::NONE).observable, marking);
        let seen = publish(&hub, BRAVO, other(amber(&[ALPHA, CHARLIE], Caveats::NONE))).await;
        let mut live = hub
            .stream(
                ALPHA,
                Open { start: Some(Start::Earliest), credit: 9, include_notices: true, ..Open::default() },
            )
            .await
            .unwrap();
        let first = live.until(7).await.collision.unwrap();
        live.leave().await;
        assert_eq!(first.other_owner, "organisations/bravo");
        let told = async || {
            let [got, replayed] = notices(&hub, ALPHA, held).await;
            assert_eq!(got, replayed, "by either way the same");
            assert_eq!(got.len(), 1);
            (got[0].other.clone(), got[0].other_owner.clone())
        };
        let name = format!("indicators/{seen}");
        assert_eq!(told().await, (name.clone(), "organisations/bravo".to_owned()));
        publish(&hub, BRAVO, other(amber(&[ALPHA, CHARLIE], Caveats::MASKED_SOURCE))).await;
        assert_eq!(told().await, (name, String::new()), "its source was masked");
        publish(&hub, BRAVO, other(amber(&[CHARLIE], Caveats::NONE))).await;
        assert_eq!(told().await, (String::new(), String::new()), "it was narrowed");
        let dir = hub.close().await;
        let report = luytre::hub::verify(&dir.path().join("hub"), |_| ()).unwrap();
        assert!(report.is_clean(), "{:?}", report.differences);
    });
}

#[test]
fn a_sighting_goes_no_further_than_its_indicator_does_by_now() {
    block_on(async {
        let hub = Engine::new();
        let id = publish(&hub, ALPHA, draft(1, Caveats::NONE)).await;
        report(&hub, BRAVO, sighting(id, Some(amber(&[CHARLIE], Caveats::NONE)))).await;
        let replayed = async |org: usize| {
            let open = Open { start: Some(Start::Earliest), include_sightings: true, ..Open::default() };
            let mut stream = hub.stream(org, open).await.unwrap();
            let batches = stream.drain(100).await;
            stream.leave().await;
            batches
                .into_iter()
                .flat_map(|batch| batch.events)
                .filter(|event| event.sighting.is_some())
                .count()
        };
        assert_eq!(replayed(CHARLIE).await, 1);
        let narrow = Draft { marking: amber(&[BRAVO], Caveats::NONE), ..draft(1, Caveats::NONE) };
        publish(&hub, ALPHA, narrow).await;
        assert_eq!((replayed(CHARLIE).await, replayed(BRAVO).await), (0, 1));
    });
}

#[test]
fn a_reporter_does_not_learn_hidden_recipients_by_asking_how_wide_he_may_go() {
    block_on(async {
        let hub = Engine::new();
        let id = publish(&hub, ALPHA, draft(1, Caveats::MASKED_SOURCE)).await;
        let ask = async |org: usize, to: usize| {
            let item = sighting(id, Some(amber(&[to], Caveats::MASKED_SOURCE)));
            let reporter = hub.caller(org);
            let answer = hub.hub.report_sightings(&reporter, Uuid::new_v4(), vec![Ok(item)]);
            answer.await.unwrap().remove(0).map(|_| ())
        };
        let (one, other) = (ask(BRAVO, CHARLIE).await, ask(BRAVO, DELTA).await);
        assert_eq!(one.as_ref().unwrap_err().field, "marking");
        assert_eq!(one, other, "the first reads the indicator, the second does not");
        assert!(ask(ALPHA, CHARLIE).await.is_ok(), "the owner knows whom it named");
        assert!(ask(ALPHA, DELTA).await.is_err());
    });
}

#[test]
fn of_two_new_audiences_in_one_request_only_as_many_are_taken_as_may_be() {
    block_on(async {
        let mut roster = super::support::roster();
        let grant = roster.principals[&super::support::identity(ALPHA)].clone();
        let persons: Vec<_> = (0..13)
            .map(|n| SpiffeId::parse(&format!("spiffe://hub.example/org/alpha/user/p{n:02}")).unwrap())
            .collect();
        roster.principals.extend(persons.iter().map(|id| (id.clone(), grant.clone())));
        let hub = Engine::of(roster, super::support::START, |_| ());
        // Each number stands for the persons whose bits it has.
        let red = |n: usize| {
            let named = persons.iter().enumerate().filter(|(bit, _)| n >> bit & 1 == 1);
            let principals = named.map(|(_, id)| id.clone()).collect();
            Marking {
                tlp: Tlp::Red,
                recipients: Recipients { principals, ..Recipients::default() },
                caveats: Caveats::NONE,
            }
        };
        let publish = async |numbers: std::ops::Range<usize>| {
            let items = numbers
                .map(|n| {
                    let value = std::net::Ipv4Addr::from(0x0a00_0000 + u32::try_from(n).unwrap());
                    Ok(Draft::new(Observable::Ipv4(value), red(n)))
                })
                .collect();
            hub.hub.publish(&hub.caller(ALPHA), Uuid::new_v4(), items).await.unwrap()
        };
        // All but one of those that an owner may have.
        for begin in (1..4_096).step_by(1_000) {
            assert!(publish(begin..(begin + 1_000).min(4_096)).await.iter().all(Result::is_ok));
        }
        let last = publish(4_096..4_098).await;
        assert!(last[0].is_ok());
        assert_eq!(last[1].as_ref().unwrap_err().reason, Reason::RateLimited);
        assert!(publish(4_000..4_002).await.iter().all(Result::is_ok), "a known audience is no further one");
    });
}
