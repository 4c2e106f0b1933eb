//! Who gets in, and what is said to those who do not.

use std::net::IpAddr;
use std::sync::Arc;

use luytre::server::handshake::Refused;
use rcgen::{
    BasicConstraints, DnType, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, NameConstraints, SanType,
};
use rustls::{AlertDescription, ClientConfig, HandshakeKind, NamedGroup, ProtocolVersion, RootCertStore};
use time::OffsetDateTime;

use super::log;
use super::support::{
    Credential, FEED, Hub, authority, check, client_leaf, odd_authority, odd_leaf, self_signed_leaf, uri,
    within,
};
use luytre::pki::issue::Hierarchy;

#[tokio::test]
async fn a_good_client_gets_a_full_handshake_of_tls_1_3_with_the_hybrid_key_exchange() {
    let hub = Hub::start().await;
    let client = hub.good_client();
    let stream = hub.tls(&client).await.unwrap();
    let (_, session) = stream.get_ref();
    assert_eq!(session.protocol_version(), Some(ProtocolVersion::TLSv1_3));
    assert_eq!(session.handshake_kind(), Some(HandshakeKind::Full));
    assert_eq!(session.alpn_protocol(), Some(b"h2".as_slice()));
    let group = session.negotiated_key_exchange_group().unwrap().name();
    assert_eq!(group, NamedGroup::X25519MLKEM768);
    hub.assert_serves(&client).await;
}

#[tokio::test]
async fn every_call_carries_the_peer_that_the_handshake_proved() {
    let hub = Hub::start().await;
    let client = hub.good_client();
    hub.assert_serves(&client).await;
    let callers = hub.callers.lock();
    assert_eq!(callers[0].identity.as_str(), FEED);
    assert_eq!(callers[0].certificate, client.certificate_id());
    assert_eq!(callers[0].fingerprint, luytre::base::digest::sha256(&client.chain[0]));
    assert!(callers[0].not_before < callers[0].not_after);
    assert_eq!(callers[0].key_exchange, "X25519MLKEM768");
    assert!(!callers[0].severed.is_cancelled());
}

#[tokio::test]
async fn a_client_without_a_certificate_is_refused() {
    let hub = Hub::start().await;
    let config = ClientConfig::builder_with_protocol_versions(&[&rustls::version::TLS13])
        .with_root_certificates(roots(&hub))
        .with_no_client_auth();
    let alert = hub.alert_for(with_h2(config)).await;
    assert_eq!(alert, AlertDescription::CertificateRequired);
    hub.eventually_refused(Refused::NoCertificate, 1).await;
}

#[tokio::test]
async fn an_expired_certificate_is_refused_and_the_log_tells_by_how_much() {
    let (log, _guard) = log::captured();
    let hub = Hub::start().await;
    let expired = odd_leaf(&hub.pki.client, |params| {
        params.not_after = OffsetDateTime::now_utc() - time::Duration::minutes(10);
    });
    let alert = hub.assert_refuses(&expired, Refused::Expired).await;
    assert_eq!(alert, AlertDescription::CertificateExpired);
    assert_skew(&log.text(), "expired", 600);
}

#[tokio::test]
async fn a_certificate_of_tomorrow_is_refused_and_the_log_tells_by_how_much() {
    let (log, _guard) = log::captured();
    let hub = Hub::start().await;
    let early = odd_leaf(&hub.pki.client, |params| {
        params.not_before = OffsetDateTime::now_utc() + time::Duration::minutes(10);
    });
    let alert = hub.assert_refuses(&early, Refused::NotYetValid).await;
    assert_eq!(alert, AlertDescription::CertificateExpired);
    assert_skew(&log.text(), "not_yet_valid", 600);
}

#[tokio::test]
async fn a_self_signed_certificate_is_refused() {
    let hub = Hub::start().await;
    let alert = hub.assert_refuses(&self_signed_leaf(), Refused::UnknownIssuer).await;
    assert_eq!(alert, AlertDescription::UnknownCA);
}

#[tokio::test]
async fn a_certificate_of_an_unknown_authority_is_refused() {
    let hub = Hub::start().await;
    let (_, stranger) = authority(Hierarchy::Client, hub.clock.now());
    let leaf = client_leaf(&stranger, FEED, hub.clock.now());
    hub.assert_refuses(&leaf, Refused::UnknownIssuer).await;
}

