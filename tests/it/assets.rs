//! A unit says at the prompt what is its own, and hears of whatever it may see
//! about it: with the asset, through a kill of the hub, and nothing of others.

use std::fs;

use luytre::model::principal::Role;
use serde_json::Value;

use crate::harness::{Ended, TestHub, Watching, luytre, luytre_watching};

const ROLES: [Role; 3] = [Role::Publisher, Role::Subscriber, Role::Analyst];

async fn hub() -> TestHub {
    TestHub::builder()
        .principal("ward", "system/soc", &ROLES)
        .principal("ca-hanoi", "system/soc", &ROLES)
        .principal("so-y-te", "system/soc", &ROLES)
        .principal("ward", "system/reader", &[Role::Subscriber])
        .principal("hub-operator", "user/an", &[Role::Operator])
        .start()
        .await
}

async fn run(hub: &TestHub, organisation: &str, words: &[&str]) -> Ended {
    luytre(hub, organisation, "system/soc", words).await
}

async fn publish(hub: &TestHub, lines: &str) {
    let file = hub.dir().join("published.jsonl");
    fs::write(&file, lines).unwrap();
    run(hub, "ca-hanoi", &["publish", file.to_str().unwrap(), "--quiet"]).await.well();
}

async fn event(watching: &mut Watching) -> Value {
    serde_json::from_str(&watching.line().await).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_unit_hears_of_what_is_about_its_own_and_of_nothing_else() {
    let mut hub = hub().await;
    publish(&hub, r#"{"value":"198.51.100.7","tlp":"green","role":"infrastructure"}"#).await;
    publish(
        &hub,
        r#"{"value":"http://mail.ward.example.vn/x","tlp":"amber","to":["ward"],"role":"victim","caveats":["masked-source"]}"#,
    )
    .await;
    publish(&hub, r#"{"value":"198.51.100.8","tlp":"amber","to":["so-y-te"]}"#).await;
    publish(&hub, r#"{"value":"203.0.113.7","tlp":"green"}"#).await;

    let none = run(&hub, "ward", &["watch", "--once"]).await;
    assert!(none.code == 66 && none.stderr.contains("luytre assets add"), "{none:?}");
    let added = run(&hub, "ward", &["assets", "add", "198.51.100.9/24", "Ward.example.VN"]).await.well();
    assert_eq!(added, "+ 198.51.100.0/24\n+ ward.example.vn\n");
    assert_eq!(run(&hub, "ward", &["assets", "list"]).await.well(), "198.51.100.0/24\nward.example.vn\n");
    assert_eq!(run(&hub, "so-y-te", &["assets", "list"]).await.well(), "", "nobody else's to know");
    let operator = luytre(&hub, "hub-operator", "user/an", &["assets", "list"]).await;
    assert!(operator.code == 77 && operator.stderr.contains("ROLE_INSUFFICIENT"), "{operator:?}");
    let reader = luytre(&hub, "ward", "system/reader", &["assets", "add", "AS64500"]).await;
    assert!(reader.code == 77 && reader.stderr.contains("ROLE_INSUFFICIENT"), "{reader:?}");
    for wrong in ["0.0.0.0/0", "gov.vn", "http://a.example/"] {
        let refused = run(&hub, "ward", &["assets", "add", "10.1.0.0/16", wrong]).await;
        assert!(refused.code == 64 && refused.stderr.contains("add[1]"), "{refused:?}");
    }

    let table = run(&hub, "ward", &["watch", "--once"]).await.well();
    let lines: Vec<_> = table.lines().collect();
    assert_eq!(lines.len(), 3, "{table}");
    assert!(lines[0].starts_with("CHANGED") && lines[0].contains("ASSET"), "{table}");
    let one = lines.iter().find(|line| line.contains("198.51.100.7")).unwrap();
    for told in ["new", "198.51.100.0/24", "ipv4", "TLP:GREEN", "ca-hanoi", "a compromise", "known since"] {
        assert!(one.contains(told), "{told}: {one}");
    }
    let other = lines.iter().find(|line| line.contains("mail.ward.example.vn")).unwrap();
    for told in ["ward.example.vn", "url", "TLP:AMBER", "source masked", "look for traces"] {
        assert!(other.contains(told), "{told}: {other}");
    }
    let vietnamese = run(&hub, "ward", &["watch", "--once", "--lang", "vi"]).await.well();
    assert!(vietnamese.contains("TÀI SẢN") && vietnamese.contains("được báo là nạn nhân"), "{vietnamese}");

    let state = hub.dir().join("watch.state");
    let words = ["watch", "--json", "--state", state.to_str().unwrap()];
    let mut watching = luytre_watching(&hub, "ward", "system/soc", &words);
    let mut values: Vec<_> = Vec::new();
    for _ in 0..2 {
        let event = event(&mut watching).await;
        values.push((event["value"].clone(), event["assets"][0].clone()));
    }
    values.sort_by_key(|(value, _)| value.to_string());
    let expected =
        [("198.51.100.7", "198.51.100.0/24"), ("http://mail.ward.example.vn/x", "ward.example.vn")];
    assert_eq!(values, expected.map(|(value, asset)| (value.into(), asset.into())));
    // What is registered while it runs counts at once; nobody else's does.
    run(&hub, "so-y-te", &["assets", "add", "AS64501"]).await.well();
    run(&hub, "ward", &["assets", "add", "203.0.113.0/24"]).await.well();
    let event = event(&mut watching).await;
    assert_eq!((&event["event"], &event["value"]), (&"new".into(), &"203.0.113.7".into()));
    assert_eq!(event["assets"], serde_json::json!(["203.0.113.0/24"]));

    // The hub is killed; who goes on with what was kept is brought nothing twice.
    hub.kill9();
    hub.serve().await;
    let ended = watching.interrupt().await;
    assert_eq!((ended.code, ended.stdout.as_str()), (0, ""), "{ended:?}");
    publish(&hub, r#"{"value":"203.0.113.8","tlp":"green"}"#).await;
    let mut watching = luytre_watching(&hub, "ward", "system/soc", &words);
    let next = self::event(&mut watching).await;
    assert_eq!(next["value"], "203.0.113.8", "exactly after the last: {next}");
    run(&hub, "ward", &["assets", "remove", "203.0.113.0/24"]).await.well();
    let gone = [self::event(&mut watching).await, self::event(&mut watching).await];
    assert!(gone.iter().all(|event| event["event"] == "withdrawn"), "{gone:?}");
    let ended = watching.interrupt().await;
    assert_eq!((ended.code, ended.stdout.as_str()), (0, ""), "{ended:?}");

    let told = run(&hub, "ward", &["watch", "--once", "--since", "1h", "--json"]).await.json();
    let events: Vec<_> = told.iter().map(|event| event["event"].as_str().unwrap()).collect();
    assert_eq!(events, ["new", "new", "new", "new", "withdrawn", "withdrawn"], "in their order, and an end");
    let about = |value: &str| {
        let event = told.iter().find(|event| event["value"] == value && event["event"] == "new");
        event.unwrap_or_else(|| panic!("{value}: {told:?}"))["assets"].as_array().unwrap().len()
    };
    let both = [about("198.51.100.7"), about("203.0.113.7")];
    assert_eq!(both, [1, 0], "what the second is about was taken off since: {told:?}");

    let asked = run(&hub, "ward", &["query", "--own-assets", "--json"]).await.json();
    assert_eq!(asked.len(), 2, "{asked:?}");
    assert_eq!(run(&hub, "so-y-te", &["query", "--own-assets", "--json"]).await.json().len(), 0);
    assert!(hub.terminate().await.success());
    hub.verify();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_is_imported_whole_or_not_at_all_and_a_dry_run_tells_what_would_be() {
    let hub = hub().await;
    let file = hub.dir().join("networks.csv");
    let path = file.to_str().unwrap();
    fs::write(&file, "network,note\n198.51.100.9/24,our servers\ngov.vn,\n\"ward.example.vn\";mail\n")
        .unwrap();
    let dry = run(&hub, "ward", &["assets", "import", path, "--dry-run"]).await;
    assert_eq!(dry.code, 65, "{dry:?}");
    assert_eq!(dry.stdout, "2: 198.51.100.0/24\n4: ward.example.vn\n");
    assert!(dry.stderr.contains("line 3: gov.vn is a public suffix"), "{dry:?}");
    let refused = run(&hub, "ward", &["assets", "import", path]).await;
    assert_eq!((refused.code, refused.stdout.as_str()), (65, ""), "{refused:?}");
    assert_eq!(run(&hub, "ward", &["assets", "list"]).await.well(), "");

    fs::write(&file, "198.51.100.9/24\n# ours since May\nward.example.vn\n").unwrap();
    let told = run(&hub, "ward", &["assets", "import", path]).await.well();
    assert_eq!(told, "+ 198.51.100.0/24\n+ ward.example.vn\n");
    let again = run(&hub, "ward", &["assets", "import", path]).await;
    assert!(again.code == 0 && again.stdout.is_empty() && again.stderr.contains("so already"), "{again:?}");
    fs::write(&file, "ward.example.vn\nAS64500\n").unwrap();
    let told = run(&hub, "ward", &["assets", "import", path, "--replace"]).await.well();
    assert_eq!(told, "+ AS64500\n- 198.51.100.0/24\n");
    let absent = run(&hub, "ward", &["assets", "import", "/nonexistent/file"]).await;
    assert_eq!(absent.code, 66, "{absent:?}");
}
