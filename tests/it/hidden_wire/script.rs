//! Decides what is asked: every method, about the hidden value and record and
//! about others, rightly and wrongly.

use bytes::Bytes;
use luytre::wire::proto::v1;
use prost::Message as _;
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::{ServerReflectionRequest, ServerReflectionResponse};
use uuid::Uuid;
use v1::open::Start;
use v1::subscribe_request::Message as Say;
use v1::subscribe_response::Message as Heed;
use v1::{StartPosition, Tlp};

use super::asker::{Asker, Cost, said};
use super::mask;
use super::{Hub, LATER, SECRET, VIEWER};
use crate::harness::{amber, batch, draft, text_value};

const EXCHANGE: [&str; 8] = [
    "/luytre.v1.ExchangeService/ListIndicators",
    "/luytre.v1.ExchangeService/LookupObservables",
    "/luytre.v1.ExchangeService/GetIndicator",
    "/luytre.v1.ExchangeService/RevokeIndicator",
    "/luytre.v1.ExchangeService/ReportSightings",
    "/luytre.v1.ExchangeService/ExplainAccess",
    "/luytre.v1.ExchangeService/PublishIndicators",
    "/luytre.v1.ExchangeService/PublishStream",
];
const LEAVE: [&str; 4] = [
    "/luytre.v1.RepublicationService/RequestRepublication",
    "/luytre.v1.RepublicationService/GrantRepublication",
    "/luytre.v1.RepublicationService/WithdrawRepublication",
    "/luytre.v1.RepublicationService/ListRepublications",
];
const HELD: [&str; 5] = [
    "/luytre.v1.HeldService/ListHeldPublications",
    "/luytre.v1.HeldService/ApprovePublication",
    "/luytre.v1.HeldService/RejectPublication",
    "/luytre.v1.HeldService/HoldIndicator",
    "/luytre.v1.HeldService/ReleaseIndicator",
];
const EXPORT: &str = "/luytre.v1.HistoryService/ExportIndicators";
const COUNT: &str = "/luytre.v1.HistoryService/AggregateIndicators";
const HISTORY: [&str; 2] =
    ["/luytre.v1.HistoryService/ListIndicatorVersions", "/luytre.v1.HistoryService/GetObservable"];
/// Auditors of the hub ask of any record, as they read what all did: of the
/// hidden one the viewer, who is one, is told. A reader of his organisation, who
/// is none, asks of it too.
const RECIPIENTS: &str = "/luytre.v1.ReceiptService/ListRecipients";
const ASSETS: [&str; 2] = ["/luytre.v1.AssetService/GetAssets", "/luytre.v1.AssetService/ChangeAssets"];
const SUBSCRIBE: &str = "/luytre.v1.SubscriptionService/Subscribe";

/// Asks everything of the hub as the viewer.
pub(super) async fn ask_all(asker: &mut Asker<'_>, hub: &Hub) {
    assets(asker).await;
    searches(asker).await;
    exports(asker).await;
    counts(asker).await;
    dossiers(asker).await;
    streams(asker, hub).await;
    by_name(asker, hub).await;
    leaves(asker, hub).await;
    held(asker, hub).await;
    who_takes_part(asker).await;
    rosters(asker).await;
    certificates(asker).await;
    platform(asker).await;
    audits(asker).await;
    // Last, for it leaves something behind.
    publishes(asker, hub).await;
}

/// Asks who received the records, as one who is no auditor.
pub(super) async fn ask_as_reader(asker: &mut Asker<'_>, hub: &Hub) {
    let absent = format!("indicators/{}", Uuid::new_v4());
    let nothing = String::from("indicators/nothing");
    for (what, cost, name) in [
        ("hidden", Cost::Open, &hub.secret),
        ("open", Cost::Nothing, &hub.open),
        ("own", Cost::Nothing, &hub.own),
        ("absent", Cost::Nothing, &absent),
        ("malformed", Cost::Nothing, &nothing),
    ] {
        for (page_size, page_token) in [(0, ""), (1, ""), (1, "no-token")] {
            let (indicator, page_token) = (name.clone(), page_token.to_owned());
            let request = v1::ListRecipientsRequest { indicator, page_size, page_token };
            asker.ask(what, cost, RECIPIENTS, mask::recipients, vec![said(&request)]).await;
        }
    }
}

