//! Decides how a filter's value is read, or how it lies to others.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::model::Invalid;
use crate::model::indicator::draft::MAX_VALUE_BYTES;
use crate::model::indicator::normalise;
use crate::model::indicator::{Kind, Observable};
use crate::model::query::ValueMatch;
use crate::wire::observable;
use crate::wire::proto::v1;
use crate::wire::proto::v1::value_match::Match;

use super::text;

/// Reads one; a file with several hashes is asked for by each of them.
///
/// # Errors
/// Absent, too long, or not what it must be.
pub fn read(pb: v1::ValueMatch) -> Result<Vec<ValueMatch>, Invalid> {
    let v1::ValueMatch { r#match } = pb;
    let one = match r#match.ok_or_else(|| Invalid::new("", "required: exactly one kind of match"))? {
        Match::Exact(value) => {
            let super::observable::Read { observable, aliases, raw: _ } =
                super::observable::read(Some(value)).map_err(|invalid| invalid.under("exact"))?;
            return Ok(aliases.into_iter().chain([observable]).map(ValueMatch::Exact).collect());
        }
        Match::Prefix(prefix) => ValueMatch::Prefix(text::required("prefix", prefix, MAX_VALUE_BYTES)?),
        Match::DomainSuffix(domain) => ValueMatch::DomainSuffix(suffix(&domain)?),
        Match::InsideNetwork(net) => ValueMatch::Inside(network("inside_network", &net)?),
        Match::Containing(net) => ValueMatch::Containing(network("containing", &net)?),
    };
    Ok(vec![one])
}

/// What stands before a domain of one label so that it can be read.
const BELOW: &str = "x.";

/// A domain in its canonical form; it may be one under which the world
/// registers its names, such as `com.vn` or `vn`.
fn suffix(text: &str) -> Result<String, Invalid> {
    let text = text.trim().trim_start_matches("*.").trim_start_matches('.');
    // A domain has two labels at least: of one that has one, a name below it is
    // read.
    let below = if text.contains('.') { text.to_owned() } else { format!("{BELOW}{text}") };
    let read = normalise::observable(Kind::Domain, &below);
    let canonical = read.map_err(|invalid| invalid.under("domain_suffix"))?.observable.to_string();
    if below == text {
        return Ok(canonical);
    }
    canonical
        .strip_prefix(BELOW)
        .map(str::to_owned)
        .ok_or_else(|| Invalid::new("domain_suffix", "a domain such as hanoi.gov.vn, com.vn or vn"))
}

/// A network, or one address as a network of itself.
fn network(field: &str, text: &str) -> Result<IpNet, Invalid> {
    let read = normalise::detect(text).map_err(|invalid| invalid.under(field))?;
    match read.observable {
        Observable::Ipv4(ip) => Ok(IpAddr::from(ip).into()),
        Observable::Ipv6(ip) => Ok(IpAddr::from(ip).into()),
        Observable::Cidr(net) => Ok(net),
        _ => Err(Invalid::new(field, "a network such as 198.51.100.0/24, or an address")),
    }
}

/// Writes one.
#[must_use]
pub fn write(value: &ValueMatch) -> v1::ValueMatch {
    let r#match = match value {
        ValueMatch::Exact(value) => Match::Exact(observable::of_text(Some(value.kind()), value.to_string())),
        ValueMatch::Prefix(prefix) => Match::Prefix(prefix.clone()),
        ValueMatch::DomainSuffix(domain) => Match::DomainSuffix(domain.clone()),
        ValueMatch::Inside(net) => Match::InsideNetwork(net.to_string()),
        ValueMatch::Containing(net) => Match::Containing(net.to_string()),
    };
    v1::ValueMatch { r#match: Some(r#match) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(r#match: Match) -> Result<Vec<ValueMatch>, Invalid> {
        read(v1::ValueMatch { r#match: Some(r#match) })
    }

    #[test]
    fn a_value_is_asked_for_in_any_form_and_a_file_by_each_hash() {
        let text = v1::Observable { value: Some(v1::observable::Value::Text("EVIL[.]example".into())) };
        assert_eq!(
            one(Match::Exact(text)).unwrap(),
            [ValueMatch::Exact(Observable::Domain("evil.example".into()))]
        );
        let hashes = v1::FileHashes { md5: "a".repeat(32), sha256: "b".repeat(64), ..Default::default() };
        let file = v1::Observable { value: Some(v1::observable::Value::File(hashes)) };
        assert_eq!(one(Match::Exact(file)).unwrap().len(), 2);
    }

    #[test]
    fn a_suffix_is_a_domain_however_it_is_written() {
        for text in ["com.vn", ".com.vn", "*.COM.VN"] {
            assert_eq!(
                one(Match::DomainSuffix(text.into())).unwrap(),
                [ValueMatch::DomainSuffix("com.vn".into())]
            );
        }
        for text in ["vn", ".VN", "*.vn"] {
            assert_eq!(
                one(Match::DomainSuffix(text.into())).unwrap(),
                [ValueMatch::DomainSuffix("vn".into())]
            );
        }
        assert_eq!(
            one(Match::DomainSuffix("công-ty.vn".into())).unwrap(),
            [ValueMatch::DomainSuffix("xn--cng-ty-ixa.vn".into())]
        );
    }

    #[test]
    fn a_match_without_a_meaning_is_refused_by_its_field() {
        let field = |r#match| one(r#match).unwrap_err().field;
        assert_eq!(read(v1::ValueMatch::default()).unwrap_err().field, "");
        assert_eq!(field(Match::Prefix(String::new())), "prefix");
        assert_eq!(field(Match::InsideNetwork("a.example".into())), "inside_network");
        assert_eq!(field(Match::Containing("nonsense".into())), "containing");
        for suffix in ["no good", "", "a..b", "-"] {
            assert!(field(Match::DomainSuffix(suffix.into())).starts_with("domain_suffix"), "{suffix}");
        }
        assert!(field(Match::Exact(v1::Observable::default())).starts_with("exact"));
    }
}
