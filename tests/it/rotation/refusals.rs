//! Promises of what a rotation refuses, and of the way back.

use luytre::pki::key::Key;
use luytre::wire::proto::v1;
use luytre::wire::proto::v1::{RotationPhase as Phase, RotationStep as Step};
use tonic::Status;

use super::system::{NAME, System};
use super::{hub_of, organisations};
use crate::harness::eventually;
use crate::harness::issuing::{Issuing, request};
use crate::harness::listener::reason;
use crate::harness::rotating::{CLIENT, SERVER};

/// Asks, and must be refused with `why`; nothing may have changed.
async fn refused(hub: &Issuing, asked: v1::RotateAuthorityRequest, why: &str) -> Status {
    let hierarchy = asked.hierarchy();
    let before = hub.rotation(hierarchy).await;
    let status = hub.machine().rotate_authority(asked).await.unwrap_err();
    assert_eq!(reason(&status).as_deref(), Some(why), "{status:?}");
    let after = hub.rotation(hierarchy).await;
    assert_eq!(
        (before.phase, before.etag, before.current, before.next.map(|next| next.name)),
        (after.phase, after.etag, after.current, after.next.map(|next| next.name))
    );
    status
}

#[tokio::test(flavor = "multi_thread")]
async fn no_phase_is_skipped_and_no_step_is_taken_from_a_state_that_nobody_saw() {
    let mut hub = hub_of(&organisations(1)).await;
    let blocked = "ROTATION_BLOCKED";
    for hierarchy in [SERVER, CLIENT] {
        let name = hub.rotation(hierarchy).await.current.unwrap().name;
        let activate = hub.asked(hierarchy, Step::Activate).await;
        refused(&hub, v1::RotateAuthorityRequest { authority: name.clone(), ..activate.clone() }, blocked)
            .await;
        for step in [Step::Switch, Step::Taint, Step::Retire, Step::Rollback] {
            let asked = hub.asked(hierarchy, step).await;
            refused(&hub, asked, blocked).await;
        }
        let prepare = hub.asked(hierarchy, Step::Prepare).await;
        let used =
            refused(&hub, v1::RotateAuthorityRequest { authority: name, ..prepare.clone() }, blocked).await;
        assert!(used.message().contains("in use"), "{used:?}");
        let unknown = "authorities/0123456789abcdef".to_owned();
        refused(&hub, v1::RotateAuthorityRequest { authority: unknown, ..prepare.clone() }, "NOT_FOUND")
            .await;
        let nobody = v1::RotateAuthorityRequest { authority: String::new(), ..prepare };
        refused(&hub, nobody, "FIELD_INVALID").await;
    }

    for word in ["server", "client"] {
        hub.next_generation(word);
    }
    hub.kill_signer();
    hub.sign().await;
    let prepare = hub.asked(CLIENT, Step::Prepare).await;
    let status = refused(&hub, prepare.clone(), blocked).await;
    assert!(status.message().contains("backup"), "{status:?}");
    hub.backup("before");
    for etag in ["", "77"] {
        let asked = v1::RotateAuthorityRequest { etag: etag.to_owned(), ..prepare.clone() };
        refused(&hub, asked, if etag.is_empty() { "FIELD_INVALID" } else { "ETAG_MISMATCH" }).await;
    }
    for hierarchy in [SERVER, CLIENT] {
        hub.take(hierarchy, Step::Prepare).await;
        if hierarchy == SERVER {
            // Nobody has to prove his trust, so that it goes on by itself.
            eventually("the next authority is trusted by all", async || {
                (hub.rotation(SERVER).await.phase() == v1::RotationPhase::Distributed).then_some(())
            })
            .await;
        }
        // Two rotations at once.
        let again = refused(&hub, hub.asked(hierarchy, Step::Prepare).await, blocked).await;
        assert!(again.message().contains("already"), "{again:?}");
        for step in [Step::Switch, Step::Taint, Step::Retire] {
            refused(&hub, hub.asked(hierarchy, step).await, blocked).await;
        }
    }
    let stands = hub.rotation(CLIENT).await;
    let asked = hub.asked(CLIENT, Step::Activate).await;
    let wrong = v1::RotateAuthorityRequest { authority: stands.current.unwrap().name, ..asked.clone() };
    refused(&hub, wrong, blocked).await;
    hub.take(CLIENT, Step::Activate).await;
    // What somebody saw before another took the step.
    refused(&hub, asked, "ETAG_MISMATCH").await;
    refused(&hub, hub.asked(CLIENT, Step::Retire).await, blocked).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_client_authority_can_be_rolled_back_from_every_phase() {
    let names = organisations(2);
    let mut hub = hub_of(&names).await;
    let first = hub.rotation(CLIENT).await.current.unwrap();
    let phases: [&[Step]; 3] =
        [&[Step::Prepare], &[Step::Prepare, Step::Activate], &[Step::Prepare, Step::Activate, Step::Taint]];
    let mut system = System::start(&hub, &names[0], &names[1]).await;
    for (round, steps) in phases.into_iter().enumerate() {
        hub.ready_next(&[CLIENT], &format!("before-{round}")).await;
        for step in steps {
            hub.take(CLIENT, *step).await;
        }
        let mut late = None;
        if steps.len() == 2 {
            // Whoever enrols now has a certificate of the next authority.
            let next = hub.rotation(CLIENT).await.next.unwrap();
            let (token, key) = (hub.token(&names[1], NAME).await, Key::for_leaf().unwrap());
            let issued = hub.enrol(&token, request(&key)).await.unwrap();
            assert!(!issued.trust_bundle.is_empty());
            let mine = hub.certificates_of(&names[1], NAME).await.pop().unwrap();
            assert_eq!(mine.issuer, next.display_name);
            let peer = hub.peer_with(&names[1], NAME, &hub.keep("late", &issued, &key));
            peer.directory().who_am_i(v1::WhoAmIRequest {}).await.unwrap();
            late = Some(peer);
        }
        hub.take(CLIENT, Step::Rollback).await;
        if let Some(peer) = late {
            assert_eq!(hub.phase(CLIENT).await, Phase::Rollback, "one of them is in use");
            let (channel, key) = (peer.channel(), Key::for_leaf().unwrap());
            let me = peer.directory().who_am_i(v1::WhoAmIRequest {}).await.unwrap().into_inner();
            assert!(me.renew_now);
            let issued = crate::harness::rotating::renew(channel, &key).await.unwrap();
            let moved = hub.peer_with(&names[1], NAME, &hub.keep("moved", &issued, &key));
            moved.directory().who_am_i(v1::WhoAmIRequest {}).await.unwrap();
        }
        eventually("the rotation is over", async || (hub.phase(CLIENT).await == Phase::Stable).then_some(()))
            .await;
        let stands = hub.rotation(CLIENT).await;
        assert_eq!((stands.current.unwrap().name, stands.next), (first.name.clone(), None));
        // What was rolled back never comes again.
        let again = refused(&hub, hub.asked(CLIENT, Step::Prepare).await, "ROTATION_BLOCKED").await;
        assert!(again.message().contains("was in use"), "{again:?}");
    }
    assert!(!system.is_asked_to_renew().await);
    system.stop().await;
    assert_eq!(*system.books.problems.lock(), Vec::<String>::new());
    assert_eq!(system.peer().connections(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_authority_can_be_rolled_back_from_every_phase() {
    let names = organisations(2);
    let mut hub = hub_of(&names).await;
    let first = hub.rotation(SERVER).await.current.unwrap();
    let mut system = System::start(&hub, &names[0], &names[1]).await;
    assert!(!system.is_asked_to_renew().await);
    let steps = [Step::Activate, Step::Switch, Step::Taint];
    for round in 0..=steps.len() + 1 {
        hub.ready_next(&[SERVER], &format!("before-{round}")).await;
        hub.take(SERVER, Step::Prepare).await;
        if round > 0 {
            eventually("the canary", async || system.prove().await.then_some(())).await;
            let distributed = async || (hub.phase(SERVER).await == Phase::Distributed).then_some(());
            eventually("distributed", distributed).await;
        }
        for step in steps.iter().take(round.saturating_sub(1)) {
            hub.take(SERVER, *step).await;
        }
        hub.take(SERVER, Step::Rollback).await;
        eventually("the rotation is over", async || (hub.phase(SERVER).await == Phase::Stable).then_some(()))
            .await;
        let stands = hub.rotation(SERVER).await;
        assert_eq!((stands.current.unwrap().name, stands.next), (first.name.clone(), None));
        // It shows what everybody trusts.
        let fresh = hub.peer_with(&names[0], NAME, &system.credentials);
        fresh.directory().who_am_i(v1::WhoAmIRequest {}).await.unwrap();
    }
    system.stop().await;
    assert_eq!(*system.books.problems.lock(), Vec::<String>::new());
    assert_eq!(system.peer().connections(), 1);
}