fn filters() -> Vec<(&'static str, v1::IndicatorFilter)> {
    let none = v1::IndicatorFilter::default;
    let restricted = vec![Tlp::Red.into(), Tlp::Amber.into(), Tlp::AmberStrict.into()];
    let states = vec![v1::IndicatorState::Revoked.into(), v1::IndicatorState::Active.into()];
    vec![
        ("all", none()),
        ("of the owner", v1::IndicatorFilter { owners: vec!["organisations/owner".into()], ..none() }),
        ("by label", v1::IndicatorFilter { labels: vec!["c2".into()], ..none() }),
        ("by family", v1::IndicatorFilter { families: vec!["họ a".into()], ..none() }),
        ("by marking", v1::IndicatorFilter { tlps: restricted, ..none() }),
        ("by state", v1::IndicatorFilter { states, ..none() }),
        ("by kind", v1::IndicatorFilter { kinds: vec![v1::ObservableKind::Domain.into()], ..none() }),
        ("unreadable", v1::IndicatorFilter { owners: vec!["owner".into()], ..none() }),
        ("own assets", v1::IndicatorFilter { own_assets: true, ..none() }),
        ("of nobody", v1::IndicatorFilter { owners: vec!["organisations/nobody".into()], ..none() }),
    ]
}

/// What is the viewer's own, before he has any and after: the hidden values are
/// about it, and some of the open ones.
async fn assets(asker: &mut Asker<'_>) {
    let [get, change] = ASSETS;
    let change_of = |add: &[&str], remove: &[&str], etag: &str| {
        let texts = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        let request_id = Uuid::new_v4().to_string();
        said(&v1::ChangeAssetsRequest {
            request_id,
            add: texts(add),
            remove: texts(remove),
            etag: etag.to_owned(),
        })
    };
    let list = said(&v1::GetAssetsRequest {});
    asker.ask("none yet", Cost::Nothing, get, mask::plain::<v1::GetAssetsResponse>, vec![list.clone()]).await;
    for (what, request) in [
        ("too wide", change_of(&["0.0.0.0/0"], &[], "")),
        ("stale", change_of(&[SECRET], &[], "0f")),
        ("added", change_of(&[SECRET, "198.51.100.0/24", "open-0.example"], &[], "")),
        ("taken off", change_of(&["AS1"], &["another.example"], "")),
    ] {
        let read = mask::plain::<v1::ChangeAssetsResponse>;
        asker.ask(what, Cost::Nothing, change, read, vec![request]).await;
    }
    asker.ask("the list", Cost::Nothing, get, mask::plain::<v1::GetAssetsResponse>, vec![list]).await;
}

async fn searches(asker: &mut Asker<'_>) {
    let [list, lookup, ..] = EXCHANGE;
    for (what, filter) in filters() {
        for page_size in [1, 2, 100] {
            let mut request =
                v1::ListIndicatorsRequest { filter: Some(filter.clone()), page_size, ..Default::default() };
            loop {
                let what = format!("{what} {page_size}");
                let answer = asker.ask(&what, Cost::Passing, list, mask::list, vec![said(&request)]).await;
                let Some(page) = answer.first() else { break };
                let page = v1::ListIndicatorsResponse::decode(page.clone()).unwrap();
                request.page_token = page.next_page_token;
                if request.page_token.is_empty() {
                    break;
                }
            }
        }
    }
    let request = v1::ListIndicatorsRequest { page_token: "x".repeat(40), ..Default::default() };
    asker.ask("a bad token", Cost::Nothing, list, mask::list, vec![said(&request)]).await;
    let values = |values: &[&str]| v1::LookupObservablesRequest {
        observables: values.iter().map(|value| text_value(value)).collect(),
        ..Default::default()
    };
    let requests = [
        ("the value", values(&[SECRET])),
        ("both values", values(&[SECRET, LATER, "open-0.example", "never.example", "\u{0}"])),
        ("nothing", values(&[])),
    ];
    let read = mask::plain::<v1::LookupObservablesResponse>;
    for (what, request) in &requests {
        asker.ask(what, Cost::Nothing, lookup, read, vec![said(request)]).await;
    }
    let all = requests[..2].iter().map(|(_, request)| said(request)).collect();
    asker.ask("several", Cost::Nothing, lookup, read, all).await;
    // What the hidden values contain, and what an open one does.
    let contained = [
        "a.b.secret.gov.kh",
        "http://a.secret.gov.kh/x",
        "bob@secret.gov.kh",
        "198.51.100.7",
        "https://198.51.100.7:8443/",
        "198.51.100.0/24",
        "http://a.open-0.example/",
    ];
    let wide = |asked: &[&str]| {
        let scope = v1::LookupScope::Wide.into();
        said(&v1::LookupObservablesRequest { scope, ..values(asked) })
    };
    for value in contained {
        asker.ask(&format!("wide {value}"), Cost::Nothing, lookup, read, vec![wide(&[value])]).await;
    }
    let all = vec![wide(&contained), wide(&[SECRET, LATER])];
    asker.ask("wide, several", Cost::Nothing, lookup, read, all).await;
    let unknown = v1::LookupObservablesRequest { scope: 99, ..values(&[SECRET]) };
    asker.ask("of an unknown scope", Cost::Nothing, lookup, read, vec![said(&unknown)]).await;
}

