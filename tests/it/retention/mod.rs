//! Keeping less of the past, as the real hub does it in a process of its own:
//! whoever is killed meanwhile, and whoever was away.

mod clients;
mod killed;

use luytre::base::clock::{Clock as _, SystemClock};
use luytre::model::principal::Role;
use luytre::store::truncate::{Base, Truncated};
use luytre::store::{Store, Tuning};
use luytre::wire::proto::v1;
use luytre::wire::proto::v1::history_service_client::HistoryServiceClient;
use time::Date;
use uuid::Uuid;
use v1::publish_result::Outcome;

use crate::harness::{Builder, Peer, TestHub, batch, draft, eventually};

/// What is kept: a day, and what has ended for a day. What is planned waits for
/// a day.
const POLICY: &str = "[limits]\nheartbeat = \"1s\"\n[retention]\nhistory = \"24h\"\ngrace = \"24h\"\n\
                      [[retention.rules]]\nkeep = \"24h\"\n";

/// Days that are as far from the first as a test says.
#[derive(Debug, Clone, Copy)]
struct Days(Date);

impl Days {
    fn from_today() -> Self {
        Self(SystemClock.now().day())
    }

    fn after(self, days: i64) -> Date {
        self.0 + time::Duration::days(days)
    }
}

fn builder() -> Builder {
    TestHub::builder()
        .principal("a", "system/feed", &[Role::Publisher])
        .principal("b", "system/fw", &[Role::Publisher, Role::Subscriber, Role::Analyst])
        .principal("c", "system/fw", &[Role::Subscriber, Role::Analyst])
        .config(POLICY)
}

/// A value of the metrics page.
async fn metric(hub: &TestHub, name: &str) -> u64 {
    let (status, page) = hub.get("/metrics").await;
    assert_eq!(status, 200, "{page}");
    let value = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.unwrap_or_else(|| panic!("{name}: {page}")).parse().unwrap()
}

/// Where keeping less has got to, by the files of a hub that does not run.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stage {
    base: Base,
    mark: Truncated,
    owed: usize,
    compacted: (u64, u64),
    /// Whether the log says of what is left what is left.
    declared: bool,
}

impl Stage {
    fn of(hub: &TestHub) -> Self {
        let store = Store::open_read_only(&hub.data_dir(), &Tuning::default()).unwrap();
        let mark = store.truncated().unwrap();
        let (freed, next) = store.compacted().unwrap();
        Self {
            base: store.base().unwrap(),
            mark,
            owed: store.owed_drops().unwrap().len(),
            compacted: (freed, next.raw()),
            declared: store.base_state().unwrap() == Some((mark.upto, mark.digest)),
        }
    }

    /// Whether nothing is left to be done since `before`, and `dropped` records
    /// are gone in all.
    fn is_settled(&self, before: &Base, dropped: u64) -> bool {
        let Self { base, mark, owed, compacted, declared } = self;
        base.position > before.position
            && (mark.upto, mark.dropped) == (base.position, dropped)
            && (*owed, *compacted, *declared) == (0, (mark.freed, 0), true)
    }
}

/// Goes to `date`, and waits until it is planned to cut off what is older.
async fn plan(hub: &mut TestHub, date: Date) {
    let planned = || hub.log().matches("it is planned to cut off history").count();
    let before = planned();
    hub.dated(date);
    hub.serve().await;
    let planned = || hub.log().matches("it is planned to cut off history").count();
    eventually("it is planned", async || (planned() > before).then_some(())).await;
}

/// Publishes all of it; the name and the version of each.
async fn publish(peer: &Peer, drafts: Vec<v1::IndicatorDraft>) -> Vec<(String, u64)> {
    let answer = peer.exchange().publish_indicators(batch(Uuid::new_v4(), drafts)).await.unwrap();
    let published = |result: v1::PublishResult| match result.outcome.unwrap() {
        Outcome::Published(published) => (published.name, published.version),
        Outcome::Rejected(status) => panic!("{status:?}"),
    };
    answer.into_inner().results.into_iter().map(published).collect()
}

async fn revoke(peer: &Peer, name: &str) {
    let revocation =
        v1::Revocation { reason: v1::RevocationReason::FalsePositive.into(), ..Default::default() };
    let request = v1::RevokeIndicatorRequest {
        request_id: Uuid::new_v4().to_string(),
        name: name.to_owned(),
        revocation: Some(revocation),
        ..Default::default()
    };
    peer.exchange().revoke_indicator(request).await.unwrap();
}

/// The versions of an indicator that are told, newest first.
async fn versions(peer: &Peer, name: &str) -> Vec<u64> {
    let mut client = HistoryServiceClient::new(peer.channel()).max_decoding_message_size(64 << 20);
    let request = v1::ListIndicatorVersionsRequest { name: name.to_owned(), ..Default::default() };
    let page = client.list_indicator_versions(request).await.unwrap().into_inner();
    page.versions.into_iter().map(|version| version.indicator.unwrap().version).collect()
}

/// What `note` says of a value: long, and not to be compressed.
fn noisy(value: &str, note: u64) -> v1::IndicatorDraft {
    let part = |part: u64| {
        let seed = [value.as_bytes(), &note.to_be_bytes(), &part.to_be_bytes()].concat();
        luytre::base::digest::hex(&luytre::base::digest::sha256(&seed))
    };
    let description = (0..40).map(part).collect();
    v1::IndicatorDraft {
        description,
        recommended_action: v1::RecommendedAction::Block.into(),
        ..draft(value)
    }
}
