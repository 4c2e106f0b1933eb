//! A second person: what a list holds back goes out as `monitor`, waits, and is
//! let out or refused by whom the roster of the day says, once.

use luytre::base::clock::Timestamp;
use luytre::hub::error::{Error, Reason};
use luytre::hub::{Asked, Caller, Open, Published, Rejection, Start};
use luytre::model::held::MAX_WAITING_EACH;
use luytre::model::indicator::lifecycle::{Revocation, RevocationReason};
use luytre::model::indicator::{Draft, RecommendedAction};
use luytre::model::marking::{Marking, Recipients, Tlp};
use luytre::model::principal::{Roles, SpiffeId};
use luytre::model::roster::{Duty, Grant, Relation, RelationKind, Roster};
use luytre::model::warninglist::{Kinds, Matching, Mode, Warninglist};
use luytre::policy::guard::lists::Guard;
use luytre::wire::convert::held::Verdict;
use luytre::wire::proto::v1;
use prost::Message as _;
use uuid::Uuid;

use super::leave::{drafted, green, named, put, to, verified};
use super::support::{Engine, START, block_on, identity, roster, slug};

pub(super) const OWNER: usize = 0;
pub(super) const LEAD: usize = 1;
const PROVIDER: usize = 2;
const OUTSIDER: usize = 3;
pub(super) const VALUE: &str = "www.mod.gov.kh";
const UPDATE: i32 = 2;
const HELD: i32 = 11;
const WAITING: i32 = 1;
const APPROVED: i32 = 2;
const REJECTED: i32 = 3;
const MONITOR: i32 = 1;
const BLOCK: i32 = 2;

fn colleague(org: &str) -> SpiffeId {
    SpiffeId::parse(&format!("spiffe://hub.example/org/{org}/user/an")).unwrap()
}

/// With a colleague everywhere, a provider, and a unit that leads if asked for.
pub(super) fn world(lead: Option<usize>) -> Roster {
    let mut roster = roster();
    for org in ["alpha", "bravo", "charlie", "delta"] {
        let roles = Grant { roles: Roles::from_bits(0xff), from: None, to: None };
        roster.principals.insert(colleague(org), roles);
    }
    roster.relations.push(Relation {
        kind: RelationKind::ActsFor,
        subject: slug(PROVIDER),
        object: slug(OWNER),
        from: None,
        to: None,
        legal_basis: String::new(),
    });
    roster.duties.extend(lead.map(|lead| Duty {
        duty: "lead-unit".into(),
        scope: "city".into(),
        holder: slug(lead),
        from: None,
        to: None,
        legal_basis: String::new(),
    }));
    roster
}

fn hub(lead: Option<usize>) -> Engine {
    Engine::of(world(lead), START, |_| ())
}

pub(super) fn blocking(value: &str, marking: Marking) -> Draft {
    Draft { action: Some(RecommendedAction::Block), ..drafted(value, marking, None) }
}

async fn publish(hub: &Engine, caller: &Caller, draft: Draft) -> (Uuid, v1::HeldPublication) {
    let Published { id, held, .. } = put(hub, caller, draft).await.unwrap();
    (id, held.map(|held| v1::HeldPublication::decode(held).unwrap()).unwrap_or_default())
}

async fn shown(hub: &Engine, id: Uuid) -> v1::Indicator {
    v1::Indicator::decode(hub.hub.get(&hub.caller(OWNER), id).await.unwrap().indicator).unwrap()
}

async fn action(hub: &Engine, id: Uuid) -> i32 {
    shown(hub, id).await.recommended_action
}

async fn verdict(hub: &Engine, id: Uuid) -> Verdict {
    Verdict { indicator: id, expected: shown(hub, id).await.version, note: "checked".to_owned() }
}

async fn approve(hub: &Engine, by: &Caller, id: Uuid) -> Result<v1::HeldPublication, Error> {
    let verdict = verdict(hub, id).await;
    let told = hub.hub.approve_held(by, Uuid::new_v4(), verdict).await?;
    Ok(v1::HeldPublication::decode(told).unwrap())
}

