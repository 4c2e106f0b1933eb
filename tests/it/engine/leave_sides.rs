//! Who speaks of leave for which side: what each is answered, who takes the
//! place of whom, and how many requests one person may have waiting.

use luytre::base::clock::Clock;
use luytre::hub::error::{Error, Reason};
use luytre::hub::{Asked, Caller};
use luytre::model::indicator::lifecycle::{Revocation, RevocationReason};
use luytre::model::marking::{Marking, Tlp};
use luytre::model::org::{Happening, Step};
use luytre::model::principal::{Role, Roles, SpiffeId};
use luytre::model::republication::MAX_OPEN;
use luytre::model::roster::{Grant as Roled, Patch, Relation, RelationKind};
use luytre::wire::convert::republication::{Grant, Withdrawal};
use luytre::wire::proto::v1;
use uuid::Uuid;

use super::leave::{
    ASKER, GRANTED, NAMED, OUTSIDER, OWNER, VALUE, WITHDRAWN, WITHOUT, ask, drafted, grant, granted, green,
    heard, listed, original, publish, reason, republish, to, told, verified, withdraw,
};
use super::support::{Engine, START, block_on, identity, roster, slug};

/// Most requests of one person that wait.
const EACH: usize = MAX_OPEN as usize / 2;

fn for_owner() -> Asked {
    Asked { request_id: Uuid::new_v4(), on_behalf_of: Some(slug(OWNER)) }
}

/// A hub where the outsider acts for the owner, whose records it may not read.
fn provided() -> (Engine, Caller) {
    let mut roster = roster();
    let (subject, object) = (slug(OUTSIDER), slug(OWNER));
    let contract = "contract".to_owned();
    let acts = RelationKind::ActsFor;
    roster.relations =
        vec![Relation { kind: acts, subject, object, from: None, to: None, legal_basis: contract }];
    let hub = Engine::of(roster, START, |_| ());
    let provider = hub.caller(OUTSIDER);
    (hub, provider)
}

async fn grant_for(hub: &Engine, by: &Caller, grant: Grant) -> Result<v1::Republication, Error> {
    told(hub.hub.grant_republication(by, for_owner(), grant).await)
}

async fn withdraw_for(hub: &Engine, by: &Caller, id: Uuid, of: usize) -> Result<v1::Republication, Error> {
    let withdrawal = Withdrawal { indicator: id, organisation: slug(of), note: "no longer".to_owned() };
    told(hub.hub.withdraw_republication(by, for_owner(), withdrawal).await)
}

/// Ends the owner from today on.
async fn end_owner(hub: &Engine, successors: &[usize]) {
    let today = hub.clock.now().day();
    let mut ended = roster().organisations[&slug(OWNER)].clone();
    ended.valid_to = Some(today);
    ended.lifecycle = vec![Step { what: Happening::Ended, on: today, legal_basis: "QD 1".into() }];
    ended.successors = successors.iter().map(|&org| slug(org)).collect();
    let patch = Patch { organisations: vec![ended], ..Patch::default() };
    hub.hub.change_roster(&hub.caller(ASKER), Uuid::new_v4(), patch).await.unwrap();
}

fn red() -> Marking {
    let mut red = to(Tlp::Red, &[]);
    red.recipients.principals = vec![identity(ASKER)];
    red
}

#[test]
fn who_asks_again_is_not_told_who_answered() {
    block_on(async {
        let hub = Engine::new();
        let id = original(&hub).await;
        grant(&hub, OWNER, granted(id, ASKER, green())).await.unwrap();
        let again = ask(&hub, &hub.caller(ASKER), id).await.unwrap();
        assert_eq!((again.state, again.awaits_answer, again.answerer.as_str()), (GRANTED, true, ""));
        assert_eq!(again.note, "not before noon", "what was answered is for both sides");
        assert_eq!(heard(&hub, OWNER).await.last().unwrap().answerer, identity(OWNER).to_string());
        let given_up = withdraw(&hub, ASKER, id, ASKER).await.unwrap();
        assert_eq!(listed(&hub, &hub.caller(ASKER), false, 9).await, [given_up]);
        verified(hub).await;
    });
}

