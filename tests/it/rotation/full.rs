//! Promises of a rotation in which every agency takes part.

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use luytre::wire::proto::v1::{RotationPhase as Phase, RotationStep as Step};

use super::system::System;
use super::{hub_of, organisations};
use crate::harness::eventually;
use crate::harness::rotating::{CLIENT, SERVER};

/// How many agencies take part; `LUYTRE_ROTATION_SYSTEMS` says otherwise.
const SYSTEMS: usize = 100;
/// How many begin at once.
const AT_ONCE: usize = 8;

fn systems() -> usize {
    let said = std::env::var("LUYTRE_ROTATION_SYSTEMS").ok().and_then(|text| text.parse().ok());
    said.unwrap_or(SYSTEMS)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_rotation_of_both_authorities_with_every_stream_open_loses_nothing() {
    let names = organisations(systems());
    let mut hub = hub_of(&names).await;
    let neighbours = names.iter().cycle().skip(1);
    let started = stream::iter(names.iter().zip(neighbours))
        .map(|(name, neighbour)| System::start(&hub, name, neighbour))
        .buffered(AT_ONCE);
    let mut systems: Vec<System> = started.collect().await;
    for system in &systems {
        assert!(!system.prove().await && !system.is_asked_to_renew().await, "nothing rotates yet");
    }

    hub.ready_next(&[SERVER, CLIENT], "before").await;
    let (old_server, old_client) = (hub.rotation(SERVER).await, hub.rotation(CLIENT).await);
    for hierarchy in [SERVER, CLIENT] {
        assert_eq!(hub.take(hierarchy, Step::Prepare).await.phase(), Phase::Prepared);
    }

    // The last one lets the hub wait.
    let (last, others) = systems.split_last().unwrap();
    let canary = async || others[0].prove().await.then_some(());
    eventually("the canary is shown", canary).await;
    stream::iter(&others[1..])
        .for_each_concurrent(AT_ONCE, |system| async { assert!(system.prove().await) })
        .await;
    let blocked = hub.step(SERVER, Step::Activate).await.unwrap_err();
    assert!(blocked.message().contains("distributed"), "{blocked:?}");
    let waits_for = hub.dry_run(SERVER, Step::Activate).await.cut_off;
    assert!(waits_for.contains(&last.peer().identity().to_owned()), "{waits_for:?}");
    assert!(last.prove().await);
    let distributed = async || (hub.phase(SERVER).await == Phase::Distributed).then_some(());
    eventually("the server's next authority is distributed", distributed).await;

    for hierarchy in [SERVER, CLIENT] {
        assert_eq!(hub.take(hierarchy, Step::Activate).await.phase(), Phase::Active);
    }
    assert_eq!(hub.take(SERVER, Step::Switch).await.phase(), Phase::Switched);
    for hierarchy in [SERVER, CLIENT] {
        assert_eq!(hub.take(hierarchy, Step::Taint).await.phase(), Phase::Draining);
    }

    assert!(!hub.dry_run(CLIENT, Step::Retire).await.blockers.is_empty(), "nobody has renewed yet");
    for system in &systems {
        assert!(system.is_asked_to_renew().await);
    }
    let (hub_ref, of) = (&hub, |system: &System| system.organisation.clone());
    let renewed = stream::iter(systems.iter_mut())
        .map(|system| async move {
            system.renew(hub_ref).await;
            Ok::<_, ()>(())
        })
        .buffer_unordered(AT_ONCE);
    renewed.try_collect::<Vec<_>>().await.unwrap();
    for system in &systems {
        assert!(!system.is_asked_to_renew().await, "{} has renewed", of(system));
    }

    for (hierarchy, old) in [(SERVER, old_server), (CLIENT, old_client)] {
        let now = hub.take(hierarchy, Step::Retire).await;
        assert_eq!(now.phase(), Phase::Stable);
        assert_eq!(now.current.as_ref().unwrap().generation, old.current.unwrap().generation + 1);
        assert_eq!(now.next, None);
    }

    // Both authorities are gone, and everything goes on.
    let before: Vec<_> = systems.iter().map(|system| system.books.published.lock().len()).collect();
    for (system, before) in systems.iter().zip(before) {
        let goes_on = async || (system.books.published.lock().len() > before + 1).then_some(());
        eventually("everything goes on", goes_on).await;
    }
    stream::iter(systems.iter_mut()).for_each_concurrent(None, System::stop).await;
    let books: Vec<_> = systems.iter().map(|system| system.books.clone()).collect();
    for (system, neighbour) in systems.iter().zip(books.iter().cycle().skip(1)) {
        system.check(neighbour).await;
    }
    drop(systems);
    let status = hub.terminate().await;
    assert!(status.success(), "{status}");
    hub.verify();
}
