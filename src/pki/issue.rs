//! Decides what our own authorities sign: two hierarchies, each an offline
//! root over an issuing authority, and leaves with exactly one purpose.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, PublicKeyData as _,
    RevokedCertParams, SanType, SerialNumber, SubjectPublicKeyInfo,
};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};
use x509_parser::extensions::ParsedExtension;
use x509_parser::prelude::FromDer as _;

use super::identity::{self, IssuerDigest};
pub use super::key::Key;
pub use super::lifetime::{self, DAY};
use super::revocation::List;
pub use super::signing::Holder as Leaf;
use super::signing::{Holder, LeafOrder, ListOrder};
use crate::base::clock::Timestamp;
use crate::base::{digest, random};

/// How far back everything is dated, for the machines whose clock is slow.
pub const BACKDATE: Duration = Duration::from_secs(5 * 60);

/// Why nothing was signed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The cryptography library refused.
    #[error("signing failed: {0}")]
    Signing(#[from] rcgen::Error),
    /// The authority's own certificate is not usable.
    #[error("the authority's certificate: {0}")]
    Authority(#[from] identity::Error),
    /// The key is not the certificate's.
    #[error("the authority's key does not belong to its certificate")]
    KeyMismatch,
    /// The certificate is no authority's.
    #[error(
        "the certificate is not an authority's, with the right to sign certificates and revocation lists"
    )]
    NotAuthority,
    /// The authority expired or is not valid yet.
    #[error("the authority is valid from {not_before} to {not_after}, and not now")]
    AuthorityLifetime {
        /// Start of its validity.
        not_before: Timestamp,
        /// End of its validity.
        not_after: Timestamp,
    },
    /// A lifetime of nothing.
    #[error("the lifetime must be longer than a second")]
    Lifetime,
    /// A name that cannot stand in a certificate.
    #[error("{name:?} is not a DNS name")]
    DnsName {
        /// The name.
        name: String,
    },
    /// A server certificate without names.
    #[error("a server certificate needs at least one DNS name or IP address")]
    Nameless,
    /// The order is for another authority.
    #[error("the order names another authority than the one that is to sign it")]
    OtherAuthority,
    /// A serial number that is too short, too long, or not positive.
    #[error("a serial number is 16 to 20 bytes, the first from 0x01 to 0x7f")]
    Serial,
    /// What was ordered begins after its end, or ends after the authority.
    #[error("what is signed ends after it begins, and not after the authority, at {authority_not_after}")]
    Span {
        /// End of the authority.
        authority_not_after: Timestamp,
    },
    /// The holder's key is not one that is taken.
    #[error("the public key is refused: {0}")]
    PublicKey(identity::Error),
    /// What is to be revoked is named by no serial number.
    #[error("{serial:?} is no serial number; write at most 20 bytes in hexadecimal")]
    RevokedSerial {
        /// What stands there.
        serial: String,
    },
    /// The number of the list before leaves none for the next.
    #[error("the number of the revocation list before is past 2^64; make the authority's next generation")]
    ListNumber,
}

pub use crate::model::certificate::Hierarchy;

/// A certificate just signed, with the key that was made for it.
#[derive(Debug)]
pub struct Issued {
    /// The certificate.
    pub certificate: CertificateDer<'static>,
    /// Its key.
    pub key: Key,
    /// Serial number, as [`identity::serial_hex`] writes it.
    pub serial: String,
    /// When it expires.
    pub not_after: Timestamp,
}

/// An authority: a certificate and the key behind it.
#[derive(Debug)]
pub struct Authority {
    certificate: CertificateDer<'static>,
    key: Key,
    not_before: Timestamp,
    not_after: Timestamp,
    key_identifier: Vec<u8>,
    name: IssuerDigest,
}

impl Authority {
    /// A new root, to be kept offline.
    ///
    /// # Errors
    /// If the library refuses.
    pub fn root(
        hierarchy: Hierarchy,
        owner: &str,
        now: Timestamp,
        lifetime: Duration,
    ) -> Result<Self, Error> {
        let key = Key::for_authority()?;
        let name = format!("Luytre {} Root {}", hierarchy.as_str(), digest::hex(&random::bytes::<4>()));
        let params = authority_params(&name, owner, 1, validity(now, lifetime, None)?);
        let certificate = params.self_signed(key.pair())?;
        Self::load(certificate.der().clone(), key)
    }