/// Rows of tables hold ids and moments, which differ from run to run: what is
/// compared of those is what nobody finds anything in.
async fn exports(asker: &mut Asker<'_>) {
    use v1::ExportFormat::{Csv, Hosts, Iprep, JsonLines, Plain, Rpz, Suricata};
    for (what, filter) in filters() {
        for format in [Plain, Hosts, Rpz, Suricata, Iprep, JsonLines, Csv] {
            let filter = match format {
                JsonLines | Csv => v1::IndicatorFilter { campaigns: vec!["none".into()], ..filter.clone() },
                _ => filter.clone(),
            };
            let request = v1::ExportIndicatorsRequest {
                filter: Some(filter),
                format: format.into(),
                ..v1::ExportIndicatorsRequest::default()
            };
            let what = format!("{what} {}", format.as_str_name());
            asker.ask(&what, Cost::Passing, EXPORT, mask::export, vec![said(&request)]).await;
            let known = v1::ExportIndicatorsRequest { if_none_match: "0".repeat(64), ..request };
            asker.ask(&what, Cost::Passing, EXPORT, mask::export, vec![said(&known)]).await;
        }
    }
}

/// Counts by every dimension, by counters and by going through what matches.
async fn counts(asker: &mut Asker<'_>) {
    let day = |utc_offset_minutes| v1::Histogram { granularity: 1, range: None, utc_offset_minutes };
    for (what, filter) in filters() {
        for group_by in 0..=10 {
            for histogram in [None, Some(day(0)), Some(day(420))] {
                let filter = Some(filter.clone());
                let request = v1::AggregateIndicatorsRequest { filter, group_by, histogram, max_rows: 2 };
                let what = format!("{what} by {group_by} {histogram:?}");
                asker.ask(&what, Cost::Passing, COUNT, mask::counts, vec![said(&request)]).await;
            }
        }
    }
}

/// What opens a stream.
fn open(subscription: &str, start: Option<Start>, initial_credit: u32) -> Bytes {
    open_with(subscription, start, initial_credit, None)
}

fn open_own(start: Option<Start>, initial_credit: u32) -> Bytes {
    let filter = v1::IndicatorFilter { own_assets: true, ..v1::IndicatorFilter::default() };
    open_with("", start, initial_credit, Some(filter))
}

fn open_with(
    subscription: &str,
    start: Option<Start>,
    initial_credit: u32,
    filter: Option<v1::IndicatorFilter>,
) -> Bytes {
    let subscription = match subscription {
        "" => String::new(),
        name => format!("organisations/{VIEWER}/subscriptions/{name}"),
    };
    let open = v1::Open {
        subscription,
        start,
        initial_credit,
        include_sightings: true,
        include_notices: true,
        filter,
    };
    said(&v1::SubscribeRequest { message: Some(Say::Open(open)) })
}

fn at(position: StartPosition) -> Option<Start> {
    Some(Start::Position(position.into()))
}

