//! How far a recall has got.

use luytre::model::principal::Role;
use luytre::wire::proto::v1;
use uuid::Uuid;
use v1::subscribe_response::Message as Heed;

use super::{MEMBER, witness};
use crate::harness::witness::from_the_beginning;
use crate::harness::{TestHub, Watcher, Witness, amber, batch, draft, luytre};

const FEED: &str = "system/feed";
const FW: &str = "system/fw";

async fn start() -> TestHub {
    ["named", "unnamed", "away", "reader"]
        .into_iter()
        .fold(
            TestHub::builder().principal("owner", FEED, &MEMBER).principal("reporter", FEED, &MEMBER),
            |builder, slug| builder.principal(slug, FW, &[Role::Subscriber, Role::Analyst]),
        )
        .start()
        .await
}

fn named(organisation: &str) -> v1::Open {
    v1::Open {
        subscription: format!("organisations/{organisation}/subscriptions/fw"),
        ..from_the_beginning()
    }
}

/// Goes on where it stood.
fn on(organisation: &str) -> v1::Open {
    v1::Open { start: None, ..named(organisation) }
}

async fn revoke(owner: &Witness, name: &str) {
    let revocation = Some(v1::Revocation { reason: 1, ..Default::default() });
    let (request_id, name) = (Uuid::new_v4().to_string(), name.to_owned());
    let request = v1::RevokeIndicatorRequest { request_id, name, revocation, ..Default::default() };
    owner.call::<v1::RevokeIndicatorResponse>("ExchangeService/RevokeIndicator", &request).await.unwrap();
}

/// What `luytre recall status` says, each organisation in order, and its exit code.
async fn status(hub: &TestHub, name: &str) -> (Vec<(String, String)>, i32) {
    let ended = luytre(hub, "owner", FEED, &["recall", "status", name, "--json"]).await;
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let lines = ended.stdout.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    (lines.map(|line| (text(&line["organisation"]), text(&line["recall"]))).collect(), ended.code)
}

fn told(all: &[(&str, &str)]) -> Vec<(String, String)> {
    all.iter().map(|&(slug, how)| (slug.to_owned(), how.to_owned())).collect()
}

