//! Decides nothing: the tests of [`super`].

use time::macros::date;

use super::*;
use crate::model::org::{Happening, OrgSlug};
use crate::model::principal::Roles;
use crate::model::roster::{Duty, Member, RelationKind};

const TODAY: Date = date!(2025 - 03 - 01);
const LAN: &str = "spiffe://hub.example/org/a/user/lan";
const MINH: &str = "spiffe://hub.example/org/b/user/minh";

fn slug(text: &str) -> OrgSlug {
    OrgSlug::parse(text).unwrap()
}

fn id(text: &str) -> SpiffeId {
    SpiffeId::parse(text).unwrap()
}

fn name(vi: &str, from: Option<Date>, to: Option<Date>) -> DatedName {
    DatedName { vi: vi.into(), en: String::new(), short: String::new(), from, to }
}

fn org(text: &str) -> Organisation {
    Organisation::plain(slug(text))
}

fn grant(roles: &[Role]) -> Grant {
    Grant { roles: roles.iter().copied().collect(), from: None, to: None }
}

fn duty(holder: &str, from: Option<Date>, to: Option<Date>) -> Duty {
    let (duty, scope) = ("lead-unit".to_owned(), "vn".to_owned());
    Duty { duty, scope, holder: slug(holder), from, to, legal_basis: "QĐ 1".into() }
}

fn step(what: Happening, on: Date) -> Step {
    Step { what, on, legal_basis: "QĐ 2".into() }
}

/// Two organisations, the operator in the first, the lead with the second.
fn roster() -> Roster {
    Roster {
        organisations: ["a", "b"].map(|text| (slug(text), org(text))).into(),
        duties: vec![duty("b", None, None)],
        principals: [(id(LAN), grant(&[Role::Operator])), (id(MINH), grant(&[Role::Publisher]))].into(),
        ..Roster::default()
    }
}

/// What speaks against changing the roster so.
fn refused(change: impl FnOnce(&mut Roster)) -> Vec<String> {
    let mut after = roster();
    change(&mut after);
    told(&roster(), &after)
}

fn told(before: &Roster, after: &Roster) -> Vec<String> {
    let found = check(before, after, TODAY).err().unwrap_or_default();
    found.iter().map(|invalid| invalid.field.clone()).collect()
}

fn b(roster: &mut Roster) -> &mut Organisation {
    roster.organisations.get_mut(&slug("b")).unwrap()
}

fn end(org: &mut Organisation, on: Date) {
    org.valid_to = Some(on);
    org.lifecycle.push(step(Happening::Ended, on));
}

#[test]
fn an_organisation_ends_today_or_later_with_a_legal_basis_and_never_again() {
    assert_eq!(refused(|r| end(b(r), TODAY)), [""; 0]);
    assert_eq!(refused(|r| b(r).valid_to = Some(TODAY)), ["organisations[b].lifecycle"]);
    let yesterday = TODAY.previous_day().unwrap();
    let early = refused(|r| end(b(r), yesterday));
    assert_eq!(early, ["organisations[b].valid_to", "organisations[b].lifecycle"]);
    let mut ended = roster();
    end(b(&mut ended), TODAY);
    let mut again = ended.clone();
    b(&mut again).valid_to = None;
    assert_eq!(told(&ended, &again), ["organisations[b].valid_to"]);
}

#[test]
fn an_end_that_is_not_yet_reached_may_be_put_off() {
    let mut planned = roster();
    end(b(&mut planned), date!(2025 - 07 - 01));
    assert_eq!(told(&planned, &roster()), [""; 0]);
}

#[test]
fn organisations_and_groups_are_never_removed() {
    assert_eq!(
        refused(|r| {
            r.organisations.remove(&slug("b"));
        }),
        ["organisations"]
    );
    let group = Group { slug: slug("g"), vi: "Nhóm".into(), en: String::new(), members: Vec::new() };
    let mut grouped = roster();
    grouped.groups.insert(slug("g"), group);
    assert_eq!(told(&grouped, &roster()), ["groups"]);
    let mut taken = roster();
    taken.organisations.insert(slug("g"), org("g"));
    assert_eq!(told(&grouped, &taken), ["organisations[g].slug", "groups"]);
}

