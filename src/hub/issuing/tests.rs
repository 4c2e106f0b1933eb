//! Decides nothing: how often certificates are signed, and by which clock.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicBool, Ordering};

use tempfile::TempDir;
use uuid::Uuid;

use super::*;
use crate::base::clock::{Clock, SystemClock};
use crate::hub::testing::roster;
use crate::hub::{Issuance, Options};
use crate::pki::ask::certificate_request;
use crate::pki::issue::{Authority, DAY};
use crate::pki::key::Key;
use crate::pki::signing::{Error as Unsigned, Held, ListOrder, Record, Signer};

/// Signs in memory.
#[derive(Debug)]
struct Hand(Authority);

impl Signer for Hand {
    fn authorities(&self) -> Result<Vec<Held>, Unsigned> {
        Ok(vec![Held { hierarchy: Hierarchy::Client, certificate: self.0.certificate().clone() }])
    }

    fn sign_leaf(&self, order: &LeafOrder) -> Result<CertificateDer<'static>, Unsigned> {
        self.0.sign_leaf(order).map_err(|error| Unsigned::Refused { problem: error.to_string() })
    }

    fn sign_list(
        &self,
        order: &ListOrder,
    ) -> Result<rustls::pki_types::CertificateRevocationListDer<'static>, Unsigned> {
        self.0.sign_list(order).map_err(|error| Unsigned::Refused { problem: error.to_string() })
    }

    fn journal(&self, _: u64) -> Result<Vec<Record>, Unsigned> {
        Ok(Vec::new())
    }
}

/// Believed or not.
#[derive(Debug, Default)]
struct Doubted(AtomicBool);

impl Clock for Doubted {
    fn now(&self) -> Timestamp {
        SystemClock.now()
    }

    fn is_doubted(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

async fn hub(machine: Arc<dyn Clock>) -> (TempDir, Arc<Hub>) {
    let dir = tempfile::tempdir().unwrap();
    let data_dir = dir.path().join("data");
    Hub::init(&data_dir, roster(&["a"]), "test.example", &SystemClock).unwrap();
    let now = SystemClock.now();
    let root = Authority::root(Hierarchy::Client, "Owner", now, DAY * 3_650).unwrap();
    let issuing = root.issuing(Hierarchy::Client, "Owner", 1, now, DAY * 700).unwrap();
    let first = Generation::from_der(1, issuing.certificate().clone()).unwrap();
    let issuance = Issuance {
        signer: Arc::new(Hand(issuing)),
        roots: [root.certificate().clone()].into(),
        canary: "canary.example".into(),
        lifetime: DAY * 30,
        soak: Duration::ZERO,
    };
    let options = Options { data_dir, machine, issuance: Some(issuance), ..Options::default() };
    let hub = Hub::open(options).unwrap();
    hub.begin_hierarchy(Hierarchy::Client, first).await.unwrap();
    (dir, hub)
}

/// From where it enrols.
const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Enrols a system that has no roles.
async fn enrol(hub: &Hub) -> Arc<Certificate> {
    let id = || Uuid::from_bytes(random::bytes());
    let holder = SpiffeId::parse("spiffe://test.example/org/a/system/new").unwrap();
    let made = hub.make_token(Operator::Machine, id(), holder.clone(), Duration::ZERO, String::new()).await;
    let (view, token) = made.unwrap();
    hub.approve_token(Operator::Machine, id(), view.id).await.unwrap();
    let request = certificate_request(&Key::for_leaf().unwrap(), Some(&holder)).unwrap();
    hub.enrol(HERE, &token.unwrap(), &request, || ()).await.unwrap().certificate
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn enrolments_take_nothing_from_the_renewals_of_the_same_holder() {
    let (_dir, hub) = hub(SystemClock::shared()).await;
    for _ in 0..=MAX_SIGNINGS {
        enrol(&hub).await;
    }
    hub.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_remembers_that_the_clock_was_doubted_when_it_was_issued() {
    let clock = Arc::<Doubted>::default();
    let (_dir, hub) = hub(Arc::clone(&clock) as _).await;
    assert!(!enrol(&hub).await.doubtful);
    clock.0.store(true, Ordering::SeqCst);
    let doubtful = enrol(&hub).await;
    clock.0.store(false, Ordering::SeqCst);
    assert!(doubtful.doubtful && !enrol(&hub).await.doubtful);
    assert!(hub.certificate(&doubtful.id).unwrap().certificate.doubtful, "in the ledger, too");
    hub.close().await;
}
