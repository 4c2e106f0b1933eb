//! What the engine of questions keeps to when time is short, counters are
//! damaged, or others write meanwhile.

use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use super::sight::Sight;
use super::*;
use crate::base::clock::Timestamp;
use crate::hub::Hub;
use crate::hub::caller::Caller;
use crate::hub::shared::Shared;
use crate::hub::testing::hub;
use crate::model::audience::ClassNo;
use crate::model::indicator::lifecycle::{Revocation, RevocationReason};
use crate::model::indicator::{Draft, State, normalise};
use crate::model::marking::{Marking, Tlp};
use crate::model::position::Position;
use crate::model::query::{Order, Span, ValueMatch};
use crate::model::search::Search;
use crate::policy::visibility::Purpose;
use crate::store::counters::{Counted, Counts};
use crate::store::index::Index;
use crate::store::keys;
use crate::wire::facts::{self, Facts};

fn draft(number: u64) -> Draft {
    let value = normalise::detect(&format!("{number}.example")).unwrap().observable;
    let seen = |hour: u64| Some(Timestamp::from_micros_clamped((1_000 + hour) * 3_600_000_000));
    Draft {
        labels: vec![["c2", "phishing"][usize::from(number.is_multiple_of(3))].to_owned()],
        confidence: u8::try_from(number % 5).ok().filter(|confidence| *confidence > 0),
        first_seen: seen(number % 7).filter(|_| !number.is_multiple_of(7)),
        ..Draft::new(value, Marking::open(Tlp::Green))
    }
}

async fn publish(hub: &Arc<Hub>, caller: &Caller, drafts: Vec<Draft>) -> Position {
    let drafts = drafts.into_iter().map(Ok).collect();
    let answers = hub.publish(caller, Uuid::new_v4(), drafts).await.unwrap();
    assert!(answers.iter().all(Result::is_ok));
    let committed = hub.shared.tail.committed();
    hub.shared.index.reached(committed).await;
    committed
}

/// All that a walk shows, and how many pages that took.
fn walk(
    shared: &Shared,
    caller: &Caller,
    question: &Question,
    origin: Position,
    time: Option<Duration>,
) -> (Vec<Position>, usize) {
    let (mut all, mut past) = (Vec::new(), None);
    let mut page = 0;
    loop {
        page += 1;
        let place = Place { origin, past };
        let mut walk = Walk::as_stood(shared, caller, question, Purpose::Search, place, time).unwrap();
        while let Some(row) = walk.next_row().unwrap() {
            all.push(row.position);
        }
        if walk.cut().is_none() {
            return (all, page);
        }
        assert_ne!(walk.cut(), past, "no page stands still");
        past = walk.cut();
    }
}

#[tokio::test]
async fn a_page_that_runs_out_of_time_is_cut_and_no_row_is_lost() {
    let (_dir, hub, caller) = hub(&["a"]);
    let mut origins = vec![publish(&hub, &caller, (0..120).map(draft).collect()).await];
    let anew = |number| Draft { description: "anew".into(), ..draft(number) };
    for _ in 0..3 {
        publish(&hub, &caller, (0..40).map(|number| anew(number * 2)).collect()).await;
        // Some records have several versions then, and some were changed since.
        origins.push(publish(&hub, &caller, (0..40).map(|number| draft(number * 2)).collect()).await);
    }
    let none = IndicatorFilter::default;
    let hour = |hour: u64| Some(Timestamp::from_micros_clamped((1_000 + hour) * 3_600_000_000));
    let filters = [
        none(),
        IndicatorFilter { labels: vec!["phishing".into()], ..none() },
        IndicatorFilter { confidence: Some((1, 2)), ..none() },
        IndicatorFilter {
            values: vec![ValueMatch::Prefix("1".into())],
            kinds: vec![draft(1).observable.kind()],
            ..none()
        },
        IndicatorFilter { states: vec![State::Revoked], ..none() },
        IndicatorFilter { first_seen: Span { from: hour(2), to: hour(4) }, ..none() },
        IndicatorFilter { text: Some(Search::parse("phish*").unwrap()), ..none() },
    ];
    for (filter, origin) in filters.iter().flat_map(|filter| origins.iter().map(move |&at| (filter, at))) {
        for &order in Order::ALL {
            let question = Question { order, ..Question::new(filter.clone()) };
            let (all, pages) = walk(&hub.shared, &caller, &question, origin, None);
            assert_eq!(pages, 1);
            let (cut, pages) = walk(&hub.shared, &caller, &question, origin, Some(Duration::ZERO));
            assert_eq!(cut, all, "{question:?}");
            assert!(pages > 1 || all.is_empty(), "{question:?}");
        }
    }
    hub.close().await;
}

