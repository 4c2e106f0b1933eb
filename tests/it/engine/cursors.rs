//! Named subscriptions: where they stand is kept, by one stream at a time.

use luytre::hub::error::Reason;
use luytre::hub::{Caller, Command, Open, Start};
use luytre::model::invalid;
use luytre::model::principal::SpiffeId;
use luytre::model::query::IndicatorFilter;

use super::model::{self, Item, Model, Op};
use super::support::{self, Engine, Stream};

async fn five(engine: &Engine) {
    let items =
        (0..5).map(|value| Item { value, marking: 1, labels: 1, note: 0, reinstate: false }).collect();
    Model::default().apply(engine, &Op::Publish { org: 0, items }).await;
}

fn named(name: &str, start: Option<Start>) -> Open {
    Open { subscription: Some(name.into()), start, ..Open::default() }
}

/// Takes events one at a time.
async fn take(stream: &mut Stream, count: usize) {
    for _ in 0..count {
        stream.grant(1).await;
        while !matches!(
            stream.next().await.unwrap().unwrap(),
            luytre::wire::proto::v1::subscribe_response::Message::Batch(_)
        ) {}
    }
}

async fn ack(stream: &Stream) {
    stream.commands.send(Ok(Command::Ack(stream.token.clone()))).await.unwrap();
}

async fn count(stream: &mut Stream) -> usize {
    stream.drain(100).await.iter().map(|batch| batch.events.len()).sum()
}

#[tokio::test]
async fn an_acknowledged_cursor_outlives_a_restart() {
    let mut engine = Engine::new();
    five(&engine).await;
    let mut stream = engine.stream(1, named("soc", Some(Start::Earliest))).await.unwrap();
    take(&mut stream, 2).await;
    ack(&stream).await;
    while stream.acked == 0 {
        stream.next().await.unwrap().unwrap();
    }
    take(&mut stream, 1).await;
    stream.leave().await;
    engine = engine.reopen(|_| ()).await;
    let mut stream = engine.stream(1, named("soc", None)).await.unwrap();
    assert_eq!(count(&mut stream).await, 3, "from what was acknowledged, not from what was sent");
    stream.leave().await;
    // A name of its own to each.
    let strange = engine.stream(2, named("soc", None)).await.err().unwrap();
    assert_eq!(strange.reason, Reason::Input(invalid::Reason::FieldInvalid));
    engine.close().await;
}

#[tokio::test]
async fn a_named_subscription_exists_from_its_first_use_and_keeps_its_filter() {
    let mut engine = Engine::new();
    let filter = IndicatorFilter { labels: model::labels(1), ..IndicatorFilter::default() };
    let open = Open { filter: filter.clone(), ..named("soc", Some(Start::Latest)) };
    engine.stream(1, open).await.unwrap().leave().await;
    five(&engine).await;
    engine = engine.reopen(|_| ()).await;
    let kept = engine.hub.subscription(&engine.caller(1), "soc").await.unwrap();
    assert_eq!((kept.filter, kept.acked), (filter, None));
    let other = IndicatorFilter { labels: model::labels(2), ..IndicatorFilter::default() };
    let error =
        engine.stream(1, Open { filter: other, ..named("soc", Some(Start::Latest)) }).await.err().unwrap();
    assert_eq!(error.reason, Reason::Input(invalid::Reason::FieldInvalid));
    let mut stream = engine.stream(1, named("soc", None)).await.unwrap();
    assert_eq!(count(&mut stream).await, 5, "what came after the first use, though nothing was acknowledged");
}

#[tokio::test]
async fn a_newer_stream_displaces_the_older_one_of_its_name() {
    let engine = Engine::new();
    five(&engine).await;
    let mut older = engine.stream(1, named("soc", Some(Start::Earliest))).await.unwrap();
    let mut other = engine.stream(1, named("other", Some(Start::Earliest))).await.unwrap();
    let mut newer = engine.stream(1, named("soc", Some(Start::Earliest))).await.unwrap();
    assert_eq!(older.error().await.reason, Reason::SubscriptionDisplaced);
    older.leave().await;
    let mut newest = engine.stream(1, named("soc", Some(Start::Earliest))).await.unwrap();
    assert_eq!(newer.error().await.reason, Reason::SubscriptionDisplaced);
    assert_eq!((count(&mut newest).await, count(&mut other).await), (5, 5));
}

