//! Lists of assets that are changed while they are held against something: a
//! question, an export, a stream that lags.

use luytre::base::clock::Timestamp;
use luytre::hub::error::Reason;
use luytre::hub::{Exported, Open, Start, Wanted};
use luytre::model::export::Format;
use luytre::model::marking::{Marking, Tlp};
use luytre::model::query::Question;

use super::assets::{MARK, NEW, OTHER, VIEWER, WITHDRAWN, marking, next, open, own, publish, register};
use super::support::Engine;

/// Changes the viewer's list more often than it is kept how it stood.
pub(super) async fn churn(engine: &Engine) {
    for number in 0..66 {
        register(engine, VIEWER, &[&format!("AS{}", 65_000 + number)], &[]).await;
    }
}

/// Publishes for everybody; the name of the indicator.
async fn green(engine: &Engine, value: &str, note: u8) -> String {
    format!("indicators/{}", publish(engine, value, Marking::open(Tlp::Green), note).await.unwrap())
}

#[tokio::test]
async fn a_place_from_before_too_many_changes_is_told_to_start_anew() {
    let engine = Engine::new();
    register(&engine, VIEWER, &[MARK], &[]).await;
    let stream = engine.stream(VIEWER, open(Start::CurrentState)).await.unwrap();
    let token = stream.token.clone();
    stream.leave().await;
    let mut lagging = engine.stream(VIEWER, Open { credit: 1, ..open(Start::Latest) }).await.unwrap();
    green(&engine, &format!("a.{MARK}"), 0).await;
    assert_eq!(next(&mut lagging).await.kind, NEW);
    // What was its own alone is so no longer, and that was long ago.
    register(&engine, VIEWER, &[], &[MARK]).await;
    green(&engine, &format!("b.{MARK}"), 0).await;
    churn(&engine).await;
    register(&engine, VIEWER, &[MARK], &[]).await;
    lagging.grant(10).await;
    let error = lagging.error().await;
    assert_eq!(error.reason, Reason::ResumeTokenExpired, "one that lags passes over no change");
    let mut stream = engine.stream(VIEWER, open(Start::Token(token))).await.unwrap();
    let error = stream.error().await;
    assert_eq!(error.reason, Reason::ResumeTokenExpired);
    assert!(error.public.contains("CURRENT_STATE"), "{error}");
    engine.close().await;
}

#[tokio::test]
async fn whoever_starts_before_what_is_known_is_told_what_stood_there_and_then_what_came() {
    let engine = Engine::new();
    register(&engine, VIEWER, &[MARK], &[]).await;
    let stood = green(&engine, &format!("a.{MARK}"), 0).await;
    churn(&engine).await;
    let came = green(&engine, &format!("b.{MARK}"), 0).await;
    for start in [Start::CurrentState, Start::Earliest, Start::Time(Timestamp::EPOCH)] {
        let wanted = Open { credit: 100, ..open(start.clone()) };
        let mut stream = engine.stream(VIEWER, wanted).await.unwrap();
        let mut told = Vec::new();
        for _ in 0..2 {
            told.push(next(&mut stream).await.indicator.unwrap().name);
        }
        assert_eq!(told, [stood.clone(), came.clone()], "{start:?}");
        stream.leave().await;
    }
    engine.close().await;
}

#[tokio::test]
async fn changes_between_which_nothing_is_told_are_told_of_at_once_and_that_is_resumed_anywhere() {
    let engine = Engine::new();
    green(&engine, "198.51.100.7", 0).await;
    let mut expected = Vec::new();
    for last in 1..4 {
        expected.push(green(&engine, &format!("203.0.113.{last}"), 0).await);
    }
    let stream = engine.stream(VIEWER, open(Start::Latest)).await.unwrap();
    let mut token = stream.token.clone();
    stream.leave().await;
    register(&engine, VIEWER, &["198.51.100.0/24", "203.0.113.3"], &[]).await;
    // What is hidden, or another's, is nothing that is told.
    publish(&engine, "198.51.100.8", marking(2), 0).await.unwrap();
    register(&engine, OTHER, &["198.51.100.0/24"], &[]).await;
    green(&engine, "192.0.2.1", 0).await;
    register(&engine, VIEWER, &["203.0.113.0/24", MARK], &[]).await;
    register(&engine, VIEWER, &[], &["198.51.100.0/24"]).await;
    expected.push(green(&engine, MARK, 0).await);
    let mut told = Vec::new();
    for _ in 0..expected.len() {
        let one = Open { credit: 1, ..open(Start::Token(token)) };
        let mut stream = engine.stream(VIEWER, one).await.unwrap();
        told.push(next(&mut stream).await.indicator.unwrap().name);
        token = stream.token.clone();
        stream.leave().await;
    }
    assert_eq!(told, expected, "each once, and nothing of what is off the list again");
    engine.close().await;
}

