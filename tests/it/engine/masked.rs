//! Whose a masked record is: the owner learns it and who leads, if he may see
//! the record at all; for everyone else it is as absent as what never was.

use luytre::hub::error::Reason;
use luytre::hub::{Open, Start};
use luytre::model::indicator::lifecycle::{Revocation, RevocationReason};
use luytre::model::indicator::{Draft, Observable, normalise};
use luytre::model::marking::{Caveats, Marking, Recipients, Tlp};
use luytre::model::query::IndicatorFilter;
use luytre::model::roster::{Duty, Patch};
use luytre::wire::disclosure;
use luytre::wire::proto::v1;
use prost::Message as _;
use uuid::Uuid;

use super::support::{Engine, Event, ORGS, block_on, slug};

const ALPHA: usize = 0;
const BRAVO: usize = 1;
const CHARLIE: usize = 2;
const DELTA: usize = 3;

const NEW: i32 = 1;
const WITHDRAWN: i32 = 3;

/// How far a version travels, in the test's own words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Reach {
    /// A bit for each organisation that is named; all: TLP:GREEN.
    to: u8,
    masked: bool,
}

impl Reach {
    fn marking(self) -> Marking {
        let organisations = (0..ORGS.len()).filter(|org| self.to & 1 << org != 0).map(slug).collect();
        let caveats = if self.masked { Caveats::MASKED_SOURCE } else { Caveats::NONE };
        if self.to == 0b1111 {
            return Marking { caveats, ..Marking::open(Tlp::Green) };
        }
        Marking {
            tlp: Tlp::Amber,
            recipients: Recipients { organisations, ..Recipients::default() },
            caveats,
        }
    }
}

fn value(n: usize) -> Observable {
    normalise::detect(&format!("v{n}.example")).unwrap().observable
}

fn organisation(org: usize) -> String {
    format!("organisations/{}", ORGS[org])
}

fn lead(units: u8) -> Patch {
    let duty = |org| Duty {
        duty: "lead-unit-infosec".into(),
        scope: "city".into(),
        holder: slug(org),
        from: None,
        to: None,
        legal_basis: "a decision".into(),
    };
    let duties = (0..ORGS.len()).filter(|org| units & 1 << org != 0).map(duty).collect();
    Patch { duties: Some(duties), ..Patch::default() }
}

/// Publishes a value; the record's id.
async fn publish(hub: &Engine, owner: usize, n: usize, reach: Reach) -> Uuid {
    let draft = Draft::new(value(n), reach.marking());
    let answer = hub.hub.publish(&hub.caller(owner), Uuid::new_v4(), vec![Ok(draft)]).await.unwrap();
    answer.into_iter().next().unwrap().unwrap().id
}

/// Lets these lead from now on.
async fn let_lead(hub: &Engine, units: u8) {
    hub.hub.change_roster(&hub.caller(ALPHA), Uuid::new_v4(), lead(units)).await.unwrap();
}

fn asked(owners: Option<u8>) -> IndicatorFilter {
    let mut owners: Vec<_> =
        (0..ORGS.len()).filter(|org| owners.unwrap_or_default() & 1 << org != 0).map(slug).collect();
    owners.sort();
    IndicatorFilter { owners, ..IndicatorFilter::default() }
}

/// The indicator that an event brings, with what is disclosed of it.
fn merged(event: &Event) -> v1::Indicator {
    let mut events = [v1::Event {
        event_id: event.event_id.clone(),
        subject: event.indicator.clone().map(v1::event::Subject::Indicator),
    }];
    let disclosures = event.disclosure.iter().map(|d| v1::Disclosure { index: 0, ..d.clone() }).collect();
    disclosure::merge(&mut events, disclosures).unwrap();
    let [v1::Event { subject: Some(v1::event::Subject::Indicator(indicator)), .. }] = events else {
        panic!()
    };
    indicator
}

/// What charlie is shown where `owner` publishes every masked record, and
/// alpha open ones between: pages of two, events, and lookups.
async fn shown(owner: usize, owners: Option<u8>) -> Vec<Vec<(String, String, bool)>> {
    let hub = Engine::new();
    let_lead(&hub, 0b1011).await;
    for n in 0..12 {
        let masked = n % 3 != 0;
        let reach = Reach { to: if n % 2 == 0 { 0b1100 } else { 0b1111 }, masked };
        let publisher = if masked { owner } else { ALPHA };
        publish(&hub, publisher, n, reach).await;
        hub.clock.advance(50);
    }
    let row = |indicator: &v1::Indicator, more: bool| {
        let Some(v1::Observable { value: Some(v1::observable::Value::Domain(value)) }) =
            &indicator.observable
        else {
            panic!("a domain");
        };
        (value.clone(), indicator.owner.clone(), more)
    };
    let (caller, mut out, mut token) = (hub.caller(CHARLIE), Vec::new(), String::new());
    loop {
        let page = hub.hub.list(&caller, asked(owners), 2, &token).await.unwrap();
        token = page.next_page_token;
        let rows = page.indicators.into_iter().map(|bytes| v1::Indicator::decode(bytes).unwrap());
        out.push(rows.map(|indicator| row(&indicator, !token.is_empty())).collect());
        if token.is_empty() {
            break;
        }
    }
    let open = Open { filter: asked(owners), start: Some(Start::Earliest), credit: 5, ..Open::default() };
    let mut stream = hub.stream(CHARLIE, open).await.unwrap();
    for batch in stream.drain(5).await {
        out.push(batch.events.iter().map(|event| row(&merged(event), event.disclosure.is_some())).collect());
    }
    for n in 0..12 {
        let draft = Draft::new(value(n), Marking::open(Tlp::Green));
        hub.hub.publish(&hub.caller(BRAVO), Uuid::new_v4(), vec![Ok(draft)]).await.unwrap();
    }
    for mut matches in hub.hub.lookup(&caller, (0..12).map(value).collect()).await.unwrap() {
        assert!(matches.is_sorted_by_key(|found| found.id), "an order that says nothing of owners");
        matches.sort_by_key(|found| found.owner.clone());
        let owner = |m: &luytre::hub::Match| m.owner.as_ref().map(ToString::to_string).unwrap_or_default();
        out.push(matches.iter().map(|m| (String::new(), owner(m), false)).collect());
    }
    out
}

