//! Decides how a crowd is measured: many organisations' systems, each with a
//! filter of its own, that listen to one publisher.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use luytre::model::principal::Role;
use luytre::wire::proto::v1;
use tokio::sync::Barrier;
use uuid::Uuid;

use super::harness::TestHub;
use super::items::{Items, LABELS, amber, green, other, request};
use super::load::{publish, spread};
use super::rows::{Heard, OTHERS, Readings, WINDOW, end, feed, plan, subscribe_to, target};
use super::{Sizes, process, wire};

/// Systems of an organisation.
const SYSTEMS: usize = 10;
/// Items of a request.
const BATCH: usize = 64;
const KINDS: [v1::ObservableKind; 4] = [
    v1::ObservableKind::Domain,
    v1::ObservableKind::Ipv4,
    v1::ObservableKind::Sha256,
    v1::ObservableKind::Url,
];

/// P6: a thousand subscribers of a hundred organisations, no two of one
/// organisation with the same filter.
pub async fn crowd(items: &mut Items, sizes: &Sizes, out: &mut Readings) {
    let mut builder = TestHub::builder().principal("agency", "system/feed", &[Role::Publisher]);
    for number in 0..OTHERS * SYSTEMS {
        let system = format!("system/s{}", number % SYSTEMS);
        builder = builder.principal(&other(number / SYSTEMS), &system, &[Role::Subscriber]);
    }
    let hub =
        builder.config("[log]\nfilter = \"warn\"\n[limits]\nconnections_per_source = 4096").start().await;
    let drafts = drafts(items, sizes.crowd / BATCH);
    let mut listeners = Vec::new();
    for number in 0..OTHERS * SYSTEMS {
        let (org, system) = (number / SYSTEMS, number % SYSTEMS);
        let filter = filter(org, system);
        let expected = drafts.iter().flatten().filter(|draft| reaches(draft, org, &filter)).count();
        let channel = target(&hub, &other(org), &format!("system/s{system}")).connect().await.unwrap();
        let heard = subscribe_to(channel, v1::StartPosition::Latest, Some(filter)).await;
        listeners.push((heard, expected));
    }
    let requests: Vec<_> = drafts.into_iter().map(|drafts| request(Uuid::new_v4(), drafts)).collect();
    let published = requests.len() * BATCH;
    let deliveries: usize = listeners.iter().map(|(_, expected)| expected).sum();
    let loads = spread(&feed(&hub), 1, 1, requests).await;
    let before = process::cpu(hub.pid());
    let (done, elapsed) = tokio::join!(publish(plan(hub.pid(), WINDOW), loads), hear(listeners));
    let cpu = process::cpu(hub.pid()).saturating_sub(before).as_secs_f64();
    assert_eq!(done.lost, 0, "every item is taken");
    let considered = (published * OTHERS * SYSTEMS) as f64;
    out.insert("crowd.considered", considered / elapsed);
    out.insert("crowd.rate", deliveries as f64 / elapsed);
    out.insert("crowd.cpu", cpu / (considered / 1e6));
    out.insert("crowd.share", 100.0 * deliveries as f64 / considered);
    end(hub).await;
}

/// Requests under all markings, two in three of them for some of the crowd.
fn drafts(items: &mut Items, requests: usize) -> Vec<Vec<v1::IndicatorDraft>> {
    let marking = |number: usize, place: usize| match (number % 8, number % 3) {
        (7, _) if place.is_multiple_of(2) => amber(&[&other(place % OTHERS)]),
        (_, 0) => green(),
        (_, 1) => v1::Marking { tlp: v1::Tlp::Clear.into(), ..Default::default() },
        (_, _) => {
            let named: Vec<_> = (0..10).map(|step| other((number + step * 7) % OTHERS)).collect();
            amber(&named.iter().map(String::as_str).collect::<Vec<_>>())
        }
    };
    (0..requests).map(|number| items.marked(number, BATCH, &marking).1).collect()
}

/// What the `system`th system of an organisation wants to hear.
fn filter(org: usize, system: usize) -> v1::IndicatorFilter {
    let kinds: Vec<i32> = match system {
        0..4 => vec![KINDS[system].into()],
        4 | 5 => vec![KINDS[org % 4].into(), KINDS[(org + 1 + system % 2) % 4].into()],
        _ => Vec::new(),
    };
    let labels: BTreeSet<_> = match system {
        0 => Vec::new(),
        _ => {
            (0..=system % 4).map(|step| LABELS[(org + system * 5 + step) % LABELS.len()].to_owned()).collect()
        }
    }
    .into_iter()
    .collect();
    v1::IndicatorFilter { kinds, labels: labels.into_iter().collect(), ..Default::default() }
}

/// Whether an organisation's filter gets an item: decided once more, in the
/// plainest words, so that a wrong delivery does not pass for a fast one.
fn reaches(draft: &v1::IndicatorDraft, org: usize, filter: &v1::IndicatorFilter) -> bool {
    use v1::observable::Value;
    let kind = match draft.observable.as_ref().and_then(|observable| observable.value.as_ref()) {
        Some(Value::Domain(_)) => v1::ObservableKind::Domain,
        Some(Value::Ipv4(_)) => v1::ObservableKind::Ipv4,
        Some(Value::File(file)) if !file.sha256.is_empty() => v1::ObservableKind::Sha256,
        Some(Value::Url(_)) => v1::ObservableKind::Url,
        _ => v1::ObservableKind::Unspecified,
    };
    let marking = draft.marking.as_ref().expect("a marking");
    let named = format!("organisations/{}", other(org));
    (marking.tlp() != v1::Tlp::Amber || marking.organisations.contains(&named))
        && (filter.kinds.is_empty() || filter.kinds.contains(&kind.into()))
        && (filter.labels.is_empty() || draft.labels.iter().any(|label| filter.labels.contains(label)))
}

/// Seconds until everyone has heard what is his.
async fn hear(listeners: Vec<(Heard, usize)>) -> f64 {
    let ready = Arc::new(Barrier::new(listeners.len() + 1));
    let tasks: Vec<_> = listeners
        .into_iter()
        .map(|((mut answers, keep), expected)| {
            let ready = Arc::clone(&ready);
            tokio::spawn(async move {
                let _keep = keep;
                ready.wait().await;
                let mut got = 0;
                while got < expected {
                    got += wire::events(&answers.message().await.unwrap().expect("the stream goes on"));
                }
                assert_eq!(got, expected, "nobody hears what is not for him");
            })
        })
        .collect();
    ready.wait().await;
    let started = Instant::now();
    for task in tasks {
        task.await.unwrap();
    }
    started.elapsed().as_secs_f64()
}
