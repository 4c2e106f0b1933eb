//! S8, a state-secret spill, as far as the hub keeps it out. An officer attaches
//! an annex marked "MẬT" to an indicator: it is refused at the gate, field and
//! marking named, and so is what a reader would quote of it; what stands beside
//! it goes out, and nobody ever hears of the rest.
//!
//! Then a spill that nobody marked, up to containment: a reader reports it, the
//! unit that leads holds it, and everybody's machines drop it at once; after a
//! day it stands as before, unless its owner has revoked it. Not here yet: the
//! ledger that names the recipient services, and the purge by two persons.

use luytre::model::principal::Role;
use luytre::wire::proto::v1::{self, EventKind};
use time::macros::date;
use tonic::Code;
use uuid::Uuid;

use super::{ROLES, new, person, system, told, with_systems};
use crate::harness::patience::eventually;
use crate::harness::witness::refusal;
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_spilled_unmarked_is_held_at_once_and_for_a_day_by_the_unit_that_leads() {
    let readers = ["so-y-te", "ca-hanoi", "so-gddt", "so-tc", "so-xd", "so-gtvt", "so-cong-thuong"];
    let builder = with_systems(TestHub::builder(), &readers);
    let builder = builder.principal("so-noi-vu", OFFICER, &ROLES).lead_unit("so-tttt");
    let coordinator = [Role::Coordinator, Role::Subscriber, Role::Analyst];
    let builder = builder.principal("so-tttt", "user/truc-ban", &coordinator);
    let hub = builder.serve_on(date!(2019 - 12 - 10)).await;
    let officer = person(&hub, "so-noi-vu", OFFICER);
    let lead = person(&hub, "so-tttt", "user/truc-ban");
    let readers = readers.map(|slug| system(&hub, slug));
    let spilled = v1::IndicatorDraft { description: SECRET.to_owned(), ..draft("spill.example") };
    let audience =
        ["so-y-te", "ca-hanoi", "so-gddt", "so-tc", "so-xd", "so-gtvt", "so-cong-thuong", "so-tttt"];
    let spilled = officer.publish(amber(spilled, &audience)).await;
    let mut hears = Vec::new();
    for reader in &readers {
        let mut stream = reader.watch_all().await;
        assert_eq!(told(&stream.up_to_indicator(&spilled).await), new(&[&spilled]));
        hears.push(stream);
    }

    // A reader reports it, and the unit that leads holds it.
    let request_id = || Uuid::new_v4().to_string();
    let hold = v1::HoldIndicatorRequest {
        request_id: request_id(),
        name: spilled.clone(),
        reason: "an annex that must not be shared".to_owned(),
    };
    let by_a_reader = readers[0].call::<v1::HoldIndicatorResponse>("HeldService/HoldIndicator", &hold).await;
    assert_eq!(refusal(&by_a_reader.unwrap_err()).1, "ROLE_INSUFFICIENT");
    let held: v1::HoldIndicatorResponse = lead.call("HeldService/HoldIndicator", &hold).await.unwrap();
    assert_eq!(held.hold.unwrap().state(), v1::HoldState::Held);
    for (reader, stream) in readers.iter().zip(&mut hears) {
        assert_eq!(told(&stream.up_to_indicator(&spilled).await), [(EventKind::Withdrawn, spilled.clone())]);
        assert!(reader.get(&spilled).await.is_err() && reader.list().await.is_empty());
        assert!(reader.lookup("spill.example").await.is_empty());
    }
    assert!(lead.get(&spilled).await.is_ok() && officer.get(&spilled).await.is_ok());
    // Who comes now, or again from the beginning, never sees a byte of it.
    let late = system(&hub, "so-xd");
    let mut stream = late.watch_all().await;
    let marker = officer.publish(amber(draft("later.example"), &audience)).await;
    assert!(
        told(&stream.up_to_indicator(&marker).await)
            .iter()
            .all(|(kind, name)| { *name == marker || (*kind == EventKind::Withdrawn && *name == spilled) })
    );
    assert!(!late.was_told(SECRET), "no byte of any answer");
    let mut of_officer = officer.watch_all().await;
    let heard = of_officer.up_to(|event| event.hold.is_some()).await;
    let word = heard.iter().find_map(|event| event.hold.as_ref()).unwrap();
    assert_eq!((word.reason.as_str(), &word.indicator), ("an annex that must not be shared", &spilled));

    // Its owner says nothing else of it; after a day it would stand as before.
    let other = amber(v1::IndicatorDraft { confidence: Some(9), ..draft("spill.example") }, &audience);
    let refused = officer.send(&batch(Uuid::new_v4(), vec![other])).await;
    assert_eq!(refused, [Err((Code::FailedPrecondition, "INDICATOR_HELD".to_owned()))]);
    hub.clock.advance(24 * 3_600 * 1_000_000);
    eventually("the hold is over", async || readers[0].get(&spilled).await.is_ok().then_some(())).await;
    let again = v1::HoldIndicatorRequest { request_id: request_id(), ..hold };
    let again = lead.call::<v1::HoldIndicatorResponse>("HeldService/HoldIndicator", &again).await;
    assert_eq!(refusal(&again.unwrap_err()).1, "INDICATOR_HELD", "a day is a bound");
    // So its owner revokes it.
    let revoke = v1::RevokeIndicatorRequest {
        request_id: request_id(),
        name: spilled.clone(),
        revocation: Some(v1::Revocation { reason: 2, ..v1::Revocation::default() }),
        ..v1::RevokeIndicatorRequest::default()
    };
    officer.call::<v1::RevokeIndicatorResponse>("ExchangeService/RevokeIndicator", &revoke).await.unwrap();
    for stream in &mut hears {
        let heard = stream.up_to(|event| event.kind == i32::from(EventKind::Revoked)).await;
        let of_it: Vec<_> = told(&heard).into_iter().filter(|(_, name)| *name == spilled).collect();
        assert_eq!(of_it, [(EventKind::New, spilled.clone()), (EventKind::Revoked, spilled.clone())]);
    }
    drop((hears, stream, of_officer));
    hub.stop().await;
}