#[tokio::test]
async fn a_server_certificate_does_not_make_a_client() {
    let hub = Hub::start().await;
    let server = odd_leaf(&hub.pki.client, |params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    });
    let alert = hub.assert_refuses(&server, Refused::Purpose).await;
    assert_eq!(alert, AlertDescription::UnsupportedCertificate);
}

#[tokio::test]
async fn a_certificate_for_client_and_server_at_once_is_refused() {
    let hub = Hub::start().await;
    let both = odd_leaf(&hub.pki.client, |params| {
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
    });
    hub.assert_refuses(&both, Refused::Identity).await;
}

#[tokio::test]
async fn a_certificate_without_a_purpose_is_refused_although_the_library_takes_it() {
    let hub = Hub::start().await;
    let bare = odd_leaf(&hub.pki.client, |params| params.extended_key_usages = vec![]);
    let alert = hub.assert_refuses(&bare, Refused::Identity).await;
    assert_eq!(alert, AlertDescription::CertificateUnknown);
}

#[tokio::test]
async fn a_certificate_for_any_purpose_is_refused() {
    let hub = Hub::start().await;
    let any =
        odd_leaf(&hub.pki.client, |params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::Any]);
    hub.assert_refuses(&any, Refused::Purpose).await;
    let more = odd_leaf(&hub.pki.client, |params| {
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::Any];
    });
    hub.assert_refuses(&more, Refused::Identity).await;
}

#[tokio::test]
async fn an_authority_is_not_a_client() {
    let hub = Hub::start().await;
    let authority =
        odd_leaf(&hub.pki.client, |params| params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0)));
    hub.assert_refuses(&authority, Refused::Certificate).await;
    let anchor = &hub.pki.client;
    let itself = Credential { chain: vec![anchor.certificate().clone()], key: anchor.key().to_der() };
    hub.assert_refuses(&itself, Refused::Certificate).await;
}

#[tokio::test]
async fn the_common_name_says_nothing() {
    let hub = Hub::start().await;
    let posing = odd_leaf(&hub.pki.client, |params| {
        params.distinguished_name.push(DnType::CommonName, "spiffe://hub.test/org/ministry/system/root");
    });
    hub.assert_serves(&posing).await;
    assert_eq!(hub.callers.lock()[0].identity.as_str(), FEED);
}

#[tokio::test]
async fn a_missing_intermediate_is_refused_and_so_is_a_leaf_below_it() {
    let root = odd_authority(|_| {});
    let hub = Hub::trusting(&[&root]).await;
    let below = root.issuing(Hierarchy::Client, "test", 1, hub.clock.now(), luytre::pki::issue::DAY).unwrap();
    let leaf = client_leaf(&below, FEED, hub.clock.now());
    hub.assert_refuses(&leaf, Refused::UnknownIssuer).await;
    // With the intermediate, there is no revocation list for it.
    let chained =
        Credential { chain: vec![leaf.chain[0].clone(), below.certificate().clone()], key: leaf.key };
    hub.assert_refuses(&chained, Refused::RevocationUnknown).await;
}

#[tokio::test]
async fn twenty_certificates_of_junk_do_no_harm() {
    let hub = Hub::start().await;
    let mut client = hub.good_client();
    client.chain.extend((0..20).map(|_| self_signed_leaf().chain.remove(0)));
    hub.assert_serves(&client).await;
}

#[tokio::test]
async fn a_chain_of_seventy_two_kilobytes_is_refused() {
    let hub = Hub::start().await;
    let mut client = hub.good_client();
    let heavy = odd_leaf(&hub.pki.client, |params| {
        let padding = rcgen::CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 99_999, 1], vec![4; 4000]);
        params.custom_extensions.push(padding);
    });
    client.chain.extend((0..18).map(|_| heavy.chain[0].clone()));
    // Refused before it is all read, so the alert may be lost to the reset.
    let stream = hub.tls(&client).await;
    hub.eventually_refused(Refused::Malformed, 1).await;
    drop(stream);
    hub.assert_serves(&hub.good_client()).await;
}

