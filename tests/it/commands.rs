//! What the commands of `luytre` promise at the prompt, against the real hub.

use std::fs;

use luytre::base::clock::{Clock as _, SystemClock};
use luytre::model::principal::Role;

use crate::harness::{Ended, TestHub, luytre};

/// A hub with two organisations, and `values` published by the first.
async fn hub_with(values: &[&str]) -> TestHub {
    let hub = TestHub::builder()
        .principal("a", "system/feed", &[Role::Publisher, Role::Subscriber])
        .principal("b", "system/siem", &[Role::Subscriber])
        .start()
        .await;
    let list = hub.dir().join("list.txt");
    fs::write(&list, values.join("\n")).unwrap();
    luytre(&hub, "a", "system/feed", &["publish", list.to_str().unwrap(), "--tlp", "green", "--quiet"])
        .await
        .well();
    hub
}

/// The values that `subscribe` printed.
fn values(events: &[serde_json::Value]) -> Vec<&str> {
    events.iter().map(|event| event["value"].as_str().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn named_subscriptions_are_listed_and_deleted_by_their_own_organisation_alone() {
    let hub = hub_with(&["one.example", "198.51.100.7", "two.example"]).await;
    let siem = async |words: &[&str]| luytre(&hub, "b", "system/siem", words).await;
    let first = ["subscribe", "--name", "domains", "--kind", "domain", "--count", "1"];
    assert_eq!(values(&siem(&first).await.json()), ["one.example"]);
    siem(&["subscribe", "--name", "all", "--sightings", "--count", "3"]).await.json();

    let listed = siem(&["subscriptions", "list", "--format", "jsonl"]).await.json();
    let told: Vec<_> = listed
        .iter()
        .map(|line| {
            assert!(line["create_time"].is_string() && line["ack_time"].is_string(), "{line}");
            (&line["subscription"], &line["organisation"], &line["kinds"], &line["sightings"])
        })
        .collect();
    let (b, domain) = ("b".into(), serde_json::json!(["domain"]));
    assert_eq!(
        told,
        [
            (&"all".into(), &b, &serde_json::Value::Null, &true.into()),
            (&"domains".into(), &b, &domain, &false.into()),
        ]
    );
    let table = siem(&["subscriptions", "list"]).await.well();
    let ends: Vec<_> = table.lines().map(|line| line.split_whitespace().next_back().unwrap()).collect();
    assert_eq!(ends, ["WANTS", "--sightings", "domain"], "{table}");

    let others = luytre(&hub, "a", "system/feed", &["subscriptions", "list", "--format", "jsonl"]).await;
    assert!(others.json().is_empty(), "another organisation's are not shown");
    let delete =
        async |name: &str| luytre(&hub, "a", "system/feed", &["subscriptions", "delete", name]).await;
    let (foreign, absent) = (delete("organisations/b/subscriptions/domains").await, delete("domains").await);
    // All but the number of the call.
    let told = |ended: &Ended| ended.stderr.lines().next().unwrap().to_owned();
    assert_eq!((foreign.code, foreign.stdout.as_str()), (66, ""));
    assert_eq!((absent.code, absent.stdout.as_str(), told(&absent)), (66, "", told(&foreign)));

    assert_eq!(siem(&["subscriptions", "delete", "domains"]).await.well(), "");
    let left = siem(&["subscriptions", "list", "--format", "jsonl"]).await.json();
    assert_eq!(left.iter().map(|line| &line["subscription"]).collect::<Vec<_>>(), ["all"]);
    assert_eq!(values(&siem(&first).await.json()), ["one.example"], "its place went with it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_counted_run_takes_no_more_than_it_prints_and_names_the_place_to_go_on_from() {
    let all = ["a.example", "b.example", "c.example", "d.example", "e.example"];
    let hub = hub_with(&all).await;
    let delivered = async || {
        let (_, metrics) = hub.get("/metrics").await;
        let line = metrics.lines().find_map(|line| line.strip_prefix("luytre_events_delivered_total "));
        line.map(str::to_owned)
    };

    let first = luytre(&hub, "b", "system/siem", &["subscribe", "--count", "3"]).await;
    let place = first.stderr.split_whitespace().find(|word| word.starts_with("token:"));
    let place = place.unwrap_or_else(|| panic!("no place: {first:?}")).to_owned();
    assert_eq!(values(&first.json()), all[..3]);
    assert_eq!(delivered().await.as_deref(), Some("3"), "the hub sent what was wanted and no more");

    let rest = luytre(&hub, "b", "system/siem", &["subscribe", "--from", &place, "--count", "2"]).await;
    assert_eq!(values(&rest.json()), all[3..]);
    assert_eq!(delivered().await.as_deref(), Some("5"));

    let state = hub.dir().join("state");
    let kept = ["subscribe", "--state", state.to_str().unwrap(), "--count", "2"];
    for expected in [&all[..2], &all[2..4]] {
        let run = luytre(&hub, "b", "system/siem", &kept).await;
        assert!(!run.stderr.contains("token:"), "the file keeps the place: {run:?}");
        assert_eq!(values(&run.json()), expected);
    }
}

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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_owner_hears_that_another_hit_its_hidden_value_and_may_ask_who_sees_it() {
    let hub = TestHub::builder()
        .principal("police", "system/desk", &[Role::Publisher, Role::Subscriber, Role::Analyst])
        .principal("district", "system/soc", &[Role::Publisher, Role::Subscriber, Role::Analyst])
        .organisation("lead")
        .start()
        .await;
    let police = async |words: &[&str]| luytre(&hub, "police", "system/desk", words).await;
    let district = async |words: &[&str]| luytre(&hub, "district", "system/soc", words).await;
    let list = |name: &str, value: &str| {
        let path = hub.dir().join(name);
        fs::write(&path, value).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let (embargoed, fresh) = (list("embargoed.txt", "198.51.100.23"), list("fresh.txt", "198.51.100.24"));
    police(&["publish", &embargoed, "--tlp", "amber", "--to", "lead", "--quiet"]).await.well();
    let held = police(&["subscribe", "--count", "1"]).await.json().remove(0);
    let held = held["name"].as_str().unwrap();

    // The district's answers differ by the values' names alone.
    let hit = district(&["publish", &embargoed, "--tlp", "green"]).await;
    let miss = district(&["publish", &fresh, "--tlp", "green"]).await;
    assert_eq!((hit.code, &hit.stderr), (miss.code, &miss.stderr));
    assert_eq!(hit.stdout.lines().count(), miss.stdout.lines().count());

    let told = police(&["subscribe", "--notices", "--count", "4"]).await.json();
    let notice = told.iter().find(|event| event["event"] == "collision").unwrap();
    assert_eq!((&notice["indicator"], &notice["other_owner"]), (&held.into(), &"district".into()));
    assert!(notice["publish_time"].is_string() && notice["other"].is_string(), "{notice}");
    let shown = police(&["get", held]).await.json().remove(0);
    assert_eq!(shown["collisions"][0]["other"], notice["other"]);

    let why = async |org| police(&["explain", held, org, "--format", "jsonl"]).await.json().remove(0);
    let (lead, other) = (why("lead").await, why("district").await);
    assert_eq!((&lead["visible"], &lead["steps"][0]["why"]), (&true.into(), &"named".into()));
    assert_eq!((&other["visible"], &other["steps"][0]["why"]), (&false.into(), &"not-named".into()));
    let words = police(&["explain", held, "lead"]).await.well();
    assert_eq!(words, "lead sees it · được xem\n  the marking names lead · nhãn nêu tên lead\n");
    // For anyone else it is absent: the same words as for none.
    let foreign = district(&["explain", held, "lead"]).await;
    let none = district(&["explain", "indicators/00000000-0000-4000-8000-000000000000", "lead"]).await;
    let line = |ended: &Ended| ended.stderr.lines().next().unwrap().to_owned();
    assert_eq!((foreign.code, line(&foreign)), (66, line(&none)));

    // Released: everyone sees both, and the owner of the one is told no more.
    police(&["publish", &embargoed, "--tlp", "green", "--quiet"]).await.well();
    let open = why("district").await;
    assert_eq!((&open["visible"], &open["steps"][0]["why"]), (&true.into(), &"member".into()));
    let found = district(&["lookup", "198.51.100.23", "--format", "jsonl"]).await.json();
    let owners = found[0]["matches"].as_array().map(Vec::len);
    assert_eq!(owners, Some(2), "{found:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_revoked_certificate_ends_every_command_with_77_and_says_what_to_do() {
    let mut hub = TestHub::builder()
        .principal("a", "system/feed", &[Role::Publisher, Role::Subscriber, Role::Analyst])
        .prepare();
    let pem = fs::read(hub.credentials("a", "system/feed").certificate).unwrap();
    let certificates = luytre::pki::pem::certificates(&pem).unwrap();
    let shown = luytre::pki::identity::read_of_any_domain(&certificates[0]).unwrap();
    let lifetime = luytre::pki::issue::lifetime::REVOCATION_LIST;
    hub.pki().sign_revocation_list(Some(&shown.serial), SystemClock.now(), lifetime).unwrap();
    hub.serve().await;
    let list = hub.dir().join("list.txt");
    fs::write(&list, "one.example\n").unwrap();
    let publish = ["publish", list.to_str().unwrap(), "--tlp", "green"];
    for words in [&["whoami"][..], &["subscribe"], &["lookup", "one.example"], &["list"], &publish] {
        let ended = luytre(&hub, "a", "system/feed", words).await;
        assert_eq!((ended.code, ended.stdout.as_str()), (77, ""), "{ended:?}");
        assert!(ended.stderr.contains("it was revoked") && ended.stderr.contains("new key"), "{ended:?}");
        assert!(!ended.stderr.contains("verdict"), "{ended:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_not_publish_is_told_that_alone() {
    let hub = hub_with(&["one.example"]).await;
    let list = hub.dir().join("list.txt");
    let refused =
        luytre(&hub, "b", "system/siem", &["publish", list.to_str().unwrap(), "--tlp", "green"]).await;
    assert_eq!(refused.code, 77, "{refused:?}");
    assert!(refused.stderr.starts_with("luytre: ROLE_INSUFFICIENT"), "{refused:?}");
    assert!(!refused.stderr.contains("verdict") && !refused.stderr.contains("accepted"), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_analyst_sees_at_the_prompt_what_is_known_of_a_value_and_what_was() {
    let hub = TestHub::builder()
        .principal("a", "system/feed", &[Role::Publisher, Role::Analyst])
        .principal("b", "user/an", &[Role::Publisher, Role::Analyst])
        .start()
        .await;
    let list = hub.dir().join("list.jsonl");
    let file = list.to_str().unwrap();
    let publish = async |lines: &str| {
        fs::write(&list, lines).unwrap();
        luytre(&hub, "a", "system/feed", &["publish", file, "--quiet"]).await.well();
    };
    publish(
        "{\"value\":\"evil.example\",\"tlp\":\"green\",\"confidence\":80,\"campaign\":\"Hè\"}\n{\"value\":\"198.51.100.7\",\"tlp\":\"green\",\"campaign\":\"hè\"}\n",
    )
    .await;
    publish("{\"value\":\"evil.example\",\"tlp\":\"green\",\"confidence\":90,\"campaign\":\"Hè\"}\n").await;
    let analyst = async |words: &[&str]| luytre(&hub, "b", "user/an", words).await;

    let shown = analyst(&["show", "EVIL[.]example", "--json"]).await.json().remove(0);
    let assertion = &shown["assertions"][0];
    assert_eq!((&shown["value"], &shown["owners"]), (&"evil.example".into(), &serde_json::json!(["a"])));
    assert_eq!((&assertion["confidence"], &shown["score"]["value"]), (&90.into(), &90.into()));
    assert_eq!(
        (&shown["related"][0]["relation"], &shown["related"][0]["values"][0]["value"]),
        (&"same-campaign".into(), &"198.51.100.7".into())
    );
    let name = assertion["name"].as_str().unwrap();
    let screen = analyst(&["show", "evil.example", "--lang", "vi"]).await.well();
    assert!(screen.contains("KHẲNG ĐỊNH") && screen.contains("cùng chiến dịch Hè: 198.51.100.7"), "{screen}");
    assert!(screen.contains("TLP:GREEN") && screen.contains(" +07:00") && screen.lines().count() < 25);

    let versions = analyst(&["versions", name, "--json"]).await.json();
    let told: Vec<_> = versions.iter().map(|version| version["change"].as_str().unwrap()).collect();
    assert_eq!(told, ["updated", "created"]);
    let change = serde_json::json!([{"field": "confidence", "before": "80", "after": "90"}]);
    assert_eq!(versions[0]["changes"], change);
    let words = analyst(&["versions", name, "--lang", "en", "--limit", "1"]).await;
    assert!(words.stderr.contains("more than 1"), "{words:?}");
    assert!(words.well().ends_with("    confidence: 80 → 90\n"));

    let first = versions[1]["time"].as_str().unwrap();
    let stood = analyst(&["get", name, "--as-of", first]).await.json().remove(0);
    assert_eq!(stood["confidence"], 80);
    let before = analyst(&["get", name, "--as-of", "2020-01-01"]).await;
    let none = analyst(&["get", "indicators/00000000-0000-4000-8000-000000000000"]).await;
    let line = |ended: &Ended| ended.stderr.lines().next().unwrap().to_owned();
    assert_eq!((before.code, line(&before)), (66, line(&none)));
    let unknown = analyst(&["show", "never.example", "--lang", "en"]).await;
    assert!(unknown.stderr.contains("nothing that you may see"), "{unknown:?}");
    assert_eq!(unknown.well(), "never.example  (domain)\n");
}
