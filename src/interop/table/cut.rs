//! Decides where a row is cut into cells: at delimiters outside of quotes
//! (RFC 4180), and leniently where a quote stands within a cell.

/// The cells of a row, without quotes and the white space around them.
pub(in super::super) fn cells(row: &str, delimiter: char) -> Vec<String> {
    let mut cells = Vec::new();
    let mut rest = row;
    loop {
        let (cell, after) = cell(rest, delimiter);
        cells.push(cell);
        match after {
            Some(after) => rest = after,
            None => return cells,
        }
    }
}

/// Whether a quoted cell of the row has no end.
pub(in super::super) fn is_open(row: &str, delimiter: char) -> bool {
    let mut rest = row;
    loop {
        if let Some(quoted) = rest.trim_start_matches(' ').strip_prefix('"')
            && end_of_quoted(quoted).is_none()
        {
            return true;
        }
        match cell(rest, delimiter).1 {
            Some(after) => rest = after,
            None => return false,
        }
    }
}

/// Whether nothing but white space stands between each closing quote of the
/// row and its delimiter.
pub(in super::super) fn is_clean(row: &str, delimiter: char) -> bool {
    let mut rest = row;
    loop {
        if let Some(quoted) = rest.trim_start_matches(' ').strip_prefix('"')
            && let Some(end) = end_of_quoted(quoted)
        {
            let after = quoted.get(end + 1..).unwrap_or_default();
            if !after.split(delimiter).next().unwrap_or_default().trim().is_empty() {
                return false;
            }
        }
        match cell(rest, delimiter).1 {
            Some(after) => rest = after,
            None => return true,
        }
    }
}

/// The first cell, and what follows its delimiter.
fn cell(row: &str, delimiter: char) -> (String, Option<&str>) {
    if let Some(quoted) = row.trim_start_matches(' ').strip_prefix('"')
        && let Some(end) = end_of_quoted(quoted)
    {
        let (text, after) = quoted.split_at(end);
        let after = after.get(1..).unwrap_or_default();
        let text = text.replace("\"\"", "\"").replace('\n', " ");
        // What stands between the quote and the delimiter is an accident.
        return (text.trim().to_owned(), after.split_once(delimiter).map(|(_, rest)| rest));
    }
    match row.split_once(delimiter) {
        Some((text, rest)) => (text.trim().to_owned(), Some(rest)),
        None => (row.trim().to_owned(), None),
    }
}

/// Where the closing quote stands.
fn end_of_quoted(quoted: &str) -> Option<usize> {
    let mut from = 0;
    loop {
        let at = from + quoted.get(from..)?.find('"')?;
        if !quoted.get(at + 1..).is_some_and(|after| after.starts_with('"')) {
            return Some(at);
        }
        from = at + 2;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn quotes_hold_delimiters_and_quotes() {
        assert_eq!(cells("a,\"b,\"\"c\"\"\" ,, d ", ','), ["a", "b,\"c\"", "", "d"]);
        assert_eq!(cells("", ','), [""]);
        assert!(is_open("a,\"b", ',') && !is_open("a\"b,c", ',') && !is_open("\"a\"\"\",b", ','));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_row_is_cut(row in "[\",;a\\n é]{0,40}") {
            let _ = is_open(&row, ',');
            prop_assert!(!cells(&row, ',').is_empty());
        }

        #[test]
        fn what_is_quoted_comes_back(row in proptest::collection::vec("[\",a é]{0,6}", 1..5)) {
            let quoted: Vec<String> = row.iter().map(|c| format!("\"{}\"", c.replace('"', "\"\""))).collect();
            let expected: Vec<String> = row.iter().map(|c| c.trim().to_owned()).collect();
            prop_assert_eq!(cells(&quoted.join(","), ','), expected);
        }
    }
}
