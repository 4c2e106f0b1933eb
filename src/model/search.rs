//! Decides what a search for text means: words and phrases, all of which are
//! to be there. A word with diacritics is meant as it is spelt, one without in
//! any spelling; a star ends a word of which the beginning is given.

use super::Invalid;
use super::text::{Word, words};

/// Longest search, in bytes.
pub const MAX_SEARCH_BYTES: usize = 512;
/// Most words in a search.
pub const MAX_SEARCH_WORDS: usize = 32;
/// Most different words of a version by which it is found: those that come
/// first, of its labels, its family, its campaign and its description.
pub const MAX_KNOWN: usize = 512;

/// A search for text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Search {
    text: String,
    phrases: Vec<Vec<Wanted>>,
}

/// A word that is searched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Without diacritics.
    pub folded: String,
    /// As it is spelt, if that is asked for.
    spelt: Option<String>,
    /// Whether only its beginning is given.
    pub open: bool,
}

impl Wanted {
    fn of(word: Word, open: bool) -> Self {
        let Word { folded, spelt } = word;
        Self { spelt: (spelt != folded).then_some(spelt), folded, open }
    }

    fn is(&self, word: &Word) -> bool {
        let same =
            |wanted: &str, found: &str| if self.open { found.starts_with(wanted) } else { found == wanted };
        same(&self.folded, &word.folded) && self.spelt.as_ref().is_none_or(|spelt| same(spelt, &word.spelt))
    }
}

impl Search {
    /// Reads a search: words, and phrases in quotation marks.
    ///
    /// # Errors
    /// Too long, or without a word.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        if text.len() > MAX_SEARCH_BYTES {
            return Err(Invalid::new(
                "",
                format!("at most {MAX_SEARCH_BYTES} bytes; this has {}", text.len()),
            ));
        }
        let mut phrases = Vec::new();
        let quotes = |c: char| matches!(c, '"' | '\u{201c}' | '\u{201d}');
        for (at, part) in text.split(quotes).enumerate() {
            if at % 2 == 1 {
                phrases.push(phrase(part));
            } else {
                // What is written together, such as `APT-C-00`, belongs together.
                phrases.extend(part.split_whitespace().map(phrase));
            }
        }
        phrases.retain(|phrase| !phrase.is_empty());
        match phrases.iter().map(Vec::len).sum() {
            0 => Err(Invalid::new("", "write a word to search for, of letters or digits")),
            count if count > MAX_SEARCH_WORDS => {
                Err(Invalid::new("", format!("at most {MAX_SEARCH_WORDS} words; these are {count}")))
            }
            _ => Ok(Self { text: text.to_owned(), phrases }),
        }
    }

    /// As it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Every word that is to be there.
    pub fn words(&self) -> impl Iterator<Item = &Wanted> {
        self.phrases.iter().flatten()
    }

    /// Every two words that are to stand side by side, both of them whole.
    pub fn pairs(&self) -> impl Iterator<Item = (&Wanted, &Wanted)> {
        let pairs = self.phrases.iter().flat_map(|phrase| phrase.iter().zip(phrase.iter().skip(1)));
        pairs.filter(|(_, right)| !right.open)
    }

    /// Whether all of it is in these texts, each phrase within one of them.
    #[must_use]
    pub fn matches<'a>(&self, texts: impl IntoIterator<Item = &'a str>) -> bool {
        let texts = known(texts.into_iter().map(words).collect());
        let has = |phrase: &Vec<Wanted>| {
            texts.iter().any(|text| {
                text.windows(phrase.len())
                    .any(|found| phrase.iter().zip(found).all(|(wanted, word)| wanted.is(word)))
            })
        };
        self.phrases.iter().all(has)
    }
}

fn phrase(text: &str) -> Vec<Wanted> {
    let open = text.trim_end().ends_with('*');
    let mut phrase: Vec<_> = words(text).into_iter().map(|word| Wanted::of(word, false)).collect();
    if let Some(last) = phrase.last_mut() {
        last.open = open;
    }
    phrase
}

/// The texts without the words by which they are not found.
fn known(mut texts: Vec<Vec<Word>>) -> Vec<Vec<Word>> {
    let mut known = std::collections::BTreeSet::new();
    for word in texts.iter_mut().flatten() {
        if known.len() < MAX_KNOWN || known.contains(&word.folded) {
            known.insert(word.folded.clone());
        } else {
            // No word is empty.
            word.folded.clear();
            word.spelt.clear();
        }
    }
    texts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finds(search: &str, text: &str) -> bool {
        Search::parse(search).unwrap().matches([text])
    }

    #[test]
    fn a_word_without_diacritics_finds_both_and_one_with_them_itself_alone() {
        for (search, text, found) in [
            ("lua dao", "Lừa đảo qua tin nhắn", true),
            ("LỪA ĐẢO", "Lừa đảo qua tin nhắn", true),
            ("lừa đảo", "lua dao qua mang", false),
            ("lửa", "Lừa đảo", false),
            ("lu\u{31b}\u{300}a", "Lừa đảo", true),
            ("dao nhan", "Lừa đảo qua tin nhắn", true),
            ("dao vang", "Lừa đảo qua tin nhắn", false),
        ] {
            assert_eq!(finds(search, text), found, "{search} in {text}");
        }
    }

    #[test]
    fn a_phrase_stands_in_its_order_within_one_text() {
        assert!(finds("\"lua dao qua\"", "Cảnh báo lừa đảo qua mạng"));
        assert!(!finds("\"dao lua\"", "Cảnh báo lừa đảo qua mạng"));
        assert!(finds("\u{201c}lừa đảo\u{201d} mang", "Cảnh báo lừa đảo qua mạng"));
        assert!(finds("APT-C-00", "nhóm apt-c-00") && !finds("APT-C-00", "00 apt c"));
        assert!(!Search::parse("\"a b\"").unwrap().matches(["a", "b"]));
    }

    #[test]
    fn neighbours_are_told_within_a_phrase_and_where_both_are_whole() {
        let pairs = |search: &str| -> Vec<String> {
            let search = Search::parse(search).unwrap();
            search.pairs().map(|(left, right)| format!("{} {}", left.folded, right.folded)).collect()
        };
        assert_eq!(pairs("\"lừa đảo qua\" mạng APT-C-00"), ["lua dao", "dao qua", "apt c", "c 00"]);
        assert_eq!(pairs("\"giả ma*\" lừa đảo"), Vec::<String>::new());
    }

    #[test]
    fn a_star_ends_a_word_of_which_the_beginning_is_given() {
        assert!(finds("phish*", "a phishing kit") && !finds("phish", "a phishing kit"));
        assert!(finds("\"giả ma*\"", "giả mạo") && finds("đả*", "lừa đảo") && !finds("đa*", "lừa dao"));
    }

    #[test]
    fn a_search_without_a_word_and_one_too_long_are_refused() {
        for text in ["", "  ", "\"\"", "-*-"] {
            assert!(Search::parse(text).is_err(), "{text}");
        }
        assert!(Search::parse(&"a ".repeat(32)).is_ok() && Search::parse(&"a ".repeat(33)).is_err());
        assert!(Search::parse(&"a".repeat(513)).is_err());
    }

    #[test]
    fn what_comes_after_the_words_by_which_a_text_is_found_is_not_found() {
        let long: String = (0..600).map(|n| format!("w{n} ")).collect();
        assert!(finds("w511", &long) && !finds("w512", &long));
    }
}
