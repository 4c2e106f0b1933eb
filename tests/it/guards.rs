//! The promise that what everybody needs is not blocked by a slip: values on
//! lists of the hub are refused, held back to `monitor` or taken with a word,
//! and the publisher learns which list said so.

use std::fs;

use luytre::model::principal::Role;
use luytre::wire::proto::v1;
use tonic_types::RpcStatusExt as _;
use uuid::Uuid;
use v1::RecommendedAction;

use crate::harness::{TestHub, batch, draft, luytre};

/// A list of MISP's format.
fn list(matching: &str, version: u64, entries: &[&str]) -> String {
    let json = serde_json::json!({
        "name": format!("Our {matching}"), "version": version, "description": "d", "type": matching,
        "list": entries,
    });
    json.to_string()
}

fn block(value: &str) -> v1::IndicatorDraft {
    v1::IndicatorDraft { recommended_action: RecommendedAction::Block.into(), ..draft(value) }
}

/// What is told of an item.
#[derive(Debug, PartialEq, Eq, Clone)]
enum Told {
    Nothing,
    Informed(Vec<String>),
    Held(Vec<String>),
    Refused(String),
}

fn informed(list: &str) -> Told {
    Told::Informed(vec![list.to_owned()])
}

fn held(list: &str) -> Told {
    Told::Held(vec![list.to_owned()])
}

async fn publish(
    hub: &TestHub,
    request: v1::PublishIndicatorsRequest,
) -> Vec<(Told, v1::PublishedIndicator)> {
    let mut client = hub.peer("a", "system/feed").exchange();
    let answer = client.publish_indicators(request).await.unwrap().into_inner();
    let told = |result: v1::PublishResult| match result.outcome.unwrap() {
        v1::publish_result::Outcome::Published(published) => {
            let told = match published.guard.clone() {
                None => Told::Nothing,
                Some(found) => {
                    let lists = found.lists.iter().map(|list| list.list.clone()).collect();
                    match found.outcome() {
                        v1::GuardOutcome::Held => Told::Held(lists),
                        _ => Told::Informed(lists),
                    }
                }
            };
            (told, published)
        }
        v1::publish_result::Outcome::Rejected(status) => {
            let info = status.get_error_details().error_info().unwrap().clone();
            assert_eq!(info.reason, "GUARD_REFUSED");
            (Told::Refused(status.message), v1::PublishedIndicator::default())
        }
    };
    answer.results.into_iter().map(told).collect()
}

async fn told(hub: &TestHub, drafts: &[v1::IndicatorDraft]) -> Vec<Told> {
    let all = publish(hub, batch(Uuid::new_v4(), drafts.to_vec())).await;
    all.into_iter().map(|(told, _)| told).collect()
}

async fn action_of(hub: &TestHub, name: &str) -> RecommendedAction {
    let mut client = hub.peer("a", "system/feed").exchange();
    let request = v1::GetIndicatorRequest { name: name.to_owned(), as_of: None };
    client.get_indicator(request).await.unwrap().into_inner().indicator.unwrap().recommended_action()
}

const MODES: &str = "[guards.modes]\nnever = \"block\"\nshared = \"hold\"\n";

async fn hub_with(lists: &[(&str, String)]) -> TestHub {
    let mut hub = TestHub::builder()
        .principal("a", "system/feed", &[Role::Publisher, Role::Subscriber, Role::Analyst])
        .config(MODES)
        .prepare();
    if !lists.is_empty() {
        put(&hub, lists);
    }
    hub.serve().await;
    hub
}

/// Takes lists in at the prompt.
fn put(hub: &TestHub, lists: &[(&str, String)]) {
    let from = hub.dir().join("theirs");
    fs::create_dir_all(&from).unwrap();
    for (slug, json) in lists {
        fs::write(from.join(format!("{slug}.json")), json).unwrap();
    }
    let output = hub.operate(&["warninglists", "import", from.to_str().unwrap()]);
    assert!(output.status.success(), "{output:?}");
}

