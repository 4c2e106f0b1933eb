//! Decides where in a text a level of secrecy is named, and whether it stands
//! there as a marking: the content of a field, a stamp, or a paper's level.

use super::lexicon::{self, DO, LA, MAT, TOI, TUYET};
use super::phrase::{self, Span};
use super::words::{Caps, Gap, Word};
use super::{Form, Level};

/// How many words a field's name may stand before its content.
const FIELD_REACH: usize = 8;
/// How many words before a paper's name say what is done with it.
const CLAUSE: usize = 5;

/// A text with its words.
#[derive(Debug)]
pub(super) struct Text<'a> {
    form: Form,
    pub(super) words: &'a [Word],
    end: Gap,
    /// What is named, by the place of its last word.
    names: Vec<Option<Named>>,
}

/// A level that a text names, from its first word to behind its last.
#[derive(Debug, Clone, Copy)]
pub(super) struct Named {
    pub(super) level: Level,
    pub(super) start: usize,
    pub(super) end: usize,
    /// In words of English.
    pub(super) english: bool,
}

impl<'a> Text<'a> {
    pub(super) fn new(form: Form, words: &'a [Word], end: Gap) -> Self {
        let mut text = Self { form, words, end, names: Vec::new() };
        text.names = (0..words.len()).map(|at| text.name(at)).collect();
        text
    }

    /// The highest level that it is marked with.
    pub(super) fn highest(&self) -> Option<Level> {
        let lines = if self.form == Form::Label { None } else { self.lines() };
        let mut highest = lines;
        for at in 0..self.words.len() {
            if highest == Some(Level::TuyetMat) {
                break;
            }
            highest = highest.max(self.marked_at(at));
        }
        highest
    }

    fn marked_at(&self, at: usize) -> Option<Level> {
        if let Some(level) = self.letter(at).or_else(|| self.state_secret(at)) {
            return Some(level);
        }
        let named = self.named(at)?;
        if self.gap(named.start).has(Gap::BOX) {
            return None;
        }
        let is_marking = match self.form {
            Form::Label => self.is_label(named),
            Form::Rule => self.is_field(named),
            Form::Text => {
                self.is_ticked(named)
                    || (!self.is_listed(named)
                        && (self.is_field(named)
                            || self.is_segment(named)
                            || self.is_heading(named)
                            || self.is_shouted(named)
                            || phrase::is_marking(self, named)))
            }
        };
        is_marking.then_some(named.level)
    }

    /// The highest level of the lines that hold nothing else but numbers
    /// behind it.
    fn lines(&self) -> Option<Level> {
        let mut highest = None;
        let mut from = 0;
        while from < self.words.len() {
            let more = (from..self.words.len()).skip(1).find(|&at| self.gap(at).has(Gap::LINE));
            let to = more.unwrap_or(self.words.len());
            highest = highest.max(self.line(from, to));
            from = to;
        }
        highest
    }

    fn line(&self, from: usize, to: usize) -> Option<Level> {
        // Of a rule, any other line may be one that is searched for.
        if self.form == Form::Rule && !self.gap(from).has(Gap::REMARK) {
            return None;
        }
        let (mut at, mut highest) = (from, None);
        while at < to {
            let Some(named) =
                (0..2).find_map(|more| self.named(at.saturating_add(more)).filter(|it| it.start == at))
            else {
                let rest = self.words.get(at..to).unwrap_or_default();
                return highest.filter(|_| rest.iter().all(Word::is_number));
            };
            if self.gap(named.start).has(Gap::BOX.and(Gap::TICK)) {
                return None;
            }
            // `.mat`, the ending of a file's name.
            if named.level == Level::Mat
                && self.is_bare(named)
                && self.caps(named) == Caps::Lower
                && self.gap(named.start).has(Gap::JOIN)
            {
                return None;
            }
            // One English word on a line is a stamp if it is written like one.
            if named.english && named.level != Level::TuyetMat && self.caps(named) != Caps::All {
                return None;
            }
            highest = highest.max(Some(named.level));
            at = named.end;
        }
        highest
    }

