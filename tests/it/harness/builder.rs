//! Decides how a test says which hub it wants: who takes part, and what is
//! configured.

use std::collections::{BTreeMap, BTreeSet};

use luytre::model::principal::Role;
use serde_json::{Value, json};

use super::hub::spiffe;

/// A hub to be.
#[derive(Debug, Default)]
pub(crate) struct Builder {
    organisations: BTreeSet<String>,
    principals: BTreeMap<(String, String), Vec<Role>>,
    relations: Vec<Value>,
    groups: Vec<Value>,
    leads: Option<String>,
    file: Option<Value>,
    config: String,
    authorities: Option<String>,
}

impl Builder {
    /// A principal with its roles, and its organisation if it is the first.
    /// The name reads `system/feed` or `user/an`.
    pub(crate) fn principal(mut self, organisation: &str, name: &str, roles: &[Role]) -> Self {
        self.principals.insert((organisation.to_owned(), name.to_owned()), roles.to_vec());
        self.organisation(organisation)
    }

    /// An organisation.
    pub(crate) fn organisation(mut self, slug: &str) -> Self {
        self.organisations.insert(slug.to_owned());
        self
    }

    /// A provider and the organisation that it acts for.
    pub(crate) fn acts_for(mut self, provider: &str, unit: &str) -> Self {
        self.relations.push(json!({
            "kind": "acts-for", "subject": provider, "object": unit, "legal_basis": "contract",
        }));
        self
    }

    /// A group of organisations.
    pub(crate) fn group(mut self, slug: &str, members: &[&str]) -> Self {
        let member = |slug: &&str| json!({ "organisation": slug });
        let members: Vec<_> = members.iter().map(member).collect();
        self.groups.push(json!({ "slug": slug, "vi": slug, "members": members }));
        self
    }

    /// The organisations of a roster file, and who leads there.
    pub(crate) fn of_file(mut self, file: Value) -> Self {
        self.file = Some(file);
        self
    }

    /// An organisation that leads.
    pub(crate) fn lead_unit(mut self, slug: &str) -> Self {
        self.leads = Some(slug.to_owned());
        self.organisation(slug)
    }

    /// Further lines of the configuration.
    pub(crate) fn config(mut self, toml: &str) -> Self {
        self.config.push_str(toml);
        self.config.push('\n');
        self
    }

    /// A hub whose certificates come from a signer; `more` is added to its
    /// `[authorities]`.
    pub(super) fn with_authorities(mut self, more: &str) -> Self {
        self.authorities = Some(more.to_owned());
        self
    }

    /// What else is said of its authorities, if it has any.
    pub(super) fn authorities(&self) -> Option<&str> {
        self.authorities.as_deref()
    }

    /// The further lines of the configuration.
    pub(super) fn lines(&self) -> &str {
        &self.config
    }

    /// The roster, as a file.
    pub(super) fn roster(&self) -> String {
        let of_file = |field: &str| -> Vec<Value> {
            let records = self.file.as_ref().and_then(|file| file[field].as_array());
            records.cloned().unwrap_or_default()
        };
        let mut organisations = of_file("organisations");
        let known: BTreeSet<_> =
            organisations.iter().map(|record| record["slug"].as_str().unwrap().to_owned()).collect();
        let further = self
            .organisations
            .difference(&known)
            .map(|slug| json!({ "slug": slug, "name_vi": slug, "name_en": slug, "kind": "test" }));
        organisations.extend(further);
        let principals: Vec<_> = self
            .principals
            .iter()
            .map(|((org, name), roles)| {
                let roles: Vec<_> = roles.iter().map(|role| role.as_str()).collect();
                json!({ "id": spiffe(org, name), "roles": roles })
            })
            .collect();
        let duty = |slug: &String| json!({ "role": "lead_unit", "scope": "city", "org": slug, "basis": "a decision" });
        let duties: Vec<_> =
            of_file("role_assignments").into_iter().chain(self.leads.iter().map(duty)).collect();
        json!({
            "organisations": organisations, "role_assignments": duties, "principals": principals,
            "groups": self.groups, "relations": self.relations,
        })
        .to_string()
    }
}
