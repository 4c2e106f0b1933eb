//! Decides which texts of an item people write for people, and so are looked
//! at. An observable's value is not one of them: it is the attacker's word,
//! `toimat.example` is a name like any other, and a lure may well be called
//! `Tối mật.docx`. Rules are, for their authors write fields and remarks into
//! them.

use std::collections::HashSet;

use crate::model::indicator::Draft;
use crate::model::roster::Patch;
use crate::model::sighting::SightingDraft;

use super::{Form, Level, marked, sieve};

/// One text of an item.
#[derive(Debug, Clone, Copy)]
pub struct Part<'a> {
    /// Path of the field, as the item spells it.
    pub field: &'static str,
    /// What the text is.
    pub form: Form,
    /// The text itself.
    pub text: &'a str,
}

impl<'a> Part<'a> {
    /// A text for people.
    #[must_use]
    pub const fn text(field: &'static str, text: &'a str) -> Self {
        Self { field, form: Form::Text, text }
    }
}

/// Where an item is marked, and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// Path of the field, as the item spells it.
    pub field: &'static str,
    /// The marking.
    pub level: Level,
}

/// The highest marking among the texts of an item.
pub fn find<'a>(parts: impl IntoIterator<Item = Part<'a>>) -> Option<Found> {
    let found = parts.into_iter().filter_map(|part| {
        let level = marked(part.form, part.text)?;
        Some(Found { field: part.field, level })
    });
    // The first of the highest.
    found.reduce(|best, next| if next.level > best.level { next } else { best })
}

/// How many bytes of these texts take a closer look.
pub fn weight<'a>(parts: impl IntoIterator<Item = Part<'a>>) -> usize {
    let close = parts.into_iter().filter(|part| sieve::may_hold(part.text));
    close.map(|part| part.text.len()).fold(0, usize::saturating_add)
}

/// The texts of an indicator.
pub fn of_draft(draft: &Draft) -> impl Iterator<Item = Part<'_>> {
    let rule = draft.observable.as_text().filter(|_| draft.observable.kind().is_rule());
    let labels = draft.labels.iter().map(|label| Part { field: "labels", form: Form::Label, text: label });
    let texts = [
        Part::text("description", &draft.description),
        Part::text("family", &draft.family),
        Part::text("campaign", &draft.campaign),
        Part::text("reinstate.reason", draft.reinstate.as_deref().unwrap_or_default()),
        Part { field: "observable", form: Form::Rule, text: rule.unwrap_or_default() },
    ];
    texts.into_iter().chain(labels)
}

/// The texts of a sighting.
pub fn of_sighting(draft: &SightingDraft) -> impl Iterator<Item = Part<'_>> {
    std::iter::once(Part::text("note", &draft.note))
}

/// The texts of a change of the roster but those that the standing one holds:
/// a change repeats whatever stands beside what it changes.
pub fn of_roster<'a>(patch: &'a Patch, standing: &'a Patch) -> impl Iterator<Item = Part<'a>> {
    let known: HashSet<_> = roster_texts(standing).collect();
    let new = roster_texts(patch).filter(move |text| !known.contains(text));
    new.map(|text| Part::text("document", text))
}

fn roster_texts(patch: &Patch) -> impl Iterator<Item = &str> {
    let organisations = patch.organisations.iter().flat_map(|organisation| {
        let names = organisation.names.iter().flat_map(|name| [&name.vi, &name.en, &name.short]);
        names.chain(organisation.lifecycle.iter().map(|step| &step.legal_basis))
    });
    let groups = patch.groups.iter().filter_map(|(_, group)| group.as_ref());
    let groups = groups.flat_map(|group| [&group.vi, &group.en]);
    let duties = patch.duties.iter().flatten().flat_map(|duty| [&duty.scope, &duty.legal_basis]);
    let relations = patch.relations.iter().flatten().map(|relation| &relation.legal_basis);
    let all = organisations.chain(groups).chain(duties).chain(relations);
    all.map(String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::org::OrgSlug;
    use crate::model::roster::{Relation, RelationKind};

    fn patch(bases: &[&str]) -> Patch {
        let relation = |basis: &&str| Relation {
            kind: RelationKind::ActsFor,
            subject: OrgSlug::parse("a").unwrap(),
            object: OrgSlug::parse("b").unwrap(),
            from: None,
            to: None,
            legal_basis: (*basis).to_owned(),
        };
        Patch { relations: Some(bases.iter().map(relation).collect()), ..Patch::default() }
    }

    #[test]
    fn what_stands_in_the_roster_already_blocks_no_change_of_it() {
        let standing = patch(&["Theo công văn mật số 45"]);
        let beside = patch(&["Theo công văn mật số 45", "Thỏa thuận số 7"]);
        assert_eq!(find(of_roster(&beside, &standing)), None);
        let more = patch(&["Theo công văn mật số 45", "Theo công văn mật số 46"]);
        let found: Vec<_> = of_roster(&more, &standing).map(|part| part.text).collect();
        assert_eq!(found, ["Theo công văn mật số 46"]);
        assert!(find(of_roster(&more, &standing)).is_some());
    }
}
