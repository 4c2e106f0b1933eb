//! Promises of a hub that was restored from a backup: what was signed and
//! revoked since then, it learns from the signer.

use luytre::pki::key::Key;
use luytre::wire::proto::v1;

use super::system::NAME;
use super::{hub_of, organisations};
use crate::harness::issuing::request;
use crate::harness::rotating::CLIENT;

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_hub_learns_what_was_issued_and_revoked_since_the_backup() {
    let names = organisations(3);
    let mut hub = hub_of(&names).await;
    let stolen = hub.peer_with(&names[0], NAME, &hub.enrolled(&names[0], NAME).await);
    stolen.directory().who_am_i(v1::WhoAmIRequest {}).await.unwrap();
    let token = hub.token(&names[1], NAME).await;
    let backup = hub.backup("old");

    let key = Key::for_leaf().unwrap();
    let issued = hub.enrol(&token, request(&key)).await.unwrap();
    let late = hub.peer_with(&names[1], NAME, &hub.keep("late", &issued, &key));
    late.directory().who_am_i(v1::WhoAmIRequest {}).await.unwrap();
    let certificate = hub.certificates_of(&names[0], NAME).await.pop().unwrap();
    hub.revoke(&certificate.name).await;
    crate::harness::eventually("the list names it", async || {
        hub.listed().await.contains(&certificate.serial).then_some(())
    })
    .await;
    let number = hub.rotation(CLIENT).await.current.unwrap().revocation_list_number;

    hub.kill9();
    hub.restore(&backup);
    // Without the signer it would take what was revoked.
    hub.kill_signer();
    let refused = hub.try_serve().await.unwrap_err();
    assert!(refused.stderr.contains("signer"), "{}", refused.stderr);
    hub.sign().await;
    hub.serve().await;

    assert!(stolen.directory().who_am_i(v1::WhoAmIRequest {}).await.is_err());
    late.directory().who_am_i(v1::WhoAmIRequest {}).await.unwrap();
    let after = hub.certificates_of(&names[0], NAME).await.pop().unwrap();
    assert_eq!(after.state(), v1::CertificateState::Revoked);
    assert!(hub.listed().await.contains(&certificate.serial));
    let leapt = hub.rotation(CLIENT).await.current.unwrap().revocation_list_number;
    assert!(leapt > number + (1 << 31), "{leapt} after {number}");
    // The token was used for it.
    let other = Key::for_leaf().unwrap();
    hub.enrol(&token, request(&other)).await.unwrap_err();
    assert_eq!(hub.certificates_of(&names[1], NAME).await.len(), 1);

    // All of that is in the log: the second start has nothing to learn.
    hub.restart().await;
    assert!(stolen.directory().who_am_i(v1::WhoAmIRequest {}).await.is_err());
    late.directory().who_am_i(v1::WhoAmIRequest {}).await.unwrap();
    let again = hub.rotation(CLIENT).await.current.unwrap().revocation_list_number;
    assert!((leapt..leapt + 1_000).contains(&again), "{again} after {leapt}");
    hub.terminate().await;
    hub.verify();
}
