//! A subscriber gets exactly what a naive filter gives, live, late, resumed.

use luytre::hub::{Open, Start};
use proptest::prelude::*;

use super::model::{self, Model};
use super::support::{Batch, Engine, Event, block_on};

fn open() -> impl Strategy<Value = Open> {
    (model::filter(), any::<bool>()).prop_map(|(filter, include_sightings)| Open {
        filter,
        include_sightings,
        start: Some(Start::Earliest),
        ..Open::default()
    })
}

fn ring() -> impl Strategy<Value = usize> {
    prop_oneof![Just(1), 1_000..20_000_usize, Just(64 << 20)]
}

fn flat(batches: &[Batch]) -> Vec<Event> {
    batches.iter().flat_map(|batch| batch.events.clone()).collect()
}

/// What a replay tells once these were recalled: nothing of them before their
/// end.
fn without_recalled(events: &[Event], recalls: &[Event]) -> Vec<Event> {
    let name = |event: &Event| event.indicator.as_ref().map(|indicator| indicator.name.clone());
    let left_out = |at: usize, event: &Event| {
        name(event).is_some()
            && recalls.iter().any(|recall| {
                name(recall) == name(event)
                    && events[at + 1..].iter().any(|later| later.event_id == recall.event_id)
            })
    };
    let kept = events.iter().enumerate().filter(|&(at, event)| !left_out(at, event));
    kept.map(|(_, event)| event.clone()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 16, max_shrink_iters: 60, failure_persistence: None, ..ProptestConfig::default()
    })]

    #[test]
    fn a_late_subscriber_gets_what_a_naive_filter_gives_and_resumes_at_every_batch(
        ops in model::ops(16),
        asked in prop::collection::vec((0..4_usize, open(), 1..9_u64), 4),
        ring in ring(),
    ) {
        block_on(async {
            let engine = Engine::with(|options| options.ring_bytes = ring);
            let mut model = Model::default();
            for op in &ops {
                model.apply(&engine, op).await;
            }
            for (viewer, open, credit) in asked {
                let expected = model.expected(viewer, &open, 0);
                let mut stream = engine.stream(viewer, open.clone()).await.unwrap();
                let batches = stream.drain(credit).await;
                stream.leave().await;
                let all = flat(&batches);
                model.check(&all, &expected);
                let mut taken = 0;
                for batch in batches {
                    taken += batch.events.len();
                    let resumed = Open { start: Some(Start::Token(batch.token)), credit: 1_000, ..open.clone() };
                    let mut stream = engine.stream(viewer, resumed).await.unwrap();
                    let rest = flat(&stream.drain(1_000).await);
                    let expected = without_recalled(&all[taken..], &stream.recalls);
                    stream.leave().await;
                    prop_assert_eq!(&rest, &expected, "resumed after {} events", taken);
                }
            }
            engine.close().await;
            Ok(())
        })?;
    }

    #[test]
    fn a_live_subscriber_gets_each_change_as_a_naive_filter_tells_it(
        ops in model::ops(16),
        asked in prop::collection::vec((0..4_usize, open(), 1..9_u64), 3),
        ring in ring(),
    ) {
        block_on(async {
            let engine = Engine::with(|options| options.ring_bytes = ring);
            let mut model = Model::default();
            let mut streams = Vec::new();
            for (viewer, open, credit) in asked {
                let stream = engine.stream(viewer, open.clone()).await.unwrap();
                streams.push((viewer, open, credit, stream));
            }
            for op in &ops {
                let from = model.events.len();
                model.apply(&engine, op).await;
                for (viewer, open, credit, stream) in &mut streams {
                    let events = flat(&stream.drain(*credit).await);
                    model.check(&events, &model.expected(*viewer, open, from));
                }
            }
            for (.., stream) in streams {
                stream.leave().await;
            }
            engine.close().await;
        });
    }
}
