//! A unit that changes its mind without pause: it publishes, marks anew, takes
//! back and brings back, through crashes of the hub.

use std::time::{SystemTime, UNIX_EPOCH};

use luytre::wire::proto::v1;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status};
use uuid::Uuid;
use v1::publish_result::Outcome;

use crate::harness::{Peer, Seed, amber, batch, draft};

/// Values that all units speak of.
const VALUES: u64 = 60;

/// A publisher.
pub(super) struct Unit {
    peer: Peer,
    seed: Seed,
    /// What it does, counted.
    pub(super) done: u64,
}

impl Unit {
    pub(super) fn new(peer: Peer, seed: Seed) -> Self {
        Self { peer, seed, done: 0 }
    }

    /// Goes on until it is told to stop; what it has begun it does.
    pub(super) async fn work_until(mut self, stop: CancellationToken) -> Self {
        while !stop.is_cancelled() {
            let name = self.publish().await;
            if self.seed.one_in(4)
                && let Some(name) = name
            {
                self.revoke(name).await;
            }
            self.done += 1;
        }
        self
    }

    fn value(&mut self) -> String {
        let number = self.seed.between(0, VALUES);
        match number % 4 {
            0 => format!("198.51.100.{number}"),
            1 => format!("http://h{number}.sync.example/x"),
            _ => format!("d{number}.sync.example"),
        }
    }

    /// Publishes something of some value; the name that it has.
    async fn publish(&mut self) -> Option<String> {
        let value = self.value();
        let mut draft = draft(&value);
        match self.seed.between(0, 8) {
            0 => draft.recommended_action = v1::RecommendedAction::Monitor.into(),
            1 => draft.role = v1::IndicatorRole::Victim.into(),
            _ => draft.recommended_action = v1::RecommendedAction::Block.into(),
        }
        if self.seed.one_in(5) {
            // Not for who syncs any more.
            draft = amber(draft, &["elsewhere"]);
        }
        if self.seed.one_in(8) {
            let caveats = v1::Caveats { watch_do_not_block: true, ..Default::default() };
            draft.marking.as_mut().unwrap().caveats = Some(caveats);
        }
        if self.seed.one_in(10) {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64;
            draft.valid_until = Some(prost_types::Timestamp { seconds: now + 2, nanos: 0 });
        }
        draft.description = format!("{}", self.seed.next());
        draft.reinstate = Some(v1::Reinstatement { reason: "it is back".to_owned() });
        let request = batch(Uuid::new_v4(), vec![draft]);
        let answer = loop {
            match self.peer.exchange().publish_indicators(request.clone()).await {
                Ok(answer) => break answer.into_inner(),
                Err(status) => self.pause(&status).await,
            }
        };
        match answer.results.into_iter().next().unwrap().outcome.unwrap() {
            Outcome::Published(published) => Some(published.name),
            Outcome::Rejected(status) => panic!("{status:?}"),
        }
    }

    async fn revoke(&mut self, name: String) {
        let revocation =
            v1::Revocation { reason: v1::RevocationReason::FalsePositive.into(), ..Default::default() };
        let request = v1::RevokeIndicatorRequest {
            request_id: Uuid::new_v4().to_string(),
            name,
            revocation: Some(revocation),
            ..Default::default()
        };
        loop {
            match self.peer.exchange().revoke_indicator(request.clone()).await {
                Ok(_) => return,
                // It may have run out meanwhile.
                Err(status) if status.code() == Code::FailedPrecondition => return,
                Err(status) => self.pause(&status).await,
            }
        }
    }

    /// Waits a little for a hub that is away.
    async fn pause(&mut self, status: &Status) {
        let away = std::error::Error::source(status).is_some() || status.code() == Code::Unavailable;
        assert!(away, "{status:?}");
        tokio::time::sleep(self.seed.millis(5, 40)).await;
    }
}
