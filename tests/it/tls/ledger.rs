//! What the listener promises where a ledger of issued certificates is kept:
//! an allow-list that decides beside chain and revocation list.

use std::collections::HashMap;
use std::sync::Arc;

use luytre::base::clock::{SystemClock, Timestamp};
use luytre::pki::identity::CertificateId;
use luytre::pki::tls::{Ledger, LedgerVerdict};
use luytre::server::handshake::Refused;
use luytre::server::listener::Limits;
use parking_lot::Mutex;
use rustls::AlertDescription;

use super::log::captured;
use super::support::{Credential, FEED, Hub, check, client_leaf, eventually, reason, within};

/// Knows what it was told, and of nothing else.
#[derive(Debug, Default)]
struct Book(Mutex<HashMap<(CertificateId, [u8; 32]), LedgerVerdict>>);

impl Book {
    fn enter(&self, credential: &Credential, verdict: LedgerVerdict) {
        let read = credential.read();
        self.0.lock().insert((read.certificate_id(), read.fingerprint), verdict);
    }
}

impl Ledger for Book {
    fn judge(&self, id: &CertificateId, fingerprint: &[u8; 32], _: Timestamp) -> LedgerVerdict {
        self.0.lock().get(&(id.clone(), *fingerprint)).copied().unwrap_or(LedgerVerdict::Unknown)
    }
}

async fn hub() -> (Hub, Arc<Book>) {
    let book = Arc::new(Book::default());
    let ledger = Some(Arc::clone(&book) as _);
    (Hub::start_judged(Limits::default(), SystemClock::shared(), &[], ledger).await, book)
}

/// The hub's sweep after the ledger has changed.
fn sweep(hub: &Hub) -> usize {
    hub.connections.sweep(&hub.snapshot.load(), hub.clock.now())
}

#[tokio::test]
async fn a_leaf_that_is_not_in_the_ledger_is_refused_although_its_chain_is_good() {
    let (log, _capture) = captured();
    let (hub, book) = hub().await;
    // As one would who has stolen the authority's key: the same holder, and
    // even the same serial number as a good certificate.
    let (good, forged) = (hub.good_client(), hub.good_client());
    book.enter(&good, LedgerVerdict::Taken);
    let alert = hub.assert_refuses(&forged, Refused::NotIssued).await;
    assert_eq!(alert, AlertDescription::CertificateUnknown);
    assert!(log.text().contains("ERROR") && log.text().contains("may be stolen"), "{}", log.text());
    hub.assert_serves(&good).await;
}

#[tokio::test]
async fn an_authority_without_a_ledger_is_judged_by_chain_and_list_alone() {
    let (hub, book) = hub().await;
    let client = hub.good_client();
    book.enter(&client, LedgerVerdict::NotEmbedded);
    hub.assert_serves(&client).await;
}

#[tokio::test]
async fn what_the_ledger_says_is_refused_with_the_alert_that_says_so() {
    let (hub, book) = hub().await;
    let client = hub.good_client();
    for (verdict, refused, expected) in [
        (LedgerVerdict::Revoked, Refused::Revoked, AlertDescription::CertificateRevoked),
        (LedgerVerdict::Inactive, Refused::Inactive, AlertDescription::AccessDenied),
    ] {
        book.enter(&client, verdict);
        assert_eq!(hub.assert_refuses(&client, refused).await, expected, "{verdict:?}");
    }
    let superseded = hub.good_client();
    book.enter(&superseded, LedgerVerdict::Superseded);
    let alert = hub.alert_for(hub.pki.client_config(&superseded)).await;
    assert_eq!(alert, AlertDescription::CertificateRevoked);
    book.enter(&client, LedgerVerdict::Taken);
    hub.assert_serves(&client).await;
}

#[tokio::test]
async fn a_sweep_severs_what_the_ledger_has_turned_against_and_nothing_else() {
    for (verdict, expected) in [
        (LedgerVerdict::Revoked, "CERTIFICATE_REVOKED"),
        (LedgerVerdict::Superseded, "CERTIFICATE_SUPERSEDED"),
        (LedgerVerdict::Unknown, "CERTIFICATE_REVOKED"),
        (LedgerVerdict::Inactive, "ORGANISATION_INACTIVE"),
    ] {
        let (hub, book) = hub().await;
        let bad = hub.good_client();
        let good = client_leaf(&hub.pki.client, FEED, hub.clock.now());
        book.enter(&bad, LedgerVerdict::Taken);
        book.enter(&good, LedgerVerdict::Taken);
        let (mut bad_calls, mut good_calls) = (hub.client(&bad), hub.client(&good));
        let mut bad_stream = hub.watch(&mut bad_calls).await;
        let _good_stream = hub.watch(&mut good_calls).await;
        assert_eq!(sweep(&hub), 0);
        book.enter(&bad, verdict);
        assert_eq!(sweep(&hub), 1, "{verdict:?}");
        assert_eq!(reason(&within(bad_stream.message()).await.unwrap_err()), expected, "{verdict:?}");
        eventually("the bad one is gone", || hub.connections.live() == 1).await;
        check(&mut good_calls).await.unwrap();
        assert_eq!(sweep(&hub), 0);
    }
}