#[tokio::test]
async fn what_stood_before_many_changes_is_found_without_going_back_over_each() {
    let (_dir, hub, caller) = hub(&["a"]);
    let origin = publish(&hub, &caller, vec![draft(1), draft(2)]).await;
    for number in 0..300 {
        let changed = Draft { description: number.to_string(), ..draft(1) };
        hub.publish(&caller, Uuid::new_v4(), vec![Ok(changed)]).await.unwrap();
    }
    let before = hub.store_calls();
    let question = Question::new(IndicatorFilter::default());
    let (all, _) = walk(&hub.shared, &caller, &question, origin, None);
    assert_eq!(all.len(), 2);
    assert!(hub.store_calls().since(&before).chunks < 40, "{:?}", hub.store_calls().since(&before));
    hub.close().await;
}

#[tokio::test]
async fn a_counter_that_is_damaged_costs_an_estimate_and_no_answer() {
    let (_dir, hub, caller) = hub(&["a"]);
    let origin = publish(&hub, &caller, (0..9).map(draft).collect()).await;
    let mut counts = Counts::default();
    let record =
        Counted { born: Timestamp::EPOCH, class: ClassNo(1), kind: 5, terms: &[keys::label_term("c2")] };
    counts.add(&record, -100);
    hub.shared.store.add_index(&Index { counts, ..Index::default() }, origin).unwrap();
    let filter = IndicatorFilter { labels: vec!["c2".into()], ..IndicatorFilter::default() };
    for &order in Order::ALL {
        let question = Question { order, explain: true, ..Question::new(filter.clone()) };
        let page = hub.list(&caller, question, 100, "").await.unwrap();
        assert_eq!(page.indicators.len(), 6);
        assert_eq!(page.plan[0].expected, None);
    }
    hub.close().await;
}

#[tokio::test]
async fn a_record_of_a_class_that_is_new_while_a_question_is_planned_is_found() {
    let (_dir, hub, caller) = hub(&["a"]);
    let sight = Sight::new(&hub.shared, &caller, Purpose::Search, None);
    publish(&hub, &caller, vec![draft(1)]).await;
    let values = vec![ValueMatch::Exact(draft(1).observable), ValueMatch::Prefix("1.ex".into())];
    for value in values {
        let filter = IndicatorFilter { values: vec![value], ..IndicatorFilter::default() };
        let mut sight = sight.clone();
        let found = value::find(
            &hub.shared,
            &mut sight,
            &filter,
            value::Bounds { indexed: true, origin: Position::ZERO, most: 10, until: None },
        )
        .unwrap();
        assert_eq!(found.map(|(found, _)| found.len()), Some(1), "{filter:?}");
    }
    hub.close().await;
}