async fn streams(asker: &mut Asker<'_>, hub: &Hub) {
    // All that the viewer may see of the beginning, and not one event more:
    // the hub ends the stream in good order.
    let events = hub.shown;
    for credit in [1, events] {
        let first = vec![open("", at(StartPosition::Earliest), credit)];
        asker.ask(&format!("earliest {credit}"), Cost::Open, SUBSCRIBE, mask::frame, first).await;
    }
    for credit in [1, hub.standing] {
        let first = vec![open("", at(StartPosition::CurrentState), credit)];
        asker.ask(&format!("state {credit}"), Cost::Open, SUBSCRIBE, mask::frame, first).await;
    }
    // What is hidden is about the viewer's assets, which changed on the way.
    for (what, start) in
        [("own state", StartPosition::CurrentState), ("own earliest", StartPosition::Earliest)]
    {
        asker.ask(what, Cost::Open, SUBSCRIBE, mask::frame, vec![open_own(at(start), 1)]).await;
    }
    let mut state =
        asker.open("whole state", SUBSCRIBE, open("", at(StartPosition::CurrentState), 100)).await;
    asker.take(&mut state, |heed| matches!(heed, Heed::StateEnd(_))).await;
    asker.close(state).await;

    // A named one is followed, acknowledged, left, and taken up again when
    // more has happened, some of it hidden.
    let mut live = asker.open("latest", SUBSCRIBE, open("", at(StartPosition::Latest), 100)).await;
    asker.take(&mut live, |heed| matches!(heed, Heed::Opened(_))).await;
    let mut named = asker.open("named", SUBSCRIBE, open("n", at(StartPosition::Earliest), 100)).await;
    asker.take_events(&mut named, events).await;
    let ack = v1::Ack { resume_token: named.token.clone() };
    named.say.send(said(&v1::SubscribeRequest { message: Some(Say::Ack(ack)) })).await.unwrap();
    asker.take(&mut named, |heed| matches!(heed, Heed::Acked(_))).await;
    let token = named.token.clone();
    hub.go_on(asker).await;
    for mut stream in [live, named] {
        asker.take_events(&mut stream, 1).await;
        asker.close(stream).await;
    }
    subscriptions(asker).await;
    for (what, subscription, start) in
        [("by token", "", Some(Start::ResumeToken(token.clone()))), ("by cursor", "n", None)]
    {
        asker.ask(what, Cost::Open, SUBSCRIBE, mask::frame, vec![open(subscription, start, 1)]).await;
    }
    let mut spoilt = token.to_vec();
    spoilt[0] ^= 1;
    let wrong = [
        ("a spoilt token", open("", Some(Start::ResumeToken(spoilt.into())), 1)),
        ("no start", open("", None, 1)),
        ("no message", Bytes::new()),
    ];
    for (what, first) in wrong {
        asker.ask(what, Cost::Nothing, SUBSCRIBE, mask::frame, vec![first]).await;
    }
    let name = |name: &str| format!("organisations/{VIEWER}/subscriptions/{name}");
    let delete = "/luytre.v1.SubscriptionService/DeleteSubscription";
    for name in [name("n"), name("n"), "organisations/owner/subscriptions/n".into()] {
        let request = vec![said(&v1::DeleteSubscriptionRequest { name })];
        let read = mask::plain::<v1::DeleteSubscriptionResponse>;
        asker.ask("a subscription", Cost::Nothing, delete, read, request).await;
    }
}

async fn subscriptions(asker: &mut Asker<'_>) {
    let get = "/luytre.v1.SubscriptionService/GetSubscription";
    for of in [VIEWER, "owner", "nobody"] {
        let name = format!("organisations/{of}/subscriptions/n");
        let request = vec![said(&v1::GetSubscriptionRequest { name })];
        let read = mask::plain::<v1::GetSubscriptionResponse>;
        asker.ask(of, Cost::Nothing, get, read, request).await;
    }
    let list = "/luytre.v1.SubscriptionService/ListSubscriptions";
    let request = vec![said(&v1::ListSubscriptionsRequest::default())];
    asker.ask("all", Cost::Nothing, list, mask::subscriptions, request).await;
}

/// The dossiers of the hidden values, of what they contain, and of values that
/// stand open.
async fn dossiers(asker: &mut Asker<'_>) {
    let values = [
        (SECRET, Cost::Nothing),
        ("http://a.secret.gov.kh/x", Cost::Nothing),
        (LATER, Cost::Nothing),
        ("198.51.100.7", Cost::Nothing),
        ("own.example", Cost::Nothing),
        // It passes over the sightings that it does not count.
        ("open-0.example", Cost::Passing),
        // It passes over others of its family.
        ("open-2.example", Cost::Passing),
        ("", Cost::Nothing),
    ];
    for (value, cost) in values {
        let request = v1::GetObservableRequest { observable: Some(text_value(value)) };
        asker
            .ask(value, cost, HISTORY[1], mask::plain::<v1::GetObservableResponse>, vec![said(&request)])
            .await;
    }
}

