//! Decides which marks of defanging are undone: `hxxp`, `[.]`, `(dot)`,
//! `[:]`, `[://]` and their kin, in scheme and host; `[.]`, `[@]` and `hxxp:`
//! in what follows.
//!
//! Nothing here accepts a value: callers parse the result, and refuse the
//! whole where it does not parse. `\.` is a pattern; it is read as a dot only
//! where the kind is named.

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
const SEPARATORS: [&str; 10] =
    ["://", "[:]//", "[://]", "(://)", ":[//]", "[:/]/", "(:)//", "{:}//", "[:][/][/]", ":\\/\\/"];

/// What AsciiDoc puts around text that is not to be read as markup.
const PASS_THROUGH: &str = "++";

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
    // A slash as JSON may write it.
    let tail = tail.strip_prefix('\\').filter(|rest| rest.starts_with('/')).unwrap_or(tail);
    let (userinfo, host_text) = authority.rfind('@').map_or(("", authority), |at| authority.split_at(at + 1));
    Some(Parts { scheme, userinfo, host: host(host_text), tail: self::tail(tail) })
}

/// Cuts `text` without a scheme before its first slash, question mark or hash
/// sign. A backslash ends nothing: it is a pattern's, or a Windows account's.
pub(super) fn split_authority(text: &str) -> (&str, &str) {
    text.split_at(text.find(['/', '?', '#']).unwrap_or(text.len()))
}

/// Host and port with the marks of defanging undone: brackets next to a dot
/// or around a first label; a bracketed dot, comma, colon or hyphen, in signs
/// or words, with white space around it or without.
pub(super) fn host(text: &str) -> Cow<'_, str> {
    if !text.contains(is_bracket) {
        return Cow::Borrowed(text);
    }
    let text = replace_bracketed(text, &HOST_MARKS);
    let text = without_first_brackets(&text);
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

/// The same where the kind is named, so that looser marks have one meaning:
/// `\.` and, in a name without dots, `-dot-`.
pub(super) fn host_named(text: &str) -> Cow<'_, str> {
    let text = host(text);
    if text.contains("\\.") {
        Cow::Owned(text.replace("\\.", "."))
    } else if text.contains("-dot-") && !text.contains('.') {
        Cow::Owned(text.replace("-dot-", "."))
    } else {
        text
    }
}

/// An IPv4 address with commas for dots, where the kind is named.
pub(super) fn commas(text: &str) -> Cow<'_, str> {
    let text = host(text);
    if text.contains(',') && !text.contains('.') { Cow::Owned(text.replace(',', ".")) } else { text }
}

/// An e-mail address with the marks for `@` undone.
pub(super) fn at(text: &str) -> Cow<'_, str> {
    let text = if text.contains(is_bracket) {
        Cow::Owned(replace_bracketed(text, &AT_MARKS))
    } else {
        Cow::Borrowed(text)
    };
    match text.split_once('@') {
        Some((local, host)) if local.ends_with(' ') || host.starts_with(' ') => {
            Cow::Owned(format!("{}@{}", local.trim_end(), host.trim_start()))
        }
        _ if text.contains(is_bracket) => host(&text).into_owned().into(),
        _ => text,
    }
}

/// Path, query and fragment with `[.]` and `[@]` read as the signs, and
/// `hxxp:` of a second URL as `http:`.
pub(super) fn tail(text: &str) -> Cow<'_, str> {
    if !has_tail_mark(text) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        // On the last character of a mark, so that a nested one is undone in
        // one pass.
        if c == ']'
            && out.ends_with(['.', '@'])
            && out.strip_suffix(['.', '@']).is_some_and(|o| o.ends_with('['))
        {
            let sign = out.pop();
            out.pop();
            out.extend(sign);
        } else if c == ':' {
            let secure = out.ends_with(['s', 'S']);
            let at = out.len().saturating_sub(4 + usize::from(secure));
            if out.get(at..at + 4).is_some_and(|scheme| scheme.eq_ignore_ascii_case("hxxp")) {
                out.truncate(at);
                out.push_str(if secure { "https" } else { "http" });
            }
            out.push(c);
        } else {
            out.push(c);
        }
    }
    Cow::Owned(out)
}

