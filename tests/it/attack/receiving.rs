//! The low-privilege member at receipts: he would learn who received what is
//! not his to ask about, and whether a record is there at all.

use luytre::model::principal::Role;
use luytre::wire::proto::v1;
use serde_json::json;
use time::macros::date;
use tonic::{Code, Status};
use uuid::Uuid;

use super::{READER, SECRET, hide, refused};
use crate::harness::{TestHub, Witness, amber, batch, draft};

const FEED: &str = "system/feed";

fn witness(hub: &TestHub, organisation: &str, name: &str) -> Witness {
    Witness::new(&hub.peer(organisation, name))
}

/// Who received an indicator, as the hub tells this witness.
async fn recipients(
    asker: &Witness,
    name: &str,
    page_size: i32,
    page_token: &str,
) -> Result<v1::ListRecipientsResponse, Status> {
    let (indicator, page_token) = (name.to_owned(), page_token.to_owned());
    let request = v1::ListRecipientsRequest { indicator, page_size, page_token };
    asker.call("ReceiptService/ListRecipients", &request).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_received_what_is_not_his_to_ask_about_nobody_learns_by_name_guess_or_token() {
    let hub = TestHub::builder()
        .principal("a", FEED, &READER)
        .principal("b", FEED, &READER)
        .principal("b", "user/auditor", &[Role::Auditor])
        .principal("c", FEED, &READER)
        .principal("provider", FEED, &READER)
        .acts_for("provider", "a")
        .start()
        .await;
    let hidden = hide(&hub).await;
    let [owner, thief, reader, provider] = ["a", "b", "c", "provider"].map(|slug| witness(&hub, slug, FEED));
    let auditor = witness(&hub, "b", "user/auditor");
    let seen = owner.publish(draft("seen.example")).await;
    let on_behalf = v1::PublishIndicatorsRequest {
        on_behalf_of: "organisations/a".to_owned(),
        ..batch(Uuid::new_v4(), vec![draft("for-another.example")])
    };
    let for_another = provider.send(&on_behalf).await.remove(0).unwrap().name;
    for name in [&hidden, &seen, &for_another] {
        reader.get(name).await.unwrap();
        owner.get(name).await.unwrap();
    }
    thief.get(&seen).await.unwrap();

    let nobodys = format!("indicators/{}", Uuid::new_v4());
    for asker in [&thief, &auditor, &provider] {
        let absent = refused(&recipients(asker, &nobodys, 0, "").await.unwrap_err());
        assert_eq!((absent.0, absent.1.as_str()), (Code::NotFound, "NOT_FOUND"));
        for name in [&hidden, &seen, &for_another] {
            for size in [0, 1, 1_000] {
                let refusal = refused(&recipients(asker, name, size, "").await.unwrap_err());
                assert_eq!(refusal, absent, "{name} as {}", asker.identity());
            }
        }
    }
    // Another's token, and his own of another indicator.
    let first = recipients(&owner, &seen, 1, "").await.unwrap();
    assert!(!first.next_page_token.is_empty());
    let absent = refused(&recipients(&thief, &nobodys, 1, &first.next_page_token).await.unwrap_err());
    assert_eq!(absent.1, "PAGE_TOKEN_INVALID");
    for name in [&hidden, &seen] {
        let refusal = recipients(&thief, name, 1, &first.next_page_token).await.unwrap_err();
        assert_eq!(refused(&refusal), absent);
    }
    let other = recipients(&owner, &hidden, 1, &first.next_page_token).await.unwrap_err();
    assert_eq!(refused(&other).1, "PAGE_TOKEN_INVALID");
    let organisations = ["organisations/a", "organisations/c"];
    let told: Vec<_> = recipients(&owner, &hidden, 0, "").await.unwrap().recipients;
    assert_eq!(told.iter().filter(|one| organisations.contains(&&*one.organisation)).count(), 2);
    for asker in [&thief, &auditor] {
        assert!(!asker.was_told(SECRET) && !asker.was_told("organisations/c"), "{}", asker.identity());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_follows_an_owner_is_told_nothing_of_what_was_for_persons_alone() {
    let organisation = |slug: &str| json!({ "slug": slug, "name_vi": slug, "name_en": slug, "kind": "test" });
    let mut organisations = ["owner", "heir", "other"].map(organisation);
    organisations[0]["valid_to"] = "2026-02-01".into();
    organisations[0]["successors"] = json!(["heir"]);
    organisations[1]["predecessors"] = json!(["owner"]);
    let hub = ["owner", "heir", "other"]
        .into_iter()
        .fold(TestHub::builder(), |builder, slug| builder.principal(slug, FEED, &READER))
        .of_file(json!({ "organisations": organisations }))
        .face_on(date!(2026 - 01 - 05))
        .await;
    let [owner, heir, other] = ["owner", "heir", "other"].map(|slug| witness(&hub, slug, FEED));
    let principals = vec![other.identity().to_owned()];
    let marking = v1::Marking { tlp: v1::Tlp::Red.into(), principals, ..Default::default() };
    let red = owner.publish(v1::IndicatorDraft { marking: Some(marking), ..draft(SECRET) }).await;
    let shared = owner.publish(amber(draft("shared.example"), &["other"])).await;
    for name in [&red, &shared] {
        other.get(name).await.unwrap();
        assert_eq!(recipients(&owner, name, 0, "").await.unwrap().recipient_count, 1);
    }
    let nobodys = format!("indicators/{}", Uuid::new_v4());
    let absent = refused(&recipients(&heir, &nobodys, 0, "").await.unwrap_err());
    for name in [&red, &shared] {
        assert_eq!(refused(&recipients(&heir, name, 0, "").await.unwrap_err()), absent, "not yet its heir");
    }

    hub.clock.set_noon(date!(2026 - 02 - 01));
    assert!(hub.engine.turn_day().await.unwrap());
    let told = recipients(&heir, &shared, 0, "").await.unwrap();
    assert_eq!(told.recipients[0].organisation, "organisations/other");
    assert_eq!(heir.get(&red).await.unwrap_err().1, "NOT_FOUND");
    assert_eq!(refused(&recipients(&heir, &red, 0, "").await.unwrap_err()), absent);
    assert!(!heir.was_told(SECRET) && !heir.was_told(other.identity()));
    hub.stop().await;
}