async fn reject(hub: &Engine, by: &Caller, id: Uuid) -> Result<v1::HeldPublication, Error> {
    let verdict = verdict(hub, id).await;
    let told = hub.hub.reject_held(by, Uuid::new_v4(), verdict).await?;
    Ok(v1::HeldPublication::decode(told).unwrap())
}

fn why<T: std::fmt::Debug>(result: Result<T, Error>) -> Reason {
    result.unwrap_err().reason
}

async fn listed(hub: &Engine, caller: &Caller, waiting: bool, size: usize) -> Vec<v1::HeldPublication> {
    let (mut all, mut token) = (Vec::new(), String::new());
    loop {
        let page = hub.hub.list_held(caller, waiting, size, &token).await.unwrap();
        assert!(page.held.len() <= size);
        all.extend(page.held.into_iter().map(|one| v1::HeldPublication::decode(one).unwrap()));
        if page.next_page_token.is_empty() {
            return all;
        }
        token = page.next_page_token;
    }
}

/// What somebody hears of held publications, and of the indicator as an update.
async fn heard(hub: &Engine, caller: &Caller) -> (Vec<v1::HeldPublication>, Vec<i32>) {
    let open = Open { start: Some(Start::Earliest), credit: 1_000, include_notices: true, ..Open::default() };
    let mut stream = hub.stream_of(caller, open).await.unwrap();
    let events: Vec<_> = stream.drain(10).await.into_iter().flat_map(|batch| batch.events).collect();
    stream.leave().await;
    let updates = events.iter().filter(|event| event.kind == UPDATE);
    let updates = updates.map(|event| event.indicator.as_ref().unwrap().recommended_action).collect();
    let held = events.into_iter().filter(|event| event.kind == HELD).map(|event| event.held.unwrap());
    (held.collect(), updates)
}

#[test]
fn a_block_that_a_list_holds_goes_out_as_monitor_until_a_second_person_lets_it_out() {
    block_on(async {
        let hub = hub(Some(LEAD));
        let (an, owner) = (hub.caller_named(colleague("bravo")), hub.caller(OWNER));
        let (id, held) = publish(&hub, &owner, blocking(VALUE, green())).await;
        assert_eq!((held.state, held.recommended_action, action(&hub, id).await), (WAITING, BLOCK, MONITOR));
        assert_eq!(held.deciders, ["organisations/bravo"]);
        assert_eq!(held.lists[0].list, "government-names");
        let (told, _) = heard(&hub, &hub.caller(LEAD)).await;
        assert_eq!(told, std::slice::from_ref(&held), "who decides is told");
        assert_eq!(heard(&hub, &owner).await.0, []);
        assert_eq!(listed(&hub, &an, true, 9).await, std::slice::from_ref(&held));

        let hub = hub.reopen(|_| ()).await;
        let given = approve(&hub, &an, id).await.unwrap();
        assert_eq!((given.state, given.note.as_str()), (APPROVED, "checked"));
        assert_eq!(given.answerer, colleague("bravo").to_string());
        assert_eq!(action(&hub, id).await, BLOCK);
        let (answer, updates) = heard(&hub, &owner).await;
        assert_eq!((answer.len(), answer[0].state, answer[0].answerer.as_str()), (1, APPROVED, ""));
        assert_eq!(updates, [BLOCK], "subscribers get it once, as an update");
        assert_eq!(why(approve(&hub, &an, id).await), Reason::NotFound, "there is nothing left to let out");
        assert_eq!(listed(&hub, &an, true, 9).await, []);
        assert_eq!(listed(&hub, &owner, false, 9).await[0].state, APPROVED);
        verified(hub).await;
    });
}

