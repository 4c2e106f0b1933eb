//! The dossier as people and programs read it.

use super::*;
use crate::cli::tests::Printed;

fn at(seconds: i64) -> Option<prost_types::Timestamp> {
    Some(prost_types::Timestamp { seconds, nanos: 0 })
}

fn assertion(owner: &str, number: u64) -> v1::Indicator {
    v1::Indicator {
        name: format!("indicators/{number}"),
        owner: if owner.is_empty() { String::new() } else { format!("organisations/{owner}") },
        marking: Some(v1::Marking { tlp: 2, ..v1::Marking::default() }),
        labels: vec!["c2".into()],
        confidence: Some(80),
        recommended_action: 2,
        family: "Họ A".into(),
        state: 1,
        version: number,
        create_time: at(1_767_225_600),
        ..v1::Indicator::default()
    }
}

fn related(relation: i32, shared: &str, values: usize) -> v1::RelatedGroup {
    let value = |n| v1::RelatedObservable {
        observable: Some(of_text(Some(crate::model::indicator::Kind::Domain), format!("r{n}.example"))),
        name: "indicators/9".into(),
        state: 1,
    };
    v1::RelatedGroup {
        relation,
        shared: shared.into(),
        values: (0..values).map(value).collect(),
        more: values > 6,
    }
}

fn answer() -> v1::GetObservableResponse {
    v1::GetObservableResponse {
        observable: Some(of_text(Some(crate::model::indicator::Kind::Domain), "evil.example".into())),
        assertions: vec![assertion("sa-ict", 1), assertion("", 2)],
        more_assertions: false,
        corroboration: Some(v1::Corroboration { owners: vec!["organisations/sa-ict".into()], others: true }),
        conflicts: vec![v1::Conflict {
            kind: 1,
            indicators: vec!["indicators/1".into()],
            against: vec!["indicators/2".into()],
        }],
        first_seen: at(1_767_225_600),
        last_seen: None,
        first_published: at(1_767_225_600),
        sightings: vec![v1::SightingTotal {
            organisation_kind: "lead-department".into(),
            day: "2026-01-01".into(),
            outcome: 1,
            sighted_count: 12_000,
            reports: 2,
        }],
        more_sightings: true,
        score: Some(v1::ObservableScore {
            value: 40,
            confidence: 80,
            freshness: 50,
            trust: 100,
            sources: 2,
            false_positives: 0,
            half_life_days: 30,
            heard_time: at(1_767_225_600),
        }),
        related: vec![related(9, "Hè 2026", 7), related(5, "", 1)],
    }
}

fn screen(language: Language) -> String {
    let printed = Printed::default();
    let mut data = Data::to(printed.clone());
    screen::write(answer(), language, &mut data).unwrap();
    data.flush().unwrap();
    printed.text()
}

#[test]
fn a_dossier_fits_one_screen_and_says_what_is_left_out() {
    let expected = "\
evil.example  (domain)
  score             40/100  = confidence 80 % × freshness 50 % (half-life 30 days) × trust 100 %
  held by           sa-ict, others, masked  (1)
  first seen        2026-01-01 07:00:00 +07:00
  first published   2026-01-01 07:00:00 +07:00

CONFLICTS
  ! sa-ict would block what is a victim's, says source masked

ASSERTIONS
  sa-ict                active   TLP:GREEN          80  block     -               c2
    published 2026-01-01 07:00:00 +07:00  family Họ A
    indicators/1  etag 1
  source masked         active   TLP:GREEN          80  block     -               c2
    published 2026-01-01 07:00:00 +07:00  family Họ A
    indicators/2  etag 2

SIGHTINGS
  2026-01-01  lead-department       seen, blocked           12,000 ×  in reports: 2
    … and more than the hub tells

RELATED
  same campaign Hè 2026: r0.example, r1.example, r2.example, r3.example, r4.example
    … 2 more; --json shows them
    … and more than the hub tells
  host lies in network: r0.example
";
    assert_eq!(screen(Language::En), expected);
}

#[test]
fn headings_are_vietnamese_where_that_is_asked_and_labels_are_not_translated() {
    let told = screen(Language::Vi);
    for words in
        ["KHẲNG ĐỊNH", "MÂU THUẪN", "PHÁT HIỆN", "LIÊN QUAN", "điểm", "hiệu lực", "cùng chiến dịch Hè 2026"]
    {
        assert!(told.contains(words), "{words}: {told}");
    }
    assert!(told.contains("TLP:GREEN") && told.contains("+07:00"));
    assert!(!told.contains("ASSERTIONS") && !told.contains("active"));
    assert_eq!(told.lines().count(), screen(Language::En).lines().count());
}

#[test]
fn what_a_producer_writes_cannot_reach_into_the_terminal() {
    let tricky = v1::Indicator { family: "a\u{1b}[2J\u{202e}b".into(), ..assertion("a", 1) };
    let printed = Printed::default();
    let mut data = Data::to(printed.clone());
    let answer = v1::GetObservableResponse { assertions: vec![tricky], ..answer() };
    screen::write(answer, Language::En, &mut data).unwrap();
    data.flush().unwrap();
    assert!(!printed.text().contains(['\u{1b}', '\u{202e}']));
}

#[test]
fn a_dossier_as_json_holds_all_of_it() {
    let json = serde_json::to_value(object(answer())).unwrap();
    assert_eq!((&json["value"], &json["kind"]), (&"evil.example".into(), &"domain".into()));
    assert_eq!(json["score"]["value"], 40);
    assert_eq!(json["assertions"][0]["owner"], "sa-ict");
    assert_eq!(json["conflicts"][0]["kind"], "block-a-victim");
    assert_eq!(json["sightings"][0]["outcome"], "seen-blocked");
    assert_eq!(json["related"][0]["relation"], "same-campaign");
    assert_eq!(json["related"][0]["values"].as_array().map(Vec::len), Some(7));
    assert_eq!((&json["others"], &json["more_sightings"]), (&true.into(), &true.into()));
}
