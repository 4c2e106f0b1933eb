//! Decides how a hub begins: with a roster that is sound on its first day, and
//! one operator in it.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use time::Date;

use super::super::output;
use super::{Failure, Init};
use crate::base::clock::{Clock, DatedClock, SystemClock};
use crate::hub::Hub;
use crate::interop::roster;
use crate::model::Invalid;
use crate::model::org::Standing;
use crate::model::principal::{Role, Roles, SpiffeId, check_trust_domain};
use crate::model::roster::{Grant, Roster};

pub(super) fn run(options: &Init) -> Result<(), Failure> {
    let clock = clock(options.as_of);
    let mut roster = read(&options.roster)?;
    let date = clock.now().day();
    for operator in &options.operator {
        grant_operator(&mut roster, operator, &options.trust_domain, date)
            .map_err(|problems| Failure::problems("the request", &problems))?;
    }
    let organisations = roster.organisations.len();
    let active = roster.organisations.keys().filter(|org| roster.is_active(org, date)).count();
    Hub::init(&options.data, roster, &options.trust_domain, &*clock)?;
    output::talk(&format!(
        "made {} for {}: {organisations} organisations, {active} of them active on {date}",
        options.data.display(),
        options.trust_domain,
    ));
    Ok(())
}

fn clock(as_of: Option<Date>) -> Arc<dyn Clock> {
    match as_of {
        Some(date) => Arc::new(DatedClock::starting_on(date)),
        None => SystemClock::shared(),
    }
}

fn read(path: &Path) -> Result<Roster, Failure> {
    let shown = path.display();
    let unreadable = |error| Failure::NoInput(format!("cannot read the roster {shown}: {error}"));
    let length = fs::metadata(path).map_err(unreadable)?.len();
    if length > u64::try_from(roster::MAX_BYTES).unwrap_or(u64::MAX) {
        return Err(Failure::Input(format!("the roster {shown} is larger than {} bytes", roster::MAX_BYTES)));
    }
    let text = fs::read(path).map_err(unreadable)?;
    roster::parse(&text).map_err(|problems| Failure::problems(&format!("the roster {shown}"), &problems))
}

/// Gives `operator` the operator's role beside those that the roster gives it.
fn grant_operator(
    roster: &mut Roster,
    operator: &str,
    trust_domain: &str,
    date: Date,
) -> Result<(), Vec<Invalid>> {
    let mut problems = Vec::new();
    if let Err(invalid) = check_trust_domain(trust_domain) {
        problems.push(invalid.under("--trust-domain"));
    }
    let operator = match SpiffeId::parse(operator) {
        Ok(operator) => operator,
        Err(invalid) => {
            problems.push(invalid.under("--operator"));
            return Err(problems);
        }
    };
    let mut wrong = |problem: String| problems.push(Invalid::new("--operator", problem));
    if operator.trust_domain() != trust_domain {
        wrong(format!(
            "is of trust domain {}, and the hub of {trust_domain}; make the two the same",
            operator.trust_domain()
        ));
    }
    let org = operator.org();
    match roster.organisations.get(org).map(|organisation| organisation.standing(date)) {
        Some(Standing::Active) => {}
        None => wrong(format!("the roster has no organisation {org}; name one of its slugs")),
        Some(standing) => {
            let standing = match standing {
                Standing::Suspended => "suspended",
                Standing::Ended => "ended",
                Standing::Planned | Standing::Active => "not yet begun",
            };
            wrong(format!("{org} is {standing} on {date}; name an active organisation, or another --as-of"));
        }
    }
    for identity in roster.principals.keys().filter(|identity| identity.trust_domain() != trust_domain) {
        problems.push(Invalid::new(
            "--roster",
            format!("{identity} is of another trust domain than --trust-domain"),
        ));
    }
    if !problems.is_empty() {
        return Err(problems);
    }
    let grant =
        roster.principals.entry(operator).or_insert(Grant { roles: Roles::NONE, from: None, to: None });
    *grant = Grant { roles: grant.roles.with(Role::Operator), from: None, to: None };
    Ok(())
}

#[cfg(test)]
mod tests {
    use time::macros::date;

    use super::*;
    use crate::model::org::{DatedName, OrgSlug, Organisation};

    const DOMAIN: &str = "luytre.example";
    const OPERATOR: &str = "spiffe://luytre.example/org/so-tttt/user/lan";

    fn roster() -> Roster {
        let slug = OrgSlug::parse("so-tttt").unwrap();
        let name =
            DatedName {
                vi: "Sở".to_owned(), en: String::new(), short: String::new(), from: None, to: None
            };
        let organisation = Organisation {
            slug: slug.clone(),
            names: vec![name],
            kind: "lead-department".to_owned(),
            parent: None,
            valid_from: None,
            valid_to: Some(date!(2025 - 03 - 01)),
            lifecycle: Vec::new(),
            predecessors: Vec::new(),
            successors: Vec::new(),
            protected: Vec::new(),
        };
        Roster { organisations: [(slug, organisation)].into(), ..Roster::default() }
    }

    fn problems(operator: &str, domain: &str, on: Date) -> String {
        let problems = grant_operator(&mut roster(), operator, domain, on).unwrap_err();
        problems.iter().map(|problem| format!("{problem}\n")).collect()
    }

    #[test]
    fn the_operator_of_an_active_organisation_is_given_the_role() {
        let mut roster = roster();
        grant_operator(&mut roster, OPERATOR, DOMAIN, date!(2019 - 12 - 10)).unwrap();
        let operator = SpiffeId::parse(OPERATOR).unwrap();
        assert!(roster.roles(&operator, date!(2019 - 12 - 10)).contains(Role::Operator));
    }

    #[test]
    fn the_operator_keeps_the_roles_that_the_roster_gives() {
        let mut roster = roster();
        let operator = SpiffeId::parse(OPERATOR).unwrap();
        let roles = Roles::NONE.with(Role::Analyst);
        roster.principals.insert(operator.clone(), Grant { roles, from: None, to: None });
        grant_operator(&mut roster, OPERATOR, DOMAIN, date!(2019 - 12 - 10)).unwrap();
        let roles = roster.roles(&operator, date!(2019 - 12 - 10));
        assert!(roles.contains(Role::Analyst) && roles.contains(Role::Operator));
    }

    #[test]
    fn an_organisation_that_ended_cannot_run_the_hub() {
        let told = problems(OPERATOR, DOMAIN, date!(2026 - 01 - 01));
        assert!(told.contains("so-tttt is ended on 2026-01-01"), "{told}");
    }

    #[test]
    fn an_unknown_organisation_and_a_foreign_domain_are_told_at_once() {
        let told = problems("spiffe://other.example/org/nobody/user/lan", DOMAIN, date!(2019 - 12 - 10));
        assert!(
            told.contains("no organisation nobody") && told.contains("trust domain other.example"),
            "{told}"
        );
    }
}
