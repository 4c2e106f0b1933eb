//! The low-privilege member: a valid certificate, of a system that may only
//! receive or has no role at all.

use bytes::Bytes;
use luytre::model::principal::Role;
use luytre::wire::proto::v1;
use prost::Message as _;
use tonic::Code;
use uuid::Uuid;

use super::{READER, SECRET, hide, pathological, reason, serves};
use crate::authz_matrix::methods;
use crate::harness::witness::from_the_beginning;
use crate::harness::{TestHub, Witness, amber, batch, draft, raw};

async fn start() -> TestHub {
    TestHub::builder()
        .principal("a", "system/feed", &READER)
        .principal("b", "system/soc", &READER)
        .principal("b", "system/siem", &[Role::Subscriber])
        .organisation("c")
        .start()
        .await
}

/// Requests that name what is hidden, in every field that can hold a name.
fn about(name: &str) -> Vec<Bytes> {
    // Fields 1 to 4 as text: wherever a method has its name, it is there.
    (1_u32..5)
        .map(|field| {
            let mut said = Vec::new();
            prost::encoding::string::encode(field, &name.to_owned(), &mut said);
            said.into()
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_method_with_every_name_and_junk_tells_a_low_member_nothing_of_what_is_hidden() {
    let hub = start().await;
    let name = hide(&hub).await;
    let id = name.rsplit('/').next().unwrap().to_owned();
    for who in ["system/siem", "system/unlisted"] {
        let peer = hub.peer("b", who);
        let channel = peer.channel();
        for method in methods(&peer).await {
            // Health/Watch and an open Subscribe do not end by themselves.
            if method.ends_with("/Watch") {
                continue;
            }
            for said in pathological().into_iter().chain(about(&name)) {
                let sent_name = said.windows(id.len()).any(|window| window == id.as_bytes());
                let answer = raw::call(&channel, &method, vec![said]).await;
                let told = [
                    answer.messages.concat(),
                    format!("{:?} {:?} {:?}", answer.headers, answer.trailers, answer.status).into_bytes(),
                    answer.status.map(|status| status.details().to_vec()).unwrap_or_default(),
                ]
                .concat();
                for secret in [SECRET, "hidden-words"].into_iter().chain((!sent_name).then_some(id.as_str()))
                {
                    let found = told.windows(secret.len()).any(|window| window == secret.as_bytes());
                    assert!(!found, "{method} as {who} told {secret}");
                }
            }
        }
    }
    serves(&hub, "a").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_and_names_that_belong_to_others_open_nothing() {
    let hub = start().await;
    let name = hide(&hub).await;
    let (owner, thief) =
        (Witness::new(&hub.peer("a", "system/feed")), Witness::new(&hub.peer("b", "system/soc")));
    for number in 0..3 {
        owner.publish(draft(&format!("n{number}.example"))).await;
    }
    // A resume token of another's stream.
    let mut watcher = owner.watch_all().await;
    watcher.up_to_indicator(&name).await;
    let stolen =
        v1::Open { start: Some(v1::open::Start::ResumeToken(watcher.token.clone())), ..from_the_beginning() };
    let opened = match thief.watch(stolen).await {
        Ok(mut watcher) => watcher.end().await,
        Err(refused) => refused,
    };
    assert_eq!(opened.1, "RESUME_TOKEN_INVALID");
    // A page token of another's list.
    let first = v1::ListIndicatorsRequest { page_size: 1, ..Default::default() };
    let page: v1::ListIndicatorsResponse =
        owner.call("ExchangeService/ListIndicators", &first).await.unwrap();
    let next = v1::ListIndicatorsRequest { page_token: page.next_page_token, ..first };
    let refused = thief.call::<v1::ListIndicatorsResponse>("ExchangeService/ListIndicators", &next).await;
    assert_eq!(reason(&refused.unwrap_err()).1, "PAGE_TOKEN_INVALID");
    // The name of a record that is hidden, and one that nobody has.
    let nobodys = format!("indicators/{}", Uuid::new_v4());
    assert_eq!(thief.get(&name).await, thief.get(&nobodys).await);
    assert_eq!(thief.get(&name).await.unwrap_err(), (Code::NotFound, "NOT_FOUND".to_owned()));
    assert!(!thief.was_told(SECRET));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_speaks_for_an_organisation_that_did_not_ask_him_to() {
    let hub = start().await;
    let name = hide(&hub).await;
    let forger = Witness::new(&hub.peer("b", "system/soc"));
    for unit in ["organisations/a", "organisations/c", "organisations/hub", "organisations/nobody"] {
        let forged = v1::PublishIndicatorsRequest {
            on_behalf_of: unit.to_owned(),
            ..batch(Uuid::new_v4(), vec![draft("forged.example")])
        };
        let verdicts = forger.send(&forged).await;
        assert_eq!(verdicts[0].as_ref().unwrap_err().1, "DELEGATION_MISSING", "{unit}");
    }
    let revocation = v1::Revocation { reason: 1, ..Default::default() };
    let revoked = v1::RevokeIndicatorRequest {
        request_id: Uuid::new_v4().to_string(),
        name,
        revocation: Some(revocation),
        ..Default::default()
    };
    let refused =
        forger.call::<v1::RevokeIndicatorResponse>("ExchangeService/RevokeIndicator", &revoked).await;
    assert_eq!(reason(&refused.unwrap_err()), (Code::NotFound, "NOT_FOUND".to_owned()));
    let owner = Witness::new(&hub.peer("a", "system/feed"));
    assert_eq!(owner.lookup(SECRET).await[0].state, i32::from(1_u8), "it is still active");
    assert!(owner.lookup("forged.example").await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscriber_hears_nothing_that_was_not_meant_for_him() {
    let hub = start().await;
    hide(&hub).await;
    let siem = Witness::new(&hub.peer("b", "system/siem"));
    let owner = Witness::new(&hub.peer("a", "system/feed"));
    owner.publish(amber(draft("also-hidden.example"), &["c"])).await;
    let last = owner.publish(draft("last.example")).await;
    let heard = siem.watch_all().await.up_to_indicator(&last).await;
    assert_eq!(heard.len(), 1, "{heard:?}");
    let looked_up = siem.lookup(SECRET).await;
    assert!(looked_up.is_empty() && !siem.was_told(SECRET) && !siem.was_told("also-hidden"));
    let said = v1::ListIndicatorsRequest::default().encode_to_vec();
    let refused = raw::call(
        &hub.peer("b", "system/siem").channel(),
        "/luytre.v1.ExchangeService/ListIndicators",
        vec![said.into()],
    )
    .await;
    assert_eq!(reason(&refused.status.unwrap()).1, "ROLE_INSUFFICIENT");
}
