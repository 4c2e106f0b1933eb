//! What the commands of `luytre` promise at the prompt, against the real hub.

use luytre::model::principal::Role;

use crate::harness::{TestHub, luytre};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn organisations_are_told_as_columns_and_as_json_lines() {
    let hub =
        TestHub::builder().principal("a", "system/feed", &[Role::Auditor]).organisation("b").start().await;
    let shown = luytre(&hub, "a", "system/feed", &["organisations"]).await.well();
    let line = |words: [&str; 4]| {
        let [organisation, state, kind, name] = words;
        format!("{organisation:28}  {state:9}  {kind:16}  {name}\n")
    };
    assert_eq!(
        shown,
        [
            line(["ORGANISATION", "STATE", "KIND", "NAME"]),
            line(["a", "active", "test", "a"]),
            line(["b", "active", "test", "b"]),
            line(["hub", "active", "test", "hub"]),
        ]
        .concat()
    );
    let told =
        luytre(&hub, "a", "system/feed", &["organisations", "--all", "--format", "jsonl"]).await.json();
    let one = |slug: &str| {
        serde_json::json!({
            "organisation": slug, "display_name": slug, "display_name_en": slug, "kind": "test", "state": "active",
        })
    };
    assert_eq!(told, ["a", "b", "hub"].map(one));
}