/// Whether `text` may hold what [`tail`] undoes.
pub(super) fn has_tail_mark(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.contains(&b'[') && (text.contains("[.") || text.contains("[@"))
        // Two letters that are rare side by side spare most URLs the search.
        || bytes.windows(2).any(|two| matches!(two, b"xx" | b"XX" | b"xX" | b"Xx"))
            && bytes.windows(4).any(|four| four.eq_ignore_ascii_case(b"hxxp"))
}

fn split_scheme(text: &str) -> Option<(&str, &str)> {
    let text = match text.strip_prefix(PASS_THROUGH) {
        Some(inner) => inner.strip_suffix(PASS_THROUGH).unwrap_or(inner),
        None => text,
    };
    if let Some(inner) = text.strip_prefix(['[', '(', '{']) {
        let (scheme, rest) = inner.split_at(inner.find([']', ')', '}'])?);
        let rest = rest.get(1..).unwrap_or_default();
        return is_web(scheme).then(|| rest.strip_prefix("://").map(|rest| (scheme, rest)))?;
    }
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && !matches!(c, '+' | '-'))?;
    let (scheme, rest) = text.split_at(end);
    if !scheme.starts_with(|c: char| c.is_ascii_alphabetic()) {
        return None;
    }
    if let Some(rest) = SEPARATORS.iter().find_map(|separator| rest.strip_prefix(separator)) {
        return Some((scheme, rest.trim_start()));
    }
    // A blank before the colon, or no colon, where the scheme is beyond doubt.
    let rest = rest.trim_start().strip_prefix("://").or_else(|| rest.strip_prefix("//"))?;
    is_web(scheme).then(|| (scheme, rest.trim_start()))
}

/// Whether a scheme is `http` or `https`, or stands for one.
fn is_web(scheme: &str) -> bool {
    matches!(&*scheme_name(scheme), "http" | "https")
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

/// What stands for a sign in a host, in brackets.
const HOST_MARKS: [(&str, char); 7] =
    [(".", '.'), ("dot", '.'), ("punto", '.'), ("punkt", '.'), (",", '.'), (":", ':'), ("-", '-')];
/// What stands for the sign of an e-mail address, in brackets.
const AT_MARKS: [(&str, char); 4] = [("@", '@'), ("at", '@'), ("et", '@'), ("arroba", '@')];

/// Replaces `[word]`, `(word)` and `{word}`, in any case, by its sign, and
/// white space around it by nothing.
fn replace_bracketed(text: &str, marks: &[(&str, char)]) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(open) = rest.find(['[', '(', '{']) {
        let (before, from) = rest.split_at(open);
        out.push_str(before);
        let sign = marks.iter().find_map(|(word, sign)| {
            let given = from.get(1..=word.len())?;
            let after = from.get(word.len() + 1..)?.strip_prefix([']', ')', '}'])?;
            given.eq_ignore_ascii_case(word).then_some((*sign, after))
        });
        if let Some((sign, after)) = sign {
            out.truncate(out.trim_end().len());
            out.push(sign);
            rest = after.trim_start();
        } else {
            let (bracket, after) = from.split_at(1);
            out.push_str(bracket);
            rest = after;
        }
    }
    out.push_str(rest);
    out
}

/// `[www].example.org` without the brackets.
fn without_first_brackets(text: &str) -> Cow<'_, str> {
    let inner = text.strip_prefix(['[', '(', '{']);
    match inner.and_then(|inner| inner.split_once([']', ')', '}'])) {
        Some((label, rest))
            if rest.starts_with('.')
                && !label.is_empty()
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') =>
        {
            Cow::Owned(format!("{label}{rest}"))
        }
        _ => Cow::Borrowed(text),
    }
}

const fn is_bracket(c: char) -> bool {
    matches!(c, '[' | ']' | '(' | ')' | '{' | '}')
}
