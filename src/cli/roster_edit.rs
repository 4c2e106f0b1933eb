//! Decides the common changes of a roster at the prompt: one organisation
//! ends, is renamed, suspended or resumed; one principal gains or loses roles.

use time::Date;

use crate::model::org::{DatedName, Happening, OrgSlug, Organisation, Step};
use crate::model::principal::{Role, Roles, SpiffeId};
use crate::model::roster::{Grant, Roster};

use super::arguments::{Effect, EndOrganisation, GrantRoles, RenameOrganisation, WithdrawRoles};
use super::exit::Failure;

/// Ends an organisation, and says on both sides who follows it.
pub(super) fn end(roster: &mut Roster, options: &EndOrganisation) -> Result<(), Failure> {
    let EndOrganisation { organisation, into, effect } = options;
    let what = match into.as_slice() {
        [] => Happening::Ended,
        [one] if found(roster, one)?.valid_from == Some(effect.on) => Happening::Merged,
        [_] => Happening::Absorbed,
        _ => Happening::Split,
    };
    let org = found(roster, organisation)?;
    org.valid_to = Some(effect.on);
    for slug in into {
        if !org.successors.contains(slug) {
            org.successors.push(slug.clone());
        }
    }
    note(org, what, effect);
    for slug in into {
        let successor = found(roster, slug)?;
        if !successor.predecessors.contains(organisation) {
            successor.predecessors.push(organisation.clone());
        }
    }
    Ok(())
}

/// Gives an organisation another name from a day on.
pub(super) fn rename(roster: &mut Roster, options: &RenameOrganisation) -> Result<(), Failure> {
    let RenameOrganisation { organisation, vi, en, short, effect } = options;
    let org = found(roster, organisation)?;
    if let Some(last) = org.names.last_mut() {
        last.to = Some(effect.on);
    }
    let (vi, en, short) = (vi.clone(), en.clone(), short.clone());
    org.names.push(DatedName { vi, en, short, from: Some(effect.on), to: None });
    note(org, Happening::Renamed, effect);
    Ok(())
}

/// Suspends an organisation, or lets it take part again.
pub(super) fn step(
    roster: &mut Roster,
    organisation: &OrgSlug,
    what: Happening,
    effect: &Effect,
) -> Result<(), Failure> {
    note(found(roster, organisation)?, what, effect);
    Ok(())
}

/// From when on a step holds, as seen on `today`.
pub(super) fn begins(effect: &Effect, today: Date) -> String {
    if effect.on > today {
        format!("it will hold from {} on, and changes nothing before that day", effect.on)
    } else {
        "it holds at once".to_owned()
    }
}

/// Gives a principal roles beside those that it has, or in their place; says
/// what it has then.
pub(super) fn grant(roster: &mut Roster, options: &GrantRoles, today: Date) -> Result<String, Failure> {
    let GrantRoles { principal, roles, only, from, to, dry_run: _ } = options;
    let given: Roles = roles.iter().copied().collect();
    let standing = |grant: &&Grant| !only && grant.to.is_none_or(|to| to > today);
    let grant = match roster.principals.get(principal).filter(standing) {
        None => Grant { roles: given, from: *from, to: *to },
        Some(held) => {
            let (from, to) = (from.or(held.from), to.or(held.to));
            let besides = held.roles.iter().any(|role| !given.contains(role));
            if besides && (from, to) != (held.from, held.to) {
                return Err(Failure::Usage(format!(
                    "error: {principal} has {}; days hold for all roles of a principal alike: name all that it shall have, with --only, or leave --from and --to out",
                    words(held)
                )));
            }
            Grant { roles: Roles::from_bits(held.roles.bits() | given.bits()), from, to }
        }
    };
    let told = format!("with it, {principal} has: {}", words(&grant));
    roster.principals.insert(principal.clone(), grant);
    Ok(told)
}

/// Takes roles of a principal away; says what it has then.
pub(super) fn withdraw(roster: &mut Roster, options: &WithdrawRoles) -> Result<String, Failure> {
    let WithdrawRoles { principal, roles, all, dry_run: _ } = options;
    let lacks = |what: &str| {
        Failure::NoInput(format!("{principal} has no {what}; `luytre roster export` shows what it has"))
    };
    let Some(held) = roster.principals.get_mut(principal) else { return Err(lacks("role")) };
    if let Some(role) = roles.iter().find(|role| !held.roles.contains(**role)) {
        return Err(lacks(&format!("role {}", role.as_str())));
    }
    let keeps = |role: &Role| !all && !roles.contains(role);
    held.roles = held.roles.iter().filter(keeps).collect();
    if held.roles == Roles::NONE {
        roster.principals.remove(principal);
        return Ok(none_left(principal));
    }
    Ok(format!("with it, {principal} has: {}", words(held)))
}

