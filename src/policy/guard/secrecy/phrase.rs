//! Decides when the level that a sentence names is that of a paper at hand,
//! and not of papers that are talked about: lost, stolen, sought, regulated.

use super::Level;
use super::evidence::{Named, Text, is_degree};
use super::lexicon::{self, LA};
use super::words::{Caps, Gap, Word};

/// How many words before a paper's name tell what is said of it.
const AHEAD: usize = 14;
/// How many behind it.
const BEHIND: usize = 5;
/// How many behind it tell that it is none; the first of more where it is no
/// paper but what somebody says.
const FAKED: [usize; 2] = [2, 10];

/// Whether a paper, or what is in it, is said to be of this level.
pub(super) fn is_marking(text: &Text<'_>, named: Named) -> bool {
    let gap = text.gap(named.start);
    if gap.has(Gap::STRONG.and(Gap::COMMA)) {
        return false;
    }
    if named.english && !is_english_level(text, named) {
        return false;
    }
    let bare = named.level == Level::Mat && text.is_bare(named);
    // `toi mat` is `tôi mất` as well.
    let lost = named.level != Level::TuyetMat && !named.english && text.is_bare(named) && loses(text, named);
    let Some(Subject { start: subject, firm, loose }) = subject(text, named) else { return false };
    let cited = firm || cites(text, subject, named);
    if lost || (bare && !cited && !closes(text, named)) {
        return false;
    }
    if bare
        && text.word(named.end).is_some_and(|next| next.folded == "do" && !next.gap.has(Gap::STRONG))
        && !cited
        && !text.words.get(text.clause(subject)..subject).is_some_and(lexicon::quotes)
    {
        return false;
    }
    !is_talk(text, Span { start: subject, end: named.end, loose }, cited)
}

/// Whether an English level behind a paper's name is one: `secret` alone is a
/// key of a program, or the first word of a group's name, as often.
fn is_english_level(text: &Text<'_>, named: Named) -> bool {
    let goes_on =
        text.word(named.end).is_some_and(|next| next.caps != Caps::Lower && !next.gap.has(Gap::STRONG));
    let ends = text.gap(named.end).has(Gap::STRONG.and(Gap::COMMA));
    named.level != Level::ToiMat || (!goes_on && (ends || text.caps(named) == Caps::All))
}

/// What is of a level.
struct Subject {
    /// Its first word.
    start: usize,
    /// Whether nothing else can be meant.
    firm: bool,
    /// Whether it is no paper but what is said.
    loose: bool,
}

/// Words that may be talked about.
pub(super) struct Span {
    pub(super) start: usize,
    pub(super) end: usize,
    /// Whether they name no paper.
    pub(super) loose: bool,
}

/// Which words say what is of this level.
fn subject(text: &Text<'_>, named: Named) -> Option<Subject> {
    let words = text.words.get(..named.start)?;
    let back =
        |count: usize| Some(Subject { start: named.start.checked_sub(count)?, firm: false, loose: false });
    if let Some(next) = text.word(named.end)
        && !next.gap.has(Gap::STRONG)
        && lexicon::english_paper(next)
        && !(named.english || (named.level == Level::Mat && text.is_bare(named)))
    {
        return back(0);
    }
    if let Some(count) = lexicon::paper(words) {
        return back(count);
    }
    let last = words.last()?;
    let high = named.level != Level::Mat;
    // `đóng dấu mật`
    if last.folded == "dau" || (last.folded == "dong" && high) {
        let stamped =
            words.len() > 1 && text.before(named.start, 2).is_some_and(|word| word.folded == "dong");
        return (high || stamped).then(|| back(1))?;
    }
    if is_degree(last) {
        let owner =
            text.before(named.start, 2).is_some_and(|word| matches!(word.folded.as_str(), "thuoc" | "nuoc"));
        let level =
            text.word(named.start).is_some_and(|word| word.caps == Caps::Initial) && last.caps == Caps::Lower;
        let denied = text.words.get(text.clause(named.start)..named.start).is_some_and(lexicon::denies);
        let firm = owner && !denied;
        return (high || owner || level).then(|| back(1).map(|subject| Subject { firm, ..subject }))?;
    }
    if !high {
        return None;
    }
    if let Some(count) = lexicon::content(words) {
        return back(count).map(|subject| Subject { loose: true, ..subject });
    }
    // `tài liệu này là tối mật`
    if last.is(LA.0, LA.1) {
        return text.before(named.start, 2).is_some_and(|word| word.folded == "nay").then(|| back(2))?;
    }
    None
}

/// Whether `mat` without marks has nothing behind it that makes it `mất` or
/// `mặt`.
fn closes(text: &Text<'_>, named: Named) -> bool {
    text.gap(named.end).has(Gap::STRONG.and(Gap::COMMA))
        || text
            .word(named.end)
            .is_none_or(|next| lexicon::may_follow_bare(next, text.word(named.end.saturating_add(1))))
}

/// Whether `mat` without marks is said of what people lose.
fn loses(text: &Text<'_>, named: Named) -> bool {
    !text.gap(named.end).has(Gap::STRONG.and(Gap::COMMA))
        && text.words.get(named.end..).is_some_and(lexicon::is_lost)
}

/// Whether the paper is attached, or has its number: then it is at hand, and
/// no word of theft or law near by makes it another.
fn cites(text: &Text<'_>, subject: usize, named: Named) -> bool {
    let next = text.word(named.end).filter(|word| !word.gap.has(Gap::STRONG));
    let second = text.word(named.end.saturating_add(1));
    let numbered = next.is_some_and(|word| matches!(word.folded.as_str(), "so" | "ngay" | "no"))
        && second.is_some_and(Word::is_number);
    let this = next.is_some_and(|word| word.folded == "nay");
    numbered
        || this
        || text
            .words
            .get(text.clause(subject)..subject)
            .is_some_and(|before| lexicon::cites(before) && !lexicon::denies(before))
}

/// Whether papers of this kind are talked about around these words.
pub(super) fn is_talk(text: &Text<'_>, span: Span, cited: bool) -> bool {
    let Span { start: subject, end, loose } = span;
    let [paper, said] = FAKED;
    let parts = Gap::STOP.and(Gap::LINE);
    let mut from = subject;
    while from > 0 && subject.saturating_sub(from) < AHEAD && !text.gap(from).has(parts) {
        from = from.saturating_sub(1);
    }
    let mut to = end;
    while to < text.words.len() && to.saturating_sub(end) < said && !text.gap(to).has(parts) {
        to = to.saturating_add(1);
    }
    let before = text.words.get(from..subject).unwrap_or_default();
    let behind = |most: usize| text.words.get(end..to.min(end.saturating_add(most))).unwrap_or_default();
    let denied = text.words.get(text.clause(subject)..subject).is_some_and(lexicon::denies);
    lexicon::faked(before, behind(if loose { said } else { paper }))
        || (!cited && (denied || lexicon::talks(before) || lexicon::talks_behind(behind(BEHIND))))
}