#[test]
fn a_provider_that_may_not_see_a_record_is_told_of_it_only_what_it_sent() {
    block_on(async {
        let (hub, provider) = provided();
        let id = publish(&hub, OWNER, VALUE, to(Tlp::Amber, &[ASKER])).await;
        ask(&hub, &hub.caller(ASKER), id).await.unwrap();
        let given = grant_for(&hub, &provider, granted(id, ASKER, green())).await.unwrap();
        assert_eq!((given.state, given.note.as_str()), (GRANTED, "not before noon"));
        assert_eq!(given.widest.as_ref().unwrap().tlp, 2);
        assert_eq!((given.wish.as_ref(), given.reason.as_str(), given.requester.as_str()), (None, "", ""));
        assert_eq!((given.request_time, given.answer_time), (None, None));
        // Whether another may see the record, and whether it asked, is hidden.
        let as_if = |of: usize, told: &v1::Republication| v1::Republication {
            name: format!("indicators/{id}/republications/{}", slug(of)),
            organisation: format!("organisations/{}", slug(of)),
            ..told.clone()
        };
        let other = grant_for(&hub, &provider, granted(id, NAMED, green())).await.unwrap();
        assert_eq!(other, as_if(NAMED, &given));
        assert_eq!(
            (listed(&hub, &hub.caller(NAMED), false, 9).await, heard(&hub, NAMED).await),
            (vec![], vec![])
        );
        assert_eq!(listed(&hub, &hub.caller(OWNER), false, 9).await.len(), 1, "given to whom it reaches");
        assert!(republish(&hub, ASKER, id, green()).await.is_ok());
        let taken = withdraw_for(&hub, &provider, id, ASKER).await.unwrap();
        assert_eq!((taken.state, taken.note.as_str(), taken.reason.as_str()), (WITHDRAWN, "no longer", ""));
        assert_eq!(taken.widest, None);
        for of in [NAMED, ASKER] {
            let nothing = withdraw_for(&hub, &provider, id, of).await.unwrap();
            assert_eq!(nothing, as_if(of, &taken), "whether there was any");
        }
        assert_eq!(listed(&hub, &hub.caller(OWNER), false, 9).await[0].state, WITHDRAWN);
        let revocation = Revocation { reason: RevocationReason::Withdrawn, note: String::new() };
        hub.hub.revoke(&hub.caller(OWNER), Uuid::new_v4(), id, revocation, None).await.unwrap();
        for of in [NAMED, ASKER] {
            let refused = grant_for(&hub, &provider, granted(id, of, green())).await.unwrap_err();
            assert_eq!(refused.reason, Reason::IndicatorRevoked, "the same of both");
        }
        // What it may see it is told in full.
        let seen = publish(&hub, OWNER, "seen.example", green()).await;
        ask(&hub, &hub.caller(ASKER), seen).await.unwrap();
        let full = grant_for(&hub, &provider, granted(seen, ASKER, green())).await.unwrap();
        assert_eq!(
            (full.reason.as_str(), full.answerer),
            ("to warn every unit", provider.identity().to_string())
        );
        verified(hub).await;
    });
}

#[test]
fn a_successor_gives_and_takes_back_leave_in_its_predecessor_s_place() {
    block_on(async {
        let hub = Engine::new();
        let (asker, heir) = (hub.caller(ASKER), hub.caller(NAMED));
        let (id, secret) = (original(&hub).await, publish(&hub, OWNER, "red.example", red()).await);
        let own = publish(&hub, NAMED, "own.example", green()).await;
        for id in [id, secret] {
            grant(&hub, OWNER, granted(id, ASKER, green())).await.unwrap();
        }
        ask(&hub, &asker, own).await.unwrap();
        let denied = withdraw(&hub, NAMED, id, ASKER).await.unwrap_err();
        assert_eq!(denied.reason, Reason::RoleInsufficient, "while its owner stands");
        assert_eq!(listed(&hub, &heir, false, 9).await.len(), 1);
        end_owner(&hub, &[NAMED]).await;
        for size in [1, 2, 9] {
            let mut names: Vec<_> =
                listed(&hub, &heir, false, size).await.into_iter().map(|one| one.indicator).collect();
            names.sort_unstable();
            let mut expected = [id, own].map(|id| format!("indicators/{id}"));
            expected.sort_unstable();
            assert_eq!(names, expected, "not of TLP:RED");
        }
        assert!(republish(&hub, ASKER, id, green()).await.is_ok(), "the leave holds");
        let taken = withdraw(&hub, NAMED, id, ASKER).await.unwrap();
        assert_eq!((taken.state, taken.answerer), (WITHDRAWN, identity(NAMED).to_string()));
        let further = republish(&hub, ASKER, id, Marking::open(Tlp::Clear)).await;
        assert_eq!(reason(&further), WITHOUT);
        let again = ask(&hub, &asker, id).await.unwrap();
        assert_eq!(heard(&hub, NAMED).await.last().unwrap().request_time, again.request_time);
        let clear = granted(id, ASKER, Marking::open(Tlp::Clear));
        assert_eq!(grant(&hub, NAMED, clear).await.unwrap().state, GRANTED);
        assert!(republish(&hub, ASKER, id, Marking::open(Tlp::Clear)).await.is_ok());
        // TLP:RED passes to nobody.
        assert_eq!(withdraw(&hub, NAMED, secret, ASKER).await.unwrap_err().reason, Reason::NotFound);
        let refused = ask(&hub, &asker, secret).await.unwrap_err();
        assert_eq!(refused.reason, Reason::RepublicationWithoutLeave);
        let other = drafted("red.example", green(), Some(secret));
        assert_eq!(reason(&super::leave::put(&hub, &asker, other).await), WITHOUT);
        let outsider = withdraw(&hub, OUTSIDER, id, ASKER).await.unwrap_err();
        assert_eq!(outsider.reason, Reason::NotFound);
        verified(hub).await;
    });
}