    /// A new issuing authority under this root. Its name is unique, because a
    /// second generation under the same name would break one of the two.
    ///
    /// # Errors
    /// If this root is not valid now, or the library refuses.
    pub fn issuing(
        &self,
        hierarchy: Hierarchy,
        owner: &str,
        generation: u32,
        now: Timestamp,
        lifetime: Duration,
    ) -> Result<Self, Error> {
        let key = Key::for_authority()?;
        let random = digest::hex(&random::bytes::<4>());
        let name = format!("Luytre {} CA G{generation} {random}", hierarchy.as_str());
        let params = authority_params(&name, owner, 0, validity(now, lifetime, Some(self))?);
        let certificate = params.signed_by(key.pair(), &self.issuer()?)?;
        Self::load(certificate.der().clone(), key)
    }

    /// An authority from its certificate and key.
    ///
    /// # Errors
    /// If the two do not belong together or are no authority's.
    pub fn load(certificate: CertificateDer<'static>, key: Key) -> Result<Self, Error> {
        let parsed = identity::parse(&certificate)?;
        if parsed.public_key().raw != key.public_key() {
            return Err(Error::KeyMismatch);
        }
        check_authority(&parsed)?;
        let key_identifier = parsed
            .extensions()
            .iter()
            .find_map(|extension| match extension.parsed_extension() {
                ParsedExtension::SubjectKeyIdentifier(identifier) => Some(identifier.0.to_vec()),
                _ => None,
            })
            .ok_or(Error::NotAuthority)?;
        let (not_before, not_after) = validity_of(&parsed)?;
        let name = IssuerDigest::of(parsed.subject().as_raw());
        Ok(Self { certificate, key, not_before, not_after, key_identifier, name })
    }

    /// The authority's certificate.
    #[must_use]
    pub const fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// The authority's key, for the file that keeps it.
    #[must_use]
    pub const fn key(&self) -> &Key {
        &self.key
    }

    /// When the authority expires.
    #[must_use]
    pub const fn not_after(&self) -> Timestamp {
        self.not_after
    }

    /// Makes a key and signs a leaf for it. The leaf ends with the authority at
    /// the latest.
    ///
    /// # Errors
    /// If a name is not one, the authority is not valid now, or the library
    /// refuses.
    pub fn issue(&self, leaf: &Leaf, now: Timestamp, lifetime: Duration) -> Result<Issued, Error> {
        let key = Key::for_leaf()?;
        let (not_before, not_after) = validity(now, lifetime, Some(self))?;
        let serial = random_serial();
        let certificate = self.sign_leaf(&LeafOrder {
            authority: self.name,
            public_key: key.public_key(),
            serial: serial.to_vec(),
            holder: leaf.clone(),
            not_before,
            not_after,
        })?;
        Ok(Issued { certificate, key, serial: digest::hex(&serial), not_after })
    }

