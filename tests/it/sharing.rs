//! Whom the commands of `luytre` reach, over mutual TLS, where the marking is
//! the narrowest and where one organisation publishes for another.

use std::fs;

use luytre::model::principal::Role;

use crate::harness::{Ended, TestHub, luytre};

/// Publishes one value; what `publish` says of it.
async fn publish(hub: &TestHub, who: (&str, &str), value: &str, words: &[&str]) -> Ended {
    let list = hub.dir().join(format!("{value}.txt"));
    fs::write(&list, value).unwrap();
    let words = [&["publish", list.to_str().unwrap(), "--quiet"], words].concat();
    luytre(hub, who.0, who.1, &words).await
}

/// The values that `list` shows.
async fn listed(hub: &TestHub, who: (&str, &str)) -> Vec<String> {
    let lines = luytre(hub, who.0, who.1, &["list", "--format", "jsonl"]).await.json();
    lines.into_iter().map(|line| line["value"].as_str().unwrap().to_owned()).collect()
}

/// The first event that a new subscription brings.
async fn first_event(hub: &TestHub, who: (&str, &str)) -> serde_json::Value {
    luytre(hub, who.0, who.1, &["subscribe", "--count", "1"]).await.json().remove(0)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_red_to_one_person_no_colleague_of_his_learns_of() {
    let reader = [Role::Publisher, Role::Subscriber, Role::Analyst];
    let hub = TestHub::builder()
        .principal("police", "user/lan", &reader)
        .principal("unit", "user/an", &reader)
        .principal("unit", "user/binh", &reader)
        .start()
        .await;
    let (lan, an, binh) = (("police", "user/lan"), ("unit", "user/an"), ("unit", "user/binh"));
    let identity = hub.spiffe("unit", "user/an");
    let words = ["--tlp", "red", "--to-person", &identity, "--caveat", "watch-do-not-block"];
    publish(&hub, lan, "red.example", &words).await.well();
    publish(&hub, lan, "green.example", &["--tlp", "green"]).await.well();

    let event = first_event(&hub, an).await;
    let told = ["value", "tlp", "to_persons", "caveats", "owner"].map(|field| event[field].clone());
    let expected =
        serde_json::json!(["red.example", "TLP:RED", [identity], ["watch-do-not-block"], "police",]);
    assert_eq!(serde_json::Value::from(told.to_vec()), expected);
    let name = event["name"].as_str().unwrap();
    let got = luytre(&hub, an.0, an.1, &["get", name]).await.json();
    assert_eq!(got[0]["to_persons"], serde_json::json!([identity]));
    assert_eq!(listed(&hub, an).await, ["green.example"], "RED is not searched, even by its reader");

    assert_eq!(first_event(&hub, binh).await["value"], "green.example");
    assert_eq!(listed(&hub, binh).await, ["green.example"]);
    let looked_up = luytre(&hub, binh.0, binh.1, &["lookup", "red.example"]).await.json();
    assert_eq!(looked_up[0]["known"], false);
    // All but the number of the call.
    let told = |ended: Ended| (ended.code, ended.stdout, ended.stderr.lines().next().unwrap().to_owned());
    let hidden = luytre(&hub, binh.0, binh.1, &["get", name]).await;
    let absent = luytre(&hub, binh.0, binh.1, &["get", "00000000-0000-4000-8000-000000000001"]).await;
    assert_eq!(hidden.code, 66);
    assert_eq!(told(hidden), told(absent));

    let stranger = hub.spiffe("unit", "user/nobody");
    let refused = publish(&hub, lan, "lost.example", &["--tlp", "red", "--to-person", &stranger]).await;
    assert_eq!(refused.code, 65);
    assert!(refused.stderr.contains("PERSON_UNKNOWN") && refused.stderr.contains(&stranger), "{refused:?}");
    assert_eq!(listed(&hub, lan).await, ["green.example", "red.example"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_provider_publishes_and_revokes_for_its_unit_and_for_no_other() {
    let roles = [Role::Publisher, Role::Subscriber, Role::Analyst];
    let hub = TestHub::builder()
        .principal("provider", "system/soc", &roles)
        .principal("unit", "system/soc", &roles)
        .principal("other", "system/soc", &roles)
        .acts_for("provider", "unit")
        .start()
        .await;
    let [provider, unit, other] = ["provider", "unit", "other"].map(|org| (org, "system/soc"));
    let words = ["--tlp", "amber+strict", "--to", "other", "--on-behalf-of", "unit"];
    publish(&hub, provider, "unit.example", &words).await.well();
    assert!(listed(&hub, provider).await.is_empty(), "it is not the provider's to read");
    assert_eq!(listed(&hub, unit).await, ["unit.example"]);
    let event = first_event(&hub, other).await;
    assert_eq!((&event["owner"], &event["published_by"]), (&"unit".into(), &"provider".into()));

    for stranger in ["other", "nowhere"] {
        let words = ["--tlp", "green", "--on-behalf-of", stranger];
        let refused = publish(&hub, provider, "stranger.example", &words).await;
        assert_eq!(refused.code, 65);
        assert!(refused.stderr.contains("DELEGATION_MISSING"), "{refused:?}");
    }

    let name = event["name"].as_str().unwrap();
    let revoke = ["revoke", name, "--reason", "withdrawn"];
    let alone = luytre(&hub, provider.0, provider.1, &revoke).await;
    assert_eq!(alone.code, 66, "it may not see it: {alone:?}");
    let words = [&revoke[..], &["--on-behalf-of", "unit"]].concat();
    let answer = luytre(&hub, provider.0, provider.1, &words).await.json().remove(0);
    assert_eq!(answer["state"], "revoked");
    assert!(answer.get("value").is_none(), "{answer}");
    let stands = luytre(&hub, unit.0, unit.1, &["get", name]).await.json().remove(0);
    assert_eq!(stands["state"], "revoked");
    let mut hub = hub;
    hub.terminate().await;
    hub.verify();
}
