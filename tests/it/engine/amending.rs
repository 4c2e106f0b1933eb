//! How the roster is changed: each change is of the roster that its author
//! saw, and nobody alone makes an operator or a coordinator.

use luytre::base::clock::Clock as _;
use luytre::hub::error::Reason;
use luytre::hub::{Amended, Second};
use luytre::model::org::{Happening, OrgSlug, Step};
use luytre::model::principal::{Role, Roles, SpiffeId};
use luytre::model::roster::{Duty, Grant, Group, Member, Relation, RelationKind, Roster};
use uuid::Uuid;

use super::support::{Engine, block_on, identity, slug};

const ALPHA: usize = 0;
const BRAVO: usize = 1;
const CHARLIE: usize = 2;
const DAY: u64 = 86_400_000_000;

fn person(name: &str) -> SpiffeId {
    SpiffeId::parse(&format!("spiffe://hub.example/org/alpha/user/{name}")).unwrap()
}

/// The standing roster with a role for somebody.
fn granting(hub: &Engine, name: &str, role: Role) -> Roster {
    let mut roster = Roster::clone(&hub.hub.roster().roster);
    let grant = Grant { roles: Roles::NONE.with(role), from: None, to: None };
    roster.principals.insert(person(name), grant);
    roster
}

async fn apply(hub: &Engine, org: usize, roster: Roster) -> Result<Amended, Reason> {
    let etag = hub.hub.roster().etag;
    let applied = hub.hub.apply_roster(&hub.caller(org), Uuid::new_v4(), roster, etag).await;
    applied.map(|(amended, _)| amended).map_err(|error| error.reason)
}

async fn propose(hub: &Engine, name: &str) -> Uuid {
    let roster = granting(hub, name, Role::Coordinator);
    let Ok(Amended::Pending(id)) = apply(hub, ALPHA, roster).await else { panic!("it waits") };
    id
}

async fn approve(hub: &Engine, org: usize, id: Uuid) -> Result<Vec<String>, Reason> {
    let caller = hub.caller(org);
    let approved = hub.hub.approve_change(Second::Operator(&caller, Uuid::new_v4()), id).await;
    approved.map(|comparison| comparison.differences).map_err(|error| error.reason)
}

fn roles(hub: &Engine, name: &str) -> Roles {
    hub.hub.roster().roster.roles(&person(name), hub.clock.now().day())
}

async fn end_clean(hub: Engine) {
    let dir = hub.close().await;
    let report = luytre::hub::verify(&dir.path().join("hub"), |_| ()).unwrap();
    assert!(report.is_clean(), "{:?}", report.differences);
}

#[test]
fn two_changes_of_the_same_roster_do_not_overwrite_each_other() {
    block_on(async {
        let hub = Engine::new();
        let etag = hub.hub.roster().etag;
        let (one, other) = (granting(&hub, "an", Role::Publisher), granting(&hub, "binh", Role::Publisher));
        let (alpha, bravo) = (hub.caller(ALPHA), hub.caller(BRAVO));
        let both = tokio::join!(
            hub.hub.apply_roster(&alpha, Uuid::new_v4(), one, etag),
            hub.hub.apply_roster(&bravo, Uuid::new_v4(), other, etag),
        );
        // Either may be the faster.
        let (first, (won, lost)) = match both {
            (Ok((first, _)), Err(error)) => (first, (("an", "binh"), error)),
            (Err(error), Ok((first, _))) => (first, (("binh", "an"), error)),
            both => panic!("one of them: {both:?}"),
        };
        assert_eq!((first, lost.reason), (Amended::Applied, Reason::EtagMismatch));
        let had = (roles(&hub, won.0), roles(&hub, won.1));
        assert_eq!(had, (Roles::NONE.with(Role::Publisher), Roles::NONE));
        end_clean(hub).await;
    });
}

