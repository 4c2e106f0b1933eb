//! Decides what the words of a text are for the guard, how each is spelt, and
//! what stands before it.

use icu_normalizer::DecomposingNormalizerBorrowed;
use icu_normalizer::properties::CanonicalCombiningClassMapBorrowed;

use super::{Form, spaced, value};

const NFKD: DecomposingNormalizerBorrowed<'static> = DecomposingNormalizerBorrowed::new_nfkd();
const CLASSES: CanonicalCombiningClassMapBorrowed<'static> = CanonicalCombiningClassMapBorrowed::new();

/// How a word is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Caps {
    Lower,
    Initial,
    All,
}

/// What stands before a word, of several kinds at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Gap(u32);

impl Gap {
    pub(super) const SPACE: Self = Self(1);
    /// A tab, or two blanks and more.
    pub(super) const WIDE: Self = Self(1 << 1);
    pub(super) const LINE: Self = Self(1 << 2);
    /// `:` or `=`.
    pub(super) const COLON: Self = Self(1 << 3);
    pub(super) const BAR: Self = Self(1 << 4);
    /// A dash with a blank before it.
    pub(super) const DASH: Self = Self(1 << 5);
    pub(super) const OPEN: Self = Self(1 << 6);
    pub(super) const CLOSE: Self = Self(1 << 7);
    /// The end of a sentence.
    pub(super) const STOP: Self = Self(1 << 8);
    pub(super) const COMMA: Self = Self(1 << 9);
    pub(super) const SLASH: Self = Self(1 << 10);
    /// Two slashes.
    pub(super) const SLASHES: Self = Self(1 << 11);
    /// A ticked box.
    pub(super) const TICK: Self = Self(1 << 12);
    pub(super) const QUOTE: Self = Self(1 << 13);
    /// A box that is not ticked.
    pub(super) const BOX: Self = Self(1 << 15);
    /// `-`, `_` or `.` within a word.
    pub(super) const JOIN: Self = Self(1 << 14);
    /// The beginning of a rule's line that is a remark.
    pub(super) const REMARK: Self = Self(1 << 16);

    /// What ends a segment.
    pub(super) const STRONG: Self = Self(
        Self::LINE.0
            | Self::COLON.0
            | Self::BAR.0
            | Self::DASH.0
            | Self::OPEN.0
            | Self::CLOSE.0
            | Self::STOP.0
            | Self::SLASHES.0,
    );

    pub(super) const fn has(self, any: Self) -> bool {
        self.0 & any.0 != 0
    }

    pub(super) const fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    const fn add(&mut self, other: Self) {
        if other.has(Self::CLOSE) && self.has(Self::OPEN) {
            self.0 |= Self::BOX.0;
        }
        self.0 |= other.0;
    }

    const fn remove(&mut self, other: Self) {
        self.0 &= !other.0;
    }

    /// The greatest [`Gap::rank`].
    pub(super) const WIDEST: u8 = 3;

    /// How far it sets letters apart that are written one by one.
    pub(super) const fn rank(self) -> u8 {
        if self.has(Self::LINE) {
            3
        } else if self.has(Self::WIDE) {
            2
        } else if self.has(Self::SPACE) {
            1
        } else {
            0
        }
    }
}

/// A word of a text.
#[derive(Debug, Clone)]
pub(super) struct Word {
    /// Without marks, in lower case.
    pub(super) folded: String,
    /// In lower case with its marks, apart from their letters.
    pub(super) spelt: String,
    pub(super) caps: Caps,
    pub(super) gap: Gap,
    /// Put together from letters that are written one by one.
    pub(super) spaced: bool,
    /// Not words of anybody's but a value: an address, a path, a file's name.
    pub(super) value: bool,
}

impl Word {
    /// Whether it is `plain`, spelt as `spelt` or without any marks.
    pub(super) fn is(&self, plain: &str, spelt: &str) -> bool {
        self.folded == plain && (self.spelt == plain || self.spelt == spelt)
    }

    /// Whether it has no marks.
    pub(super) fn is_bare(&self) -> bool {
        self.folded == self.spelt
    }

    pub(super) fn is_number(&self) -> bool {
        self.folded.starts_with(|c: char| c.is_ascii_digit())
    }
}

/// What lines of a rule begin with that are remarks; blocks of them begin with
/// `/*`.
const REMARKS: [&str; 2] = ["#", "//"];

/// The words of a text, and what stands behind the last.
pub(super) fn read(form: Form, text: &str) -> (Vec<Word>, Gap) {
    let mut reader = Reader { words: Vec::new(), gap: Gap::LINE, open: false, upper: 0, letters: 0 };
    let (mut blank, mut block) = (Gap::LINE, false);
    for piece in text.split_inclusive(char::is_whitespace) {
        let chunk = piece.trim_end_matches(char::is_whitespace);
        if !chunk.is_empty() {
            if blank.has(Gap::LINE) {
                // A box is for what stands behind it on its line.
                reader.gap.remove(Gap::BOX.and(Gap::TICK).and(Gap::REMARK));
            }
            if form == Form::Rule {
                let begins = blank.has(Gap::LINE);
                block |= begins && chunk.starts_with("/*");
                if block || (begins && REMARKS.iter().any(|sign| chunk.starts_with(sign))) {
                    reader.gap.add(Gap::REMARK);
                }
                block &= !chunk.contains("*/");
            }
            reader.gap.add(blank);
            blank = Gap::default();
            if value::is_value(form, chunk) {
                reader.value(chunk);
            } else {
                reader.chunk(chunk);
            }
            reader.open = false;
        }
        blank.add(match piece.get(chunk.len()..).and_then(|rest| rest.chars().next()) {
            None => Gap::default(),
            Some('\n' | '\r' | '\u{b}' | '\u{c}' | '\u{85}' | '\u{2028}' | '\u{2029}') => Gap::LINE,
            Some('\t') => Gap::WIDE.and(Gap::SPACE),
            Some(_) if blank.has(Gap::SPACE) => Gap::WIDE,
            Some(_) => Gap::SPACE,
        });
    }
    reader.gap.add(blank);
    let end = reader.gap.and(Gap::LINE);
    (spaced::join(reader.words), end)
}

