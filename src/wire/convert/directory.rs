//! Decides how an organisation is shown.

use ::time::Date;

use crate::model::org::{DatedName, Organisation, Standing, Step};
use crate::wire::proto::v1;

use super::name;

/// Writes an organisation as it stands on `date`.
#[must_use]
pub fn organisation(
    organisation: &Organisation,
    standing: Standing,
    duties: Vec<String>,
    date: Date,
) -> v1::Organisation {
    let Organisation {
        slug,
        names: all_names,
        kind,
        parent,
        valid_from,
        valid_to,
        lifecycle,
        predecessors,
        successors,
        // Of who reads the roster itself.
        protected: _,
    } = organisation;
    let names = organisation.name_on(date);
    v1::Organisation {
        name: name::organisation(slug),
        display_name: names.map(|n| n.vi.clone()).unwrap_or_default(),
        display_name_en: names.map(|n| n.en.clone()).unwrap_or_default(),
        short_name: names.map(|n| n.short.clone()).unwrap_or_default(),
        kind: kind.clone(),
        parent: parent.as_ref().map(name::organisation).unwrap_or_default(),
        state: state(standing).into(),
        valid_from: valid_from.map(|date| date.to_string()).unwrap_or_default(),
        valid_to: valid_to.map(|date| date.to_string()).unwrap_or_default(),
        predecessors: predecessors.iter().map(name::organisation).collect(),
        successors: successors.iter().map(name::organisation).collect(),
        duties,
        names: all_names.iter().map(dated_name).collect(),
        lifecycle: lifecycle.iter().map(step).collect(),
    }
}

fn dated_name(name: &DatedName) -> v1::OrganisationName {
    let DatedName { vi, en, short, from, to } = name;
    v1::OrganisationName {
        display_name: vi.clone(),
        display_name_en: en.clone(),
        short_name: short.clone(),
        from: from.map(|date| date.to_string()).unwrap_or_default(),
        to: to.map(|date| date.to_string()).unwrap_or_default(),
    }
}

fn step(step: &Step) -> v1::LifecycleStep {
    let Step { what, on, legal_basis } = step;
    v1::LifecycleStep { what: what.as_str().to_owned(), on: on.to_string(), legal_basis: legal_basis.clone() }
}

const fn state(standing: Standing) -> v1::OrganisationState {
    match standing {
        Standing::Active => v1::OrganisationState::Active,
        Standing::Suspended => v1::OrganisationState::Suspended,
        Standing::Ended => v1::OrganisationState::Ended,
        Standing::Planned => v1::OrganisationState::Planned,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::org::OrgSlug;
    use ::time::macros::date;

    #[test]
    fn an_organisation_is_shown_under_its_name_of_the_day() {
        let slug = |text| OrgSlug::parse(text).unwrap();
        let named = |vi: &str, from, to| DatedName {
            vi: vi.into(),
            en: format!("{vi} en"),
            short: String::new(),
            from,
            to,
        };
        let change = date!(2025 - 03 - 01);
        let model = Organisation {
            slug: slug("so-khcn"),
            names: vec![named("cũ", None, Some(change)), named("mới", Some(change), None)],
            kind: "lead-department".into(),
            parent: Some(slug("ubnd")),
            valid_from: Some(change),
            valid_to: None,
            lifecycle: Vec::new(),
            predecessors: vec![slug("so-tttt")],
            successors: vec![],
            protected: vec![],
        };
        let shown = organisation(&model, Standing::Active, vec!["lead-unit".into()], date!(2026 - 01 - 01));
        assert_eq!((shown.display_name.as_str(), shown.display_name_en.as_str()), ("mới", "mới en"));
        assert_eq!((shown.valid_from.as_str(), shown.valid_to.as_str()), ("2025-03-01", ""));
        assert_eq!(
            (shown.name.as_str(), shown.parent.as_str()),
            ("organisations/so-khcn", "organisations/ubnd")
        );
        assert_eq!((shown.predecessors, shown.state), (vec!["organisations/so-tttt".to_owned()], 1));
        let named: Vec<_> =
            shown.names.iter().map(|n| (n.display_name.as_str(), n.from.as_str(), n.to.as_str())).collect();
        assert_eq!(named, [("cũ", "", "2025-03-01"), ("mới", "2025-03-01", "")]);
        let before = organisation(&model, Standing::Planned, vec![], date!(2025 - 02 - 28));
        assert_eq!((before.display_name.as_str(), before.state), ("cũ", 4));
    }
}
