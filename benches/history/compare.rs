//! Decides how the hub is compared with SQLite: each filter asked of both, the
//! same questions, and whether both answer the same.

use super::answers;
use super::ask::Asker;
use super::engine::Engine;
use super::filters::Source;
use super::place::Place;
use super::report::{Ratio, Run};
use super::sqlite::Sqlite;
use super::{Options, hubs};

/// Asks both.
pub async fn compare(place: &Place, source: &Source<'_>, options: &Options, out: &mut Run) {
    let hub = hubs::start(place).await;
    let asker = hubs::analyst(&hub).await;
    // Kept as the store is: both are of the same rows.
    let file = place.store().with_file_name("sqlite.db");
    let sqlite = match Sqlite::kept(&file) {
        Some(kept) => kept,
        None => Sqlite::filled(&asker, &file).await,
    };
    println!(
        "  SQLite: {} rows and {} sightings, all that the analyst sees of {}; filled and indexed in {:.0} s, {:.0} MiB",
        sqlite.rows,
        sqlite.sightings,
        source.corpus.rows,
        sqlite.seconds,
        std::fs::metadata(&file).map_or(0.0, |data| data.len() as f64 / 1024.0 / 1024.0)
    );
    let empty = answers::empty(&asker).await;
    for line in options.lines() {
        let warm = line.asks(source, 4, options.questions / 4);
        let asks = line.asks(source, 5, options.questions);
        one(&asker, &sqlite, line.what, &warm, &asks, empty, out).await;
    }
    hubs::end(hub).await;
    // What asks SQLite is in one process with it: so the engine, too.
    let engine = Engine::open(place).await;
    // All that it does after a start is done by the time that it is timed.
    for line in options.lines() {
        engine.pages(&line.asks(source, 4, options.questions / 4)).await;
    }
    for (line, ratio) in options.lines().zip(out.ratios.iter_mut()) {
        let times = engine.pages(&line.asks(source, 5, options.questions)).await;
        ratio.engine = [times.p50(), times.p99()];
    }
    engine.close().await;
    drop(sqlite);
}

async fn one(
    asker: &Asker,
    sqlite: &Sqlite,
    what: &'static str,
    warm: &[super::filters::Ask],
    asks: &[super::filters::Ask],
    empty: f64,
    out: &mut Run,
) {
    let lists = |asks: &[super::filters::Ask]| asks.iter().map(super::filters::Ask::list).collect::<Vec<_>>();
    asker.pages(&lists(warm), None).await;
    let hub = asker.pages(&lists(asks), None).await;
    let _ = sqlite.pages(warm);
    let (times, pages) = sqlite.pages(asks);
    let mut differ = 0;
    for (number, page) in pages.iter().enumerate() {
        let names = hub.names(number);
        if names != *page {
            if differ == 0 {
                println!("    {what}: {} rows, SQLite {}, for {:?}", names.len(), page.len(), asks[number]);
            }
            differ += 1;
        }
    }
    let cells = [hub.times.p50(), hub.times.p99(), times.p50(), times.p99()];
    if hub.times.p50() - empty > times.p50() {
        println!("    {what}: {:.3} ms, SQLite {:.3} ms by {}", cells[0], cells[2], sqlite.plan(&asks[0]));
    }
    out.ratios.push(Ratio { what, cells, engine: [f64::NAN; 2], empty, differ });
}
