//! Promises of a rotation that not every agency takes part in.

use luytre::pki::key::Key;
use luytre::wire::proto::v1;
use luytre::wire::proto::v1::{RotationPhase as Phase, RotationStep as Step};
use tonic::Code;

use super::system::{NAME, System};
use super::{OPERATOR, hub_of, organisations};
use crate::harness::issuing::Issuing;
use crate::harness::listener::reason;
use crate::harness::rotating::{CLIENT, renew};

/// Takes the client hierarchy up to the point where everybody is asked to
/// renew.
async fn drain(hub: &mut Issuing) {
    hub.ready_next(&[CLIENT], "before").await;
    hub.take(CLIENT, Step::Prepare).await;
    hub.take(CLIENT, Step::Activate).await;
    hub.take(CLIENT, Step::Taint).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_who_is_offline_throughout_is_named_and_cut_only_by_name() {
    let names = organisations(3);
    let mut hub = hub_of(&names).await;
    let mut first = System::start(&hub, &names[0], &names[1]).await;
    let mut second = System::start(&hub, &names[1], &names[0]).await;
    let third = System::start(&hub, &names[2], &names[0]).await;
    assert!(!third.is_asked_to_renew().await);
    let (offline, _) = third.vanish().await;
    let missing = offline.identity().to_owned();
    let lan = hub.peer_with("hub", OPERATOR, &hub.enrolled("hub", OPERATOR).await);
    lan.directory().who_am_i(v1::WhoAmIRequest {}).await.unwrap();

    drain(&mut hub).await;
    for system in [&mut first, &mut second] {
        system.renew(&hub).await;
    }

    // The operator does not saw off the branch that she sits on.
    let asked = hub.asked(CLIENT, Step::Retire).await;
    let accept_cutting_off = vec![missing.clone(), lan.identity().to_owned()];
    let asked = v1::RotateAuthorityRequest { accept_cutting_off, dry_run: true, ..asked };
    let verdict = lan.certificates().rotate_authority(asked).await.unwrap().into_inner();
    assert!(verdict.blockers.iter().any(|blocker| blocker.contains("your own certificate")), "{verdict:?}");
    let key = Key::for_leaf().unwrap();
    let issued = renew(lan.channel(), &key).await.unwrap();
    let lan = hub.peer_with("hub", OPERATOR, &hub.keep("lan", &issued, &key));
    lan.directory().who_am_i(v1::WhoAmIRequest {}).await.unwrap();

    // Nobody but the one who is offline stands in the way.
    let verdict = crate::harness::eventually("the others have moved", async || {
        let verdict = hub.dry_run(CLIENT, Step::Retire).await;
        (verdict.cut_off.len() == 1).then_some(verdict)
    })
    .await;
    assert_eq!(verdict.cut_off, std::slice::from_ref(&missing));
    assert!(verdict.blockers.iter().any(|blocker| blocker.contains(&missing)), "{verdict:?}");
    let before = hub.rotation(CLIENT).await;
    let refused = hub.step(CLIENT, Step::Retire).await.unwrap_err();
    assert_eq!(reason(&refused).as_deref(), Some("ROTATION_BLOCKED"));
    assert!(refused.message().contains(&missing), "{refused:?}");

    // Nor does it help to name another, or one more.
    let other = first.peer().identity().to_owned();
    for accept in [vec![other.clone()], vec![missing.clone(), other]] {
        let asked = hub.asked(CLIENT, Step::Retire).await;
        let asked = v1::RotateAuthorityRequest { accept_cutting_off: accept, ..asked };
        let refused = hub.machine().rotate_authority(asked).await.unwrap_err();
        assert_eq!(reason(&refused).as_deref(), Some("ROTATION_BLOCKED"), "{refused:?}");
    }
    let stands = hub.rotation(CLIENT).await;
    assert_eq!((stands.phase(), &stands.etag), (Phase::Draining, &before.etag));

    let asked = hub.asked(CLIENT, Step::Retire).await;
    let asked = v1::RotateAuthorityRequest { accept_cutting_off: vec![missing.clone()], ..asked };
    let done = hub.machine().rotate_authority(asked).await.unwrap().into_inner();
    assert_eq!(done.rotation.unwrap().phase(), Phase::Stable);
    assert_eq!(done.cut_off, [missing]);

    crate::harness::eventually("it is cut off", async || {
        offline.directory().who_am_i(v1::WhoAmIRequest {}).await.is_err().then_some(())
    })
    .await;
    for system in [&mut first, &mut second] {
        system.stop().await;
    }
    first.check(&second.books).await;
    second.check(&first.books).await;

    // It comes back by a token.
    let again = hub.enrolled(&names[2], NAME).await;
    let again = hub.peer_with(&names[2], NAME, &again);
    again.directory().who_am_i(v1::WhoAmIRequest {}).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_renews_without_pause_gets_one_certificate() {
    let names = organisations(2);
    let mut hub = hub_of(&names).await;
    let system = System::start(&hub, &names[0], &names[1]).await;
    let early = renew(system.channel(), &Key::for_leaf().unwrap()).await.unwrap_err();
    assert_eq!(reason(&early).as_deref(), Some("RENEWAL_TOO_EARLY"), "{early:?}");
    drain(&mut hub).await;

    let keys: Vec<_> = (0..20).map(|_| Key::for_leaf().unwrap()).collect();
    let at_once = keys.iter().map(|key| renew(system.channel(), key));
    let answers = futures_util::future::join_all(at_once).await;
    for refused in answers.iter().filter_map(|answer| answer.as_ref().err()) {
        assert_eq!(refused.code(), Code::ResourceExhausted, "{refused:?}");
        assert_eq!(reason(refused).as_deref(), Some("RENEWAL_TOO_EARLY"), "{refused:?}");
    }
    let (key, issued) =
        keys.iter().zip(&answers).find_map(|(key, answer)| Some((key, answer.as_ref().ok()?))).unwrap();
    for key in &keys[..5] {
        let _ = renew(system.channel(), key).await;
    }
    assert_eq!(hub.certificates_of(&names[0], NAME).await.len(), 2, "the first one, and its one successor");

    // An answer that was lost comes again, and the old certificate still holds.
    let again = renew(system.channel(), key).await.unwrap();
    assert_eq!(again.chain, issued.chain);
}
