//! What is taken from prose, and what only resembles a value.

use super::*;

fn read(input: &str) -> Vec<String> {
    let mut prose = Prose::default();
    let mut out = Vec::new();
    for (number, line) in (1..).zip(input.lines()) {
        prose.take(number, &Text { text: line.to_owned(), sure: true }, &mut out);
    }
    out.into_iter()
        .map(|found| match found.what {
            What::Record(record) => record.value.unwrap(),
            What::Refused(reject) => format!("refused {}", reject.text),
            What::PassedOver(reject) => format!("{} {}", reject.reason.as_str(), reject.text),
        })
        .collect()
}

const SHA1: &str = "0A88C3B4709287F70CA2549A29353A804681CA78";

#[test]
fn what_is_defanged_is_taken_wherever_it_stands() {
    for (line, expected) in [
        ("- mfph3n0[.]com -\u{a0}193.38.55[.]116", &["mfph3n0[.]com", "193.38.55[.]116"][..]),
        ("- Received: from 52.151.9[.]80 ([52.151.9[.]80])", &["52.151.9[.]80", "52.151.9[.]80"]),
        ("as seen at hxxp://call2[.]xyz/campo/j1, and more.", &["hxxp://call2[.]xyz/campo/j1"]),
        ("185.178.209[.]193\tCobalt Strike C2", &["185.178.209[.]193"]),
        (
            "128[.]199[.]72[.]218[:]4700/wp-content/uploads/",
            &["128[.]199[.]72[.]218[:]4700/wp-content/uploads/"],
        ),
        ("- `++http://175.197.40[.]61:3445/TYEHVSjn2++`", &["http://175.197.40[.]61:3445/TYEHVSjn2"]),
        ("- `++http://arv[.]xyz/<MAC address>/x.dot++`", &["refused http://arv[.]xyz/<MAC address>/x.dot"]),
    ] {
        assert_eq!(read(line), expected, "{line}");
    }
}

#[test]
fn what_only_resembles_a_value_is_not_taken() {
    for line in [
        "Firefox 47.0.0.1 was used, version 1.2.3.4",
        "- 10.1.2.3",
        "- 1.0.0.0",
        "Windows Update = rundll32.exe \"%PROGRAMDATA%\\Winlogon\\winlogon.lnk\",DllGetClassObject host",
        "- C:\\Users\\Public\\in.com",
        "vt_ioc_linux_rakos.py",
        "Typed_history.zip",
        "- Win32/Spy.RTM.A",
        "- online.sberbank.",
        "see https://www.welivesecurity.com/2017/03/30/x[our blog] on http://www.welivesecurity.com[WeLiveSecurity].",
        "[the report](https://example.org/report.pdf)",
        "- https://www.welivesecurity.com/x.pdf",
        "sentence.Next one is here, e.g. this",
        "0x494374D8553CA906F57674E24A13E933",
        "evil.com phishing",
    ] {
        let told = read(line);
        assert!(
            told.iter().all(|t| t.starts_with("LOOKALIKE") || t.starts_with("REFERENCE")),
            "{line}: {told:?}"
        );
    }
}

#[test]
fn what_stands_alone_is_taken_in_the_right_section() {
    let text = "== Network indicators\n\n----\nf72bba81c921.livejournal.com/data/rss\ncash.bit\n5.154.190.167\n----\n\
                - http://evil.example/gate.php\n== File names\n- evil.example\n";
    assert_eq!(
        read(text),
        [
            "f72bba81c921.livejournal.com/data/rss",
            "cash.bit",
            "5.154.190.167",
            "http://evil.example/gate.php",
            "LOOKALIKE evil.example"
        ]
    );
}

#[test]
fn hashes_are_taken_but_for_those_of_certificates() {
    assert_eq!(read(&format!("|`{SHA1}`|`autorun.exe`|Dropper")), [SHA1]);
    let table =
        format!("|===\n|Serial number|Thumbprint\n|`0x1` | `{SHA1}`\n|===\n|===\n|SHA-1\n|`{SHA1}`\n|===\n");
    assert_eq!(read(&table), [format!("LOOKALIKE {SHA1}"), SHA1.to_owned()]);
}