#[test]
fn leave_ends_with_an_owner_whom_nobody_follows() {
    block_on(async {
        let hub = Engine::new();
        let id = original(&hub).await;
        grant(&hub, OWNER, granted(id, ASKER, green())).await.unwrap();
        end_owner(&hub, &[]).await;
        assert_eq!(reason(&republish(&hub, ASKER, id, green()).await), WITHOUT);
        let refused = ask(&hub, &hub.caller(ASKER), id).await.unwrap_err();
        assert_eq!(refused.reason, Reason::RepublicationWithoutLeave);
        assert!(refused.public.contains("ended"), "{refused:?}");
        withdraw(&hub, ASKER, id, ASKER).await.unwrap();
        verified(hub).await;
    });
}

#[test]
fn nobody_takes_more_than_half_of_the_requests_that_wait_and_who_left_takes_none() {
    block_on(async {
        let mut roster = roster();
        let people = ["an", "binh"]
            .map(|name| SpiffeId::parse(&format!("spiffe://hub.example/org/bravo/user/{name}")).unwrap());
        let every = Roled { roles: Roles::from_bits(0xff), from: None, to: None };
        roster.principals.extend(people.iter().map(|person| (person.clone(), every.clone())));
        let hub = Engine::of(roster, START, |_| ());
        let (owner, asker) = (hub.caller(OWNER), hub.caller(ASKER));
        let [an, binh] = people.clone().map(|person| hub.caller_named(person));
        let drafts = (0..=2 * EACH).map(|n| Ok(drafted(&format!("h{n}.example"), green(), None))).collect();
        let published = hub.hub.publish(&owner, Uuid::new_v4(), drafts).await.unwrap();
        let ids: Vec<_> = published.into_iter().map(|one| one.unwrap().id).collect();
        let (last, first) = ids.split_last().unwrap();
        let (first, second) = first.split_at(EACH);
        let limited = async |caller: &Caller, id: Uuid| {
            ask(&hub, caller, id).await.is_err_and(|error| error.reason == Reason::RateLimited)
        };
        for id in first {
            ask(&hub, &asker, *id).await.unwrap();
        }
        assert!(limited(&asker, *last).await, "half is for others");
        assert!(!limited(&asker, first[0]).await, "it waits already");
        for id in second {
            ask(&hub, &an, *id).await.unwrap();
        }
        assert!(limited(&binh, *last).await, "all are taken");
        assert!(!limited(&hub.caller(NAMED), *last).await, "by one organisation");
        assert!(!limited(&binh, second[0]).await, "it waits already, for another now");
        withdraw(&hub, OWNER, first[0], ASKER).await.unwrap();
        assert!(!limited(&an, *last).await, "that of the one another asks for, and the one answered");
        assert!(limited(&binh, first[0]).await);
        // Who may no longer publish holds no place.
        let mut analyst = every;
        analyst.roles = Roles::NONE.with(Role::Analyst);
        let patch = Patch { principals: vec![(people[0].clone(), Some(analyst))], ..Patch::default() };
        hub.hub.change_roster(&owner, Uuid::new_v4(), patch).await.unwrap();
        assert!(!limited(&binh, first[0]).await);
        assert!(!limited(&binh, second[1]).await);
        verified(hub).await;
    });
}
