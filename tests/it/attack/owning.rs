//! The low-privilege member at lists of assets: he would read or change
//! another's, have the hub keep more than it takes, or hear by his list what
//! he may not see.

use luytre::model::principal::Role;
use luytre::wire::proto::v1;
use prost::Message as _;
use tonic::Status;
use uuid::Uuid;

use super::{READER, SECRET, hide, refused, serves};
use crate::harness::witness::from_the_beginning;
use crate::harness::{TestHub, Witness, draft, raw};

const FEED: &str = "system/feed";
/// Most assets of a list, as docs/own-assets.md says.
const MOST: usize = 4_096;

async fn start() -> TestHub {
    TestHub::builder()
        .principal("a", FEED, &READER)
        .principal("b", FEED, &READER)
        .principal("b", "system/push", &[Role::Publisher])
        .principal("b", "system/siem", &[Role::Subscriber])
        .principal("b", "user/an", &READER)
        .principal("b", "user/operator", &[Role::Operator])
        .principal("provider", FEED, &READER)
        .organisation("c")
        .acts_for("provider", "a")
        .start()
        .await
}

fn witness(hub: &TestHub, organisation: &str, name: &str) -> Witness {
    Witness::new(&hub.peer(organisation, name))
}

fn change_of(add: &[String], remove: &[&str], etag: &str) -> v1::ChangeAssetsRequest {
    v1::ChangeAssetsRequest {
        request_id: Uuid::new_v4().to_string(),
        add: add.to_vec(),
        remove: remove.iter().map(|&text| text.to_owned()).collect(),
        etag: etag.to_owned(),
    }
}

async fn change(asker: &Witness, request: &v1::ChangeAssetsRequest) -> Result<v1::Assets, Status> {
    let answer: v1::ChangeAssetsResponse = asker.call("AssetService/ChangeAssets", request).await?;
    Ok(answer.assets.unwrap())
}

async fn assets(asker: &Witness) -> v1::Assets {
    let answer: v1::GetAssetsResponse =
        asker.call("AssetService/GetAssets", &v1::GetAssetsRequest {}).await.unwrap();
    answer.assets.unwrap()
}

