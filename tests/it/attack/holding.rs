//! The low-privilege member at what waits for a second person and at holds:
//! who proposed would let it out himself, and whoever has nothing to say would
//! answer, list, hold, release, or learn whether there is anything.

use luytre::model::principal::Role;
use luytre::wire::proto::v1;
use tonic::Status;
use uuid::Uuid;

use super::{READER, SECRET, refused};
use crate::harness::{TestHub, Witness, amber, batch, draft, luytre};

const SOC: &str = "system/soc";
const DUTY: &str = "user/duty";
/// A list of the hub says to think twice before it is blocked.
const SHARED: &str = "cdn.mod.gov.kh";

async fn start() -> TestHub {
    ["a", "b", "c", "lead", "provider"]
        .into_iter()
        .fold(TestHub::builder(), |builder, slug| {
            builder.principal(slug, SOC, &READER).principal(slug, DUTY, &[Role::Coordinator])
        })
        .principal("a", "user/an", &READER)
        .acts_for("provider", "a")
        .lead_unit("lead")
        .start()
        .await
}

fn witness(hub: &TestHub, organisation: &str, name: &str) -> Witness {
    Witness::new(&hub.peer(organisation, name))
}

fn blocking(value: &str) -> v1::IndicatorDraft {
    let recommended_action = v1::RecommendedAction::Block.into();
    v1::IndicatorDraft { recommended_action, description: "hidden-words".to_owned(), ..draft(value) }
}

fn nobodys() -> String {
    format!("indicators/{}", Uuid::new_v4())
}

/// What waits, as this witness is told, with the token of the next page.
async fn listed(
    asker: &Witness,
    page_size: i32,
    token: &str,
) -> Result<(Vec<v1::HeldPublication>, String), Status> {
    let request = v1::ListHeldPublicationsRequest { waiting: true, page_size, page_token: token.to_owned() };
    let answer: v1::ListHeldPublicationsResponse =
        asker.call("HeldService/ListHeldPublications", &request).await?;
    Ok((answer.held_publications, answer.next_page_token))
}

async fn approve(asker: &Witness, indicator: &str, etag: &str) -> Result<v1::HeldPublication, Status> {
    let request = v1::ApprovePublicationRequest {
        request_id: Uuid::new_v4().to_string(),
        name: format!("{indicator}/held"),
        etag: etag.to_owned(),
        note: "it is fine".to_owned(),
    };
    let answer: v1::ApprovePublicationResponse =
        asker.call("HeldService/ApprovePublication", &request).await?;
    Ok(answer.held_publication.unwrap())
}

async fn reject(asker: &Witness, indicator: &str, etag: &str) -> Result<v1::HeldPublication, Status> {
    let request = v1::RejectPublicationRequest {
        request_id: Uuid::new_v4().to_string(),
        name: format!("{indicator}/held"),
        etag: etag.to_owned(),
        note: "it is not".to_owned(),
    };
    let answer: v1::RejectPublicationResponse = asker.call("HeldService/RejectPublication", &request).await?;
    Ok(answer.held_publication.unwrap())
}

async fn hold(asker: &Witness, indicator: &str) -> Result<v1::IndicatorHold, Status> {
    let (request_id, reason) = (Uuid::new_v4().to_string(), "to look into it".to_owned());
    let request = v1::HoldIndicatorRequest { request_id, name: indicator.to_owned(), reason };
    let answer: v1::HoldIndicatorResponse = asker.call("HeldService/HoldIndicator", &request).await?;
    Ok(answer.hold.unwrap())
}

async fn release(asker: &Witness, indicator: &str) -> Result<v1::IndicatorHold, Status> {
    let (request_id, note) = (Uuid::new_v4().to_string(), "enough".to_owned());
    let request = v1::ReleaseIndicatorRequest { request_id, name: indicator.to_owned(), note };
    let answer: v1::ReleaseIndicatorResponse = asker.call("HeldService/ReleaseIndicator", &request).await?;
    Ok(answer.hold.unwrap())
}

