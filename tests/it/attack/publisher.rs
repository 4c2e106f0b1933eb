//! The malicious publisher: a member who may publish, and floods the hub, sends
//! what no honest client would, or writes over what others said.

use std::time::Duration;

use luytre::wire::proto::v1;
use tonic::Code;
use tonic_types::StatusExt as _;
use uuid::Uuid;

use super::{READER, publish, reason, serves};
use crate::harness::patience::patiently;
use crate::harness::{TestHub, Witness, batch, draft, eventually, text_value};

async fn start(limits: &str) -> TestHub {
    TestHub::builder()
        .principal("a", "system/feed", &READER)
        .principal("b", "system/feed", &READER)
        .principal("b", "system/soc", &READER)
        .config(limits)
        .start()
        .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_items_is_refused_with_when_to_come_again_and_nobody_else_is() {
    let hub = start("[limits]\nitems_per_second = 10").await;
    let flood = hub.peer("b", "system/feed");
    // Ten seconds' worth at once, and then a debt that cannot be paid in time.
    publish(&flood, (0..100).map(|n| format!("f{n}.example"))).await.unwrap();
    let refused = publish(&flood, (0..100).map(|n| format!("g{n}.example"))).await.unwrap_err();
    assert_eq!(reason(&refused), (Code::ResourceExhausted, "RATE_LIMITED".to_owned()));
    let after = refused.get_details_retry_info().unwrap().retry_delay.unwrap();
    assert!(after > Duration::ZERO && after <= Duration::from_secs(10), "{after:?}");
    let quota = refused.get_details_quota_failure().unwrap().violations;
    assert_eq!(quota[0].subject, "organisations/b");
    assert_eq!(quota[0].description, "items_per_second: 10");
    // By whatever door, and whichever of its systems.
    let colleague = hub.peer("b", "system/soc");
    let own = v1::ChangeAssetsRequest {
        request_id: Uuid::new_v4().to_string(),
        add: (1..1_000).map(|number| format!("AS{number}")).collect(),
        ..Default::default()
    };
    let change = Witness::new(&colleague);
    let refused = change.call::<v1::ChangeAssetsResponse>("AssetService/ChangeAssets", &own).await;
    assert_eq!(reason(&refused.unwrap_err()), (Code::ResourceExhausted, "RATE_LIMITED".to_owned()));
    let more = batch(Uuid::new_v4(), (0..1_000).map(|n| draft(&format!("h{n}.example"))).collect());
    let mut answers = colleague
        .exchange()
        .publish_stream(tokio_stream::iter([more.clone(), more]))
        .await
        .unwrap()
        .into_inner();
    let ended = patiently("a refusal", async {
        loop {
            if let Err(status) = answers.message().await {
                return status;
            }
        }
    })
    .await;
    assert_eq!(reason(&ended).1, "RATE_LIMITED");
    serves(&hub, "a").await;
    let (_, page) = hub.get("/metrics").await;
    let met = "luytre_limit_refusals_total{organisation=\"b\",limit=\"items_per_second\"}";
    assert!(page.contains(met) && !page.contains("refusals_total{organisation=\"a\""), "{page}");
    let me = colleague.directory().who_am_i(v1::WhoAmIRequest {}).await.unwrap().into_inner();
    let told = |own| me.allowances.iter().find(|it| it.limit == "items_per_second" && it.own == own).unwrap();
    assert_eq!((told(false).most, told(true).most), (10, 10));
    assert!(told(false).left.unwrap() < 100, "{me:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_of_bytes_lookups_and_streams_is_refused_as_well() {
    let limits = "[limits]\nlookups_per_second = 10\nstreams_per_organisation = 3\n[limits.organisations.a]\nbytes_per_second = \"1KiB\"";
    let hub = start(limits).await;
    let flood = hub.peer("b", "system/feed");
    let asked = v1::LookupObservablesRequest {
        observables: (0..1_000).map(|n| text_value(&format!("n{n}.example"))).collect(),
        ..Default::default()
    };
    let mut answers = flood
        .exchange()
        .lookup_observables(tokio_stream::iter([asked.clone(), asked]))
        .await
        .unwrap()
        .into_inner();
    assert_eq!(answers.message().await.unwrap().unwrap().results.len(), 1_000, "the first passes alone");
    assert_eq!(reason(&answers.message().await.unwrap_err()).1, "RATE_LIMITED");

    let mut open = Vec::new();
    let refused = loop {
        match flood.exchange().publish_stream(tokio_stream::pending()).await {
            Ok(stream) => open.push(stream),
            Err(refused) => break refused,
        }
        assert!(open.len() <= 3);
    };
    assert_eq!((open.len(), reason(&refused).1.as_str()), (3, "RATE_LIMITED"));
    assert_eq!(
        refused.get_details_quota_failure().unwrap().violations[0].description,
        "streams_per_organisation: 3"
    );

    // Its own exception holds for `a`: by the byte, whatever it calls.
    let other = hub.peer("a", "system/feed");
    let large = v1::IndicatorDraft { description: "d".repeat(4_000), ..draft("large.example") };
    let many: Vec<_> = (0..20).map(|_| large.clone()).collect();
    other.exchange().publish_indicators(batch(Uuid::new_v4(), many)).await.unwrap();
    let refused = other.directory().who_am_i(v1::WhoAmIRequest {}).await.unwrap_err();
    assert_eq!(reason(&refused).1, "RATE_LIMITED");
    publish(&flood, std::iter::once("still-well.example".to_owned())).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn oversized_and_pathological_items_are_refused_each_for_itself() {
    let hub = start("").await;
    let attacker = Witness::new(&hub.peer("b", "system/feed"));
    let tlp = |number| Some(v1::Marking { tlp: number, ..Default::default() });
    let bad = [
        v1::IndicatorDraft { marking: tlp(99), ..draft("unknown-label.example") },
        v1::IndicatorDraft { marking: None, ..draft("no-label.example") },
        v1::IndicatorDraft { description: "d".repeat(300_000), ..draft("long.example") },
        v1::IndicatorDraft { labels: vec!["l".repeat(10_000)], ..draft("label.example") },
        v1::IndicatorDraft { labels: (0..100).map(|n| format!("l{n}")).collect(), ..draft("labels.example") },
        draft(&"a.".repeat(2_000)),
        v1::IndicatorDraft { observable: None, ..draft("x.example") },
    ];
    let count = bad.len();
    let drafts = bad.into_iter().chain([draft("good.example")]).collect();
    let verdicts = attacker.send(&batch(Uuid::new_v4(), drafts)).await;
    for (number, verdict) in verdicts.iter().enumerate() {
        assert_eq!(verdict.is_ok(), number == count, "{number}: {verdict:?}");
    }
    // More than a request may hold, in number and in bytes.
    let many = (0..1_001).map(|n| draft(&format!("n{n}.example"))).collect();
    let large = (0..60)
        .map(|n| v1::IndicatorDraft { description: "d".repeat(100_000), ..draft(&format!("n{n}.example")) })
        .collect();
    let peer = hub.peer("b", "system/feed");
    for drafts in [many, large] {
        let refused = peer.exchange().publish_indicators(batch(Uuid::new_v4(), drafts)).await.unwrap_err();
        assert_eq!(reason(&refused), (Code::InvalidArgument, "REQUEST_TOO_LARGE".to_owned()));
    }
    serves(&hub, "a").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_others_published_stays_theirs_whoever_publishes_the_same() {
    let hub = start("").await;
    let (owner, attacker) =
        (Witness::new(&hub.peer("a", "system/feed")), Witness::new(&hub.peer("b", "system/feed")));
    let id = Uuid::new_v4();
    let honest = v1::IndicatorDraft { description: "as it is".to_owned(), ..draft("shared.example") };
    let name = owner.send(&batch(id, vec![honest])).await.remove(0).unwrap().name;
    let twisted = v1::IndicatorDraft { description: "twisted".to_owned(), ..draft("shared.example") };
    // The same request id is another's, so it is a new request of his own.
    let own = attacker.send(&batch(id, vec![twisted.clone()])).await.remove(0).unwrap();
    assert_ne!(own.name, name);
    let other = v1::IndicatorDraft { description: "other".to_owned(), ..twisted };
    let refused =
        hub.peer("b", "system/feed").exchange().publish_indicators(batch(id, vec![other])).await.unwrap_err();
    assert_eq!(reason(&refused).1, "DUPLICATE_REQUEST_ID");
    let stands = owner.get(&name).await.unwrap().indicator.unwrap();
    assert_eq!((stands.owner.as_str(), stands.description.as_str()), ("organisations/a", "as it is"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_has_stored_as_much_as_he_may_stores_no_more_and_others_do() {
    let hub = start("[limits.organisations.b]\nstored_bytes_per_organisation = \"20KiB\"").await;
    let hoarder = Witness::new(&hub.peer("b", "system/feed"));
    let first = hoarder.publish(draft("first.example")).await;
    let mut number = 0;
    // It is counted a moment after it is written.
    let refused = eventually("it is too much", async || {
        number += 1;
        let large =
            v1::IndicatorDraft { description: "d".repeat(4_000), ..draft(&format!("n{number}.example")) };
        hoarder.send(&batch(Uuid::new_v4(), vec![large])).await.remove(0).err()
    })
    .await;
    assert_eq!(refused, (Code::ResourceExhausted, "RATE_LIMITED".to_owned()));
    let me: v1::WhoAmIResponse =
        hoarder.call("DirectoryService/WhoAmI", &v1::WhoAmIRequest {}).await.unwrap();
    let stored = me.allowances.iter().find(|it| it.limit == "stored_bytes_per_organisation").unwrap();
    assert_eq!((stored.most, stored.left), (20 << 10, Some(0)));
    // Nor may he call more his own.
    let own = v1::ChangeAssetsRequest {
        request_id: Uuid::new_v4().to_string(),
        add: vec!["AS64500".to_owned()],
        ..Default::default()
    };
    let refused = hoarder.call::<v1::ChangeAssetsResponse>("AssetService/ChangeAssets", &own).await;
    assert_eq!(reason(&refused.unwrap_err()), (Code::ResourceExhausted, "RATE_LIMITED".to_owned()));
    // What he said he may still take back.
    let revoked = v1::RevokeIndicatorRequest {
        request_id: Uuid::new_v4().to_string(),
        name: first,
        revocation: Some(v1::Revocation { reason: 1, ..Default::default() }),
        ..Default::default()
    };
    hoarder.call::<v1::RevokeIndicatorResponse>("ExchangeService/RevokeIndicator", &revoked).await.unwrap();
    serves(&hub, "a").await;
}
