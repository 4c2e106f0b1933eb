//! Decides which filters can be asked, and in which calls.

use prost::Message as _;

use crate::base::clock::Timestamp;
use crate::base::digest;
use crate::model::Invalid;
use crate::model::indicator::draft::{self, MAX_NAME_BYTES, RecommendedAction};
use crate::model::indicator::{Role, State, technique};
use crate::model::org::kebab;
use crate::model::query::{IndicatorFilter, MAX_FILTER_TERMS, Order, Question, Span};
use crate::model::search::Search;
use crate::model::sighting::Outcome;
use crate::wire::proto::v1;

use super::{marking, name, observable, text, time, value_match};

/// Most kinds in a filter.
pub const MAX_KINDS: usize = 32;

/// Reads the filter of a list; absent asks nothing.
///
/// # Errors
/// The first term that is out of bounds or without a meaning.
pub fn read(pb: Option<v1::IndicatorFilter>) -> Result<IndicatorFilter, Invalid> {
    let Some(mut pb) = pb else {
        return Ok(IndicatorFilter::default());
    };
    let except = match pb.except.take() {
        Some(except) if except.except.is_some() => {
            return Err(Invalid::new("except.except", "what is left out has no exceptions of its own"));
        }
        Some(except) => Some(Box::new(read_fields(*except).map_err(|invalid| invalid.under("except"))?)),
        None => None,
    };
    Ok(IndicatorFilter { except, ..read_fields(pb)? })
}

fn read_fields(pb: v1::IndicatorFilter) -> Result<IndicatorFilter, Invalid> {
    let v1::IndicatorFilter {
        kinds,
        owners,
        labels,
        tlps,
        states,
        added,
        roles,
        families,
        campaigns,
        attack_techniques,
        values,
        organisation_kinds,
        confidence,
        recommended_actions,
        published,
        first_seen,
        last_seen,
        valid_at,
        sighted_by,
        sighted_since,
        sighting_outcomes,
        text,
        except: _,
        own_assets,
    } = pb;
    let Span { from: added_from, to: added_to } = span("added", added)?;
    let name = |name| text::required("", name, MAX_NAME_BYTES);
    let owner = |text: String| name::read_organisation("", &text);
    let org_kind = |kind: String| kebab(&kind);
    Ok(IndicatorFilter {
        kinds: sorted(terms("kinds", MAX_KINDS, kinds, |number| observable::read_kind("", number))?),
        owners: sorted(terms("owners", MAX_FILTER_TERMS, owners, owner)?),
        labels: sorted(terms("labels", MAX_FILTER_TERMS, labels, |label| {
            draft::check_label(&label).map(|()| label)
        })?),
        tlps: sorted(terms("tlps", MAX_FILTER_TERMS, tlps, |number| marking::read_tlp("", number))?),
        roles: known("roles", roles, Role::from_number, Role::number)?,
        families: sorted(terms("families", MAX_FILTER_TERMS, families, name)?),
        campaigns: sorted(terms("campaigns", MAX_FILTER_TERMS, campaigns, name)?),
        techniques: sorted(terms("attack_techniques", MAX_FILTER_TERMS, attack_techniques, |name| {
            technique::check(&name).map(|()| name)
        })?),
        own_assets,
        states: known("states", states, State::from_number, State::number)?,
        added_from,
        added_to,
        values: terms("values", MAX_FILTER_TERMS, values, value_match::read)?.concat(),
        org_kinds: sorted(terms("organisation_kinds", MAX_FILTER_TERMS, organisation_kinds, org_kind)?),
        confidence: confidence.map(read_confidence).transpose()?,
        actions: known(
            "recommended_actions",
            recommended_actions,
            RecommendedAction::from_number,
            RecommendedAction::number,
        )?,
        published: span("published", published)?,
        first_seen: span("first_seen", first_seen)?,
        last_seen: span("last_seen", last_seen)?,
        valid_at: time::read("valid_at", valid_at)?,
        sighted_by: sorted(terms("sighted_by", MAX_FILTER_TERMS, sighted_by, owner)?),
        sighted_since: time::read("sighted_since", sighted_since)?,
        outcomes: known("sighting_outcomes", sighting_outcomes, Outcome::from_number, Outcome::number)?,
        text: read_text(&text)?,
        except: None,
    })
}

