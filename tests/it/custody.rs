//! Promises of a hub whose directory for what is signed cannot be written: it
//! goes on with what it has, and has nothing signed twice.

use std::fs;

use luytre::model::principal::Role;
use luytre::pki::signing::{Signed, Signer as _};
use luytre::signer::Remote;
use luytre::wire::proto::v1;

use crate::harness::issuing::Issuing;
use crate::harness::{TestHub, eventually};

const FEED: &str = "system/feed";

/// How many leaves and lists the signer has signed.
async fn signed(hub: &Issuing) -> (usize, usize) {
    let remote = Remote::new(hub.dir().join("signer.sock"));
    let records = tokio::task::spawn_blocking(move || remote.journal(0)).await.unwrap().unwrap();
    let leaves = records.iter().filter(|record| matches!(record.signed, Signed::Leaf { .. })).count();
    (leaves, records.len() - leaves)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_written_is_signed_once_and_written_as_soon_as_it_can_be() {
    let builder = TestHub::builder().principal("a", FEED, &[Role::Subscriber]);
    let mut hub = builder.prepare_issuing("soak = \"0s\"\ndirectory = \"signed\"\n");
    let directory = hub.dir().join("signed");
    // A file in its place: nobody can write there, whoever he is.
    fs::write(&directory, "in the way").unwrap();
    hub.sign().await;
    hub.serve().await;
    let a = hub.peer_with("a", FEED, &hub.enrolled("a", FEED).await);
    a.directory().who_am_i(v1::WhoAmIRequest {}).await.unwrap();
    let before = signed(&hub).await;
    assert_eq!(before, (4, 1), "its own, two that try it, that of the system; one list");

    // Every one of these has the hub look at everything once more.
    let failures = || hub.log().matches("are not all in force").count();
    for round in 0..3 {
        let known = failures();
        hub.token("a", FEED).await;
        eventually(&format!("look {round}"), async || (failures() > known).then_some(())).await;
    }
    assert_eq!(signed(&hub).await, before, "nothing was signed once more");
    let certificate = hub.certificates_of("a", FEED).await.pop().unwrap();
    hub.revoke(&certificate.name).await;
    eventually("it is listed", async || hub.listed().await.contains(&certificate.serial).then_some(())).await;

    fs::remove_file(&directory).unwrap();
    hub.token("a", FEED).await;
    let written = async || (fs::read_dir(&directory).ok()?.count() == 7).then_some(());
    eventually("all of it is written", written).await;
    let before = signed(&hub).await;
    hub.restart().await;
    assert_eq!(signed(&hub).await, before, "it was read from the files");
}
