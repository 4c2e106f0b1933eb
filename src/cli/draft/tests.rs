//! What becomes of a line, its options and what contradicts itself.

use clap::Parser as _;

use super::super::arguments::{Arguments, Command};
use super::*;

fn template(options: &[&str]) -> Template {
    let arguments = [&["luytre", "publish", "-"], options].concat();
    match Arguments::try_parse_from(arguments).unwrap().command {
        Command::Publish(options) => Template::new(&options.how),
        other => panic!("{other:?}"),
    }
}

fn record(line: &str) -> Record {
    serde_json::from_str(line).unwrap()
}

#[test]
fn a_line_overrides_the_options_and_adds_to_the_labels() {
    let template = template(&["--tlp", "amber", "--to", "sa-ict", "--label", "c2", "--confidence", "10"]);
    let draft = template
        .draft(&record(
            r#"{"value":"example[.]net","labels":["phishing"],"confidence":90,"valid_until":"2027-01-01"}"#,
        ))
        .unwrap();
    assert_eq!(draft.labels, ["c2", "phishing"]);
    assert_eq!(draft.confidence, Some(90));
    assert_eq!(draft.valid_until.unwrap().seconds, 1_798_761_600);
    let marking = draft.marking.unwrap();
    assert_eq!((marking.tlp, marking.organisations), (3, vec!["organisations/sa-ict".to_owned()]));
}

