//! Indicators are found and counted by their sightings: by those alone that the
//! caller may see, and by whose they are only if he is told that.

use luytre::base::clock::Timestamp;
use luytre::model::aggregate::{Counting, Dimension, Histogram, Per};
use luytre::model::indicator::{Draft, normalise};
use luytre::model::marking::{Caveats, Marking, Tlp};
use luytre::model::query::IndicatorFilter;
use luytre::model::sighting::{Outcome, SightingDraft};
use uuid::Uuid;

use super::support::{Engine, START, slug};

const OWNER: usize = 0;
const REPORTER: usize = 1;
const VIEWER: usize = 3;
const SECOND: u64 = 1_000_000;
const DAY: u64 = 86_400 * SECOND;

async fn publish(engine: &Engine) -> Uuid {
    let value = normalise::detect("evil.example").unwrap().observable;
    let drafts = vec![Ok(Draft::new(value, Marking::open(Tlp::Green)))];
    engine.hub.publish(&engine.caller(OWNER), Uuid::new_v4(), drafts).await.unwrap()[0].as_ref().unwrap().id
}

async fn report(engine: &Engine, indicator: Uuid, outcome: Outcome, marking: Option<Marking>) {
    let sighting = SightingDraft {
        indicator,
        outcome,
        count: 1,
        first_seen: None,
        last_seen: None,
        note: String::new(),
        marking,
    };
    let caller = engine.caller(REPORTER);
    engine.hub.report_sightings(&caller, Uuid::new_v4(), vec![Ok(sighting)]).await.unwrap()[0]
        .as_ref()
        .unwrap();
}

/// How many indicators a question finds for an organisation.
async fn found(engine: &Engine, org: usize, filter: IndicatorFilter) -> usize {
    engine.hub.list(&engine.caller(org), filter, 10, "").await.unwrap().indicators.len()
}

#[tokio::test]
async fn a_question_by_reporters_finds_no_masked_sighting_but_for_whoever_is_told_its_source() {
    let engine = Engine::new();
    let id = publish(&engine).await;
    let masked = Marking { caveats: Caveats::MASKED_SOURCE, ..Marking::open(Tlp::Green) };
    report(&engine, id, Outcome::SeenBlocked, Some(masked)).await;
    let by = || IndicatorFilter { sighted_by: vec![slug(REPORTER)], ..IndicatorFilter::default() };
    let said = || IndicatorFilter { outcomes: vec![Outcome::SeenBlocked], ..IndicatorFilter::default() };
    assert_eq!(found(&engine, VIEWER, said()).await, 1);
    assert_eq!(found(&engine, VIEWER, by()).await, 0);
    assert_eq!(found(&engine, REPORTER, by()).await, 1);
    // One that is open tells.
    report(&engine, id, Outcome::FalsePositive, Some(Marking::open(Tlp::Green))).await;
    assert_eq!(found(&engine, VIEWER, by()).await, 1);
    assert_eq!(found(&engine, VIEWER, IndicatorFilter { outcomes: said().outcomes, ..by() }).await, 0);
    engine.close().await;
}

#[tokio::test]
async fn sightings_are_counted_on_the_day_of_each_and_hidden_ones_on_none() {
    let engine = Engine::new();
    let id = publish(&engine).await;
    let open = || Some(Marking::open(Tlp::Green));
    let mut at = START;
    // The last second of a day, and the first of the next.
    for (until, outcome, marking) in [
        (START + DAY - SECOND, Outcome::SeenBlocked, open()),
        (START + DAY, Outcome::SeenBlocked, open()),
        (START + DAY, Outcome::FalsePositive, open()),
        (START + 2 * DAY, Outcome::SeenBlocked, None),
        (START + 4 * DAY + 5, Outcome::FalsePositive, open()),
        (START + 5 * DAY - SECOND, Outcome::SeenBlocked, open()),
        (START + 6 * DAY, Outcome::SeenBlocked, None),
    ] {
        engine.clock.advance(until - at);
        at = until;
        report(&engine, id, outcome, marking).await;
    }
    let counted = async |org: usize| {
        let from = Some(Timestamp::from_micros(START).unwrap());
        let histogram = Some(Histogram { per: Per::Day, from, to: None, offset: 0 });
        let (filter, by) = (IndicatorFilter::default(), Some(Dimension::Outcome));
        let counting = Counting { filter, by, histogram, rows: 10 };
        let counted = engine.hub.aggregate(&engine.caller(org), counting).await.unwrap();
        let days = |buckets: &[(Timestamp, u64)]| {
            buckets.iter().map(|(day, count)| ((day.as_micros() - START) / DAY, *count)).collect::<Vec<_>>()
        };
        let rows = counted.rows.iter().map(|row| (row.value.clone().unwrap(), days(&row.buckets)));
        (rows.collect::<Vec<_>>(), days(&counted.buckets))
    };
    let blocked = |days: &[(u64, u64)]| ("seen-blocked".to_owned(), days.to_vec());
    let harmless = || ("false-positive".to_owned(), vec![(1, 1), (4, 1)]);
    let seen = counted(VIEWER).await;
    assert_eq!(seen.0, [blocked(&[(0, 1), (1, 1), (4, 1)]), harmless()]);
    assert_eq!(seen.1, [(0, 1), (1, 2), (4, 2)]);
    let all = counted(OWNER).await;
    assert_eq!(all.0, [blocked(&[(0, 1), (1, 1), (2, 1), (4, 1), (6, 1)]), harmless()]);
    engine.close().await;
}

#[tokio::test]
async fn a_record_of_many_sightings_is_found_by_any_of_them_and_as_soon_as_it_is_sighted() {
    let engine = Engine::new();
    let id = publish(&engine).await;
    let outcome = |outcome| IndicatorFilter { outcomes: vec![outcome], ..IndicatorFilter::default() };
    let by = |org| IndicatorFilter { sighted_by: vec![slug(org)], ..IndicatorFilter::default() };
    let mut reported = Vec::new();
    for number in 0..40 {
        // The rarest comes first and lies deepest.
        let said = if number == 0 { Outcome::SeenBlocked } else { Outcome::FalsePositive };
        report(&engine, id, said, Some(Marking::open(Tlp::Green))).await;
        reported.push(said);
        for said in [Outcome::SeenBlocked, Outcome::FalsePositive, Outcome::SearchedNotFound] {
            let expected = usize::from(reported.contains(&said));
            assert_eq!(found(&engine, VIEWER, outcome(said)).await, expected, "{said:?} after {number}");
        }
        assert_eq!(found(&engine, VIEWER, by(REPORTER)).await, 1);
        assert_eq!(found(&engine, VIEWER, by(OWNER)).await, 0);
    }
    // What only some may see is found by them alone, among however many.
    report(&engine, id, Outcome::SearchedNotFound, None).await;
    assert_eq!(found(&engine, OWNER, outcome(Outcome::SearchedNotFound)).await, 1);
    assert_eq!(found(&engine, VIEWER, outcome(Outcome::SearchedNotFound)).await, 0);
    engine.close().await;
}
