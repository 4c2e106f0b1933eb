//! Decides where output goes: data to stdout, whole and flushed on demand;
//! everything else to stderr. The only printer of the commands.

use std::borrow::Cow;
use std::fmt;
use std::io::{self, BufWriter, IsTerminal as _, Write};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;
use tracing_subscriber::EnvFilter;

/// Bytes gathered before they are written.
const BUFFER: usize = 64 * 1024;

/// The data that a command gives.
pub(super) struct Data(Box<dyn Write + Send>);

impl fmt::Debug for Data {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Data")
    }
}

impl Data {
    /// To stdout.
    pub(super) fn stdout() -> Self {
        Self::to(io::stdout())
    }

    /// To a writer.
    pub(super) fn to(writer: impl Write + Send + 'static) -> Self {
        Self(Box::new(BufWriter::with_capacity(BUFFER, writer)))
    }

    /// One line of text.
    pub(super) fn line(&mut self, text: &str) -> io::Result<()> {
        self.0.write_all(text.as_bytes())?;
        self.0.write_all(b"\n")
    }

    /// One line of JSON.
    pub(super) fn json(&mut self, record: &impl Serialize) -> io::Result<()> {
        serde_json::to_writer(&mut self.0, record).map_err(io::Error::from)?;
        self.0.write_all(b"\n")
    }

    /// Bytes as they are.
    pub(super) fn bytes(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes)
    }

    /// The same output, for those who write for themselves.
    pub(super) fn writer(&mut self) -> &mut dyn Write {
        &mut self.0
    }

    /// Hands everything to the reader.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// A value on one line: of those of many lines, rules, the line breaks are
/// written `\n`.
pub(super) fn on_one_line(text: &str) -> Cow<'_, str> {
    if !text.contains(char::is_control) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if c.is_control() { out.extend(c.escape_default()) } else { out.push(c) }
    }
    Cow::Owned(out)
}

/// A text as a table shows it: on one line, and with what is not seen or turns
/// the direction of writing, the trick of some file names, written out.
pub(super) fn for_eyes(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}' => {
                out.extend(c.escape_unicode());
            }
            c if c.is_control() => out.extend(c.escape_default()),
            c => out.push(c),
        }
    }
    out
}

/// Tells the person at the prompt.
pub(super) fn talk(text: &str) {
    // Where stderr is gone there is nobody to tell.
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Sends the log to stderr, at the levels of `filter`.
pub(super) fn log_to_stderr(filter: &str) {
    let log = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(filter))
        .with_writer(io::stderr)
        .without_time()
        .with_target(false);
    // Colours are for eyes, not for log files; NO_COLOR counts at a terminal.
    let log = if io::stderr().is_terminal() { log } else { log.with_ansi(false) };
    // A second run in one process keeps the first one's log.
    let _ = log.try_init();
}

/// Progress on stderr, where that is a terminal: over `bytes`, or, where the
/// end is not known, as a count.
pub(super) fn progress(bytes: Option<u64>, quiet: bool) -> ProgressBar {
    let target = if quiet { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr_with_hz(5) };
    let bar = ProgressBar::with_draw_target(bytes, target);
    let template =
        if bytes.is_some() { "{bar:30} {percent:>3}% {msg}  {eta} left" } else { "{spinner} {msg}" };
    match ProgressStyle::with_template(template) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

/// A count as people read it: `1,234,567`.
pub(super) fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_shown_on_one_line() {
        assert_eq!(on_one_line("rule a\r\n\tb"), "rule a\\r\\n\\tb");
        assert_eq!(on_one_line("tiếng Việt"), "tiếng Việt");
        assert_eq!(for_eyes("invoice\u{202e}fdp.exe\n tiếng Việt"), "invoice\\u{202e}fdp.exe\\n tiếng Việt");
    }

    #[test]
    fn counts_are_grouped_by_thousands() {
        for (n, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(count(n), text);
        }
    }
}
