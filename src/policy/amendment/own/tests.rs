//! Decides nothing: the tests of [`super`].

use proptest::prelude::*;
use time::Duration;
use time::macros::date;

use super::*;
use crate::model::audience::ClassDefinition;
use crate::model::marking::{Caveats, Marking, Recipients, Tlp};
use crate::model::org::{OrgNo, Organisation};
use crate::model::roster::{Grant, Group, Member, Relation};
use crate::policy::visibility::Audience;

const TODAY: Date = date!(2025 - 03 - 01);
const ORGS: u32 = 6;
const DAYS: i64 = 4;

fn org(n: u32) -> OrgSlug {
    OrgSlug::parse(&format!("org-{n}")).unwrap()
}

fn group(n: u32) -> OrgSlug {
    OrgSlug::parse(&format!("group-{n}")).unwrap()
}

fn number(slug: &OrgSlug) -> Option<OrgNo> {
    slug.as_str().strip_prefix("org-")?.parse().ok().map(OrgNo)
}

fn person(org: u32, name: &str) -> SpiffeId {
    SpiffeId::parse(&format!("spiffe://t.example/org/org-{org}/user/{name}")).unwrap()
}

fn day(n: i64) -> Date {
    TODAY + Duration::days(n)
}

fn organisation(n: u32) -> Organisation {
    Organisation::plain(org(n))
}

fn member(n: u32) -> Member {
    Member { organisation: org(n), from: None, to: None }
}

fn relation(kind: RelationKind, subject: u32, object: u32) -> Relation {
    Relation {
        kind,
        subject: org(subject),
        object: org(object),
        from: None,
        to: None,
        legal_basis: String::new(),
    }
}

/// Organisations 1 to 6, 1 operating, and the groups 1 and 2 with nobody.
fn roster() -> Roster {
    let empty = |n| Group { slug: group(n), vi: String::new(), en: String::new(), members: Vec::new() };
    let operator = Grant { roles: [Role::Operator].into_iter().collect(), from: None, to: None };
    Roster {
        organisations: (1..=ORGS).map(|n| (org(n), organisation(n))).collect(),
        groups: [1, 2].map(|n| (group(n), empty(n))).into(),
        principals: [(person(1, "an"), operator)].into(),
        ..Roster::default()
    }
}

fn join(roster: &mut Roster, of: u32, n: u32) {
    roster.groups.get_mut(&group(of)).unwrap().members.push(member(n));
}

fn succeed(roster: &mut Roster, ended: u32, on: Date, heirs: &[u32]) {
    let ended = roster.organisations.get_mut(&org(ended)).unwrap();
    (ended.valid_to, ended.successors) = (Some(on), heirs.iter().map(|&n| org(n)).collect());
}

/// What the operator of organisation 1 gains where `before` is changed so.
fn gained(before: &Roster, change: impl Fn(&mut Roster)) -> Vec<String> {
    let mut after = before.clone();
    change(&mut after);
    let own = widens(before, &after, TODAY, &person(1, "an"));
    assert!(widens(&after, before, TODAY, &person(1, "an")).is_empty(), "taking away is for one alone");
    assert!(widens(before, &after, TODAY, &person(6, "an")).is_empty(), "another gains nothing by it");
    own.into_iter().collect()
}

#[test]
fn what_comes_to_him_through_a_third_body_is_seen() {
    let mut heir = roster();
    succeed(&mut heir, 2, TODAY, &[1]);
    let joins = |r: &mut Roster| join(r, 1, 2);
    assert_eq!(gained(&heir, joins), ["what is shared with the group group-1, as successor of org-2"]);
    let heirs = |r: &mut Roster| succeed(r, 3, day(2), &[2]);
    assert_eq!(gained(&heir, heirs), ["the rights of org-3"], "a successor's successor");
    for (kind, joined, succeeded, both) in [
        (
            RelationKind::ClientOf,
            "what is TLP:AMBER for the group group-1, as client of org-2",
            "what is TLP:AMBER for org-3, as client of org-2, which succeeds it",
            "what is TLP:AMBER for the group group-1, as client of org-2, which succeeds org-3",
        ),
        (
            RelationKind::ActsFor,
            "what providers of the group group-1 may read, acting for org-2",
            "what providers of org-3 may read, acting for org-2, which succeeds it",
            "what providers of the group group-1 may read, acting for org-2, which succeeds org-3",
        ),
    ] {
        let mut works = roster();
        works.relations.push(relation(kind, 1, 2));
        assert_eq!(gained(&works, joins), [joined]);
        let heirs = |r: &mut Roster| succeed(r, 3, day(2), &[2]);
        assert_eq!(gained(&works, heirs), [succeeded]);
        succeed(&mut works, 3, TODAY, &[2]);
        assert_eq!(gained(&works, |r| join(r, 1, 3)), [both]);
    }
}

#[test]
fn what_follows_from_a_gain_is_not_told_twice() {
    let mut before = roster();
    join(&mut before, 1, 2);
    succeed(&mut before, 3, TODAY, &[2]);
    let client = |r: &mut Roster| r.relations.push(relation(RelationKind::ClientOf, 1, 2));
    assert_eq!(gained(&before, client), ["the relation client-of org-2"]);
    let heir = |r: &mut Roster| succeed(r, 2, TODAY, &[1]);
    assert_eq!(gained(&before, heir), ["the rights of org-2"]);
}

