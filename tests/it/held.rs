//! A unit would have a shared host blocked, and a list of the hub says to think
//! twice: it is watched until somebody of the unit that leads agrees, and nobody
//! else can tell that anything waits.

use std::fs;

use luytre::model::principal::Role;
use serde_json::Value;

use crate::harness::{Ended, TestHub, luytre};

const UNIT: &str = "ubnd-dong-da";
const LEAD: &str = "so-tttt";
const OTHER: &str = "so-gddt";
const VALUE: &str = "cdn.mod.gov.kh";

async fn run(hub: &TestHub, organisation: &str, words: &[&str]) -> Ended {
    luytre(hub, organisation, "system/soc", words).await
}

async fn block(hub: &TestHub, value: &str, words: &[&str]) -> Ended {
    let list = hub.dir().join("value.txt");
    fs::write(&list, value).unwrap();
    let publish = ["publish", list.to_str().unwrap(), "--action", "block", "--quiet"];
    run(hub, UNIT, &[&publish, words].concat()).await
}

/// What `organisation` is shown of held publications.
async fn listed(hub: &TestHub, organisation: &str) -> Vec<Value> {
    run(hub, organisation, &["held", "list", "--format", "jsonl"]).await.json()
}

/// The events of a subscription of its own, so many of them.
async fn events(hub: &TestHub, organisation: &str, count: &str) -> Vec<Value> {
    run(hub, organisation, &["subscribe", "--notices", "--count", count]).await.json()
}

fn told(events: &[Value]) -> Vec<(&str, &str)> {
    let field = |event: &Value, name: &str| event.get(name).and_then(Value::as_str).map(str::to_owned);
    let of = |event: &Value| {
        let (kind, action) = (field(event, "event").unwrap(), field(event, "action"));
        let said = action.or_else(|| field(event, "state")).unwrap_or_default();
        (&*kind.leak(), &*said.leak())
    };
    events.iter().map(of).collect()
}

async fn hub() -> TestHub {
    let roles = [Role::Publisher, Role::Subscriber, Role::Analyst];
    [UNIT, LEAD, OTHER]
        .into_iter()
        .fold(TestHub::builder(), |builder, slug| builder.principal(slug, "system/soc", &roles))
        .principal(UNIT, "user/an", &roles)
        .lead_unit(LEAD)
        .start()
        .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_block_waits_for_the_unit_that_leads_and_outlasts_a_kill_before_and_after_the_answer() {
    let mut hub = hub().await;
    let published = block(&hub, VALUE, &["--tlp", "green"]).await;
    assert!(published.code == 0, "{published:?}");
    assert!(published.stderr.contains("waits for a second person, of so-tttt"), "{published:?}");
    hub.kill9();
    hub.serve().await;
    let waiting = listed(&hub, LEAD).await.remove(0);
    assert_eq!((&waiting["state"], &waiting["value"]), (&"waiting".into(), &VALUE.into()));
    assert_eq!(waiting["requester"], hub.spiffe(UNIT, "system/soc"));
    assert_eq!(told(&events(&hub, LEAD, "2").await), [("new", "monitor"), ("held", "waiting")]);
    let table = run(&hub, LEAD, &["held", "list", "--lang", "vi"]).await.well();
    assert!(table.contains("chờ duyệt") && table.contains(&format!("block {VALUE}")), "{table}");

    let name = waiting["indicator"].as_str().unwrap().to_owned();
    let etag = waiting["version"].to_string();
    let approve = ["held", "approve", &name, "--etag", &etag, "--note", "checked with its owner"];
    for organisation in [UNIT, OTHER] {
        let refused = run(&hub, organisation, &approve).await;
        let (code, reason) = if organisation == UNIT { (77, "ROLE_INSUFFICIENT") } else { (66, "NOT_FOUND") };
        assert!(refused.code == code && refused.stderr.contains(reason), "{refused:?}");
    }
    let old = ["held", "approve", &name, "--etag", "17", "--note", "checked"];
    let stale = run(&hub, LEAD, &old).await;
    assert!(stale.code == 75 && stale.stderr.contains("ETAG_MISMATCH"), "{stale:?}");
    let given = run(&hub, LEAD, &approve).await.json().remove(0);
    assert_eq!((&given["state"], &given["note"]), (&"approved".into(), &"checked with its owner".into()));
    hub.kill9();
    hub.serve().await;

    for organisation in [OTHER, LEAD, UNIT] {
        let got = run(&hub, organisation, &["get", &name]).await.json().remove(0);
        assert_eq!(got["action"], "block", "{organisation}");
    }
    assert_eq!(told(&events(&hub, OTHER, "2").await), [("new", "monitor"), ("update", "block")]);
    let of_unit = events(&hub, UNIT, "3").await;
    assert_eq!(told(&of_unit), [("new", "monitor"), ("update", "block"), ("held", "approved")]);
    assert_eq!(of_unit[2].get("answerer"), None, "who of the other organisation is not told");
    let again = block(&hub, VALUE, &["--tlp", "green"]).await;
    assert!(again.code == 0 && !again.stderr.contains("went out as monitor"), "{again:?}");
    let got = run(&hub, OTHER, &["get", &name]).await.json().remove(0);
    assert_eq!(got["action"], "block", "the same again changes nothing");
    assert!(hub.terminate().await.success());
    hub.verify();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_is_as_absent_as_what_never_was_for_who_has_nothing_to_say() {
    let mut hub = hub().await;
    let narrow = ["--tlp", "amber", "--to", OTHER];
    block(&hub, VALUE, &narrow).await;
    let waiting = listed(&hub, UNIT).await.remove(0);
    assert_eq!(waiting["deciders"], serde_json::json!([UNIT]), "the lead unit may not see it");
    let name = waiting["indicator"].as_str().unwrap().to_owned();
    let etag = waiting["version"].to_string();
    // All but the number of the call.
    let said =
        |ended: Ended| (ended.code, ended.stdout, ended.stderr.lines().next().unwrap_or("").to_owned());
    let nothing = "indicators/00000000-0000-4000-8000-000000000001";
    for organisation in [LEAD, OTHER] {
        for verb in ["approve", "reject"] {
            let answer = |name| ["held", verb, name, "--etag", &etag, "--note", "why"];
            let hidden = said(run(&hub, organisation, &answer(&name)).await);
            assert_eq!(hidden.0, 66, "{organisation} {verb}");
            assert_eq!(
                hidden,
                said(run(&hub, organisation, &answer(nothing)).await),
                "{organisation} {verb}"
            );
        }
        assert_eq!(listed(&hub, organisation).await, Vec::<Value>::new());
    }
    let own = ["held", "approve", &name, "--etag", &etag, "--note", "why"];
    let self_approved = run(&hub, UNIT, &own).await;
    assert!(
        self_approved.code == 77 && self_approved.stderr.contains("SECOND_PERSON_REQUIRED"),
        "{self_approved:?}"
    );
    let reject = ["held", "reject", &name, "--etag", &etag, "--note", "a ministry's host"];
    let refused = luytre(&hub, UNIT, "user/an", &reject).await.json().remove(0);
    assert_eq!(
        (&refused["state"], &refused["answerer"]),
        (&"rejected".into(), &hub.spiffe(UNIT, "user/an").into())
    );
    assert_eq!(run(&hub, OTHER, &["get", &name]).await.json()[0]["action"], "monitor");
    let again = block(&hub, VALUE, &narrow).await;
    assert!(again.stderr.contains("a second person rejected it"), "{again:?}");
    assert!(hub.terminate().await.success());
    hub.verify();
}