/// Reads the filter of a subscription, which hears of every change of state
/// and has no span: what it asks is told by the head of a version alone.
///
/// # Errors
/// As [`read`], or a field is set that is for questions about history.
pub fn read_for_subscription(pb: Option<v1::IndicatorFilter>) -> Result<IndicatorFilter, Invalid> {
    let Some(pb) = pb else { return Ok(IndicatorFilter::default()) };
    if !pb.states.is_empty() {
        return Err(Invalid::new(
            "states",
            "not allowed in a subscription, which hears of every change of state",
        ));
    }
    if pb.added.is_some() {
        return Err(Invalid::new("added", "not allowed in a subscription; say where to start in `start`"));
    }
    let history = [
        ("values", !pb.values.is_empty()),
        ("organisation_kinds", !pb.organisation_kinds.is_empty()),
        ("confidence", pb.confidence.is_some()),
        ("recommended_actions", !pb.recommended_actions.is_empty()),
        ("published", pb.published.is_some()),
        ("first_seen", pb.first_seen.is_some()),
        ("last_seen", pb.last_seen.is_some()),
        ("valid_at", pb.valid_at.is_some()),
        ("sighted_by", !pb.sighted_by.is_empty()),
        ("sighted_since", pb.sighted_since.is_some()),
        ("sighting_outcomes", !pb.sighting_outcomes.is_empty()),
        ("text", !pb.text.is_empty()),
        ("except", pb.except.is_some()),
    ];
    match history.into_iter().find(|(_, set)| *set) {
        Some((field, _)) => {
            Err(Invalid::new(field, "not allowed in a subscription; ask ListIndicators for it"))
        }
        None => read(Some(pb)),
    }
}

/// Writes a filter.
#[must_use]
pub fn write(filter: IndicatorFilter) -> v1::IndicatorFilter {
    let except = filter.except.clone().map(|except| Box::new(write(*except)));
    let published = write_span(filter.published.from, filter.published.to);
    let first_seen = write_span(filter.first_seen.from, filter.first_seen.to);
    let last_seen = write_span(filter.last_seen.from, filter.last_seen.to);
    v1::IndicatorFilter {
        kinds: filter.kinds.into_iter().map(|kind| i32::from(kind.number())).collect(),
        owners: filter.owners.iter().map(name::organisation).collect(),
        labels: filter.labels,
        tlps: filter.tlps.into_iter().map(|tlp| i32::from(tlp.number())).collect(),
        states: filter.states.into_iter().map(|state| i32::from(state.number())).collect(),
        added: write_span(filter.added_from, filter.added_to),
        roles: filter.roles.into_iter().map(|role| i32::from(role.number())).collect(),
        families: filter.families,
        campaigns: filter.campaigns,
        attack_techniques: filter.techniques,
        values: filter.values.iter().map(value_match::write).collect(),
        organisation_kinds: filter.org_kinds,
        confidence: filter
            .confidence
            .map(|(min, max)| v1::ConfidenceRange { min: Some(min.into()), max: Some(max.into()) }),
        recommended_actions: filter.actions.into_iter().map(|action| i32::from(action.number())).collect(),
        published,
        first_seen,
        last_seen,
        valid_at: filter.valid_at.map(time::write),
        sighted_by: filter.sighted_by.iter().map(name::organisation).collect(),
        sighted_since: filter.sighted_since.map(time::write),
        sighting_outcomes: filter.outcomes.into_iter().map(|outcome| i32::from(outcome.number())).collect(),
        text: filter.text.map(|search| search.as_str().to_owned()).unwrap_or_default(),
        except,
        own_assets: filter.own_assets,
    }
}

/// Reads an order.
///
/// # Errors
/// One without a meaning.
pub fn read_order(number: i32) -> Result<Order, Invalid> {
    if number == 0 {
        return Ok(Order::ModifiedNewest);
    }
    super::known("order", number, Order::from_number)
}

/// Digest of all that decides which indicators answer a question, in which
/// order: the tokens of its pages are bound to it.
#[must_use]
pub fn digest(question: &Question) -> [u8; 32] {
    let mut encoded = vec![question.order.number()];
    encoded.extend_from_slice(&question.as_of.map_or(u64::MAX, |at| at.as_micros()).to_be_bytes());
    encoded.extend_from_slice(&write(question.filter.clone()).encode_to_vec());
    digest::sha256(&encoded)
}

