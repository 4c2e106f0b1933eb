//! Decides how it is measured what a newcomer costs who asks for what stands.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use luytre::wire::proto::v1;

use super::items::{Encoded, Items, RECEIVER, amber, green};
use super::load::{publish, spread};
use super::rows::{Readings, WINDOW, end, feed, hub, plan, settle, subscribe_to, target};
use super::{Sizes, process, report, wire};

/// One batch in so many is for the newcomer's eyes.
const VISIBLE: usize = 10;
/// One visible batch in so many is published a second time, with another
/// confidence.
const CHANGED: usize = 20;
/// Items of a request.
const BATCH: usize = 64;
/// Requests that are made and published before the next are made.
const PIECE: usize = 8_000;
/// The kind that the newcomer with a filter asks for.
const KIND: v1::ObservableKind = v1::ObservableKind::Ipv4;

/// P8: CURRENT_STATE to one who may see one batch in ten, all of it and one
/// kind of it.
pub async fn current(items: &mut Items, sizes: &Sizes, out: &mut Readings) {
    let mut hub = hub().await;
    let requests = sizes.state / BATCH;
    let (mut visible, mut wanted) = (0, 0);
    for begin in (0..requests).step_by(PIECE) {
        let mut piece = Vec::new();
        let mut again = Vec::new();
        for number in begin..requests.min(begin + PIECE) {
            let seen = number.is_multiple_of(VISIBLE);
            let marking = |_, _| if seen { green() } else { amber(&["agency"]) };
            let (request, drafts) = items.marked(number, BATCH, &marking);
            piece.push(request);
            if seen {
                visible += BATCH;
                wanted += drafts.iter().filter(|draft| is_wanted(draft)).count();
                if number.is_multiple_of(VISIBLE * CHANGED) {
                    again.push(changed(drafts));
                }
            }
        }
        for requests in [piece, again].into_iter().filter(|requests| requests.len() >= 4) {
            let done = publish(plan(hub.pid(), WINDOW), spread(&feed(&hub), 4, 4, requests).await).await;
            assert_eq!(done.lost, 0, "every item is taken");
        }
    }
    settle(hub.pid()).await;
    // What publishing took of memory would hide what the newcomer takes.
    hub.restart().await;
    settle(hub.pid()).await;
    let mut runs = Vec::new();
    for run in 0..3 {
        let mut one = Readings::new();
        let whole = stand(&hub, None, visible).await;
        if run == 0 {
            out.insert("p8.first", whole.seconds);
            out.insert("p8.first_mib", whole.mib);
        }
        one.insert("p8.seconds", whole.seconds * 1e6 / visible as f64);
        one.insert("p8.cpu", whole.cpu * 1e6 / visible as f64);
        one.insert("p8.mib", whole.mib);
        let filter = v1::IndicatorFilter { kinds: vec![KIND.into()], ..Default::default() };
        let some = stand(&hub, Some(filter), wanted).await;
        one.insert("p8.filter", some.seconds * 1e6 / visible as f64);
        runs.push(one);
    }
    out.extend(report::medians(&runs));
    end(hub).await;
}

fn is_wanted(draft: &v1::IndicatorDraft) -> bool {
    let value = draft.observable.as_ref().and_then(|observable| observable.value.as_ref());
    matches!(value, Some(v1::observable::Value::Ipv4(_)))
}

/// The same assertions, made anew.
fn changed(mut drafts: Vec<v1::IndicatorDraft>) -> Encoded {
    for draft in &mut drafts {
        draft.confidence = Some(draft.confidence.map_or(50, |confidence| confidence ^ 1).min(100));
    }
    super::items::request(uuid::Uuid::from_u128(luytre::base::random::u64().into()), drafts)
}

/// What one newcomer cost.
struct Stood {
    seconds: f64,
    cpu: f64,
    /// Most that the hub grew meanwhile.
    mib: f64,
}

async fn stand(hub: &super::harness::TestHub, filter: Option<v1::IndicatorFilter>, expected: usize) -> Stood {
    let channel = target(hub, RECEIVER, "system/s0").connect().await.unwrap();
    let pid = hub.pid();
    let over = Arc::new(AtomicBool::new(false));
    let resident = process::resident_kib(pid);
    let watch = tokio::task::spawn_blocking({
        let over = Arc::clone(&over);
        move || {
            let mut most = 0;
            while !over.load(Ordering::Relaxed) {
                most = most.max(process::resident_kib(pid));
                std::thread::sleep(Duration::from_millis(10));
            }
            most
        }
    });
    let (started, before) = (Instant::now(), process::cpu(pid));
    let (mut answers, _keep) = subscribe_to(channel, v1::StartPosition::CurrentState, filter).await;
    let mut count = 0;
    while count < expected {
        count += wire::events(&answers.message().await.unwrap().expect("the stream goes on"));
    }
    let seconds = started.elapsed().as_secs_f64();
    let cpu = process::cpu(pid).saturating_sub(before).as_secs_f64();
    over.store(true, Ordering::Relaxed);
    let most = watch.await.unwrap();
    assert_eq!(count, expected, "each that stands is sent once");
    Stood { seconds, cpu, mib: most.saturating_sub(resident) as f64 / 1024.0 }
}