    pub(super) fn word(&self, at: usize) -> Option<&'a Word> {
        self.words.get(at)
    }

    pub(super) fn before(&self, at: usize, distance: usize) -> Option<&'a Word> {
        self.words.get(at.checked_sub(distance)?)
    }

    /// What stands before the word at a place, or behind the last.
    pub(super) fn gap(&self, at: usize) -> Gap {
        self.words.get(at).map_or(self.end, |word| word.gap)
    }

    /// Where the words begin that stand before `at` without any sign between,
    /// a few at most.
    pub(super) fn clause(&self, at: usize) -> usize {
        let parts = Gap::STRONG.and(Gap::COMMA);
        let mut from = at;
        while from > 0 && at.saturating_sub(from) < CLAUSE && !self.gap(from).has(parts) {
            from = from.saturating_sub(1);
        }
        from
    }

    /// The level named with the word at `at` last.
    fn named(&self, at: usize) -> Option<Named> {
        self.names.get(at).copied().flatten()
    }

    fn name(&self, at: usize) -> Option<Named> {
        let last = self.word(at)?;
        let end = at.saturating_add(1);
        let soft = !last
            .gap
            .has(Gap::COLON.and(Gap::BAR).and(Gap::OPEN).and(Gap::CLOSE).and(Gap::STOP).and(Gap::COMMA));
        let previous = self.before(at, 1).filter(|_| soft);
        let start = at.saturating_sub(1);
        if last.folded == "secret" && self.form != Form::Rule {
            let top = previous.is_some_and(|word| word.folded == "top");
            let (level, start) = if top { (Level::TuyetMat, start) } else { (Level::ToiMat, at) };
            return Some(Named { level, start, end, english: true });
        }
        // With one of its two marks it is no other word.
        if !(last.is(MAT.0, MAT.1) || last.spelt == "ma\u{302}t") {
            return None;
        }
        if let Some(next) = self.word(end)
            && !next.gap.has(Gap::STRONG.and(Gap::COMMA))
            && lexicon::goes_on(last.is_bare(), next)
            && !(last.is_bare() && next.folded == "do")
        {
            return None;
        }
        let (level, start) = match previous {
            Some(word) if word.is(TOI.0, TOI.1) => (Level::ToiMat, start),
            Some(word) if word.is(TUYET.0, TUYET.1) || word.spelt == "tuye\u{302}t" => {
                (Level::TuyetMat, start)
            }
            _ => (Level::Mat, at),
        };
        Some(Named { level, start, end, english: false })
    }

    /// Whether no mark shows that it is the level and not another word.
    pub(super) fn is_bare(&self, named: Named) -> bool {
        self.words.get(named.start..named.end).unwrap_or_default().iter().all(Word::is_bare)
    }

    pub(super) fn caps(&self, named: Named) -> Caps {
        let words = self.words.get(named.start..named.end).unwrap_or_default();
        if words.iter().all(|word| word.caps == Caps::All) {
            Caps::All
        } else if words.first().is_some_and(|word| word.caps != Caps::Lower) {
            Caps::Initial
        } else {
            Caps::Lower
        }
    }

    /// Whether several levels are listed, which tells of the scheme.
    fn is_listed(&self, named: Named) -> bool {
        let listing = Gap::COMMA.and(Gap::SLASH);
        let and = |word: &Word| matches!(word.folded.as_str(), "va" | "hay" | "hoac" | "or" | "and");
        // Up to `, và tối mật`, and the same the other way round.
        let behind = (named.end..named.end.saturating_add(2)).take(2).find_map(|at| {
            let joined = self.gap(named.end).has(listing) || self.word(named.end).is_some_and(and);
            let skipped = at == named.end || self.word(named.end).is_some_and(and);
            (joined && skipped).then(|| (0..2).find_map(|more| self.named(at.saturating_add(more))))?
        });
        let ahead = [1, 2].into_iter().find_map(|distance| {
            let at = named.start.checked_sub(distance)?;
            let skipped = distance == 1 || self.before(named.start, 1).is_some_and(and);
            let joined = self.gap(named.start).has(listing) || self.before(named.start, 1).is_some_and(and);
            (joined && skipped).then(|| self.named(at))?
        });
        let other = |found: Option<Named>| {
            found.is_some_and(|found| {
                let key = found.level == Level::Mat && self.is_secrecy_key(found.end);
                found.level != named.level && found.english == named.english && !key
            })
        };
        !named.english && (other(behind) || other(ahead))
    }

    /// Whether it stands behind a ticked box.
    fn is_ticked(&self, named: Named) -> bool {
        let gap = self.gap(named.start);
        let cross = self
            .before(named.start, 1)
            .is_some_and(|word| word.folded == "x" && word.gap.has(Gap::OPEN) && gap.has(Gap::CLOSE));
        gap.has(Gap::TICK) || cross
    }

    /// Whether it is the content of a field that tells how secret something is.
    fn is_field(&self, named: Named) -> bool {
        let gap = self.gap(named.start);
        let is = self.before(named.start, 1).is_some_and(|word| word.is(LA.0, LA.1));
        let apart = gap.has(Gap::COLON.and(Gap::BAR).and(Gap::DASH).and(Gap::WIDE).and(Gap::LINE)) || is;
        // Of a rule, the line before may be another that is searched for.
        let other = self.form == Form::Rule && gap.has(Gap::LINE) && !gap.has(Gap::COLON);
        if other || !self.ends_field(named) {
            return false;
        }
        for distance in 1..=FIELD_REACH {
            let Some(at) = named.start.checked_sub(distance) else { return false };
            let key_end = at.saturating_add(1);
            let next_to = distance == 1 || (is && distance == 2);
            if self.is_secrecy_key(key_end) && (apart || next_to) {
                return distance == 1 || is || gap.has(Gap::COLON.and(Gap::BAR));
            }
            let firm = gap.has(Gap::COLON.and(Gap::BAR).and(Gap::WIDE));
            if distance == 1 && firm && self.is_weak_key(key_end, named) {
                return true;
            }
            if self.gap(at).has(Gap::STOP.and(Gap::LINE).and(Gap::COLON)) {
                return false;
            }
        }
        false
    }

    /// Whether nothing goes on behind a field's content that makes it other
    /// words.
    fn ends_field(&self, named: Named) -> bool {
        let gap = self.gap(named.end);
        let free = gap.has(Gap::STRONG.and(Gap::COMMA).and(Gap::QUOTE).and(Gap::WIDE));
        if named.english || (named.level == Level::Mat && self.is_bare(named)) {
            return free || self.form == Form::Rule;
        }
        true
    }

    /// Whether the words up to `end` name the field `độ mật` or the like.
    fn is_secrecy_key(&self, end: usize) -> bool {
        let last = self.before(end, 1);
        let first = self.before(end, 2);
        let tight = self.gap(end.saturating_sub(1));
        last.is_some_and(|word| word.is(MAT.0, MAT.1))
            && !tight.has(Gap::STRONG.and(Gap::COMMA))
            && first.is_some_and(|word| lexicon::KEY_WORDS.iter().any(|(plain, spelt)| word.is(plain, spelt)))
    }

    fn is_weak_key(&self, end: usize, named: Named) -> bool {
        let words = self.words.get(..end).unwrap_or_default();
        lexicon::KEYS.iter().any(|key| {
            let fits = words.len() >= key.len()
                && words.iter().rev().zip(key.iter().rev()).all(|(word, part)| word.folded == **part);
            // A field of one word is named so only if its line begins with it.
            let begins = || {
                self.gap(words.len().saturating_sub(key.len()))
                    .has(Gap::STRONG.and(Gap::COMMA).and(Gap::QUOTE))
            };
            let whole = match **key {
                ["mat" | "loai" | "dau"] => {
                    (named.level != Level::Mat || self.caps(named) != Caps::Lower) && begins()
                }
                ["classification" | "secrecy" | "classified"] => true,
                _ => !named.english || begins(),
            };
            fits && whole
        })
    }

    /// The level behind `độ mật` that is given by its letter, with `mật` at
    /// `at`.
    fn letter(&self, at: usize) -> Option<Level> {
        let end = at.saturating_add(1);
        let value = self.word(end)?;
        let level = match value.folded.as_str() {
            "a" => Level::TuyetMat,
            "b" => Level::ToiMat,
            "c" => Level::Mat,
            _ => return None,
        };
        let capital = value.caps == Caps::All || self.form == Form::Label;
        let after = end.saturating_add(1);
        let closed = self.gap(after).has(Gap::STRONG.and(Gap::COMMA).and(Gap::QUOTE).and(Gap::WIDE));
        let listed = self.word(after).is_some_and(|word| matches!(word.folded.as_str(), "a" | "b" | "c"));
        (capital && closed && !listed && self.is_secrecy_key(end)).then_some(level)
    }

    /// The level of an English `state secret`, with `secret` at `at`.
    fn state_secret(&self, at: usize) -> Option<Level> {
        let of_state = self.word(at)?.folded == "secret" && self.before(at, 1)?.folded == "state";
        let next = at.saturating_add(1);
        if !of_state
            || !self.gap(next).has(Gap::COLON.and(Gap::DASH).and(Gap::OPEN).and(Gap::SLASHES).and(Gap::BAR))
        {
            return None;
        }
        if self.word(next)?.folded == "confidential" {
            return Some(Level::Mat);
        }
        (0..2).find_map(|more| self.named(next.saturating_add(more))).map(|named| named.level)
    }

    /// Whether the whole label says it.
    fn is_label(&self, named: Named) -> bool {
        if named.end != self.words.len() {
            return false;
        }
        let before = self.words.get(..named.start).unwrap_or_default();
        if before.is_empty() {
            return !named.english || named.level == Level::TuyetMat;
        }
        if self.is_secrecy_key(named.start) || self.is_weak_key(named.start, named) {
            return true;
        }
        !named.english && lexicon::paper(before) == Some(before.len())
    }

    /// Whether signs part it from the words on both sides.
    fn is_segment(&self, named: Named) -> bool {
        let (left, right) = (self.gap(named.start), self.gap(named.end));
        let next = self.word(named.end);
        let first = left.has(Gap::LINE);
        // `MẬT   Số: 12/BC`, as a letter's head has it.
        let numbered = first
            && next.is_some_and(|word| word.folded == "so" || (word.folded == "ban" && right.has(Gap::WIDE)))
            && (right.has(Gap::WIDE) || self.gap(named.end.saturating_add(1)).has(Gap::COLON));
        if !(left.has(Gap::STRONG) && (right.has(Gap::STRONG) || numbered)) {
            return false;
        }
        let caps = self.caps(named);
        let boxed = left.has(Gap::OPEN) && right.has(Gap::CLOSE);
        if named.english {
            let double = right.has(Gap::SLASHES);
            return caps == Caps::All && (double || (named.level == Level::TuyetMat && (first || boxed)));
        }
        if named.level == Level::Mat && self.is_bare(named) {
            let tag = boxed && first;
            let apart = boxed || first || left.has(Gap::DASH);
            let heads = first && (caps == Caps::All || right.has(Gap::DASH)) && self.is_of_an_office(named);
            return caps != Caps::Lower && (tag || heads || (apart && self.is_of_a_paper(named)));
        }
        caps != Caps::Lower || boxed || (first && !self.is_bare(named))
    }

    /// Whether the line goes on in the words of an office.
    fn is_of_an_office(&self, named: Named) -> bool {
        let to = (named.end..named.end.saturating_add(FIELD_REACH))
            .find(|&at| self.gap(at.saturating_add(1)).has(Gap::LINE))
            .map_or_else(|| named.end.saturating_add(FIELD_REACH), |at| at.saturating_add(1))
            .min(self.words.len());
        !self.gap(named.end).has(Gap::LINE) && self.words.get(named.end..to).is_some_and(lexicon::is_office)
    }

    /// Whether the line names a paper, near by.
    fn is_of_a_paper(&self, named: Named) -> bool {
        let from = (named.start.saturating_sub(FIELD_REACH)..named.start)
            .rev()
            .take_while(|&at| !self.gap(at.saturating_add(1)).has(Gap::LINE))
            .last()
            .unwrap_or(named.start);
        let to = (named.end..named.end.saturating_add(FIELD_REACH))
            .take_while(|&at| at < self.words.len() && !self.gap(at).has(Gap::LINE))
            .last()
            .map_or(named.end, |at| at.saturating_add(1));
        let near = |from, to| self.words.get(from..to).is_some_and(lexicon::names_paper);
        near(from, named.start)
            || near(named.end, to)
            || self.word(named.end).is_some_and(|word| word.folded == "so")
    }

    /// Whether it begins a line in capitals and the name of a paper follows, as
    /// a letter's head pasted onto one line has it.
    fn is_heading(&self, named: Named) -> bool {
        let names_paper = |count: usize| {
            let paper = self.words.get(named.end..named.end.saturating_add(count)).unwrap_or_default();
            lexicon::paper(paper) == Some(count) && paper.iter().all(|word| word.caps == Caps::All)
        };
        self.gap(named.start).has(Gap::LINE)
            && self.caps(named) == Caps::All
            && !self.is_bare(named)
            && (names_paper(1) || names_paper(2))
    }

    /// Whether it is in capitals among words that are not.
    fn is_shouted(&self, named: Named) -> bool {
        if self.caps(named) != Caps::All || (named.level == Level::Mat && self.is_bare(named)) {
            return false;
        }
        if named.english && named.level != Level::TuyetMat {
            return false;
        }
        let quiet = |word: Option<&Word>| {
            word.is_some_and(|word| !word.value && word.caps != Caps::All && !word.is_number())
        };
        let left = self.before(named.start, 1).filter(|_| !self.gap(named.start).has(Gap::LINE));
        let right = self.word(named.end).filter(|_| !self.gap(named.end).has(Gap::LINE));
        let alone = (quiet(left) || left.is_none()) && (quiet(right) || right.is_none());
        alone
            && (quiet(left) || quiet(right))
            && !phrase::is_talk(self, Span { start: named.start, end: named.end, loose: false }, false)
    }
}

/// Whether a word of the text is `độ`.
pub(super) fn is_degree(word: &Word) -> bool {
    word.is(DO.0, DO.1)
}
