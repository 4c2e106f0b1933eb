//! Decides who the holder of a client certificate is: one SPIFFE identity in
//! the one URI name, and never anything else in the certificate.

use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::oid_registry::{
    OID_EC_P256, OID_KEY_TYPE_EC_PUBLIC_KEY, OID_NIST_EC_P384, OID_PKCS1_RSAENCRYPTION, OID_SIG_ED25519,
};
use x509_parser::prelude::FromDer as _;
use x509_parser::public_key::PublicKey;
use x509_parser::time::ASN1Time;
use x509_parser::x509::SubjectPublicKeyInfo;

use crate::base::clock::Timestamp;
use crate::base::digest;
use crate::model::Invalid;
use crate::model::principal::SpiffeId;

/// Smallest RSA modulus taken, in bits.
pub const MIN_RSA_BITS: usize = 3072;

/// Why a certificate is refused as a client's.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not X.509, or with more behind it.
    #[error("the certificate is not well-formed X.509 DER")]
    Malformed,
    /// An authority's certificate.
    #[error("the certificate is a certificate authority's; a client needs a leaf")]
    Authority,
    /// No subject alternative name of kind URI.
    #[error("the certificate names no URI; a client needs exactly one, its SPIFFE identity")]
    IdentityMissing,
    /// More than one.
    #[error("the certificate names {count} URIs; a client needs exactly one, its SPIFFE identity")]
    IdentityAmbiguous {
        /// How many there are.
        count: usize,
    },
    /// The URI is no identity of ours.
    #[error("the URI in the certificate is no identity: {0}")]
    IdentityInvalid(Invalid),
    /// The identity is of another trust domain.
    #[error("the identity is of another trust domain; this hub's is {expected}")]
    TrustDomain {
        /// The hub's trust domain.
        expected: String,
    },
    /// The certificate is not for client authentication alone.
    #[error("the extended key usage must hold clientAuth and neither serverAuth nor anyExtendedKeyUsage")]
    Purpose,
    /// The key may not sign a handshake, or may sign certificates.
    #[error("the key usage must hold digitalSignature and not keyCertSign")]
    KeyUsage,
    /// The key is of a kind or size that is not taken.
    #[error("the key must be P-256, P-384, Ed25519, or RSA of at least 3072 bits")]
    Key,
    /// The serial number is zero or longer than 20 bytes.
    #[error("the serial number must be positive and at most 20 bytes")]
    Serial,
}

pub use crate::model::certificate::{CertificateId, IssuerDigest};

/// What the hub reads from a client certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Who the holder is.
    pub spiffe_id: SpiffeId,
    /// Serial number, see [`serial_hex`].
    pub serial: String,
    /// Start of its validity.
    pub not_before: Timestamp,
    /// When the certificate expires.
    pub not_after: Timestamp,
    /// Who signed it.
    pub issuer: IssuerDigest,
    /// SHA-256 over the certificate in DER.
    pub fingerprint: [u8; 32],
}

impl Identity {
    /// The certificate's name in revocation lists.
    #[must_use]
    pub fn certificate_id(&self) -> CertificateId {
        CertificateId { issuer: self.issuer, serial: self.serial.clone() }
    }
}

/// Reads the identity in a leaf certificate whose chain the caller verifies.
///
/// # Errors
/// The first rule that the certificate breaks.
pub fn read(der: &[u8], trust_domain: &str) -> Result<Identity, Error> {
    let identity = read_of_any_domain(der)?;
    if identity.spiffe_id.trust_domain() == trust_domain {
        Ok(identity)
    } else {
        Err(Error::TrustDomain { expected: trust_domain.to_owned() })
    }
}

/// The same whatever the trust domain, for showing a certificate to a person.
///
/// # Errors
/// The first rule that the certificate breaks.
pub fn read_of_any_domain(der: &[u8]) -> Result<Identity, Error> {
    let certificate = parse(der)?;
    check_leaf(&certificate)?;
    check_key(certificate.public_key())?;
    let spiffe_id = SpiffeId::parse(sole_uri(&certificate)?).map_err(Error::IdentityInvalid)?;
    let moment = |at: &ASN1Time| Timestamp::from_offset(at.to_datetime()).ok_or(Error::Malformed);
    let validity = certificate.validity();
    Ok(Identity {
        spiffe_id,
        serial: serial_hex(certificate.raw_serial()).ok_or(Error::Serial)?,
        not_before: moment(&validity.not_before)?,
        not_after: moment(&validity.not_after)?,
        issuer: IssuerDigest::of(certificate.issuer().as_raw()),
        fingerprint: digest::sha256(der),
    })
}

