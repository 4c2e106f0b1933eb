//! S8, a state-secret spill, as far as the hub keeps it out. An officer attaches
//! an annex marked "MẬT" to an indicator: it is refused at the gate, field and
//! marking named, and so is what a reader would quote of it; what stands beside
//! it goes out, and nobody ever hears of the rest.
//!
//! Not here yet: a spill that nobody marked, which has to be found, hidden and
//! purged by two persons. That belongs to a later part of the hub.

use luytre::wire::proto::v1;
use time::macros::date;
use tonic::Code;
use uuid::Uuid;

use super::{ROLES, new, person, system, told, with_systems};
use crate::harness::{TestHub, amber, batch, draft};

const OFFICER: &str = "user/can-bo";
const ANNEX: &str = "MẬT\nPhụ lục: sơ đồ trạm hamcapquangsovohinh";
const SECRET: &str = "hamcapquangsovohinh";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_marked_annex_is_stopped_at_the_gate_and_nobody_hears_of_it() {
    let builder = with_systems(TestHub::builder(), &["so-y-te", "ca-hanoi"]);
    let hub = builder.principal("so-noi-vu", OFFICER, &ROLES).serve_on(date!(2019 - 12 - 10)).await;
    let officer = person(&hub, "so-noi-vu", OFFICER);
    let readers = ["so-y-te", "ca-hanoi"].map(|slug| system(&hub, slug));
    let mut hears = Vec::new();
    for reader in &readers {
        hears.push(reader.watch_all().await);
    }

    // With the annex, and beside it one without.
    let marked = v1::IndicatorDraft { description: ANNEX.to_owned(), ..draft("spill.example") };
    let clean = v1::IndicatorDraft { description: "trang giả mạo".to_owned(), ..draft("clean.example") };
    let both = [marked, clean].map(|draft| amber(draft, &["so-y-te", "ca-hanoi"]));
    let request = batch(Uuid::new_v4(), both.to_vec());
    let refused = (Code::InvalidArgument, "STATE_SECRET_SUSPECTED".to_owned());
    let first = officer.send(&request).await;
    let published = first[1].clone().unwrap().name;
    assert_eq!(first[0], Err(refused.clone()));
    assert_eq!(officer.send(&request).await, first, "sent again it is not taken either");

    // Who reads the clean one hears of nothing else.
    for stream in &mut hears {
        assert_eq!(told(&stream.up_to_indicator(&published).await), new(&[&published]));
    }
    // A reader who had the annex by another way does not bring it in.
    let quoting = v1::Sighting {
        indicator: published.clone(),
        outcome: v1::SightingOutcome::SeenBlocked.into(),
        note: format!("Độ mật: Mật, {SECRET}"),
        ..v1::Sighting::default()
    };
    assert_eq!(readers[0].sight(quoting).await, Err(refused));

    let last = officer.publish(amber(draft("later.example"), &["so-y-te", "ca-hanoi"])).await;
    for (reader, stream) in readers.iter().zip(&mut hears) {
        assert_eq!(told(&stream.up_to_indicator(&last).await), new(&[&last]));
        assert!(reader.lookup("spill.example").await.is_empty());
        assert_eq!(reader.list().await.len(), 2);
        assert!(reader.get(&published).await.unwrap().sightings.is_empty());
        assert!(!reader.was_told(SECRET), "no byte of any answer");
    }
    assert!(!officer.was_told(SECRET), "nor does the refusal repeat it");
    drop(hears);
    hub.stop().await;
}