struct Reader {
    words: Vec<Word>,
    gap: Gap,
    /// Whether the last word may go on.
    open: bool,
    upper: usize,
    letters: usize,
}

impl Reader {
    /// One piece without blanks.
    fn chunk(&mut self, chunk: &str) {
        if chunk.is_ascii() {
            self.chars(chunk.chars());
        } else {
            self.chars(NFKD.normalize_iter(chunk.chars().filter(|&c| !is_unseen(c))));
        }
    }

    fn chars(&mut self, chars: impl Iterator<Item = char>) {
        let mut pending: Option<char> = None;
        let mut begun = false;
        for c in chars {
            if is_mark(c) {
                if self.open
                    && pending.is_none()
                    && let Some(word) = self.words.last_mut()
                {
                    word.spelt.push(c);
                }
            } else if c.is_alphanumeric() {
                if let Some(sign) = pending.take() {
                    self.sign(sign, begun, false);
                }
                self.letter(c);
                begun = true;
            } else {
                if let Some(sign) = pending.replace(c) {
                    self.sign(sign, begun, sign == c);
                }
                self.open = false;
            }
        }
        match pending {
            // A slash with blanks on both sides.
            Some('/') if !begun && !self.gap.has(Gap::SLASHES) => self.gap.add(Gap::SLASH.and(Gap::DASH)),
            Some(sign) => self.last_sign(sign),
            None => {}
        }
    }

    fn letter(&mut self, c: char) {
        if !self.open {
            (self.upper, self.letters) = (0, 0);
            self.words.push(Word {
                folded: String::new(),
                spelt: String::new(),
                caps: Caps::Lower,
                gap: std::mem::take(&mut self.gap),
                spaced: false,
                value: false,
            });
            self.open = true;
        }
        let Some(word) = self.words.last_mut() else { return };
        if c.is_alphabetic() {
            self.letters = self.letters.saturating_add(1);
            self.upper = self.upper.saturating_add(usize::from(c.is_uppercase()));
        }
        word.caps = match (self.upper, self.letters) {
            (0, _) => Caps::Lower,
            (upper, letters) if upper == letters => Caps::All,
            _ if c.is_uppercase() => word.caps,
            (1, _) if word.caps == Caps::All => Caps::Initial,
            _ => word.caps,
        };
        for lower in c.to_lowercase().filter(|&lower| !is_mark(lower)) {
            word.spelt.push(lower);
            word.folded.push(if lower == 'đ' { 'd' } else { lower });
        }
    }

    /// A sign before a letter or another sign of the same piece.
    fn sign(&mut self, sign: char, begun: bool, twice: bool) {
        self.gap.add(match sign {
            '/' if twice => Gap::SLASHES,
            '-' | '_' | '.' if begun => Gap::JOIN,
            '\u{2010}' | '\u{2011}' if begun => Gap::JOIN,
            _ => meaning(sign),
        });
    }

    /// A sign that ends a piece.
    fn last_sign(&mut self, sign: char) {
        self.gap.add(match sign {
            '.' | '!' | '?' | '…' => Gap::STOP,
            _ => meaning(sign),
        });
    }

    /// A piece that is a value.
    fn value(&mut self, chunk: &str) {
        let start = chunk.find(char::is_alphanumeric).unwrap_or_default();
        let (before, core) = chunk.split_at_checked(start).unwrap_or(("", chunk));
        before.chars().for_each(|sign| self.gap.add(meaning(sign)));
        self.words.push(Word {
            folded: String::new(),
            spelt: String::new(),
            caps: Caps::Lower,
            gap: std::mem::take(&mut self.gap),
            spaced: false,
            value: true,
        });
        for sign in core.chars().rev().take_while(|c| !c.is_alphanumeric()) {
            self.last_sign(sign);
        }
    }
}

fn meaning(sign: char) -> Gap {
    match sign {
        ':' | '=' => Gap::COLON,
        '|' => Gap::BAR,
        '-' | '–' | '—' | '\u{2010}' | '\u{2011}' | '\u{2212}' | '•' | '*' | '#' | '>' | '<' | '«' | '»' => {
            Gap::DASH
        }
        '(' | '[' | '{' | '【' | '「' => Gap::OPEN,
        '☐' => Gap::OPEN.and(Gap::BOX),
        ')' | ']' | '}' | '】' | '」' => Gap::CLOSE,
        ';' => Gap::STOP.and(Gap::COMMA),
        '!' | '?' => Gap::STOP,
        ',' | '&' | '+' => Gap::COMMA,
        '/' => Gap::SLASH,
        '☑' | '☒' | '✓' | '✔' | '✗' | '✘' => Gap::TICK,
        '"' | '\'' | '“' | '”' | '‘' | '’' => Gap::QUOTE,
        '_' | '.' => Gap::JOIN,
        _ => Gap::default(),
    }
}

/// Whether it combines with the letter before it.
fn is_mark(c: char) -> bool {
    c >= '\u{300}' && CLASSES.get_u8(c) != 0
}

/// Signs that show nothing and may stand within a word.
fn is_unseen(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{34f}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{2064}' | '\u{2066}'..='\u{206f}' | '\u{feff}' | '\u{fe00}'..='\u{fe0f}')
}
