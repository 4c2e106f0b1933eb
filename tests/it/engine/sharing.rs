//! Who sees what as the roster changes: what a member gains and loses comes to
//! it as events, at the change's own place, and nothing else does.

use std::collections::BTreeMap;

use luytre::hub::error::Reason;
use luytre::hub::{Open, Start};
use luytre::model::indicator::{Draft, normalise};
use luytre::model::invalid;
use luytre::model::marking::{Caveats, Marking, Recipients, Tlp};
use luytre::model::org::{Happening, OrgSlug, Organisation, Step};
use luytre::model::principal::SpiffeId;
use luytre::model::query::IndicatorFilter;
use luytre::model::roster::{Group, Member, Patch, Relation, RelationKind};
use time::macros::date;
use uuid::Uuid;

use super::support::{Batch, Engine, Event, Stream, block_on, identity, roster, slug};

const ALPHA: usize = 0;
const BRAVO: usize = 1;
const CHARLIE: usize = 2;
const DELTA: usize = 3;

fn marking(tlp: Tlp, organisations: &[usize]) -> Marking {
    let mut organisations: Vec<_> = organisations.iter().map(|&org| slug(org)).collect();
    organisations.sort();
    let recipients = Recipients { organisations, ..Recipients::default() };
    Marking { tlp, recipients, caveats: Caveats::NONE }
}

async fn publish(hub: &Engine, org: usize, value: &str, marking: Marking) -> Uuid {
    let observable = normalise::detect(value).unwrap().observable;
    let draft = Draft::new(observable, marking);
    let results = hub.hub.publish(&hub.caller(org), Uuid::new_v4(), vec![Ok(draft)]).await.unwrap();
    results.into_iter().next().unwrap().unwrap().id
}

async fn change(hub: &Engine, patch: Patch) {
    hub.hub.change_roster(&hub.caller(ALPHA), Uuid::new_v4(), patch).await.unwrap();
}

async fn follow(hub: &Engine, org: usize, start: Start) -> Stream {
    let open = Open { start: Some(start), credit: 1_000, ..Open::default() };
    hub.stream(org, open).await.unwrap()
}

fn told(batches: &[Batch]) -> Vec<(i32, String)> {
    batches.iter().flat_map(|batch| &batch.events).map(|event| (event.kind, name(event))).collect()
}

fn name(event: &Event) -> String {
    event.indicator.as_ref().unwrap().name.clone()
}

fn named(id: Uuid) -> String {
    format!("indicators/{id}")
}

const NEW: i32 = 1;
const WITHDRAWN: i32 = 3;

fn group(members: &[(usize, Option<time::Date>, Option<time::Date>)]) -> Patch {
    let slug_of = OrgSlug::parse("ung-cuu").unwrap();
    let members =
        members.iter().map(|&(org, from, to)| Member { organisation: slug(org), from, to }).collect();
    let group = Group { slug: slug_of.clone(), vi: "Ứng cứu".into(), en: String::new(), members };
    Patch { groups: vec![(slug_of, Some(group))], ..Patch::default() }
}

fn to_group() -> Marking {
    let groups = vec![OrgSlug::parse("ung-cuu").unwrap()];
    let recipients = Recipients { groups, ..Recipients::default() };
    Marking { tlp: Tlp::AmberStrict, recipients, caveats: Caveats::NONE }
}

#[test]
fn a_new_member_of_a_group_gets_what_it_holds_once_and_loses_it_again() {
    block_on(async {
        let hub = Engine::new();
        change(&hub, group(&[(BRAVO, None, None)])).await;
        let old = publish(&hub, ALPHA, "old.example", to_group()).await;
        let mut live = follow(&hub, CHARLIE, Start::Earliest).await;
        assert_eq!(told(&live.drain(10).await), []);
        change(&hub, group(&[(BRAVO, None, None), (CHARLIE, None, None)])).await;
        assert_eq!(told(&live.drain(10).await), [(NEW, named(old))]);
        let new = publish(&hub, ALPHA, "new.example", to_group()).await;
        assert_eq!(told(&live.drain(10).await), [(NEW, named(new))]);
        let token = live.token.clone();
        live.leave().await;
        change(&hub, group(&[(BRAVO, None, None)])).await;
        let mut resumed = follow(&hub, CHARLIE, Start::Token(token)).await;
        assert_eq!(told(&resumed.drain(10).await), [(WITHDRAWN, named(old)), (WITHDRAWN, named(new))]);
        // Whoever starts now learns of neither, but for what was once his.
        let mut late = follow(&hub, DELTA, Start::Earliest).await;
        assert_eq!(told(&late.drain(10).await), []);
    });
}

