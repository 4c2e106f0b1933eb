//! Decides which message of an observable is read by which parser.

use crate::model::Invalid;
use crate::model::indicator::{Kind, Observable, normalise};
use crate::wire::observable::{Spelt, field_name, spelt};
use crate::wire::proto::v1;

/// An observable that was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Read {
    /// The canonical value; of a file, the hash that names it.
    pub observable: Observable,
    /// The other hashes of the same file.
    pub aliases: Vec<Observable>,
    /// The text supplied, where it differs from the canonical form.
    pub raw: Option<String>,
}

/// Reads an observable.
///
/// # Errors
/// Absent, too long, or not a value of its kind.
pub fn read(pb: Option<v1::Observable>) -> Result<Read, Invalid> {
    let value = pb
        .and_then(|v1::Observable { value }| value)
        .ok_or_else(|| Invalid::new("", "required: exactly one kind of value"))?;
    match spelt(value) {
        Spelt::File(hashes) => file(&hashes),
        Spelt::Text(kind, text) => {
            let read = match kind {
                Some(kind) => normalise::observable(kind, &text),
                None => normalise::detect(&text),
            };
            let normalise::Canonical { observable, raw } =
                read.map_err(|invalid| invalid.under(field_name(kind)))?;
            Ok(Read { observable, aliases: Vec::new(), raw })
        }
    }
}

fn file(v1::FileHashes { md5, sha1, sha256, sha512 }: &v1::FileHashes) -> Result<Read, Invalid> {
    let [md5, sha1, sha256, sha512] =
        [md5, sha1, sha256, sha512].map(|text| Some(text.as_str()).filter(|text| !text.is_empty()));
    let hashes = normalise::Hashes { md5, sha1, sha256, sha512 };
    let (observable, aliases) = normalise::file(hashes).map_err(|invalid| invalid.under("file"))?;
    Ok(Read { observable, aliases, raw: None })
}

/// Reads the kind of observable that a filter names.
///
/// # Errors
/// None, or one without a meaning.
pub fn read_kind(field: &str, number: i32) -> Result<Kind, Invalid> {
    super::known(field, number, Kind::from_number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::indicator::draft::MAX_VALUE_BYTES;
    use v1::observable::Value;

    fn pb(value: Value) -> Option<v1::Observable> {
        Some(v1::Observable { value: Some(value) })
    }

    #[test]
    fn each_kind_is_read_by_its_own_parser() {
        for (value, kind) in [
            (Value::Text("198.51.100.7".into()), Kind::Ipv4),
            (Value::Ipv4("198.51.100.7".into()), Kind::Ipv4),
            (Value::Ipv6("2001:db8::7".into()), Kind::Ipv6),
            (Value::Cidr("198.51.100.0/24".into()), Kind::Cidr),
            (Value::Endpoint("198.51.100.7:4444".into()), Kind::Endpoint),
            (Value::Domain("example.net".into()), Kind::Domain),
            (Value::Url("http://example.net/a".into()), Kind::Url),
            (Value::Imphash("a".repeat(32)), Kind::Imphash),
            (Value::Phone("0912 345 678".into()), Kind::Phone),
        ] {
            assert_eq!(read(pb(value)).unwrap().observable.kind(), kind);
        }
    }

    #[test]
    fn a_file_is_read_under_its_strongest_hash() {
        let hashes = v1::FileHashes { md5: "a".repeat(32), sha256: "b".repeat(64), ..Default::default() };
        let file = read(pb(Value::File(hashes))).unwrap();
        assert_eq!(file.observable.kind(), Kind::Sha256);
        assert_eq!(file.aliases.iter().map(Observable::kind).collect::<Vec<_>>(), [Kind::Md5]);
        assert_eq!(read(pb(Value::File(v1::FileHashes::default()))).unwrap_err().field, "file");
        let wrong = v1::FileHashes { sha1: "zz".into(), ..Default::default() };
        assert_eq!(read(pb(Value::File(wrong))).unwrap_err().field, "file.sha1");
    }

    #[test]
    fn a_refusal_names_the_field_of_its_kind() {
        assert_eq!(read(None).unwrap_err().field, "");
        assert_eq!(read(pb(Value::Ipv4("nonsense".into()))).unwrap_err().field, "ipv4");
        let long = "a".repeat(MAX_VALUE_BYTES + 1);
        assert_eq!(read(pb(Value::Url(long))).unwrap_err().field, "url");
    }

    #[test]
    fn the_kinds_of_the_contract_and_the_model_are_numbered_alike() {
        for &kind in Kind::ALL {
            assert!(v1::ObservableKind::try_from(i32::from(kind.number())).is_ok());
            assert_eq!(read_kind("kinds", i32::from(kind.number())).unwrap(), kind);
        }
        for number in [0, 32, -1, 266] {
            assert!(read_kind("kinds", number).is_err(), "{number}");
        }
        assert!(read_kind("kinds", 0).unwrap_err().problem.contains("required"));
    }
}