#[tokio::test]
async fn a_deleted_subscription_is_gone_and_its_stream_ends() {
    let mut engine = Engine::new();
    five(&engine).await;
    let mut stream = engine.stream(1, named("soc", Some(Start::Earliest))).await.unwrap();
    take(&mut stream, 1).await;
    ack(&stream).await;
    let caller = engine.caller(1);
    engine.hub.delete_subscription(&caller, "soc").await.unwrap();
    assert_eq!(stream.error().await.reason, Reason::SubscriptionDisplaced);
    stream.leave().await;
    for again in [false, true] {
        if again {
            engine = engine.reopen(|_| ()).await;
        }
        let caller = engine.caller(1);
        assert_eq!(engine.hub.subscription(&caller, "soc").await.unwrap_err().reason, Reason::NotFound);
        assert_eq!(
            engine.hub.delete_subscription(&caller, "soc").await.unwrap_err().reason,
            Reason::NotFound
        );
        assert!(engine.hub.subscriptions(&caller).await.unwrap().is_empty());
    }
}

#[tokio::test]
async fn an_organisation_has_as_many_named_subscriptions_as_the_limit_says_and_each_half_of_them() {
    let (engine, [one, other]) = colleagues(4);
    let open = async |caller: &Caller, name: &str| {
        let opened = engine.stream_of(caller, named(name, Some(Start::Latest))).await;
        let stream = opened.map_err(|error| error.reason)?;
        stream.leave().await;
        Ok::<_, Reason>(())
    };
    for name in ["a", "b", "a"] {
        open(&one, name).await.unwrap();
    }
    assert_eq!(open(&one, "c").await, Err(Reason::RateLimited), "half is for colleagues");
    for name in ["a", "b"] {
        open(&other, name).await.unwrap();
    }
    assert_eq!(open(&other, "c").await, Err(Reason::RateLimited));
    assert!(engine.stream(2, named("c", Some(Start::Latest))).await.is_ok(), "another organisation's own");
    assert!(
        engine.stream(1, Open { start: Some(Start::Latest), ..Open::default() }).await.is_ok(),
        "unnamed"
    );
    engine.hub.delete_subscription(&one, "a").await.unwrap();
    open(&one, "c").await.unwrap();
}

#[tokio::test]
async fn only_what_was_received_on_a_named_stream_can_be_acknowledged() {
    let engine = Engine::new();
    five(&engine).await;
    let mut all = engine.stream(1, named("soc", Some(Start::Earliest))).await.unwrap();
    take(&mut all, 5).await;
    let ahead = all.token.clone();
    all.leave().await;
    let mut foreign = engine.stream(2, named("soc", Some(Start::Earliest))).await.unwrap();
    take(&mut foreign, 1).await;
    for token in [foreign.token.clone(), bytes::Bytes::from_static(b"no token")] {
        let mut stream = engine.stream(1, named("soc", Some(Start::Earliest))).await.unwrap();
        take(&mut stream, 1).await;
        stream.commands.send(Ok(Command::Ack(token.clone()))).await.unwrap();
        assert_eq!(stream.error().await.reason, Reason::ResumeTokenInvalid);
        stream.leave().await;
    }
    // A token from further on counts as far as the stream has got: another
    // answer would tell whether anything lies between.
    let mut stream = engine.stream(1, named("soc", Some(Start::Earliest))).await.unwrap();
    take(&mut stream, 1).await;
    stream.commands.send(Ok(Command::Ack(ahead.clone()))).await.unwrap();
    while stream.acked == 0 {
        stream.next().await.unwrap().unwrap();
    }
    stream.leave().await;
    let mut stream = engine.stream(1, named("soc", None)).await.unwrap();
    take(&mut stream, 4).await;
    stream.leave().await;
    let mut unnamed =
        engine.stream(1, Open { start: Some(Start::Earliest), ..Open::default() }).await.unwrap();
    take(&mut unnamed, 1).await;
    ack(&unnamed).await;
    assert_eq!(unnamed.error().await.reason, Reason::Input(invalid::Reason::FieldInvalid));
    // Nor does a token resume another organisation, filter or name.
    let filter = IndicatorFilter { labels: model::labels(1), ..IndicatorFilter::default() };
    for (viewer, open) in [
        (2, named("soc", Some(Start::Token(ahead.clone())))),
        (1, named("other", Some(Start::Token(ahead.clone())))),
        (1, Open { filter, ..named("third", Some(Start::Token(ahead.clone()))) }),
        (1, Open { start: Some(Start::Token(ahead)), ..Open::default() }),
    ] {
        let error = engine.stream(viewer, open).await.err().unwrap();
        assert_eq!(error.reason, Reason::ResumeTokenInvalid);
    }
}

