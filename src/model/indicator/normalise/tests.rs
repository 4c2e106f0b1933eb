//! The promises of the canonical forms: vectors and properties.

use std::path::Path;

use proptest::prelude::*;

use super::*;

mod fuzz;
mod real;

/// The forms of escape in the vector files: `\u{00a0}` and `\\`.
fn unescape(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("\\u{") {
        let (code, after) = after.split_once('}').expect("an escape ends in a brace");
        out.push_str(before);
        out.push(char::from_u32(u32::from_str_radix(code, 16).unwrap()).unwrap());
        rest = after;
    }
    out.push_str(rest);
    out
}

/// The columns of every vector, with the line as it stands.
fn vectors() -> Vec<(String, [String; 4])> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/vectors");
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let mut columns = line.split('\t');
            let columns = [(); 4].map(|()| unescape(columns.next().unwrap_or_default()));
            all.push((line.to_owned(), columns));
        }
    }
    all
}

#[test]
fn every_vector_has_the_canonical_form_or_refusal_it_states() {
    let mut wrong = Vec::new();
    let all = vectors();
    for (line, [input, asked, verdict, expected]) in &all {
        let explained = explain::explain(Kind::from_name(asked), input);
        let agrees = match &explained.read {
            Ok(got) => {
                verdict == got.observable.kind().as_str()
                    && got.observable.to_string() == *expected
                    && got.raw == (input != expected).then(|| input.clone())
                    && explained.steps.len() > 1
            }
            Err(invalid) => verdict == "refused" && invalid.problem.contains(expected),
        };
        if !agrees {
            let got = explained.read.map_or_else(
                |e| e.problem,
                |c| format!("{} {} raw {:?}", c.observable.kind(), c.observable, c.raw),
            );
            wrong.push(format!("{line}\n   got {got} by {:?}", explained.steps));
        }
    }
    assert!(all.len() > 500, "only {} vectors found", all.len());
    assert!(wrong.is_empty(), "{} of {} vectors:\n{}", wrong.len(), all.len(), wrong.join("\n"));
}

#[test]
fn every_kind_has_vectors_that_are_taken_and_refused() {
    let all = vectors();
    for kind in Kind::ALL {
        let taken = all.iter().any(|(_, [_, _, verdict, _])| verdict == kind.as_str());
        let refused =
            all.iter().any(|(_, [_, asked, verdict, _])| asked == kind.as_str() && verdict == "refused");
        // A mutex or a file name is any text.
        assert!(taken && (refused || *kind == Kind::Mutex), "{kind}: taken {taken}, refused {refused}");
    }
}

#[test]
fn a_refusal_never_repeats_the_value() {
    for secret in [
        "sekret",
        "sekret.7",
        "sekret@mail.example.org",
        "http://[sekret",
        "sekret.example.ru-F",
        "1.2.3.4/sekret",
        "10.11.12.1313",
    ] {
        if let Err(invalid) = detect(secret) {
            assert!(
                !invalid.problem.contains("sekret") && !invalid.problem.contains("1313"),
                "{}",
                invalid.problem
            );
            assert!(invalid.field.is_empty());
        }
    }
}

#[test]
fn a_value_over_the_limit_is_refused_and_one_at_the_limit_taken() {
    let url = |len: usize| format!("http://example.org/{}", "a".repeat(len - 19));
    assert!(detect(&url(MAX_VALUE_BYTES)).is_ok());
    assert!(detect(&url(MAX_VALUE_BYTES + 1)).is_err());
    let padded = |len: usize| format!("example.org{}", " ".repeat(len - 11));
    assert!(detect(&padded(MAX_VALUE_BYTES)).is_ok());
    assert!(detect(&padded(MAX_VALUE_BYTES + 1)).is_err());
    // Escaping makes three bytes of one.
    let spaces = format!("http://example.org/a{}b", " ".repeat(MAX_VALUE_BYTES / 2));
    assert!(detect(&spaces).unwrap_err().problem.starts_with("is too long once escaped"));
}

#[test]
fn deeply_nested_marks_are_undone_to_a_form_that_stays() {
    let nested = format!("http://example.org/{}.{}", "[".repeat(2_000), "]".repeat(2_000));
    let once = detect(&nested).unwrap().observable;
    let twice = detect(&once.to_string()).unwrap();
    assert_eq!(once, twice.observable);
    assert_eq!(twice.raw, None);
}

#[test]
fn a_file_is_named_by_its_sha_256_or_else_its_strongest_hash() {
    fn hashes<'a>(md5: Option<&'a str>, sha1: Option<&'a str>, sha256: Option<&'a str>) -> Hashes<'a> {
        Hashes { md5, sha1, sha256, sha512: None }
    }
    let (md5, sha1, sha256) = ("d".repeat(32), "E".repeat(40), "0".repeat(64));
    let (primary, aliases) = file(hashes(Some(&md5), Some(&sha1), Some(&sha256))).unwrap();
    assert_eq!(primary.kind(), Kind::Sha256);
    assert_eq!(aliases.iter().map(Observable::kind).collect::<Vec<_>>(), [Kind::Sha1, Kind::Md5]);
    let (primary, aliases) = file(hashes(Some(&md5), None, None)).unwrap();
    assert_eq!((primary.kind(), aliases.len()), (Kind::Md5, 0));
    let sha512 = "F".repeat(128);
    let all = Hashes { sha512: Some(&sha512), ..hashes(Some(&md5), Some(&sha1), Some(&sha256)) };
    let (primary, aliases) = file(all).unwrap();
    assert_eq!(primary.kind(), Kind::Sha256);
    assert_eq!(
        aliases.iter().map(Observable::kind).collect::<Vec<_>>(),
        [Kind::Sha512, Kind::Sha1, Kind::Md5]
    );
    let (primary, _) = file(Hashes { sha256: None, ..all }).unwrap();
    assert_eq!(primary.to_string(), sha512.to_lowercase());
    assert_eq!(file(hashes(None, Some(&md5), None)).unwrap_err().field, "sha1");
    assert!(file(Hashes::default()).is_err());
}

