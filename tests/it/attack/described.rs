//! What an indicator says of the attack can be asked for, by role, family,
//! campaign and technique; and what belongs to victims goes into no list that feeds what
//! blocks. `engine/model.rs` proves the filters against a naive search.

use std::fs;

use luytre::model::principal::Role;

use crate::harness::{TestHub, luytre};

const PUBLISHED: &str = r#"{"value": "c2.example", "tlp": "green", "role": "infrastructure", "family": "Họ A", "campaign": "Hè 2026", "techniques": ["T1071.001", "T1566"]}
{"value": "hacked.example", "tlp": "green", "role": "victim", "family": "Họ A"}
{"value": "tool.example", "tlp": "green", "role": "tool", "family": "Họ B", "campaign": "Hè 2026", "techniques": ["T1566.002"]}
{"value": "said-nothing.example", "tlp": "green"}
"#;

async fn start() -> TestHub {
    let hub = TestHub::builder()
        .principal("a", "system/soc", &[Role::Publisher, Role::Subscriber, Role::Analyst])
        .start()
        .await;
    let input = hub.dir().join("in.jsonl");
    fs::write(&input, PUBLISHED).unwrap();
    luytre(&hub, "a", "system/soc", &["publish", input.to_str().unwrap()]).await.well();
    hub
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_and_subscriptions_are_narrowed_by_what_is_said_of_the_attack() {
    let hub = start().await;
    let run = |words: Vec<&'static str>| {
        let hub = &hub;
        async move { luytre(hub, "a", "system/soc", &words).await }
    };
    for (filter, expected) in [
        (vec!["--role", "victim,tool"], vec!["hacked.example", "tool.example"]),
        (vec!["--family", "HỌ A"], vec!["c2.example", "hacked.example"]),
        (
            vec!["--family", "họ a", "--family", "họ b", "--campaign", "hè 2026"],
            vec!["c2.example", "tool.example"],
        ),
        (vec!["--campaign", "Hè 2026", "--role", "tool"], vec!["tool.example"]),
        (vec!["--campaign", "Họ A"], vec![]),
        (vec!["--technique", "t1566"], vec!["c2.example", "tool.example"]),
        (vec!["--technique", "T1566.002,T1027"], vec!["tool.example"]),
        (vec!["--technique", "T1566.001"], vec![]),
    ] {
        let listed = run([vec!["list", "--format", "jsonl"], filter.clone()].concat()).await.json();
        let mut values: Vec<_> = listed.iter().map(|record| record["value"].as_str().unwrap()).collect();
        values.sort_unstable();
        assert_eq!(values, expected, "{filter:?}");
        if !expected.is_empty() {
            let count: &'static str = ["0", "1", "2"][expected.len()];
            let heard = run([vec!["subscribe", "--count", count], filter.clone()].concat()).await.json();
            let mut values: Vec<_> = heard.iter().map(|event| event["value"].as_str().unwrap()).collect();
            values.sort_unstable();
            assert_eq!(values, expected, "{filter:?}");
        }
    }
    run(vec!["subscribe", "--name", "siem", "--family", "Họ A", "--role", "victim", "--count", "1"])
        .await
        .well();
    let kept = run(vec!["subscriptions", "list"]).await.well();
    assert!(kept.contains("--role victim --family 'Họ A'"), "{kept}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plain_list_holds_no_victim() {
    let hub = start().await;
    let run = async |words: &[&str]| luytre(&hub, "a", "system/soc", words).await;
    let listed = run(&["list", "--format", "plain"]).await;
    assert!(listed.stderr.contains("1 of victims"), "{listed:?}");
    let mut values: Vec<_> = listed.stdout.lines().collect();
    values.sort_unstable();
    assert_eq!(values, ["c2.example", "said-nothing.example", "tool.example"]);
    let heard = run(&["subscribe", "--count", "4", "--format", "plain"]).await.well();
    assert_eq!(heard, "c2.example\ntool.example\nsaid-nothing.example\n");
    for command in ["list", "subscribe"] {
        let refused = run(&[command, "--format", "plain", "--role", "victim"]).await;
        assert_eq!((refused.code, refused.stdout.as_str()), (64, ""), "{refused:?}");
    }
}