/// Everything that names the record, and the same of one that is open, one
/// that is the viewer's own, and none.
async fn by_name(asker: &mut Asker<'_>, hub: &Hub) {
    let [_, _, get, revoke, report, explain, ..] = EXCHANGE;
    let nothing = String::from("indicators/nothing");
    for (what, name) in
        [("hidden", &hub.secret), ("open", &hub.open), ("own", &hub.own), ("malformed", &nothing)]
    {
        let cost = if what == "hidden" { Cost::Open } else { Cost::Nothing };
        let request = vec![said(&v1::GetIndicatorRequest { name: name.clone(), as_of: None })];
        // It passes over the sightings that it does not show.
        let passing = if cost == Cost::Nothing { Cost::Passing } else { cost };
        asker.ask(what, passing, get, mask::plain::<v1::GetIndicatorResponse>, request).await;
        // The calendar of these hubs begins in 2026.
        for seconds in [1, 4_000_000_000] {
            let as_of = Some(prost_types::Timestamp { seconds, nanos: 0 });
            let request = vec![said(&v1::GetIndicatorRequest { name: name.clone(), as_of })];
            let read = mask::plain::<v1::GetIndicatorResponse>;
            asker.ask("as of a moment", passing, get, read, request).await;
        }
        for page_size in [0, 1] {
            let request =
                v1::ListIndicatorVersionsRequest { name: name.clone(), page_size, ..Default::default() };
            asker.ask(what, cost, HISTORY[0], mask::versions, vec![said(&request)]).await;
        }
        for organisation in ["named", VIEWER, "nobody"] {
            for principal in [String::new(), hub.named_person.clone()] {
                let request = v1::ExplainAccessRequest {
                    name: name.clone(),
                    organisation: format!("organisations/{organisation}"),
                    principal,
                };
                let read = mask::plain::<v1::ExplainAccessResponse>;
                asker.ask(what, cost, explain, read, vec![said(&request)]).await;
            }
        }
        if what != "hidden" {
            let request = v1::ListRecipientsRequest { indicator: name.clone(), ..Default::default() };
            asker.ask(what, Cost::Open, RECIPIENTS, mask::recipients, vec![said(&request)]).await;
        }
        let sighting = v1::Sighting {
            indicator: name.clone(),
            outcome: v1::SightingOutcome::SeenBlocked.into(),
            ..v1::Sighting::default()
        };
        let wide = draft("").marking;
        for sightings in [
            vec![sighting.clone()],
            vec![sighting.clone(), v1::Sighting { indicator: hub.open.clone(), ..sighting.clone() }],
            vec![v1::Sighting { marking: wide, ..sighting.clone() }],
            vec![v1::Sighting { outcome: 0, ..sighting }],
        ] {
            let request = v1::ReportSightingsRequest { request_id: Uuid::new_v4().to_string(), sightings };
            let read = mask::plain::<v1::ReportSightingsResponse>;
            asker.ask(what, cost, report, read, vec![said(&request)]).await;
        }
        for (etag, unit) in [("", ""), ("1", ""), ("", "organisations/owner"), ("", "organisations/nobody")] {
            let revocation = v1::Revocation { reason: 2, ..v1::Revocation::default() };
            let request = v1::RevokeIndicatorRequest {
                request_id: Uuid::new_v4().to_string(),
                name: name.clone(),
                revocation: Some(revocation),
                etag: etag.to_owned(),
                on_behalf_of: unit.to_owned(),
            };
            let read = mask::plain::<v1::RevokeIndicatorResponse>;
            asker.ask(what, cost, revoke, read, vec![said(&request)]).await;
        }
    }
}

