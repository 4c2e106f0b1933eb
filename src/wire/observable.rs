//! Decides which field of the public contract holds which kind of observable.

use super::proto::v1;
use super::proto::v1::observable::Value;
use crate::model::indicator::Kind;

/// The field that holds the hashes of a file.
pub const FILE_FIELD: u32 = 20;

/// The field of `Observable` that holds a value of `kind`, which has one of
/// its own unless it is a hash of a file.
#[must_use]
pub const fn field(kind: Kind) -> u32 {
    match kind {
        Kind::Ipv4 => 2,
        Kind::Ipv6 => 3,
        Kind::Cidr => 4,
        Kind::Endpoint => 5,
        Kind::Asn => 6,
        Kind::Domain => 10,
        Kind::Url => 11,
        Kind::Email => 12,
        Kind::Md5 | Kind::Sha1 | Kind::Sha256 | Kind::Sha512 => FILE_FIELD,
        Kind::FileName => 21,
        Kind::FileSize => 22,
        Kind::Ssdeep => 23,
        Kind::Tlsh => 24,
        Kind::Imphash => 25,
        Kind::Certificate => 30,
        Kind::Ja3 => 31,
        Kind::Ja4 => 32,
        Kind::UserAgent => 33,
        Kind::Mutex => 40,
        Kind::RegistryKey => 41,
        Kind::Phone => 50,
        Kind::BankAccount => 51,
        Kind::CryptoAddress => 52,
        Kind::Cve => 60,
        Kind::Yara => 70,
        Kind::Sigma => 71,
        Kind::Suricata => 72,
        Kind::StixPattern => 73,
    }
}

/// The field of `FileHashes` that holds a hash of `kind`.
#[must_use]
pub const fn hash_field(kind: Kind) -> u32 {
    match kind {
        Kind::Md5 => 1,
        Kind::Sha1 => 2,
        Kind::Sha512 => 4,
        _ => 3,
    }
}

/// A text as a value of `kind`, for the hub to read; without a kind, as one
/// whose kind the hub detects.
#[must_use]
pub fn of_text(kind: Option<Kind>, text: String) -> v1::Observable {
    let hashes = v1::FileHashes::default();
    let value = match kind {
        None => Value::Text(text),
        Some(kind) => match kind {
            Kind::Ipv4 => Value::Ipv4(text),
            Kind::Ipv6 => Value::Ipv6(text),
            Kind::Cidr => Value::Cidr(text),
            Kind::Endpoint => Value::Endpoint(text),
            Kind::Asn => Value::Asn(text),
            Kind::Domain => Value::Domain(text),
            Kind::Url => Value::Url(text),
            Kind::Email => Value::Email(text),
            Kind::Md5 => Value::File(v1::FileHashes { md5: text, ..hashes }),
            Kind::Sha1 => Value::File(v1::FileHashes { sha1: text, ..hashes }),
            Kind::Sha256 => Value::File(v1::FileHashes { sha256: text, ..hashes }),
            Kind::Sha512 => Value::File(v1::FileHashes { sha512: text, ..hashes }),
            Kind::FileName => Value::FileName(text),
            Kind::FileSize => Value::FileSize(text),
            Kind::Ssdeep => Value::Ssdeep(text),
            Kind::Tlsh => Value::Tlsh(text),
            Kind::Imphash => Value::Imphash(text),
            Kind::Certificate => Value::Certificate(text),
            Kind::Ja3 => Value::Ja3(text),
            Kind::Ja4 => Value::Ja4(text),
            Kind::UserAgent => Value::UserAgent(text),
            Kind::Mutex => Value::Mutex(text),
            Kind::RegistryKey => Value::RegistryKey(text),
            Kind::Phone => Value::Phone(text),
            Kind::BankAccount => Value::BankAccount(text),
            Kind::CryptoAddress => Value::CryptoAddress(text),
            Kind::Cve => Value::Cve(text),
            Kind::Yara => Value::Yara(text),
            Kind::Sigma => Value::Sigma(text),
            Kind::Suricata => Value::Suricata(text),
            Kind::StixPattern => Value::StixPattern(text),
        },
    };
    v1::Observable { value: Some(value) }
}

/// What an observable's field holds.
#[derive(Clone, PartialEq, Eq)]
pub enum Spelt {
    /// A text, and its kind unless the hub is to detect it.
    Text(Option<Kind>, String),
    /// The hashes of a file.
    File(v1::FileHashes),
}