#[tokio::test]
async fn files_that_changed_before_it_stand_in_the_way_of_no_question_for_a_hash() {
    let (_dir, hub, caller) = hub(&["a"]);
    let value = |hash: String| normalise::detect(&hash).unwrap().observable;
    let file = |number: u64, md5: u64| Draft {
        aliases: vec![value(format!("{md5:032x}"))],
        ..Draft::new(value(format!("{number:0<64x}")), Marking::open(Tlp::Green))
    };
    let first = publish(&hub, &caller, (16..32).map(|number| file(number, number)).collect()).await;
    let changed = publish(&hub, &caller, (16..32).map(|number| file(number, 100 + number)).collect()).await;
    let found = |values: Vec<ValueMatch>, origin| {
        let filter = IndicatorFilter { values, ..IndicatorFilter::default() };
        let mut sight = Sight::new(&hub.shared, &caller, Purpose::Search, None);
        let bounds = value::Bounds { indexed: true, origin, most: 10, until: None };
        value::find(&hub.shared, &mut sight, &filter, bounds).unwrap().map(|(found, _)| found.len())
    };
    let beginning = |text: &str| vec![ValueMatch::Prefix(text.into())];
    assert_eq!(found(beginning("11000"), changed), Some(1));
    assert_eq!(found(beginning("11000"), first), None, "any of them may have had such a hash then");
    let former = || vec![ValueMatch::Exact(value(format!("{:032x}", 17)))];
    assert_eq!((found(former(), first), found(former(), changed)), (Some(1), Some(0)));
    hub.close().await;
}

#[tokio::test]
async fn what_is_not_indexed_yet_is_found_in_the_log() {
    let (_dir, hub, caller) = hub(&["a"]);
    let drafts = (0..20).map(|number| Ok(draft(number))).collect();
    hub.publish(&caller, Uuid::new_v4(), drafts).await.unwrap();
    let origin = hub.shared.tail.committed();
    // The indexer lets some time go by: it has not got so far.
    let filter = IndicatorFilter { confidence: Some((1, 4)), ..IndicatorFilter::default() };
    let question = Question::new(filter);
    let (all, _) = walk(&hub.shared, &caller, &question, origin, None);
    assert_eq!(all.len(), 16);
    hub.close().await;
}

#[tokio::test]
async fn spans_of_hours_and_of_days_are_found_whole_and_nothing_beside_them() {
    let (_dir, hub, caller) = hub(&["a"]);
    let hour = |hour: u64| Timestamp::from_micros_clamped(hour * 3_600_000_000);
    let of_hour = |number: u64| Draft { first_seen: Some(hour(1_000 + number)), ..draft(number) };
    publish(&hub, &caller, (0..300).map(of_hour).collect()).await;
    let anew = |number| Draft { description: "anew".into(), first_seen: None, ..of_hour(number) };
    let origin = publish(&hub, &caller, (100..110).map(anew).collect()).await;
    // By hours, and by days.
    let spans = [(1_010, 1_075, 65), (1_010, 1_081, 71), (1_008, 1_080, 72), (1_010, 1_290, 270)];
    for ((from, to, found), &order) in
        spans.iter().flat_map(|span| Order::ALL.iter().map(move |order| (*span, order)))
    {
        let first_seen = Span { from: Some(hour(from)), to: Some(hour(to)) };
        let filter = IndicatorFilter { first_seen, ..IndicatorFilter::default() };
        let question = Question { order, ..Question::new(filter) };
        let (all, _) = walk(&hub.shared, &caller, &question, origin, None);
        assert_eq!(all.len(), found, "{from} {to} {order:?}");
        let mut seen = all.clone();
        seen.sort_unstable();
        match order {
            Order::ModifiedOldest | Order::PublishedOldest => assert_eq!(all, seen),
            Order::ModifiedNewest | Order::PublishedNewest => assert!(all.iter().rev().eq(&seen)),
            _ => {}
        }
        let (cut, _) = walk(&hub.shared, &caller, &question, origin, Some(Duration::ZERO));
        assert_eq!(cut, all, "{order:?}");
    }
    hub.close().await;
}