fn read_text(text: &str) -> Result<Option<Search>, Invalid> {
    let search = (!text.is_empty()).then(|| Search::parse(text));
    search.transpose().map_err(|invalid| invalid.under("text"))
}

fn span(field: &str, range: Option<v1::TimeRange>) -> Result<Span, Invalid> {
    let Some(v1::TimeRange { start_time, end_time }) = range else { return Ok(Span::default()) };
    let (from, to) = time::open_span(("start_time", start_time), ("end_time", end_time))
        .map_err(|invalid| invalid.under(field))?;
    Ok(Span { from, to })
}

fn write_span(from: Option<Timestamp>, to: Option<Timestamp>) -> Option<v1::TimeRange> {
    (from.is_some() || to.is_some())
        .then(|| v1::TimeRange { start_time: from.map(time::write), end_time: to.map(time::write) })
}

fn read_confidence(pb: v1::ConfidenceRange) -> Result<(u8, u8), Invalid> {
    let v1::ConfidenceRange { min, max } = pb;
    let read = |field, value: Option<u32>, open: u8| match value.map(u8::try_from) {
        None => Ok(open),
        Some(Ok(value)) if value <= 100 => Ok(value),
        Some(_) => Err(Invalid::new(field, "confidence is 0 to 100")),
    };
    let (low, high) = (read("confidence.min", min, 0)?, read("confidence.max", max, 100)?);
    if high < low {
        return Err(Invalid::new("confidence.max", "must not be below min"));
    }
    Ok((low, high))
}

