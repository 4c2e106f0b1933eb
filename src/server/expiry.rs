//! Decides when the log warns that a certificate or a revocation list comes to
//! its end: days before, and once for each of them.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::tls::Certificates;
use crate::base::clock::Timestamp;
use crate::pki::issue::DAY;
use crate::pki::tls::Snapshot;

/// Days before an end at which it is told; 0: it has come.
const DAYS: [u32; 5] = [30, 14, 7, 1, 0];

/// How often the ends are looked at.
const TICK: Duration = Duration::from_secs(60);

/// Something that ends.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Item {
    what: &'static str,
    name: String,
    not_before: Timestamp,
    not_after: Timestamp,
}

impl Item {
    /// The warning that is due: the smallest number of days that is reached.
    /// One that lies in the first half of the whole life is no warning.
    fn due(&self, now: Timestamp) -> Option<u32> {
        let (life, left) = (self.not_after.since(self.not_before), self.not_after.since(now));
        DAYS.into_iter().rev().find(|&days| left <= DAY * days && DAY * days * 2 <= life)
    }
}

/// Everything in `snapshot` that ends.
fn items(snapshot: &Snapshot) -> Vec<Item> {
    let own = snapshot.own();
    let mut items = vec![Item {
        what: "the hub's certificate",
        name: own.name.clone(),
        not_before: own.not_before,
        not_after: own.not_after,
    }];
    items.extend(snapshot.anchors().map(|anchor| Item {
        what: "a trusted authority",
        name: anchor.name.clone(),
        not_before: anchor.not_before,
        not_after: anchor.not_after,
    }));
    items.extend(snapshot.revocation_lists().map(|list| Item {
        what: "a revocation list",
        name: list.authority.clone(),
        not_before: list.this_update,
        not_after: list.next_update,
    }));
    items
}

/// What was told already.
#[derive(Debug, Default)]
struct Told(BTreeSet<(Item, u32)>);

impl Told {
    /// What is to be told now and was not before.
    fn news(&mut self, items: Vec<Item>, now: Timestamp) -> Vec<(Item, u32)> {
        let due: BTreeSet<_> =
            items.into_iter().filter_map(|item| item.due(now).map(|days| (item, days))).collect();
        let news = due.difference(&self.0).cloned().collect();
        // What is gone, or has come closer to its end, is not due again.
        self.0 = due;
        news
    }
}

/// Warns until `stopping`.
pub(super) async fn follow(certificates: Arc<Certificates>, stopping: CancellationToken) {
    let mut told = Told::default();
    while !stopping.is_cancelled() {
        let now = certificates.clock().now();
        for (Item { what, name, not_after, .. }, days) in told.news(items(&certificates.current()), now) {
            if days == 0 {
                tracing::error!(name, %not_after, "{what} has come to its end");
            } else {
                tracing::warn!(name, %not_after, "{what} ends within {days} days");
            }
        }
        stopping.run_until_cancelled(tokio::time::sleep(TICK)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(life: u32) -> Item {
        let not_after = Timestamp::EPOCH.saturating_add(DAY * life);
        Item { what: "a leaf", name: "CN=hub".to_owned(), not_before: Timestamp::EPOCH, not_after }
    }

    /// The warnings over the whole life of `item`, looked at every hour.
    fn warnings(item: &Item) -> Vec<u32> {
        let mut told = Told::default();
        let hours = item.not_after.since(Timestamp::EPOCH).as_secs() / 3_600 + 48;
        (0..hours)
            .flat_map(|hour| {
                let now = Timestamp::EPOCH.saturating_add(Duration::from_secs(hour * 3_600));
                told.news(vec![item.clone()], now).into_iter().map(|(_, days)| days)
            })
            .collect()
    }

    #[test]
    fn an_end_is_told_at_thirty_fourteen_seven_and_one_days_and_when_it_comes_once_each() {
        assert_eq!(warnings(&item(90)), [30, 14, 7, 1, 0]);
    }

    #[test]
    fn what_lives_briefly_is_not_warned_of_in_the_first_half_of_its_life() {
        assert_eq!(warnings(&item(30)), [14, 7, 1, 0]);
        assert_eq!(warnings(&item(7)), [1, 0]);
        assert_eq!(warnings(&item(1)), [0]);
    }

    #[test]
    fn a_renewed_certificate_is_warned_of_anew() {
        let (mut told, old, new) = (Told::default(), item(90), item(180));
        let near = Timestamp::EPOCH.saturating_add(DAY * 85);
        assert_eq!(told.news(vec![old.clone()], near), [(old.clone(), 7)]);
        assert_eq!(told.news(vec![old], near), []);
        assert_eq!(told.news(vec![new.clone()], near), []);
        let later = Timestamp::EPOCH.saturating_add(DAY * 175);
        assert_eq!(told.news(vec![new.clone()], later), [(new, 7)]);
    }
}
