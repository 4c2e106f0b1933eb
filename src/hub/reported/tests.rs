//! Sightings lie with their indicators: one look finds them, nobody pushes
//! another out, and a store of the format before tells the same.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tempfile::TempDir;
use uuid::Uuid;

use super::*;
use crate::base::files;
use crate::hub::{Caller, Found, Hub, Options, testing, verify};
use crate::model::aggregate::{Counting, Dimension};
use crate::model::dossier::Met;
use crate::model::indicator::{Draft, normalise};
use crate::model::marking::{Marking, Tlp};
use crate::model::org::OrgSlug;
use crate::model::query::IndicatorFilter;
use crate::model::sighting::{Outcome, SightingDraft};
use crate::store::Calls;
use crate::store::upgrade::tests::{cut_off, held, make_format_before, tamper};
use crate::wire::convert::dossier as read;
use crate::wire::facts;

const SLUGS: [&str; 5] = ["a", "b", "c", "d", "e"];
const OWNER: usize = 0;
const VIEWER: usize = 4;

struct World {
    dir: TempDir,
    hub: Arc<Hub>,
}

impl World {
    fn new() -> Self {
        let (dir, hub, _) = testing::hub(&SLUGS);
        Self { dir, hub }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    /// Closes the hub, lets `meanwhile` work on its directory, opens it again.
    async fn reopen(self, meanwhile: impl FnOnce(&Path)) -> Self {
        let path = self.path();
        let Self { dir, hub } = self;
        hub.close().await;
        testing::wait_until_gone(hub).await;
        meanwhile(&path);
        let hub = Hub::open(Options { data_dir: path, ..Options::default() }).unwrap();
        Self { dir, hub }
    }

    fn caller(&self, org: usize) -> Caller {
        testing::caller(&self.hub, &format!("spiffe://test.example/org/{}/system/feed", SLUGS[org]))
    }

    async fn publish(&self, value: &str) -> Uuid {
        let value = normalise::detect(value).unwrap().observable;
        let drafts = vec![Ok(Draft::new(value, Marking::open(Tlp::Green)))];
        let mut done = self.hub.publish(&self.caller(OWNER), Uuid::new_v4(), drafts).await.unwrap();
        done.remove(0).unwrap().id
    }

    /// Sightings for all to see, or for their reporter and the owner alone.
    async fn report(&self, org: usize, indicator: Uuid, count: usize, seen: bool) {
        let sighting = SightingDraft {
            indicator,
            outcome: Outcome::SeenBlocked,
            count: 1,
            first_seen: None,
            last_seen: None,
            note: String::new(),
            marking: seen.then(|| Marking::open(Tlp::Green)),
        };
        let sightings = vec![Ok(sighting); count];
        let done = self.hub.report_sightings(&self.caller(org), Uuid::new_v4(), sightings).await.unwrap();
        assert!(done.iter().all(Result::is_ok));
    }

    async fn get(&self, org: usize, id: Uuid) -> Found {
        self.hub.get(&self.caller(org), id).await.unwrap()
    }

    /// What an organisation is told of the sightings of an indicator.
    async fn told(&self, org: usize, id: Uuid) -> Vec<Met> {
        self.get(org, id).await.sightings.iter().map(|sighting| read::met(sighting).unwrap()).collect()
    }

    /// Reporters of these, with how many each has.
    async fn reporters(&self, org: usize, id: Uuid) -> Vec<(String, usize)> {
        let mut by = BTreeMap::new();
        for met in self.told(org, id).await {
            *by.entry(met.reporter.unwrap().as_str().to_owned()).or_default() += 1;
        }
        by.into_iter().collect()
    }

    fn sightings(&self, id: Uuid) -> Sightings<'_> {
        let handle = self.hub.shared.sealer.handle(id).unwrap();
        self.hub.shared.store.sightings(handle, Position::from_raw(u64::MAX)).unwrap()
    }
}

/// A copy of a directory of files, in one that is removed.
fn copied(from: &Path) -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let copy = dir.path().join("copy");
    files::create_private_dir(&copy).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        std::fs::copy(entry.path(), copy.join(entry.file_name())).unwrap();
    }
    (dir, copy)
}

fn named(all: &[(&str, usize)]) -> Vec<(String, usize)> {
    all.iter().map(|(slug, count)| ((*slug).to_owned(), *count)).collect()
}

