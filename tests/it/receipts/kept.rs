//! What is on record of deliveries.

use std::collections::BTreeSet;

use luytre::model::principal::Role;
use luytre::wire::proto::v1;
use uuid::Uuid;
use v1::subscribe_response::Message as Heed;

use super::{Delivery, on_record, witness};
use crate::harness::told::events;
use crate::harness::witness::from_the_beginning;
use crate::harness::{Builder, Seed, TestHub, Watcher, Witness, amber, batch, draft};

/// Who listens: organisation, name, subscription if it has one.
const LISTENERS: [(&str, &str, &str); 5] = [
    ("b", "system/fw", "fw"),
    ("b", "system/siem", ""),
    ("c", "system/fw", "fw"),
    ("c", "user/an", ""),
    ("d", "system/fw", "fw"),
];

fn builder() -> Builder {
    let builder = TestHub::builder().principal("a", "system/feed", &[Role::Publisher]);
    LISTENERS
        .iter()
        .fold(builder, |builder, (org, name, _)| builder.principal(org, name, &[Role::Subscriber]))
}

/// A stream, and all that it heard.
struct Listening {
    who: Witness,
    open: v1::Open,
    stream: Watcher,
    heard: BTreeSet<Delivery>,
}

impl Listening {
    async fn begin(who: Witness, open: v1::Open) -> Self {
        let stream = who.watch(open.clone()).await.unwrap();
        Self { who, open, stream, heard: BTreeSet::new() }
    }

    /// Opens the stream anew: where it stood, if it has a name.
    async fn again(&mut self) {
        let named = !self.open.subscription.is_empty();
        let start = self.open.start.clone().filter(|_| !named);
        self.stream = self.who.watch(v1::Open { start, ..self.open.clone() }).await.unwrap();
    }

    /// Hears everything up to the event of this indicator.
    async fn up_to(&mut self, name: &str) {
        let mut over = false;
        while !over {
            let heard = match self.stream.next().await.unwrap() {
                Heed::Batch(batch) => events(batch),
                Heed::Recalls(v1::RecallBatch { events: told, kinds }) => {
                    events(v1::EventBatch { events: told, kinds, ..Default::default() })
                }
                _ => continue,
            };
            for event in heard {
                over |= event.indicator.as_ref().is_some_and(|indicator| indicator.name == name);
                self.heard.insert((self.who.identity().to_owned(), event.event_id.to_vec(), event.kind));
            }
        }
    }
}

/// What a listener asks for.
fn open(seed: &mut Seed, organisation: &str, subscription: &str) -> v1::Open {
    let mut filter = v1::IndicatorFilter::default();
    match seed.between(0, 3) {
        0 => filter.labels = vec!["even".to_owned(), "last".to_owned()],
        1 => filter.kinds = vec![v1::ObservableKind::Domain.into()],
        _ => {}
    }
    let subscription = match subscription {
        "" => String::new(),
        name => format!("organisations/{organisation}/subscriptions/{name}"),
    };
    let include_sightings = seed.one_in(2);
    v1::Open { filter: Some(filter), subscription, include_sightings, ..from_the_beginning() }
}

/// Publishes this and that, changes some of it and takes some of it back; and
/// last something that everybody gets.
async fn publish(feed: &Witness, seed: &mut Seed, round: u64) -> String {
    let mut names: Vec<(String, v1::IndicatorDraft)> = Vec::new();
    for number in 0..seed.between(4, 9) {
        let drafts: Vec<_> = (0..seed.between(1, 40)).map(|at| some(seed, round, number, at)).collect();
        let published = feed.send(&batch(Uuid::new_v4(), drafts.clone())).await;
        names.extend(published.into_iter().map(|one| one.unwrap().name).zip(drafts));
        let (name, before) = names[seed.between(0, names.len() as u64) as usize].clone();
        match seed.between(0, 3) {
            0 => {
                let revocation = Some(v1::Revocation { reason: 1, ..Default::default() });
                let request_id = Uuid::new_v4().to_string();
                let request =
                    v1::RevokeIndicatorRequest { request_id, name, revocation, ..Default::default() };
                // It may be revoked already.
                let _ = feed
                    .call::<v1::RevokeIndicatorResponse>("ExchangeService/RevokeIndicator", &request)
                    .await;
            }
            1 => {
                let marking = amber(draft(""), &["c"]).marking;
                feed.send(&batch(Uuid::new_v4(), vec![v1::IndicatorDraft { marking, ..before }])).await;
            }
            _ => {
                let sighting = v1::Sighting { indicator: name, outcome: 1, ..Default::default() };
                let _ = feed.sight(sighting).await;
            }
        }
    }
    let labels = vec!["last".to_owned()];
    feed.publish(v1::IndicatorDraft { labels, ..draft(&format!("last-{round}.example")) }).await
}