#[test]
fn nobody_lets_out_what_he_published_himself() {
    block_on(async {
        // The one that leads publishes itself.
        let hub = hub(Some(OWNER));
        let (owner, an) = (hub.caller(OWNER), hub.caller_named(colleague("alpha")));
        let (id, held) = publish(&hub, &owner, blocking(VALUE, green())).await;
        assert_eq!(held.deciders, ["organisations/alpha"]);
        assert_eq!(why(approve(&hub, &owner, id).await), Reason::SecondPersonRequired);
        assert_eq!(why(reject(&hub, &owner, id).await), Reason::SecondPersonRequired);
        assert_eq!(action(&hub, id).await, MONITOR);
        // Nor by letting a colleague repeat it.
        let (_, again) = publish(&hub, &an, blocking(VALUE, green())).await;
        assert_eq!(again, held, "it was asked once");
        assert_eq!(why(approve(&hub, &owner, id).await), Reason::SecondPersonRequired);
        approve(&hub, &an, id).await.unwrap();
        assert_eq!(action(&hub, id).await, BLOCK);
        verified(hub).await;
    });
}

#[test]
fn who_leads_and_may_not_see_the_record_decides_nothing_about_it() {
    block_on(async {
        let hub = hub(Some(LEAD));
        let provider = hub.caller(PROVIDER);
        let (on_behalf_of, request_id) = (Some(slug(OWNER)), Uuid::new_v4());
        let narrow = to(Tlp::AmberStrict, &[OUTSIDER]);
        let asked = Asked { request_id, on_behalf_of };
        let drafts = vec![Ok(blocking(VALUE, narrow))];
        let published = hub.hub.publish(&provider, asked, drafts).await.unwrap().remove(0).unwrap();
        let (id, held) = (published.id, v1::HeldPublication::decode(published.held.unwrap()).unwrap());
        assert_eq!(held.deciders, ["organisations/alpha"]);
        assert_eq!(heard(&hub, &hub.caller(OWNER)).await.0, [held]);
        // Hidden, and not his to say: both are absent.
        for org in [LEAD, PROVIDER, OUTSIDER] {
            let caller = hub.caller(org);
            assert_eq!(why(approve(&hub, &caller, id).await), Reason::NotFound, "{org}");
            assert_eq!(why(reject(&hub, &caller, id).await), Reason::NotFound, "{org}");
            assert_eq!(heard(&hub, &caller).await.0, [], "{org}");
            assert_eq!(listed(&hub, &caller, false, 9).await.len(), usize::from(org == PROVIDER), "{org}");
        }
        let of_provider = hub.caller_named(colleague("charlie"));
        assert_eq!(
            listed(&hub, &of_provider, false, 9).await,
            [],
            "what another published and he may not see"
        );
        approve(&hub, &hub.caller(OWNER), id).await.unwrap();
        assert_eq!(action(&hub, id).await, BLOCK);
        let (answer, _) = heard(&hub, &provider).await;
        assert_eq!(answer.iter().map(|told| told.state).collect::<Vec<_>>(), [APPROVED], "he is told too");
        assert_eq!(heard(&hub, &of_provider).await.0, [], "and no colleague of his who may not see it");
        verified(hub).await;
    });
}

#[test]
fn where_nobody_leads_what_is_for_everyone_waits_and_says_so() {
    block_on(async {
        let hub = hub(None);
        let owner = hub.caller(OWNER);
        let an = hub.caller_named(colleague("alpha"));
        let (open, held) = publish(&hub, &owner, blocking(VALUE, green())).await;
        assert_eq!((held.state, held.deciders.len()), (WAITING, 0));
        assert_eq!(why(approve(&hub, &an, open).await), Reason::RoleInsufficient);
        assert_eq!(why(approve(&hub, &hub.caller(LEAD), open).await), Reason::NotFound);
        let narrow = blocking("other.gov.kh", to(Tlp::Amber, &[OUTSIDER]));
        let (narrow, held) = publish(&hub, &owner, narrow).await;
        assert_eq!(held.deciders, ["organisations/alpha"]);
        approve(&hub, &an, narrow).await.unwrap();
        assert_eq!((action(&hub, open).await, action(&hub, narrow).await), (MONITOR, BLOCK));
        verified(hub).await;
    });
}