fn none_left(principal: &SpiffeId) -> String {
    format!("with it, {principal} has no role; its certificate is good for `luytre whoami` alone")
}

fn words(grant: &Grant) -> String {
    let roles: Vec<_> = grant.roles.iter().map(Role::as_str).collect();
    let from = grant.from.map(|day| format!(" from {day}")).unwrap_or_default();
    let to = grant.to.map(|day| format!(" until {day}")).unwrap_or_default();
    format!("{}{from}{to}", roles.join(", "))
}

fn found<'a>(roster: &'a mut Roster, slug: &OrgSlug) -> Result<&'a mut Organisation, Failure> {
    roster.organisations.get_mut(slug).ok_or_else(|| {
        Failure::NoInput(format!(
            "no organisation has the slug {slug}; `luytre organisations --all` lists them"
        ))
    })
}

fn note(org: &mut Organisation, what: Happening, effect: &Effect) {
    let step = Step { what, on: effect.on, legal_basis: effect.basis.clone() };
    let place = org.lifecycle.partition_point(|before| before.on <= step.on);
    org.lifecycle.insert(place, step);
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;
    use time::macros::date;

    use super::super::arguments::{Arguments, Command, RosterAction};
    use super::*;

    const ID: &str = "spiffe://hub.example/org/soc/system/feed";
    const TODAY: Date = date!(2026 - 11 - 22);

    fn action(words: &str) -> RosterAction {
        let words = ["luytre", "roster"].into_iter().chain(words.split(' '));
        match Arguments::try_parse_from(words).unwrap().command {
            Command::Roster(options) => options.action,
            other => panic!("{other:?}"),
        }
    }

    fn edit(roster: &mut Roster, words: &str) -> Result<String, Failure> {
        match action(words) {
            RosterAction::Grant(options) => grant(roster, &options, TODAY),
            RosterAction::Withdraw(options) => withdraw(roster, &options),
            other => panic!("{other:?}"),
        }
    }

    fn held(roster: &Roster) -> String {
        roster.principals.get(&SpiffeId::parse(ID).unwrap()).map(words).unwrap_or_default()
    }

    #[test]
    fn a_grant_adds_to_what_the_principal_has_and_says_what_that_is() {
        let mut roster = Roster::default();
        edit(&mut roster, &format!("grant {ID} --role publisher --to 2027-01-01")).unwrap();
        let told =
            edit(&mut roster, &format!("grant {ID} --role analyst,subscriber --role auditor")).unwrap();
        let all = "publisher, subscriber, analyst, auditor until 2027-01-01";
        assert_eq!((told, held(&roster)), (format!("with it, {ID} has: {all}"), all.to_owned()));
        edit(&mut roster, &format!("grant {ID} --role analyst --only")).unwrap();
        assert_eq!(held(&roster), "analyst");
    }

    #[test]
    fn other_days_for_roles_that_were_not_named_are_refused() {
        let mut roster = Roster::default();
        edit(&mut roster, &format!("grant {ID} --role publisher")).unwrap();
        let refused = edit(&mut roster, &format!("grant {ID} --role analyst --from 2027-01-01")).unwrap_err();
        assert_eq!((refused.code(), held(&roster)), (64, "publisher".to_owned()));
        edit(&mut roster, &format!("grant {ID} --role publisher --to 2027-01-01")).unwrap();
        assert_eq!(held(&roster), "publisher until 2027-01-01");
    }

    #[test]
    fn roles_that_are_over_do_not_come_back_with_a_new_one() {
        let mut roster = Roster::default();
        edit(&mut roster, &format!("grant {ID} --role publisher --to 2026-11-22")).unwrap();
        edit(&mut roster, &format!("grant {ID} --role analyst")).unwrap();
        assert_eq!(held(&roster), "analyst");
    }

    #[test]
    fn roles_are_withdrawn_by_name_or_all() {
        let mut roster = Roster::default();
        edit(&mut roster, &format!("grant {ID} --role publisher,analyst")).unwrap();
        assert_eq!(edit(&mut roster, &format!("withdraw {ID} --role auditor")).unwrap_err().code(), 66);
        edit(&mut roster, &format!("withdraw {ID} --role publisher")).unwrap();
        assert_eq!(held(&roster), "analyst");
        let told = edit(&mut roster, &format!("withdraw {ID} --all")).unwrap();
        assert!(told.contains("has no role;") && roster.principals.is_empty(), "{told}");
    }

    #[test]
    fn a_step_of_a_later_day_is_said_to_hold_from_then_on() {
        let RosterAction::Suspend(options) = action("suspend soc --on 2027-01-01 --basis Letter") else {
            panic!("it is a suspension");
        };
        assert!(begins(&options.effect, TODAY).contains("will hold from 2027-01-01 on"));
        assert_eq!(begins(&options.effect, date!(2027 - 01 - 01)), "it holds at once");
    }
}