fn some(seed: &mut Seed, round: u64, number: u64, at: u64) -> v1::IndicatorDraft {
    let address = seed.one_in(3);
    let mut draft = draft(&if address {
        format!("198.{}.{number}.{at}", 18 + round)
    } else {
        format!("i{at}.n{number}.r{round}.example")
    });
    draft.labels = vec![if seed.one_in(2) { "even" } else { "odd" }.to_owned()];
    match seed.between(0, 4) {
        0 => amber(draft, &["b"]),
        1 => amber(draft, &["b", "d"]),
        2 => {
            let principals = vec!["spiffe://test.luytre.example/org/c/user/an".to_owned()];
            let marking = v1::Marking { tlp: v1::Tlp::Red.into(), principals, ..Default::default() };
            v1::IndicatorDraft { marking: Some(marking), ..draft }
        }
        _ => draft,
    }
}

async fn listen(hub: &TestHub, seed: &mut Seed) -> Vec<Listening> {
    let mut all = Vec::new();
    for (org, name, subscription) in LISTENERS {
        all.push(Listening::begin(witness(hub, org, name), open(seed, org, subscription)).await);
    }
    all
}

fn heard(all: &[Listening]) -> BTreeSet<Delivery> {
    all.iter().flat_map(|one| one.heard.iter().cloned()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn exactly_what_was_delivered_is_on_record_over_restarts_and_displaced_streams() {
    let mut seed = Seed::of_this_run("receipts, exactly");
    let mut hub = builder().start().await;
    let feed = witness(&hub, "a", "system/feed");
    let mut all = listen(&hub, &mut seed).await;
    for round in 0..4 {
        let last = publish(&feed, &mut seed, round).await;
        for one in &mut all {
            one.up_to(&last).await;
            if seed.one_in(2) && !one.open.subscription.is_empty() {
                one.stream.acknowledge().await;
            }
        }
        // Some are displaced by themselves, and hear some of it again.
        for one in &mut all {
            if seed.one_in(3) {
                one.again().await;
            }
        }
        if round % 2 == 1 {
            hub.restart().await;
            for one in &mut all {
                one.again().await;
            }
        }
    }
    let last = publish(&feed, &mut seed, 4).await;
    for one in &mut all {
        one.up_to(&last).await;
    }
    let heard = heard(&all);
    drop(all);
    assert!(hub.terminate().await.success());
    assert!(heard.len() > 500, "{} deliveries", heard.len());
    let kept = on_record(&hub);
    assert_eq!(heard.difference(&kept).count(), 0, "all that was heard is on record");
    assert_eq!(kept.difference(&heard).count(), 0, "and nothing else");
    hub.verify();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hub_that_is_killed_makes_up_no_delivery_and_keeps_those_that_were_acknowledged() {
    let mut seed = Seed::of_this_run("receipts, killed");
    let mut hub = builder().start().await;
    let feed = witness(&hub, "a", "system/feed");
    let mut all = listen(&hub, &mut seed).await;
    let mut acknowledged = BTreeSet::new();
    for round in 0..4 {
        let last = publish(&feed, &mut seed, round).await;
        for one in &mut all {
            one.up_to(&last).await;
        }
        for one in &mut all {
            if !one.open.subscription.is_empty() {
                one.stream.acknowledge().await;
                acknowledged.extend(one.heard.iter().cloned());
            }
        }
        hub.kill9();
        let (kept, heard) = (on_record(&hub), heard(&all));
        assert_eq!(kept.difference(&heard).count(), 0, "nothing is made up");
        assert_eq!(acknowledged.difference(&kept).count(), 0, "what was acknowledged is on record");
        hub.serve().await;
        for one in &mut all {
            one.again().await;
        }
    }
    assert!(acknowledged.len() > 200, "{} acknowledged", acknowledged.len());
}
