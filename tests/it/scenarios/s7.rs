//! S7, a false positive. A provider publishes an address for the unit that it
//! watches; it is a shared one, and a registration system fails. The unit's
//! own record is revoked, every recipient hears of it, those who were away
//! before anything else, and nothing that is said again brings it back.
//!
//! A list knows the address as shared: it goes out to be watched, not blocked,
//! and a second person is asked, who lets the block out wrongly. Not here yet:
//! the delivery ledger that names the recipients; the 38 recipients here are
//! those who took the indicator.

use std::slice;

use luytre::wire::proto::v1::{self, EventKind, IndicatorState, RecommendedAction, RevocationReason};
use time::macros::date;
use tonic::Code;
use uuid::Uuid;
use v1::subscribe_response::Message as Heed;

use super::{new, system, told, with_systems};
use crate::harness::told::{Event, events};
use crate::harness::witness::from_the_beginning;
use crate::harness::{Builder, TestHub, Watcher, Witness, batch, draft};

const VALUE: &str = "203.0.113.10";
const UNIT: &str = "ubnd-hoan-kiem";
const LEAD: &str = "so-tttt";
const RECIPIENTS: usize = 38;
/// These two are away when it is revoked.
const AWAY: [usize; 2] = [20, 37];

/// The frames of a stream that was opened anew, up to the indicator of this
/// name: what was recalled, and then the events.
async fn reconnected(stream: &mut Watcher, last: &str) -> (Vec<(EventKind, String)>, Vec<Event>) {
    let Heed::Opened(_) = stream.next().await.unwrap() else { panic!("Opened comes first") };
    let (mut recalled, mut heard) = (Vec::new(), Vec::<Event>::new());
    let is_last = |event: &Event| event.indicator.as_ref().is_some_and(|found| found.name == last);
    while !heard.iter().any(is_last) {
        match stream.next().await.unwrap() {
            Heed::Recalls(v1::RecallBatch { events, kinds }) => {
                assert!(heard.is_empty(), "recalls come before any event");
                let batch = v1::EventBatch { events, kinds, ..v1::EventBatch::default() };
                recalled.extend(told(&self::events(batch)));
            }
            Heed::Batch(batch) => heard.extend(events(batch)),
            Heed::Heartbeat(_) | Heed::Checkpoint(_) => {}
            other => panic!("{other:?}"),
        }
    }
    (recalled, heard)
}

/// A hub where a list says to think twice about the address, and the department
/// leads.
fn guarded(lists: &tempfile::TempDir, builder: Builder) -> Builder {
    let list = r#"{"name":"Networks of content","version":9,"description":"d","type":"cidr","list":["203.0.113.0/24"]}"#;
    std::fs::write(lists.path().join("protect-content.json"), list).unwrap();
    builder
        .config(&format!("[guards]\ndirectory = {:?}", lists.path()))
        .acts_for("dv-giam-sat-a", UNIT)
        .lead_unit(LEAD)
}

fn blocking() -> v1::IndicatorDraft {
    v1::IndicatorDraft { recommended_action: RecommendedAction::Block.into(), ..draft(VALUE) }
}

/// What the provider sends for the unit.
fn for_the_unit() -> v1::PublishIndicatorsRequest {
    let request = batch(Uuid::new_v4(), vec![blocking()]);
    v1::PublishIndicatorsRequest { on_behalf_of: format!("organisations/{UNIT}"), ..request }
}

