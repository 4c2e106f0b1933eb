//! Decides which filters can be asked, and in which calls.

use crate::model::Invalid;
use crate::model::indicator::draft::MAX_NAME_BYTES;
use crate::model::indicator::{Role, State, draft};
use crate::model::query::{IndicatorFilter, MAX_FILTER_TERMS};
use crate::wire::proto::v1;

use super::{marking, name, observable, text, time};

/// Most kinds in a filter.
pub const MAX_KINDS: usize = 32;

/// Reads the filter of a list; absent asks nothing.
///
/// # Errors
/// The first term that is out of bounds or without a meaning.
pub fn read(pb: Option<v1::IndicatorFilter>) -> Result<IndicatorFilter, Invalid> {
    let Some(pb) = pb else {
        return Ok(IndicatorFilter::default());
    };
    let v1::IndicatorFilter { kinds, owners, labels, tlps, states, added, roles, families, campaigns } = pb;
    let (added_from, added_to) = match added {
        Some(v1::TimeRange { start_time, end_time }) => {
            time::open_span(("start_time", start_time), ("end_time", end_time))
                .map_err(|invalid| invalid.under("added"))?
        }
        None => (None, None),
    };
    let mut states = terms("states", MAX_FILTER_TERMS, states, |n| super::known("", n, State::from_number))?;
    states.sort_unstable_by_key(|state| state.number());
    states.dedup();
    let mut roles = terms("roles", MAX_FILTER_TERMS, roles, |n| super::known("", n, Role::from_number))?;
    roles.sort_unstable_by_key(|role| role.number());
    roles.dedup();
    let name = |name| text::required("", name, MAX_NAME_BYTES);
    Ok(IndicatorFilter {
        kinds: sorted(terms("kinds", MAX_KINDS, kinds, |number| observable::read_kind("", number))?),
        owners: sorted(terms("owners", MAX_FILTER_TERMS, owners, |text| name::read_organisation("", &text))?),
        labels: sorted(terms("labels", MAX_FILTER_TERMS, labels, |label| {
            draft::check_label(&label).map(|()| label)
        })?),
        tlps: sorted(terms("tlps", MAX_FILTER_TERMS, tlps, |number| marking::read_tlp("", number))?),
        roles,
        families: sorted(terms("families", MAX_FILTER_TERMS, families, name)?),
        campaigns: sorted(terms("campaigns", MAX_FILTER_TERMS, campaigns, name)?),
        states,
        added_from,
        added_to,
    })
}

/// Reads the filter of a subscription, which hears of every change of state
/// and has no span.
///
/// # Errors
/// As [`read`], or `states` or `added` is set.
pub fn read_for_subscription(pb: Option<v1::IndicatorFilter>) -> Result<IndicatorFilter, Invalid> {
    if let Some(filter) = &pb {
        if !filter.states.is_empty() {
            return Err(Invalid::new(
                "states",
                "not allowed in a subscription, which hears of every change of state",
            ));
        }
        if filter.added.is_some() {
            return Err(Invalid::new(
                "added",
                "not allowed in a subscription; say where to start in `start`",
            ));
        }
    }
    read(pb)
}

/// Writes a filter.
#[must_use]
pub fn write(filter: IndicatorFilter) -> v1::IndicatorFilter {
    let IndicatorFilter { kinds, owners, labels, tlps, roles, families, campaigns, states, .. } = filter;
    let (added_from, added_to) = (filter.added_from, filter.added_to);
    let added = (added_from.is_some() || added_to.is_some()).then(|| v1::TimeRange {
        start_time: added_from.map(time::write),
        end_time: added_to.map(time::write),
    });
    v1::IndicatorFilter {
        kinds: kinds.into_iter().map(|kind| i32::from(kind.number())).collect(),
        owners: owners.iter().map(name::organisation).collect(),
        labels,
        tlps: tlps.into_iter().map(|tlp| i32::from(tlp.number())).collect(),
        states: states.into_iter().map(|state| i32::from(state.number())).collect(),
        added,
        roles: roles.into_iter().map(|role| i32::from(role.number())).collect(),
        families,
        campaigns,
    }
}