#[test]
fn a_retry_gets_its_first_answer_though_the_etag_is_spent() {
    block_on(async {
        let hub = Engine::new();
        let (caller, request, etag) = (hub.caller(ALPHA), Uuid::new_v4(), hub.hub.roster().etag);
        let roster = granting(&hub, "an", Role::Publisher);
        let first = hub.hub.apply_roster(&caller, request, roster.clone(), etag).await.unwrap();
        let again = hub.hub.apply_roster(&caller, request, roster.clone(), etag).await.unwrap();
        assert_eq!((first.0.clone(), &first.1), (Amended::Applied, &again.1));
        assert_eq!(first, again);
        let other =
            hub.hub.apply_roster(&caller, request, granting(&hub, "binh", Role::Publisher), etag).await;
        assert_eq!(other.unwrap_err().reason, Reason::DuplicateRequestId);
        end_clean(hub).await;
    });
}

#[test]
fn a_grant_by_two_waits_for_the_second_through_a_restart() {
    block_on(async {
        let mut hub = Engine::new();
        let id = propose(&hub, "lan").await;
        assert_eq!(roles(&hub, "lan"), Roles::NONE, "one alone grants nothing");
        assert_eq!(approve(&hub, ALPHA, id).await, Err(Reason::SecondPersonRequired));
        hub = hub.reopen(|_| ()).await;
        let waiting = hub.hub.pending_changes();
        assert_eq!(
            waiting.iter().map(|w| (w.id, w.author.as_str())).collect::<Vec<_>>(),
            [(id, identity(ALPHA).as_str())]
        );
        let told = approve(&hub, BRAVO, id).await.unwrap();
        assert_eq!(told, [format!("principal {}: new, coordinator", person("lan"))]);
        assert_eq!(roles(&hub, "lan"), Roles::NONE.with(Role::Coordinator));
        assert!(hub.hub.pending_changes().is_empty());
        assert_eq!(approve(&hub, BRAVO, id).await, Err(Reason::NotFound), "once");
        hub = hub.reopen(|_| ()).await;
        assert_eq!(roles(&hub, "lan"), Roles::NONE.with(Role::Coordinator));
        end_clean(hub).await;
    });
}

#[test]
fn nobody_widens_his_own_rights_alone_and_anybody_others_do() {
    block_on(async {
        let hub = Engine::new();
        let mut roster = Roster::clone(&hub.hub.roster().roster);
        roster.duties.push(Duty {
            duty: "lead-unit-infosec".into(),
            scope: "city".into(),
            holder: slug(ALPHA),
            from: Some(hub.clock.now().day()),
            to: None,
            legal_basis: "a decision".into(),
        });
        let etag = hub.hub.roster().etag;
        let [own, others] = [ALPHA, BRAVO].map(|org| {
            let compared = hub.hub.compare_roster(&hub.caller(org), &roster, etag).unwrap();
            compared.by_two
        });
        assert!(own[0].contains("gains the duty lead-unit-infosec of city"), "{own:?}");
        assert!(others.is_empty(), "{others:?}");
        let Ok(Amended::Pending(id)) = apply(&hub, ALPHA, roster.clone()).await else { panic!("it waits") };
        assert_eq!(hub.hub.pending_changes()[0].comparison.by_two, own);
        assert!(hub.hub.roster().roster.duties.is_empty());
        assert_eq!(approve(&hub, ALPHA, id).await, Err(Reason::SecondPersonRequired));
        approve(&hub, BRAVO, id).await.unwrap();
        assert_eq!(hub.hub.roster().roster.duties, roster.duties);
        end_clean(hub).await;
    });
}

