//! What resumption would do to revocation, and that there is none: no ticket,
//! no stored session, no early data.

use std::io::Write as _;
use std::sync::Arc;

use luytre::base::clock::{Clock as _, SystemClock};
use luytre::pki::tls::{Material, Snapshot, client_config};
use rustls::client::{ClientSessionMemoryCache, Resumption};
use rustls::pki_types::ServerName;
use rustls::server::{ServerSessionMemoryCache, StoresServerSessions};
use rustls::{ClientConfig, ClientConnection, HandshakeKind, ServerConfig, ServerConnection};

use super::support::{Credential, FEED, NAME, Pki, TRUST_DOMAIN, client_leaf, crl};

fn build(material: Material) -> Snapshot {
    Snapshot::build(material, TRUST_DOMAIN, 1, &SystemClock::shared(), None).unwrap()
}

/// A client that keeps sessions and uses them, early data included.
fn resuming(pki: &Pki, credential: &Credential) -> Arc<ClientConfig> {
    let root = pki.server_root.certificate().clone();
    let mut config = client_config(vec![root], credential.identity()).unwrap().as_ref().clone();
    config.resumption = Resumption::store(Arc::new(ClientSessionMemoryCache::new(8)));
    config.enable_early_data = true;
    Arc::new(config)
}

/// What no hub has: sessions that are stored, tickets, and early data.
fn forgetful(snapshot: &Snapshot, sessions: Arc<dyn StoresServerSessions>) -> Arc<ServerConfig> {
    let mut config = snapshot.server().as_ref().clone();
    config.session_storage = sessions;
    config.send_tls13_tickets = 2;
    config.max_early_data_size = 1 << 14;
    Arc::new(config)
}

/// How a connection came about, on both sides.
struct Shaken {
    client: ClientConnection,
    server: ServerConnection,
}

/// Shakes hands in memory; the client sends `early` before the handshake if it
/// can.
fn shake(
    client: &Arc<ClientConfig>,
    server: &Arc<ServerConfig>,
    early: &[u8],
) -> Result<Shaken, rustls::Error> {
    let name = ServerName::try_from(NAME).unwrap();
    let mut client = ClientConnection::new(Arc::clone(client), name)?;
    let mut server = ServerConnection::new(Arc::clone(server))?;
    if let Some(mut data) = client.early_data() {
        data.write_all(early).unwrap();
    }
    // More flights than any handshake has, tickets included.
    for _ in 0..8 {
        let mut flight = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut flight).unwrap();
        }
        let mut unread = flight.as_slice();
        while !unread.is_empty() {
            server.read_tls(&mut unread).unwrap();
            server.process_new_packets()?;
        }
        let mut flight = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut flight).unwrap();
        }
        let mut unread = flight.as_slice();
        while !unread.is_empty() {
            client.read_tls(&mut unread).unwrap();
            client.process_new_packets()?;
        }
    }
    assert!(!client.is_handshaking() && !server.is_handshaking());
    Ok(Shaken { client, server })
}

/// A hierarchy, a client of it, and the snapshots before and after that client
/// is revoked.
fn revoked() -> (Pki, Credential, Snapshot, Snapshot) {
    let now = SystemClock.now();
    let pki = Pki::new(now);
    let client = client_leaf(&pki.client, FEED, now);
    let list = crl(&pki.client, None, &[&client.serial()], now);
    let (before, after) = (build(pki.material(now)), build(pki.material_with(&[(&pki.client, list)])));
    (pki, client, before, after)
}

#[test]
fn with_tickets_a_revoked_client_would_come_back_and_so_there_are_none() {
    let (pki, client, before, after) = revoked();
    let config = resuming(&pki, &client);
    // The trap: the sessions outlive the snapshot that made them.
    let sessions = ServerSessionMemoryCache::new(8);
    let first = shake(&config, &forgetful(&before, sessions.clone()), b"").unwrap();
    assert_eq!(first.server.handshake_kind(), Some(HandshakeKind::Full));
    let second = shake(&config, &forgetful(&after, sessions), b"").unwrap();
    assert_eq!(second.server.handshake_kind(), Some(HandshakeKind::Resumed), "the trap is as it was");

    // The hub: no ticket was given, and so the second handshake is a full one.
    let config = resuming(&pki, &client);
    let first = shake(&config, before.server(), b"").unwrap();
    assert_eq!(first.client.tls13_tickets_received(), 0);
    let refused = shake(&config, after.server(), b"").map(|_| ()).unwrap_err();
    assert_eq!(refused, rustls::Error::InvalidCertificate(rustls::CertificateError::Revoked));
}

#[test]
fn a_session_from_elsewhere_is_not_resumed_by_a_snapshot() {
    let (pki, client, before, after) = revoked();
    let config = resuming(&pki, &client);
    shake(&config, &forgetful(&before, ServerSessionMemoryCache::new(8)), b"").unwrap();
    let refused = shake(&config, after.server(), b"").map(|_| ()).unwrap_err();
    assert_eq!(refused, rustls::Error::InvalidCertificate(rustls::CertificateError::Revoked));
}

#[test]
fn snapshots_share_no_session_with_each_other() {
    let (_, _, before, after) = revoked();
    for snapshot in [&before, &after] {
        let config = snapshot.server();
        assert_eq!(
            (config.send_tls13_tickets, config.max_tls13_tickets, config.max_early_data_size),
            (0, 0, 0)
        );
        assert!(
            !config.send_half_rtt_data && !config.ticketer.enabled() && !config.session_storage.can_cache()
        );
        assert!(!config.session_storage.put(vec![1], vec![2]));
    }
    let (one, other) = (&before.server().session_storage, &after.server().session_storage);
    assert!(!Arc::ptr_eq(one, other), "a clone that was tweaked shares its sessions");
}

#[test]
fn early_data_is_refused_and_never_read() {
    let (pki, client, before, _) = revoked();
    let config = resuming(&pki, &client);
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let elsewhere = forgetful(&before, ServerSessionMemoryCache::new(8));
    shake(&config, &elsewhere, b"").unwrap();
    let mut taken = shake(&config, &elsewhere, preface).unwrap();
    assert!(taken.client.is_early_data_accepted(), "the trap is as it was");
    assert!(taken.server.early_data().is_some());

    let mut refused = shake(&config, before.server(), preface).unwrap();
    assert!(!refused.client.is_early_data_accepted());
    assert!(refused.server.early_data().is_none());
    assert_eq!(refused.server.handshake_kind(), Some(HandshakeKind::Full));
    assert_eq!(refused.server.process_new_packets().unwrap().plaintext_bytes_to_read(), 0);
}
