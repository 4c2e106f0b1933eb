//! Whose a masked record is: the owner learns it and who leads, if he may see
//! the record at all; for everyone else it is as absent as what never was.

use std::collections::{BTreeMap, BTreeSet};

use luytre::hub::error::Reason;
use luytre::hub::{Open, Start};
use luytre::model::indicator::lifecycle::{Revocation, RevocationReason};
use luytre::model::indicator::{Draft, Observable, normalise};
use luytre::model::marking::{Caveats, Marking, Recipients, Tlp};
use luytre::model::query::IndicatorFilter;
use luytre::model::roster::{Duty, Patch};
use luytre::wire::disclosure;
use luytre::wire::proto::v1;
use proptest::prelude::*;
use prost::Message as _;
use uuid::Uuid;

use super::support::{Engine, Event, ORGS, block_on, slug};

const ALPHA: usize = 0;
const BRAVO: usize = 1;
const CHARLIE: usize = 2;
const DELTA: usize = 3;

const NEW: i32 = 1;
const UPDATE: i32 = 2;
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

    /// The recipients as they are told.
    fn told(self) -> Vec<String> {
        self.marking().recipients.organisations.iter().map(|org| format!("organisations/{org}")).collect()
    }
}

#[derive(Debug, Clone, Copy)]
enum Op {
    Publish {
        owner: usize,
        value: usize,
        reach: Reach,
    },
    Revoke {
        owner: usize,
        value: usize,
    },
    /// Who leads from now on.
    Lead(u8),
}

fn op() -> impl Strategy<Value = Op> {
    let publish = (0..2_usize, 0..3_usize, 0..16_u8, any::<bool>())
        .prop_map(|(owner, value, to, masked)| Op::Publish { owner, value, reach: Reach { to, masked } });
    prop_oneof![
        6 => publish,
        1 => (0..2_usize, 0..3_usize).prop_map(|(owner, value)| Op::Revoke { owner, value }),
        2 => (0..16_u8).prop_map(Op::Lead),
    ]
}

#[derive(Debug, Clone)]
struct Record {
    id: Uuid,
    revoked: bool,
    /// Versions and how far each travelled.
    versions: Vec<(u64, Reach)>,
}

/// A record is named by its owner and its value.
#[derive(Debug, Default)]
struct Model {
    records: BTreeMap<(usize, usize), Record>,
    lead: u8,
    /// Records that say only that all before them has come.
    marks: BTreeSet<String>,
}

fn value(n: usize) -> Observable {
    normalise::detect(&format!("v{n}.example")).unwrap().observable
}

