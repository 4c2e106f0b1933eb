//! Decides how it is measured whether the hub slows as it grows: publishing,
//! replay, look-ups, deep pages, and a full export.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use luytre::wire::proto::v1;
use prost::Message as _;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::ask::{Asker, EXPORT, LIST, PAGE, Times};
use super::corpus::Corpus;
use super::filters::Source;
use super::harness::TestHub;
use super::place::{Made, Place};
use super::report::Run;
use super::table::Target;
use super::wire::{self, unary};
use super::{Options, answers, disk, hubs, process};

/// Events of a replay that are counted.
const REPLAYED: usize = 1_000_000;

/// What a store of one size costs.
struct Costs {
    publish: f64,
    replay: f64,
    replay_rate: f64,
    lookup: f64,
}

/// P20: the same on the small store and on the large one.
pub async fn growth(
    small: (&Place, &Corpus, Made),
    large: (&Place, &Corpus, Made),
    options: &Options,
    out: &mut Run,
) {
    let [before, after] = [costs(small, options).await, costs(large, options).await];
    let rows = |corpus: &Corpus| corpus.rows;
    println!("  P20 beside a store of {} indicators", rows(small.1));
    let mut both = |what: &str, unit, target: f64, before: f64, after: f64| {
        out.figure("P20", format!("{what}, small store"), unit, Target::None, before);
        out.figure("P20", format!("{what}, large store"), unit, Target::None, after);
        out.figure("P20", format!("{what}: large to small"), "×", Target::AtMost(target), after / before);
    };
    both("publish and index, CPU seconds per million", "s", 1.5, before.publish, after.publish);
    both("replay, CPU seconds per million", "s", 1.25, before.replay, after.replay);
    both("look-up, p50 of one", "ms", 1.25, before.lookup, after.lookup);
    out.figure("P20", "replay, events, small store", "/s", Target::None, before.replay_rate);
    out.figure("P20", "replay, events, large store", "/s", Target::None, after.replay_rate);
}

async fn costs((place, corpus, made): (&Place, &Corpus, Made), options: &Options) -> Costs {
    let publish = disk::publishing(place, corpus).await;
    let hub = hubs::start(place).await;
    let asker = hubs::analyst(&hub).await;
    let source = Source { corpus, made };
    let mut times = Times::default();
    for pass in 0..2 {
        times = Times::default();
        let mut dice = corpus.dice(0x70, pass);
        for _ in 0..options.questions {
            let value = corpus.value(source.number(&mut dice)).1;
            times.add(answers::look_up(&asker, value).await.0);
        }
    }
    let (replay, replay_rate) = replay(&asker, hub.pid()).await;
    hubs::end(hub).await;
    Costs { publish, replay, replay_rate, lookup: times.p50() }
}

/// CPU seconds per million events, and events a second, from the beginning;
/// again and again until the system's hundredths of a second say enough.
async fn replay(asker: &Asker, pid: u32) -> (f64, f64) {
    // The first one warms.
    one_replay(asker).await;
    let before = process::cpu(pid);
    let (mut count, mut seconds) = (0, 0.0);
    for round in 0..40 {
        let one = one_replay(asker).await;
        count += one.0;
        seconds += one.1;
        if round >= 2 && process::cpu(pid).saturating_sub(before) > Duration::from_millis(1_500) {
            break;
        }
    }
    let spent = process::cpu(pid).saturating_sub(before).as_secs_f64();
    (spent / (count.max(1) as f64 / 1e6), count as f64 / seconds)
}

/// Events that came, and the seconds until the last.
async fn one_replay(asker: &Asker) -> (usize, f64) {
    let open = v1::Open {
        start: Some(v1::open::Start::Position(v1::StartPosition::Earliest.into())),
        initial_credit: 1_000_000_000,
        ..Default::default()
    };
    let message = Some(v1::subscribe_request::Message::Open(open));
    let (send, receive) = mpsc::channel(4);
    let request = v1::SubscribeRequest { message }.encode_to_vec();
    send.send(request.into()).await.expect("the stream is open");
    let channel = asker.target.connect().await.expect("the hub takes a connection");
    let started = Instant::now();
    let requests = ReceiverStream::new(receive);
    let mut answers = wire::open(channel, wire::SUBSCRIBE, &[], requests).await.expect("the call is taken");
    let (mut count, mut last) = (0, 0.0);
    // Quiet for this long: there is no more.
    let wait = Duration::from_millis(500);
    while count < REPLAYED {
        let Ok(message) = tokio::time::timeout(wait, answers.message()).await else { break };
        let message = message.expect("the stream goes on").expect("the stream goes on");
        count += wire::events(&message);
        last = started.elapsed().as_secs_f64();
    }
    (count, last)
}

