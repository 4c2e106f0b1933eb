//! Decides which marks of defanging are undone: `hxxp`, `[.]`, `(dot)`,
//! `[:]`, `[://]` and their kin, in scheme and host; `[.]` alone in what
//! follows.
//!
//! Nothing here accepts a value: callers parse the result, and refuse the
//! whole where it does not parse. `\.` is no defanging: it is a pattern.

use std::borrow::Cow;

/// Schemes as defanged, and what they stand for.
const SCHEMES: [(&str, &str); 13] = [
    ("hxxp", "http"),
    ("hxxps", "https"),
    ("hxtp", "http"),
    ("hxtps", "https"),
    ("htxp", "http"),
    ("htxps", "https"),
    ("xxxx", "http"),
    ("xxxxx", "https"),
    ("xxxxs", "https"),
    ("meow", "http"),
    ("meows", "https"),
    ("fxp", "ftp"),
    ("fxps", "ftps"),
];

/// What stands between scheme and host, as written and defanged.
const SEPARATORS: [&str; 9] =
    ["://", "[:]//", "[://]", "(://)", ":[//]", "[:/]/", "(:)//", "{:}//", "[:][/][/]"];

/// A URL cut where refanging needs it.
pub(super) struct Parts<'a> {
    /// The scheme in lower case, refanged.
    pub(super) scheme: Cow<'a, str>,
    /// User, password and `@`, as written; mostly empty.
    pub(super) userinfo: &'a str,
    /// Host and port, refanged.
    pub(super) host: Cow<'a, str>,
    /// Path, query and fragment, refanged.
    pub(super) tail: Cow<'a, str>,
}

/// Whether `text` starts with a scheme and `://`, defanged or not.
pub(super) fn has_scheme(text: &str) -> bool {
    split_scheme(text).is_some()
}

/// Cuts a URL that has a scheme into refanged parts.
pub(super) fn parts(text: &str) -> Option<Parts<'_>> {
    let (scheme, rest) = split_scheme(text)?;
    let scheme = scheme_name(scheme);
    // Browsers skip further slashes; in other schemes they mean an empty host.
    let (rest, ends): (_, &[char]) = match &*scheme {
        "http" | "https" | "ws" | "wss" | "ftp" => {
            (rest.trim_start_matches(['/', '\\']), &['/', '\\', '?', '#'])
        }
        _ => (rest, &['/', '?', '#']),
    };
    let (authority, tail) = rest.split_at(rest.find(ends).unwrap_or(rest.len()));
    let (userinfo, host_text) = authority.rfind('@').map_or(("", authority), |at| authority.split_at(at + 1));
    Some(Parts { scheme, userinfo, host: host(host_text), tail: self::tail(tail) })
}

/// Cuts `text` without a scheme before its first slash, question mark or hash
/// sign. A backslash ends nothing: it is a pattern's, or a Windows account's.
pub(super) fn split_authority(text: &str) -> (&str, &str) {
    text.split_at(text.find(['/', '?', '#']).unwrap_or(text.len()))
}

/// Host and port with the marks of defanging undone: brackets next to a dot,
/// a bracketed `dot`, a bracketed colon.
pub(super) fn host(text: &str) -> Cow<'_, str> {
    if !text.contains(is_bracket) {
        return Cow::Borrowed(text);
    }
    let text = replace_bracketed(text, ":", ":");
    let text = replace_bracketed(&text, "dot", ".");
    let mut out = String::with_capacity(text.len());
    let mut after_dot = false;
    for c in text.chars() {
        if is_bracket(c) && after_dot {
            continue;
        }
        after_dot = c == '.';
        if after_dot {
            out.truncate(out.trim_end_matches(is_bracket).len());
        }
        out.push(c);
    }
    Cow::Owned(out)
}

/// Path, query and fragment with `[.]` read as a dot, unless a second defanged
/// URL stands in it: what that one meant is not known.
pub(super) fn tail(text: &str) -> Cow<'_, str> {
    if !text.contains("[.]") || text.to_ascii_lowercase().contains("hxxp") {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        // On the closing bracket, so that a nested mark is undone in one pass.
        if c == ']' && out.ends_with("[.") {
            out.truncate(out.len() - 2);
            out.push('.');
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

fn split_scheme(text: &str) -> Option<(&str, &str)> {
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '+' | '-'))?;
    let (scheme, rest) = text.split_at(end);
    if !scheme.starts_with(|c: char| c.is_ascii_alphabetic()) {
        return None;
    }
    SEPARATORS.iter().find_map(|separator| rest.strip_prefix(separator)).map(|rest| (scheme, rest))
}

fn scheme_name(scheme: &str) -> Cow<'_, str> {
    if let Some((_, name)) = SCHEMES.iter().find(|(defanged, _)| defanged.eq_ignore_ascii_case(scheme)) {
        Cow::Borrowed(name)
    } else if scheme.bytes().any(|b| b.is_ascii_uppercase()) {
        Cow::Owned(scheme.to_ascii_lowercase())
    } else {
        Cow::Borrowed(scheme)
    }
}

/// Replaces `[word]`, `(word)` and `{word}`, in any case, by `with`.
fn replace_bracketed(text: &str, word: &str, with: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(open) = rest.find(['[', '(', '{']) {
        let (before, from) = rest.split_at(open);
        out.push_str(before);
        let inner = from.get(1..=word.len()).unwrap_or_default();
        let closed = from.get(word.len() + 1..).is_some_and(|end| end.starts_with([']', ')', '}']));
        if closed && inner.eq_ignore_ascii_case(word) {
            out.push_str(with);
            rest = from.get(word.len() + 2..).unwrap_or_default();
        } else {
            let (bracket, after) = from.split_at(1);
            out.push_str(bracket);
            rest = after;
        }
    }
    out.push_str(rest);
    out
}

const fn is_bracket(c: char) -> bool {
    matches!(c, '[' | ']' | '(' | ')' | '{' | '}')
}
