//! Decides which texts look like state secrets: those that carry a độ mật
//! marking (Mật, Tối mật, Tuyệt mật), which has no place on a hub at any level.
//!
//! What counts, and what does not, stands in `docs/state-secrets.md`. The
//! answer names the field and the marking and holds nothing of the text. It
//! takes time in proportion to the text, whatever the text is.

mod evidence;
pub mod items;
mod lexicon;
mod phrase;
mod sieve;
mod spaced;
#[cfg(test)]
mod tests;
mod value;
mod words;

use std::fmt;

/// A level of secrecy (độ mật), the highest last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// Mật, "secret".
    Mat,
    /// Tối mật, "top secret" in most translations.
    ToiMat,
    /// Tuyệt mật, the highest.
    TuyetMat,
}

impl Level {
    /// As the law spells it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Mat => "Mật",
            Self::ToiMat => "Tối mật",
            Self::TuyetMat => "Tuyệt mật",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What a text is, which decides what a marking looks like in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// What people write for people: descriptions, notes, reasons, names.
    Text,
    /// A label: words in kebab-case, machine tags.
    Label,
    /// A detection rule: what it searches for is not its author's word, so
    /// only fields and lines of its own count.
    Rule,
}

/// The highest level that a text is marked with; `None`: it is not marked.
#[must_use]
pub fn marked(form: Form, text: &str) -> Option<Level> {
    if !sieve::may_hold(text) {
        return None;
    }
    let (words, end) = words::read(form, text);
    evidence::Text::new(form, &words, end).highest()
}