/// Leave to republish the record, and the same of the others.
async fn leaves(asker: &mut Asker<'_>, hub: &Hub) {
    let request_id = || Uuid::new_v4().to_string();
    let wish = draft("").marking;
    let nothing = String::from("indicators/nothing");
    for (what, indicator) in
        [("hidden", &hub.secret), ("open", &hub.open), ("own", &hub.own), ("malformed", &nothing)]
    {
        let cost = if what == "hidden" { Cost::Open } else { Cost::Nothing };
        let request = v1::RequestRepublicationRequest {
            request_id: request_id(),
            indicator: indicator.clone(),
            wish: wish.clone(),
            reason: "to warn".to_owned(),
        };
        let read = mask::plain::<v1::RequestRepublicationResponse>;
        asker.ask(what, cost, LEAVE[0], read, vec![said(&request)]).await;
        for unit in ["", "organisations/owner", "organisations/nobody"] {
            for organisation in ["named", VIEWER, "nobody"] {
                let organisation = format!("organisations/{organisation}");
                let request = v1::GrantRepublicationRequest {
                    request_id: request_id(),
                    indicator: indicator.clone(),
                    organisation: organisation.clone(),
                    widest: wish.clone(),
                    on_behalf_of: unit.to_owned(),
                    ..v1::GrantRepublicationRequest::default()
                };
                let read = mask::plain::<v1::GrantRepublicationResponse>;
                asker.ask(what, cost, LEAVE[1], read, vec![said(&request)]).await;
                let request = v1::WithdrawRepublicationRequest {
                    request_id: request_id(),
                    indicator: indicator.clone(),
                    organisation,
                    on_behalf_of: unit.to_owned(),
                    ..v1::WithdrawRepublicationRequest::default()
                };
                let read = mask::plain::<v1::WithdrawRepublicationResponse>;
                asker.ask(what, cost, LEAVE[2], read, vec![said(&request)]).await;
            }
        }
        let further = v1::IndicatorDraft { republication_of: indicator.clone(), ..draft("further.example") };
        let request = batch(Uuid::new_v4(), vec![further]);
        let [.., publish, _] = EXCHANGE;
        let read = mask::plain::<v1::PublishIndicatorsResponse>;
        asker.ask(what, cost, publish, read, vec![said(&request)]).await;
    }
    for awaiting_answer in [false, true] {
        let request = v1::ListRepublicationsRequest { awaiting_answer, ..Default::default() };
        asker.ask("all", Cost::Nothing, LEAVE[3], mask::leaves, vec![said(&request)]).await;
    }
}

/// What is held of the record, and of the others.
async fn held(asker: &mut Asker<'_>, hub: &Hub) {
    let nothing = String::from("indicators/nothing");
    for (what, indicator) in
        [("hidden", &hub.secret), ("open", &hub.open), ("own", &hub.own), ("malformed", &nothing)]
    {
        let cost = if what == "hidden" { Cost::Open } else { Cost::Nothing };
        let (request_id, name) = (Uuid::new_v4().to_string(), format!("{indicator}/held"));
        let (etag, note) = ("17".to_owned(), "why".to_owned());
        let request = v1::ApprovePublicationRequest { request_id, name, etag, note };
        let read = mask::plain::<v1::ApprovePublicationResponse>;
        asker.ask(what, cost, HELD[1], read, vec![said(&request)]).await;
        let v1::ApprovePublicationRequest { name, etag, note, .. } = request;
        let request_id = Uuid::new_v4().to_string();
        let request = v1::RejectPublicationRequest { request_id, name, etag, note };
        let read = mask::plain::<v1::RejectPublicationResponse>;
        asker.ask(what, cost, HELD[2], read, vec![said(&request)]).await;
        let (request_id, name) = (Uuid::new_v4().to_string(), indicator.clone());
        let request = v1::HoldIndicatorRequest { request_id, name, reason: "why".to_owned() };
        let read = mask::plain::<v1::HoldIndicatorResponse>;
        asker.ask(what, cost, HELD[3], read, vec![said(&request)]).await;
        let (request_id, name) = (Uuid::new_v4().to_string(), indicator.clone());
        let request = v1::ReleaseIndicatorRequest { request_id, name, note: "why".to_owned() };
        let read = mask::plain::<v1::ReleaseIndicatorResponse>;
        asker.ask(what, cost, HELD[4], read, vec![said(&request)]).await;
    }
    for waiting in [false, true] {
        let request = v1::ListHeldPublicationsRequest { waiting, ..Default::default() };
        asker.ask("all", Cost::Nothing, HELD[0], mask::held, vec![said(&request)]).await;
    }
}