#[tokio::test]
async fn what_counters_do_not_tell_of_is_looked_for() {
    let (_dir, hub, caller) = hub(&["a"]);
    let asked = |states| {
        let labels = vec!["c2".into()];
        Question::new(IndicatorFilter { labels, states, ..IndicatorFilter::default() })
    };
    let rows = |question: &Question, origin| {
        let place = Place { origin, past: None };
        let mut walk = Walk::new(&hub.shared, &caller, question, Purpose::Search, place, None).unwrap();
        std::iter::from_fn(|| walk.next_row().unwrap()).count()
    };
    // The indexer lets some time go by: nothing is counted yet.
    let drafts = (0..9).map(|number| Ok(draft(number))).collect();
    let published = hub.publish(&caller, Uuid::new_v4(), drafts).await.unwrap();
    assert_eq!(rows(&asked(Vec::new()), hub.shared.tail.committed()), 6);
    // What was revoked is counted no longer.
    for published in published {
        let revocation = Revocation { reason: RevocationReason::Withdrawn, note: String::new() };
        hub.revoke(&caller, Uuid::new_v4(), published.unwrap().id, revocation, None).await.unwrap();
    }
    let committed = hub.shared.tail.committed();
    hub.shared.index.reached(committed).await;
    assert_eq!(rows(&asked(vec![State::Revoked]), committed), 6);
    assert_eq!(rows(&asked(Vec::new()), committed), 0);
    hub.close().await;
}

#[tokio::test]
async fn the_newest_of_the_log_is_walked_without_a_read() {
    let (_dir, hub, caller) = hub(&["a"]);
    let origin = publish(&hub, &caller, (0..90).map(draft).collect()).await;
    let question = Question::new(IndicatorFilter::default());
    let before = hub.store_calls();
    let place = Place { origin, past: None };
    let mut walk = Walk::new(&hub.shared, &caller, &question, Purpose::Search, place, None).unwrap();
    let rows = std::iter::from_fn(|| walk.next_row().unwrap()).take(20).count();
    assert_eq!((rows, hub.store_calls().since(&before).chunks), (20, 0));
    drop(walk);
    hub.close().await;
}

#[tokio::test]
async fn a_question_opens_few_lists_of_postings_and_tells_of_those_alone() {
    let (_dir, hub, caller) = hub(&["a"]);
    let hour = |hour: u64| Some(Timestamp::from_micros_clamped((1_000 + hour) * 3_600_000_000));
    let of = |number: u64| {
        let draft = Draft {
            labels: Vec::new(),
            confidence: u8::try_from(number % 101).ok(),
            first_seen: hour(number),
            last_seen: hour(1_000 + number),
            ..draft(number)
        };
        let name = |what: &str| format!("{what}-{}", number % 64);
        let (family, campaign) = (name("family"), name("campaign"));
        if number < 64 { Draft { labels: vec![name("label")], family, campaign, ..draft } } else { draft }
    };
    let origin = publish(&hub, &caller, (0..240).map(of).collect()).await;
    let all = |what: &str| (0..64).map(|number| format!("{what}-{number}")).collect();
    let none = IndicatorFilter::default;
    let spans = IndicatorFilter {
        confidence: Some((0, 100)),
        first_seen: Span { from: hour(20), to: hour(220) },
        last_seen: Span { from: hour(1_030), to: hour(1_230) },
        ..none()
    };
    let named = || IndicatorFilter {
        labels: all("label"),
        families: all("family"),
        campaigns: all("campaign"),
        confidence: Some((0, 100)),
        ..none()
    };
    let lists = "take what the postings of these have in common: campaign, family, label";
    let both = IndicatorFilter { first_seen: spans.first_seen, confidence: None, ..named() };
    let cases = [
        (spans, 190, "take what the postings of these have in common: confidence, first seen, last seen"),
        (named(), 64, lists),
        (both, 44, "take what the postings of these have in common: campaign, family, label, first seen"),
    ];
    for (filter, count, told) in cases {
        let question = Question { explain: true, ..Question::new(filter) };
        let before = hub.store_calls();
        let (rows, _) = walk(&hub.shared, &caller, &question, origin, None);
        let opened = hub.store_calls().since(&before).postings;
        assert_eq!(rows.len(), count, "{question:?}");
        assert!(opened <= 256, "{opened} are opened for {question:?}");
        let place = Place { origin, past: None };
        let walk = Walk::new(&hub.shared, &caller, &question, Purpose::Search, place, None).unwrap();
        assert_eq!(walk.told()[0].text, told);
    }
    hub.close().await;
}

