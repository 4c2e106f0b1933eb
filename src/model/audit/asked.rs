//! Decides how a question is told in an audit record: what it asks, field by
//! field, and nothing of what it does not ask.

use std::fmt::{Debug, Write as _};

use crate::model::query::{IndicatorFilter, Span};

/// The fields of a filter that ask something, such as `labels=["c2"] tlps=[Red]`;
/// `all` where none does.
#[must_use]
pub fn filter(filter: &IndicatorFilter) -> String {
    let IndicatorFilter {
        kinds,
        owners,
        labels,
        tlps,
        roles,
        families,
        campaigns,
        techniques,
        own_assets,
        states,
        added_from,
        added_to,
        values,
        org_kinds,
        confidence,
        actions,
        published,
        first_seen,
        last_seen,
        valid_at,
        sighted_by,
        sighted_since,
        outcomes,
        text,
        except,
    } = filter;
    let mut said = Said::default();
    said.all("kinds", kinds);
    said.all("owners", owners);
    said.all("labels", labels);
    said.all("tlps", tlps);
    said.all("roles", roles);
    said.all("families", families);
    said.all("campaigns", campaigns);
    said.all("techniques", techniques);
    said.one("own_assets", Some(own_assets).filter(|asked| **asked));
    said.all("states", states);
    said.one("added_from", added_from.as_ref());
    said.one("added_to", added_to.as_ref());
    said.all("values", values);
    said.all("organisation_kinds", org_kinds);
    said.one("confidence", confidence.as_ref());
    said.all("recommended_actions", actions);
    for (name, span) in [("published", published), ("first_seen", first_seen), ("last_seen", last_seen)] {
        said.one(name, Some(span).filter(|span| **span != Span::default()));
    }
    said.one("valid_at", valid_at.as_ref());
    said.all("sighted_by", sighted_by);
    said.one("sighted_since", sighted_since.as_ref());
    said.all("sighting_outcomes", outcomes);
    said.one("text", text.as_ref());
    let left_out = except.as_ref().map(|except| self::filter(except));
    if let Some(left_out) = left_out {
        said.put("except", format_args!("({left_out})"));
    }
    if said.0.is_empty() { "all".to_owned() } else { said.0 }
}

/// What was said so far.
#[derive(Default)]
struct Said(String);

impl Said {
    fn put(&mut self, name: &str, value: impl std::fmt::Display) {
        let between = if self.0.is_empty() { "" } else { " " };
        // Writing to a string cannot fail.
        let _ = write!(self.0, "{between}{name}={value}");
    }

    fn all<T: Debug>(&mut self, name: &str, values: &[T]) {
        if !values.is_empty() {
            self.put(name, format_args!("{values:?}"));
        }
    }

    fn one<T: Debug>(&mut self, name: &str, value: Option<&T>) {
        if let Some(value) = value {
            self.put(name, format_args!("{value:?}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::marking::Tlp;

    #[test]
    fn a_filter_is_told_by_what_it_asks() {
        let asks = IndicatorFilter { labels: vec!["c2".into()], tlps: vec![Tlp::Red], ..Default::default() };
        assert_eq!(filter(&IndicatorFilter::default()), "all");
        assert_eq!(filter(&asks), r#"labels=["c2"] tlps=[Red]"#);
        let except = IndicatorFilter { except: Some(Box::new(asks)), ..Default::default() };
        assert_eq!(filter(&except), r#"except=(labels=["c2"] tlps=[Red])"#);
    }
}
