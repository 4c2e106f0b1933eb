//! Promises of a hub that was restored from a backup: what was signed and
//! revoked since then, it learns from the signer.

use luytre::pki::key::Key;
use luytre::wire::proto::v1;

use super::system::NAME;
use super::{hub_of, organisations};
use crate::harness::issuing::{Issuing, request};
use crate::harness::listener::reason;
use crate::harness::rotating::{CLIENT, id};

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
    // Only the journal knows of it, so that an operator looks at it first.
    assert!(late.directory().who_am_i(v1::WhoAmIRequest {}).await.is_err());
    let waits = hub.certificates_of(&names[1], NAME).await.pop().unwrap();
    assert_eq!(waits.state(), v1::CertificateState::Unconfirmed);
    let count = async |hub: &Issuing| {
        let answer = hub.machine().list_authorities(v1::ListAuthoritiesRequest {}).await.unwrap();
        answer.into_inner().unconfirmed_count
    };
    assert_eq!(count(&hub).await, 1, "the hub's own are not among them");
    let asked = v1::ConfirmCertificatesRequest { request_id: id(), names: vec![waits.name] };
    let done = hub.machine().confirm_certificates(asked.clone()).await.unwrap().into_inner();
    assert_eq!((done.confirmed_count, count(&hub).await), (1, 0));
    let again = v1::ConfirmCertificatesRequest { request_id: id(), ..asked };
    let refused = hub.machine().confirm_certificates(again).await.unwrap_err();
    assert_eq!(reason(&refused).as_deref(), Some("NOT_FOUND"), "{refused:?}");
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

#[tokio::test(flavor = "multi_thread")]
async fn a_token_of_before_the_backup_is_worth_nothing_after_the_restore() {
    let names = organisations(2);
    let mut hub = hub_of(&names).await;
    let used = hub.token(&names[0], NAME).await;
    let key = Key::for_leaf().unwrap();
    hub.enrol(&used, request(&key)).await.unwrap();
    let unused = hub.token(&names[1], NAME).await;
    let asked = || v1::IssueEnrollmentTokenRequest {
        request_id: id(),
        spiffe_id: hub.spiffe(&names[1], NAME),
        ..Default::default()
    };
    let pending = hub.machine().issue_enrollment_token(asked()).await.unwrap().into_inner();
    let backup = hub.backup("old");
    let listed = async |hub: &Issuing| {
        let asked = v1::ListEnrollmentTokensRequest {};
        let answer = hub.machine().list_enrollment_tokens(asked).await.unwrap();
        answer.into_inner().enrollment_tokens.into_iter().map(|token| token.state()).collect::<Vec<_>>()
    };
    let [taken, ready, waits] =
        [v1::EnrollmentTokenState::Used, v1::EnrollmentTokenState::Ready, v1::EnrollmentTokenState::Pending];
    assert_eq!(listed(&hub).await, [taken, ready, waits]);
    // A crash takes none of them back.
    hub.kill9();
    hub.serve().await;
    assert_eq!(listed(&hub).await, [taken, ready, waits]);

    hub.kill9();
    hub.restore(&backup);
    hub.serve().await;
    assert_eq!(listed(&hub).await, [taken]);
    let refused = hub.enrol(&unused, request(&Key::for_leaf().unwrap())).await.unwrap_err();
    assert_eq!(reason(&refused).as_deref(), Some("ENROLMENT_TOKEN_INVALID"), "{refused:?}");
    let name = pending.enrollment_token.unwrap().name;
    let approval = v1::ApproveEnrollmentTokenRequest { request_id: id(), name };
    let operator = hub.peer("hub", "user/operator");
    let refused = operator.certificates().approve_enrollment_token(approval).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::NotFound, "{refused:?}");
    assert_eq!(hub.certificates_of(&names[1], NAME).await.len(), 0);
    hub.enrolled(&names[1], NAME).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_journal_that_is_shorter_than_the_ledger_remembers_keeps_no_restored_hub_from_starting() {
    let names = organisations(3);
    let mut hub = hub_of(&names).await;
    let journal = hub.dir().join("signer-state/journal");
    let first = hub.peer_with(&names[0], NAME, &hub.enrolled(&names[0], NAME).await);
    let short = std::fs::read(&journal).unwrap();
    let second = hub.peer_with(&names[1], NAME, &hub.enrolled(&names[1], NAME).await);
    // Read up to here by the next start.
    hub.restart().await;
    let backup = hub.backup("old");
    hub.kill9();
    hub.kill_signer();
    assert!(std::fs::read(&journal).unwrap().len() > short.len());
    std::fs::write(&journal, short).unwrap();
    hub.restore(&backup);
    hub.sign().await;
    hub.serve().await;
    for peer in [&first, &second] {
        peer.directory().who_am_i(v1::WhoAmIRequest {}).await.unwrap();
    }
    hub.enrolled(&names[2], NAME).await;
    // That is noted: the next start finds nothing amiss, and goes on from there.
    let number = hub.rotation(CLIENT).await.current.unwrap().revocation_list_number;
    hub.restart().await;
    let again = hub.rotation(CLIENT).await.current.unwrap().revocation_list_number;
    assert!((number..number + 1_000).contains(&again), "{again} after {number}");
    second.directory().who_am_i(v1::WhoAmIRequest {}).await.unwrap();
    hub.terminate().await;
    hub.verify();
}