#[tokio::test]
async fn records_that_are_too_many_to_be_read_first_are_met_along_the_order_or_sorted_after_all() {
    let (_dir, hub, caller) = hub(&["a"]);
    let named = |number: u64| {
        // Near each other first, then so far apart that no page is met soon.
        let rare = if number < 100 { number.is_multiple_of(2) } else { number.is_multiple_of(40) };
        let value = format!("{}{number}.example", if rare { "rare" } else { "often" });
        Draft { observable: normalise::detect(&value).unwrap().observable, ..draft(number) }
    };
    for part in 0..10 {
        publish(&hub, &caller, (part * 100..(part + 1) * 100).map(named).collect()).await;
    }
    let anew = |number| Draft { description: "anew".into(), ..named(number) };
    let origin = publish(&hub, &caller, (0..300).step_by(20).map(anew).collect()).await;
    // Changed since: it stands as it stood.
    publish(&hub, &caller, (0..1_000).step_by(120).map(named).collect()).await;
    let rare = |value: &str| IndicatorFilter {
        values: vec![ValueMatch::Prefix(value.into())],
        ..IndicatorFilter::default()
    };
    for &order in Order::ALL {
        let all = Question { order, ..Question::new(IndicatorFilter::default()) };
        let place = Place { origin, past: None };
        let mut naive = Walk::as_stood(&hub.shared, &caller, &all, Purpose::Search, place, None).unwrap();
        let mut expected = Vec::new();
        while let Some(row) = naive.next_row().unwrap() {
            if row.body.windows(4).any(|part| part == b"rare") {
                expected.push(row.position);
            }
        }
        assert_eq!(expected.len(), 50 + 22);
        let question = Question { order, ..Question::new(rare("rare")) };
        for time in [None, Some(Duration::ZERO)] {
            let (found, _) = walk(&hub.shared, &caller, &question, origin, time);
            assert_eq!(found, expected, "{order:?}");
        }
    }
    // The same of those that were born in some span.
    let first = hub.shared.store.chunk_at(hub.shared.tail.committed()).unwrap().unwrap();
    let last = first.view().unwrap().items().flatten().last().unwrap();
    let item = crate::hub::fetch::item(&hub.shared, last.header.handle).unwrap().unwrap();
    let born = facts::numbers(&item.1).unwrap().created;
    for span in [Span { from: Some(born), to: None }, Span { from: None, to: Some(born) }] {
        let filter = IndicatorFilter { published: span, ..IndicatorFilter::default() };
        let holds = |facts: &Facts| {
            span.from.is_none_or(|from| facts.numbers.created >= from)
                && span.to.is_none_or(|to| facts.numbers.created < to)
        };
        assert!(is_found_as_if_each_were_asked(&hub, &caller, filter, holds).await > 8);
    }
    hub.close().await;
}