async fn who_takes_part(asker: &mut Asker<'_>) {
    let get = "/luytre.v1.DirectoryService/GetOrganisation";
    for slug in ["owner", "me", "nobody"] {
        let request = vec![said(&v1::GetOrganisationRequest { name: format!("organisations/{slug}") })];
        asker.ask(slug, Cost::Nothing, get, mask::plain::<v1::GetOrganisationResponse>, request).await;
    }
    let list = "/luytre.v1.DirectoryService/ListOrganisations";
    let request = vec![said(&v1::ListOrganisationsRequest::default())];
    asker.ask("all", Cost::Nothing, list, mask::plain::<v1::ListOrganisationsResponse>, request).await;
    let me = "/luytre.v1.DirectoryService/WhoAmI";
    asker.ask("me", Cost::Nothing, me, mask::whoami, vec![said(&v1::WhoAmIRequest {})]).await;
}

async fn rosters(asker: &mut Asker<'_>) {
    let get = "/luytre.v1.RosterService/GetRoster";
    let request = || vec![said(&v1::GetRosterRequest {})];
    let answer = asker.ask("all", Cost::Nothing, get, mask::roster, request()).await;
    let v1::GetRosterResponse { document, etag, .. } =
        v1::GetRosterResponse::decode(answer[0].clone()).unwrap();
    let mut file: serde_json::Value = serde_json::from_slice(&document).unwrap();
    let operator = serde_json::json!({
        "id": "spiffe://test.luytre.example/org/viewer/user/second", "roles": ["operator"],
    });
    file["principals"].as_array_mut().unwrap().push(operator);
    let changed = Bytes::from(file.to_string());
    let (diff, apply) = ("/luytre.v1.RosterService/DiffRoster", "/luytre.v1.RosterService/ApplyRoster");
    for (what, document) in [("the same", document), ("changed", changed), ("unreadable", "{".into())] {
        let request = v1::DiffRosterRequest { document: document.clone(), etag: etag.clone() };
        let read = mask::plain::<v1::DiffRosterResponse>;
        asker.ask(what, Cost::Nothing, diff, read, vec![said(&request)]).await;
        let request_id = Uuid::new_v4().to_string();
        let request = v1::ApplyRosterRequest { request_id, document, etag: etag.clone() };
        let read = mask::plain::<v1::ApplyRosterResponse>;
        asker.ask(what, Cost::Nothing, apply, read, vec![said(&request)]).await;
    }
    let list = "/luytre.v1.RosterService/ListPendingChanges";
    let read = mask::plain::<v1::ListPendingChangesResponse>;
    let asked = vec![said(&v1::ListPendingChangesRequest::default())];
    let answer = asker.ask("all", Cost::Nothing, list, read, asked).await;
    let waiting = v1::ListPendingChangesResponse::decode(answer[0].clone()).unwrap().pending_changes;
    assert_eq!(waiting.len(), 1, "{waiting:?}");
    for name in [waiting[0].name.clone(), format!("pendingChanges/{}", Uuid::new_v4())] {
        let request_id = Uuid::new_v4().to_string();
        let request = v1::ApproveChangeRequest { request_id: request_id.clone(), name: name.clone() };
        let (approve, read) =
            ("/luytre.v1.RosterService/ApproveChange", mask::plain::<v1::ApproveChangeResponse>);
        asker.ask("a change", Cost::Nothing, approve, read, vec![said(&request)]).await;
        let request = v1::RejectChangeRequest { request_id, name, reason: String::new() };
        let (reject, read) =
            ("/luytre.v1.RosterService/RejectChange", mask::plain::<v1::RejectChangeResponse>);
        asker.ask("a change", Cost::Nothing, reject, read, vec![said(&request)]).await;
    }
}

/// None of them knows of indicators; each is asked for nothing in particular.
async fn certificates(asker: &mut Asker<'_>) {
    macro_rules! ask {
        ($($method:ident $response:ident)*) => { $(
            let method = concat!("/luytre.v1.CertificateService/", stringify!($method));
            let read = mask::plain::<v1::$response>;
            asker.ask("nothing", Cost::Nothing, method, read, vec![Bytes::new()]).await;
        )* };
    }
    ask! {
        RenewCertificate RenewCertificateResponse
        GetTrustBundle GetTrustBundleResponse
        GetRevocationList GetRevocationListResponse
        IssueEnrollmentToken IssueEnrollmentTokenResponse
        ListEnrollmentTokens ListEnrollmentTokensResponse
        ApproveEnrollmentToken ApproveEnrollmentTokenResponse
        CancelEnrollmentToken CancelEnrollmentTokenResponse
        ListCertificates ListCertificatesResponse
        GetCertificate GetCertificateResponse
        RevokeCertificate RevokeCertificateResponse
        ConfirmCertificates ConfirmCertificatesResponse
        SeverConnections SeverConnectionsResponse
        ListAuthorities ListAuthoritiesResponse
        RotateAuthority RotateAuthorityResponse
    }
}

