//! The query engine against a naive scan: random records, markings, rosters,
//! sightings, questions, orders and sizes of pages; what stands, and what stood
//! at a moment that has passed; while nothing is written, and while much is.

mod aggregating;
mod draw;
mod naive;
mod sighted;
mod then;

use std::collections::BTreeSet;

use luytre::base::clock::Timestamp;
use luytre::model::asset::{Asset, AssetChange};
use luytre::model::query::Question as Asked;
use luytre::wire::proto::v1;
use proptest::prelude::*;
use prost::Message as _;
use uuid::Uuid;

use super::support::{Engine, START, block_on, roster};
use draw::{Ask, KINDS, Op, SECOND};
use naive::{Naive, Question};

/// How many cases are drawn; `LUYTRE_QUERY_CASES` for many more.
fn cases(usual: u32) -> u32 {
    std::env::var("LUYTRE_QUERY_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

async fn hub() -> (Engine, Naive) {
    let mut roster = roster();
    for (organisation, kind) in roster.organisations.values_mut().zip(KINDS) {
        organisation.kind = kind.into();
    }
    let engine = Engine::of(roster, START, |_| ());
    let mut naive = Naive::default();
    naive.apply(&engine, &Op::Regroup { members: 0b0110 }).await;
    for (org, (assets, _)) in draw::OWN.into_iter().enumerate() {
        let add = assets.iter().map(|text| Asset::parse(text).unwrap()).collect();
        let change = AssetChange { add, ..AssetChange::default() };
        engine.hub.change_assets(&engine.caller(org), Uuid::new_v4(), change, None).await.unwrap();
    }
    (engine, naive)
}

/// Walks through the answer of a question, page by page, with what is done
/// between pages; gives what was seen.
async fn walk(
    engine: &Engine,
    naive: &mut Naive,
    ask: &Ask,
    question: &Asked,
    meanwhile: &[Op],
    mut watch: impl FnMut(&Naive),
) -> Vec<u64> {
    let caller = engine.caller(ask.viewer);
    let (mut seen, mut token, mut meanwhile) = (Vec::new(), String::new(), meanwhile.iter());
    for page in 0.. {
        let size = ask.sizes[page % ask.sizes.len()];
        watch(naive);
        let answer = engine.hub.list(&caller, question.clone(), size, &token).await.unwrap();
        assert!(answer.indicators.len() <= size);
        assert_eq!(answer.plan.is_empty(), !question.explain);
        for bytes in answer.indicators {
            let indicator = v1::Indicator::decode(bytes).unwrap();
            naive.check(ask.viewer, &indicator);
            seen.push(indicator.version);
        }
        token = answer.next_page_token;
        if token.is_empty() {
            break;
        }
        if let Some(op) = meanwhile.next() {
            naive.apply(engine, op).await;
        }
    }
    seen
}

/// Asks of one who knows all there was until a moment.
fn question(naive: &Naive, ask: &Ask) -> (Asked, u64) {
    let filter = naive.filter(&ask.filter, ask.except.as_ref());
    // Half a second after something was done, and before the next thing.
    let as_of = ask.as_of.map(|at| naive.times[at.index(naive.times.len())] + SECOND / 2);
    let question = Asked {
        as_of: as_of.map(Timestamp::from_micros_clamped),
        order: ask.order,
        explain: ask.sizes.len() == 1,
        ..Asked::new(filter)
    };
    (question, as_of.unwrap_or(u64::MAX))
}

/// Does this, and asks that; it is to be answered as a naive scan answers it.
async fn compare(ops: &[Op], asks: &[Ask]) -> Result<(), TestCaseError> {
    let (engine, mut naive) = hub().await;
    for op in ops {
        naive.apply(&engine, op).await;
    }
    engine.clock.advance(SECOND);
    for ask in asks {
        let (question, until) = question(&naive, ask);
        let expected = naive.answer(&Question {
            viewer: ask.viewer,
            filter: &question.filter,
            order: ask.order,
            until,
            as_of: ask.as_of.is_some(),
        });
        let seen = walk(&engine, &mut naive, ask, &question, &[], |_| ()).await;
        prop_assert_eq!(seen, expected, "{:?}", question);
    }
    engine.close().await;
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: cases(24), max_shrink_iters: 40, failure_persistence: None, ..ProptestConfig::default()
    })]

    #[test]
    fn every_question_is_answered_as_a_naive_scan_answers_it(
        ops in draw::ops(24), asks in prop::collection::vec(draw::ask(), 12)
    ) {
        block_on(compare(&ops, &asks))?;
    }

    #[test]
    fn what_was_marked_so_is_found_by_it_whoever_sees_such_markings_since(
        ops in draw::remarkings(12), asks in prop::collection::vec(draw::ask_by_marking(), 24)
    ) {
        block_on(compare(&ops, &asks))?;
    }

    #[test]
    fn no_row_comes_twice_and_none_is_missed_while_much_is_written(
        first in draw::ops(20), then in draw::ops(20), ask in draw::ask()
    ) {
        block_on(async {
            let (engine, mut naive) = hub().await;
            for op in &first {
                naive.apply(&engine, op).await;
            }
            engine.clock.advance(SECOND / 2);
            let (question, until) = question(&naive, &ask);
            let until = until.min(engine.hub.now().as_micros());
            // What was hidden when the walk began stays hidden to its end.
            let asked = |naive: &Naive| naive.answer(&Question {
                viewer: ask.viewer, filter: &question.filter, order: ask.order, until, as_of: true,
            });
            // What is hidden meanwhile may come or not.
            let (mut always, mut ever) = (None, BTreeSet::new());
            let seen = walk(&engine, &mut naive, &ask, &question, &then, |naive| {
                let now: BTreeSet<u64> = asked(naive).into_iter().collect();
                ever.extend(now.iter().copied());
                always = Some(always.take().map_or_else(|| now.clone(), |always: BTreeSet<u64>| &always & &now));
            }).await;
            let ordered = naive.ordered(ask.order, ever);
            let mut order = ordered.iter();
            prop_assert!(
                seen.iter().all(|version| order.any(|ever| ever == version)),
                "{:?} once each, as in {:?}", seen, ordered
            );
            let missed: Vec<_> = always.unwrap().into_iter().filter(|version| !seen.contains(version)).collect();
            prop_assert!(missed.is_empty(), "{:?} are missing of {:?}", missed, seen);
            engine.close().await;
            Ok(())
        })?;
    }
}
