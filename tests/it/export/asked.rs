//! Whatever can be asked of a list can be asked of an export, and what its
//! filter leaves out is heard where it objects.

use std::collections::BTreeSet;

use luytre::wire::proto::v1;
use uuid::Uuid;
use v1::ExportFormat as Format;
use v1::value_match::Match;

use super::told::{export, of};
use super::{blocking, hub, publish, revoke, victim};
use crate::harness::{Peer, draft};

fn asking(filter: v1::IndicatorFilter, format: Format) -> v1::ExportIndicatorsRequest {
    v1::ExportIndicatorsRequest { filter: Some(filter), ..of(format) }
}

async fn listed(peer: &Peer, filter: v1::IndicatorFilter) -> BTreeSet<String> {
    let request = v1::ListIndicatorsRequest { filter: Some(filter), page_size: 1_000, ..Default::default() };
    let page = peer.exchange().list_indicators(request).await.unwrap().into_inner();
    page.indicators.into_iter().map(|indicator| indicator.name).collect()
}

async fn exported(peer: &Peer, filter: v1::IndicatorFilter) -> BTreeSet<String> {
    let whole = export(peer, &asking(filter, Format::JsonLines)).await;
    let name = |line: &str| {
        let row: serde_json::Value = serde_json::from_str(line).unwrap();
        row["name"].as_str().unwrap().to_owned()
    };
    whole.text().lines().map(name).collect()
}

fn of_value(asked: Match) -> v1::IndicatorFilter {
    v1::IndicatorFilter { values: vec![v1::ValueMatch { r#match: Some(asked) }], ..Default::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_holds_what_a_list_of_the_same_filter_shows() {
    let hub = hub().await;
    let (a, b, c) = (hub.peer("a", "system/feed"), hub.peer("b", "system/feed"), hub.peer("c", "user/an"));
    let seen = |seconds| Some(prost_types::Timestamp { seconds, nanos: 0 });
    let names = publish(
        &a,
        vec![
            v1::IndicatorDraft { confidence: Some(90), ..blocking("a.example") },
            v1::IndicatorDraft { first_seen: seen(3_600), ..draft("b.example") },
            v1::IndicatorDraft { last_seen: seen(7_200), ..draft("198.51.100.7") },
            v1::IndicatorDraft { description: "lừa đảo ngân hàng".into(), ..draft("198.51.100.0/24") },
            v1::IndicatorDraft { valid_until: seen(4_000_000_000), ..draft("http://c.example/x") },
            draft("gone.example"),
        ],
    )
    .await;
    publish(&b, vec![draft("a.example"), draft("d.example")]).await;
    revoke(&a, &names[5]).await;
    let sighting = v1::Sighting {
        indicator: names[1].clone(),
        outcome: 4,
        marking: draft("b.example").marking,
        ..v1::Sighting::default()
    };
    let request =
        v1::ReportSightingsRequest { request_id: Uuid::new_v4().to_string(), sightings: vec![sighting] };
    let told = b.exchange().report_sightings(request).await.unwrap().into_inner();
    assert!(matches!(told.results[0].outcome, Some(v1::sighting_result::Outcome::Recorded(_))), "{told:?}");
    let none = v1::IndicatorFilter::default;
    let span = |from, to| Some(v1::TimeRange { start_time: seen(from), end_time: seen(to) });
    let text = |text: &str| v1::Observable { value: Some(v1::observable::Value::Text(text.into())) };
    let filters = [
        none(),
        of_value(Match::Exact(text("a.example"))),
        of_value(Match::Prefix("http://c".into())),
        of_value(Match::DomainSuffix("c.example".into())),
        of_value(Match::InsideNetwork("198.51.100.0/24".into())),
        of_value(Match::Containing("198.51.100.9".into())),
        v1::IndicatorFilter { confidence: Some(v1::ConfidenceRange { min: Some(50), max: None }), ..none() },
        v1::IndicatorFilter { recommended_actions: vec![v1::RecommendedAction::Block.into()], ..none() },
        v1::IndicatorFilter { published: span(1, 4_000_000_000), ..none() },
        v1::IndicatorFilter { first_seen: span(1, 7_200), ..none() },
        v1::IndicatorFilter { last_seen: span(1, 7_201), ..none() },
        v1::IndicatorFilter { valid_at: seen(4_000_000_001), ..none() },
        v1::IndicatorFilter { sighted_by: vec!["organisations/b".into()], ..none() },
        v1::IndicatorFilter { sighting_outcomes: vec![4], ..none() },
        v1::IndicatorFilter { text: "lua dao".into(), ..none() },
        v1::IndicatorFilter { states: vec![v1::IndicatorState::Revoked.into()], ..none() },
        v1::IndicatorFilter {
            except: Some(Box::new(v1::IndicatorFilter {
                owners: vec!["organisations/b".into()],
                text: "dao".into(),
                ..none()
            })),
            ..none()
        },
    ];
    for filter in filters {
        let expected = listed(&c, filter.clone()).await;
        assert!(!expected.is_empty() && expected.len() < 8, "{filter:?} shows {}", expected.len());
        assert_eq!(exported(&c, filter.clone()).await, expected, "{filter:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_filter_leaves_out_objects_and_stands_for_nothing() {
    let hub = hub().await;
    let (a, b, c) = (hub.peer("a", "system/feed"), hub.peer("b", "system/feed"), hub.peer("c", "user/an"));
    let sure = |value: &str| v1::IndicatorDraft { confidence: Some(90), ..blocking(value) };
    // Of `twice.example` the older one is not asked for.
    publish(&b, vec![victim("attacked.example"), blocking("twice.example")]).await;
    publish(&a, ["attacked.example", "bad.example", "twice.example"].map(sure).to_vec()).await;
    let confidence = Some(v1::ConfidenceRange { min: Some(50), max: None });
    let request = asking(v1::IndicatorFilter { confidence, ..Default::default() }, Format::Plain);
    assert_eq!(export(&c, &request).await.text(), "bad.example\ntwice.example\n");
}