fn terms<P, T>(
    field: &str,
    max: usize,
    pb: Vec<P>,
    mut read: impl FnMut(P) -> Result<T, Invalid>,
) -> Result<Vec<T>, Invalid> {
    if pb.len() > max {
        return Err(Invalid::new(field, format!("at most {max}; these are {}", pb.len())));
    }
    pb.into_iter()
        .enumerate()
        .map(|(i, term)| read(term).map_err(|invalid| invalid.under(format_args!("{field}[{i}]"))))
        .collect()
}

fn sorted<T: Ord>(mut terms: Vec<T>) -> Vec<T> {
    terms.sort_unstable();
    terms.dedup();
    terms
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::indicator::Kind;

    fn full() -> v1::IndicatorFilter {
        v1::IndicatorFilter {
            kinds: vec![5, 1, 5],
            owners: vec!["organisations/b".into(), "organisations/a".into()],
            labels: vec!["z".into(), "a".into()],
            tlps: vec![3, 1],
            states: vec![2, 1, 2],
            added: Some(v1::TimeRange {
                start_time: Some(prost_types::Timestamp { seconds: 1, nanos: 0 }),
                end_time: None,
            }),
            roles: vec![4, 1, 4],
            families: vec!["b".into(), "Họ A".into(), "b".into()],
            campaigns: vec!["Hè 2026".into()],
        }
    }

    #[test]
    fn a_filter_is_sorted_and_survives_both_ways() {
        let read_once = read(Some(full())).unwrap();
        assert_eq!(read_once.kinds, [Kind::Ipv4, Kind::Domain]);
        assert_eq!(read_once.states, [State::Active, State::Revoked]);
        assert_eq!(read_once.roles, [Role::Victim, Role::Sink]);
        assert_eq!(read_once.families, ["Họ A", "b"]);
        assert_eq!(read(Some(write(read_once.clone()))).unwrap(), read_once);
        assert_eq!(read(None).unwrap(), IndicatorFilter::default());
        assert_eq!(write(IndicatorFilter::default()), v1::IndicatorFilter::default());
    }

    #[test]
    fn a_subscription_asks_for_no_state_and_no_span() {
        assert_eq!(read_for_subscription(Some(full())).unwrap_err().field, "states");
        let spanned = v1::IndicatorFilter { states: vec![], ..full() };
        assert_eq!(read_for_subscription(Some(spanned)).unwrap_err().field, "added");
        assert!(
            read_for_subscription(Some(v1::IndicatorFilter { states: vec![], added: None, ..full() }))
                .is_ok()
        );
    }

    #[test]
    fn terms_are_bounded_and_refused_by_index() {
        let field = |pb| read(Some(pb)).unwrap_err().field;
        assert_eq!(field(v1::IndicatorFilter { kinds: vec![1; 33], ..Default::default() }), "kinds");
        assert_eq!(field(v1::IndicatorFilter { kinds: vec![1, 0], ..Default::default() }), "kinds[1]");
        assert_eq!(
            field(v1::IndicatorFilter { owners: vec!["a".into()], ..Default::default() }),
            "owners[0]"
        );
        assert_eq!(
            field(v1::IndicatorFilter { labels: vec!["a".into(); 65], ..Default::default() }),
            "labels"
        );
        assert_eq!(field(v1::IndicatorFilter { tlps: vec![6], ..Default::default() }), "tlps[0]");
        assert_eq!(field(v1::IndicatorFilter { states: vec![4], ..Default::default() }), "states[0]");
        assert_eq!(field(v1::IndicatorFilter { roles: vec![1, 5], ..Default::default() }), "roles[1]");
        let families = vec!["a".into(), String::new()];
        assert_eq!(field(v1::IndicatorFilter { families, ..Default::default() }), "families[1]");
        let campaigns = vec!["a".repeat(129)];
        assert_eq!(field(v1::IndicatorFilter { campaigns, ..Default::default() }), "campaigns[0]");
    }
}