#[test]
fn what_he_has_by_one_way_he_does_not_gain_by_another() {
    let mut before = roster();
    join(&mut before, 1, 1);
    before.relations.push(relation(RelationKind::ClientOf, 1, 2));
    assert_eq!(gained(&before, |r| join(r, 1, 2)), [""; 0]);
    assert_eq!(gained(&roster(), |r| join(r, 1, 2)), [""; 0]);
}

#[test]
fn a_colleague_who_may_read_is_a_right_of_his_own() {
    let roles = |n: u32, role: Role| {
        gained(&roster(), |r| {
            let grant = Grant { roles: [role].into_iter().collect(), from: None, to: None };
            r.principals.insert(person(n, "lan"), grant);
        })
    };
    for (role, name) in [(Role::Subscriber, "subscriber"), (Role::Analyst, "analyst")] {
        let told =
            format!("the role {name} for spiffe://t.example/org/org-1/user/lan, of the same organisation");
        assert_eq!(roles(1, role), [told]);
        assert_eq!(roles(2, role), [""; 0]);
    }
    assert_eq!(roles(1, Role::Publisher), [""; 0]);
}

/// One thing of a roster, with its days.
#[derive(Debug, Clone)]
enum Piece {
    Joins(u32, u32, Option<i64>, Option<i64>),
    Works(bool, u32, u32, Option<i64>, Option<i64>),
    Ends(u32, i64, Vec<u32>),
    Begins(u32, i64),
}

fn piece() -> impl Strategy<Value = Piece> {
    let span = || proptest::option::weighted(0.3, -1..DAYS);
    let heirs = proptest::collection::vec(1..=ORGS, 0..3);
    prop_oneof![
        (1..3_u32, 1..=ORGS, span(), span()).prop_map(|(g, o, from, to)| Piece::Joins(g, o, from, to)),
        (any::<bool>(), 1..=ORGS, 1..=ORGS, span(), span())
            .prop_map(|(client, s, o, from, to)| Piece::Works(client, s, o, from, to)),
        (1..=ORGS, -1..DAYS, heirs).prop_map(|(o, on, heirs)| Piece::Ends(o, on, heirs)),
        (1..=ORGS, -1..DAYS).prop_map(|(o, on)| Piece::Begins(o, on)),
    ]
}

fn built(pieces: &[Piece]) -> Roster {
    let mut roster = roster();
    for piece in pieces {
        match piece {
            Piece::Joins(g, n, from, to) => {
                let spanned = Member { from: from.map(day), to: to.map(day), ..member(*n) };
                roster.groups.get_mut(&group(*g)).unwrap().members.push(spanned);
            }
            Piece::Works(client, subject, object, from, to) => {
                let kind = if *client { RelationKind::ClientOf } else { RelationKind::ActsFor };
                let dated = relation(kind, *subject, *object);
                roster.relations.push(Relation { from: from.map(day), to: to.map(day), ..dated });
            }
            Piece::Ends(n, on, heirs) => succeed(&mut roster, *n, day(*on), heirs),
            Piece::Begins(n, on) => {
                roster.organisations.get_mut(&org(*n)).unwrap().valid_from = Some(day(*on));
            }
        }
    }
    roster
}

/// Every class that names one organisation, one group or nobody, by each owner.
fn classes() -> Vec<ClassDefinition> {
    let mut classes = Vec::new();
    let amber = [
        (Tlp::Green, Caveats::NONE),
        (Tlp::Amber, Caveats::NONE),
        (Tlp::Amber, Caveats::PROVIDERS_MAY_READ),
        (Tlp::AmberStrict, Caveats::NONE),
    ];
    let named = (1..=ORGS).map(|n| (vec![org(n)], vec![])).chain((1..3).map(|n| (vec![], vec![group(n)])));
    for (organisations, groups) in named.chain([(vec![], vec![])]) {
        for (owner, (tlp, caveats)) in (1..=ORGS).flat_map(|n| amber.map(|class| (org(n), class))) {
            let recipients = Recipients {
                organisations: organisations.clone(),
                groups: groups.clone(),
                principals: vec![],
            };
            classes.push(ClassDefinition { owner, marking: Marking { tlp, recipients, caveats } });
        }
    }
    classes
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn he_alone_makes_no_class_visible_to_his_organisation_on_any_day(
        stands in proptest::collection::vec(piece(), 0..8),
        added in proptest::collection::vec(piece(), 0..2),
        removed in 0..3_usize,
    ) {
        let before = built(&stands);
        let kept: Vec<_> = stands.iter().skip(removed).chain(&added).cloned().collect();
        let after = built(&kept);
        let told = widens(&before, &after, TODAY, &person(1, "an"));
        let reading = told.iter().any(|told| !told.starts_with("the relation acts-for") && !told.starts_with("the role"));
        let (classes, mut seen) = (classes(), None);
        for (class, day) in classes.iter().flat_map(|class| (0..=DAYS).map(move |n| (class, day(n)))) {
            let reaches = |roster| Audience::resolve(class, roster, day, number).reaches(OrgNo(1));
            if reaches(&after) && !reaches(&before) {
                seen = Some((class, day));
                break;
            }
        }
        if let Some((class, day)) = seen {
            prop_assert!(!told.is_empty(), "{class:?} {day}");
        } else {
            prop_assert!(!reading, "nothing is gained, and told was {told:?}");
        }
    }
}