/// Holds what is found of a filter, in every order and page by page, against
/// all there is, of each of which it is asked; how many are found.
async fn is_found_as_if_each_were_asked(
    hub: &Arc<Hub>,
    caller: &Caller,
    filter: IndicatorFilter,
    holds: impl Fn(&Facts) -> bool,
) -> usize {
    let origin = hub.shared.tail.committed();
    hub.shared.index.reached(origin).await;
    let mut count = 0;
    for &order in Order::ALL {
        let all = Question { order, ..Question::new(IndicatorFilter::default()) };
        let place = Place { origin, past: None };
        let mut naive = Walk::as_stood(&hub.shared, caller, &all, Purpose::Search, place, None).unwrap();
        let mut expected = Vec::new();
        while let Some(row) = naive.next_row().unwrap() {
            if holds(&facts::read(&row.body).unwrap()) {
                expected.push(row.position);
            }
        }
        let question = Question { order, ..Question::new(filter.clone()) };
        for time in [None, Some(Duration::ZERO)] {
            let (found, _) = walk(&hub.shared, caller, &question, origin, time);
            assert_eq!(found, expected, "{question:?}");
        }
        count = expected.len();
    }
    count
}

#[tokio::test]
async fn values_that_are_too_long_for_their_keys_are_found_by_how_they_begin() {
    let (_dir, hub, caller) = hub(&["a"]);
    let long = "x".repeat(80);
    let values = (0..40).flat_map(|number| {
        let host = ["login", "lgin", "w.w", "www"][number % 4];
        [
            format!("https://{host}{number}.example/{long}"),
            format!("http://{host}{number}.example/{long}"),
            format!("ftp://{host}{number}.example/{long}"),
            format!("login.{}.{}.n{number}.example", "a".repeat(50), "b".repeat(50)),
        ]
    });
    let named =
        |value: String| Draft { observable: normalise::detect(&value).unwrap().observable, ..draft(1) };
    publish(&hub, &caller, values.map(named).collect()).await;
    for (prefix, most) in [
        ("h", 80),
        ("https:/", 40),
        ("https://login1", 10),
        ("login", 40),
        ("login.aaa", 40),
        ("ftp://www3", 10),
        ("logi", 40),
        ("gopher://", 0),
        ("x", 0),
    ] {
        let filter =
            IndicatorFilter { values: vec![ValueMatch::Prefix(prefix.into())], ..IndicatorFilter::default() };
        let holds = |facts: &Facts| facts.values.value.to_string().starts_with(prefix);
        let found = is_found_as_if_each_were_asked(&hub, &caller, filter, holds).await;
        assert!(found <= most && (found > 0) == (most > 0), "{prefix}: {found}");
    }
    hub.close().await;
}

#[tokio::test]
async fn what_held_before_it_was_recorded_is_found_at_that_time() {
    let (_dir, hub, caller) = hub(&["a"]);
    let now = i64::try_from(hub.shared.clock.now().as_micros()).unwrap();
    let hours =
        |hours: i64| Timestamp::from_micros_clamped(u64::try_from(now + hours * 3_600_000_000).unwrap());
    let from = |number: u64| match number % 5 {
        0 => None,
        1 => Some(hours(-i64::try_from(number).unwrap())),
        2 => Some(hours(i64::try_from(number).unwrap())),
        3 => Some(hours(-48)),
        _ => Some(hours(0)),
    };
    let said = |number| Draft { valid_from: from(number), ..draft(number) };
    publish(&hub, &caller, (0..100).map(said).collect()).await;
    let later = |number| Draft { valid_from: Some(hours(-60)), ..draft(number) };
    publish(&hub, &caller, (0..100).step_by(7).map(later).collect()).await;
    let mut counts = Vec::new();
    for at in [-200, -61, -59, -48, -24, -1, 0, 30, 400].map(hours) {
        let filter = IndicatorFilter { valid_at: Some(at), ..IndicatorFilter::default() };
        let holds = |facts: &Facts| {
            at >= facts.numbers.valid_from.unwrap_or(facts.numbers.created)
                && facts.numbers.valid_until.is_none_or(|until| at < until)
        };
        counts.push(is_found_as_if_each_were_asked(&hub, &caller, filter, holds).await);
    }
    assert_eq!(counts.first(), Some(&0));
    assert!(counts.is_sorted() && counts.get(2) > counts.get(1), "{counts:?}");
    hub.close().await;
}
