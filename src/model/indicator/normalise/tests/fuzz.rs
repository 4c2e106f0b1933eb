//! Bytes from anyone: vectors with random damage, and plain noise. Nothing
//! panics, and whatever is taken is canonical.

use std::sync::LazyLock;

use super::*;

static INPUTS: LazyLock<Vec<String>> =
    LazyLock::new(|| vectors().into_iter().map(|(_, [input, ..])| input).collect());

/// What damage is made with.
const PIECES: [&str; 24] = [
    ".", ":", "/", "//", "@", "[", "]", "[.]", "[@]", "(dot)", "hxxp", "hxxps:", "%", "%2e", "..", "\\",
    "xn--", "\u{200b}", "\u{202e}", "\u{301}", "++", " ", "0", "::",
];

/// One change: where, how many bytes go, what comes.
type Damage = (usize, usize, usize);

fn damaged(seed: usize, changes: &[Damage]) -> String {
    let mut bytes = INPUTS[seed % INPUTS.len()].clone().into_bytes();
    for &(at, gone, piece) in changes {
        let at = at % (bytes.len() + 1);
        let end = (at + gone).min(bytes.len());
        let piece = PIECES.get(piece).copied().unwrap_or_default();
        bytes.splice(at..end, piece.bytes());
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Whatever is taken stays what it is, by every way back to it.
fn check(text: &str) -> Result<(), TestCaseError> {
    if let Ok(first) = detect(text) {
        let canonical = first.observable.to_string();
        prop_assert_eq!(detect(&canonical), Ok(Canonical { raw: None, ..first.clone() }));
        prop_assert_eq!(observable(first.observable.kind(), text), Ok(first));
    }
    for &kind in Kind::ALL {
        let explained = explain::explain(Some(kind), text);
        let Ok(first) = explained.read else { continue };
        let canonical = first.observable.to_string();
        let narrower = first.observable.kind();
        prop_assert!(narrower == kind || matches!(kind, Kind::Cidr | Kind::Ipv6), "{kind} {narrower}");
        let again = observable(narrower, &canonical);
        prop_assert_eq!(again, Ok(Canonical { raw: None, ..first.clone() }), "{}", kind);
        prop_assert_eq!(Observable::from_canonical(narrower, &canonical), Some(first.observable));
        prop_assert!(explained.steps.len() > 1);
        prop_assert!(canonical.len() <= kind.max_bytes());
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn damaged_values_are_refused_or_canonical(
        seed: usize,
        changes in proptest::collection::vec((any::<usize>(), 0_usize..4, 0_usize..PIECES.len() + 2), 0..5),
    ) {
        check(&damaged(seed, &changes))?;
    }

    #[test]
    fn noise_is_refused_or_canonical(bytes in proptest::collection::vec(any::<u8>(), 0..48)) {
        check(&String::from_utf8_lossy(&bytes))?;
    }

    #[test]
    fn a_value_without_marks_is_not_changed_by_undoing_them(text in "[a-z0-9.:@%_/?#=-]{0,40}") {
        prop_assume!(!text.contains("hxxp") && !text.contains("-dot-"));
        for undone in [refang::host(&text), refang::host_named(&text), refang::tail(&text), refang::commas(&text)] {
            prop_assert_eq!(&*undone, &*text);
        }
    }
}
