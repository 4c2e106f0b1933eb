//! The malicious operator: one person who looks after the hub, with the
//! operator's certificate and no second person behind him.

use luytre::model::principal::Role;
use luytre::wire::proto::v1;

use super::{READER, SECRET, hide, reason};
use crate::harness::{TestHub, Witness, luytre};

const EVIL: &str = "user/evil";

async fn start() -> TestHub {
    TestHub::builder()
        .principal("a", "system/feed", &READER)
        .principal("b", "system/feed", &READER)
        .principal("hub", EVIL, &[Role::Operator])
        .principal("hub", "user/minh", &[Role::Operator])
        .organisation("c")
        .start()
        .await
}

async fn run(hub: &TestHub, words: &[&str]) -> crate::harness::Ended {
    luytre(hub, "hub", EVIL, words).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_reads_no_indicator_by_any_method_that_shows_one() {
    let hub = start().await;
    let name = hide(&hub).await;
    let evil = Witness::new(&hub.peer("hub", EVIL));
    let get = v1::GetIndicatorRequest { name: name.clone(), as_of: None };
    let versions = v1::ListIndicatorVersionsRequest { name, ..Default::default() };
    let list = v1::ListIndicatorsRequest::default();
    let count = v1::AggregateIndicatorsRequest::default();
    let refused = [
        evil.call::<v1::GetIndicatorResponse>("ExchangeService/GetIndicator", &get).await.unwrap_err(),
        evil.call::<v1::ListIndicatorsResponse>("ExchangeService/ListIndicators", &list).await.unwrap_err(),
        evil.call::<v1::ListIndicatorVersionsResponse>("HistoryService/ListIndicatorVersions", &versions)
            .await
            .unwrap_err(),
        evil.call::<v1::AggregateIndicatorsResponse>("HistoryService/AggregateIndicators", &count)
            .await
            .unwrap_err(),
    ];
    for status in refused {
        assert_eq!(reason(&status).1, "ROLE_INSUFFICIENT");
    }
    let watched = evil.watch(crate::harness::witness::from_the_beginning()).await;
    assert_eq!(watched.err().unwrap().1, "ROLE_INSUFFICIENT");
    assert!(!evil.was_told(SECRET));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_makes_himself_no_reader_without_a_second_person() {
    let hub = start().await;
    hide(&hub).await;
    let own = hub.spiffe("hub", EVIL);
    let granted = run(&hub, &["roster", "grant", &own, "--role", "analyst"]).await;
    assert!(granted.stderr.contains("needs a second operator"), "{granted:?}");
    assert_eq!(run(&hub, &["list"]).await.code, 77, "not yet");
    let id = granted.stderr.split_whitespace().next_back().unwrap().to_owned();
    let alone = run(&hub, &["roster", "approve", &id]).await;
    assert!(alone.code == 77 && alone.stderr.contains("SECOND_PERSON_REQUIRED"), "{alone:?}");
    assert_eq!(run(&hub, &["list"]).await.code, 77, "still not");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_operator_makes_no_accomplice_an_operator_without_a_second_person() {
    let hub = start().await;
    let accomplice = hub.spiffe("b", "user/accomplice");
    let granted = run(&hub, &["roster", "grant", &accomplice, "--role", "operator"]).await;
    assert!(granted.stderr.contains("needs a second operator"), "{granted:?}");
    let refused = luytre(&hub, "b", "user/accomplice", &["roster", "export"]).await;
    assert_eq!(refused.code, 77, "{refused:?}");
    // A second person sees it and says no.
    let pending = luytre(&hub, "hub", "user/minh", &["roster", "pending"]).await.well();
    assert!(pending.contains("user/accomplice"), "{pending}");
    let id = pending.split_whitespace().next().unwrap();
    luytre(&hub, "hub", "user/minh", &["roster", "reject", id, "--reason", "no"]).await.well();
    let refused = luytre(&hub, "b", "user/accomplice", &["roster", "export"]).await;
    assert_eq!(refused.code, 77, "{refused:?}");
}
