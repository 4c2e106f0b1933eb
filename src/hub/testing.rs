//! A hub for tests of what only its own modules can reach.

use std::sync::{Arc, mpsc};

use futures_util::FutureExt as _;
use parking_lot::Mutex;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::base::clock::{SystemClock, Timestamp};
use crate::model::org::{OrgSlug, Organisation};
use crate::model::principal::{Roles, SpiffeId};
use crate::model::roster::{Grant, Roster};
use crate::pki::identity::{CertificateId, IssuerDigest};

use super::caller::Caller;
use super::engine::Hub;
use super::shared::Shared;
use super::{Options, PeerCertificate};

/// Who calls, of organisation `a`; it has every role.
const IDENTITY: &str = "spiffe://test.example/org/a/system/feed";

/// A roster of these organisations.
pub(super) fn roster(slugs: &[&str]) -> Roster {
    let slugs = slugs.iter().map(|slug| OrgSlug::parse(slug).unwrap());
    let grant = Grant { roles: Roles::from_bits(0xff), from: None, to: None };
    Roster {
        organisations: slugs.map(|slug| (slug.clone(), Organisation::plain(slug))).collect(),
        principals: [(SpiffeId::parse(IDENTITY).unwrap(), grant)].into(),
        ..Roster::default()
    }
}

/// A new hub of these organisations, and a caller of `a`.
pub(super) fn hub(slugs: &[&str]) -> (TempDir, Arc<Hub>, Caller) {
    hub_with(slugs, Options::default())
}

/// The same with other options.
pub(super) fn hub_with(slugs: &[&str], options: Options) -> (TempDir, Arc<Hub>, Caller) {
    let dir = tempfile::tempdir().unwrap();
    let data_dir = dir.path().join("data");
    Hub::init(&data_dir, roster(slugs), "test.example", &SystemClock).unwrap();
    let hub = Hub::open(Options { data_dir, ..options }).unwrap();
    let caller = caller(&hub, IDENTITY);
    (dir, hub, caller)
}

/// Whoever has this identity, of an organisation of the hub.
pub(super) fn caller(hub: &Hub, identity: &str) -> Caller {
    let peer = PeerCertificate {
        identity: SpiffeId::parse(identity).unwrap(),
        certificate: CertificateId { issuer: IssuerDigest::of(b"authority"), serial: "2a".into() },
        fingerprint: [0; 32],
        not_before: Timestamp::EPOCH,
        key_exchange: "X25519MLKEM768",
        not_after: Timestamp::from_micros(4_000_000_000_000_000).unwrap(),
        severed: CancellationToken::new(),
    };
    hub.authenticate(&peer).unwrap()
}

/// Takes every place for questions that a caller's organisation has, until what it
/// answers is dropped.
pub(super) fn occupy(shared: &Arc<Shared>, caller: &Caller) -> mpsc::Sender<()> {
    let (held, holds) = mpsc::channel();
    let holds = Arc::new(Mutex::new(holds));
    loop {
        let holds = Arc::clone(&holds);
        let question = shared.question(caller, move |_| {
            let _ = holds.lock().recv();
            Ok(())
        });
        match question.now_or_never() {
            None => {}
            Some(Err(_)) => return held,
            Some(Ok(())) => panic!("it is held"),
        }
    }
}

/// Waits until nothing holds the store open any more.
pub(super) async fn wait_until_gone(hub: Arc<Hub>) {
    let shared = Arc::downgrade(&hub.shared);
    drop(hub);
    while shared.strong_count() > 0 {
        tokio::task::yield_now().await;
    }
}