impl std::fmt::Debug for Spelt {
    /// The kind only: indicator values do not belong in logs.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Text(kind, _) => write!(f, "Text({kind:?})"),
            Self::File(_) => f.write_str("File"),
        }
    }
}

/// What `value` holds.
#[must_use]
pub fn spelt(value: Value) -> Spelt {
    let (kind, text) = match value {
        Value::Text(text) => return Spelt::Text(None, text),
        Value::File(hashes) => return Spelt::File(hashes),
        Value::Ipv4(text) => (Kind::Ipv4, text),
        Value::Ipv6(text) => (Kind::Ipv6, text),
        Value::Cidr(text) => (Kind::Cidr, text),
        Value::Endpoint(text) => (Kind::Endpoint, text),
        Value::Asn(text) => (Kind::Asn, text),
        Value::Domain(text) => (Kind::Domain, text),
        Value::Url(text) => (Kind::Url, text),
        Value::Email(text) => (Kind::Email, text),
        Value::FileName(text) => (Kind::FileName, text),
        Value::FileSize(text) => (Kind::FileSize, text),
        Value::Ssdeep(text) => (Kind::Ssdeep, text),
        Value::Tlsh(text) => (Kind::Tlsh, text),
        Value::Imphash(text) => (Kind::Imphash, text),
        Value::Certificate(text) => (Kind::Certificate, text),
        Value::Ja3(text) => (Kind::Ja3, text),
        Value::Ja4(text) => (Kind::Ja4, text),
        Value::UserAgent(text) => (Kind::UserAgent, text),
        Value::Mutex(text) => (Kind::Mutex, text),
        Value::RegistryKey(text) => (Kind::RegistryKey, text),
        Value::Phone(text) => (Kind::Phone, text),
        Value::BankAccount(text) => (Kind::BankAccount, text),
        Value::CryptoAddress(text) => (Kind::CryptoAddress, text),
        Value::Cve(text) => (Kind::Cve, text),
        Value::Yara(text) => (Kind::Yara, text),
        Value::Sigma(text) => (Kind::Sigma, text),
        Value::Suricata(text) => (Kind::Suricata, text),
        Value::StixPattern(text) => (Kind::StixPattern, text),
    };
    Spelt::Text(Some(kind), text)
}

/// An observable as kind and value, and the other hashes of the same file.
#[must_use]
pub fn flat(observable: Option<v1::Observable>) -> (Option<Kind>, String, v1::FileHashes) {
    let mut others = v1::FileHashes::default();
    match observable.and_then(|observable| observable.value).map(spelt) {
        None => (None, String::new(), others),
        Some(Spelt::Text(kind, text)) => (kind, text, others),
        Some(Spelt::File(hashes)) => {
            others = hashes;
            let named = [
                (Kind::Sha256, &mut others.sha256),
                (Kind::Sha512, &mut others.sha512),
                (Kind::Sha1, &mut others.sha1),
                (Kind::Md5, &mut others.md5),
            ];
            let named = named.into_iter().find(|(_, hash)| !hash.is_empty());
            let (kind, value) = named.map(|(kind, hash)| (kind, std::mem::take(hash))).unzip();
            (kind, value.unwrap_or_default(), others)
        }
    }
}

/// The name of a field, as refusals spell it.
#[must_use]
pub fn field_name(kind: Option<Kind>) -> String {
    kind.map_or_else(|| "text".to_owned(), |kind| kind.as_str().replace('-', "_"))
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;

    #[test]
    fn every_kind_has_the_field_that_the_contract_gives_it() {
        for &kind in Kind::ALL {
            let pb = of_text(Some(kind), "x".to_owned());
            let mut bytes = pb.encode_to_vec().into_iter();
            let key =
                prost::encoding::decode_varint(&mut bytes.by_ref().collect::<Vec<_>>().as_slice()).unwrap();
            assert_eq!(key >> 3, u64::from(field(kind)), "{kind}");
            match spelt(pb.value.unwrap()) {
                Spelt::Text(of, text) => assert_eq!((of, text.as_str()), (Some(kind), "x")),
                Spelt::File(hashes) => {
                    assert!(kind.is_hash());
                    assert_eq!(
                        u64::from(hashes.encode_to_vec()[0] >> 3),
                        u64::from(hash_field(kind)),
                        "{kind}"
                    );
                }
            }
        }
    }
}
