//! Decides which words are meant where letters are written one by one, or
//! words together.

use super::lexicon;
use super::words::{Caps, Gap, Word};

/// Fewest single letters that make a word.
const MIN_LETTERS: usize = 3;
/// Longest run without a wider gap that is cut into words, in letters.
const MAX_RUN: usize = 48;

/// Puts letters together that are written one by one, and cuts apart what is
/// written together.
pub(super) fn join(words: Vec<Word>) -> Vec<Word> {
    let mut out = Vec::with_capacity(words.len());
    let mut run: Vec<Word> = Vec::new();
    for word in words {
        let single =
            !word.value && word.folded.chars().count() == 1 && word.folded.chars().all(char::is_alphabetic);
        if single {
            run.push(word);
        } else {
            flush(&mut run, &mut out);
            apart(word, &mut out);
        }
    }
    flush(&mut run, &mut out);
    out
}

/// Ends a run of single letters: where the gaps differ, those wider than most
/// part words.
fn flush(run: &mut Vec<Word>, out: &mut Vec<Word>) {
    if run.len() < MIN_LETTERS {
        out.append(run);
        return;
    }
    let count = |rank| run.iter().skip(1).filter(|word| word.gap.rank() == rank).count();
    let usual = (0..=Gap::WIDEST).rev().max_by_key(|&rank| count(rank)).unwrap_or_default();
    let mut letters = run.drain(..).peekable();
    while let Some(first) = letters.next() {
        let mut whole = first;
        while let Some(next) = letters.next_if(|next| next.gap.rank() <= usual && !next.gap.has(BREAKS)) {
            whole.folded.push_str(&next.folded);
            whole.spelt.push_str(&next.spelt);
            whole.caps = match (whole.caps, next.caps) {
                (Caps::All, Caps::All) => Caps::All,
                (Caps::All | Caps::Initial, _) => Caps::Initial,
                (Caps::Lower, _) => Caps::Lower,
            };
            whole.spaced = true;
        }
        apart(whole, out);
    }
}

/// What parts words even between single letters.
const BREAKS: Gap = Gap::COLON
    .and(Gap::BAR)
    .and(Gap::DASH)
    .and(Gap::OPEN)
    .and(Gap::CLOSE)
    .and(Gap::COMMA)
    .and(Gap::SLASHES)
    .and(Gap::SLASH);

/// Adds a word, cut into those that it is made of.
fn apart(word: Word, out: &mut Vec<Word>) {
    let lengths = if word.spaced && word.folded.len() <= MAX_RUN {
        cut(&word.folded)
    } else {
        lexicon::together(&word.folded)
    };
    if lengths.len() < 2 {
        out.push(word);
        return;
    }
    let (mut folded, mut spelt) = (word.folded.as_str(), word.spelt.as_str());
    for (place, length) in lengths.into_iter().enumerate() {
        let (part, rest) = folded.split_at_checked(length).unwrap_or((folded, ""));
        let (part_spelt, rest_spelt) = spelt.split_at_checked(bytes_of(spelt, length)).unwrap_or((spelt, ""));
        (folded, spelt) = (rest, rest_spelt);
        out.push(Word {
            folded: part.to_owned(),
            spelt: part_spelt.to_owned(),
            caps: word.caps,
            gap: if place == 0 { word.gap } else { Gap::JOIN },
            spaced: word.spaced,
            value: false,
        });
    }
}

/// How many bytes the first `letters` letters take with their marks.
fn bytes_of(spelt: &str, letters: usize) -> usize {
    let is_letter = |c: char| c.is_alphanumeric();
    spelt.char_indices().filter(|(_, c)| is_letter(*c)).nth(letters).map_or(spelt.len(), |(at, _)| at)
}

/// The lengths of the known words that a run is made of; none if it is not.
fn cut(run: &str) -> Vec<usize> {
    // The best way to each place: where its last word begins. Longer words
    // first, so that `tuyet` is not left for a shorter one.
    let mut from: Vec<Option<usize>> = vec![None; run.len().saturating_add(1)];
    for end in 1..=run.len() {
        let begins = |start: usize| {
            let reached = start == 0 || from.get(start).is_some_and(Option::is_some);
            reached && run.get(start..end).is_some_and(lexicon::is_syllable)
        };
        let start = (end.saturating_sub(lexicon::MAX_SYLLABLE)..end).find(|&start| begins(start));
        if let Some(place) = from.get_mut(end) {
            *place = start;
        }
    }
    let (mut lengths, mut end) = (Vec::new(), run.len());
    while end > 0 {
        let Some(start) = from.get(end).copied().flatten() else { return Vec::new() };
        lengths.push(end.saturating_sub(start));
        end = start;
    }
    lengths.reverse();
    lengths
}