#[tokio::test]
async fn an_indicator_and_all_its_sightings_are_got_with_one_look_at_each() {
    let world = World::new();
    let id = world.publish("evil.example").await;
    for org in 1..4 {
        world.report(org, id, 40, true).await;
    }
    let cost = async || {
        let before = world.hub.store_calls();
        world.get(VIEWER, id).await;
        // What the hub writes by itself is nobody's doing.
        Calls { commits: 0, written: 0, ..world.hub.store_calls().since(&before) }
    };
    assert_eq!(cost().await, Calls { latest: 1, chunks: 1, sightings: 1, ..Calls::default() });
    // What is hidden costs no look more, and takes no place.
    let (told, seen) = (world.told(VIEWER, id).await, cost().await);
    assert_eq!(told.len(), MAX_TOLD);
    for org in [1, 2, 3, OWNER] {
        world.report(org, id, 300, false).await;
    }
    assert_eq!((world.told(VIEWER, id).await, cost().await), (told, seen));
    world.hub.close().await;
}

#[tokio::test]
async fn who_reports_often_pushes_nobody_out_of_an_indicator() {
    let world = World::new();
    let id = world.publish("evil.example").await;
    world.report(1, id, 2, true).await;
    world.report(2, id, 150, true).await;
    assert_eq!(world.reporters(VIEWER, id).await, named(&[("b", 2), ("c", 98)]));
    world.report(3, id, 150, true).await;
    assert_eq!(world.reporters(VIEWER, id).await, named(&[("b", 2), ("c", 49), ("d", 49)]));
    let told = world.told(VIEWER, id).await;
    assert!(told.is_sorted_by_key(|met| Reverse(met.recorded)), "the newest first");
    // Of each the newest.
    let mut sightings = world.sightings(id);
    let newest = sightings.peek().unwrap().unwrap();
    let body = inner(&Bytes::copy_from_slice(newest.body), newest.position).unwrap();
    assert_eq!(told[0], read::met(&body).unwrap());
    drop(sightings);
    world.hub.close().await;
}

#[tokio::test]
async fn a_walk_goes_no_further_than_its_bounds_and_counts_the_hidden_apart() {
    let world = World::new();
    let id = world.publish("evil.example").await;
    world.report(1, id, 3, true).await;
    world.report(2, id, 3, false).await;
    world.report(3, id, 1, true).await;
    world.report(3, id, 4, false).await;
    let (today, caller) = (world.hub.shared.directory.load_full(), world.caller(VIEWER));
    let walk = |mut bounds: Bounds, most: usize| {
        let mut taken = Vec::new();
        let mut sightings = world.sightings(id);
        let sees = |class| today.visible(viewer(&caller), class, Purpose::Get);
        let take = |rank: usize, sighting: &Sighting<'_>| {
            taken.push((sighting.reporter.0, rank));
            rank + 1 < most
        };
        bounds.walk(&mut sightings, sees, take).unwrap();
        let numbers: std::collections::BTreeSet<_> = taken.iter().map(|(reporter, _)| *reporter).collect();
        let place = |reporter| numbers.iter().position(|number| *number == reporter).unwrap();
        let taken: Vec<_> = taken.into_iter().map(|(reporter, rank)| (place(reporter), rank)).collect();
        (taken, bounds.told, bounds.passed)
    };
    let of = |told, passed, passed_of_each| Bounds { told, passed, passed_of_each };
    // Two reporters of whom something is seen, and one of whom nothing is.
    assert_eq!(walk(of(9, 9, 9), 9), (vec![(1, 0), (0, 0), (0, 1), (0, 2)], 7, 8));
    assert_eq!(walk(of(9, 9, 9), 2), (vec![(1, 0), (0, 0), (0, 1)], 7, 8));
    assert_eq!(walk(of(1, 9, 9), 9), (vec![(0, 0)], 0, 9));
    assert_eq!(walk(of(9, 1, 9), 9), (vec![(0, 0)], 8, 0));
    // As many are passed over as may be: then the older one is not there.
    assert_eq!(walk(of(9, 9, 5), 9), walk(of(9, 9, 9), 9));
    assert_eq!(walk(of(9, 9, 4), 9), (vec![(0, 0), (0, 1), (0, 2)], 8, 7));
    world.hub.close().await;
}

