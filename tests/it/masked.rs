//! The source of a masked record, from outside: a district warns the lead unit
//! and the police, and nobody but the lead unit learns which district.

use luytre::model::principal::Role;
use luytre::wire::proto::v1;
use serde_json::Value;
use uuid::Uuid;

use crate::harness::{TestHub, amber, batch, draft, luytre};

const VALUE: &str = "update.example";

/// What `organisation` is shown: by `subscribe`, `get`, `list` and `lookup`.
async fn shown(hub: &TestHub, organisation: &str, name: &str) -> [Value; 4] {
    let run = async |words: &[&str]| luytre(hub, organisation, "system/soc", words).await.json().remove(0);
    let mut lookup = run(&["lookup", VALUE, "--format", "jsonl"]).await;
    [
        run(&["subscribe", "--count", "1"]).await,
        run(&["get", name]).await,
        run(&["list", "--format", "jsonl"]).await,
        lookup["matches"][0].take(),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_district_warns_without_being_named_and_the_lead_unit_passes_it_on() {
    let roles = [Role::Publisher, Role::Subscriber, Role::Analyst];
    let hub = TestHub::builder()
        .principal("ubnd-dong-da", "system/soc", &roles)
        .principal("so-tttt", "system/soc", &roles)
        .principal("ca-hanoi", "system/soc", &roles)
        .principal("so-gddt", "system/soc", &roles)
        .lead_unit("so-tttt")
        .start()
        .await;
    let mut masked = amber(draft(VALUE), &["so-tttt", "ca-hanoi"]);
    let marking = masked.marking.as_mut().unwrap();
    marking.caveats = Some(v1::Caveats { masked_source: true, ..v1::Caveats::default() });
    let publish = async |organisation: &str, draft| {
        let mut client = hub.peer(organisation, "system/soc").exchange();
        let answer =
            client.publish_indicators(batch(Uuid::new_v4(), vec![draft])).await.unwrap().into_inner();
        match answer.results.into_iter().next().unwrap().outcome.unwrap() {
            v1::publish_result::Outcome::Published(published) => published.name,
            other => panic!("{other:?}"),
        }
    };
    let name = publish("ubnd-dong-da", masked).await;

    for answer in shown(&hub, "ca-hanoi", &name).await {
        assert_eq!(answer["name"], name.as_str());
        assert!(answer.get("owner").is_none_or(|owner| owner == ""), "{answer}");
        assert!(!answer.to_string().contains("dong-da") && answer.get("to").is_none(), "{answer}");
    }
    let table = luytre(&hub, "ca-hanoi", "system/soc", &["list", "--format", "table"]).await.well();
    assert!(table.contains("source masked"), "{table}");
    let by_owner = ["list", "--format", "jsonl", "--owner", "ubnd-dong-da"];
    assert!(luytre(&hub, "ca-hanoi", "system/soc", &by_owner).await.json().is_empty());

    for told in ["so-tttt", "ubnd-dong-da"] {
        let answers = shown(&hub, told, &name).await;
        for answer in &answers {
            assert_eq!(answer["owner"], "ubnd-dong-da", "{told}: {answer}");
        }
        for answer in &answers[..3] {
            assert_eq!(answer["to"], serde_json::json!(["ca-hanoi", "so-tttt"]), "{told}: {answer}");
        }
        assert_eq!(luytre(&hub, told, "system/soc", &by_owner).await.json().len(), 1);
    }

    let passed_on = publish("so-tttt", draft(VALUE)).await;
    assert_ne!(passed_on, name);
    let [_, got, listed, met] = shown(&hub, "so-gddt", &passed_on).await;
    for answer in [got, listed, met] {
        assert_eq!((answer["name"].as_str(), answer["owner"].as_str()), (Some(&*passed_on), Some("so-tttt")));
    }
}
