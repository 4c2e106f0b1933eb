//! Looking up what is absent or hidden asks nothing of the store.

use luytre::model::indicator::{Draft, normalise};
use luytre::model::marking::{Caveats, Marking, Recipients, Tlp};
use luytre::model::org::OrgSlug;
use uuid::Uuid;

use super::support::{Engine, slug};

const OWNER: usize = 0;
const FRIEND: usize = 1;
const STRANGER: usize = 2;

fn amber(orgs: &[usize]) -> Marking {
    let organisations: std::collections::BTreeSet<OrgSlug> = orgs.iter().map(|&org| slug(org)).collect();
    let recipients =
        Recipients { organisations: organisations.into_iter().collect(), ..Recipients::default() };
    Marking { tlp: Tlp::Amber, recipients, caveats: Caveats::NONE }
}

async fn publish(hub: &Engine, value: &str, marking: Marking) {
    let draft = Draft::new(normalise::detect(value).unwrap().observable, marking);
    let results = hub.hub.publish(&hub.caller(OWNER), Uuid::new_v4(), vec![Ok(draft)]).await.unwrap();
    results.into_iter().next().unwrap().unwrap();
}

/// How much is found of `value`, and how many values were read for it.
async fn looked_up(hub: &Engine, who: usize, value: &str, wide: bool) -> (usize, u64) {
    let value = normalise::detect(value).unwrap().observable;
    let before = hub.hub.store_calls();
    let found = if wide {
        let found = hub.hub.lookup_wide(&hub.caller(who), vec![value]).await.unwrap().remove(0);
        found.exact.len() + found.wider.len()
    } else {
        hub.hub.lookup(&hub.caller(who), vec![value]).await.unwrap().remove(0).len()
    };
    (found, hub.hub.store_calls().since(&before).values)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_hidden_and_what_is_absent_is_looked_up_without_a_read() {
    let mut hub = Engine::new();
    publish(&hub, "hidden.example", amber(&[FRIEND])).await;
    publish(&hub, "198.51.100.0/24", amber(&[FRIEND])).await;
    for restarted in [false, true] {
        for (value, wide) in [("hidden.example", false), ("sub.hidden.example", true), ("198.51.100.7", true)]
        {
            assert_eq!(looked_up(&hub, FRIEND, value, wide).await, (1, 1), "{value}, restarted {restarted}");
            assert_eq!(looked_up(&hub, STRANGER, value, wide).await, (0, 0), "{value} is hidden");
        }
        for wide in [false, true] {
            assert_eq!(looked_up(&hub, OWNER, "absent.example", wide).await, (0, 0), "absent");
        }
        hub = hub.reopen(|_| ()).await;
    }
    hub.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_changes_its_audience_is_found_by_those_of_the_new_one_alone() {
    let hub = Engine::new();
    publish(&hub, "turns.example", amber(&[FRIEND])).await;
    publish(&hub, "turns.example", amber(&[STRANGER])).await;
    assert_eq!(looked_up(&hub, STRANGER, "turns.example", false).await, (1, 1));
    // Once he saw it: that he looks there is no secret.
    assert_eq!(looked_up(&hub, FRIEND, "turns.example", false).await, (0, 1));
    let hub = hub.reopen(|_| ()).await;
    assert_eq!(looked_up(&hub, FRIEND, "turns.example", false).await, (0, 0));
    hub.close().await;
}
