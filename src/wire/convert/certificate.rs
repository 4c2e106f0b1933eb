//! Decides how certificates and their authorities travel.

use std::time::Duration;

use uuid::Uuid;

use crate::base::digest;
use crate::model::Invalid;
use crate::model::certificate::{Hierarchy, IssuerDigest};
use crate::model::principal::SpiffeId;
use crate::wire::proto::v1;

const CERTIFICATE: &str =
    "a resource name of the form authorities/{authority}/certificates/{serial}, as ListCertificates gives it";
const AUTHORITY: &str =
    "a resource name of the form authorities/{authority}, as ListAuthorities gives it: 16 hexadecimal digits";
const TOKEN: &str = "a resource name of the form enrollmentTokens/{token}, as ListEnrollmentTokens gives it";

/// Digits of an authority in resource names.
const AUTHORITY_DIGITS: usize = 16;

/// Writes `authorities/{authority}`.
#[must_use]
pub fn authority(issuer: &IssuerDigest) -> String {
    format!("authorities/{}", issuer.short())
}

/// Reads `authorities/{authority}`: its digits.
///
/// # Errors
/// Any other spelling.
pub fn read_authority<'a>(field: &str, name: &'a str) -> Result<&'a str, Invalid> {
    name.strip_prefix("authorities/")
        .filter(|digits| is_hex(digits, AUTHORITY_DIGITS))
        .ok_or_else(|| Invalid::new(field, AUTHORITY))
}

/// Writes `authorities/{authority}/certificates/{serial}`.
#[must_use]
pub fn certificate(issuer: &IssuerDigest, serial: &str) -> String {
    format!("authorities/{}/certificates/{serial}", issuer.short())
}

/// Reads `authorities/{authority}/certificates/{serial}`: both parts.
///
/// # Errors
/// Any other spelling.
pub fn read_certificate<'a>(field: &str, name: &'a str) -> Result<(&'a str, &'a str), Invalid> {
    let wrong = || Invalid::new(field, CERTIFICATE);
    let (authority, serial) = name
        .strip_prefix("authorities/")
        .and_then(|rest| rest.split_once("/certificates/"))
        .ok_or_else(wrong)?;
    // As the hub writes them: without leading zero bytes, so that each has one name.
    let whole = serial.len() % 2 == 0
        && (2..=40).contains(&serial.len())
        && is_hex(serial, serial.len())
        && !serial.starts_with("00");
    if is_hex(authority, AUTHORITY_DIGITS) && whole { Ok((authority, serial)) } else { Err(wrong()) }
}

/// Writes `enrollmentTokens/{token}`.
#[must_use]
pub fn token(id: Uuid) -> String {
    format!("enrollmentTokens/{id}")
}

/// Reads `enrollmentTokens/{token}`.
///
/// # Errors
/// Any other spelling.
pub fn read_token(field: &str, name: &str) -> Result<Uuid, Invalid> {
    name.strip_prefix("enrollmentTokens/")
        .and_then(super::name::lower_uuid)
        .ok_or_else(|| Invalid::new(field, TOKEN))
}

/// Reads a SPIFFE identity.
///
/// # Errors
/// Any other spelling.
pub fn read_identity(field: &str, text: &str) -> Result<SpiffeId, Invalid> {
    SpiffeId::parse(text).map_err(|invalid| Invalid::new(field, invalid.problem))
}

/// Reads a span of time; none is zero.
///
/// # Errors
/// A negative one.
pub fn read_duration(field: &str, pb: Option<prost_types::Duration>) -> Result<Duration, Invalid> {
    let Some(pb) = pb else { return Ok(Duration::ZERO) };
    Duration::try_from(pb).map_err(|_| Invalid::new(field, "a span of time is not negative"))
}

/// Reads which certificates are meant.
///
/// # Errors
/// None.
pub fn read_hierarchy(field: &str, number: i32) -> Result<Hierarchy, Invalid> {
    match v1::Hierarchy::try_from(number) {
        Ok(v1::Hierarchy::Server) => Ok(Hierarchy::Server),
        Ok(v1::Hierarchy::Client) => Ok(Hierarchy::Client),
        _ => Err(Invalid::new(field, "required: HIERARCHY_SERVER or HIERARCHY_CLIENT")),
    }
}

/// Writes which certificates are meant.
#[must_use]
pub const fn hierarchy(hierarchy: Hierarchy) -> v1::Hierarchy {
    match hierarchy {
        Hierarchy::Server => v1::Hierarchy::Server,
        Hierarchy::Client => v1::Hierarchy::Client,
    }
}

/// The digest of a trust bundle.
#[must_use]
pub fn bundle_digest<'a>(certificates: impl Iterator<Item = &'a [u8]>) -> String {
    let mut hash = digest::Sha256::default();
    certificates.for_each(|certificate| hash.update(certificate));
    digest::hex(&hash.finish())
}

fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificates_name_is_read_as_it_is_written() {
        let issuer = IssuerDigest::of(b"CN=Test");
        let name = certificate(&issuer, "4a01ff");
        assert_eq!(read_certificate("name", &name), Ok((issuer.short().as_str(), "4a01ff")));
        for wrong in [
            "",
            "authorities/ab/certificates/4a",
            "authorities/0123456789abcdef/certificates/4A",
            "authorities/0123456789abcdef/certificates/004a",
            "authorities/0123456789abcdef/certificates/4a0",
            "authorities/0123456789abcdef",
        ] {
            assert!(read_certificate("name", wrong).is_err(), "{wrong}");
        }
    }
}
