//! The client library, as the programs in `examples/` use it: they are run
//! here, against the real hub.

use std::fs;
use std::path::Path;

use luytre::base::clock::{Clock as _, SystemClock};
use luytre::client::{
    Client, Connection, Draft, Endpoint, Identity, RecommendedAction, Start, Subscribe, Tlp,
};
use luytre::model::principal::{Role, SpiffeId};
use luytre::pki::issue::{Leaf, lifetime};
use rustix::process::{Pid, Signal, kill_process};

use crate::harness::patience::patiently;
use crate::harness::{Credentials, TestHub, eventually};

#[allow(dead_code, reason = "its main is not called here")]
#[path = "../../examples/block_list.rs"]
mod block_list;
#[allow(dead_code, reason = "its main is not called here")]
#[path = "../../examples/publish.rs"]
mod publish;
#[allow(dead_code, reason = "its main is not called here")]
#[path = "../../examples/subscribe.rs"]
mod subscribe;

async fn hub() -> TestHub {
    TestHub::builder()
        .principal("a", "system/soc", &[Role::Publisher, Role::Subscriber])
        .config("[limits]\nheartbeat = \"1s\"")
        .start()
        .await
}

fn client_with(hub: &TestHub, credentials: &Credentials) -> Client {
    let identity = Identity::from_files(&credentials.certificate, &credentials.key).unwrap();
    let endpoint = Endpoint::new(&hub.grpc().to_string(), hub.server_ca()).unwrap();
    Connection::open(&endpoint, identity).unwrap().client()
}

fn client(hub: &TestHub) -> Client {
    client_with(hub, &hub.credentials("a", "system/soc"))
}

/// What the example prints of `count` events, without the names.
async fn subscribed(hub: &TestHub, place: &Path, count: u64) -> Vec<String> {
    let mut out = Vec::new();
    let client = client(hub);
    let run = subscribe::run(&client, place, Some(count), &mut out);
    patiently("the example subscribes", run).await.unwrap();
    let text = String::from_utf8(out).unwrap();
    text.lines().map(|line| line.split_once('\t').unwrap().1.to_owned()).collect()
}

#[tokio::test]
async fn the_examples_publish_and_go_on_from_a_file_over_a_kill_of_the_hub() {
    let mut hub = hub().await;
    let lines = "198.51.100[.]7\nnot a value at all\nhxxp://bad[.]example/a\n";
    let run = async |hub: &TestHub| publish::run(&client(hub), lines.as_bytes()).await.unwrap();
    assert_eq!(patiently("the example publishes", run(&hub)).await, 2);

    let place = hub.dir().join("token");
    assert_eq!(subscribed(&hub, &place, 1).await, ["ipv4\t198.51.100.7"]);
    hub.kill9();
    hub.serve().await;
    assert_eq!(subscribed(&hub, &place, 1).await, ["url\thttp://bad.example/a"]);
    // The same content again is taken and changes nothing.
    assert_eq!(patiently("the example publishes", run(&hub)).await, 2);
    patiently("a domain is published", client(&hub).publish([Draft::new("new.example", Tlp::Clear)]))
        .await
        .unwrap();
    assert_eq!(subscribed(&hub, &place, 1).await, ["domain\tnew.example"]);
}

#[tokio::test]
async fn the_example_of_a_block_list_holds_what_is_to_be_blocked_and_nothing_else() {
    let hub = hub().await;
    let hub_client = client(&hub);
    let block = |value| Draft::new(value, Tlp::Green).action(RecommendedAction::Block);
    let drafts = [
        block("one.example"),
        block("two.example"),
        block("watched.example").watch_do_not_block(),
        block("198.51.100.7"),
        Draft::new("unsaid.example", Tlp::Green),
    ];
    let verdicts = hub_client.publish(drafts).await.unwrap();
    let names: Vec<_> = verdicts.iter().map(|verdict| verdict.outcome().unwrap().name.clone()).collect();

    let (state, file) = (hub.dir().join("state"), hub.dir().join("blocked.txt"));
    let mut mirror = block_list::open(&hub_client, &state).unwrap();
    patiently("the list is written", block_list::follow(&mut mirror, &file)).await.unwrap();
    assert_eq!(fs::read_to_string(&file).unwrap(), "one.example\ntwo.example\n");

    // Another run, which finds what was taken back meanwhile.
    drop(mirror);
    let revocation = luytre::client::v1::Revocation { reason: 1, ..Default::default() };
    hub_client.revoke(&names[0], revocation, "", "").await.unwrap();
    let mut mirror = block_list::open(&hub_client, &state).unwrap();
    patiently("the list is written", block_list::follow(&mut mirror, &file)).await.unwrap();
    assert_eq!(fs::read_to_string(&file).unwrap(), "two.example\n");
}

#[tokio::test]
async fn a_subscription_outlives_its_certificate_if_the_files_hold_another() {
    let hub = hub().await;
    let used = Credentials { certificate: hub.dir().join("soc.pem"), key: hub.dir().join("soc.key") };
    let enrol = |new: &Credentials| {
        fs::copy(&new.certificate, &used.certificate).unwrap();
        fs::copy(&new.key, &used.key).unwrap();
    };
    enrol(&hub.credentials("a", "system/soc"));
    let client = client_with(&hub, &used);
    let me = client.whoami().await.unwrap();
    assert_eq!(me.key_exchange, "X25519MLKEM768");
    let old = me.certificate_serial;
    let mut subscription = client.subscribe(Subscribe::from(Start::Earliest));
    client.publish([Draft::new("one.example", Tlp::Green)]).await.unwrap();
    let next = async |subscription: &mut luytre::client::Subscription| loop {
        let delivery = patiently("an event", subscription.next()).await.unwrap().unwrap();
        subscription.confirm(delivery.token().unwrap()).await.unwrap();
        if let [received] = delivery.events() {
            break luytre::client::values(received.stands().unwrap()).remove(0).1;
        }
    };
    assert_eq!(next(&mut subscription).await, "one.example");

    let revoke = |serial: &str| {
        let pki = hub.pki();
        pki.sign_revocation_list(Some(serial), SystemClock.now(), lifetime::REVOCATION_LIST).unwrap();
        kill_process(Pid::from_raw(hub.pid().cast_signed()).unwrap(), Signal::HUP).unwrap();
    };
    let leaf = Leaf::Client(SpiffeId::parse(&hub.spiffe("a", "system/soc")).unwrap());
    let new = hub.pki().issue(&leaf, "renewed", SystemClock.now(), lifetime::CLIENT).unwrap();
    enrol(&Credentials { certificate: new.certificate, key: new.key });
    revoke(&old);
    // Cut off, calls and the subscription go on with the new certificate.
    let renewed = eventually("the new certificate is shown", async || {
        let shown = client.whoami().await.unwrap().certificate_serial;
        (shown != old).then_some(shown)
    })
    .await;
    client.publish([Draft::new("two.example", Tlp::Green)]).await.unwrap();
    assert_eq!(next(&mut subscription).await, "two.example");

    // No other is there: it ends, and does not try for ever.
    revoke(&renewed);
    let ended = async {
        loop {
            if let Err(error) = subscription.next().await {
                break error;
            }
        }
    };
    let error = patiently("the subscription ends", ended).await;
    assert!(matches!(error, luytre::client::Error::Unaccepted { .. }), "{error:?}");
}