#[test]
fn who_follows_is_laid_down_in_a_step_of_its_own() {
    let follow = |r: &mut Roster, what: Option<Happening>| {
        r.organisations.insert(slug("c"), Organisation { predecessors: vec![slug("b")], ..org("c") });
        b(r).successors.push(slug("c"));
        b(r).valid_to = Some(date!(2025 - 07 - 01));
        b(r).lifecycle.extend(what.map(|what| step(what, date!(2025 - 07 - 01))));
    };
    assert_eq!(refused(|r| follow(r, Some(Happening::Merged))), [""; 0]);
    let both = ["organisations[b].lifecycle", "organisations[b].lifecycle"];
    assert_eq!(refused(|r| follow(r, None)), both);
}

#[test]
fn history_keeps_the_names_of_its_day() {
    let next = |from| name("Sở Khoa học và Công nghệ", Some(from), None);
    let rename = |r: &mut Roster, on: Date| {
        b(r).names[0].to = Some(on);
        b(r).names.push(next(on));
        b(r).lifecycle.push(step(Happening::Renamed, on));
    };
    assert_eq!(refused(|r| rename(r, TODAY)), [""; 0]);
    let past = refused(|r| rename(r, date!(2025 - 02 - 28)));
    assert_eq!(past, ["organisations[b].lifecycle", "organisations[b].names"]);
    let replaced = refused(|r| b(r).names[0].vi = "Sở Khoa học và Công nghệ".into());
    assert_eq!(replaced, ["organisations[b].names[0].vi"]);
    assert_eq!(refused(|r| b(r).names[0].vi = "Sở Thông tin và Truyền thông.".into()), [""; 0]);
    let unexplained = refused(|r| {
        rename(r, TODAY);
        b(r).lifecycle.clear();
    });
    assert_eq!(unexplained, ["organisations[b].lifecycle", "organisations[b].names[1].from"]);
}

#[test]
fn what_has_begun_stays_and_what_is_new_begins_today() {
    let turn = |r: &mut Roster, on| {
        r.duties[0].to = Some(on);
        r.duties.push(duty("a", Some(on), None));
    };
    assert_eq!(refused(|r| turn(r, TODAY)), [""; 0]);
    assert_eq!(refused(|r| turn(r, date!(2025 - 01 - 01))), ["duties[0].to", "duties[1].from"]);
    assert_eq!(refused(|r| r.duties.clear()), ["duties"]);
    assert_eq!(refused(|r| r.duties.push(duty("a", None, None))), ["duties[1].from"]);
    let member = |from| Member { organisation: slug("a"), from, to: None };
    let group =
        |from| Group { slug: slug("g"), vi: "N".into(), en: String::new(), members: vec![member(from)] };
    assert_eq!(refused(|r| drop(r.groups.insert(slug("g"), group(Some(TODAY))))), [""; 0]);
    let reaching_back = refused(|r| drop(r.groups.insert(slug("g"), group(None))));
    assert_eq!(reaching_back, ["groups[g].members[0].from"]);
}

#[test]
fn a_suspension_is_dated_and_no_past_one_is_invented() {
    let suspend = |r: &mut Roster, on| b(r).lifecycle.push(step(Happening::Suspended, on));
    assert_eq!(refused(|r| suspend(r, TODAY)), [""; 0]);
    assert_eq!(refused(|r| suspend(r, date!(2025 - 02 - 01))), ["organisations[b].lifecycle"]);
    let mut after = roster();
    suspend(&mut after, TODAY);
    b(&mut after).lifecycle.push(step(Happening::Resumed, date!(2025 - 04 - 01)));
    let active = |day| after.is_active(&slug("b"), day);
    assert_eq!(
        [date!(2025 - 02 - 28), TODAY, date!(2025 - 03 - 31), date!(2025 - 04 - 01)].map(active),
        [true, false, false, true]
    );
}

#[test]
fn the_last_operator_is_not_cut_off_on_any_day() {
    let principals = |r: &mut Roster| {
        r.principals.remove(&id(LAN));
    };
    assert_eq!(refused(principals), ["principals"]);
    let later = |r: &mut Roster| r.principals.get_mut(&id(LAN)).unwrap().to = Some(date!(2026 - 01 - 01));
    assert_eq!(refused(later), ["principals"]);
    let home = |r: &mut Roster| end(r.organisations.get_mut(&slug("a")).unwrap(), date!(2026 - 01 - 01));
    assert_eq!(refused(home), ["principals"]);
    let handed_over = refused(|r| {
        later(r);
        let mut next = grant(&[Role::Operator]);
        next.from = Some(date!(2026 - 01 - 01));
        r.principals.insert(id(MINH), next);
    });
    assert_eq!(handed_over, [""; 0]);
}