    /// Signs the revocation list that follows `previous` and also revokes
    /// `serial`, if one is given.
    ///
    /// # Errors
    /// If the authority is not valid now, or the library refuses.
    pub fn sign_revocation_list(
        &self,
        previous: Option<&List>,
        serial: Option<&[u8]>,
        now: Timestamp,
        lifetime: Duration,
    ) -> Result<CertificateRevocationListDer<'static>, Error> {
        let (this_update, next_update) = validity(now, lifetime, Some(self))?;
        let mut revoked = previous.map(|list| list.revoked.clone()).unwrap_or_default();
        if let Some(serial) = serial.and_then(identity::serial_hex) {
            // A second revocation leaves the date of the first.
            revoked.entry(serial).or_insert(now);
        }
        let number = previous.map_or(Some(0), List::number_u64).and_then(|number| number.checked_add(1));
        self.sign_list(&ListOrder {
            authority: self.name,
            number: number.ok_or(Error::ListNumber)?,
            this_update,
            next_update,
            revoked: revoked.into_iter().collect(),
        })
    }

    /// Signs a leaf as ordered. Of the holder's key only the key is taken, and
    /// the serial number is the order's: derived from the key it would name
    /// every certificate of that key at once.
    ///
    /// # Errors
    /// If the order is for another authority, outlives this one or is not
    /// well-formed, the key is of no kind that is taken, or the library refuses.
    pub fn sign_leaf(&self, order: &LeafOrder) -> Result<CertificateDer<'static>, Error> {
        self.check_order(order.authority, order.not_before, order.not_after)?;
        if !(16..=20).contains(&order.serial.len())
            || !order.serial.first().is_some_and(|first| (0x01..0x80).contains(first))
        {
            return Err(Error::Serial);
        }
        let mut params = CertificateParams::default();
        params.not_before = order.not_before.to_offset();
        params.not_after = order.not_after.to_offset();
        params.serial_number = Some(SerialNumber::from_slice(&order.serial));
        params.is_ca = IsCa::ExplicitNoCa;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        params.distinguished_name = DistinguishedName::new();
        (params.subject_alt_names, params.extended_key_usages) = match &order.holder {
            Holder::Server { dns, ip } => (server_names(dns, ip)?, vec![ExtendedKeyUsagePurpose::ServerAuth]),
            Holder::Client(id) => {
                (vec![SanType::URI(id.as_str().try_into()?)], vec![ExtendedKeyUsagePurpose::ClientAuth])
            }
        };
        let certificate = params.signed_by(&public_key(&order.public_key)?, &self.issuer()?)?;
        Ok(certificate.der().clone())
    }

    /// Signs a revocation list as ordered.
    ///
    /// # Errors
    /// If the order is for another authority, outlives this one or is not
    /// well-formed, or the library refuses.
    pub fn sign_list(&self, order: &ListOrder) -> Result<CertificateRevocationListDer<'static>, Error> {
        self.check_order(order.authority, order.this_update, order.next_update)?;
        // Sorted, and each serial number once.
        let revoked: BTreeMap<_, _> = order.revoked.iter().map(|(serial, at)| (serial, at)).collect();
        let number = order.number.to_be_bytes();
        let significant = number.iter().position(|&byte| byte != 0).and_then(|first| number.get(first..));
        let params = CertificateRevocationListParams {
            this_update: order.this_update.to_offset(),
            next_update: order.next_update.to_offset(),
            crl_number: SerialNumber::from_slice(significant.unwrap_or(&[0])),
            issuing_distribution_point: None,
            revoked_certs: revoked.into_iter().map(revoked_params).collect::<Result<_, _>>()?,
            key_identifier_method: KeyIdMethod::PreSpecified(self.key_identifier.clone()),
        };
        Ok(params.signed_by(&self.issuer()?)?.into())
    }

    /// What orders and revocations call this authority.
    #[must_use]
    pub const fn name(&self) -> IssuerDigest {
        self.name
    }

    /// When the authority begins.
    #[must_use]
    pub const fn not_before(&self) -> Timestamp {
        self.not_before
    }

    fn check_order(&self, authority: IssuerDigest, begin: Timestamp, end: Timestamp) -> Result<(), Error> {
        if authority != self.name {
            return Err(Error::OtherAuthority);
        }
        if begin < end && end <= self.not_after {
            Ok(())
        } else {
            Err(Error::Span { authority_not_after: self.not_after })
        }
    }

    fn issuer(&self) -> Result<Issuer<'static, &KeyPair>, Error> {
        Ok(Issuer::from_ca_cert_der(&self.certificate, self.key.pair())?)
    }
}

/// Checks that a certificate is an authority's that may sign certificates and
/// revocation lists.
///
/// # Errors
/// [`Error::NotAuthority`].
pub fn check_authority(certificate: &x509_parser::certificate::X509Certificate<'_>) -> Result<(), Error> {
    let usage = certificate.key_usage().ok().flatten();
    let signs = usage.is_some_and(|usage| usage.value.key_cert_sign() && usage.value.crl_sign());
    if certificate.is_ca() && signs { Ok(()) } else { Err(Error::NotAuthority) }
}