async fn hears_revoked(stream: &mut Watcher) {
    stream.up_to(|event| event.kind == v1::EventKind::Revoked as i32).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_recall_is_followed_until_all_have_acknowledged_those_not_told_yet_first() {
    let hub = start().await;
    let owner = witness(&hub, "owner", FEED);
    let [by_name, unnamed, away, reader] =
        ["named", "unnamed", "away", "reader"].map(|slug| witness(&hub, slug, FW));
    let mut hears = by_name.watch(named("named")).await.unwrap();
    let mut streams = unnamed.watch_all().await;
    let mut leaves = away.watch(named("away")).await.unwrap();
    let name = owner.publish(draft("wrong.example")).await;
    for stream in [&mut hears, &mut streams, &mut leaves] {
        stream.up_to_indicator(&name).await;
    }
    hears.acknowledge().await;
    leaves.acknowledge().await;
    drop(leaves);
    reader.get(&name).await.unwrap();

    assert_eq!(status(&hub, &name).await, (vec![], 0), "nothing is to be recalled yet");
    let list = luytre(&hub, "owner", FEED, &["recipients", &name, "--json"]).await.json();
    let acknowledged: Vec<_> = list
        .iter()
        .filter(|one| one["acknowledge_time"].is_string())
        .map(|one| one["organisation"].as_str().unwrap())
        .collect();
    assert_eq!((list.len(), acknowledged), (4, vec!["away", "named"]));

    revoke(&owner, &name).await;
    hears_revoked(&mut hears).await;
    hears_revoked(&mut streams).await;
    let pending = [("away", "pending"), ("reader", "pending")];
    let expected = [&pending[..], &[("named", "delivered"), ("unnamed", "delivered")]].concat();
    let (mut said, code) = status(&hub, &name).await;
    said[2..].sort();
    assert_eq!((said, code), (told(&expected), 79));
    let text = luytre(&hub, "owner", FEED, &["recall", "status", &name, "--lang", "vi"]).await;
    assert!(text.stdout.contains("4 đơn vị đã nhận: chưa được báo 2, đã báo mà chưa xác nhận 2"), "{text:?}");

    // Who can acknowledges; who read it reads that it ended.
    hears.acknowledge().await;
    reader.get(&name).await.unwrap();
    let mut back = away.watch(on("away")).await.unwrap();
    while !matches!(back.next().await.unwrap(), Heed::Recalls(_)) {}
    let (said, _) = status(&hub, &name).await;
    let of = |slug: &str| said.iter().find(|(of, _)| of == slug).unwrap().1.clone();
    assert_eq!(
        ["away", "reader", "unnamed", "named"].map(of),
        ["delivered", "delivered", "delivered", "acknowledged"]
    );
    assert_eq!(said.last().unwrap().0, "named", "who has acknowledged comes last");
    hears_revoked(&mut back).await;
    back.acknowledge().await;
    let (said, code) = status(&hub, &name).await;
    assert_eq!(said.iter().filter(|(_, how)| how == "acknowledged").count(), 2);
    assert_eq!(code, 79, "a stream without a name never acknowledges");

    // Over a restart nothing of this is forgotten.
    let mut hub = hub;
    hub.restart().await;
    assert_eq!(status(&hub, &name).await, (said, 79));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_recall_that_all_have_acknowledged_is_complete_and_one_narrowed_concerns_who_lost_sight() {
    let hub = start().await;
    let owner = witness(&hub, "owner", FEED);
    let [first, second] = ["named", "away"].map(|slug| witness(&hub, slug, FW));
    let mut one = first.watch(named("named")).await.unwrap();
    let mut two = second.watch(named("away")).await.unwrap();
    let wide = amber(draft("wide.example"), &["named", "away"]);
    let name = owner.publish(wide.clone()).await;
    one.up_to_indicator(&name).await;
    two.up_to_indicator(&name).await;
    one.acknowledge().await;
    two.acknowledge().await;

    let narrow = v1::IndicatorDraft { marking: amber(draft(""), &["named"]).marking, ..wide };
    owner.send(&batch(Uuid::new_v4(), vec![narrow])).await.remove(0).unwrap();
    two.up_to(|event| event.kind == v1::EventKind::Withdrawn as i32).await;
    assert_eq!(status(&hub, &name).await, (told(&[("away", "delivered")]), 79));
    two.acknowledge().await;
    assert_eq!(status(&hub, &name).await, (told(&[("away", "acknowledged")]), 0));

    revoke(&owner, &name).await;
    hears_revoked(&mut one).await;
    one.acknowledge().await;
    let (said, code) = status(&hub, &name).await;
    assert_eq!(said.iter().find(|(slug, _)| slug == "named").unwrap().1, "acknowledged");
    // What it lost sight of before is told no more about; its place has to pass the end.
    assert!(code == 79 && said.len() == 2, "{said:?}");
    let later = owner.publish(draft("later.example")).await;
    two.up_to_indicator(&later).await;
    two.acknowledge().await;
    assert_eq!(status(&hub, &name).await.1, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_colleagues_subscription_acknowledges_a_reader_was_told_at_most() {
    let hub = TestHub::builder()
        .principal("owner", FEED, &MEMBER)
        .principal("reader", FW, &[Role::Subscriber, Role::Analyst])
        .principal("reader", "user/an", &[Role::Subscriber, Role::Analyst])
        .start()
        .await;
    let owner = witness(&hub, "owner", FEED);
    let [system, person] = [FW, "user/an"].map(|name| witness(&hub, "reader", name));
    let mut stream = system.watch(named("reader")).await.unwrap();
    let name = owner.publish(draft("wrong.example")).await;
    stream.up_to_indicator(&name).await;
    person.get(&name).await.unwrap();
    stream.acknowledge().await;
    revoke(&owner, &name).await;
    hears_revoked(&mut stream).await;
    stream.acknowledge().await;
    assert_eq!(status(&hub, &name).await, (told(&[("reader", "delivered")]), 79));
    // What he acknowledges himself he has.
    let own = v1::Open {
        subscription: "organisations/reader/subscriptions/own".to_owned(),
        ..from_the_beginning()
    };
    let mut own = person.watch(own).await.unwrap();
    hears_revoked(&mut own).await;
    own.acknowledge().await;
    assert_eq!(status(&hub, &name).await, (told(&[("reader", "acknowledged")]), 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_recall_of_what_is_older_than_receipts_is_never_called_complete() {
    let mut hub = start().await;
    let owner = witness(&hub, "owner", FEED);
    let mut stream = witness(&hub, "named", FW).watch(named("named")).await.unwrap();
    let name = owner.publish(draft("wrong.example")).await;
    stream.up_to_indicator(&name).await;
    revoke(&owner, &name).await;
    hears_revoked(&mut stream).await;
    stream.acknowledge().await;
    drop(stream);
    let acknowledged = told(&[("named", "acknowledged")]);
    assert_eq!(status(&hub, &name).await, (acknowledged.clone(), 0));
    hub.restart().await;
    assert_eq!(status(&hub, &name).await.1, 0, "a restart forgets nothing");

    // What was handed over after the copy was made is in none of it.
    let backup = hub.backup("backup");
    witness(&hub, "reader", FW).get(&name).await.unwrap();
    assert!(hub.terminate().await.success());
    hub.restore(&backup);
    hub.serve().await;
    assert_eq!(status(&hub, &name).await, (acknowledged, 79));
    let run = async |words: &[&str]| luytre(&hub, "owner", FEED, words).await;
    let text = run(&["recall", "status", &name]).await;
    assert!(text.code == 79 && text.stdout.contains("\nreceipts are known only since "), "{text:?}");
    let text = run(&["recall", "status", &name, "--lang", "vi"]).await;
    assert!(text.code == 79 && text.stdout.contains("\nbiên nhận chỉ được biết từ "), "{text:?}");
    for words in [&["recall", "status", &name, "--json"][..], &["recipients", &name, "--json"]] {
        let text = run(words).await;
        let line: serde_json::Value = serde_json::from_str(text.stdout.lines().next().unwrap()).unwrap();
        assert!(line["receipts_begin_time"].is_string(), "{text:?}");
        assert!(text.stderr.starts_with("luytre: receipts are known only since "), "{text:?}");
    }
    let young = owner.publish(draft("young.example")).await;
    revoke(&owner, &young).await;
    assert_eq!(status(&hub, &young).await, (vec![], 0), "of what came since all is known");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_false_positive_reaches_the_owner_at_once_whatever_he_asked_for_and_nobody_who_may_not_see_it() {
    let hub = start().await;
    let owner = witness(&hub, "owner", FEED);
    let reader = witness(&hub, "unnamed", FW);
    let name = owner.publish(draft("shared.example")).await;
    let filter = Some(v1::IndicatorFilter { labels: vec!["quiet".to_owned()], ..Default::default() });
    let notices = v1::Open { filter: filter.clone(), include_sightings: false, ..from_the_beginning() };
    let mut told = owner.watch(notices.clone()).await.unwrap();
    let mut others = reader.watch(notices.clone()).await.unwrap();
    let neither = v1::Open { include_notices: false, ..notices.clone() };
    let mut silent = owner.watch(v1::Open { filter: None, ..neither }).await.unwrap();

    let sighting = |outcome: v1::SightingOutcome| v1::Sighting {
        indicator: name.clone(),
        outcome: outcome.into(),
        sighted_count: 1,
        note: "registration fails".to_owned(),
        ..v1::Sighting::default()
    };
    let from = witness(&hub, "reporter", FEED);
    from.sight(sighting(v1::SightingOutcome::SeenBlocked)).await.unwrap();
    from.sight(sighting(v1::SightingOutcome::FalsePositive)).await.unwrap();
    let heard = told.up_to(|event| event.sighting.is_some()).await;
    assert_eq!(heard.len(), 1, "of what it met there is no notice: {heard:?}");
    let sighting = heard[0].sighting.clone().unwrap();
    assert_eq!(sighting.outcome(), v1::SightingOutcome::FalsePositive);
    assert_eq!(sighting.reporter, "organisations/reporter");
    // It comes again in its place.
    let mut again = owner.watch(notices).await.unwrap();
    assert_eq!(again.up_to(|event| event.sighting.is_some()).await, heard);

    let last =
        owner.publish(v1::IndicatorDraft { labels: vec!["quiet".to_owned()], ..draft("last.example") }).await;
    for stream in [&mut others, &mut silent] {
        let heard = stream.up_to_indicator(&last).await;
        assert!(heard.iter().all(|event| event.sighting.is_none()), "{heard:?}");
    }
    let words = ["subscribe", "--notices", "--label", "quiet", "--count", "1", "--from", "earliest"];
    let ended = luytre(&hub, "owner", FEED, &words).await;
    assert!(ended.stderr.contains("FALSE POSITIVE: reporter"), "{ended:?}");
}