#[test]
fn the_same_again_asks_nobody_again_whatever_was_answered() {
    block_on(async {
        let hub = hub(Some(LEAD));
        let (owner, lead) = (hub.caller(OWNER), hub.caller(LEAD));
        let (id, first) = publish(&hub, &owner, blocking(VALUE, green())).await;
        let (_, second) = publish(&hub, &owner, blocking(VALUE, green())).await;
        assert_eq!((&second, heard(&hub, &lead).await.0.len()), (&first, 1));
        approve(&hub, &lead, id).await.unwrap();
        let stands = shown(&hub, id).await.version;
        for _ in 0..2 {
            let again = put(&hub, &owner, blocking(VALUE, green())).await.unwrap();
            assert_eq!((again.effect, again.version), (luytre::hub::Effect::Unchanged, stands));
            assert_eq!(v1::HeldPublication::decode(again.held.unwrap()).unwrap().state, APPROVED);
        }
        let (other, _) = publish(&hub, &owner, blocking("other.gov.kh", green())).await;
        let refused = reject(&hub, &lead, other).await.unwrap();
        assert_eq!((refused.state, action(&hub, other).await), (REJECTED, MONITOR));
        let (_, again) = publish(&hub, &owner, blocking("other.gov.kh", green())).await;
        assert_eq!((again.state, heard(&hub, &lead).await.0.len()), (REJECTED, 2));
        // Who refused may think again.
        approve(&hub, &lead, other).await.unwrap();
        assert_eq!(action(&hub, other).await, BLOCK);
        verified(hub).await;
    });
}

#[test]
fn a_list_that_nobody_was_asked_about_is_asked_about() {
    block_on(async {
        let list = Warninglist {
            slug: "later".into(),
            name: "Later".into(),
            version: 1,
            matching: Matching::Hostname,
            kinds: Kinds::values(),
            entries: vec![VALUE.into()],
        };
        let hub = hub(Some(LEAD));
        let (owner, lead) = (hub.caller(OWNER), hub.caller(LEAD));
        let (id, _) = publish(&hub, &owner, blocking(VALUE, green())).await;
        approve(&hub, &lead, id).await.unwrap();
        hub.hub.guard_with(Guard::new(vec![(list.clone(), Mode::Hold)], |_| Mode::Hold));
        let (_, held) = publish(&hub, &owner, blocking(VALUE, green())).await;
        assert_eq!((held.state, held.lists.len(), action(&hub, id).await), (WAITING, 2, MONITOR));
        // Lists that let nobody publish it let nobody let it out.
        hub.hub.guard_with(Guard::new(vec![(list, Mode::Block)], |_| Mode::Hold));
        assert_eq!(why(approve(&hub, &lead, id).await), Reason::GuardRefused);
        reject(&hub, &lead, id).await.unwrap();
        verified(hub).await;
    });
}

#[test]
fn another_version_ends_what_waits_and_nobody_lets_out_what_has_changed() {
    block_on(async {
        let hub = hub(Some(LEAD));
        let (owner, lead) = (hub.caller(OWNER), hub.caller(LEAD));
        let (id, _) = publish(&hub, &owner, blocking(VALUE, green())).await;
        let looked = verdict(&hub, id).await;
        let relabelled = Draft { labels: vec!["c2".into()], ..blocking(VALUE, green()) };
        publish(&hub, &owner, relabelled.clone()).await;
        let stale = hub.hub.approve_held(&lead, Uuid::new_v4(), looked).await;
        assert_eq!(why(stale), Reason::EtagMismatch);
        approve(&hub, &lead, id).await.unwrap();
        assert_eq!((action(&hub, id).await, shown(&hub, id).await.labels), (BLOCK, vec!["c2".to_owned()]));

        // The owner takes its own word back, and nothing waits.
        let watching = Draft { action: Some(RecommendedAction::Monitor), ..relabelled.clone() };
        publish(&hub, &owner, watching).await;
        assert_eq!(listed(&hub, &lead, false, 9).await, []);
        // Said again where `monitor` stands already: asked, without a version.
        let (_, held) = publish(&hub, &owner, relabelled).await;
        assert_eq!((held.state, held.version), (WAITING, shown(&hub, id).await.version));
        let revocation = Revocation { reason: RevocationReason::FalsePositive, note: String::new() };
        hub.hub.revoke(&owner, Uuid::new_v4(), id, revocation, None).await.unwrap();
        assert_eq!(why(approve(&hub, &lead, id).await), Reason::NotFound);
        assert_eq!(listed(&hub, &owner, false, 9).await, []);

        let until = Some(Timestamp::from_micros_clamped(START + 10_000_000));
        let short = Draft { valid_until: until, ..blocking("short.gov.kh", green()) };
        let (short, _) = publish(&hub, &owner, short).await;
        let looked = verdict(&hub, short).await;
        hub.clock.set(START + 10_000_000);
        let late = hub.hub.approve_held(&lead, Uuid::new_v4(), looked).await;
        assert_eq!(why(late), Reason::EtagMismatch, "past its validity, before it is ended");
        hub.hub.expire().await.unwrap();
        assert_eq!(listed(&hub, &owner, false, 9).await, []);
        verified(hub).await;
    });
}