fn known<T: Copy>(
    field: &str,
    pb: Vec<i32>,
    from_number: impl Fn(u8) -> Option<T>,
    number: impl Fn(T) -> u8,
) -> Result<Vec<T>, Invalid> {
    let mut all = terms(field, MAX_FILTER_TERMS, pb, |n| super::known("", n, &from_number))?;
    all.sort_unstable_by_key(|member| number(*member));
    all.dedup_by_key(|member| number(*member));
    Ok(all)
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
    use crate::model::query::ValueMatch;
    use v1::value_match::Match;

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
            attack_techniques: vec!["T1566.001".into(), "T1204".into()],
            own_assets: true,
            ..Default::default()
        }
    }

    fn of_history() -> v1::IndicatorFilter {
        let at = |seconds| Some(prost_types::Timestamp { seconds, nanos: 0 });
        let span = |start, end| Some(v1::TimeRange { start_time: at(start), end_time: at(end) });
        let text = |text: &str| v1::Observable { value: Some(v1::observable::Value::Text(text.into())) };
        let value = |r#match| v1::ValueMatch { r#match: Some(r#match) };
        v1::IndicatorFilter {
            values: vec![
                value(Match::Exact(text("hxxp://Example[.]net/"))),
                value(Match::Prefix("http://a".into())),
                value(Match::DomainSuffix("Com.VN.".into())),
                value(Match::InsideNetwork("198.51.100.0/24".into())),
                value(Match::Containing("198.51.100.7".into())),
                value(Match::Containing("2001:db8::/48".into())),
            ],
            organisation_kinds: vec!["city_unit".into(), "bank".into()],
            confidence: Some(v1::ConfidenceRange { min: Some(50), max: None }),
            recommended_actions: vec![2, 1, 2],
            published: span(1, 2),
            first_seen: span(3, 4),
            last_seen: span(5, 6),
            valid_at: at(7),
            sighted_by: vec!["organisations/b".into()],
            sighted_since: at(8),
            sighting_outcomes: vec![4, 1],
            text: "\"lừa đảo\" ngan*".into(),
            except: Some(Box::new(full())),
            ..full()
        }
    }

    #[test]
    fn a_filter_is_sorted_and_survives_both_ways() {
        let read_once = read(Some(full())).unwrap();
        assert_eq!(read_once.kinds, [Kind::Ipv4, Kind::Domain]);
        assert_eq!(read_once.states, [State::Active, State::Revoked]);
        assert_eq!(read_once.roles, [Role::Victim, Role::Sink]);
        assert_eq!(read_once.families, ["Họ A", "b"]);
        assert_eq!(read_once.techniques, ["T1204", "T1566.001"]);
        assert_eq!(read(Some(write(read_once.clone()))).unwrap(), read_once);
        assert_eq!(read(None).unwrap(), IndicatorFilter::default());
        assert_eq!(write(IndicatorFilter::default()), v1::IndicatorFilter::default());
    }

    #[test]
    fn a_question_about_history_survives_both_ways() {
        let read_once = read(Some(of_history())).unwrap();
        assert_eq!(read_once.confidence, Some((50, 100)));
        assert_eq!(read_once.org_kinds, ["bank", "city-unit"]);
        assert_eq!(read_once.values[2], ValueMatch::DomainSuffix("com.vn".into()));
        assert_eq!(read_once.values[4], ValueMatch::Containing("198.51.100.7/32".parse().unwrap()));
        assert_eq!(read_once.except, Some(Box::new(read(Some(full())).unwrap())));
        assert_eq!(read(Some(write(read_once.clone()))).unwrap(), read_once);
    }

    #[test]
    fn pages_of_different_questions_have_different_digests() {
        let exact = |text: &str| {
            let value = v1::Observable { value: Some(v1::observable::Value::Text(text.into())) };
            let values = vec![v1::ValueMatch { r#match: Some(Match::Exact(value)) }];
            Question::new(read(Some(v1::IndicatorFilter { values, ..Default::default() })).unwrap())
        };
        let one = exact("a.example");
        let others = [
            exact("b.example"),
            Question { order: Order::ModifiedOldest, ..one.clone() },
            Question { as_of: Some(Timestamp::EPOCH), ..one.clone() },
        ];
        assert!(others.iter().all(|other| digest(other) != digest(&one)));
        assert_eq!(digest(&Question { explain: true, ..one.clone() }), digest(&one));
    }

    #[test]
    fn what_only_history_tells_is_refused_in_a_subscription() {
        let nothing = v1::IndicatorFilter::default;
        let full = v1::IndicatorFilter { except: None, ..of_history() };
        let refused = |pb| read_for_subscription(Some(pb)).unwrap_err().field;
        let all = [
            ("values", v1::IndicatorFilter { values: full.values.clone(), ..nothing() }),
            (
                "organisation_kinds",
                v1::IndicatorFilter { organisation_kinds: vec!["ward".into()], ..nothing() },
            ),
            ("confidence", v1::IndicatorFilter { confidence: full.confidence, ..nothing() }),
            ("recommended_actions", v1::IndicatorFilter { recommended_actions: vec![1], ..nothing() }),
            ("published", v1::IndicatorFilter { published: full.published, ..nothing() }),
            ("first_seen", v1::IndicatorFilter { first_seen: full.first_seen, ..nothing() }),
            ("last_seen", v1::IndicatorFilter { last_seen: full.last_seen, ..nothing() }),
            ("valid_at", v1::IndicatorFilter { valid_at: full.valid_at, ..nothing() }),
            ("sighted_by", v1::IndicatorFilter { sighted_by: full.sighted_by.clone(), ..nothing() }),
            ("sighted_since", v1::IndicatorFilter { sighted_since: full.sighted_since, ..nothing() }),
            ("sighting_outcomes", v1::IndicatorFilter { sighting_outcomes: vec![1], ..nothing() }),
            ("text", v1::IndicatorFilter { text: "a".into(), ..nothing() }),
            ("except", v1::IndicatorFilter { except: Some(Box::new(nothing())), ..nothing() }),
        ];
        for (field, pb) in all {
            assert_eq!(refused(pb), field);
        }
    }

    #[test]
    fn what_is_left_out_has_no_exceptions_and_is_refused_by_its_own_path() {
        let nothing = v1::IndicatorFilter::default;
        let except = |pb| v1::IndicatorFilter { except: Some(Box::new(pb)), ..nothing() };
        assert_eq!(read(Some(except(except(nothing())))).unwrap_err().field, "except.except");
        let kinds = v1::IndicatorFilter { kinds: vec![1, 0], ..nothing() };
        assert_eq!(read(Some(except(kinds))).unwrap_err().field, "except.kinds[1]");
        let range = |min, max| v1::IndicatorFilter {
            confidence: Some(v1::ConfidenceRange { min, max }),
            ..nothing()
        };
        assert_eq!(read(Some(range(Some(101), None))).unwrap_err().field, "confidence.min");
        assert_eq!(read(Some(range(Some(2), Some(1)))).unwrap_err().field, "confidence.max");
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
        let attack_techniques = vec!["T1566".into(), "phishing".into()];
        assert_eq!(
            field(v1::IndicatorFilter { attack_techniques, ..Default::default() }),
            "attack_techniques[1]"
        );
    }
}