#[tokio::test]
async fn what_somebody_has_is_told_of_though_its_asset_was_off_the_list_as_it_changed() {
    let engine = Engine::new();
    register(&engine, VIEWER, &["198.51.100.0/24", MARK], &[]).await;
    let had = green(&engine, "198.51.100.7", 0).await;
    let mut stream = engine.stream(VIEWER, Open { credit: 1, ..open(Start::CurrentState) }).await.unwrap();
    assert_eq!(next(&mut stream).await.indicator.unwrap().name, had);
    let token = stream.token.clone();
    stream.leave().await;
    register(&engine, VIEWER, &[], &["198.51.100.0/24"]).await;
    green(&engine, "198.51.100.7", 1).await;
    register(&engine, VIEWER, &["198.51.100.0/24"], &[]).await;
    green(&engine, MARK, 0).await;
    let wanted = Open { credit: 100, ..open(Start::Token(token)) };
    let mut stream = engine.stream(VIEWER, wanted).await.unwrap();
    let gone = next(&mut stream).await;
    assert_eq!((gone.kind, gone.indicator.unwrap().name), (WITHDRAWN, had.clone()));
    let back = next(&mut stream).await;
    let indicator = back.indicator.unwrap();
    assert_eq!((back.kind, indicator.name, indicator.description), (NEW, had, "note 1".to_owned()));
    assert_eq!(next(&mut stream).await.kind, NEW);
    stream.leave().await;
    engine.close().await;
}

#[tokio::test]
async fn a_colleague_who_changes_the_list_changes_nothing_of_an_export_on_its_way() {
    let engine = Engine::new();
    register(&engine, VIEWER, &["198.51.100.0/24"], &[]).await;
    for value in ["198.51.100.1", "198.51.100.2"] {
        green(&engine, value, 0).await;
    }
    publish(&engine, "203.0.113.1", marking(1), 0).await.unwrap();
    let viewer = engine.caller(VIEWER);
    let wanted = |position_token: &str| Wanted {
        filter: own(),
        format: Format::JsonLines,
        if_none_match: None,
        position_token: position_token.to_owned(),
        offset: 0,
    };
    let mut export = engine.hub.export(&viewer, wanted("")).unwrap();
    let opening = loop {
        match export.next().await.unwrap().unwrap() {
            Exported::Opening(opening) => break opening,
            other => assert!(matches!(other, Exported::Progress(_)), "{other:?}"),
        }
    };
    assert_eq!(opening.tlp, Some(Tlp::Green));
    register(&engine, VIEWER, &["203.0.113.0/24"], &[]).await;
    let again = engine.hub.export(&viewer, wanted(&opening.position_token)).unwrap();
    let mut closed = Vec::new();
    for mut export in [export, again] {
        while let Some(piece) = export.next().await.unwrap() {
            if let Exported::Closing(closing) = piece {
                closed.push(closing);
            }
        }
    }
    assert_eq!((closed[0].rows, closed.len()), (2, 2), "the list that it began with");
    assert_eq!(closed[0], closed[1], "and the same again");
    churn(&engine).await;
    let mut late = engine.hub.export(&viewer, wanted(&opening.position_token)).unwrap();
    assert_eq!(late.next().await.unwrap_err().reason, Reason::PageTokenInvalid);
    engine.close().await;
}

#[tokio::test]
async fn a_colleague_who_changes_the_list_changes_nothing_of_pages_that_were_begun() {
    let engine = Engine::new();
    register(&engine, VIEWER, &["198.51.100.0/24"], &[]).await;
    for value in ["198.51.100.1", "198.51.100.2", "198.51.100.3", "203.0.113.1"] {
        publish(&engine, value, Marking::open(Tlp::Green), 0).await.unwrap();
    }
    engine.clock.advance(1_000_000);
    let viewer = engine.caller(VIEWER);
    let as_of = Question { as_of: Some(engine.hub.now()), ..Question::new(own()) };
    engine.clock.advance(1_000_000);
    let page =
        async |question: &Question, token: &str| engine.hub.list(&viewer, question.clone(), 1, token).await;
    let first = page(&Question::new(own()), "").await.unwrap();
    let then = page(&as_of, "").await.unwrap();
    register(&engine, VIEWER, &["203.0.113.0/24"], &["198.51.100.0/24"]).await;
    let (mut token, mut found) = (first.next_page_token.clone(), first.indicators.len());
    while !token.is_empty() {
        let next = page(&Question::new(own()), &token).await.unwrap();
        (token, found) = (next.next_page_token, found + next.indicators.len());
    }
    assert_eq!(found, 3, "the list of the first page");
    let refused = page(&as_of, &then.next_page_token).await.unwrap_err();
    assert_eq!(refused.reason, Reason::PageTokenInvalid, "no page of another list");
    churn(&engine).await;
    let refused = page(&Question::new(own()), &first.next_page_token).await.unwrap_err();
    assert_eq!(refused.reason, Reason::PageTokenInvalid, "{refused}");
    engine.close().await;
}
