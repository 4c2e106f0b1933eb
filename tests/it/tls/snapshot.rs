//! Which configurations never come into force.

use std::sync::Arc;
use std::time::Duration;

use luytre::base::clock::{Clock, SystemClock};
use luytre::pki::issue::{Authority, DAY, Hierarchy, Leaf};
use luytre::pki::revocation;
use luytre::pki::tls::{Error, Material, Snapshot, shake_hands};
use rcgen::{BasicConstraints, DnType, IsCa};
use rustls::CertificateError;
use rustls::pki_types::ServerName;

use super::support::{
    FEED, ManualClock, NAME, Pki, TRUST_DOMAIN, authority, client_leaf, crl, odd_authority,
};

fn build(material: Material) -> Result<Snapshot, Error> {
    Snapshot::build(material, TRUST_DOMAIN, 1, &SystemClock::shared(), None)
}

#[test]
fn without_a_revocation_list_there_is_no_snapshot() {
    let pki = Pki::new(SystemClock.now());
    let mut material = pki.material(SystemClock.now());
    material.revocation_lists.clear();
    assert!(matches!(build(material), Err(Error::Revocation(revocation::Error::None))));
}

#[test]
fn an_authority_without_its_own_list_is_not_trusted() {
    let now = SystemClock.now();
    let pki = Pki::new(now);
    let (_, second) = authority(Hierarchy::Client, now);
    let mut material = pki.material(now);
    material.anchors.push(second.certificate().clone());
    assert!(matches!(build(material), Err(Error::Revocation(revocation::Error::Missing { .. }))));
}

#[test]
fn a_list_of_an_authority_that_is_not_trusted_is_refused() {
    let now = SystemClock.now();
    let pki = Pki::new(now);
    let (_, second) = authority(Hierarchy::Client, now);
    let mut material = pki.material(now);
    material.revocation_lists.push(crl(&second, None, &[], now));
    assert!(matches!(build(material), Err(Error::Revocation(revocation::Error::Foreign { .. }))));
}

#[test]
fn two_lists_of_one_authority_are_refused() {
    let now = SystemClock.now();
    let pki = Pki::new(now);
    let mut material = pki.material(now);
    material.revocation_lists.push(crl(&pki.client, None, &[&[7]], now));
    assert!(matches!(build(material), Err(Error::Revocation(revocation::Error::Several { .. }))));
}

#[test]
fn two_authorities_of_one_name_are_refused() {
    let now = SystemClock.now();
    let pki = Pki::new(now);
    let same = |params: &mut rcgen::CertificateParams| {
        params.distinguished_name.push(DnType::CommonName, "Luytre Client CA");
    };
    let (one, two) = (odd_authority(same), odd_authority(same));
    let trusted = [(&one, crl(&one, None, &[], now)), (&two, crl(&two, None, &[], now))];
    assert!(matches!(build(pki.material_with(&trusted)), Err(Error::AnchorTwice { .. })));
}

#[test]
fn a_list_that_its_authority_did_not_sign_is_refused() {
    let now = SystemClock.now();
    let pki = Pki::new(now);
    let same = |params: &mut rcgen::CertificateParams| {
        params.distinguished_name.push(DnType::CommonName, "Luytre Client CA");
    };
    let (real, forger) = (odd_authority(same), odd_authority(same));
    let trusted = [(&real, crl(&forger, None, &[], now))];
    assert!(matches!(
        build(pki.material_with(&trusted)),
        Err(Error::Revocation(revocation::Error::Signature { .. }))
    ));
}

#[test]
fn a_list_past_its_next_update_is_refused() {
    let clock = ManualClock::shared();
    let pki = Pki::new(clock.now());
    let stale = crl(&pki.client, None, &[], clock.now());
    clock.forward(DAY * 8);
    let material = pki.material_with(&[(&pki.client, stale)]);
    let clock: Arc<dyn Clock> = clock;
    let built = Snapshot::build(material, TRUST_DOMAIN, 1, &clock, None);
    assert!(matches!(built, Err(Error::Revocation(revocation::Error::Stale { .. }))));
}

#[test]
fn a_list_of_tomorrow_is_refused() {
    let now = SystemClock.now();
    let pki = Pki::new(now);
    let early = crl(&pki.client, None, &[], now.saturating_add(DAY));
    assert!(matches!(
        build(pki.material_with(&[(&pki.client, early)])),
        Err(Error::Revocation(revocation::Error::Future { .. }))
    ));
}

#[test]
fn an_expired_or_future_authority_is_refused_although_the_library_takes_it() {
    let now = SystemClock.now();
    let pki = Pki::new(now);
    let expired = odd_authority(|params| params.not_before = (now.saturating_sub(DAY * 9)).to_offset());
    let list = crl(&expired, None, &[], now);
    for later in [DAY * 150, Duration::ZERO] {
        let clock = ManualClock::shared();
        clock.forward(later);
        let clock: Arc<dyn Clock> = clock;
        let material = pki.material_with(&[(&expired, list.clone())]);
        let built = Snapshot::build(material, TRUST_DOMAIN, 1, &clock, None);
        if later.is_zero() {
            assert!(built.is_ok());
        } else {
            assert!(matches!(built, Err(Error::AnchorLifetime { .. })), "{built:?}");
        }
    }
    let future = Authority::root(Hierarchy::Client, "test", now.saturating_add(DAY), DAY).unwrap();
    let list = crl(&future, None, &[], now.saturating_add(DAY));
    let built = build(pki.material_with(&[(&future, list)]));
    assert!(matches!(built, Err(Error::AnchorLifetime { .. })));
}

