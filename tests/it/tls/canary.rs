//! What the canary promises: a certificate of the next generation under one
//! name, and a note of every client that has shaken hands under it.

use std::io;

use luytre::base::clock::{Clock as _, SystemClock};
use luytre::pki::issue::{DAY, Hierarchy, Leaf};
use luytre::pki::tls::{Canary, Error, Material, Snapshot, client_config};
use luytre::server::handshake::Refused;
use rustls::pki_types::DnsName;

use super::support::{Credential, FEED, Hub, NAME, Pki, TRUST_DOMAIN, authority, eventually, within};

const CANARY: &str = "next.hub.test";

/// The next generation of the server hierarchy.
fn next() -> Pki {
    let now = SystemClock.now();
    let root = luytre::pki::issue::Authority::root(Hierarchy::Server, "next", now, DAY * 300).unwrap();
    let server = root.issuing(Hierarchy::Server, "next", 2, now, DAY * 200).unwrap();
    Pki { server_root: root, server, client: authority(Hierarchy::Client, now).1 }
}

fn canary(next: &Pki, name: &str) -> Canary {
    let leaf = Leaf::Server { dns: vec![name.to_owned()], ip: vec![] };
    let issued = next.server.issue(&leaf, SystemClock.now(), DAY * 30).unwrap();
    let chain = vec![issued.certificate, next.server.certificate().clone()];
    Canary { name: DnsName::try_from(CANARY).unwrap(), chain, key: issued.key.to_der() }
}

/// A hub that shows the canary, and the generation that has signed it.
async fn hub() -> (Hub, Pki) {
    let (hub, next) = (Hub::start().await, next());
    let material = hub.pki.material(hub.clock.now());
    hub.put_in_force(Material { canary: Some(canary(&next, CANARY)), ..material });
    (hub, next)
}

/// Shakes hands under `name`, trusting what `pki` trusts of servers.
async fn shake(hub: &Hub, pki: &Pki, client: &Credential, name: &str) -> io::Result<()> {
    let config = client_config(vec![pki.server_root.certificate().clone()], client.identity()).unwrap();
    let served = hub.connections.counters().served();
    let stream = within(hub.tls_with(config, name)).await?;
    eventually("the handshake is over", || hub.connections.counters().served() > served).await;
    drop(stream);
    Ok(())
}

#[tokio::test]
async fn a_handshake_under_the_canary_proves_that_the_client_trusts_the_next_generation() {
    let (hub, next) = hub().await;
    let client = hub.good_client();
    shake(&hub, &next, &client, CANARY).await.unwrap();
    eventually("the proof is told", || hub.proofs.0.lock().len() == 1).await;
    let (holder, issuer) = hub.proofs.0.lock()[0].clone();
    assert_eq!(holder.as_str(), FEED);
    let expected = {
        let parsed = luytre::pki::identity::parse(next.server.certificate()).unwrap();
        luytre::pki::identity::IssuerDigest::of(parsed.subject().as_raw())
    };
    assert_eq!(issuer, expected);
    // The name is the same in upper case.
    shake(&hub, &next, &client, &CANARY.to_uppercase()).await.unwrap();
    eventually("the second proof is told", || hub.proofs.0.lock().len() == 2).await;
}

#[tokio::test]
async fn under_every_other_name_the_usual_certificate_is_shown_and_proves_nothing() {
    let (hub, _next) = hub().await;
    let client = hub.good_client();
    shake(&hub, &hub.pki, &client, NAME).await.unwrap();
    shake(&hub, &hub.pki, &client, "127.0.0.1").await.unwrap();
    assert_eq!(*hub.proofs.0.lock(), []);
}

#[tokio::test]
async fn a_client_that_does_not_trust_the_next_generation_proves_nothing() {
    let (hub, _next) = hub().await;
    let client = hub.good_client();
    let before = hub.connections.counters().refused(Refused::PeerAlert);
    shake(&hub, &hub.pki, &client, CANARY).await.unwrap_err();
    hub.eventually_refused(Refused::PeerAlert, before + 1).await;
    assert_eq!(*hub.proofs.0.lock(), []);
}

#[tokio::test]
async fn a_certificate_that_is_refused_proves_nothing() {
    let (hub, next) = hub().await;
    let stranger = super::support::self_signed_leaf();
    let config = client_config(vec![next.server_root.certificate().clone()], stranger.identity()).unwrap();
    let _stream = within(hub.tls_with(config, CANARY)).await;
    hub.eventually_refused(Refused::UnknownIssuer, 1).await;
    assert_eq!(*hub.proofs.0.lock(), []);
}

#[tokio::test]
async fn without_a_canary_its_name_gets_the_usual_certificate() {
    let hub = Hub::start().await;
    let client = hub.good_client();
    shake(&hub, &hub.pki, &client, CANARY).await.unwrap_err();
    assert_eq!(*hub.proofs.0.lock(), []);
}

#[test]
fn a_canary_must_be_for_its_name_and_have_its_own_key() {
    let (now, pki, next) = (SystemClock.now(), Pki::new(SystemClock.now()), next());
    let build = |canary| {
        let material = Material { canary: Some(canary), ..pki.material(now) };
        Snapshot::build(material, TRUST_DOMAIN, 1, &SystemClock::shared(), None)
    };
    assert!(matches!(build(canary(&next, NAME)), Err(Error::Canary { .. })));
    let other = canary(&next, CANARY).key;
    assert!(matches!(build(Canary { key: other, ..canary(&next, CANARY) }), Err(Error::KeyMismatch)));
    assert!(matches!(
        build(Canary { chain: vec![], ..canary(&next, CANARY) }),
        Err(Error::ServerCertificate { .. })
    ));
    assert!(build(canary(&next, CANARY)).is_ok());
}