#[test]
fn a_repeated_request_gets_its_first_answer_and_asks_once() {
    block_on(async {
        let hub = hub(Some(LEAD));
        let (owner, lead) = (hub.caller(OWNER), hub.caller(LEAD));
        let request = Uuid::new_v4();
        let send = async |hub: &Engine| -> Published {
            let drafts = vec![Ok(blocking(VALUE, green())), Ok(blocking("free.example", green()))];
            let mut all: Vec<Result<Published, Rejection>> =
                hub.hub.publish(&owner, request, drafts).await.unwrap();
            assert_eq!(all[1].as_ref().unwrap().held, None);
            all.remove(0).unwrap()
        };
        let first = send(&hub).await;
        let (answer, looked) = (Uuid::new_v4(), verdict(&hub, first.id).await);
        let given = hub.hub.approve_held(&lead, answer, looked.clone()).await.unwrap();
        let hub = hub.reopen(|_| ()).await;
        assert_eq!(send(&hub).await, first);
        assert_eq!(hub.hub.approve_held(&lead, answer, looked).await.unwrap(), given);
        assert_eq!(heard(&hub, &lead).await.0.len(), 1);
        assert_eq!(heard(&hub, &owner).await.1, [BLOCK]);
        verified(hub).await;
    });
}

#[test]
fn so_many_wait_and_the_rest_goes_out_as_monitor_and_says_so() {
    block_on(async {
        let hub = hub(Some(LEAD));
        let (owner, an) = (hub.caller(OWNER), hub.caller_named(colleague("alpha")));
        let most = usize::try_from(MAX_WAITING_EACH).unwrap();
        let all = |from: usize, count: usize| -> Vec<_> {
            (from..from + count).map(|n| Ok(blocking(&format!("w{n}.gov.kh"), green()))).collect()
        };
        let waiting = async |caller: &Caller, drafts| -> usize {
            let all: Vec<Result<Published, Rejection>> =
                hub.hub.publish(caller, Uuid::new_v4(), drafts).await.unwrap();
            all.into_iter().filter(|one| one.as_ref().unwrap().held.is_some()).count()
        };
        assert_eq!(waiting(&owner, all(0, most + 5)).await, most);
        assert_eq!(waiting(&owner, all(most, 3)).await, 0, "of his");
        assert_eq!(waiting(&an, all(most, most + 3)).await, most, "a colleague finds places left");
        assert_eq!(waiting(&an, all(9_000, 2)).await, 0, "of the organisation's");
        let all_waiting = listed(&hub, &hub.caller(LEAD), true, 100).await;
        assert_eq!(all_waiting.len(), 2 * most);
        let id = all_waiting[0].indicator.strip_prefix("indicators/").unwrap();
        approve(&hub, &hub.caller(LEAD), Uuid::try_parse(id).unwrap()).await.unwrap();
        let free = if all_waiting[0].requester == identity(OWNER).to_string() { &owner } else { &an };
        assert_eq!(waiting(free, all(9_000, 2)).await, 1, "an answer makes room");
        verified(hub).await;
    });
}