fn name(id: Uuid) -> String {
    format!("indicators/{id}")
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

impl Model {
    async fn apply(&mut self, hub: &Engine, op: Op) {
        match op {
            Op::Publish { owner, value: n, reach } => {
                let revoked = self.records.get(&(owner, n)).is_some_and(|record| record.revoked);
                let reinstate = revoked.then(|| "it was right".to_owned());
                let draft = Draft { reinstate, ..Draft::new(value(n), reach.marking()) };
                let answer = hub.hub.publish(&hub.caller(owner), Uuid::new_v4(), vec![Ok(draft)]).await;
                let published = answer.unwrap().remove(0).unwrap();
                let record = self.records.entry((owner, n)).or_insert_with(|| Record {
                    id: published.id,
                    revoked: false,
                    versions: Vec::new(),
                });
                assert_eq!(record.id, published.id);
                let same = !revoked && record.versions.last().is_some_and(|(_, last)| *last == reach);
                let stood = record.versions.last().map(|(version, _)| *version);
                assert_eq!(stood == Some(published.version), same, "{reach:?} is news unless it stood");
                if !same {
                    record.versions.push((published.version, reach));
                }
                record.revoked = false;
            }
            Op::Revoke { owner, value } => {
                let Some(record) = self.records.get_mut(&(owner, value)).filter(|r| !r.revoked) else {
                    return;
                };
                let revocation = Revocation { reason: RevocationReason::Withdrawn, note: String::new() };
                let caller = hub.caller(owner);
                let revoked =
                    hub.hub.revoke(&caller, Uuid::new_v4(), record.id, revocation, None).await.unwrap();
                let revoked = v1::Indicator::decode(revoked).unwrap();
                let reach = record.versions.last().unwrap().1;
                assert_eq!(revoked.owner, organisation(owner), "the owner is told");
                assert_eq!(revoked.marking.unwrap().organisations, reach.told());
                record.revoked = true;
                record.versions.push((revoked.version, reach));
            }
            Op::Lead(units) => {
                if units != self.lead {
                    hub.hub.change_roster(&hub.caller(ALPHA), Uuid::new_v4(), lead(units)).await.unwrap();
                    self.lead = units;
                }
            }
        }
    }

    /// Publishes an open record that every viewer asks for.
    async fn mark(&mut self, hub: &Engine, owners: Option<u8>) -> String {
        let owner = owners.unwrap_or(1).trailing_zeros() as usize;
        let value = normalise::detect(&format!("mark{}.example", self.marks.len())).unwrap().observable;
        let draft = Draft::new(value, Marking::open(Tlp::Green));
        let answer = hub.hub.publish(&hub.caller(owner), Uuid::new_v4(), vec![Ok(draft)]).await.unwrap();
        let mark = name(answer[0].as_ref().unwrap().id);
        self.marks.insert(mark.clone());
        mark
    }

    fn sees(viewer: usize, owner: usize, reach: Reach) -> bool {
        viewer == owner || reach.to & 1 << viewer != 0
    }

    fn is_told(&self, viewer: usize, owner: usize, reach: Reach) -> bool {
        let leads = self.lead & 1 << viewer != 0;
        Self::sees(viewer, owner, reach) && (!reach.masked || viewer == owner || leads)
    }

    /// What the viewer finds in `owners` (none: everyone's): records that are
    /// active, newest first.
    fn found(&self, viewer: usize, owners: Option<u8>) -> Vec<(usize, usize)> {
        let mut found: Vec<_> = self
            .records
            .iter()
            .filter(|((owner, _), record)| {
                let reach = record.versions.last().unwrap().1;
                let asked = match owners {
                    None => Self::sees(viewer, *owner, reach),
                    Some(owners) => owners & 1 << owner != 0 && self.is_told(viewer, *owner, reach),
                };
                asked && !record.revoked
            })
            .map(|(key, record)| (record.versions.last().unwrap().0, *key))
            .collect();
        found.sort_unstable_by(|a, b| b.cmp(a));
        found.into_iter().map(|(_, key)| key).collect()
    }

    /// Checks whom an indicator names as its source.
    fn check(&self, viewer: usize, shown: &v1::Indicator) {
        let record = |record: &&Record| name(record.id) == shown.name;
        let (&(owner, _), record) = self.records.iter().find(|(_, r)| record(r)).expect("a known record");
        let (_, reach) = *record.versions.iter().find(|(v, _)| *v == shown.version).expect("a known version");
        let now = record.versions.last().unwrap().1;
        let told = if reach.masked || !now.masked {
            self.is_told(viewer, owner, reach) || !reach.masked
        } else {
            self.is_told(viewer, owner, now)
        };
        let marking = shown.marking.clone().unwrap();
        let expected = if told { (organisation(owner), reach.told()) } else { (String::new(), Vec::new()) };
        assert_eq!((shown.owner.clone(), marking.organisations), expected, "{reach:?}, now {now:?}");
        let masked = marking.caveats.is_some_and(|caveats| caveats.masked_source);
        assert_eq!(masked, reach.masked || !told);
    }

    async fn check_answers(&self, hub: &Engine, viewer: usize, owners: Option<u8>) {
        let caller = hub.caller(viewer);
        let found = self.found(viewer, owners);
        let ids: Vec<_> = found.iter().map(|key| name(self.records[key].id)).collect();
        let page = hub.hub.list(&caller, asked(owners), 100, "").await.unwrap();
        assert_eq!(page.next_page_token, "");
        let listed = page.indicators.into_iter().map(|bytes| v1::Indicator::decode(bytes).unwrap());
        let listed: Vec<_> = listed.filter(|listed| !self.marks.contains(&listed.name)).collect();
        assert_eq!(listed.iter().map(|i| i.name.clone()).collect::<Vec<_>>(), ids);
        listed.iter().for_each(|indicator| self.check(viewer, indicator));
        for (&(owner, n), record) in &self.records {
            let reach = record.versions.last().unwrap().1;
            let got = hub.hub.get(&caller, record.id).await;
            assert_eq!(got.is_ok(), Self::sees(viewer, owner, reach));
            if let Ok(got) = got {
                self.check(viewer, &v1::Indicator::decode(got.indicator).unwrap());
            }
            let matches = hub.hub.lookup(&caller, vec![value(n)]).await.unwrap().remove(0);
            let met = matches.iter().find(|found| found.id == record.id);
            let told = self.is_told(viewer, owner, reach).then(|| slug(owner));
            assert_eq!(
                met.map(|found| found.owner.clone()),
                Self::sees(viewer, owner, reach).then_some(told)
            );
        }
    }
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

/// What a subscriber has who follows.
fn follow(held: &mut BTreeSet<String>, events: &[Event]) {
    for event in events {
        let name = event.indicator.as_ref().unwrap().name.clone();
        if matches!(event.kind, NEW | UPDATE) {
            held.insert(name);
        } else {
            held.remove(&name);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 24, max_shrink_iters: 60, failure_persistence: None, ..ProptestConfig::default()
    })]

    #[test]
    fn a_source_is_told_to_whom_the_model_says_on_every_path(
        ops in prop::collection::vec((op(), any::<bool>()), 1..14),
        viewer in 0..4_usize, owners in prop::option::of(1..16_u8),
    ) {
        block_on(async {
            let hub = Engine::new();
            let mut model = Model::default();
            let open = || Open {
                filter: asked(owners), start: Some(Start::Earliest), credit: 1_000, ..Open::default()
            };
            let mut live = hub.stream(viewer, open()).await.unwrap();
            let mut held = BTreeSet::new();
            let ids = |model: &Model| -> BTreeSet<_> {
                model.found(viewer, owners).iter().map(|key| name(model.records[key].id)).collect()
            };
            for (op, look) in ops {
                hub.clock.advance(20);
                model.apply(&hub, op).await;
                if look {
                    let mark = model.mark(&hub, owners).await;
                    follow(&mut held, &live.up_to(&mark).await);
                    held.retain(|name| !model.marks.contains(name));
                    assert_eq!(held, ids(&model));
                    model.check_answers(&hub, viewer, owners).await;
                }
            }
            let mark = model.mark(&hub, owners).await;
            let mut late = hub.stream(viewer, open()).await.unwrap();
            let mut events = late.up_to(&mark).await;
            events.retain(|event| !model.marks.contains(&event.indicator.as_ref().unwrap().name));
            let mut held = BTreeSet::new();
            follow(&mut held, &events);
            assert_eq!(held, ids(&model));
            for event in events.iter().filter(|event| event.kind != WITHDRAWN) {
                model.check(viewer, &merged(event));
            }
            model.check_answers(&hub, viewer, owners).await;
            drop((live, late));
            let dir = hub.close().await;
            let report = luytre::hub::verify(&dir.path().join("hub"), |_| ()).unwrap();
            assert!(report.is_clean(), "{:?}", report.differences);
        });
    }
}

/// What charlie is shown where `owner` publishes every masked record, and
/// alpha open ones between: pages of two, events, and lookups.
async fn shown(owner: usize, owners: Option<u8>) -> Vec<Vec<(String, String, bool)>> {
    let hub = Engine::new();
    hub.hub.change_roster(&hub.caller(ALPHA), Uuid::new_v4(), lead(0b1011)).await.unwrap();
    for n in 0..12 {
        let masked = n % 3 != 0;
        let reach = Reach { to: if n % 2 == 0 { 0b1100 } else { 0b1111 }, masked };
        let publisher = if masked { owner } else { ALPHA };
        let draft = Draft::new(value(n), reach.marking());
        hub.hub.publish(&hub.caller(publisher), Uuid::new_v4(), vec![Ok(draft)]).await.unwrap();
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
        let mut model = Model::default();
        let publish = |value, to| Op::Publish { owner: ALPHA, value, reach: Reach { to, masked: true } };
        model.apply(&hub, publish(0, 0b0100)).await;
        model.apply(&hub, publish(1, 0b1000)).await;
        let open =
            Open { filter: asked(Some(1)), start: Some(Start::Earliest), credit: 9, ..Open::default() };
        let mut live = hub.stream(CHARLIE, open).await.unwrap();
        assert_eq!(live.drain(9).await.len(), 0);
        model.apply(&hub, Op::Lead(1 << CHARLIE)).await;
        let told = live.drain(9).await;
        let event = &told[0].events[0];
        assert_eq!((told.len(), event.kind, merged(event).owner), (1, NEW, organisation(ALPHA)));
        model.apply(&hub, Op::Lead(0)).await;
        let told = live.drain(9).await;
        assert_eq!((told.len(), told[0].events[0].kind), (1, WITHDRAWN));
    });
}

