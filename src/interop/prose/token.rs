//! Decides where in a line of text a value may begin and end.

/// A part of a line that may be a value.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Piece<'a> {
    pub(super) text: &'a str,
    /// Nothing else stands in its line, list item or cell.
    pub(super) is_alone: bool,
    /// It stands in literal marks or in a literal block.
    pub(super) is_literal: bool,
    /// It has a text for readers, as links have.
    pub(super) is_link: bool,
    /// A full stop came after it.
    pub(super) ends_in_dot: bool,
}

/// Cuts a line into what may be values.
pub(super) fn pieces(line: &str, in_block: bool) -> Vec<Piece<'_>> {
    let mut out = Vec::new();
    let is_row = line.starts_with('|') || line.matches(" | ").count() > 1;
    let cells: Vec<&str> = if is_row {
        line.split('|').collect()
    } else if line.contains('\t') {
        line.split('\t').collect()
    } else {
        vec![without_bullet(line)]
    };
    for cell in cells {
        cut(cell.trim(), in_block, &mut out);
    }
    out
}

fn cut<'a>(cell: &'a str, in_block: bool, out: &mut Vec<Piece<'a>>) {
    // One pair of literal marks around the whole: all of it is one thing.
    if let Some(inner) = cell.strip_prefix('`').and_then(|rest| rest.strip_suffix('`'))
        && !inner.contains('`')
    {
        let inner = inner.trim_start_matches(['+', '`']).trim_end_matches(['+', '`']).trim();
        out.push(Piece {
            text: inner,
            is_alone: true,
            is_literal: true,
            is_link: false,
            ends_in_dot: inner.ends_with('.'),
        });
        return;
    }
    let words: Vec<&str> = cell.split(is_between).filter(|word| !word.is_empty()).collect();
    let alone = words.len() == 1;
    for word in words {
        let is_literal = in_block || word.contains('`');
        let (word, linked) = unlinked(word);
        let (text, ends_in_dot) = stripped(word);
        if !text.is_empty() {
            out.push(Piece { text, is_alone: alone, is_literal, is_link: linked, ends_in_dot });
        }
    }
}

/// What stands between words. A comma may be part of a URL's query, and is
/// stripped at ends only.
fn is_between(c: char) -> bool {
    c.is_whitespace() || matches!(c, '"' | '“' | '”' | '|' | '<' | '>')
}

fn without_bullet(line: &str) -> &str {
    let rest = line.trim_start_matches(['-', '*', '•', '–', '+']);
    if rest.len() < line.len() && rest.starts_with(char::is_whitespace) {
        return rest.trim_start();
    }
    let digits = line.trim_start_matches(|c: char| c.is_ascii_digit());
    match digits.strip_prefix(['.', ')']) {
        Some(rest) if digits.len() < line.len() && rest.starts_with(' ') => rest.trim_start(),
        _ => line,
    }
}

/// The target of a link of AsciiDoc (`https://…[text]`) or Markdown
/// (`[text](https://…)`), and whether it is one.
fn unlinked(word: &str) -> (&str, bool) {
    if let Some((_, target)) = word.split_once("](") {
        return (target.trim_end_matches([')', '.', ',']), true);
    }
    let word = word.strip_prefix("link:").unwrap_or(word);
    let begins =
        word.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("http")) && word.contains("://");
    match word.split_once('[') {
        Some((target, text)) if begins && !text.starts_with(['.', ':']) => (target, true),
        _ => (word, false),
    }
}

/// The word without the punctuation around it, and whether a full stop was
/// there.
fn stripped(word: &str) -> (&str, bool) {
    let mut text = word;
    loop {
        let before = text;
        text = text.trim_start_matches(['`', '\'', '(', '*', '‘', ',', ';', '=']);
        text = text.trim_start_matches("++").trim_end_matches("++");
        text = text.trim_end_matches(['`', '\'', '*', '’', ',', ';', ':', '!', '?']);
        if text.ends_with(')') && text.matches('(').count() < text.matches(')').count() {
            text = text.strip_suffix(')').unwrap_or(text);
        }
        if let Some(inner) = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            text = inner;
        }
        if text.ends_with(']') && text.matches('[').count() < text.matches(']').count() {
            text = text.strip_suffix(']').unwrap_or(text);
        }
        let without_dots = text.trim_end_matches('.');
        if without_dots.len() < text.len() {
            let (text, _) = stripped(without_dots);
            return (text, true);
        }
        if text.len() == before.len() {
            return (text, false);
        }
    }
}

/// Whether the word begins with a scheme, defanged or not.
pub(super) fn has_scheme(text: &str) -> bool {
    let end = text.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(0);
    let rest = text.get(end..).unwrap_or_default();
    end > 1 && ["://", "[:]//", "[://]", "(://)", ":[//]", "[:/]/"].iter().any(|mark| rest.starts_with(mark))
}
