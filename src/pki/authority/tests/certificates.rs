//! Decides nothing: which certificates can be a generation.

use rcgen::{
    BasicConstraints, CertificateParams, DnType, IsCa, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P384_SHA384,
    PKCS_ECDSA_P521_SHA512, SignatureAlgorithm,
};
use rustls::pki_types::CertificateDer;

use super::*;
use crate::pki::issue;

fn read(change: impl FnOnce(&mut CertificateParams)) -> Result<Generation, Error> {
    Generation::from_der(2, made(&PKCS_ECDSA_P384_SHA384, change))
}

fn made(
    kind: &'static SignatureAlgorithm,
    change: impl FnOnce(&mut CertificateParams),
) -> CertificateDer<'static> {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, "Luytre Client CA G2");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    change(&mut params);
    let key = KeyPair::generate_for(kind).unwrap();
    params.self_signed(&key).unwrap().der().clone()
}

#[test]
fn an_issuing_authority_of_ours_is_a_generation() {
    let now = noon();
    let root = issue::Authority::root(Hierarchy::Client, "Owner", now, DAY * 3_650).unwrap();
    let made = root.issuing(Hierarchy::Client, "Owner", 7, now, DAY * 730).unwrap();
    let generation = Generation::from_der(3, made.certificate().clone()).unwrap();
    let parsed = crate::pki::identity::parse(made.certificate()).unwrap();
    assert_eq!(generation.number, 3);
    assert!(generation.name.starts_with("Luytre Client CA G7 "), "{}", generation.name);
    assert_eq!(generation.issuer, IssuerDigest::of(parsed.subject().as_raw()));
    assert_eq!(generation.key, digest::sha256(parsed.public_key().raw));
    assert_eq!(generation.key_identifier.len(), 20);
    assert_eq!(generation.not_after, made.not_after());
    assert!(generation.is_valid_at(now) && !generation.is_valid_at(made.not_after()));
    let of_root = Generation::from_der(3, root.certificate().clone());
    assert!(matches!(of_root, Err(Error::PathLength)), "a root stays offline: {of_root:?}");
}

#[test]
fn a_leaf_is_no_generation() {
    let refused = read(|params| params.is_ca = IsCa::ExplicitNoCa);
    assert!(matches!(refused, Err(Error::Authority(_))), "{refused:?}");
}

#[test]
fn an_authority_that_could_sign_authorities_is_no_generation() {
    let unbounded = read(|params| params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained));
    assert!(matches!(unbounded, Err(Error::PathLength)), "{unbounded:?}");
    let one = read(|params| params.is_ca = IsCa::Ca(BasicConstraints::Constrained(1)));
    assert!(matches!(one, Err(Error::PathLength)), "{one:?}");
}

#[test]
fn an_authority_that_can_sign_no_revocation_list_is_no_generation() {
    let refused = read(|params| params.key_usages = vec![KeyUsagePurpose::KeyCertSign]);
    assert!(matches!(refused, Err(Error::Authority(_))), "{refused:?}");
}

#[test]
fn a_generation_has_one_name_that_can_be_shown() {
    assert!(read(|_| ()).is_ok());
    let named = |name: &str| {
        let name = name.to_owned();
        read(move |params| params.distinguished_name.push(DnType::CommonName, name))
    };
    assert!(matches!(named(""), Err(Error::Name)));
    assert!(matches!(named("\u{1b}[2J"), Err(Error::Name)));
    assert!(matches!(named(&"n".repeat(65)), Err(Error::Name)));
}

#[test]
fn an_authority_without_a_key_identifier_is_no_generation() {
    let mut der = made(&PKCS_ECDSA_P384_SHA384, |_| ()).to_vec();
    let identifier = der.windows(3).position(|oid| oid == [0x55, 0x1d, 0x0e]).unwrap();
    der[identifier + 2] = 0x63;
    let refused = Generation::from_der(2, der.into());
    assert!(matches!(refused, Err(Error::KeyIdentifierMissing)), "{refused:?}");
}

#[test]
fn an_authority_with_a_key_of_another_kind_is_no_generation() {
    let refused = Generation::from_der(2, made(&PKCS_ECDSA_P521_SHA512, |_| ()));
    assert!(matches!(refused, Err(Error::Certificate(_))), "{refused:?}");
}