#[tokio::test]
async fn a_constrained_authority_signs_no_name_outside_its_constraint() {
    let constrained = odd_authority(|params| {
        params.name_constraints = Some(NameConstraints {
            permitted_subtrees: vec![GeneralSubtree::DnsName("inside.test".to_owned())],
            excluded_subtrees: vec![],
        });
    });
    let hub = Hub::trusting(&[&constrained]).await;
    let named = |name: &str| {
        odd_leaf(&constrained, |params| {
            params.subject_alt_names = vec![uri(FEED), SanType::DnsName(name.try_into().unwrap())];
        })
    };
    hub.assert_serves(&named("a.inside.test")).await;
    hub.assert_refuses(&named("a.outside.test"), Refused::Certificate).await;
}

#[tokio::test]
async fn a_second_connection_is_a_full_handshake_even_for_a_client_that_would_resume() {
    let hub = Hub::start().await;
    let client = hub.good_client();
    let key = client.key.expose().clone_key();
    let config = ClientConfig::builder_with_protocol_versions(&[&rustls::version::TLS13])
        .with_root_certificates(roots(&hub))
        .with_client_auth_cert(client.chain.clone(), key)
        .unwrap();
    let config = with_h2(config);
    for _ in 0..2 {
        check(&mut tonic_health::pb::health_client::HealthClient::new(hub.channel(Arc::clone(&config))))
            .await
            .unwrap();
        let stream = hub.tls_with(Arc::clone(&config), super::support::NAME).await.unwrap();
        assert_eq!(stream.get_ref().1.handshake_kind(), Some(HandshakeKind::Full));
        assert_eq!(stream.get_ref().1.tls13_tickets_received(), 0);
    }
}

#[tokio::test]
async fn a_client_that_names_no_host_gets_the_one_certificate() {
    let hub = Hub::start().await;
    let address = IpAddr::from([127, 0, 0, 1]).to_string();
    let config = hub.pki.client_config(&hub.good_client());
    assert!(hub.tls_with(config, &address).await.is_ok());
}

#[tokio::test]
async fn a_client_that_names_another_host_gets_the_one_certificate_and_refuses_it() {
    let hub = Hub::start().await;
    let config = hub.pki.client_config(&hub.good_client());
    let error = hub.tls_with(config, "elsewhere.test").await.unwrap_err();
    assert!(error.to_string().contains("not valid for name"), "{error}");
    hub.eventually_refused(Refused::PeerAlert, 1).await;
}

#[tokio::test]
async fn a_client_exchanges_its_certificate_without_a_new_channel() {
    let hub = Hub::start().await;
    let (old, new) = (hub.good_client(), hub.good_client());
    let identity = old.identity();
    let roots = vec![hub.pki.server_root.certificate().clone()];
    let config = luytre::pki::tls::client_config(roots, identity.clone()).unwrap();
    let mut client = tonic_health::pb::health_client::HealthClient::new(hub.channel(config));
    check(&mut client).await.unwrap();
    hub.revoke(&old);
    identity.exchange(new.chain.clone(), &new.key);
    // The first call may still meet the connection that is being closed.
    let retried = async {
        while check(&mut client).await.is_err() {
            tokio::task::yield_now().await;
        }
    };
    within(retried).await;
    assert_eq!(hub.callers.lock().last().unwrap().certificate, new.certificate_id());
}

pub fn roots(hub: &Hub) -> RootCertStore {
    let mut roots = RootCertStore::empty();
    roots.add(hub.pki.server_root.certificate().clone()).unwrap();
    roots
}

pub fn with_h2(mut config: ClientConfig) -> Arc<ClientConfig> {
    config.alpn_protocols = vec![b"h2".to_vec()];
    Arc::new(config)
}

fn assert_skew(log: &str, reason: &str, seconds: u64) {
    let line = log.lines().find(|line| line.contains("handshake refused")).expect("the refusal is logged");
    assert!(line.contains(&format!("reason=\"{reason}\"")) && line.contains("peer=127.0.0.1"), "{line}");
    let skew = line.split("skew_seconds=").nth(1).and_then(|rest| rest.split_whitespace().next()).unwrap();
    let skew: u64 = skew.parse().unwrap();
    assert!((seconds..seconds + 30).contains(&skew), "{line}");
}
