//! Decides what the place where output goes can show: how wide it is, whether
//! it shows more than ASCII, and whether it is a terminal at all, which alone
//! gets colours.

use std::io::{self, IsTerminal as _};

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

use super::Environment;

/// Columns where nobody says how many.
const USUAL: usize = 80;
/// Fewest that are reckoned with.
const FEWEST: usize = 40;
/// Most: longer lines are hard to follow.
const MOST: usize = 200;

/// What a place shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Terminal {
    /// Columns, if it is a terminal.
    pub(super) columns: Option<usize>,
    /// Whether it shows blocks, that is, is a terminal with UTF-8.
    pub(super) blocks: bool,
    /// Whether it is given colours.
    pub(super) colours: bool,
}

impl Terminal {
    /// Where nobody looks, such as a file.
    #[cfg(test)]
    pub(super) const NONE: Self = Self { columns: None, blocks: false, colours: false };

    /// That of stdout.
    pub(super) fn stdout(environment: &Environment) -> Self {
        let stdout = io::stdout();
        let columns = stdout.is_terminal().then(|| {
            let size = rustix::termios::tcgetwinsize(&stdout).ok();
            size.map(|size| usize::from(size.ws_col)).filter(|columns| *columns > 0).unwrap_or(USUAL)
        });
        Self::of(columns, environment)
    }

    fn of(columns: Option<usize>, environment: &Environment) -> Self {
        let charset = environment.charset.as_deref().unwrap_or_default().to_ascii_lowercase();
        let utf8 = charset.contains("utf-8") || charset.contains("utf8");
        let terminal = columns.is_some();
        Self { columns, blocks: terminal && utf8, colours: terminal && !environment.no_colour }
    }

    /// Columns that a drawing fills.
    pub(super) fn width(self) -> usize {
        self.columns.unwrap_or(USUAL).clamp(FEWEST, MOST)
    }
}

/// Columns that a text takes.
pub(super) fn width(text: &str) -> usize {
    text.width()
}

/// A text of so many columns at least.
pub(super) fn pad(text: &str, columns: usize) -> String {
    let mut out = text.to_owned();
    out.extend(std::iter::repeat_n(' ', columns.saturating_sub(width(text))));
    out
}

/// A text of so many columns at most; what is cut ends with an ellipsis.
pub(super) fn cut(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let (mut out, mut taken) = (String::new(), 1);
    for c in text.chars() {
        taken += c.width().unwrap_or_default();
        if taken > columns {
            break;
        }
        out.push(c);
    }
    out.push('…');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_and_blocks_are_for_terminals_that_want_and_show_them() {
        let environment = |charset: &str, no_colour| Environment {
            charset: Some(charset.to_owned()),
            no_colour,
            ..Environment::default()
        };
        let shows = |columns, environment: &Environment| {
            let terminal = Terminal::of(columns, environment);
            (terminal.blocks, terminal.colours)
        };
        assert_eq!(shows(Some(80), &environment("vi_VN.UTF-8", false)), (true, true));
        assert_eq!(shows(Some(80), &environment("C.utf8", true)), (true, false));
        assert_eq!(shows(Some(80), &environment("C", false)), (false, true));
        assert_eq!(shows(Some(80), &Environment::default()), (false, true));
        assert_eq!(shows(None, &environment("vi_VN.UTF-8", false)), (false, false));
        let width = |columns| Terminal { columns, ..Terminal::NONE }.width();
        assert_eq!((width(None), width(Some(1)), width(Some(120)), width(Some(999))), (80, 40, 120, 200));
    }

    #[test]
    fn a_text_takes_the_columns_that_are_seen() {
        // Composed, and with marks that stand on the letter before.
        assert_eq!((width("lừa đảo"), width("lu\u{31b}\u{300}a")), (7, 3));
        assert_eq!((pad("đ", 3), pad("abcd", 3)), ("đ  ".to_owned(), "abcd".to_owned()));
        assert_eq!((cut("lừa đảo", 7), cut("lừa đảo", 5)), ("lừa đảo".to_owned(), "lừa …".to_owned()));
        assert_eq!(cut("漢字漢字", 4), "漢…");
    }
}
