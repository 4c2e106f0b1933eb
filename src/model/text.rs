//! Decides what words are, and when two are one: without diacritics, `đ` as
//! `d`, in lower case. For what people write; never for observable values.

use icu_normalizer::DecomposingNormalizerBorrowed;
use icu_normalizer::properties::CanonicalCombiningClassMapBorrowed;

/// Longest word, in bytes; what follows is cut off.
pub const MAX_WORD_BYTES: usize = 64;

const NFD: DecomposingNormalizerBorrowed<'static> = DecomposingNormalizerBorrowed::new_nfd();
const CLASSES: CanonicalCombiningClassMapBorrowed<'static> = CanonicalCombiningClassMapBorrowed::new();

/// The text without diacritics, `đ` as `d`, in lower case: `Đà Nẵng` is
/// `da nang`, however its letters are composed.
#[must_use]
pub fn fold(text: &str) -> String {
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    NFD.normalize_iter(text.chars())
        .flat_map(char::to_lowercase)
        .filter(|&c| CLASSES.get_u8(c) == 0)
        .map(|c| if c == 'đ' { 'd' } else { c })
        .collect()
}

/// The folded words of a text in their order: runs of letters and digits, of 1
/// to [`MAX_WORD_BYTES`] bytes.
#[must_use]
pub fn tokens(text: &str) -> Vec<String> {
    let folded = fold(text);
    let runs = folded.split(|c: char| !c.is_alphanumeric()).filter(|run| !run.is_empty());
    runs.map(|run| run.get(..run.floor_char_boundary(MAX_WORD_BYTES)).unwrap_or_default().to_owned())
        .collect()
}

/// A word of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    /// As [`tokens`] gives it.
    pub folded: String,
    /// In lower case with its diacritics, apart from their letters.
    pub spelt: String,
}

/// The words of a text in their order, as [`tokens`] gives them, and as they
/// are spelt.
#[must_use]
pub fn words(text: &str) -> Vec<Word> {
    let lower: String = NFD.normalize_iter(text.chars()).flat_map(char::to_lowercase).collect();
    let parts = lower.split(|c: char| CLASSES.get_u8(c) == 0 && !c.is_alphanumeric());
    let word = |spelt: &str| {
        let folded = tokens(spelt).pop()?;
        Some(Word { folded, spelt: spelt.to_owned() })
    };
    parts.filter_map(word).collect()
}

#[cfg(test)]
mod tests {
    use icu_normalizer::ComposingNormalizerBorrowed;
    use proptest::prelude::*;

    use super::*;

    /// Text as people write it, and as nobody does.
    fn text() -> impl Strategy<Value = String> {
        prop_oneof![
            "[a-zA-ZàáảãạăằắẳẵặâầấẩẫậèéẻẽẹêềếểễệìíỉĩịòóỏõọôồốổỗộơờớởỡợùúủũụưừứửữựỳýỷỹỵđĐÀẮỆỬỴ0-9 ,.\u{300}\u{303}\u{309}\u{301}\u{323}\u{31b}-]{0,60}",
            "\\PC{0,60}",
            any::<String>(),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn folding_again_changes_nothing(text in text()) {
            let folded = fold(&text);
            prop_assert_eq!(&fold(&folded), &folded);
            prop_assert_eq!(tokens(&folded), tokens(&text));
        }

        #[test]
        fn it_does_not_matter_how_letters_are_composed(text in text()) {
            let composed = ComposingNormalizerBorrowed::new_nfc().normalize(&text).into_owned();
            let apart = NFD.normalize(&text).into_owned();
            prop_assert_eq!(fold(&composed), fold(&text));
            prop_assert_eq!(fold(&apart), fold(&text));
            prop_assert_eq!(tokens(&composed), tokens(&apart));
        }

        #[test]
        fn spelt_words_are_the_folded_ones(text in text()) {
            let folded: Vec<_> = words(&text).into_iter().map(|word| word.folded).collect();
            prop_assert_eq!(folded, tokens(&text));
        }

        #[test]
        fn words_are_bounded_and_stand_for_themselves(text in text()) {
            for word in tokens(&text) {
                prop_assert!((1..=MAX_WORD_BYTES).contains(&word.len()), "{word:?}");
                prop_assert_eq!(tokens(&word), [word.clone()]);
            }
        }
    }

    #[test]
    fn vietnamese_is_found_without_its_marks() {
        assert_eq!(
            fold("Đường dây LỪA ĐẢO qua tin nhắn, Đà Nẵng"),
            "duong day lua dao qua tin nhan, da nang"
        );
        assert_eq!(fold("Nghị định 13/2023/NĐ-CP"), "nghi dinh 13/2023/nd-cp");
        assert_eq!(fold("d\u{309}\u{323}a\u{306}\u{301}"), "da");
        assert_eq!(
            tokens("Phishing – giả mạo VNeID (đợt 2)"),
            ["phishing", "gia", "mao", "vneid", "dot", "2"]
        );
        assert_eq!(tokens("APT-C-00/OceanLotus"), ["apt", "c", "00", "oceanlotus"]);
        assert!(tokens(" -,.\u{301} ").is_empty());
    }

    #[test]
    fn a_word_past_its_bound_is_cut_between_letters() {
        assert_eq!(tokens(&"a".repeat(70)), ["a".repeat(64)]);
        assert_eq!(tokens(&format!("a{}", "字".repeat(30))), [format!("a{}", "字".repeat(21))]);
    }
}
