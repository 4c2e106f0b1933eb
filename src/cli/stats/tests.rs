//! Counts as people, programs and drawings tell them.

use std::io::Write;
use std::sync::Arc;

use parking_lot::Mutex;

use super::*;

/// What was written.
#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Write for Written {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

const DAY: i64 = 86_400;
/// Midnight in Vietnam, 2026-11-01.
const START: i64 = 1_793_466_000;

fn at(seconds: i64) -> Option<prost_types::Timestamp> {
    Some(prost_types::Timestamp { seconds, nanos: 0 })
}

fn row(value: &str, count: u64, days: &[(i64, u64)]) -> v1::AggregateRow {
    let bucket = |&(day, count)| v1::AggregateBucket { start_time: at(START + day * DAY), count };
    v1::AggregateRow {
        value: value.to_owned(),
        undisclosed: value.is_empty(),
        count,
        buckets: days.iter().map(bucket).collect(),
    }
}

fn answer(rows: Vec<v1::AggregateRow>) -> v1::AggregateIndicatorsResponse {
    let v1::AggregateRow { count: total, buckets, .. } = row("", 80, &[(0, 79), (2, 1)]);
    v1::AggregateIndicatorsResponse {
        rows,
        more_rows: 2,
        total,
        buckets,
        exact: true,
        source: 1,
        as_of_time: at(START),
        range: Some(v1::TimeRange { start_time: at(START), end_time: at(START + 3 * DAY) }),
    }
}

fn page(by: Option<Dimension>, days: bool) -> Page {
    let calendar = days.then_some(Calendar { per: Per::Day, offset: VIETNAM });
    let terminal = Terminal { columns: Some(40), blocks: true, colours: false };
    Page { by, calendar, language: Language::Vi, terminal }
}

fn written(page: &Page, answer: v1::AggregateIndicatorsResponse, drawn: &Drawn) -> String {
    let to = Written::default();
    let mut data = Data::to(to.clone());
    page.write(answer, drawn, &mut data).unwrap();
    String::from_utf8(to.0.lock().clone()).unwrap()
}

fn drawn() -> Drawn {
    Drawn { json: false, csv: false, svg: None, lang: None }
}

#[test]
fn rows_are_bars_of_one_measure_and_a_masked_source_is_said_to_be() {
    let rows =
        vec![row("organisations/ca-hanoi", 1_000, &[]), row("", 250, &[]), row("organisations/x", 1, &[])];
    let text = written(&page(Some(Dimension::Owner), false), answer(rows), &drawn());
    let expected = "ca-hanoi       1,000  ██████████████████\n\
                    nguồn được ẩn    250  ████▌\n\
                    x                  1  ▏\n\
                    … 2 dòng nữa; xem bằng --top\n";
    assert_eq!(text, expected);
}

#[test]
fn a_timeline_shows_the_days_on_which_nothing_came_too() {
    let text = written(&page(None, true), answer(vec![]), &drawn());
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines, ["2026-11-01  79  ████████████████████████", "2026-11-02   0", "2026-11-03   1  ▎"]);
    let rows = vec![row("url", 80, &[(0, 79), (2, 1)]), row("domain", 0, &[])];
    let text = written(&page(Some(Dimension::Kind), true), answer(rows), &drawn());
    assert!(text.contains("\nurl     80  █ ▁\ndomain   0\n"), "{text}");
    assert!(text.starts_with("            2026-11-01 – 2026-11-03, 79 "), "{text}");
}

#[test]
fn programs_read_the_same_as_json_and_as_values_that_are_no_formulas() {
    let rows = || vec![row("=1+1", 3, &[(1, 3)]), row("a,b", 2, &[(0, 2)])];
    let json = written(&page(Some(Dimension::Label), true), answer(rows()), &Drawn { json: true, ..drawn() });
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["spans"], serde_json::json!(["2026-11-01", "2026-11-02", "2026-11-03"]));
    assert_eq!(
        (&json["counts"], &json["rows"][0]["counts"]),
        (&serde_json::json!([79, 0, 1]), &serde_json::json!([0, 3, 0]))
    );
    assert_eq!(
        (&json["by"], &json["source"], &json["exact"]),
        (&"label".into(), &"counters".into(), &true.into())
    );
    let csv = || Drawn { csv: true, ..drawn() };
    let text = written(&page(Some(Dimension::Label), false), answer(rows()), &csv());
    assert_eq!(text, "label,count\r\n'=1+1,3\r\n\"a,b\",2\r\n");
    let text = written(&page(Some(Dimension::Label), true), answer(rows()), &csv());
    assert!(text.starts_with("start,label,count\r\n2026-11-01,'=1+1,0\r\n2026-11-02,'=1+1,3\r\n"), "{text}");
}

#[test]
fn the_drawing_is_put_in_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let svg = dir.path().join("x.svg");
    let rows = vec![row("<b>", 3, &[(1, 3)])];
    written(&page(Some(Dimension::Label), true), answer(rows), &Drawn { svg: Some(svg.clone()), ..drawn() });
    let text = std::fs::read_to_string(svg).unwrap();
    assert!(text.contains("2026-11-01") && text.contains("&lt;b&gt;") && !text.contains("<b>"), "{text}");
}