#[test]
fn a_leaf_is_not_an_authority() {
    let now = SystemClock.now();
    let pki = Pki::new(now);
    let mut material = pki.material(now);
    material.anchors.push(client_leaf(&pki.client, FEED, now).chain.remove(0));
    assert!(matches!(build(material), Err(Error::Anchor(_))));
}

#[test]
fn a_key_of_another_certificate_is_refused() {
    let now = SystemClock.now();
    let pki = Pki::new(now);
    let mut material = pki.material(now);
    material.key = pki.material(now).key;
    assert!(matches!(build(material), Err(Error::KeyMismatch)));
}

#[test]
fn a_server_certificate_must_be_a_servers_and_of_now() {
    let now = SystemClock.now();
    let pki = Pki::new(now);
    let client = client_leaf(&pki.client, FEED, now);
    let material = Material { chain: client.chain, key: client.key, ..pki.material(now) };
    assert!(matches!(build(material), Err(Error::ServerCertificate { .. })));

    let leaf = Leaf::Server { dns: vec![NAME.to_owned()], ip: vec![] };
    let early = pki.server.issue(&leaf, now.saturating_add(DAY), DAY).unwrap();
    let material = Material { chain: vec![early.certificate], key: early.key.to_der(), ..pki.material(now) };
    assert!(matches!(build(material), Err(Error::ServerLifetime { .. })));
}

#[test]
fn an_older_list_or_epoch_does_not_follow() {
    let now = SystemClock.now();
    let pki = Pki::new(now);
    let first = crl(&pki.client, None, &[], now);
    let second = crl(&pki.client, None, &[&[7]], now);
    let with = |list: &rustls::pki_types::CertificateRevocationListDer<'static>, epoch| {
        let material = pki.material_with(&[(&pki.client, list.clone())]);
        Snapshot::build(material, TRUST_DOMAIN, epoch, &SystemClock::shared(), None).unwrap()
    };
    let current = with(&second, 5);
    assert!(with(&second, 6).check_follows(&current).is_ok());
    assert!(matches!(with(&second, 5).check_follows(&current), Err(Error::Epoch { .. })));
    assert!(matches!(
        with(&first, 6).check_follows(&current),
        Err(Error::Revocation(revocation::Error::Rollback { .. }))
    ));
}

#[test]
fn a_preflight_gives_the_verdicts_that_the_listener_would() {
    let now = SystemClock.now();
    let pki = Pki::new(now);
    let (good, bad) = (client_leaf(&pki.client, FEED, now), client_leaf(&pki.client, FEED, now));
    let list = crl(&pki.client, None, &[&bad.serial()], now);
    let snapshot = build(pki.material_with(&[(&pki.client, list)])).unwrap();
    let name = || ServerName::try_from(NAME).unwrap();
    shake_hands(&snapshot, pki.client_config(&good), name()).unwrap();
    let verdict = shake_hands(&snapshot, pki.client_config(&bad), name());
    let revoked = rustls::Error::InvalidCertificate(CertificateError::Revoked);
    assert!(matches!(verdict, Err(Error::Tls(error)) if error == revoked));
    let elsewhere =
        shake_hands(&snapshot, pki.client_config(&good), ServerName::try_from("elsewhere.test").unwrap());
    assert!(elsewhere.is_err());
}

#[test]
fn what_is_issued_keeps_to_its_profile() {
    let now = SystemClock.now();
    let (root, issuing) = authority(Hierarchy::Client, now);
    let (one, two) = (client_leaf(&issuing, FEED, now), client_leaf(&issuing, FEED, now));
    assert_ne!(one.serial(), two.serial());
    assert!(one.serial().len() >= 16);
    let parsed = luytre::pki::identity::parse(&one.chain[0]).unwrap();
    let not_before = parsed.validity().not_before.timestamp();
    assert_eq!(not_before, i64::try_from(now.as_seconds()).unwrap() - 300);
    let purpose = parsed.extended_key_usage().unwrap().unwrap().value;
    assert!(purpose.client_auth && !purpose.server_auth && !purpose.any);

    let forever = issuing.issue(
        &Leaf::Client(luytre::model::principal::SpiffeId::parse(FEED).unwrap()),
        now,
        DAY * 9_999,
    );
    assert_eq!(forever.unwrap().not_after, issuing.not_after());
    let again = root.issuing(Hierarchy::Client, "test", 1, now, DAY).unwrap();
    let subject = |authority: &Authority| {
        luytre::pki::identity::parse(authority.certificate()).unwrap().subject().to_string()
    };
    assert_ne!(subject(&issuing), subject(&again));
    assert!(subject(&again).contains("Luytre Client CA G1 "));
    assert!(matches!(
        odd_authority_after_its_end(),
        Err(luytre::pki::issue::Error::AuthorityLifetime { .. })
    ));
}

fn odd_authority_after_its_end() -> Result<luytre::pki::issue::Issued, luytre::pki::issue::Error> {
    let authority = odd_authority(|params| params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0)));
    let leaf = Leaf::Server { dns: vec![NAME.to_owned()], ip: vec![] };
    authority.issue(&leaf, SystemClock.now().saturating_add(DAY * 365), DAY)
}
