//! Decides what the assets of a list are: one on a line, alone or in the first
//! column of a table. What cannot be one is told with its line, and the lines
//! around it are read.

use std::io::BufRead;

use crate::model::asset::Asset;

use super::Error;
use super::plain::{Line, Lines};

/// Names that stand over a column of assets.
const HEADS: [&str; 8] = ["asset", "value", "network", "domain", "cidr", "ip", "range", "address"];

/// One line of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Number of the line, from 1.
    pub number: u64,
    /// The asset as it is written; empty where not even that can be read.
    pub text: String,
    /// What it is, or what is wrong with it.
    pub read: Result<Asset, String>,
}

/// Reads a list: comments and blank lines are skipped, and the head of a table.
///
/// # Errors
/// [`Error::Read`].
pub fn read(input: impl BufRead) -> Result<Vec<Listed>, Error> {
    let mut all = Vec::new();
    for line in Lines::new(input) {
        match line {
            Ok(Line { number, text }) => {
                let cell = first_cell(&text);
                if all.is_empty() && HEADS.contains(&cell.to_ascii_lowercase().as_str()) {
                    continue;
                }
                let read = Asset::parse(cell).map_err(|invalid| invalid.problem);
                all.push(Listed { number, text: cell.to_owned(), read });
            }
            Err(error @ Error::Read { .. }) => return Err(error),
            Err(error) => {
                let number = error.number();
                all.push(Listed { number, text: String::new(), read: Err(error.to_string()) });
            }
        }
    }
    Ok(all)
}

/// What stands before the first comma, semicolon, tab or blank, without
/// quotation marks; no asset holds any of these.
fn first_cell(text: &str) -> &str {
    let cell = text.split([',', ';', '\t', ' ']).next().unwrap_or_default();
    cell.trim_matches('"').trim()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> Vec<(u64, String)> {
        let tell = |listed: Listed| {
            let read = listed.read.map_or_else(|_| format!("! {}", listed.text), |asset| asset.to_string());
            (listed.number, read)
        };
        read(text.as_bytes()).unwrap().into_iter().map(tell).collect()
    }

    #[test]
    fn a_list_and_a_table_are_read_alike_and_what_is_wrong_has_its_line() {
        let list = "# ours\n\n198.51.100.9/24\nHaNoi.gov.vn  # the city\r\ngov.vn\n\u{feff}as64500\n";
        let expected = [(3, "198.51.100.0/24"), (4, "hanoi.gov.vn"), (5, "! gov.vn"), (6, "AS64500")];
        assert_eq!(told(list), expected.map(|(number, text)| (number, text.to_owned())));
        let table = "Network,Note\n\"198.51.100.0/24\",\"a, b\"\n2001:db8::/32;x\nmail.example.vn\tmail\n";
        let expected = [(2, "198.51.100.0/24"), (3, "2001:db8::/32"), (4, "mail.example.vn")];
        assert_eq!(told(table), expected.map(|(number, text)| (number, text.to_owned())));
    }

    #[test]
    fn a_line_that_is_no_text_is_told_and_the_next_is_read() {
        let all = read(b"a.example\n\xff\xfe\x00\nb.example\n".as_slice()).unwrap();
        let read: Vec<_> = all.iter().map(|listed| listed.read.is_ok()).collect();
        assert_eq!((read, all[1].number), (vec![true, false, true], 2));
    }
}