#[test]
fn whichever_owner_stands_behind_masked_records_a_viewer_sees_the_same() {
    block_on(async {
        for owners in [None, Some(1 << ALPHA), Some(1 << DELTA), Some(0b1111)] {
            let alphas = shown(ALPHA, owners).await;
            assert_eq!(alphas, shown(DELTA, owners).await, "{owners:?}");
            let masked =
                alphas.iter().flatten().filter(|(value, owner, _)| !value.is_empty() && owner.is_empty());
            assert_eq!(
                masked.count(),
                if owners.is_none() { 16 } else { 0 },
                "listed and sent, unless asked for"
            );
        }
    });
}

#[test]
fn a_new_lead_unit_that_follows_an_owner_gets_what_it_may_see_and_loses_it_with_the_duty() {
    block_on(async {
        let hub = Engine::new();
        publish(&hub, ALPHA, 0, Reach { to: 0b0100, masked: true }).await;
        publish(&hub, ALPHA, 1, Reach { to: 0b1000, masked: true }).await;
        let open =
            Open { filter: asked(Some(1)), start: Some(Start::Earliest), credit: 9, ..Open::default() };
        let mut live = hub.stream(CHARLIE, open).await.unwrap();
        assert_eq!(live.drain(9).await.len(), 0);
        let_lead(&hub, 1 << CHARLIE).await;
        let told = live.drain(9).await;
        let event = &told[0].events[0];
        assert_eq!((told.len(), event.kind, merged(event).owner), (1, NEW, organisation(ALPHA)));
        let_lead(&hub, 0).await;
        let told = live.drain(9).await;
        assert_eq!((told.len(), told[0].events[0].kind), (1, WITHDRAWN));
    });
}

#[test]
fn only_the_owner_lowers_the_marking_of_his_record() {
    block_on(async {
        let hub = Engine::new();
        let reach = Reach { to: 1 << CHARLIE, masked: true };
        let_lead(&hub, 1 << CHARLIE).await;
        let source = publish(&hub, ALPHA, 0, reach).await;
        let wide = Reach { to: 0b1111, masked: false };
        let copy = publish(&hub, CHARLIE, 0, wide).await;
        assert_ne!(source, copy, "what the lead unit says of a value is its own record");
        assert!(hub.hub.get(&hub.caller(BRAVO), source).await.is_err());
        assert!(hub.hub.get(&hub.caller(BRAVO), copy).await.is_ok());
        let withdrawn = Revocation { reason: RevocationReason::Withdrawn, note: String::new() };
        let lead = hub.caller(CHARLIE);
        let refused = hub.hub.revoke(&lead, Uuid::new_v4(), source, withdrawn, None).await.unwrap_err();
        assert_eq!(refused.reason, Reason::RoleInsufficient);
        publish(&hub, ALPHA, 0, wide).await;
        assert!(hub.hub.get(&hub.caller(BRAVO), source).await.is_ok());
    });
}

#[test]
fn a_record_that_was_open_comes_masked_from_every_replay_once_it_is_masked() {
    block_on(async {
        let hub = Engine::new();
        publish(&hub, ALPHA, 0, Reach { to: 0b1100, masked: false }).await;
        let first = hub.hub.list(&hub.caller(CHARLIE), asked(None), 1, "").await.unwrap();
        assert_eq!(v1::Indicator::decode(first.indicators[0].clone()).unwrap().owner, organisation(ALPHA));
        publish(&hub, ALPHA, 0, Reach { to: 0b1100, masked: true }).await;
        let_lead(&hub, 1 << DELTA).await;
        for (viewer, owner) in [(CHARLIE, ""), (DELTA, "organisations/alpha")] {
            let open = Open { start: Some(Start::Earliest), credit: 9, ..Open::default() };
            let mut late = hub.stream(viewer, open).await.unwrap();
            let told = late.drain(9).await;
            let events: Vec<_> = told.iter().flat_map(|batch| &batch.events).map(merged).collect();
            assert_eq!(events.iter().map(|i| i.owner.as_str()).collect::<Vec<_>>(), [owner, owner]);
            let to = events.iter().map(|i| i.marking.as_ref().unwrap().organisations.len());
            assert_eq!(to.collect::<Vec<_>>(), if owner.is_empty() { [0, 0] } else { [2, 2] });
        }
    });
}