#[test]
fn each_lists_what_concerns_him_page_by_page() {
    block_on(async {
        let hub = hub(Some(LEAD));
        let owner = hub.caller(OWNER);
        let mut open = Vec::new();
        for n in 0..5 {
            let (id, _) = publish(&hub, &owner, blocking(&format!("w{n}.gov.kh"), green())).await;
            open.push(named(id));
        }
        let of_lead = publish(&hub, &hub.caller(LEAD), blocking("lead.gov.kh", green())).await.0;
        let hidden = publish(&hub, &owner, blocking("hidden.gov.kh", to(Tlp::Amber, &[OUTSIDER]))).await.0;
        let names = async |org: usize, size: usize| {
            let all = listed(&hub, &hub.caller(org), true, size).await;
            let mut names: Vec<_> = all.into_iter().map(|one| one.indicator).collect();
            names.sort_unstable();
            names
        };
        let sorted = |more: &[Uuid]| {
            let mut all = [open.clone(), more.iter().copied().map(named).collect()].concat();
            all.sort_unstable();
            all
        };
        for size in [1, 2, 9] {
            assert_eq!(names(OWNER, size).await, sorted(&[hidden]), "{size}");
            assert_eq!(names(LEAD, size).await, sorted(&[of_lead]), "{size}");
            assert_eq!(
                names(OUTSIDER, size).await,
                Vec::<String>::new(),
                "{size}: he may see it, and not say"
            );
        }
        let wrong = hub.hub.list_held(&owner, true, 2, "x").await.unwrap_err();
        assert_eq!(wrong.reason, Reason::PageTokenInvalid);
        verified(hub).await;
    });
}

#[test]
fn red_waits_for_a_named_person_of_the_one_that_leads() {
    block_on(async {
        let hub = hub(Some(LEAD));
        let recipients = Recipients { principals: vec![identity(LEAD)], ..Recipients::default() };
        let red = Marking { recipients, ..Marking::open(Tlp::Red) };
        let (id, held) = publish(&hub, &hub.caller(OWNER), blocking(VALUE, red)).await;
        assert_eq!(held.deciders, ["organisations/bravo"]);
        let unnamed = hub.caller_named(colleague("bravo"));
        assert_eq!(heard(&hub, &unnamed).await.0, []);
        assert_eq!(listed(&hub, &unnamed, false, 9).await, []);
        assert_eq!(why(approve(&hub, &unnamed, id).await), Reason::NotFound);
        assert_eq!(heard(&hub, &hub.caller(LEAD)).await.0, [held]);
        approve(&hub, &hub.caller(LEAD), id).await.unwrap();
        assert_eq!(action(&hub, id).await, BLOCK);
        verified(hub).await;
    });
}

#[test]
fn what_is_let_out_says_all_that_was_sent() {
    block_on(async {
        let sent = Draft {
            labels: vec!["c2".into()],
            description: "as it was sent".into(),
            confidence: Some(70),
            raw: Some("WWW[.]mod.gov.kh".into()),
            family: "F".into(),
            ..blocking(VALUE, green())
        };
        let free = hub(Some(LEAD));
        free.hub.guard_with(Guard::new(Vec::new(), |_| Mode::Inform));
        let plain = put(&free, &free.caller(OWNER), sent.clone()).await.unwrap().id;
        let hub = hub(Some(LEAD));
        let (id, _) = publish(&hub, &hub.caller(OWNER), sent).await;
        approve(&hub, &hub.caller(LEAD), id).await.unwrap();
        let said = async |hub: &Engine, id| v1::Indicator {
            name: String::new(),
            version: 0,
            create_time: None,
            ..shown(hub, id).await
        };
        assert_eq!(said(&hub, id).await, said(&free, plain).await);
        verified(hub).await;
        verified(free).await;
    });
}