async fn platform(asker: &mut Asker<'_>) {
    let health = |service: &str| said(&HealthCheckRequest { service: service.to_owned() });
    let read = mask::plain::<HealthCheckResponse>;
    for service in ["", "luytre.v1.ExchangeService", "nothing"] {
        let check = "/grpc.health.v1.Health/Check";
        asker.ask(service, Cost::Nothing, check, read, vec![health(service)]).await;
    }
    asker.first("hub", "/grpc.health.v1.Health/Watch", read, health("")).await;
    for method in [
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
    ] {
        let message_request = Some(MessageRequest::ListServices(String::new()));
        let asked = ServerReflectionRequest { host: String::new(), message_request };
        let read = mask::plain::<ServerReflectionResponse>;
        asker.ask("services", Cost::Nothing, method, read, vec![said(&asked)]).await;
    }
}

/// Of the audit only what does not count the calls of others, which is not
/// hidden: see docs/audit.md.
async fn audits(asker: &mut Asker<'_>) {
    let list = "/luytre.v1.AuditService/ListAuditRecords";
    let read = mask::plain::<v1::ListAuditRecordsResponse>;
    let none = v1::ListAuditRecordsRequest { method: "None".into(), ..Default::default() };
    asker.ask("no method", Cost::Nothing, list, read, vec![said(&none)]).await;
    let consistency = "/luytre.v1.AuditService/GetConsistencyProof";
    let read = mask::plain::<v1::GetConsistencyProofResponse>;
    for (old_size, new_size) in [(0, 0), (1, 1), (1, 0), (1, u64::MAX)] {
        let asked = said(&v1::GetConsistencyProofRequest { old_size, new_size });
        asker.ask(&format!("{old_size} {new_size}"), Cost::Nothing, consistency, read, vec![asked]).await;
    }
    let inclusion = "/luytre.v1.AuditService/GetInclusionProof";
    let read = mask::plain::<v1::GetInclusionProofResponse>;
    for (index, size) in [(0, 0), (0, u64::MAX)] {
        let asked = said(&v1::GetInclusionProofRequest { index, size });
        asker.ask(&format!("{index} {size}"), Cost::Nothing, inclusion, read, vec![asked]).await;
    }
    asker.asked.extend(["/luytre.v1.AuditService/GetCheckpoint", "/luytre.v1.AuditService/ExportAuditLog"]);
}

async fn publishes(asker: &mut Asker<'_>, hub: &Hub) {
    let [.., publish, stream] = EXCHANGE;
    let read = mask::plain::<v1::PublishIndicatorsResponse>;
    let narrow = |value| amber(draft(value), &["other"]);
    let described = |value| v1::IndicatorDraft { description: "seen here".into(), ..draft(value) };
    let for_owner = v1::PublishIndicatorsRequest {
        on_behalf_of: "organisations/owner".into(),
        ..batch(Uuid::new_v4(), vec![draft(SECRET)])
    };
    let again = batch(Uuid::new_v4(), vec![described(SECRET)]);
    let requests = [
        ("new", batch(Uuid::new_v4(), vec![narrow(SECRET)])),
        ("unchanged", batch(Uuid::new_v4(), vec![narrow(SECRET)])),
        ("wider", batch(Uuid::new_v4(), vec![draft(SECRET)])),
        ("updated", again.clone()),
        ("a retry", again),
        ("for another", for_owner),
        ("several", batch(Uuid::new_v4(), vec![draft(SECRET), draft("open-1.example"), draft("")])),
        ("none", batch(Uuid::new_v4(), vec![])),
    ];
    for (what, request) in &requests {
        hub.settle(asker).await;
        asker.ask(what, Cost::Nothing, publish, read, vec![said(request)]).await;
    }
    let requests = [narrow(LATER), narrow(LATER), draft(LATER), described(LATER)];
    let requests = requests.map(|draft| said(&batch(Uuid::new_v4(), vec![draft])));
    for request in requests {
        hub.settle(asker).await;
        asker.ask("one after the other", Cost::Nothing, stream, read, vec![request]).await;
    }
}