#[test]
fn clients_of_a_named_unit_see_its_amber_and_not_its_amber_strict() {
    block_on(async {
        let hub = Engine::new();
        let amber = publish(&hub, ALPHA, "amber.example", marking(Tlp::Amber, &[BRAVO])).await;
        publish(&hub, ALPHA, "strict.example", marking(Tlp::AmberStrict, &[BRAVO])).await;
        let mut live = follow(&hub, CHARLIE, Start::Earliest).await;
        assert_eq!(told(&live.drain(10).await), []);
        let client = Relation {
            kind: RelationKind::ClientOf,
            subject: slug(CHARLIE),
            object: slug(BRAVO),
            from: None,
            to: None,
            legal_basis: "contract 1".into(),
        };
        change(&hub, Patch { relations: Some(vec![client]), ..Patch::default() }).await;
        assert_eq!(told(&live.drain(10).await), [(NEW, named(amber))]);
    });
}

#[test]
fn a_successor_reads_from_its_day_on_what_its_predecessor_could_but_never_red() {
    block_on(async {
        let hub = Engine::new();
        let mut organisations = roster().organisations;
        let bravo = organisations.get_mut(&slug(BRAVO)).unwrap();
        bravo.valid_to = Some(date!(2026 - 03 - 01));
        bravo.successors = vec![slug(CHARLIE)];
        let patch = Patch { organisations: vec![bravo.clone()], ..Patch::default() };
        change(&hub, patch).await;
        let amber = publish(&hub, ALPHA, "amber.example", marking(Tlp::Amber, &[BRAVO])).await;
        let own = publish(&hub, BRAVO, "own.example", marking(Tlp::AmberStrict, &[])).await;
        let mut red = marking(Tlp::Red, &[]);
        red.recipients.principals = vec![hub.caller(BRAVO).identity().clone()];
        publish(&hub, ALPHA, "red.example", red).await;
        publish(&hub, BRAVO, "ownred.example", marking(Tlp::Red, &[])).await;
        let mut live = follow(&hub, CHARLIE, Start::Earliest).await;
        assert_eq!(told(&live.drain(10).await), []);
        // The first of March begins at the hub's place, UTC+7.
        hub.clock.set(super::support::START + (31 + 28) * 86_400_000_000 - 7 * 3_600_000_000 - 1);
        assert!(!hub.hub.turn_day().await.unwrap(), "the last of February");
        hub.clock.advance(1);
        assert!(hub.hub.turn_day().await.unwrap(), "the first of March");
        assert!(!hub.hub.turn_day().await.unwrap(), "a day turns once");
        assert_eq!(told(&live.drain(10).await), [(NEW, named(amber)), (NEW, named(own))]);
    });
}

#[test]
fn what_came_before_the_first_change_is_replayed_after_it() {
    block_on(async {
        let hub = Engine::new();
        // Whoever looks while nothing is there leaves nothing behind.
        let mut live = follow(&hub, BRAVO, Start::Earliest).await;
        assert_eq!(told(&live.drain(10).await), []);
        let mut ids = Vec::new();
        for (value, tlp) in [("a.example", Tlp::Amber), ("b.example", Tlp::Green), ("c.example", Tlp::Amber)]
        {
            let to: &[usize] = if tlp == Tlp::Amber { &[BRAVO] } else { &[] };
            ids.push((NEW, named(publish(&hub, ALPHA, value, marking(tlp, to)).await)));
        }
        change(&hub, group(&[])).await;
        let mut late = follow(&hub, BRAVO, Start::Earliest).await;
        assert_eq!(told(&late.drain(10).await), ids, "in their order, as nothing changed for him");
    });
}

#[test]
fn what_was_tightened_since_does_not_leak_from_a_replay_under_an_older_roster() {
    block_on(async {
        let hub = Engine::new();
        change(&hub, group(&[(BRAVO, None, None), (CHARLIE, None, None)])).await;
        let kept = publish(&hub, ALPHA, "kept.example", to_group()).await;
        publish(&hub, ALPHA, "tight.example", to_group()).await;
        publish(&hub, ALPHA, "tight.example", marking(Tlp::AmberStrict, &[])).await;
        let mut early = follow(&hub, BRAVO, Start::Earliest).await;
        let heard = told(&early.drain(10).await);
        assert!(heard.contains(&(NEW, named(kept))));
        let new: Vec<_> = heard.iter().filter(|(kind, _)| *kind == NEW).collect();
        assert_eq!(new.len(), 1, "{heard:?}");
        change(&hub, group(&[(CHARLIE, None, None)])).await;
        let mut again = follow(&hub, BRAVO, Start::Earliest).await;
        let heard = told(&again.drain(10).await);
        assert!(heard.iter().all(|(kind, _)| *kind != NEW), "he is no member today: {heard:?}");
    });
}