#[tokio::test]
async fn what_was_reported_since_a_moment_is_not_told_as_of_it() {
    let world = World::new();
    let id = world.publish("evil.example").await;
    world.report(1, id, 2, true).await;
    world.report(2, id, 1, true).await;
    let end = world.hub.shared.tail.committed().next();
    let before = world.told(VIEWER, id).await;
    for org in 1..4 {
        world.report(org, id, 120, true).await;
    }
    let (shared, caller) = (&world.hub.shared, world.caller(VIEWER));
    let handle = shared.sealer.handle(id).unwrap();
    let (header, _) = crate::hub::fetch::newest(shared, &caller, handle).unwrap();
    let told = |end| {
        let moment = Moment { end, then: Some(shared.directory.load_full()) };
        let told = told(shared, &caller, (handle, header.class), &moment).unwrap();
        told.iter().map(|sighting| read::met(sighting).unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(told(end), before);
    assert!(told(handle.next()).is_empty());
    assert_eq!(told(Position::from_raw(u64::MAX)).len(), MAX_TOLD);
    world.hub.close().await;
}

/// Whatever is asked of sightings.
async fn answers(world: &World, ids: &[Uuid]) -> String {
    let mut all = String::new();
    for org in 0..SLUGS.len() {
        let caller = world.caller(org);
        for id in ids {
            all += &format!("{:?}\n", world.told(org, *id).await);
        }
        for value in ["evil.example", "198.51.100.7"] {
            let value = normalise::detect(value).unwrap().observable;
            let dossier = world.hub.dossier(&caller, value, Vec::new()).await.unwrap();
            all += &format!("{:?} {}\n", dossier.summary, dossier.more_sightings);
        }
        for by in SLUGS {
            let sighted_by = vec![OrgSlug::parse(by).unwrap()];
            let filter = IndicatorFilter { sighted_by, ..IndicatorFilter::default() };
            let page = world.hub.list(&caller, filter, 10, "").await.unwrap();
            all += &format!("{by}: {:?}\n", page.indicators);
        }
        let filter = IndicatorFilter::default();
        let counting = Counting { filter, by: Some(Dimension::Outcome), histogram: None, rows: 10 };
        all += &format!("{:?}\n", world.hub.aggregate(&caller, counting).await.unwrap().rows);
    }
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_of_the_format_before_answers_the_same_however_often_its_upgrade_is_cut_off() {
    let world = World::new();
    let ids = [world.publish("evil.example").await, world.publish("198.51.100.7").await];
    for _ in 0..2 {
        world.report(1, ids[0], 700, true).await;
    }
    world.report(1, ids[1], 1, false).await;
    world.report(2, ids[0], 3, false).await;
    world.report(3, ids[1], 2, true).await;
    let expected = answers(&world, &ids).await;
    let world = world
        .reopen(|path| {
            let old = make_format_before(path);
            assert_eq!(held(path), (0, old));
            assert!(verify(path, |_| ()).unwrap().is_clean(), "it is what its log says");
            let all = 1_406;
            let whole = |path: &Path| {
                let verified = verify(path, |_| ()).unwrap();
                assert!(verified.is_clean(), "{:?}", verified.differences);
            };
            let mut seen = Vec::new();
            loop {
                let (_dir, copy) = copied(path);
                if !cut_off(&copy, seen.len(), facts::outcome) {
                    break;
                }
                whole(&copy);
                seen.push(held(&copy));
                // Begun again, it ends.
                assert!(!cut_off(&copy, usize::MAX, facts::outcome));
                whole(&copy);
                assert_eq!(held(&copy), (all, 0), "{seen:?}");
            }
            // Of the sightings none are there, some, all; then of the postings.
            for state in [(0, old), (all, old), (all, 0)] {
                assert!(seen.contains(&state), "{state:?} {seen:?}");
            }
            assert!(seen.iter().any(|(sightings, _)| (1..all).contains(sightings)), "{seen:?}");
            assert!(seen.iter().any(|(_, left)| (1..old - 1_024).contains(left)), "{seen:?}");
            assert!(cut_off(path, 5, facts::outcome));
        })
        .await;
    assert_eq!(answers(&world, &ids).await, expected);
    world.report(2, ids[1], 1, true).await;
    let world = world
        .reopen(|path| {
            assert_eq!(held(path), (1_407, 0));
            let verified = verify(path, |_| ()).unwrap();
            assert!(verified.is_clean(), "{:?}", verified.differences);
        })
        .await;
    world.hub.close().await;
}

#[tokio::test]
async fn verify_sees_a_sighting_that_is_missing_and_one_that_the_log_does_not_know() {
    let world = World::new();
    let id = world.publish("evil.example").await;
    world.report(1, id, 2, true).await;
    let world = world
        .reopen(|path| {
            let told = || verify(path, |_| ()).unwrap().differences;
            assert!(told().is_empty());
            tamper(path, true, || {
                assert_eq!(told(), ["a record in sightings that the log does not know"]);
            });
            tamper(path, false, || assert_eq!(told(), ["a record is missing in sightings"]));
            assert!(told().is_empty(), "all that was changed is back");
        })
        .await;
    world.hub.close().await;
}