fn values(assets: &v1::Assets) -> Vec<&str> {
    assets.assets.iter().map(|asset| asset.value.as_str()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_organisations_list_is_neither_read_nor_changed_and_claiming_the_same_shows_nothing_more() {
    let hub = start().await;
    hide(&hub).await;
    let [owner, thief, provider] = ["a", "b", "provider"].map(|slug| witness(&hub, slug, FEED));
    let own = ["203.0.113.0/24".to_owned(), "a-owns.example.vn".to_owned()];
    let list = change(&owner, &change_of(&own, &[], "")).await.unwrap();
    // The name of the other's list is the name of none of his.
    let stale = change(&thief, &change_of(&[SECRET.to_owned()], &[], &list.etag)).await.unwrap_err();
    assert_eq!(refused(&stale).1, "ETAG_MISMATCH");
    // Whoever is named in a field that the method does not have, it is his own that changes.
    let mut said = change_of(&[], &["a-owns.example.vn"], "").encode_to_vec();
    for field in 5..9 {
        prost::encoding::string::encode(field, &"organisations/a".to_owned(), &mut said);
    }
    for peer in [hub.peer("b", FEED), hub.peer("provider", FEED)] {
        let answer =
            raw::call(&peer.channel(), "/luytre.v1.AssetService/ChangeAssets", vec![said.clone().into()])
                .await;
        assert!(answer.status.is_none() || answer.status.unwrap().code() == tonic::Code::InvalidArgument);
    }
    assert_eq!(assets(&owner).await, list);
    for other in [&thief, &provider] {
        assert_eq!(assets(other).await.assets, [], "{}", other.identity());
    }
    // He calls the same his own, and the hidden value.
    let claimed = [&own[..], &[SECRET.to_owned()]].concat();
    change(&thief, &change_of(&claimed, &[], "")).await.unwrap();
    let filter = Some(v1::IndicatorFilter { own_assets: true, ..Default::default() });
    let request = v1::ListIndicatorsRequest { filter, ..Default::default() };
    let shown: v1::ListIndicatorsResponse =
        thief.call("ExchangeService/ListIndicators", &request).await.unwrap();
    assert_eq!(shown.indicators, [], "what is hidden stays so");
    assert!(!thief.was_told("hidden-words"));
    assert_eq!(assets(&owner).await, list, "nor is it taken from anybody");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_that_is_too_long_is_refused_whole_and_others_still_have_room() {
    let hub = start().await;
    let (hoarder, other) = (witness(&hub, "b", FEED), witness(&hub, "a", FEED));
    let networks =
        |count: usize| -> Vec<_> { (0..count).map(|n| format!("10.{}.{}.0/24", n >> 8, n & 255)).collect() };
    let refusal = refused(&change(&hoarder, &change_of(&networks(MOST + 1), &[], "")).await.unwrap_err());
    assert!(["FIELD_INVALID", "RATE_LIMITED"].contains(&&*refusal.1), "{refusal:?}");
    assert_eq!(assets(&hoarder).await.assets, [], "all or nothing");
    change(&hoarder, &change_of(&networks(MOST), &[], "")).await.unwrap();
    let one_more = change(&hoarder, &change_of(&["AS64500".to_owned()], &[], "")).await.unwrap_err();
    assert_eq!(refused(&one_more).1, "RATE_LIMITED");
    // One bad among many, and one of ten thousand letters.
    for bad in ["0.0.0.0/0".to_owned(), "x".repeat(10_000), "gov.vn".to_owned()] {
        let mixed = ["198.51.100.0/24".to_owned(), bad];
        let refused_whole = change(&other, &change_of(&mixed, &[], "")).await.unwrap_err();
        assert_eq!(refused(&refused_whole).1, "FIELD_INVALID");
    }
    assert_eq!(assets(&other).await.assets, []);
    let kept = change(&other, &change_of(&["198.51.100.0/24".to_owned()], &[], "")).await.unwrap();
    assert_eq!(values(&kept), ["198.51.100.0/24"]);
    assert_eq!(assets(&hoarder).await.assets.len(), MOST);
    serves(&hub, "a").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_about_ones_own_assets_gives_no_right_that_its_reader_does_not_have() {
    let hub = start().await;
    let [feed, push, siem, operator] =
        [FEED, "system/push", "system/siem", "user/operator"].map(|name| witness(&hub, "b", name));
    change(&feed, &change_of(&["198.51.100.0/24".to_owned()], &[], "")).await.unwrap();
    let filter = Some(v1::IndicatorFilter { own_assets: true, ..Default::default() });
    let about_own = || v1::Open { filter: filter.clone(), ..from_the_beginning() };
    // Who may not subscribe does not by asking about his organisation's own.
    for who in [&push, &operator] {
        assert_eq!(who.watch(about_own()).await.err().unwrap().1, "ROLE_INSUFFICIENT");
    }
    let read =
        operator.call::<v1::GetAssetsResponse>("AssetService/GetAssets", &v1::GetAssetsRequest {}).await;
    assert_eq!(refused(&read.unwrap_err()).1, "ROLE_INSUFFICIENT");
    for who in [&siem, &operator] {
        let refusal = change(who, &change_of(&["AS64500".to_owned()], &[], "")).await.unwrap_err();
        assert_eq!(refused(&refusal).1, "ROLE_INSUFFICIENT");
    }
    // About it, and for one person of his organisation, and for another one.
    let owner = witness(&hub, "a", FEED);
    let marking = v1::Marking {
        tlp: v1::Tlp::Red.into(),
        principals: vec![hub.spiffe("b", "user/an")],
        ..Default::default()
    };
    let described =
        |value: &str| v1::IndicatorDraft { description: "hidden-words".to_owned(), ..draft(value) };
    owner.publish(v1::IndicatorDraft { marking: Some(marking), ..described("198.51.100.7") }).await;
    owner.publish(crate::harness::amber(described("198.51.100.8"), &["c"])).await;
    let last = owner.publish(draft("198.51.100.9")).await;
    for who in [&siem, &feed] {
        let heard = who.watch(about_own()).await.unwrap().up_to_indicator(&last).await;
        assert_eq!(heard.len(), 1, "{heard:?}");
        assert!(
            !who.was_told("hidden-words") && !who.was_told("198.51.100.7") && !who.was_told("198.51.100.8")
        );
    }
}