#[test]
fn what_a_change_brings_comes_whole_however_often_the_stream_is_cut() {
    block_on(async {
        let hub = Engine::new();
        let mut ids = Vec::new();
        change(&hub, group(&[])).await;
        for n in 0..40 {
            let to = if n % 2 == 0 { to_group() } else { marking(Tlp::Amber, &[ALPHA]) };
            ids.push(named(publish(&hub, n % 2, &format!("n{n}.example"), to).await));
        }
        change(&hub, group(&[(CHARLIE, None, None)])).await;
        let mut heard: BTreeMap<String, u32> = BTreeMap::new();
        let mut start = Start::Earliest;
        for _ in 0..40 {
            let open = Open { start: Some(start), credit: 3, ..Open::default() };
            let mut stream = hub.stream(CHARLIE, open).await.unwrap();
            let token = stream.token.clone();
            let batches = stream.spend().await;
            for (kind, name) in told(&batches) {
                assert_eq!(kind, NEW);
                *heard.entry(name).or_default() += 1;
            }
            start = Start::Token(batches.last().map_or(token, |batch| batch.token.clone()));
            stream.leave().await;
            if heard.len() == 20 {
                break;
            }
        }
        let expected: BTreeMap<_, _> = ids.iter().step_by(2).map(|name| (name.clone(), 1)).collect();
        assert_eq!(heard, expected);
        let dir = hub.close().await;
        let report = luytre::hub::verify(&dir.path().join("hub"), |_| ()).unwrap();
        assert!(report.is_clean(), "{:?}", report.differences);
    });
}

#[test]
fn a_body_that_ended_is_addressed_only_if_somebody_reads_for_it() {
    block_on(async {
        let hub = Engine::new();
        let today = luytre::base::clock::Clock::now(&*hub.clock).day();
        let ends = |org: usize, successors: Vec<OrgSlug>| {
            let mut ended = roster().organisations[&slug(org)].clone();
            ended.valid_to = Some(today);
            let on = Step { what: Happening::Ended, on: today, legal_basis: "QD 1".into() };
            (ended.lifecycle, ended.successors) = (vec![on], successors);
            ended
        };
        let organisations = vec![ends(BRAVO, vec![]), ends(CHARLIE, vec![slug(DELTA)])];
        change(&hub, Patch { organisations, ..Patch::default() }).await;
        let ask = async |to: usize| {
            let value = normalise::detect("gone.example").unwrap().observable;
            let draft = Draft::new(value, marking(Tlp::Amber, &[to]));
            let answer = hub.hub.publish(&hub.caller(ALPHA), Uuid::new_v4(), vec![Ok(draft)]).await.unwrap();
            answer.into_iter().next().unwrap()
        };
        let refused = ask(BRAVO).await.unwrap_err();
        assert_eq!(refused.reason, Reason::Input(invalid::Reason::OrganisationUnknown));
        assert!(refused.problem.contains("has ended"), "{refused:?}");
        let heir = ask(CHARLIE).await.unwrap();
        assert!(hub.hub.get(&hub.caller(DELTA), heir.id).await.is_ok(), "its successor reads for it");
    });
}

#[test]
fn a_filter_finds_an_owner_that_joins_after_the_stream_was_opened() {
    block_on(async {
        let hub = Engine::new();
        let echo = OrgSlug::parse("echo").unwrap();
        let filter = IndicatorFilter { owners: vec![echo.clone()], ..IndicatorFilter::default() };
        let open = Open { start: Some(Start::Earliest), credit: 10, filter, ..Open::default() };
        let mut live = hub.stream(ALPHA, open).await.unwrap();
        publish(&hub, BRAVO, "other.example", marking(Tlp::Green, &[])).await;
        assert_eq!(told(&live.drain(10).await), []);
        let joined = Organisation { slug: echo.clone(), ..roster().organisations[&slug(ALPHA)].clone() };
        let feed = SpiffeId::parse("spiffe://hub.example/org/echo/system/feed").unwrap();
        let grant = roster().principals[&identity(BRAVO)].clone();
        let principals = vec![(feed.clone(), Some(grant))];
        change(&hub, Patch { organisations: vec![joined], principals, ..Patch::default() }).await;
        let draft =
            Draft::new(normalise::detect("new.example").unwrap().observable, marking(Tlp::Green, &[]));
        let answer = hub.hub.publish(&hub.caller_named(feed), Uuid::new_v4(), vec![Ok(draft)]).await.unwrap();
        let id = answer[0].as_ref().unwrap().id;
        publish(&hub, BRAVO, "third.example", marking(Tlp::Green, &[])).await;
        assert_eq!(told(&live.drain(10).await), [(NEW, named(id))]);
    });
}