/// A page's cost at its beginning and deep in a walk, for three lists.
pub async fn depth(asker: &Asker, source: &Source<'_>, options: &Options, out: &mut Run) {
    use v1::IndicatorOrder as Order;
    let label = source.corpus.words.labels[0].clone();
    let labelled = v1::IndicatorFilter { labels: vec![label], ..Default::default() };
    for (what, filter, order) in [
        ("all", v1::IndicatorFilter::default(), Order::ModifiedNewest),
        ("all, by confidence", v1::IndicatorFilter::default(), Order::ConfidenceHighest),
        ("of one label", labelled, Order::ModifiedNewest),
    ] {
        let list =
            v1::ListIndicatorsRequest { filter: Some(filter), order: order.into(), ..Default::default() };
        let size = |request: &v1::ListIndicatorsRequest, page_size| v1::ListIndicatorsRequest {
            page_size,
            ..request.clone()
        };
        let (mut at, mut rows) = (list.clone(), 0);
        let first = some_pages(asker, &size(&at, PAGE as i32)).await;
        while rows < options.depth {
            let Ok(page) = asker.page(&size(&at, 1_000)).await else { break };
            if page.next_page_token.is_empty() {
                break;
            }
            rows += page.indicators.len();
            at.page_token = page.next_page_token;
        }
        let deep = some_pages(asker, &size(&at, PAGE as i32)).await;
        out.figure("P20", format!("page of 100, {what}, the first, p50"), "ms", Target::None, first.p50());
        out.figure(
            "P20",
            format!("page of 100, {what}, {rows} rows deep, p50"),
            "ms",
            Target::None,
            deep.p50(),
        );
        out.figure(
            "P20",
            format!("page of 100, {what}: deep to first"),
            "×",
            Target::AtMost(1.5),
            deep.p50() / first.p50(),
        );
    }
}

/// One page, again and again: where it begins is what matters.
async fn some_pages(asker: &Asker, request: &v1::ListIndicatorsRequest) -> Times {
    let request: bytes::Bytes = request.encode_to_vec().into();
    let mut times = Times::default();
    for round in 0..60 {
        let started = Instant::now();
        let answer = unary(&asker.channel, LIST, request.clone()).await;
        if round >= 10 && answer.is_ok() {
            times.add(started.elapsed());
        }
    }
    times
}

/// The peak of the hub's memory while everything is exported.
pub async fn export(hub: &mut TestHub, out: &mut Run) {
    hubs::restart(hub, hubs::CACHE).await;
    let asker = hubs::analyst(hub).await;
    let pid = hub.pid();
    let resident = process::resident_kib(pid);
    let over = Arc::new(AtomicBool::new(false));
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
    let request =
        v1::ExportIndicatorsRequest { format: v1::ExportFormat::JsonLines.into(), ..Default::default() };
    let started = Instant::now();
    let requests = tokio_stream::once(request.encode_to_vec().into());
    let mut answers = wire::open(asker.channel, EXPORT, &[], requests).await.expect("the call is taken");
    let (mut bytes, mut rows) = (0, 0);
    while let Some(part) = answers.message().await.expect("the export goes on") {
        let part = v1::ExportIndicatorsResponse::decode(part).expect("a part");
        match part.part {
            Some(v1::export_indicators_response::Part::Chunk(chunk)) => bytes += chunk.len(),
            Some(v1::export_indicators_response::Part::Closing(closing)) => rows = closing.rows,
            _ => {}
        }
    }
    let seconds = started.elapsed().as_secs_f64();
    over.store(true, Ordering::Relaxed);
    let most = watch.await.expect("memory can be read");
    let grown = most.saturating_sub(resident) as f64 / 1024.0;
    let most_allowed = disk::CACHE_MIB + 64.0;
    out.figure(
        "EXPORT",
        "everything: the hub's memory at most beyond a start",
        "MiB",
        Target::AtMost(most_allowed),
        grown,
    );
    out.figure("EXPORT", "  indicators", "", Target::None, rows as f64);
    out.figure("EXPORT", "  indicators a second", "/s", Target::None, rows as f64 / seconds);
    out.figure("EXPORT", "  content", "MiB", Target::None, bytes as f64 / 1024.0 / 1024.0);
}