#[test]
fn nobody_widens_his_own_reading_alone_through_a_third_body() {
    block_on(async {
        let mut roster = super::support::roster();
        roster.relations.push(Relation {
            kind: RelationKind::ClientOf,
            subject: slug(ALPHA),
            object: slug(CHARLIE),
            from: None,
            to: None,
            legal_basis: "a contract".into(),
        });
        let police = OrgSlug::parse("police").unwrap();
        let group = Group { slug: police.clone(), vi: "Công an".into(), en: String::new(), members: vec![] };
        roster.groups.insert(police.clone(), group);
        let hub = Engine::of(roster.clone(), super::support::START, |_| ());
        let from = Some(hub.clock.now().day());
        let charlie = Member { organisation: slug(CHARLIE), from, to: None };
        roster.groups.get_mut(&police).unwrap().members.push(charlie);
        let Ok(Amended::Pending(_)) = apply(&hub, ALPHA, roster.clone()).await else { panic!("it waits") };
        let told = &hub.hub.pending_changes()[0].comparison.by_two;
        assert!(told[0].contains("TLP:AMBER for the group police, as client of charlie"), "{told:?}");
        assert_eq!(apply(&hub, BRAVO, roster).await, Ok(Amended::Applied), "nothing of it comes to bravo");
        end_clean(hub).await;
    });
}

#[test]
fn a_change_that_waits_expires_after_seven_days() {
    block_on(async {
        let hub = Engine::new();
        let (one, other) = (propose(&hub, "an").await, propose(&hub, "binh").await);
        hub.clock.advance(7 * DAY - 1);
        assert_eq!(hub.hub.pending_changes().len(), 2);
        approve(&hub, BRAVO, one).await.unwrap();
        hub.clock.advance(1);
        assert_eq!(approve(&hub, BRAVO, other).await, Err(Reason::NotFound));
        assert!(hub.hub.pending_changes().is_empty());
        end_clean(hub).await;
    });
}

#[test]
fn a_change_of_a_roster_that_is_no_more_is_not_approved() {
    block_on(async {
        let hub = Engine::new();
        let id = propose(&hub, "lan").await;
        apply(&hub, BRAVO, granting(&hub, "an", Role::Analyst)).await.unwrap();
        assert!(hub.hub.pending_changes()[0].outdated);
        assert_eq!(approve(&hub, BRAVO, id).await, Err(Reason::EtagMismatch));
        let caller = hub.caller(ALPHA);
        let second = Second::Operator(&caller, Uuid::new_v4());
        hub.hub.reject_change(second, id, "outdated".into()).await.unwrap();
        assert!(hub.hub.pending_changes().is_empty());
        end_clean(hub).await;
    });
}

#[test]
fn one_alone_takes_a_role_away_and_the_machine_is_a_second_person() {
    block_on(async {
        let hub = Engine::new();
        let id = propose(&hub, "lan").await;
        hub.hub.approve_change(Second::Machine, id).await.unwrap();
        assert_eq!(roles(&hub, "lan"), Roles::NONE.with(Role::Coordinator));
        let mut roster = Roster::clone(&hub.hub.roster().roster);
        roster.principals.remove(&person("lan"));
        assert_eq!(apply(&hub, ALPHA, roster).await, Ok(Amended::Applied));
        assert_eq!(roles(&hub, "lan"), Roles::NONE);
        let unchanged = Roster::clone(&hub.hub.roster().roster);
        assert_eq!(apply(&hub, ALPHA, unchanged).await, Ok(Amended::Unchanged));
        end_clean(hub).await;
    });
}

#[test]
fn a_suspended_organisation_is_refused_from_its_day_until_it_resumes() {
    block_on(async {
        let hub = Engine::new();
        let today = hub.clock.now().day();
        let mut roster = Roster::clone(&hub.hub.roster().roster);
        let step = |what, days: i64| {
            let on = today.checked_add(time::Duration::days(days)).unwrap();
            Step { what, on, legal_basis: "CV 1".into() }
        };
        let bravo = roster.organisations.get_mut(&slug(BRAVO)).unwrap();
        bravo.lifecycle = vec![step(Happening::Suspended, 1), step(Happening::Resumed, 3)];
        assert_eq!(apply(&hub, ALPHA, roster).await, Ok(Amended::Applied));
        let mut seen = Vec::new();
        for _ in 0..4 {
            seen.push((hub.caller_as(identity(BRAVO)).is_ok(), hub.hub.turn_day().await.unwrap()));
            hub.clock.advance(DAY);
        }
        assert_eq!(seen, [(true, false), (false, true), (false, false), (true, true)]);
        end_clean(hub).await;
    });
}