#[test]
fn those_who_were_attacked_are_told_from_those_who_attacked() {
    let text = "=== Targetted Networks\n|===\n|`45.113.1.0/24` |ISP\n|===\n=== Domains\n|===\n\
                |`news[.]example` |Compromised website.\n|`c2[.]example` |C&C server, decrypted on victim host\n|===\n";
    let (mut prose, mut out) = (Prose::default(), Vec::new());
    for (number, line) in (1..).zip(text.lines()) {
        prose.take(number, &Text { text: line.to_owned(), sure: true }, &mut out);
    }
    let roles: Vec<_> = out
        .into_iter()
        .map(|found| match found.what {
            What::Record(record) => (record.value.unwrap(), record.role),
            other => panic!("{other:?}"),
        })
        .collect();
    let victim = Some("victim".to_owned());
    let expected = [("45.113.1.0/24", victim.clone()), ("news[.]example", victim), ("c2[.]example", None)];
    assert_eq!(roles, expected.map(|(value, role)| (value.to_owned(), role)));
}

fn roles(text: &str) -> Vec<(String, Option<String>)> {
    let (mut prose, mut out) = (Prose::default(), Vec::new());
    for (number, line) in (1..).zip(text.lines()) {
        prose.take(number, &Text { text: line.to_owned(), sure: true }, &mut out);
    }
    let told = out.into_iter().map(|found| match found.what {
        What::Record(record) => (record.value.unwrap(), record.role),
        What::Refused(reject) | What::PassedOver(reject) => (reject.reason.as_str().to_owned(), None),
    });
    told.collect()
}

#[test]
fn victims_are_known_by_any_heading_that_speaks_of_them() {
    for title in [
        "Victim IP addresses:",
        "Targets:",
        "Affected organisations:",
        "Đơn vị bị tấn công:",
        "IP nạn nhân:",
        "== Victimology",
    ] {
        let told = roles(&format!("{title}\n- 45.113.1[.]7\n"));
        assert_eq!(told, [("45.113.1[.]7".to_owned(), Some("victim".to_owned()))], "{title}");
    }
    for title in [
        "Indicators of the targeted campaign:",
        "C2 servers of the targeted attacks:",
        "Indicators of compromise:",
    ] {
        let told = roles(&format!("{title}\n- 45.113.1[.]7\n"));
        assert_eq!(told, [("45.113.1[.]7".to_owned(), None)], "{title}");
    }
}

#[test]
fn what_a_report_says_is_harmless_is_not_taken_and_says_why() {
    for title in ["Whitelist (do not block):", "False positives:", "Legitimate domains:", "== Không chặn"]
    {
        let told = roles(&format!("{title}\n- good[.]example\n"));
        assert_eq!(told, [("EXCEPTION".to_owned(), None)], "{title}");
    }
}

#[test]
fn a_host_name_among_words_is_counted_where_it_is_not_taken() {
    assert_eq!(read("evil.com phishing\nbad.org c2"), ["LOOKALIKE evil.com", "LOOKALIKE bad.org"]);
    assert_eq!(read("a word.with dots"), [""; 0]);
}

#[test]
fn whom_to_ask_is_no_indicator() {
    let told = roles(
        "Contact:\nsoc@vncert.vn\n\nLiên hệ:\nir@example.com\nwww.ncsc.gov.vn\nhttps://khonggianmang.vn\nso-tttt.hanoi.gov.vn\n",
    );
    assert!(told.iter().all(|(said, _)| said == "REFERENCE" || said == "LOOKALIKE"), "{told:?}");
    assert_eq!(told.len(), 5, "{told:?}");
    // Whoever defangs it means it.
    assert_eq!(read("phish[@]hanoi.gov[.]vn"), ["phish[@]hanoi.gov[.]vn"]);
}

#[test]
fn a_value_brings_its_context() {
    let mut out = Vec::new();
    let mut prose = Prose::default();
    let lines = ["26 WORD DOCS WITH MACROS:", &format!("- {SHA1}  adjure_08.20.doc")];
    for (number, line) in (1..).zip(lines) {
        prose.take(number, &Text { text: line.to_owned(), sure: true }, &mut out);
    }
    let What::Record(record) = &out[0].what else { panic!("{out:?}") };
    assert_eq!(record.description.as_deref(), Some("26 WORD DOCS WITH MACROS: adjure_08.20.doc"));
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { failure_persistence: None, ..Default::default() })]

    #[test]
    fn any_text_is_read(input in "[a-z0-9.\\[\\]|`()<>:/@ \\n=\\-+*é{}]{0,200}") {
        let _ = read(&input);
    }
}

#[test]
fn a_line_of_very_many_values_is_no_context_of_each() {
    let (mut prose, mut out) = (Prose::default(), Vec::new());
    let line = Text { text: "a[.]example ".repeat(5_000), sure: true };
    prose.take(1, &line, &mut out);
    assert_eq!(out.len(), 5_000);
    let What::Record(record) = &out[0].what else { panic!("{:?}", out[0]) };
    assert_eq!(record.description, None);
}