#[test]
fn neither_debug_form_shows_a_value() {
    let shown = format!("{:?}", detect("HXXP://secret[.]example.org/").unwrap());
    assert_eq!(shown, "Canonical(url, raw: true)");
}

/// Texts of the shapes that matter, plain and mangled.
fn texts() -> impl Strategy<Value = String> {
    let label = "[a-z0-9_]([a-z0-9-]{0,8}[a-z0-9])?";
    let domain = format!("({label}\\.){{1,3}}(com|vn|xn--p1ai|org|[a-z0-9-]{{1,4}})\\.?");
    let address = "[0-9]{1,3}(\\.[0-9]{1,3}){2,4}";
    let v6 = "(::ffff:[0-9a-f]{1,4}:[0-9a-f]{1,4}|[0-9a-fA-F]{0,4}(:[0-9a-fA-F]{0,4}){1,8})";
    let shapes = [
        ".{0,40}".to_owned(),
        "[a-zA-Z0-9.:/\\[\\](){}@?#%_ \\-]{0,30}".to_owned(),
        domain.clone(),
        format!(
            "(http|HTTPS|hxxp|tcp|ws|file|foo)(://|\\[:\\]//|\\[://\\])(u:p@)?{domain}(:[0-9]{{1,5}})?(/[ -~]{{0,20}})?"
        ),
        format!("{domain}(:[0-9]{{1,5}})?/[ -~]{{0,20}}"),
        format!("({address}|{v6}|\\[{v6}\\])(/[0-9]{{1,3}}|:[0-9]{{1,5}})?"),
        format!("(http|tcp|udp)://({address}|\\[{v6}\\])(:[0-9]{{1,5}})?(/[ -~]{{0,20}})?"),
        "[0-9a-fA-F]{32}|[0-9a-f]{40}|[0-9A-F]{64}|[0-9a-f]{1,70}".to_owned(),
        "[a-zàáạảãâầấậẩẫăđêôơưßς\u{300}-\u{323}\u{200d}\u{ad}\u{3002}\u{ff11}-\u{ff19}]{1,9}\\.(vn|com|ελ)"
            .to_owned(),
        "(http|tcp)://[a-zàạđ%0-9\u{300}-\u{323}.]{1,12}\\.(vn|com)/.{0,9}".to_owned(),
    ];
    let shapes = shapes.map(|shape| proptest::string::string_regex(&shape).expect("a regular expression"));
    (proptest::strategy::Union::new(shapes), any::<bool>()).prop_map(|(text, defang)| {
        if defang { text.replace('.', "[.]").replacen(':', "[:]", 1) } else { text }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_canonical_text_is_its_own_canonical_form(text in texts()) {
        if let Ok(first) = detect(&text) {
            let canonical = first.observable.to_string();
            let again = detect(&canonical).map_err(|e| TestCaseError::fail(format!("{canonical}: {e}")))?;
            prop_assert_eq!(&again.observable.to_string(), &canonical);
            prop_assert_eq!(again.observable.kind(), first.observable.kind());
            prop_assert_eq!(again.raw, None);
            prop_assert_eq!(first.raw.is_some(), canonical != text);
        }
    }

    #[test]
    fn naming_the_detected_kind_changes_nothing(text in texts()) {
        if let Ok(first) = detect(&text) {
            let named = observable(first.observable.kind(), &text);
            prop_assert_eq!(named, Ok(first));
        }
    }

    #[test]
    fn any_kind_that_takes_a_text_gives_a_canonical_one(text in texts(), kind in 0..Kind::ALL.len()) {
        if let Ok(first) = observable(Kind::ALL[kind], &text) {
            let canonical = first.observable.to_string();
            let again = observable(first.observable.kind(), &canonical);
            prop_assert_eq!(again, Ok(Canonical { observable: first.observable, raw: None }));
        }
    }

    #[test]
    fn the_fast_path_agrees_with_the_slow_one(text in texts()) {
        if let Some(fast) = fast::detect(&text) {
            prop_assert_eq!(detect_slowly(&text), Ok(fast));
        }
    }

    #[test]
    fn white_space_and_marks_around_a_value_change_nothing_but_raw(
        text in texts(), edge in "[ \t\r\n\u{a0}\u{feff}\u{200b}\u{3000}]{1,3}"
    ) {
        let wrapped = format!("{edge}{text}{edge}");
        prop_assert_eq!(
            detect(&wrapped).map(|c| c.observable),
            detect(&text).map(|c| c.observable)
        );
    }

    #[test]
    fn letter_case_of_a_host_or_hash_changes_nothing(text in "([a-z0-9-]{1,9}\\.){1,3}(com|vn)|[0-9a-f]{32}") {
        prop_assert_eq!(
            detect(&text.to_ascii_uppercase()).map(|c| c.observable),
            detect(&text).map(|c| c.observable)
        );
    }
}

#[test]
fn a_mark_of_defanging_that_only_normalising_brings_up_is_settled_at_once() {
    for text in
        ["http://e.com/hxxp/../a[.]b", "http://e.com/hxxp/../../x/[.].[.]", "http://e.com/a/../[[.].]b"]
    {
        let Ok(canonical) = detect(text) else { continue };
        let once = canonical.observable.to_string();
        assert_eq!(detect(&once).unwrap().observable.to_string(), once, "{text}");
    }
}