/// Parses one certificate with nothing behind it.
///
/// # Errors
/// [`Error::Malformed`].
pub fn parse(der: &[u8]) -> Result<X509Certificate<'_>, Error> {
    match X509Certificate::from_der(der) {
        Ok(([], certificate)) => Ok(certificate),
        Ok(_) | Err(_) => Err(Error::Malformed),
    }
}

/// A serial number as lower-case hexadecimal of its big-endian bytes without
/// leading zeros; `None` if it is zero or longer than 20 bytes (RFC 5280,
/// section 4.1.2.2).
#[must_use]
pub fn serial_hex(raw: &[u8]) -> Option<String> {
    let significant = raw.iter().position(|&byte| byte != 0).and_then(|first| raw.get(first..))?;
    (significant.len() <= 20).then(|| digest::hex(significant))
}

fn check_leaf(certificate: &X509Certificate<'_>) -> Result<(), Error> {
    let constraints = certificate.basic_constraints().map_err(|_| Error::Malformed)?;
    if constraints.is_some_and(|constraints| constraints.value.ca) {
        return Err(Error::Authority);
    }
    let usage = certificate.key_usage().map_err(|_| Error::Malformed)?;
    if usage.is_some_and(|usage| !usage.value.digital_signature() || usage.value.key_cert_sign()) {
        return Err(Error::KeyUsage);
    }
    let purpose =
        certificate.extended_key_usage().map_err(|_| Error::Malformed)?.ok_or(Error::Purpose)?.value;
    if purpose.client_auth && !purpose.server_auth && !purpose.any { Ok(()) } else { Err(Error::Purpose) }
}

fn sole_uri<'a>(certificate: &'a X509Certificate<'_>) -> Result<&'a str, Error> {
    let names = certificate.subject_alternative_name().map_err(|_| Error::Malformed)?;
    let mut uris =
        names.into_iter().flat_map(|names| &names.value.general_names).filter_map(|name| match name {
            GeneralName::URI(uri) => Some(*uri),
            _ => None,
        });
    let first = uris.next().ok_or(Error::IdentityMissing)?;
    match uris.count() {
        0 => Ok(first),
        more => Err(Error::IdentityAmbiguous { count: more + 1 }),
    }
}

/// Checks that a public key is of a kind and size that this product takes.
///
/// # Errors
/// [`Error::Key`].
pub fn check_key(key: &SubjectPublicKeyInfo<'_>) -> Result<(), Error> {
    let kind = &key.algorithm.algorithm;
    let taken = if *kind == OID_KEY_TYPE_EC_PUBLIC_KEY {
        let curve = key.algorithm.parameters.as_ref().and_then(|parameters| parameters.as_oid().ok());
        curve.is_some_and(|curve| curve == OID_EC_P256 || curve == OID_NIST_EC_P384)
    } else if *kind == OID_PKCS1_RSAENCRYPTION {
        matches!(key.parsed(), Ok(PublicKey::RSA(rsa)) if rsa_bits(rsa.modulus) >= MIN_RSA_BITS)
    } else {
        *kind == OID_SIG_ED25519
    };
    if taken { Ok(()) } else { Err(Error::Key) }
}

/// Size of a big-endian modulus; the parser's own `key_size` counts a leading
/// zero byte.
fn rsa_bits(modulus: &[u8]) -> usize {
    let significant = modulus.iter().skip_while(|&&byte| byte == 0).count();
    let top = modulus.iter().find(|&&byte| byte != 0).map_or(0, |byte| byte.leading_zeros() as usize);
    (significant * 8).saturating_sub(top)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_serial_is_the_same_with_and_without_its_sign_byte() {
        assert_eq!(serial_hex(&[0, 0x8f, 1]).as_deref(), Some("8f01"));
        assert_eq!(serial_hex(&[0x8f, 1]).as_deref(), Some("8f01"));
    }

    #[test]
    fn a_serial_of_zero_or_beyond_twenty_bytes_names_nothing() {
        assert_eq!(serial_hex(&[0, 0]), None);
        assert_eq!(serial_hex(&[1; 21]), None);
        assert!(serial_hex(&[1; 20]).is_some());
    }

    #[test]
    fn garbage_and_trailing_bytes_are_malformed() {
        assert!(matches!(read(b"", "example"), Err(Error::Malformed)));
        assert!(matches!(read(&[0x30, 0x03, 0x02, 0x01, 0x01], "example"), Err(Error::Malformed)));
    }

    #[test]
    fn an_rsa_modulus_is_measured_by_its_top_bit() {
        let mut modulus = vec![0_u8, 0x80];
        modulus.extend([0; 383]);
        assert_eq!(rsa_bits(&modulus), 3072);
        modulus[1] = 0x7f;
        assert_eq!(rsa_bits(&modulus), 3071);
    }
}
