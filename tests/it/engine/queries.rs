//! Listing, looking up and getting answer as a naive search would.

use luytre::base::clock::Timestamp;
use luytre::hub::error::Reason;
use luytre::model::indicator::{Draft, Observable, State};
use luytre::model::marking::{Marking, Recipients, Tlp};
use luytre::model::query::IndicatorFilter;
use luytre::model::sighting::{Outcome, SightingDraft};
use luytre::wire::proto::v1;
use proptest::prelude::*;
use prost::Message as _;
use uuid::Uuid;

use super::model::{self, Model, Record};
use super::support::{Engine, ORGS, block_on, slug};

const STATES: [State; 3] = [State::Active, State::Revoked, State::Expired];

/// What a walk through `filter` that begins now gives `viewer`: versions and
/// records, newest first.
fn listed(model: &Model, viewer: usize, filter: &IndicatorFilter) -> Vec<(u64, usize)> {
    let states = if filter.states.is_empty() { vec![State::Active] } else { filter.states.clone() };
    let mut out: Vec<_> = (0..model.records.len())
        .filter(|&record| {
            let now = model.now(record);
            model.visible_now(viewer, record)
                && model::matches(filter, now.owner, &now.item)
                && states.contains(&now.state)
                && filter.added_from.is_none_or(|from| now.version >= from.as_micros())
                && filter.added_to.is_none_or(|to| now.version < to.as_micros())
        })
        .map(|record| (model.now(record).version, record))
        .collect();
    out.sort_unstable_by(|a, b| b.cmp(a));
    out
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 16, max_shrink_iters: 60, failure_persistence: None, ..ProptestConfig::default()
    })]

    #[test]
    fn a_walk_lists_what_stood_when_it_began_once_and_newest_first(
        first in model::ops(16), then in model::ops(10), viewer in 0..4_usize, filter in model::filter(),
        states in 0..8_usize, times in any::<[Option<prop::sample::Index>; 2]>(), sizes in prop::collection::vec(1..7_usize, 1..4),
        publishing: bool,
    ) {
        block_on(async {
            let engine = Engine::new();
            let mut model = Model::default();
            for op in &first {
                engine.clock.advance(2);
                model.apply(&engine, op).await;
            }
            let time = |at: &Option<prop::sample::Index>| {
                let at = at.as_ref().filter(|_| !model.events.is_empty())?.index(model.events.len());
                Some(Timestamp::from_micros_clamped(model.events[at].version))
            };
            let filter = IndicatorFilter {
                states: STATES.into_iter().filter(|state| states & (1 << (state.number() - 1)) != 0).collect(),
                added_from: time(&times[0]),
                added_to: time(&times[1]),
                ..filter
            };
            let stood = listed(&model, viewer, &filter);
            let versions = model.clone();
            let mut always = stood.clone();
            let (mut seen, mut token, mut page) = (Vec::new(), String::new(), 0);
            let mut then = then.iter().filter(|_| publishing);
            loop {
                let size = sizes[page % sizes.len()];
                let answer = engine.hub.list(&engine.caller(viewer), filter.clone(), size, &token).await.unwrap();
                prop_assert!(answer.indicators.len() <= size);
                for bytes in answer.indicators {
                    let indicator = v1::Indicator::decode(bytes).unwrap();
                    versions.check_content(&indicator);
                    seen.push(indicator.version);
                }
                if answer.next_page_token.is_empty() {
                    break;
                }
                token = answer.next_page_token;
                page += 1;
                for op in then.by_ref().take(2) {
                    model.apply(&engine, op).await;
                    always.retain(|(_, record)| model.visible_now(viewer, *record));
                }
            }
            prop_assert!(seen.windows(2).all(|pair| pair[0] > pair[1]), "newest first, none twice: {:?}", seen);
            let stood: Vec<_> = stood.into_iter().map(|(version, _)| version).collect();
            let always: Vec<_> = always.into_iter().map(|(version, _)| version).collect();
            prop_assert!(seen.iter().all(|version| stood.contains(version)), "{:?} of {:?}", seen, stood);
            prop_assert!(always.iter().all(|version| seen.contains(version)), "{:?} has all of {:?}", seen, always);
            engine.close().await;
            Ok(())
        })?;
    }

    #[test]
    fn lookup_and_get_tell_what_a_naive_search_tells_and_hide_what_is_hidden(ops in model::ops(24)) {
        block_on(async {
            let engine = Engine::new();
            let mut model = Model::default();
            for op in &ops {
                model.apply(&engine, op).await;
            }
            let mut keys: Vec<Observable> = (0..11).flat_map(model::keys).collect();
            keys.sort();
            keys.dedup();
            for viewer in 0..ORGS.len() {
                let caller = engine.caller(viewer);
                let found = engine.hub.lookup(&caller, keys.clone()).await.unwrap();
                for (key, matches) in keys.iter().zip(found) {
                    let holds = |record: &usize| {
                        let item = &model.now(*record).item;
                        model.visible_now(viewer, *record) && model::keys(item.value).contains(key)
                    };
                    let mut expected: Vec<_> = (0..model.records.len()).filter(holds).collect();
                    expected.sort_by_key(|&record| model.records[record].id);
                    let expected: Vec<_> = expected
                        .into_iter()
                        .map(|r| (model.records[r].id, ORGS[model.records[r].owner], model.now(r).state))
                        .collect();
                    let seen: Vec<_> = matches.iter().map(|m| (m.id, m.owner.as_ref().unwrap().as_str(), m.state)).collect();
                    prop_assert_eq!(seen, expected);
                }
                let absent = engine.hub.get(&caller, Uuid::new_v4()).await.unwrap_err();
                for (record, Record { id, .. }) in model.records.iter().enumerate() {
                    let answer = engine.hub.get(&caller, *id).await;
                    if !model.visible_now(viewer, record) {
                        let hidden = answer.unwrap_err();
                        prop_assert_eq!((hidden.reason, &hidden.public), (Reason::NotFound, &absent.public));
                        prop_assert_eq!(format!("{hidden:?}"), format!("{absent:?}"));
                        continue;
                    }
                    let found = answer.unwrap();
                    let indicator = v1::Indicator::decode(found.indicator).unwrap();
                    prop_assert_eq!(indicator.version, model.now(record).version);
                    model.check_content(&indicator);
                    let reported = model.events.iter().rev().filter(|event| event.record == record);
                    let expected: Vec<_> = reported
                        .filter_map(|event| event.sighting.filter(|(_, by)| *by == viewer || event.owner == viewer))
                        .map(|(sighting, _)| format!("indicators/{}/sightings/{}", id.hyphenated(), sighting.hyphenated()))
                        .collect();
                    let seen: Vec<_> = found.sightings.into_iter().map(|s| v1::Sighting::decode(s).unwrap().name).collect();
                    prop_assert_eq!(seen, expected);
                }
            }
            engine.close().await;
            Ok(())
        })?;
    }
}

