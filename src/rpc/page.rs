//! Decides the pages of short lists that are held in memory: by name, from
//! after the last name shown.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::hub::error::{Error, Reason};

/// Cuts the page after `token` out of `all`, which is sorted by `key`; `list`
/// names the list and its arguments, and is bound into the token.
pub(super) fn cut<T>(
    list: &str,
    all: Vec<T>,
    key: impl Fn(&T) -> &str,
    size: usize,
    token: &str,
) -> Result<(Vec<T>, String), Error> {
    let after = read(list, token)?;
    let mut rest = all.into_iter().filter(|item| after.as_deref().is_none_or(|after| key(item) > after));
    let page: Vec<T> = rest.by_ref().take(size).collect();
    let next = match (rest.next(), page.last()) {
        (Some(_), Some(last)) => write(list, key(last)),
        _ => String::new(),
    };
    Ok((page, next))
}

fn write(list: &str, after: &str) -> String {
    URL_SAFE_NO_PAD.encode(format!("{list}\n{after}"))
}

fn read(list: &str, token: &str) -> Result<Option<String>, Error> {
    if token.is_empty() {
        return Ok(None);
    }
    let text = URL_SAFE_NO_PAD.decode(token).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    text.as_deref()
        .and_then(|text| text.strip_prefix(list)?.strip_prefix('\n'))
        .map(|after| Some(after.to_owned()))
        .ok_or_else(|| {
            Error::new(
                Reason::PageTokenInvalid,
                "send the page token as the previous page gave it, with the same arguments",
            )
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_walk_shows_every_item_once_and_ends_with_an_empty_token() {
        let all = ["a", "b", "c", "d"];
        let (mut seen, mut token, mut pages) = (Vec::new(), String::new(), 0);
        loop {
            let (page, next) = cut("l", all.to_vec(), |item| item, 2, &token).unwrap();
            seen.extend(page);
            (token, pages) = (next, pages + 1);
            if token.is_empty() {
                break;
            }
        }
        assert_eq!((seen, pages), (all.to_vec(), 2));
    }

    #[test]
    fn a_token_is_good_for_its_own_list_only() {
        let (_, token) = cut("l", vec!["a", "b"], |item| item, 1, "").unwrap();
        for (list, token) in [("m", token.as_str()), ("l", "!"), ("l", "AAAA")] {
            let error = cut(list, vec!["a", "b"], |item| item, 1, token).unwrap_err();
            assert_eq!(error.reason, Reason::PageTokenInvalid);
        }
    }
}
