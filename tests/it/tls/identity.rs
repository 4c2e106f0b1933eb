//! What the one name in a certificate may and may not be.

use luytre::pki::identity::{self, Error};
use luytre::server::handshake::Refused;
use rcgen::{KeyPair, KeyUsagePurpose, SanType};

use super::support::{FEED, Hub, TRUST_DOMAIN, odd_leaf, odd_leaf_with, uri};

#[tokio::test]
async fn exactly_one_uri_names_the_holder() {
    let hub = Hub::start().await;
    let none = odd_leaf(&hub.pki.client, |params| {
        params.subject_alt_names = vec![SanType::DnsName("feed.soc.test".try_into().unwrap())];
        params.distinguished_name.push(rcgen::DnType::CommonName, FEED);
    });
    let two = odd_leaf(&hub.pki.client, |params| {
        params.subject_alt_names = vec![uri(FEED), uri("spiffe://hub.test/org/other/system/feed")];
    });
    let twice = odd_leaf(&hub.pki.client, |params| params.subject_alt_names = vec![uri(FEED), uri(FEED)]);
    for credential in [none, two, twice] {
        hub.assert_refuses(&credential, Refused::Identity).await;
    }
}

#[tokio::test]
async fn a_name_that_is_nearly_an_identity_is_none() {
    let hub = Hub::start().await;
    for name in [
        "spiffe://other.test/org/soc/system/feed",
        "spiffe://hub.test.evil.test/org/soc/system/feed",
        "SPIFFE://hub.test/org/soc/system/feed",
        "spiffe://HUB.test/org/soc/system/feed",
        "spiffe://hub.test/org/SOC/system/feed",
        "spiffe://hub.test/org/s%6fc/system/feed",
        "spiffe://hub.test/org/soc/system/feed\0",
        "spiffe://hub.test/org/soc\0x/system/feed",
        "spiffe://hub.test/org/soc/system/feed/",
        "spiffe://hub.test/org/soc/system/../feed",
        "spiffe://hub.test//org/soc/system/feed",
        "spiffe://hub.test/org/soc/root/feed",
        "spiffe://hub.test/org/soc/system/feed?x=1",
        "spiffe://hub.test:443/org/soc/system/feed",
        "spiffe://user@hub.test/org/soc/system/feed",
        " spiffe://hub.test/org/soc/system/feed",
        "https://hub.test/org/soc/system/feed",
        "",
    ] {
        let credential = odd_leaf(&hub.pki.client, |params| params.subject_alt_names = vec![uri(name)]);
        hub.assert_refuses(&credential, Refused::Identity).await;
    }
    assert!(hub.callers.lock().is_empty());
}

#[tokio::test]
async fn a_weak_key_is_refused_and_a_strong_one_served() {
    let hub = Hub::start().await;
    let with = |key: KeyPair| odd_leaf_with(&hub.pki.client, key, |_| {});
    let rsa = |size| KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, size).unwrap();
    hub.assert_refuses(&with(rsa(rcgen::RsaKeySize::_2048)), Refused::Identity).await;
    let p521 = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P521_SHA512).unwrap();
    hub.assert_refuses(&with(p521), Refused::Identity).await;

    hub.assert_serves(&with(rsa(rcgen::RsaKeySize::_3072))).await;
    hub.assert_serves(&with(KeyPair::generate_for(&rcgen::PKCS_ED25519).unwrap())).await;
    hub.assert_serves(&with(KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap())).await;
}

#[tokio::test]
async fn a_key_that_may_sign_certificates_is_not_a_clients() {
    let hub = Hub::start().await;
    let odd = odd_leaf(&hub.pki.client, |params| {
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyCertSign];
    });
    hub.assert_refuses(&odd, Refused::Identity).await;
    let mute = odd_leaf(&hub.pki.client, |params| params.key_usages = vec![KeyUsagePurpose::KeyEncipherment]);
    hub.assert_refuses(&mute, Refused::Identity).await;
}

#[tokio::test]
async fn every_refusal_says_which_rule_was_broken() {
    let hub = Hub::start().await;
    let read = |edit: &dyn Fn(&mut rcgen::CertificateParams)| {
        let leaf = odd_leaf(&hub.pki.client, edit);
        identity::read(&leaf.chain[0], TRUST_DOMAIN)
    };
    assert!(read(&|_| {}).is_ok());
    assert!(matches!(read(&|params| params.subject_alt_names = vec![]), Err(Error::IdentityMissing)));
    assert!(matches!(
        read(&|params| params.subject_alt_names = vec![uri(FEED), uri(FEED), uri(FEED)]),
        Err(Error::IdentityAmbiguous { count: 3 })
    ));
    assert!(matches!(
        read(&|params| params.subject_alt_names = vec![uri("spiffe://x/org/soc/system/feed")]),
        Err(Error::TrustDomain { .. })
    ));
    assert!(matches!(
        read(&|params| params.subject_alt_names = vec![uri("x")]),
        Err(Error::IdentityInvalid(_))
    ));
    assert!(matches!(read(&|params| params.extended_key_usages = vec![]), Err(Error::Purpose)));
    assert!(matches!(
        read(&|params| params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained)),
        Err(Error::Authority)
    ));
}

#[tokio::test]
async fn an_identity_carries_serial_and_end_of_its_certificate() {
    let hub = Hub::start().await;
    let leaf = odd_leaf(&hub.pki.client, |params| {
        params.serial_number = Some(rcgen::SerialNumber::from_slice(&[0x00, 0x9a, 0x0b]));
        params.not_after = time::macros::datetime!(2031-02-03 04:05:06 UTC);
    });
    let read = identity::read(&leaf.chain[0], TRUST_DOMAIN).unwrap();
    assert_eq!(read.serial, "9a0b");
    assert_eq!(read.not_after.to_string(), "2031-02-03T04:05:06Z");
    assert_eq!(read.spiffe_id.as_str(), FEED);
}