#[test]
fn whoever_gains_a_role_by_two_is_seen_however_it_comes() {
    let gained = |before: &Roster, after: &Roster| {
        gains(before, after, TODAY).into_iter().map(|(id, role)| (id.to_string(), role)).collect::<Vec<_>>()
    };
    let with = |change: &dyn Fn(&mut Roster)| {
        let mut after = roster();
        change(&mut after);
        after
    };
    let minh = |role| vec![(MINH.to_owned(), role)];
    let granted = with(&|r| {
        r.principals.insert(id(MINH), grant(&[Role::Coordinator]));
    });
    assert_eq!(gained(&roster(), &granted), minh(Role::Coordinator));
    assert_eq!(gained(&granted, &roster()), [], "taking away is for one alone");
    let short = with(&|r| {
        let to = Some(date!(2025 - 04 - 01));
        r.principals.insert(id(MINH), Grant { to, ..grant(&[Role::Coordinator]) });
    });
    assert_eq!(gained(&granted, &short), [], "shortened");
    assert_eq!(gained(&short, &granted), minh(Role::Coordinator), "widened");
    let mut suspended = granted.clone();
    b(&mut suspended).lifecycle.push(step(Happening::Suspended, TODAY));
    assert_eq!(gained(&suspended, &granted), minh(Role::Coordinator), "his organisation takes part again");
    let analyst = with(&|r| {
        r.principals.insert(id(MINH), Grant { roles: Roles::from_bits(0b10_0111), ..grant(&[]) });
    });
    assert_eq!(gained(&roster(), &analyst), []);
}

#[test]
fn whoever_widens_his_own_rights_is_seen_however_it_comes() {
    let gained = |change: &dyn Fn(&mut Roster)| {
        let mut before = roster();
        before.organisations.insert(slug("c"), org("c"));
        let mut after = before.clone();
        change(&mut after);
        let lan = widens(&before, &after, TODAY, &id(LAN));
        assert!(widens(&before, &after, TODAY, &id(MINH)).is_empty(), "another gains nothing by it");
        assert!(widens(&after, &before, TODAY, &id(LAN)).is_empty(), "taking away is for one alone");
        lan.into_iter().collect::<Vec<_>>()
    };
    let later = Some(date!(2026 - 01 - 01));
    let analyst = |r: &mut Roster| {
        r.principals.insert(id(LAN), grant(&[Role::Operator, Role::Analyst]));
    };
    assert_eq!(gained(&analyst), ["the role analyst"]);
    assert_eq!(gained(&|r| r.duties.push(duty("a", later, None))), ["the duty lead-unit of vn"]);
    assert_eq!(gained(&|r| r.duties.push(duty("c", None, None))), [""; 0]);
    let relation = |kind, subject, object| Relation {
        kind,
        subject: slug(subject),
        object: slug(object),
        from: None,
        to: later,
        legal_basis: String::new(),
    };
    for (kind, told) in [
        (RelationKind::ActsFor, "the relation acts-for c"),
        (RelationKind::ClientOf, "the relation client-of c"),
    ] {
        assert_eq!(gained(&|r| r.relations.push(relation(kind, "a", "c"))), [told]);
        assert_eq!(gained(&|r| r.relations.push(relation(kind, "c", "a"))), [""; 0]);
    }
    let grouped = |r: &mut Roster| {
        let members = vec![Member { organisation: slug("a"), from: later, to: None }];
        r.groups.insert(slug("g"), Group { slug: slug("g"), vi: "G".into(), en: String::new(), members });
    };
    assert_eq!(gained(&grouped), ["membership of g"]);
    let succeeded = |r: &mut Roster| {
        let ended = r.organisations.get_mut(&slug("c")).unwrap();
        end(ended, TODAY);
        ended.successors = vec![slug("a")];
    };
    assert_eq!(gained(&succeeded), ["the rights of c"]);
}

#[test]
fn a_grant_does_not_reach_back() {
    let from = |from| refused(|r| r.principals.get_mut(&id(MINH)).unwrap().from = Some(from));
    assert_eq!(from(TODAY), [""; 0]);
    assert_eq!(from(date!(2025 - 02 - 28)), [format!("principals[{MINH}].from")]);
}