/// A hub where bravo has a second system beside its first.
fn colleagues(places: usize) -> (Engine, [Caller; 2]) {
    let mut roster = support::roster();
    let colleague = SpiffeId::parse("spiffe://hub.example/org/bravo/user/binh").unwrap();
    let grant = roster.principals[&support::identity(1)].clone();
    roster.principals.insert(colleague.clone(), grant);
    let engine = Engine::of(roster, support::START, |options| options.max_subscriptions_per_org = places);
    let callers = [engine.caller(1), engine.caller_named(colleague)];
    (engine, callers)
}

#[tokio::test]
async fn a_name_and_its_tokens_are_one_principals_and_not_his_colleagues() {
    let (engine, [one, other]) = colleagues(2);
    five(&engine).await;
    let mut stream = engine.stream_of(&one, named("soc", Some(Start::Earliest))).await.unwrap();
    take(&mut stream, 5).await;
    ack(&stream).await;
    while stream.acked == 0 {
        stream.next().await.unwrap().unwrap();
    }
    let token = stream.token.clone();
    // The colleague reads none of it, takes none of it, and passes over none of it.
    assert_eq!(engine.hub.subscription(&other, "soc").await.unwrap_err().reason, Reason::NotFound);
    assert!(engine.hub.subscriptions(&other).await.unwrap().is_empty());
    assert_eq!(engine.hub.delete_subscription(&other, "soc").await.unwrap_err().reason, Reason::NotFound);
    let replayed = engine.stream_of(&other, named("soc", Some(Start::Token(token.clone())))).await;
    assert_eq!(replayed.err().unwrap().reason, Reason::ResumeTokenInvalid);
    let mut theirs = engine.stream_of(&other, named("soc", Some(Start::Earliest))).await.unwrap();
    assert_eq!(count(&mut theirs).await, 5);
    theirs.commands.send(Ok(Command::Ack(token))).await.unwrap();
    assert_eq!(theirs.error().await.reason, Reason::ResumeTokenInvalid);
    theirs.leave().await;
    // Neither stream displaced the other, and each is listed for its own.
    stream.grant(1).await;
    assert_eq!(count(&mut stream).await, 0);
    for caller in [&one, &other] {
        let names: Vec<_> =
            engine.hub.subscriptions(caller).await.unwrap().into_iter().map(|kept| kept.name).collect();
        assert_eq!(names, ["soc"]);
    }
    // The organisation's limit counts both.
    let third = engine.stream_of(&other, named("third", Some(Start::Latest))).await;
    assert_eq!(third.err().unwrap().reason, Reason::RateLimited);
}

#[tokio::test]
async fn a_page_token_is_its_callers_own() {
    let (engine, [one, other]) = colleagues(2);
    five(&engine).await;
    let page = engine.hub.list(&one, IndicatorFilter::default(), 1, "").await.unwrap();
    let next = async |caller: &Caller| {
        engine.hub.list(caller, IndicatorFilter::default(), 1, &page.next_page_token).await
    };
    assert_eq!(next(&other).await.unwrap_err().reason, Reason::PageTokenInvalid);
    assert!(next(&one).await.is_ok());
}

#[tokio::test]
async fn the_names_of_one_who_may_not_subscribe_any_more_take_no_place() {
    let (engine, [one, other]) = colleagues(3);
    for name in ["a", "b"] {
        engine.stream_of(&other, named(name, Some(Start::Latest))).await.unwrap().leave().await;
    }
    engine.stream_of(&one, named("c", Some(Start::Latest))).await.unwrap().leave().await;
    let fourth = engine.stream_of(&one, named("d", Some(Start::Latest))).await;
    assert_eq!(fourth.err().unwrap().reason, Reason::RateLimited);
    let view = engine.hub.roster();
    let mut roster = luytre::model::roster::Roster::clone(&view.roster);
    roster.principals.remove(other.identity());
    let request = uuid::Uuid::new_v4();
    engine.hub.apply_roster(&engine.caller(0), request, roster, view.etag).await.unwrap();
    assert!(engine.stream_of(&one, named("d", Some(Start::Latest))).await.is_ok());
}
