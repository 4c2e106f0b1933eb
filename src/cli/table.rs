//! Decides how indicators read as a table: columns as wide as what comes first
//! needs, what is asked for most from the left, colours for eyes alone.

use crate::base::clock::Timestamp;
use crate::model::marking::Tlp;

use super::exit::Failure;
use super::language::{Language, Times};
use super::output::Data;
use super::record::Record;
use super::terminal::{pad, width};

/// Columns that are lined up; what follows them is of any width.
const LINED_UP: usize = 6;
/// Widest value after which the next column is lined up.
const VALUE: usize = 44;
/// The place of the label.
const TLP: usize = 2;

/// A table on its way.
#[derive(Debug)]
pub(super) struct Table {
    language: Language,
    times: Times,
    colours: bool,
    /// Set by what comes first.
    widths: Option<[usize; LINED_UP]>,
}

/// A row in its columns.
type Cells = [String; LINED_UP + 2];

impl Table {
    pub(super) const fn new(language: Language, times: Times, colours: bool) -> Self {
        Self { language, times, colours, widths: None }
    }

    /// Tells moments from another present on, if it tells them so.
    pub(super) fn renew(&mut self, now: Timestamp) {
        self.times.now = self.times.now.map(|_| now);
    }

    /// Writes some more rows.
    pub(super) fn rows(&mut self, records: &[Record], data: &mut Data) -> Result<(), Failure> {
        if records.is_empty() {
            return Ok(());
        }
        let rows: Vec<_> = records.iter().map(|record| self.cells(record)).collect();
        let widths = match self.widths {
            Some(widths) => widths,
            None => {
                let head = self.head();
                let mut widths = [0; LINED_UP];
                for row in std::iter::once(&head).chain(&rows) {
                    for (widest, cell) in widths.iter_mut().zip(row) {
                        *widest = (*widest).max(width(cell).min(VALUE));
                    }
                }
                self.widths = Some(widths);
                data.line(&self.line(&head, &widths, Style::Head))?;
                widths
            }
        };
        for row in &rows {
            data.line(&self.line(row, &widths, Style::Row))?;
        }
        Ok(())
    }

    fn head(&self) -> Cells {
        let say = |en, vi| self.language.say(en, vi).to_owned();
        [
            say("CHANGED", "THAY ĐỔI"),
            say("KIND", "LOẠI"),
            say("TLP", "TLP"),
            say("OWNER", "ĐƠN VỊ"),
            say("STATE", "TRẠNG THÁI"),
            say("VALUE", "GIÁ TRỊ"),
            say("INDICATOR", "CHỈ BÁO"),
            String::new(),
        ]
    }

    fn cells(&self, record: &Record) -> Cells {
        let changed = record.changed().map(|at| self.times.tell(at, self.language)).unwrap_or_default();
        let [kind, tlp, owner, state, value, name, about] = record.columns(self.language);
        [changed, kind, tlp, owner, state, value, name, about]
    }

    fn line(&self, cells: &Cells, widths: &[usize; LINED_UP], style: Style) -> String {
        let mut line = String::new();
        for (at, cell) in cells.iter().enumerate() {
            let padded = pad(cell, widths.get(at).copied().unwrap_or_default());
            match style {
                Style::Row if self.colours && at == TLP => line.push_str(&coloured(cell, &padded)),
                Style::Row | Style::Head => line.push_str(&padded),
            }
            line.push_str("  ");
        }
        line.truncate(line.trim_end().len());
        if self.colours && style == Style::Head { format!("\x1b[1m{line}\x1b[0m") } else { line }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Style {
    Head,
    Row,
}

/// A label in its colour on black (FIRST, TLP 2.0), of the 256 that terminals
/// have; what fills its column is as it was.
fn coloured(label: &str, padded: &str) -> String {
    let colour = match Tlp::parse(label) {
        Some(Tlp::Red) => 196,
        Some(Tlp::Amber | Tlp::AmberStrict) => 214,
        Some(Tlp::Green) => 46,
        Some(Tlp::Clear) => 231,
        None => return padded.to_owned(),
    };
    let rest = padded.strip_prefix(label).unwrap_or_default();
    format!("\x1b[38;5;{colour};48;5;16m{label}\x1b[0m{rest}")
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::Arc;

    use parking_lot::Mutex;

    use crate::wire::proto::v1;

    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    const NOW: u64 = 1_793_466_000_000_000;

    fn record(value: &str, tlp: v1::Tlp, owner: &str) -> Record {
        Record::of(v1::Indicator {
            name: "indicators/0b54".into(),
            observable: Some(v1::Observable { value: Some(v1::observable::Value::Domain(value.into())) }),
            marking: Some(v1::Marking { tlp: tlp.into(), ..Default::default() }),
            owner: owner.into(),
            state: 1,
            version: NOW - 3 * 3_600_000_000,
            labels: vec!["c2".into()],
            ..Default::default()
        })
    }

    fn written(colours: bool, language: Language, pages: &[&[Record]]) -> Vec<String> {
        let times = Times { utc: false, now: Timestamp::from_micros(NOW) };
        let to = Written::default();
        let mut data = Data::to(to.clone());
        let mut table = Table::new(language, times, colours);
        for page in pages {
            table.rows(page, &mut data).unwrap();
        }
        data.flush().unwrap();
        let text = String::from_utf8(to.0.lock().clone()).unwrap();
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn columns_line_up_under_their_heads_and_stay_so_page_by_page() {
        let first = [record("evil.example", v1::Tlp::AmberStrict, "organisations/sa-ict")];
        let then = [record("a.example", v1::Tlp::Clear, "organisations/an-organisation-of-a-long-name")];
        let lines = written(false, Language::Vi, &[&first, &[], &then, &first]);
        let column = |line: &str, text: &str| line.find(text).map(|at| width(&line[..at]));
        assert_eq!(lines.len(), 4);
        assert_eq!(column(&lines[0], "GIÁ TRỊ"), column(&lines[1], "evil.example"));
        assert_eq!(column(&lines[0], "CHỈ BÁO"), column(&lines[1], "0b54"));
        assert_eq!(lines[1], lines[3]);
        assert!(lines[1].starts_with("3 giờ trước  domain  TLP:AMBER+STRICT  sa-ict"), "{lines:?}");
        assert!(lines[1].ends_with("0b54  [c2]") && lines[2].contains("-long-name  active"), "{lines:?}");
    }

    #[test]
    fn labels_have_their_colours_and_take_no_more_room_for_them() {
        let page = [
            record("a.example", v1::Tlp::Red, "organisations/x"),
            record("b.example", v1::Tlp::Green, "organisations/x"),
        ];
        let lines = written(true, Language::En, &[&page]);
        assert!(lines[0].starts_with("\x1b[1mCHANGED"), "{lines:?}");
        assert!(lines[1].contains("\x1b[38;5;196;48;5;16mTLP:RED\x1b[0m    x"), "{lines:?}");
        assert!(lines[2].contains("\x1b[38;5;46;48;5;16mTLP:GREEN\x1b[0m  x"), "{lines:?}");
        let plain = written(false, Language::En, &[&page]);
        assert!(plain.iter().all(|line| !line.contains('\x1b')), "{plain:?}");
    }
}
