//! Decides which certificate can be a generation of an issuing authority.

use rustls::pki_types::CertificateDer;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::ParsedExtension;

use crate::base::clock::Timestamp;
use crate::base::digest;
use crate::pki::identity::{self, IssuerDigest};
use crate::pki::issue;

/// Longest common name (X.520, ub-common-name), in characters.
pub const MAX_NAME_CHARS: usize = 64;

/// Why a certificate is no issuing authority's.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not X.509, or a key that is not taken.
    #[error(transparent)]
    Certificate(#[from] identity::Error),
    /// No right to sign certificates and lists, or no lifetime that can be read.
    #[error(transparent)]
    Authority(#[from] issue::Error),
    /// It could sign further authorities.
    #[error("an issuing authority needs a path length of 0, so that it signs no further authorities")]
    PathLength,
    /// Nothing names its key.
    #[error("an issuing authority needs a subject key identifier")]
    KeyIdentifierMissing,
    /// It has no name that people can tell it by.
    #[error(
        "an issuing authority needs one common name of 1 to {MAX_NAME_CHARS} characters, none a control character"
    )]
    Name,
}

/// One generation of an authority.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Generation {
    /// Rising from 1 in its hierarchy.
    pub number: u32,
    /// Digest of its own distinguished name: its certificates name it as issuer.
    pub issuer: IssuerDigest,
    /// Its common name.
    pub name: String,
    /// Whole.
    pub certificate: CertificateDer<'static>,
    /// Subject key identifier (RFC 5280, section 4.2.1.2).
    pub key_identifier: Vec<u8>,
    /// SHA-256 of its SubjectPublicKeyInfo.
    pub key: [u8; 32],
    /// Start of its validity.
    pub not_before: Timestamp,
    /// End of its validity.
    pub not_after: Timestamp,
}

impl Generation {
    /// Generation `number`, from its certificate: an authority's, with a path
    /// length of 0, the right to sign certificates and revocation lists, and a
    /// subject key identifier. Whether it is valid now is asked elsewhere, for
    /// one that has expired can still be read.
    ///
    /// # Errors
    /// The first rule that the certificate breaks.
    pub fn from_der(number: u32, certificate: CertificateDer<'static>) -> Result<Self, Error> {
        let parsed = identity::parse(&certificate)?;
        issue::check_authority(&parsed)?;
        identity::check_key(parsed.public_key())?;
        let constraints = parsed.basic_constraints().ok().flatten();
        if constraints.is_none_or(|constraints| constraints.value.path_len_constraint != Some(0)) {
            return Err(Error::PathLength);
        }
        let (not_before, not_after) = issue::validity_of(&parsed)?;
        Ok(Self {
            number,
            issuer: IssuerDigest::of(parsed.subject().as_raw()),
            name: common_name(&parsed).ok_or(Error::Name)?,
            key_identifier: key_identifier(&parsed).ok_or(Error::KeyIdentifierMissing)?,
            key: digest::sha256(parsed.public_key().raw),
            not_before,
            not_after,
            certificate,
        })
    }

    /// Whether it has begun and not ended.
    #[must_use]
    pub fn is_valid_at(&self, now: Timestamp) -> bool {
        self.not_before <= now && now < self.not_after
    }
}

fn common_name(certificate: &X509Certificate<'_>) -> Option<String> {
    let mut names = certificate.subject().iter_common_name();
    let name = names.next()?.as_str().ok()?;
    let fits = !name.is_empty() && name.chars().count() <= MAX_NAME_CHARS;
    (fits && names.next().is_none() && !name.chars().any(char::is_control)).then(|| name.to_owned())
}

fn key_identifier(certificate: &X509Certificate<'_>) -> Option<Vec<u8>> {
    certificate.extensions().iter().find_map(|extension| match extension.parsed_extension() {
        ParsedExtension::SubjectKeyIdentifier(identifier) if !identifier.0.is_empty() => {
            Some(identifier.0.to_vec())
        }
        _ => None,
    })
}