/// Bytes of a serial number written as [`identity::serial_hex`] writes it,
/// with or without colons; `None` if it is none.
#[must_use]
pub fn serial_from_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> = text.bytes().filter(|&byte| byte != b':').collect();
    if digits.is_empty() || digits.len() > 42 || !digits.len().is_multiple_of(2) {
        return None;
    }
    let raw = digits
        .chunks_exact(2)
        .map(|pair| std::str::from_utf8(pair).ok().and_then(|pair| u8::from_str_radix(pair, 16).ok()))
        .collect::<Option<Vec<_>>>()?;
    identity::serial_hex(&raw).map(|_| raw)
}

fn authority_params(
    name: &str,
    owner: &str,
    below: u8,
    (not_before, not_after): (Timestamp, Timestamp),
) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, owner);
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(below));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.serial_number = Some(SerialNumber::from_slice(&random_serial()));
    params.use_authority_key_identifier_extension = true;
    params.not_before = not_before.to_offset();
    params.not_after = not_after.to_offset();
    params
}

fn server_names(dns: &[String], ip: &[IpAddr]) -> Result<Vec<SanType>, Error> {
    if dns.is_empty() && ip.is_empty() {
        return Err(Error::Nameless);
    }
    let mut names = Vec::with_capacity(dns.len() + ip.len());
    for name in dns {
        let wrong = || Error::DnsName { name: name.clone() };
        rustls::pki_types::DnsName::try_from(name.as_str()).map_err(|_| wrong())?;
        names.push(SanType::DnsName(name.as_str().try_into().map_err(|_| wrong())?));
    }
    names.extend(ip.iter().copied().map(SanType::IpAddress));
    Ok(names)
}

/// Start and end of what is signed now: backdated, on whole seconds, and never
/// beyond the authority's own end.
fn validity(
    now: Timestamp,
    lifetime: Duration,
    by: Option<&Authority>,
) -> Result<(Timestamp, Timestamp), Error> {
    if lifetime < Duration::from_secs(1) {
        return Err(Error::Lifetime);
    }
    let mut not_after = now.saturating_add(lifetime);
    if let Some(authority) = by {
        if now < authority.not_before || now >= authority.not_after {
            return Err(Error::AuthorityLifetime {
                not_before: authority.not_before,
                not_after: authority.not_after,
            });
        }
        not_after = not_after.min(authority.not_after);
    }
    Ok((now.saturating_sub(BACKDATE), not_after))
}

/// Start and end of a certificate.
///
/// # Errors
/// If either lies before 1970 or past the year 9999.
pub fn validity_of(
    certificate: &x509_parser::certificate::X509Certificate<'_>,
) -> Result<(Timestamp, Timestamp), Error> {
    let validity = certificate.validity();
    let not_before = Timestamp::from_offset(validity.not_before.to_datetime());
    let not_after = Timestamp::from_offset(validity.not_after.to_datetime());
    not_before.zip(not_after).ok_or(Error::Authority(identity::Error::Malformed))
}

/// Twenty random bytes, the most that RFC 5280 allows, made positive and
/// without a leading zero so that every tool writes the same digits.
#[must_use]
pub fn random_serial() -> [u8; 20] {
    let mut serial = random::bytes::<20>();
    if let Some(first) = serial.first_mut() {
        *first = (*first & 0x3f) | 0x40;
    }
    serial
}

fn revoked_params((serial, at): (&String, &Timestamp)) -> Result<RevokedCertParams, Error> {
    let raw = serial_from_hex(serial).ok_or_else(|| Error::RevokedSerial { serial: serial.clone() })?;
    Ok(RevokedCertParams {
        serial_number: SerialNumber::from_slice(&raw),
        revocation_time: at.to_offset(),
        reason_code: None,
        invalidity_date: None,
    })
}

/// Reads a SubjectPublicKeyInfo of a kind that is taken, with nothing behind
/// it and in its one right encoding.
fn public_key(der: &[u8]) -> Result<SubjectPublicKeyInfo, Error> {
    let malformed = || Error::PublicKey(identity::Error::Malformed);
    let (rest, parsed) = x509_parser::x509::SubjectPublicKeyInfo::from_der(der).map_err(|_| malformed())?;
    if !rest.is_empty() {
        return Err(malformed());
    }
    identity::check_key(&parsed).map_err(Error::PublicKey)?;
    let key = SubjectPublicKeyInfo::from_der(der).map_err(|_| malformed())?;
    if key.subject_public_key_info() == der { Ok(key) } else { Err(malformed()) }
}
