//! Decides how files for other programs are written, row by row and in
//! constant memory: tables tell of every indicator, lists hold values that are
//! to be blocked.
//!
//! A list's comments say how its content is marked and nothing else: no text
//! of an indicator stands in one.

mod csv;
mod rpz;
mod suricata;

use crate::base::clock::Timestamp;
use crate::model::export::{Format, Omission};
use crate::model::indicator::{Kind, Observable, Shown};
use crate::model::marking::Tlp;

use super::row::Row;

pub use csv::cell as csv_cell;
pub use rpz::{Serial, serial};
pub use suricata::{CATEGORIES, FIRST_SID, LAST_SID};

/// What a file says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// The narrowest label within; none: the file is empty.
    pub tlp: Option<Tlp>,
    /// Seconds since the Unix epoch, for the formats that number their states.
    pub serial: u32,
}

/// The number of a state at a moment: it counts seconds, and begins anew after
/// 2106, as such numbers do (RFC 1982).
#[must_use]
pub fn serial_at(time: Timestamp) -> u32 {
    u32::try_from(time.as_seconds() & u64::from(u32::MAX)).unwrap_or(u32::MAX)
}

/// Whatever writes a format.
#[derive(Debug)]
pub enum Writer {
    /// A file that tells of indicators.
    Table(Table),
    /// A file that is for blocking.
    List(List),
}

impl Writer {
    /// The writer of a format. `kinds` are those that were asked for by name.
    #[must_use]
    pub fn of(format: Format, kinds: &[Kind]) -> Self {
        match format {
            Format::JsonLines => Self::Table(Table { csv: false, defused: 0 }),
            Format::Csv => Self::Table(Table { csv: true, defused: 0 }),
            Format::Plain => Self::List(List(Form::Plain { kinds: kinds.to_vec(), last: String::new() })),
            Format::Hosts => Self::List(List(Form::Hosts)),
            Format::Rpz => Self::List(List(Form::Rpz)),
            Format::Suricata => Self::List(List(Form::Suricata(suricata::Sids::default()))),
            Format::Iprep => Self::List(List(Form::Iprep)),
        }
    }

    /// Writes what stands before the first row.
    pub fn head(&self, head: Head, out: &mut Vec<u8>) {
        match self {
            Self::Table(Table { csv: true, .. }) => csv::head(out),
            Self::Table(_) => {}
            Self::List(list) => list.head(head, out),
        }
    }

    /// Cells that were kept from reading as formulas so far.
    #[must_use]
    pub const fn defused(&self) -> u64 {
        match self {
            Self::Table(table) => table.defused,
            Self::List(_) => 0,
        }
    }
}

/// Writes every indicator.
#[derive(Debug)]
pub struct Table {
    csv: bool,
    defused: u64,
}

impl Table {
    /// Writes one.
    pub fn row(&mut self, shown: Shown, out: &mut Vec<u8>) {
        let row = Row::of(shown);
        if self.csv {
            self.defused += csv::row(row, out);
        } else {
            // Into memory, and of texts and numbers alone.
            let written = serde_json::to_writer(&mut *out, &row);
            debug_assert!(written.is_ok());
            out.push(b'\n');
        }
    }
}

/// Writes values to block, each of which is given once.
#[derive(Debug)]
pub struct List(Form);

#[derive(Debug)]
enum Form {
    Plain { kinds: Vec<Kind>, last: String },
    Hosts,
    Rpz,
    Suricata(suricata::Sids),
    Iprep,
}

impl List {
    fn head(&self, head: Head, out: &mut Vec<u8>) {
        let what = match self.0 {
            // Not every reader of a plain list passes over comments.
            Form::Plain { .. } => return,
            Form::Hosts => "domains to block",
            Form::Rpz => "policies for what is to be blocked",
            Form::Suricata(_) => "rules for what is to be blocked",
            Form::Iprep => "addresses and networks to block",
        };
        let sign = if matches!(self.0, Form::Rpz) { ';' } else { '#' };
        let marking = head.tlp.map_or("nothing within", Tlp::as_str);
        line(out, format_args!("{sign} Luy Tre: {what}. {marking}"));
        if matches!(self.0, Form::Rpz) {
            rpz::head(head.serial, out);
        }
    }

    /// Writes a value.
    ///
    /// # Errors
    /// What keeps the format from holding it; nothing is written then.
    pub fn value(&mut self, value: &Observable, out: &mut Vec<u8>) -> Result<(), Omission> {
        match &mut self.0 {
            Form::Plain { kinds, last } => plain(kinds, last, value, out),
            Form::Hosts => {
                line(out, format_args!("0.0.0.0 {}", domain(value)?));
                Ok(())
            }
            Form::Rpz => rpz::value(value, out),
            Form::Suricata(sids) => suricata::rules(sids, value, out),
            Form::Iprep => suricata::reputation(value, out),
        }
    }
}

/// Kinds that are free text stand in no list that did not ask for them: what
/// reads the list may take a line for a command.
fn plain(kinds: &[Kind], last: &mut String, value: &Observable, out: &mut Vec<u8>) -> Result<(), Omission> {
    let kind = value.kind();
    if kind.is_rule() || (kind.may_hold_blanks() && !kinds.contains(&kind)) {
        return Err(Omission::Kind);
    }
    let text = value.to_string();
    if text.is_empty() || text.contains(char::is_control) {
        return Err(Omission::Spelling);
    }
    // One text may be a value of two kinds.
    if text == *last {
        return Err(Omission::Repeated);
    }
    line(out, format_args!("{text}"));
    *last = text;
    Ok(())
}

/// A domain of letters, digits, hyphens, underscores and dots: of nothing that
/// a format could take for more.
fn domain(value: &Observable) -> Result<&str, Omission> {
    const LONGEST: usize = 253;
    let Observable::Domain(name) = value else { return Err(Omission::Kind) };
    let fits = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    if name.len() <= LONGEST && name.split('.').all(fits) { Ok(name) } else { Err(Omission::Spelling) }
}

fn line(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    out.extend_from_slice(text.to_string().as_bytes());
    out.push(b'\n');
}

#[cfg(test)]
mod tests;
