//! Decides which requests for a certificate (PKCS #10, RFC 2986) are heard:
//! those that prove that the asker has the key, and ask for nothing else.

use x509_parser::certification_request::{X509CertificationRequest, X509CertificationRequestInfo};
use x509_parser::cri_attributes::ParsedCriAttribute;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::FromDer as _;

use super::identity;
use crate::base::digest;
use crate::model::principal::SpiffeId;

/// Largest request read, in bytes; one with a 4,096-bit RSA key takes 2 KiB.
pub const MAX_BYTES: usize = 16 * 1024;

/// Why a request is refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Too long.
    #[error("the certificate request is longer than {MAX_BYTES} bytes")]
    Size,
    /// Not PKCS #10, or with more behind it.
    #[error("the certificate request is not well-formed PKCS #10 DER")]
    Malformed,
    /// The asker does not prove to have the key.
    #[error("the certificate request is not signed by the key that it names; make it anew from that key")]
    Signature,
    /// The key is of a kind that is not taken.
    #[error(transparent)]
    Key(identity::Error),
    /// It asks to be an authority.
    #[error("the certificate request asks for an authority's rights; ask for a leaf")]
    Authority,
    /// It asks for another purpose.
    #[error("the certificate request asks for another purpose than clientAuth; leave the purpose out")]
    Purpose,
    /// It asks for another name.
    #[error(
        "the certificate request asks for another name than {expected}; leave subject and subjectAltName empty"
    )]
    Identity {
        /// The one name that it may ask for.
        expected: SpiffeId,
    },
}

/// What is taken of a request: the key, and nothing else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKeyRequest {
    /// SubjectPublicKeyInfo in DER.
    pub public_key: Vec<u8>,
    /// Its SHA-256, by which the key is known again.
    pub fingerprint: [u8; 32],
}

/// Reads a request by whoever is to be `expected`.
///
/// What it asks for is never granted; it is read only because a request for
/// more than is given is a sign of a broken or a hostile client.
///
/// # Errors
/// The first rule that the request breaks.
pub fn read(der: &[u8], expected: &SpiffeId) -> Result<PublicKeyRequest, Error> {
    if der.len() > MAX_BYTES {
        return Err(Error::Size);
    }
    let Ok(([], request)) = X509CertificationRequest::from_der(der) else { return Err(Error::Malformed) };
    let info = &request.certification_request_info;
    identity::check_key(&info.subject_pki).map_err(Error::Key)?;
    request.verify_signature().map_err(|_| Error::Signature)?;
    check_subject(info, expected)?;
    for attribute in info.iter_attributes() {
        if let ParsedCriAttribute::ExtensionRequest(asked) = attribute.parsed_attribute() {
            for extension in &asked.extensions {
                check_extension(extension.parsed_extension(), expected)?;
            }
        }
    }
    let public_key = info.subject_pki.raw.to_vec();
    Ok(PublicKeyRequest { fingerprint: digest::sha256(&public_key), public_key })
}

/// An empty subject, or the identity as its one common name.
fn check_subject(info: &X509CertificationRequestInfo<'_>, expected: &SpiffeId) -> Result<(), Error> {
    let mut names = info.subject.iter_common_name();
    let attributes = info.subject.iter_attributes().count();
    let fits = match (attributes, names.next()) {
        (0, _) => true,
        (1, Some(name)) => name.as_str().is_ok_and(|name| name == expected.as_str()),
        _ => false,
    };
    if fits { Ok(()) } else { Err(Error::Identity { expected: expected.clone() }) }
}