#[test]
fn readers_named_by_option_do_not_cling_to_a_line_for_everyone() {
    let draft =
        template(&["--to", "sa-ict"]).draft(&record(r#"{"value":"a.example","tlp":"GREEN"}"#)).unwrap();
    assert_eq!(draft.marking.unwrap().organisations, Vec::<String>::new());
}

#[test]
fn readers_that_a_line_names_are_never_widened_to_everyone() {
    for (options, line) in [
        (&[][..], r#"{"value":"secret.example","tlp":"green","to":["sa-ict"]}"#),
        (&[], r#"{"value":"secret.example","tlp":"clear","to":["sa-ict"]}"#),
        (&["--tlp", "green"], r#"{"value":"secret.example","to":["sa-ict"]}"#),
        (&["--to", "pa05"], r#"{"value":"secret.example","tlp":"green","to":["sa-ict"]}"#),
    ] {
        let refused = template(options).draft(&record(line)).unwrap_err();
        assert!(refused.problem.starts_with("to: the line names readers"), "{refused:?}");
    }
}

#[test]
fn readers_named_beside_a_marking_for_everyone_are_refused_before_any_line() {
    for label in ["clear", "green"] {
        let text = template(&["--tlp", label, "--to", "sa-ict"]).check().unwrap_err().text().unwrap();
        assert!(text.contains("--tlp amber"), "{text}");
        template(&["--tlp", label]).check().unwrap();
    }
    template(&["--tlp", "amber", "--to", "sa-ict"]).check().unwrap();
    template(&["--to", "sa-ict"]).check().unwrap();
}

#[test]
fn options_that_contradict_their_label_are_refused_before_any_line() {
    const AN: &str = "spiffe://hub.example/org/sa-ict/user/an";
    for (options, says) in [
        (&["--tlp", "red", "--to", "sa-ict"][..], "--to-person"),
        (&["--tlp", "red", "--to-person", AN, "--to-group", "ung-cuu"], "--tlp amber+strict"),
        (&["--tlp", "amber", "--to-person", AN], "--tlp red"),
        (&["--tlp", "amber+strict", "--to", "sa-ict", "--to-person", AN], "--tlp red"),
        (&["--tlp", "green", "--to-group", "ung-cuu"], "--tlp amber"),
        (&["--tlp", "amber+strict", "--to", "sa-ict", "--caveat", "providers-may-read"], "--tlp amber"),
    ] {
        let failure = template(options).check().unwrap_err();
        assert_eq!(failure.code(), 64);
        assert!(failure.text().unwrap().contains(says), "{:?}", failure.text());
    }
    for options in [
        &["--tlp", "red", "--to-person", AN, "--caveat", "watch-do-not-block"][..],
        &["--tlp", "amber+strict", "--to-group", "ung-cuu"],
        &["--tlp", "amber", "--to", "sa-ict", "--caveat", "providers-may-read,no-onward-feed"],
    ] {
        template(options).check().unwrap();
        template(options).check_for_plain().unwrap();
    }
}

fn marking(options: &[&str], line: &str) -> v1::Marking {
    template(options).draft(&record(line)).unwrap().marking.unwrap()
}

#[test]
fn a_line_names_groups_persons_and_caveats_like_the_options() {
    const AN: &str = "spiffe://hub.example/org/sa-ict/user/an";
    let by_options = marking(&["--tlp", "red", "--to-person", AN], r#"{"value":"a.example"}"#);
    let by_line = marking(&[], &format!(r#"{{"value":"a.example","tlp":"red","to_persons":["{AN}"]}}"#));
    assert_eq!(by_options, by_line);
    assert_eq!((by_line.tlp, by_line.principals), (5, vec![AN.to_owned()]));
    let options = ["--tlp", "amber", "--to-group", "ung-cuu", "--caveat", "no-onward-feed"];
    let by_options = marking(&options, r#"{"value":"a.example"}"#);
    let line = r#"{"value":"a.example","tlp":"amber","to_groups":["ung-cuu"],"caveats":["no-onward-feed"]}"#;
    assert_eq!(by_options, marking(&[], line));
    assert_eq!(by_options.groups, ["groups/ung-cuu"]);
    assert!(by_options.caveats.unwrap().no_onward_feed);
}

#[test]
fn readers_of_a_line_stand_in_place_of_those_of_the_options_and_caveats_add() {
    let options = ["--to", "pa05", "--to-group", "ung-cuu", "--caveat", "no-onward-feed,providers-may-read"];
    let narrowed = marking(
        &options,
        r#"{"value":"a.example","tlp":"amber+strict","to":["sa-ict"],"caveats":["watch-do-not-block"]}"#,
    );
    assert_eq!((narrowed.organisations, narrowed.groups), (vec!["organisations/sa-ict".into()], vec![]));
    let caveats = narrowed.caveats.unwrap();
    assert!(caveats.no_onward_feed && caveats.watch_do_not_block && !caveats.providers_may_read);
    let open = marking(&options, r#"{"value":"a.example","tlp":"green"}"#);
    assert!(open.organisations.is_empty() && open.groups.is_empty());
}

#[test]
fn a_line_without_marking_is_refused_never_open() {
    let refused = template(&[]).draft(&record(r#"{"value":"a.example"}"#)).unwrap_err();
    assert_eq!(refused.reason, "MARKING_REQUIRED");
    assert!(template(&[]).check_for_plain().is_err());
    for label in ["amber", "amber+strict", "red"] {
        assert!(template(&["--tlp", label]).check_for_plain().is_err());
    }
}

#[test]
fn a_mistake_is_named_without_repeating_the_value() {
    let template = template(&["--tlp", "green"]);
    for (line, says) in [
        (r#"{"labels":[]}"#, "give the value"),
        (r#"{"value":"secret.example","kind":"host"}"#, "the kinds are"),
        (r#"{"value":"secret.example","tlp":"orange"}"#, "write clear"),
        (r#"{"value":"secret.example","caveats":["hush"]}"#, "write watch-do-not-block"),
        (r#"{"value":"secret.example","to_persons":["an"]}"#, "to_persons: an identity reads"),
    ] {
        let refused = template.draft(&record(line)).unwrap_err();
        assert!(refused.problem.contains(says), "{refused:?}");
        assert!(!refused.problem.contains("secret"), "{refused:?}");
    }
}

#[test]
fn the_kind_of_the_options_is_that_of_values_that_name_none() {
    let template = template(&["--tlp", "green", "--kind", "imphash"]);
    let kind = |line| {
        let draft = template.draft(&record(line)).unwrap();
        wire::observable::flat(draft.observable).0
    };
    assert_eq!(kind(r#"{"value":"a"}"#), Some(Kind::Imphash));
    assert_eq!(kind(r#"{"value":"a","kind":"ja3"}"#), Some(Kind::Ja3));
    assert_eq!(kind(r#"{"md5":"a"}"#), Some(Kind::Md5));
}

#[test]
fn the_hashes_of_one_file_stay_together() {
    use v1::observable::Value;
    let template = template(&["--tlp", "green"]);
    let both = |line| match template.draft(&record(line)).unwrap().observable.unwrap().value.unwrap() {
        Value::File(hashes) => (hashes.md5, hashes.sha256),
        other => panic!("{other:?}"),
    };
    assert_eq!(both(r#"{"md5":"a","sha256":"b"}"#), ("a".into(), "b".into()));
    assert_eq!(both(r#"{"kind":"sha256","value":"b","md5":"a"}"#), ("a".into(), "b".into()));
}

#[test]
fn what_is_recommended_for_all_is_not_meant_for_victims() {
    let template = template(&["--tlp", "green", "--action", "block", "--family", "Họ A", "--campaign", "hè"]);
    let draft = |line| template.draft(&record(line)).unwrap();
    let victim = draft(r#"{"value":"news.example","role":"victim"}"#);
    assert_eq!((victim.role, victim.recommended_action), (1, 0));
    let server = draft(r#"{"value":"c2.example","role":"infrastructure","family":"B"}"#);
    assert_eq!((server.role, server.recommended_action), (2, 2));
    assert_eq!((server.family.as_str(), server.campaign.as_str()), ("B", "hè"));
    // Said of one and the same, it is for the hub to refuse.
    let both = draft(r#"{"value":"news.example","role":"victim","action":"block"}"#);
    assert_eq!((both.role, both.recommended_action), (1, 2));
    let refused = template.draft(&record(r#"{"value":"x.example","role":"bystander"}"#)).unwrap_err();
    assert!(refused.problem.starts_with("role: write victim"), "{refused:?}");
}

#[test]
fn options_never_recommend_to_block_victims() {
    let failure = template(&["--tlp", "green", "--role", "victim", "--action", "block"]).check().unwrap_err();
    assert_eq!(failure.code(), 64);
    assert!(failure.text().unwrap().contains("never blocked"), "{:?}", failure.text());
    template(&["--tlp", "green", "--role", "victim", "--action", "hunt"]).check().unwrap();
}

#[test]
fn a_line_never_reaches_further_than_the_label_of_the_options() {
    for (options, line, expected) in [
        (&["--tlp", "amber", "--to", "sa-ict"][..], r#"{"value":"secret.example","tlp":"WHITE"}"#, 3),
        (&["--tlp", "amber+strict", "--to", "sa-ict"], r#"{"value":"secret.example","tlp":"amber"}"#, 4),
        (&["--tlp", "green"], r#"{"value":"secret.example","tlp":"clear"}"#, 2),
        (&["--tlp", "green"], r#"{"value":"a.example","tlp":"amber","to":["sa-ict"]}"#, 3),
    ] {
        let marking = marking(options, line);
        assert_eq!(
            (marking.tlp, marking.organisations.len()),
            (expected, usize::from(expected > 2)),
            "{line}"
        );
    }
}

#[test]
fn a_line_that_no_request_can_hold_is_refused_alone() {
    let template = template(&["--tlp", "amber", "--label", "c2"]);
    let line = |labels: usize, names: usize, text: usize| Record {
        value: Some("a.example".to_owned()),
        labels: vec!["x".to_owned(); labels],
        to: (0..names).map(|n| format!("unit-{n}")).collect(),
        description: Some("a".repeat(text)),
        ..Record::default()
    };
    template.draft(&line(MAX_ITEM_LABELS - 1, MAX_ITEM_NAMES, MAX_ITEM_BYTES / 2)).unwrap();
    for (line, problem) in [
        (line(MAX_ITEM_LABELS, 1, 0), "labels: at most 256 labels; these are 257"),
        (line(0, MAX_ITEM_NAMES + 1, 0), "to: at most 1024 readers; these are 1025"),
        (line(0, 1, MAX_ITEM_BYTES), "line: at most 524288 bytes in all"),
    ] {
        let refused = template.draft(&line).unwrap_err();
        assert_eq!(refused.reason, "FIELD_INVALID");
        assert!(refused.problem.starts_with(problem), "{refused:?}");
    }
}
