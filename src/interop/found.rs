//! Decides what readers tell of a line: a record, a refusal, or that it was
//! passed over.

use super::jsonl::Record;

/// Longest text kept of what was not taken, in characters.
const SHOWN_CHARS: usize = 240;

/// What stands on a line. One line may hold several things.
#[derive(Debug)]
pub struct Found {
    /// Number of the line on which it begins, from 1.
    pub line: u64,
    /// What it is.
    pub what: What,
}

/// A thing on a line.
#[derive(Debug)]
pub enum What {
    /// Something to publish.
    Record(Box<Record>),
    /// Something that looks like an indicator and cannot be one as it stands.
    Refused(Reject),
    /// Something that merely resembles an indicator, or is meant for people.
    PassedOver(Reject),
}

/// Why something is not taken.
#[derive(Clone, PartialEq, Eq)]
pub struct Reject {
    /// The stable cause.
    pub reason: Reason,
    /// What is wrong, without the value.
    pub problem: String,
    /// What was read, bounded and without control characters; may be empty.
    pub text: String,
}

impl std::fmt::Debug for Reject {
    /// Without the text: values do not belong in logs.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Reject({}: {})", self.reason.as_str(), self.problem)
    }
}

/// The causes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// A line longer than the bound.
    LineTooLong,
    /// Not text in the encoding, or text of which the encoding is not sure.
    NotText,
    /// Not a record of the format.
    NotRecord,
    /// The value is none that the hub knows.
    FieldInvalid,
    /// A pattern, which stands for many values.
    Pattern,
    /// An exception: it says what not to block.
    Exception,
    /// A rule that holds under conditions only.
    Conditional,
    /// A path without a host.
    PathOnly,
    /// A whole suffix of the name space.
    Suffix,
    /// An address that everyone has for himself, or a network of almost all.
    Local,
    /// A name whose top-level domain does not exist.
    UnknownTld,
    /// A row in which nothing is an observable.
    NoValue,
    /// A link for readers.
    Reference,
    /// A version number, a file name or the like.
    Lookalike,
}

impl Reason {
    /// The cause as reports spell it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::LineTooLong => "LINE_TOO_LONG",
            Self::NotText => "NOT_TEXT",
            Self::NotRecord => "NOT_RECORD",
            Self::FieldInvalid => "FIELD_INVALID",
            Self::Pattern => "PATTERN",
            Self::Exception => "EXCEPTION",
            Self::Conditional => "CONDITIONAL",
            Self::PathOnly => "PATH_ONLY",
            Self::Suffix => "SUFFIX",
            Self::Local => "LOCAL",
            Self::UnknownTld => "UNKNOWN_TLD",
            Self::NoValue => "NO_VALUE",
            Self::Reference => "REFERENCE",
            Self::Lookalike => "LOOKALIKE",
        }
    }
}

impl Reject {
    /// A reject of `text`.
    #[must_use]
    pub fn new(reason: Reason, problem: impl Into<String>, text: &str) -> Self {
        Self { reason, problem: problem.into(), text: sanitised(text, SHOWN_CHARS) }
    }
}

impl What {
    pub(super) fn refused(reason: Reason, problem: impl Into<String>, text: &str) -> Self {
        Self::Refused(Reject::new(reason, problem, text))
    }

    pub(super) fn passed_over(reason: Reason, problem: impl Into<String>, text: &str) -> Self {
        Self::PassedOver(Reject::new(reason, problem, text))
    }
}

/// The text in bounds of so many characters, and without what could steer a terminal or turn the
/// direction of writing.
pub(super) fn sanitised(text: &str, most: usize) -> String {
    let harmless = |c: char| match c {
        c if c.is_control() => ' ',
        '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}' => {
            '\u{fffd}'
        }
        c => c,
    };
    let harmless: String = text.chars().take(2 * most).map(harmless).collect();
    let mut shown: String = harmless.trim().chars().take(most).collect();
    if harmless.trim().chars().count() > most {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shown_of_a_reject_cannot_steer_a_terminal() {
        let text = Reject::new(Reason::Pattern, "", "\u{1b}[2Jevil\u{202e}gro.\0elpmaxe\n").text;
        assert_eq!(text, "[2Jevil\u{fffd}gro. elpmaxe");
        assert_eq!(Reject::new(Reason::Pattern, "", &"x".repeat(100_000)).text.chars().count(), 241);
    }
}