async fn action(reader: &Witness, name: &str) -> v1::RecommendedAction {
    reader.get(name).await.unwrap().indicator.unwrap().recommended_action()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_proposed_a_block_answers_it_by_none_of_his_names_and_for_nobody_else() {
    let hub = start().await;
    let [proposer, provider, colleague] =
        [("a", SOC), ("provider", SOC), ("a", "user/an")].map(|(slug, name)| witness(&hub, slug, name));
    // The unit that leads may not see them, so a second person of `a` decides.
    let own = proposer.publish(amber(blocking(SHARED), &["c"])).await;
    let on_behalf = v1::PublishIndicatorsRequest {
        on_behalf_of: "organisations/a".to_owned(),
        ..batch(Uuid::new_v4(), vec![amber(blocking("www.mod.gov.kh"), &["c"])])
    };
    let others = provider.send(&on_behalf).await.remove(0).unwrap().name;
    let (waiting, _) = listed(&colleague, 10, "").await.unwrap();
    assert_eq!(waiting.len(), 2, "{waiting:?}");
    for (who, name) in [(&proposer, &own), (&provider, &others)] {
        let held = waiting.iter().find(|held| held.indicator == *name).unwrap();
        assert_eq!(held.requester, who.identity());
        let etag = held.version.to_string();
        for answered in [approve(who, name, &etag).await, reject(who, name, &etag).await] {
            let reason = refused(&answered.unwrap_err()).1;
            assert!(["SECOND_PERSON_REQUIRED", "NOT_FOUND"].contains(&&*reason), "{reason}");
        }
        // Nor does he let it out by publishing it again.
        let again = amber(blocking(if name == &own { SHARED } else { "www.mod.gov.kh" }), &["c"]);
        let unit = if name == &own { "" } else { "organisations/a" };
        let again =
            v1::PublishIndicatorsRequest { on_behalf_of: unit.into(), ..batch(Uuid::new_v4(), vec![again]) };
        who.send(&again).await.remove(0).unwrap();
        assert_eq!(action(&colleague, name).await, v1::RecommendedAction::Monitor);
    }
    assert_eq!(listed(&colleague, 10, "").await.unwrap().0, waiting, "both still wait");
    // A second person does.
    approve(
        &colleague,
        &own,
        &waiting.iter().find(|held| held.indicator == own).unwrap().version.to_string(),
    )
    .await
    .unwrap();
    assert_eq!(action(&colleague, &own).await, v1::RecommendedAction::Block);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_has_nothing_to_say_cannot_tell_what_waits_from_what_never_was() {
    let hub = start().await;
    let [owner, thief, duty, lead] =
        [("a", SOC), ("b", SOC), ("b", DUTY), ("lead", SOC)].map(|(slug, name)| witness(&hub, slug, name));
    let hidden = owner.publish(amber(blocking(SHARED), &["c"])).await;
    let seen = [owner.publish(blocking("a.mod.gov.kh")).await, owner.publish(blocking("b.mod.gov.kh")).await];
    let etag_of = async |name: &str, asker: &Witness| {
        let (all, _) = listed(asker, 10, "").await.unwrap();
        all.iter().find(|held| held.indicator == name).unwrap().version.to_string()
    };
    let etags = [etag_of(&hidden, &owner).await, etag_of(&seen[0], &lead).await];

    // He sees the second one, which waits for somebody else; the first he does not.
    for (name, etag) in [(&hidden, &etags[0]), (&seen[0], &etags[1])] {
        for etag in [etag.as_str(), "17"] {
            let absent = refused(&approve(&thief, &nobodys(), etag).await.unwrap_err());
            assert_eq!(absent.1, "NOT_FOUND");
            assert_eq!(refused(&approve(&thief, name, etag).await.unwrap_err()), absent, "{name}");
            let absent = refused(&reject(&thief, &nobodys(), etag).await.unwrap_err());
            assert_eq!(refused(&reject(&thief, name, etag).await.unwrap_err()), absent, "{name}");
        }
    }
    let absent = [hold(&duty, &nobodys()).await, release(&duty, &nobodys()).await];
    let absent = absent.map(|answer| refused(&answer.unwrap_err()));
    let answers = [hold(&duty, &hidden).await, release(&duty, &hidden).await];
    assert_eq!(answers.map(|answer| refused(&answer.unwrap_err())), absent);
    assert_eq!([&absent[0].1, &absent[1].1], ["NOT_FOUND"; 2]);

    assert_eq!(listed(&thief, 10, "").await.unwrap(), (vec![], String::new()));
    let (page, token) = listed(&lead, 1, "").await.unwrap();
    assert!(page.len() == 1 && !token.is_empty(), "{page:?}");
    let stolen = listed(&thief, 1, &token).await.unwrap_err();
    assert_eq!(refused(&stolen).1, "PAGE_TOKEN_INVALID");
    for secret in [SHARED, SECRET, hidden.rsplit('/').next().unwrap(), "hidden-words"] {
        assert!(!duty.was_told(secret) && !thief.was_told(secret), "{secret}");
    }
    assert_eq!(action(&owner, &hidden).await, v1::RecommendedAction::Monitor);
    assert_eq!(action(&thief, &seen[0]).await, v1::RecommendedAction::Monitor);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_does_not_lead_holds_nothing_lifts_no_hold_and_asks_after_no_recall() {
    let hub = start().await;
    let owner = witness(&hub, "a", SOC);
    let [own_duty, thief, duty] = ["a", "b", "lead"].map(|slug| witness(&hub, slug, DUTY));
    let reader = witness(&hub, "b", SOC);
    let name = owner.publish(draft(SECRET)).await;
    // Neither its owner's coordinator nor another's holds what he may see, and
    // of the unit that leads nobody but a coordinator does.
    for coordinator in [&own_duty, &thief] {
        assert_eq!(refused(&hold(coordinator, &name).await.unwrap_err()).1, "ROLE_INSUFFICIENT");
    }
    let lead = witness(&hub, "lead", SOC);
    assert_eq!(refused(&hold(&lead, &name).await.unwrap_err()).1, "ROLE_INSUFFICIENT");
    reader.get(&name).await.unwrap();

    hold(&duty, &name).await.unwrap();
    let absent = refused(&release(&thief, &nobodys()).await.unwrap_err());
    assert_eq!(refused(&release(&thief, &name).await.unwrap_err()), absent, "it is hidden from him");
    assert_eq!(absent.1, "NOT_FOUND");
    assert_eq!(refused(&release(&own_duty, &name).await.unwrap_err()).1, "ROLE_INSUFFICIENT");
    assert_eq!(refused(&release(&lead, &name).await.unwrap_err()).1, "ROLE_INSUFFICIENT");
    assert_eq!(reader.get(&name).await.unwrap_err().1, "NOT_FOUND", "it is still held");

    // How far the recall has got is the owner's and the lead's to know.
    let asked = async |slug: &str, name: &str| {
        let ended = luytre(&hub, slug, SOC, &["recall", "status", name]).await;
        (ended.code, ended.stdout, ended.stderr.lines().next().unwrap_or("").to_owned())
    };
    let absent = asked("b", &nobodys()).await;
    assert_eq!((absent.0, absent.1.as_str()), (66, ""));
    assert_eq!(asked("b", &name).await, absent);
    assert_eq!(asked("lead", &name).await.0, 79, "who had it has not been told");
    release(&duty, &name).await.unwrap();
    assert_eq!(asked("b", &name).await, absent, "nor of what he may see");
}
