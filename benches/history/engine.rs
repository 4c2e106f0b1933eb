//! Decides how the hub's engine is asked in this process, without a connection:
//! for what it reads, and for what compares with a library.

use std::sync::Arc;
use std::time::{Duration, Instant};

use luytre::base::clock::Timestamp;
use luytre::hub::{Caller, Hub, Options, PeerCertificate};
use luytre::model::certificate::{CertificateId, IssuerDigest};
use luytre::model::indicator::Observable;
use luytre::model::principal::SpiffeId;
use luytre::model::query::Question;
use luytre::wire::convert;
use luytre::wire::proto::v1;
use tokio_util::sync::CancellationToken;

use super::ask::{PAGE, Times};
use super::filters::Ask;
use super::harness::hub::TRUST_DOMAIN;
use super::hubs;
use super::place::Place;
use super::roster;

/// A store, opened by the engine in this process, and the analyst.
pub struct Engine {
    hub: Arc<Hub>,
    caller: Caller,
}

impl Engine {
    /// On a store that no hub serves.
    pub async fn open(place: &Place) -> Self {
        let options = Options { data_dir: place.store(), ..Options::default() };
        let hub = tokio::task::spawn_blocking(move || Hub::open(options)).await.expect("no panic");
        let hub = hub.expect("the store opens");
        let caller = analyst(&hub);
        let engine = Self { hub, caller };
        // Until what answers without a read is in memory, everything is read.
        for number in 0..6_000_u64 {
            let absent = v1::observable::Value::Domain(format!("absent{number}.example"));
            if engine.reads(absent).await[0] == 0 {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        // Nor while it does beside that what it does after a start.
        hubs::settle(std::process::id(), Duration::from_secs(600)).await;
        engine
    }

    /// Values read from the store to look one up, and to look it up with what
    /// contains it.
    pub async fn reads(&self, value: v1::observable::Value) -> [u64; 2] {
        let value = observable(value);
        let before = self.hub.store_calls();
        self.hub.lookup(&self.caller, vec![value.clone()]).await.expect("an answer");
        let between = self.hub.store_calls();
        self.hub.lookup_wide(&self.caller, vec![value]).await.expect("an answer");
        [between.since(&before).values, self.hub.store_calls().since(&between).values]
    }

    /// The first page of each, encoded as it lies in the store.
    pub async fn pages(&self, asks: &[Ask]) -> Times {
        let mut times = Times::default();
        for ask in asks {
            let filter = convert::filter::read(Some(ask.filter())).expect("a filter");
            let question = Question::from(filter);
            let started = Instant::now();
            let (mut rows, mut token) = (0, String::new());
            loop {
                let page = self.hub.list(&self.caller, question.clone(), PAGE, &token).await.expect("a page");
                rows += page.indicators.len();
                token = page.next_page_token;
                if rows >= PAGE || token.is_empty() {
                    break;
                }
            }
            times.add(started.elapsed());
        }
        times
    }

    /// Closes the store.
    pub async fn close(self) {
        self.hub.close().await;
    }
}

fn observable(value: v1::observable::Value) -> Observable {
    let read = convert::observable::read(Some(v1::Observable { value: Some(value) }));
    read.expect("a value").observable
}

fn analyst(hub: &Hub) -> Caller {
    let identity = format!("spiffe://{TRUST_DOMAIN}/org/{}/{}", roster::ANALYST, roster::USER);
    let peer = PeerCertificate {
        identity: SpiffeId::parse(&identity).expect("an identity"),
        certificate: CertificateId { issuer: IssuerDigest::of(b"authority"), serial: "01".into() },
        fingerprint: [0; 32],
        not_before: Timestamp::EPOCH,
        key_exchange: "X25519MLKEM768",
        not_after: Timestamp::from_micros_clamped(u64::MAX),
        severed: CancellationToken::new(),
    };
    hub.authenticate(&peer).expect("the analyst is known")
}
