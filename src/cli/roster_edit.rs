//! Decides the common changes of a roster at the prompt: one organisation
//! ends, is renamed, suspended or resumed; one principal is given roles.

use crate::model::org::{DatedName, Happening, OrgSlug, Organisation, Step};
use crate::model::principal::Roles;
use crate::model::roster::{Grant, Roster};

use super::arguments::{Effect, EndOrganisation, GrantRoles, RenameOrganisation};

/// Ends an organisation, and says on both sides who follows it.
pub(super) fn end(roster: &mut Roster, options: &EndOrganisation) -> Result<(), String> {
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
pub(super) fn rename(roster: &mut Roster, options: &RenameOrganisation) -> Result<(), String> {
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
) -> Result<(), String> {
    note(found(roster, organisation)?, what, effect);
    Ok(())
}

/// Puts these roles of a principal in the place of those it has; none: it
/// has no role any more.
pub(super) fn grant(roster: &mut Roster, options: &GrantRoles) {
    let GrantRoles { principal, roles, from, to, dry_run: _ } = options;
    let roles: Roles = roles.iter().copied().collect();
    if roles == Roles::NONE {
        roster.principals.remove(principal);
    } else {
        roster.principals.insert(principal.clone(), Grant { roles, from: *from, to: *to });
    }
}

fn found<'a>(roster: &'a mut Roster, slug: &OrgSlug) -> Result<&'a mut Organisation, String> {
    roster.organisations.get_mut(slug).ok_or_else(|| {
        format!("no organisation has the slug {slug}; `luytre organisations --all` lists them")
    })
}

fn note(org: &mut Organisation, what: Happening, effect: &Effect) {
    let step = Step { what, on: effect.on, legal_basis: effect.basis.clone() };
    let place = org.lifecycle.partition_point(|before| before.on <= step.on);
    org.lifecycle.insert(place, step);
}