#[tokio::test]
async fn a_page_token_is_good_for_its_query_and_organisation_only() {
    let engine = Engine::new();
    let mut model = Model::default();
    let items =
        (0..3).map(|value| model::Item { value, marking: 1, labels: 1, note: 0, reinstate: false }).collect();
    model.apply(&engine, &model::Op::Publish { org: 0, items }).await;
    let all = IndicatorFilter::default();
    let token = engine.hub.list(&engine.caller(1), all.clone(), 1, "").await.unwrap().next_page_token;
    let other = IndicatorFilter { labels: model::labels(1), ..all.clone() };
    let middle = token.len() / 2;
    let turned = if token.as_bytes()[middle] == b'A' { "B" } else { "A" };
    let tampered = [&token[..middle], turned, &token[middle + 1..]].concat();
    for (viewer, filter, token) in
        [(1, &other, &token), (2, &all, &token), (1, &all, &tampered), (1, &all, &"x".to_owned())]
    {
        let error = engine.hub.list(&engine.caller(viewer), filter.clone(), 1, token).await.unwrap_err();
        assert_eq!(error.reason, Reason::PageTokenInvalid);
    }
    assert_eq!(engine.hub.list(&engine.caller(1), all, 1, &token).await.unwrap().indicators.len(), 1);
}

#[tokio::test]
async fn a_page_token_tells_nothing_of_what_is_hidden_behind_the_page() {
    let engine = Engine::new();
    let (hub, filter) = (&engine.hub, IndicatorFilter { labels: vec!["apt-x".into()], ..Default::default() });
    let publish = async |org: usize, name: &str, marking: Marking| {
        let mut draft = Draft::new(Observable::Domain(name.into()), marking);
        draft.labels = vec!["apt-x".into()];
        hub.publish(&engine.caller(org), Uuid::new_v4(), vec![Ok(draft)]).await.unwrap();
    };
    let to = |org: usize| Marking {
        recipients: Recipients { organisations: vec![slug(org)], ..Default::default() },
        ..Marking::open(Tlp::Amber)
    };
    publish(0, "hidden.example", to(2)).await;
    publish(1, "own.example", Marking::open(Tlp::Green)).await;
    let page = hub.list(&engine.caller(1), filter.clone(), 1, "").await.unwrap();
    assert_eq!((page.indicators.len(), page.next_page_token.as_str()), (1, ""));
    let page = hub.list(&engine.caller(2), filter, 1, "").await.unwrap();
    assert!(!page.next_page_token.is_empty(), "whoever may see it is led to it");
}

#[tokio::test]
async fn a_repeated_report_gets_its_first_answer_though_the_indicator_is_hidden_since() {
    let engine = Engine::new();
    let (hub, owner, reporter) = (&engine.hub, engine.caller(0), engine.caller(1));
    let draft = |marking| Ok(Draft::new(Observable::Domain("seen.example".into()), marking));
    let publish = async |marking| {
        hub.publish(&owner, Uuid::new_v4(), vec![draft(marking)]).await.unwrap().remove(0).unwrap().id
    };
    let indicator = publish(Marking::open(Tlp::Green)).await;
    let report = || {
        let outcome = Outcome::SeenBlocked;
        let (first_seen, last_seen, note) = (None, None, String::new());
        vec![Ok(SightingDraft { indicator, outcome, count: 1, first_seen, last_seen, note, marking: None })]
    };
    let request = Uuid::new_v4();
    let first = hub.report_sightings(&reporter, request, report()).await.unwrap();
    assert!(first[0].is_ok());
    let hidden = Marking {
        recipients: Recipients { organisations: vec![slug(2)], ..Default::default() },
        ..Marking::open(Tlp::Amber)
    };
    publish(hidden).await;
    assert_eq!(hub.report_sightings(&reporter, request, report()).await.unwrap(), first);
    let anew = hub.report_sightings(&reporter, Uuid::new_v4(), report()).await.unwrap();
    assert_eq!(anew[0].as_ref().unwrap_err().reason, Reason::NotFound);
}