/// The lead unit's answer to what waits: let it out.
async fn let_out(lead: &Witness) -> v1::HeldPublication {
    let asked = v1::ListHeldPublicationsRequest { waiting: true, ..Default::default() };
    let page: v1::ListHeldPublicationsResponse =
        lead.call("HeldService/ListHeldPublications", &asked).await.unwrap();
    let [waiting] = page.held_publications.as_slice() else { panic!("one waits: {page:?}") };
    let answer = v1::ApprovePublicationRequest {
        request_id: Uuid::new_v4().to_string(),
        name: waiting.name.clone(),
        etag: waiting.version.to_string(),
        note: "looks malicious to me".to_owned(),
    };
    let answer: v1::ApprovePublicationResponse =
        lead.call("HeldService/ApprovePublication", &answer).await.unwrap();
    answer.held_publication.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shared_address_that_a_list_knows_is_sent_to_be_watched_and_its_publisher_learns_why() {
    let lists = tempfile::tempdir().unwrap();
    let builder = with_systems(TestHub::builder(), &[UNIT, "dv-giam-sat-a", "so-y-te", LEAD]);
    let hub = guarded(&lists, builder).serve_on(date!(2019 - 12 - 03)).await;
    let [provider, health] = ["dv-giam-sat-a", "so-y-te"].map(|slug| system(&hub, slug));
    let mut hears = health.watch_all().await;

    let request = for_the_unit();
    let published = provider.send(&request).await.remove(0).unwrap();
    let found = published.guard.clone().unwrap();
    let named: Vec<_> = found.lists.iter().map(|list| (list.list.as_str(), list.version)).collect();
    assert_eq!((found.outcome(), named), (v1::GuardOutcome::Held, vec![("protect-content", 9)]));
    assert_eq!(found.held_state(), v1::HeldState::Waiting);
    assert_eq!(found.deciders, [format!("organisations/{LEAD}")]);
    let heard = hears.up_to_indicator(&published.name).await;
    let indicator = heard.last().unwrap().indicator.clone().unwrap();
    assert_eq!(indicator.recommended_action(), RecommendedAction::Monitor);
    assert_eq!(provider.send(&request).await, [Ok(published)], "a retry gets its first answer");
    drop(hears);
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_false_positive_is_taken_back_everywhere_and_never_comes_again() {
    let mut slugs: Vec<_> = (1..RECIPIENTS).map(|number| format!("don-vi-{number:02}")).collect();
    slugs.insert(0, "so-y-te".to_owned());
    let names: Vec<_> = slugs.iter().map(String::as_str).collect();
    let lists = tempfile::tempdir().unwrap();
    let builder = with_systems(TestHub::builder(), &[UNIT, "dv-giam-sat-a", "ca-hanoi", LEAD]);
    let hub = with_systems(guarded(&lists, builder), &names).serve_on(date!(2019 - 12 - 03)).await;
    let [unit, provider, police, lead] =
        [UNIT, "dv-giam-sat-a", "ca-hanoi", LEAD].map(|slug| system(&hub, slug));
    let recipients: Vec<_> = slugs.iter().map(|slug| system(&hub, slug)).collect();
    let before = police.publish(draft("before.example")).await;
    // One of the two who will be away lets the hub keep its place.
    let subscription = format!("organisations/{}/subscriptions/firewall", slugs[AWAY[0]]);
    let mut hears = Vec::new();
    for (number, recipient) in recipients.iter().enumerate() {
        let subscription = if number == AWAY[0] { subscription.clone() } else { String::new() };
        hears.push(recipient.watch(v1::Open { subscription, ..from_the_beginning() }).await.unwrap());
    }
    let mut old_token = bytes::Bytes::new();
    for (number, stream) in hears.iter_mut().enumerate() {
        stream.up_to_indicator(&before).await;
        if number == AWAY[1] {
            old_token = stream.token.clone();
        }
    }

    // The provider publishes for the unit; a list keeps the block back, until
    // somebody of the unit that leads lets it out, wrongly. All take it.
    let request = for_the_unit();
    let first = provider.send(&request).await;
    let wrong = first[0].clone().unwrap().name;
    let answer = let_out(&lead).await;
    assert_eq!((answer.state(), &answer.indicator), (v1::HeldState::Approved, &wrong));
    let let_out = (EventKind::Update, wrong.clone());
    for stream in &mut hears {
        let mut heard = stream.up_to_indicator(&wrong).await;
        if heard.len() < 2 {
            heard.extend(stream.up_to_indicator(&wrong).await);
        }
        assert_eq!(told(&heard), [new(&[&wrong]), vec![let_out.clone()]].concat());
        let actions = heard.iter().map(|event| event.indicator.as_ref().unwrap().recommended_action());
        assert_eq!(actions.collect::<Vec<_>>(), [RecommendedAction::Monitor, RecommendedAction::Block]);
        let indicator = heard[1].indicator.as_ref().unwrap();
        assert_eq!(indicator.owner, format!("organisations/{UNIT}"));
        assert_eq!(indicator.published_by, "organisations/dv-giam-sat-a");
    }
    // Two go away, each with its place kept.
    hears[AWAY[0]].acknowledge().await;
    let token = hears[AWAY[1]].token.clone();
    for number in AWAY.iter().rev() {
        drop(hears.remove(*number));
    }

    // A recipient fails, and says so to the source.
    let mut unit_hears = unit.watch_all().await;
    let failed = v1::Sighting {
        indicator: wrong.clone(),
        outcome: v1::SightingOutcome::FalsePositive.into(),
        note: "registration fails".to_owned(),
        ..v1::Sighting::default()
    };
    recipients[0].sight(failed).await.unwrap();
    let heard = unit_hears.up_to(|event| event.sighting.is_some()).await;
    let sighting = heard.last().unwrap().sighting.clone().unwrap();
    assert_eq!(sighting.outcome(), v1::SightingOutcome::FalsePositive);
    assert_eq!(sighting.reporter, "organisations/so-y-te");

    // The source takes it back: who is there hears at once.
    let revocation = v1::Revocation {
        reason: RevocationReason::FalsePositive.into(),
        note: "a shared address".to_owned(),
        revoke_time: None,
    };
    let revoke = v1::RevokeIndicatorRequest {
        request_id: Uuid::new_v4().to_string(),
        name: wrong.clone(),
        revocation: Some(revocation),
        etag: String::new(),
        on_behalf_of: format!("organisations/{UNIT}"),
    };
    let own = v1::RevokeIndicatorRequest { on_behalf_of: String::new(), ..revoke.clone() };
    let alone = police.call::<v1::RevokeIndicatorResponse>("ExchangeService/RevokeIndicator", &own).await;
    assert_eq!(alone.unwrap_err().code(), Code::PermissionDenied, "only the source takes it back");
    let revoked: v1::RevokeIndicatorResponse =
        provider.call("ExchangeService/RevokeIndicator", &revoke).await.unwrap();
    assert_eq!(revoked.indicator.unwrap().state(), IndicatorState::Revoked);
    let took_back = (EventKind::Revoked, wrong.clone());
    for stream in &mut hears {
        let heard = stream.up_to_indicator(&wrong).await;
        assert_eq!(told(&heard), slice::from_ref(&took_back));
        let revocation = heard.last().unwrap().indicator.clone().unwrap().revocation.unwrap();
        assert_eq!(revocation.reason(), RevocationReason::FalsePositive);
    }
    assert_eq!(hears.len(), RECIPIENTS - AWAY.len());

    // More happens, and then the two come back: the revocation comes first.
    let later =
        [police.publish(draft("later-1.example")).await, police.publish(draft("later-2.example")).await];
    let named = v1::Open { subscription, start: None, ..from_the_beginning() };
    let by_token =
        |token| v1::Open { start: Some(v1::open::Start::ResumeToken(token)), ..from_the_beginning() };
    for (number, open) in AWAY.into_iter().zip([named, by_token(token)]) {
        let mut stream = recipients[number].watch(open).await.unwrap();
        let (recalled, heard) = reconnected(&mut stream, &later[1]).await;
        assert_eq!(recalled, slice::from_ref(&took_back), "{number}");
        let mut expected = vec![took_back.clone()];
        expected.extend(new(&[&later[0], &later[1]]));
        assert_eq!(told(&heard), expected, "{number}: the end itself comes again in its place");
    }

    // Nothing that is said again brings it back: an old token, the whole log,
    // the present state, the provider's request, its draft.
    let at_the_beginning = from_the_beginning();
    for open in [by_token(old_token), at_the_beginning] {
        let mut stream = recipients[AWAY[1]].watch(open).await.unwrap();
        let (_, heard) = reconnected(&mut stream, &later[1]).await;
        let of_it: Vec<_> = told(&heard).into_iter().filter(|(_, name)| *name == wrong).collect();
        assert_eq!(of_it.last(), Some(&took_back), "{of_it:?}");
    }
    let scan = v1::Open {
        start: Some(v1::open::Start::Position(v1::StartPosition::CurrentState.into())),
        ..from_the_beginning()
    };
    let mut stream = recipients[0].watch(scan).await.unwrap();
    let mut state = Vec::new();
    loop {
        match stream.next().await.unwrap() {
            Heed::Batch(batch) => state.extend(told(&events(batch))),
            Heed::StateEnd(_) => break,
            _ => {}
        }
    }
    state.sort_by_key(|(_, name)| name.clone());
    let mut standing = new(&[&before, &later[0], &later[1]]);
    standing.sort_by_key(|(_, name)| name.clone());
    assert_eq!(state, standing);

    assert_eq!(provider.send(&request).await, first, "a retry gets its first answer");
    let refused = Err((Code::FailedPrecondition, "INDICATOR_REVOKED".to_owned()));
    let again = v1::PublishIndicatorsRequest { request_id: Uuid::new_v4().to_string(), ..request };
    assert_eq!(provider.send(&again).await, slice::from_ref(&refused));
    assert_eq!(unit.send(&batch(Uuid::new_v4(), vec![blocking()])).await, [refused]);
    let matches = recipients[0].lookup(VALUE).await;
    assert_eq!(matches.iter().map(v1::LookupMatch::state).collect::<Vec<_>>(), [IndicatorState::Revoked]);
    let last = police.publish(draft("last.example")).await;
    for stream in &mut hears {
        let heard = stream.up_to_indicator(&last).await;
        assert_eq!(told(&heard), new(&[&later[0], &later[1], &last]), "and nothing of the revoked one");
    }
    drop((hears, unit_hears, stream));
    hub.stop().await;
}