fn check_extension(asked: &ParsedExtension<'_>, expected: &SpiffeId) -> Result<(), Error> {
    match asked {
        ParsedExtension::BasicConstraints(constraints) if constraints.ca => Err(Error::Authority),
        ParsedExtension::KeyUsage(usage) if usage.key_cert_sign() || usage.crl_sign() => {
            Err(Error::Authority)
        }
        ParsedExtension::ExtendedKeyUsage(purpose) => {
            let others = purpose.any
                || purpose.server_auth
                || purpose.code_signing
                || purpose.email_protection
                || purpose.time_stamping
                || purpose.ocsp_signing
                || !purpose.other.is_empty();
            if others { Err(Error::Purpose) } else { Ok(()) }
        }
        ParsedExtension::SubjectAlternativeName(names) => {
            let fits = match names.general_names.as_slice() {
                [] => true,
                [GeneralName::URI(uri)] => *uri == expected.as_str(),
                _ => false,
            };
            if fits { Ok(()) } else { Err(Error::Identity { expected: expected.clone() }) }
        }
        ParsedExtension::ParseError { .. } => Err(Error::Malformed),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{
        BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
        KeyPair, KeyUsagePurpose, PKCS_ECDSA_P521_SHA512, PKCS_ED25519, PublicKeyData as _, SanType,
    };

    use super::*;

    const ID: &str = "spiffe://hub.example/org/soc/system/feed";

    fn id() -> SpiffeId {
        SpiffeId::parse(ID).unwrap()
    }

    fn plain() -> CertificateParams {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params
    }

    fn made(params: &CertificateParams, key: &KeyPair) -> Vec<u8> {
        params.serialize_request(key).unwrap().der().to_vec()
    }

    fn asked(change: impl FnOnce(&mut CertificateParams)) -> Result<PublicKeyRequest, Error> {
        let mut params = plain();
        change(&mut params);
        read(&made(&params, &KeyPair::generate().unwrap()), &id())
    }

    #[test]
    fn of_a_sound_request_the_key_is_taken() {
        for key in [KeyPair::generate().unwrap(), KeyPair::generate_for(&PKCS_ED25519).unwrap()] {
            let read = read(&made(&plain(), &key), &id()).unwrap();
            assert_eq!(read.public_key, key.subject_public_key_info());
            assert_eq!(read.fingerprint, digest::sha256(&read.public_key));
        }
    }

    #[test]
    fn a_request_for_what_is_given_anyway_is_heard() {
        let heard = asked(|params| {
            params.distinguished_name.push(DnType::CommonName, ID);
            params.subject_alt_names = vec![SanType::URI(ID.try_into().unwrap())];
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
            params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        });
        heard.unwrap();
    }

    #[test]
    fn a_request_that_was_changed_after_signing_is_refused() {
        let key = KeyPair::generate().unwrap();
        let sound = made(&plain(), &key);
        let at = sound.windows(65).position(|window| window == key.der_bytes()).unwrap();
        for place in [at + 40, sound.len() - 3] {
            let mut changed = sound.clone();
            changed[place] ^= 1;
            assert!(matches!(read(&changed, &id()), Err(Error::Signature)), "{place}");
        }
        // Another's key under the asker's signature.
        let mut stolen = sound;
        stolen[at..at + 65].copy_from_slice(KeyPair::generate().unwrap().der_bytes());
        assert!(matches!(read(&stolen, &id()), Err(Error::Signature)));
    }

    #[test]
    fn a_request_to_be_an_authority_is_refused() {
        let constraint = asked(|params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained));
        assert!(matches!(constraint, Err(Error::Authority)), "{constraint:?}");
        for usage in [KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign] {
            let asked = asked(|params| params.key_usages = vec![usage]);
            assert!(matches!(asked, Err(Error::Authority)), "{asked:?}");
        }
    }

    #[test]
    fn a_request_for_another_purpose_is_refused() {
        for purpose in [
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::Any,
            ExtendedKeyUsagePurpose::Other(vec![1, 3, 6, 1, 4, 1, 99999, 1]),
        ] {
            let asked = asked(|params| params.extended_key_usages = vec![purpose]);
            assert!(matches!(asked, Err(Error::Purpose)), "{asked:?}");
        }
    }

    #[test]
    fn a_request_for_another_name_is_refused() {
        let other = "spiffe://hub.example/org/soc/system/other";
        let uri = |text: &str| SanType::URI(text.try_into().unwrap());
        for names in [
            vec![uri(other)],
            vec![uri(ID), uri(other)],
            vec![uri(ID), uri(ID)],
            vec![uri(ID), SanType::DnsName("hub.example".try_into().unwrap())],
            vec![uri("SPIFFE://hub.example/org/soc/system/feed")],
        ] {
            let asked = asked(|params| params.subject_alt_names = names);
            assert!(matches!(asked, Err(Error::Identity { .. })), "{asked:?}");
        }
        let subject = asked(|params| params.distinguished_name.push(DnType::CommonName, other));
        assert!(matches!(subject, Err(Error::Identity { .. })), "{subject:?}");
        let organisation = asked(|params| params.distinguished_name.push(DnType::OrganizationName, ID));
        assert!(matches!(organisation, Err(Error::Identity { .. })), "{organisation:?}");
    }

    #[test]
    fn a_key_of_another_kind_is_refused() {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P521_SHA512).unwrap();
        assert!(matches!(read(&made(&plain(), &key), &id()), Err(Error::Key(_))));
    }

    #[test]
    fn what_is_too_long_cut_short_or_followed_by_more_is_refused() {
        let sound = made(&plain(), &KeyPair::generate().unwrap());
        assert!(matches!(read(&[sound.clone(), vec![0]].concat(), &id()), Err(Error::Malformed)));
        assert!(matches!(read(&sound[..sound.len() - 1], &id()), Err(Error::Malformed)));
        assert!(matches!(read(&[0x30; MAX_BYTES + 1], &id()), Err(Error::Size)));
        assert!(matches!(read(b"", &id()), Err(Error::Malformed)));
    }
}
