//! A district warns the lead unit and the police; the lead unit asks the
//! district's leave and warns everybody under its own name, and nobody else
//! learns that anyone had warned before.

use std::fs;

use luytre::model::principal::Role;
use serde_json::Value;

use crate::harness::{Ended, TestHub, luytre};

const VALUE: &str = "203.0.113.77";

async fn run(hub: &TestHub, organisation: &str, words: &[&str]) -> Ended {
    luytre(hub, organisation, "system/soc", words).await
}

/// Publishes the value; what `publish` says of it.
async fn publish(hub: &TestHub, organisation: &str, words: &[&str]) -> Ended {
    let list = hub.dir().join("value.txt");
    fs::write(&list, VALUE).unwrap();
    run(hub, organisation, &[&["publish", list.to_str().unwrap(), "--quiet"], words].concat()).await
}

/// The one indicator of `owner` that `organisation` is shown by `list`.
async fn listed(hub: &TestHub, organisation: &str, owner: &str) -> Value {
    run(hub, organisation, &["list", "--format", "jsonl", "--owner", owner]).await.json().remove(0)
}

/// What `organisation` is told about leave, in a subscription of its own.
async fn notices(hub: &TestHub, organisation: &str, count: &str) -> Vec<Value> {
    let events = run(hub, organisation, &["subscribe", "--notices", "--count", count]).await.json();
    events.into_iter().filter(|event| event["event"] == "republication").collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_district_gives_leave_and_the_lead_unit_warns_everyone_under_its_own_name() {
    let roles = [Role::Publisher, Role::Subscriber, Role::Analyst];
    let mut hub = TestHub::builder()
        .principal("ubnd-dong-da", "system/soc", &roles)
        .principal("so-tttt", "system/soc", &roles)
        .principal("ca-hanoi", "system/soc", &roles)
        .principal("so-gddt", "system/soc", &roles)
        .lead_unit("so-tttt")
        .start()
        .await;
    publish(&hub, "ubnd-dong-da", &["--tlp", "amber", "--to", "so-tttt,ca-hanoi"]).await.well();
    let name = listed(&hub, "so-tttt", "ubnd-dong-da").await["name"].as_str().unwrap().to_owned();
    let further = ["--tlp", "green", "--republication-of", &name];
    let refused = publish(&hub, "so-tttt", &further).await;
    assert!(refused.code == 65 && refused.stderr.contains("REPUBLICATION_WITHOUT_LEAVE"), "{refused:?}");

    let ask = ["leave", "ask", &name, "--tlp", "green", "--reason", "to warn every unit"];
    let asked = run(&hub, "so-tttt", &ask).await.json().remove(0);
    assert_eq!((&asked["state"], &asked["wish"]["tlp"]), (&"requested".into(), &"TLP:GREEN".into()));
    // All but the number of the call.
    let told = |ended: Ended| (ended.code, ended.stdout, ended.stderr.lines().next().unwrap().to_owned());
    let nothing = ["leave", "ask", "00000000-0000-4000-8000-000000000001", "--tlp", "green", "--reason", "r"];
    let hidden = run(&hub, "so-gddt", &ask).await;
    assert_eq!(hidden.code, 66);
    assert_eq!(told(hidden), told(run(&hub, "so-gddt", &nothing).await));

    hub.kill9();
    hub.serve().await;
    let heard = notices(&hub, "ubnd-dong-da", "2").await.remove(0);
    assert_eq!(heard["reason"], "to warn every unit");
    assert_eq!(heard["requester"], hub.spiffe("so-tttt", "system/soc"));
    let waiting = run(&hub, "ubnd-dong-da", &["leave", "list", "--waiting"]).await.well();
    assert!(waiting.contains("asks for TLP:GREEN: to warn every unit"), "{waiting}");
    let denied =
        run(&hub, "ca-hanoi", &["leave", "grant", &name, "--for", "so-tttt", "--tlp", "green"]).await;
    assert!(denied.code == 77 && denied.stderr.contains("ROLE_INSUFFICIENT"), "{denied:?}");
    let grant = ["leave", "grant", &name, "--for", "so-tttt", "--tlp", "green", "--note", "go ahead"];
    let given = run(&hub, "ubnd-dong-da", &grant).await.json().remove(0);
    assert_eq!(given["answerer"], hub.spiffe("ubnd-dong-da", "system/soc"));
    let answer = notices(&hub, "so-tttt", "2").await.remove(0);
    assert_eq!((&answer["state"], &answer["note"]), (&"granted".into(), &"go ahead".into()));
    assert!(answer.get("answerer").is_none(), "{answer}");

    let clear = publish(&hub, "so-tttt", &["--tlp", "clear", "--republication-of", &name]).await;
    assert!(clear.code == 65 && clear.stderr.contains("REPUBLICATION_TOO_WIDE"), "{clear:?}");
    publish(&hub, "so-tttt", &further).await.well();
    let other = listed(&hub, "so-gddt", "so-tttt").await;
    assert_eq!((&other["value"], &other["tlp"]), (&VALUE.into(), &"TLP:GREEN".into()));
    let id = other["name"].as_str().unwrap();
    let backup = hub.backup("backup");
    for restored in [false, true] {
        if restored {
            assert!(hub.terminate().await.success());
            hub.verify();
            hub.restore(&backup);
            hub.serve().await;
        }
        for (organisation, original) in [
            ("ubnd-dong-da", Some(&name)),
            ("ca-hanoi", Some(&name)),
            ("so-tttt", Some(&name)),
            ("so-gddt", None),
        ] {
            let got = run(&hub, organisation, &["get", id]).await.json().remove(0);
            let event = run(&hub, organisation, &["subscribe", "--owner", "so-tttt", "--count", "1"]).await;
            for shown in [got, event.json().remove(0), listed(&hub, organisation, "so-tttt").await] {
                assert_eq!(shown["name"], id);
                let of = shown.get("republication_of").map(|of| of.as_str().unwrap());
                assert_eq!(of, original.map(String::as_str), "{organisation}: {shown}");
                assert!(original.is_some() || !shown.to_string().contains("dong-da"), "{shown}");
            }
        }
        let table = run(&hub, "so-tttt", &["leave", "list"]).await.well();
        assert!(table.contains("so-tttt") && table.contains("granted    TLP:GREEN"), "{table}");
        assert_eq!(run(&hub, "so-gddt", &["leave", "list", "--format", "jsonl"]).await.well(), "");
    }
    let withdraw = ["leave", "withdraw", &name, "--for", "so-tttt", "--note", "enough"];
    let withdrawn = run(&hub, "ubnd-dong-da", &withdraw).await.json().remove(0);
    assert_eq!(withdrawn["state"], "withdrawn");
    assert_eq!(run(&hub, "ubnd-dong-da", &withdraw).await.code, 66, "there is nothing left");
    assert_eq!(listed(&hub, "so-gddt", "so-tttt").await["state"], "active", "what is published stays");
    assert!(hub.terminate().await.success());
    hub.verify();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_acts_for_the_owner_gives_leave_without_reading_the_indicator() {
    let roles = [Role::Publisher, Role::Subscriber, Role::Analyst];
    let hub = TestHub::builder()
        .principal("unit", "system/soc", &roles)
        .principal("provider", "system/soc", &roles)
        .principal("so-tttt", "system/soc", &roles)
        .acts_for("provider", "unit")
        .start()
        .await;
    publish(&hub, "unit", &["--tlp", "amber+strict", "--to", "so-tttt"]).await.well();
    let name = listed(&hub, "so-tttt", "unit").await["name"].as_str().unwrap().to_owned();
    let grant = ["leave", "grant", &name, "--for", "so-tttt", "--tlp", "green"];
    assert_eq!(run(&hub, "provider", &grant).await.code, 66, "it may not see it");
    let words = [&grant[..], &["--on-behalf-of", "unit"]].concat();
    assert_eq!(run(&hub, "provider", &words).await.json()[0]["state"], "granted");
    let words = [&grant[..], &["--on-behalf-of", "unit"]].concat();
    let stranger = run(&hub, "so-tttt", &words).await;
    assert!(stranger.code == 77 && stranger.stderr.contains("DELEGATION_MISSING"), "{stranger:?}");
    publish(&hub, "so-tttt", &["--tlp", "green", "--republication-of", &name]).await.well();
    assert!(listed(&hub, "provider", "so-tttt").await.get("republication_of").is_none());
}