fn lists() -> Vec<(&'static str, String)> {
    vec![
        ("never", list("string", 1, &["d41d8cd98f00b204e9800998ecf8427e"])),
        ("shared", list("hostname", 4, &["shared.example"])),
        ("known", list("cidr", 2, &["198.51.100.0/24"])),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_lists_name_is_refused_held_or_told_and_the_publisher_learns_which_list_said_so() {
    let mut hub = hub_with(&lists()).await;
    let victim = v1::IndicatorDraft { role: v1::IndicatorRole::Victim.into(), ..draft("www.shared.example") };
    let drafts = [
        block("shared.example"),
        block("free.example"),
        block("198.51.100.7"),
        block("d41d8cd98f00b204e9800998ecf8427e"),
        block("mod.gov.kh"),
        draft("gov.vn"),
        victim,
        block("https://shared.example/kit/login"),
    ];
    let request = batch(Uuid::new_v4(), drafts.to_vec());
    let first = publish(&hub, request.clone()).await;
    let all: Vec<_> = first.iter().map(|(told, _)| told.clone()).collect();
    let Told::Refused(problem) = &all[3] else { panic!("{all:?}") };
    assert!(problem.contains("never (Our string, version 1)"), "{problem}");
    let expected = [
        held("shared"),
        Told::Nothing,
        informed("known"),
        all[3].clone(),
        held("government-names"),
        Told::Informed(vec!["government-names".to_owned(), "public-suffixes".to_owned()]),
        informed("shared"),
        informed("shared"),
    ];
    assert_eq!(all, expected);
    assert_eq!(action_of(&hub, &first[0].1.name).await, RecommendedAction::Monitor);
    assert_eq!(action_of(&hub, &first[1].1.name).await, RecommendedAction::Block);
    assert_eq!(action_of(&hub, &first[4].1.name).await, RecommendedAction::Monitor);

    // A retry has its first answer, whatever lists there are by then.
    put(
        &hub,
        &[("never", list("string", 2, &["other.example"])), ("shared", list("hostname", 5, &["x.example"]))],
    );
    assert_eq!(hub.operate(&["reload"]).status.code(), Some(0));
    assert_eq!(publish(&hub, request.clone()).await, first);
    let new = told(&hub, &drafts[..4]).await;
    assert_eq!(
        new,
        [Told::Nothing, Told::Nothing, informed("known"), Told::Nothing],
        "a new request does not"
    );
    assert_eq!(action_of(&hub, &first[0].1.name).await, RecommendedAction::Block);

    let (_, metrics) = hub.get("/metrics").await;
    let count = |outcome| format!("luytre_guard_items_total{{outcome=\"{outcome}\"}}");
    for (outcome, expected) in [("refused", "1"), ("held", "2"), ("informed", "5")] {
        let line = metrics.lines().find_map(|line| line.strip_prefix(&count(outcome)));
        assert_eq!(line.map(str::trim), Some(expected), "{outcome}");
    }
    hub.terminate().await;
    hub.verify();
    hub.serve().await;
    assert_eq!(publish(&hub, request).await, first, "nor after a restart");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_roster_calls_a_members_own_is_held_back_whoever_publishes_it() {
    let bank = serde_json::json!({
        "slug": "bank", "name_vi": "Ngân hàng", "name_en": "Bank", "kind": "test",
        "protected": ["bank.example", "203.0.113.0/24"],
    });
    let mut hub = TestHub::builder()
        .of_file(serde_json::json!({ "organisations": [bank] }))
        .principal("a", "system/feed", &[Role::Publisher, Role::Subscriber, Role::Analyst])
        .prepare();
    hub.serve().await;
    let drafts = [
        block("www.bank.example"),
        block("https://bank.example/login"),
        block("203.0.113.7"),
        block("203.0.112.0/23"),
        block("bank.example.org"),
        block("203.0.114.7"),
        draft("bank.example"),
    ];
    let all = publish(&hub, batch(Uuid::new_v4(), drafts.to_vec())).await;
    let outcomes: Vec<_> = all.iter().map(|(told, _)| told.clone()).collect();
    let own = || held("members-own");
    let free = || Told::Nothing;
    let known = || informed("members-own");
    // To block one page is not to block who has it.
    assert_eq!(outcomes, [own(), known(), own(), own(), free(), free(), known()]);
    assert_eq!(action_of(&hub, &all[0].1.name).await, RecommendedAction::Monitor);
    assert_eq!(action_of(&hub, &all[4].1.name).await, RecommendedAction::Block);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_are_taken_up_while_the_hub_runs_and_an_unsound_one_changes_nothing() {
    let hub = hub_with(&[]).await;
    let asked = [block("shared.example"), block("10.1.2.3")];
    assert_eq!(told(&hub, &asked).await, [Told::Nothing, held("reserved-networks")]);
    put(&hub, &lists());
    assert_eq!(told(&hub, &asked[..1]).await, [Told::Nothing], "until it is told to");
    assert_eq!(hub.operate(&["reload"]).status.code(), Some(0));
    assert_eq!(told(&hub, &asked[..1]).await, [held("shared")]);

    let listed = hub.operate(&["warninglists", "list"]);
    let listed = String::from_utf8(listed.stdout).unwrap();
    assert!(listed.contains("shared: hold, version 4, 1 entries: Our hostname"), "{listed}");
    assert!(listed.contains("government-names: hold, version 1, built in"), "{listed}");

    let broken = hub.data_dir().join("warninglists/broken.json");
    fs::write(&broken, "{").unwrap();
    hub.operate(&["reload"]);
    assert_eq!(told(&hub, &asked[..1]).await, [held("shared")]);
    let (_, metrics) = hub.get("/metrics").await;
    assert!(metrics.lines().any(|line| line == "luytre_guard_reload_failures_total 1"));
    fs::remove_file(broken).unwrap();

    let from = hub.dir().join("theirs");
    fs::write(from.join("bad.json"), "{}").unwrap();
    let output = hub.operate(&["warninglists", "import", from.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(65), "{output:?}");
    assert!(String::from_utf8(output.stderr).unwrap().contains("bad.json: refused: "));
    assert!(String::from_utf8(output.stdout).unwrap().contains("shared: taken, version 4"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn luytre_publish_says_which_lines_went_out_as_monitor() {
    let hub = hub_with(&lists()).await;
    let input = hub.dir().join("input.txt");
    fs::write(&input, "free.example\nwww.shared.example\n198.51.100.7\n").unwrap();
    let words = ["publish", input.to_str().unwrap(), "--tlp", "green", "--action", "block", "--quiet"];
    let ended = luytre(&hub, "a", "system/feed", &words).await;
    assert_eq!(ended.code, 0, "{ended:?}");
    for part in [
        "held 1: ",
        "line 2: went out as monitor: on list shared (Our hostname, version 4)",
        "think twice 1: ",
        "on lists: known 1, shared 1",
    ] {
        assert!(ended.stderr.contains(part), "{part}: {ended:?}");
    }
}