#[test]
fn only_the_owner_lowers_the_marking_of_his_record() {
    block_on(async {
        let hub = Engine::new();
        let mut model = Model::default();
        let reach = Reach { to: 1 << CHARLIE, masked: true };
        model.apply(&hub, Op::Lead(1 << CHARLIE)).await;
        model.apply(&hub, Op::Publish { owner: ALPHA, value: 0, reach }).await;
        let wide = Reach { to: 0b1111, masked: false };
        model.apply(&hub, Op::Publish { owner: CHARLIE, value: 0, reach: wide }).await;
        let (source, copy) = (model.records[&(ALPHA, 0)].id, model.records[&(CHARLIE, 0)].id);
        assert_ne!(source, copy, "what the lead unit says of a value is its own record");
        assert!(hub.hub.get(&hub.caller(BRAVO), source).await.is_err());
        assert!(hub.hub.get(&hub.caller(BRAVO), copy).await.is_ok());
        let withdrawn = Revocation { reason: RevocationReason::Withdrawn, note: String::new() };
        let lead = hub.caller(CHARLIE);
        let refused = hub.hub.revoke(&lead, Uuid::new_v4(), source, withdrawn, None).await.unwrap_err();
        assert_eq!(refused.reason, Reason::RoleInsufficient);
        model.apply(&hub, Op::Publish { owner: ALPHA, value: 0, reach: wide }).await;
        assert!(hub.hub.get(&hub.caller(BRAVO), source).await.is_ok());
    });
}

#[test]
fn a_record_that_was_open_comes_masked_from_every_replay_once_it_is_masked() {
    block_on(async {
        let hub = Engine::new();
        let mut model = Model::default();
        let publish = |masked| Op::Publish { owner: ALPHA, value: 0, reach: Reach { to: 0b1100, masked } };
        model.apply(&hub, publish(false)).await;
        let first = hub.hub.list(&hub.caller(CHARLIE), asked(None), 1, "").await.unwrap();
        assert_eq!(v1::Indicator::decode(first.indicators[0].clone()).unwrap().owner, organisation(ALPHA));
        model.apply(&hub, publish(true)).await;
        model.apply(&hub, Op::Lead(1 << DELTA)).await;
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
