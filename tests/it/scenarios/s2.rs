//! S2, a district sees command-and-control traffic. ubnd-dong-da's SOC sends
//! an address, a name and a file to the lead unit and the police, TLP:AMBER;
//! the lead unit asks its leave and publishes them for all under its own
//! name, and the units say what they found. Nobody but the two learns which
//! unit was hit first, or that there was one, and nobody its host names. (The
//! deadline INC-1 belongs to a later part of the hub.)

use luytre::wire::proto::v1::{self, EventKind, RepublicationState, SightingOutcome, Tlp};
use time::macros::date;
use tonic::Code;
use uuid::Uuid;

use super::{ROLES, new, system, told, with_systems};
use crate::harness::witness::{from_the_beginning, refusal};
use crate::harness::{TestHub, Watcher, Witness, amber, batch, draft, value_of};

const ADDRESS: &str = "203.0.113.77";
const NAME: &str = "update.example";
const FILE: &str = "0c21ff6bbd9cf4b5a7a8a1d3e2c85a31d45ab1be2f9e6e03a2d4d5b85c6f7e19";
const VALUES: [&str; 3] = [ADDRESS, NAME, FILE];
/// The unit that was hit first, as any answer would spell it.
const HIT: &str = "dong-da";
const HOST: &str = "may-tram-42.noi-bo";
const OTHERS: [&str; 4] = ["so-gddt", "so-y-te", "ubnd-long-bien", "ubnd-ba-dinh"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_units_are_warned_and_none_learns_which_unit_was_hit_first() {
    let builder = TestHub::builder().lead_unit("so-tttt");
    let builder = with_systems(builder, &["ubnd-dong-da", "so-tttt", "ca-hanoi"]);
    let hub = with_systems(builder, &OTHERS)
        .principal("ca-hanoi", "user/an", &ROLES)
        .serve_on(date!(2019 - 12 - 09))
        .await;
    let [hit, lead, police] = ["ubnd-dong-da", "so-tttt", "ca-hanoi"].map(|slug| system(&hub, slug));
    let others = OTHERS.map(|slug| system(&hub, slug));
    let mut lead_hears = lead.watch_all().await;
    let mut police_hear = police.watch_all().await;
    let mut others_hear = Vec::new();
    for other in &others {
        others_hear.push(other.watch_all().await);
    }

    // 09:12: the district's system publishes, and notes for itself where.
    let drafts = VALUES.map(|value| {
        let draft = v1::IndicatorDraft { confidence: Some(70), ..draft(value) };
        amber(draft, &["so-tttt", "ca-hanoi"])
    });
    let sent = hit.send(&batch(Uuid::new_v4(), drafts.to_vec())).await;
    let first: Vec<_> = sent.into_iter().map(|sent| sent.unwrap().name).collect();
    let own = v1::Sighting {
        indicator: first[0].clone(),
        outcome: SightingOutcome::SeenNotBlocked.into(),
        sighted_count: 1,
        note: format!("on {HOST}"),
        ..v1::Sighting::default()
    };
    hit.sight(own).await.unwrap();
    for hears in [&mut lead_hears, &mut police_hear] {
        let heard = hears.up_to_indicator(&first[2]).await;
        assert_eq!(told(&heard), new(&first.iter().collect::<Vec<_>>()));
        for event in heard {
            let indicator = event.indicator.unwrap();
            assert_eq!(indicator.owner, "organisations/ubnd-dong-da");
            assert_eq!((indicator.confidence, indicator.marking.unwrap().tlp()), (Some(70), Tlp::Amber));
        }
    }

    // The lead unit asks the source's leave, and publishes for all.
    let further: Vec<_> = VALUES
        .iter()
        .zip(&first)
        .map(|(value, name)| v1::IndicatorDraft { republication_of: name.clone(), ..draft(value) })
        .collect();
    let without_leave = (Code::FailedPrecondition, "REPUBLICATION_WITHOUT_LEAVE".to_owned());
    for refused in lead.send(&batch(Uuid::new_v4(), further.clone())).await {
        assert_eq!(refused.unwrap_err(), without_leave);
    }
    let mut hit_hears = hit.watch_all().await;
    let wish = draft("").marking;
    for name in &first {
        lead.call::<v1::RequestRepublicationResponse>(REQUEST, &asked(name)).await.unwrap();
        let request = republication(&mut hit_hears).await;
        assert_eq!((&request.indicator, request.state()), (name, RepublicationState::Requested));
        assert_eq!(request.requester, lead.identity());
        let grant = v1::GrantRepublicationRequest {
            request_id: Uuid::new_v4().to_string(),
            indicator: name.clone(),
            organisation: "organisations/so-tttt".to_owned(),
            widest: wish.clone(),
            ..v1::GrantRepublicationRequest::default()
        };
        hit.call::<v1::GrantRepublicationResponse>("RepublicationService/GrantRepublication", &grant)
            .await
            .unwrap();
        let answer = republication(&mut lead_hears).await;
        assert_eq!((&answer.indicator, answer.state()), (name, RepublicationState::Granted));
    }
    let sent = lead.send(&batch(Uuid::new_v4(), further)).await;
    let for_all: Vec<_> = sent.into_iter().map(|sent| sent.unwrap().name).collect();
    for told in [&lead, &police, &hit] {
        let got = told.get(&for_all[0]).await.unwrap().indicator.unwrap();
        assert_eq!(got.republication_of, first[0], "who reads the one is told of it in the other");
    }
    for hears in &mut others_hear {
        let heard = hears.up_to_indicator(&for_all[2]).await;
        assert_eq!(told(&heard), new(&for_all.iter().collect::<Vec<_>>()), "and nothing before");
        for event in heard {
            let indicator = event.indicator.unwrap();
            assert_eq!(indicator.owner, "organisations/so-tttt");
            assert!(indicator.published_by.is_empty() && indicator.republication_of.is_empty());
            assert!(event.disclosure.is_none());
        }
    }

    // The units look, and say what they found to the lead unit.
    let [schools, health, long_bien, ba_dinh] = &others;
    let blocked = v1::Sighting {
        indicator: for_all[0].clone(),
        outcome: SightingOutcome::SeenBlocked.into(),
        sighted_count: 14,
        ..v1::Sighting::default()
    };
    let none = v1::Sighting {
        outcome: SightingOutcome::SearchedNotFound.into(),
        sighted_count: 0,
        ..blocked.clone()
    };
    let blocked = schools.sight(blocked).await.unwrap();
    let none = long_bien.sight(none).await.unwrap();
    let heard = lead_hears.up_to(|event| event.sighting.as_ref().is_some_and(|s| s.name == none)).await;
    let sighted: Vec<_> = heard.into_iter().filter_map(|event| event.sighting).collect();
    let of = |s: &v1::Sighting| (s.name.clone(), s.reporter.clone(), s.outcome(), s.sighted_count);
    assert_eq!(
        sighted.iter().map(of).collect::<Vec<_>>(),
        [
            (blocked.clone(), "organisations/so-gddt".into(), SightingOutcome::SeenBlocked, 14),
            (none, "organisations/ubnd-long-bien".into(), SightingOutcome::SearchedNotFound, 0),
        ]
    );
    assert_eq!(lead.get(&for_all[0]).await.unwrap().sightings.len(), 2);
    assert_eq!(schools.get(&for_all[0]).await.unwrap().sightings.len(), 1, "its own");
    assert!(health.get(&for_all[0]).await.unwrap().sightings.is_empty());

    // Whatever the others ask, they do not learn who was hit.
    for other in &others {
        ask_everything(other, &first, &for_all).await;
    }
    let publish = amber(draft(NAME), &["so-y-te"]);
    ba_dinh.publish(publish).await;
    let last = lead.publish(draft("last.example")).await;
    for hears in others_hear.iter_mut().chain([&mut lead_hears, &mut police_hear]) {
        let heard = hears.up_to_indicator(&last).await;
        assert!(heard.iter().all(|event| event.kind != EventKind::Withdrawn as i32));
    }
    for (other, slug) in others.iter().zip(OTHERS) {
        for secret in [HIT, HOST].into_iter().chain(first.iter().map(|name| &name[11..])) {
            assert!(!other.was_told(secret), "{slug} was told {secret}");
        }
        assert!(other.was_told(NAME) && other.was_told("so-tttt"), "the search finds what is there");
    }
    for (told, slug) in [(&lead, "so-tttt"), (&police, "ca-hanoi")] {
        assert!(told.was_told(HIT), "{slug}");
        assert!(!told.was_told(HOST), "{slug} was told a host name");
    }
    assert!(hit.get(&first[0]).await.unwrap().sightings[0].note.contains(HOST), "its own note");
    assert!(hit.was_told(HOST));
    drop((hit_hears, lead_hears, police_hear, others_hear));
    hub.stop().await;
}

const REQUEST: &str = "RepublicationService/RequestRepublication";

/// Asks leave to publish for all.
fn asked(name: &str) -> v1::RequestRepublicationRequest {
    v1::RequestRepublicationRequest {
        request_id: Uuid::new_v4().to_string(),
        indicator: name.to_owned(),
        wish: draft("").marking,
        reason: "to warn all units".to_owned(),
    }
}

/// The next word about leave.
async fn republication(hears: &mut Watcher) -> v1::Republication {
    let heard = hears.up_to(|event| event.republication.is_some()).await;
    heard.into_iter().find_map(|event| event.republication).unwrap()
}

/// Asks all that a unit may ask of the values and of the first records, whose
/// names it cannot know.
async fn ask_everything(other: &Witness, first: &[String], for_all: &[String]) {
    let list = other.list().await;
    assert_eq!(list.len(), 3);
    assert!(list.iter().all(|indicator| VALUES.contains(&value_of(indicator).as_str())));
    for (value, name) in VALUES.iter().zip(for_all) {
        let matches = other.lookup(value).await;
        assert_eq!(
            matches.iter().map(|m| (&m.name, m.owner.as_str())).collect::<Vec<_>>(),
            [(name, "organisations/so-tttt")]
        );
        assert_eq!(other.get(name).await.unwrap().indicator.unwrap().name, *name);
    }
    let absent = (Code::NotFound, "NOT_FOUND".to_owned());
    for name in first {
        assert_eq!(other.get(name).await.unwrap_err(), absent);
        let sighting = v1::Sighting {
            indicator: name.clone(),
            outcome: SightingOutcome::SeenBlocked.into(),
            ..v1::Sighting::default()
        };
        assert_eq!(other.sight(sighting).await.unwrap_err(), absent);
        let leave = other.call::<v1::RequestRepublicationResponse>(REQUEST, &asked(name)).await;
        assert_eq!(refusal(&leave.unwrap_err()), absent);
    }
    let leaves: v1::ListRepublicationsResponse = other
        .call("RepublicationService/ListRepublications", &v1::ListRepublicationsRequest::default())
        .await
        .unwrap();
    assert!(leaves.republications.is_empty());
    let open = v1::Open {
        start: Some(v1::open::Start::Position(v1::StartPosition::CurrentState.into())),
        ..from_the_beginning()
    };
    let mut state = other.watch(open).await.unwrap();
    let mut seen = 0;
    while seen < 3 {
        if let v1::subscribe_response::Message::Batch(batch) = state.next().await.unwrap() {
            seen += batch.events.len();
        }
    }
    assert!(matches!(state.next().await.unwrap(), v1::subscribe_response::Message::StateEnd(_)));
}
