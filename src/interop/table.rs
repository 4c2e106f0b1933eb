//! Decides what the rows of CSV and TSV hold: which columns are values, which
//! say something about them, and which are neither.
//!
//! A column is known by its header or by `--map`; what lies in it is typed by
//! the value, as columns shift in real files. In a column that nothing is known
//! of, only what cannot be mistaken is taken: hashes, addresses, and what has a
//! scheme or is defanged. The hashes of a row are of one file. What stands in a
//! column about those who were attacked is a victim.

mod column;
mod cut;

use super::encoding::Text;
use super::found::{Found, Reason, What};
use super::jsonl::Record;
use super::value;
use crate::model::indicator::Kind;

pub use column::Field;
pub(super) use column::is_header;
pub(super) use cut::{cells, is_clean, is_open};

use column::{Column, may_be_header};

/// Most lines that one quoted cell may span; a longer one has a stray quote.
const MAX_SPAN: usize = 64;
/// Most bytes that they may have together.
const MAX_ROW_BYTES: usize = 256 * 1024;

/// A column as `--map` names it, and what it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapping {
    /// Its header, in any case, or its number from 1.
    pub column: String,
    /// What it says.
    pub field: Field,
}

impl std::str::FromStr for Mapping {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (column, field) =
            text.rsplit_once('=').ok_or("write COLUMN=FIELD, such as \"C2 Server=value\"")?;
        let field = Field::parse(field.trim()).ok_or_else(|| format!("the fields are {}", Field::names()))?;
        Ok(Self { column: column.trim().to_owned(), field })
    }
}

/// Reads rows.
#[derive(Debug)]
pub(super) struct Table {
    delimiter: char,
    map: Vec<Mapping>,
    /// The kind of the values, where it is named beside them.
    kind: Option<Kind>,
    columns: Option<Vec<Column>>,
    has_header: bool,
    /// Cells of the last comment, which may turn out to be the header.
    comment: Option<Vec<String>>,
    /// Lines of a row that is not complete, with the number of the first.
    open: Option<(u64, Vec<Text>)>,
}

impl Table {
    pub(super) const fn new(delimiter: char, map: Vec<Mapping>, kind: Option<Kind>) -> Self {
        Self { delimiter, map, kind, columns: None, has_header: false, comment: None, open: None }
    }

    /// Takes one line.
    pub(super) fn take(&mut self, number: u64, line: Text, out: &mut Vec<Found>) {
        let (first, mut lines) = self.open.take().unwrap_or((number, Vec::new()));
        lines.push(line);
        let bytes: usize = lines.iter().map(|line| line.text.len()).sum();
        let whole = joined(&lines);
        if !is_open(&whole.text, self.delimiter) {
            // A cell over several lines that ends in the midst of text was held
            // together by two stray quotes.
            if lines.len() == 1 || is_clean(&whole.text, self.delimiter) {
                self.row(first, &whole, out);
            } else {
                self.stray(first, lines, out);
            }
        } else if lines.len() < MAX_SPAN && bytes < MAX_ROW_BYTES {
            self.open = Some((first, lines));
        } else {
            self.stray(first, lines, out);
        }
    }

    /// Takes what is left at the end.
    pub(super) fn end(&mut self, out: &mut Vec<Found>) {
        if let Some((first, lines)) = self.open.take() {
            self.stray(first, lines, out);
        }
    }

    /// Lines that a stray quote held together: each is a row of its own.
    fn stray(&mut self, first: u64, lines: Vec<Text>, out: &mut Vec<Found>) {
        for (number, line) in (first..).zip(lines) {
            self.row(number, &line, out);
        }
    }

    fn row(&mut self, number: u64, line: &Text, out: &mut Vec<Found>) {
        let trimmed = line.text.trim();
        if let Some(comment) = trimmed.strip_prefix('#') {
            if self.columns.is_none() {
                self.comment = Some(cells(comment.trim(), self.delimiter));
            }
            return;
        }
        let cells = cells(&line.text, self.delimiter);
        if cells.iter().all(String::is_empty) {
            return;
        }
        if self.columns.is_none() && self.begin(&cells) {
            return;
        }
        self.read(number, line, &cells, out);
    }

    /// Learns the columns from the first row; `true` if that is a header.
    fn begin(&mut self, cells: &[String]) -> bool {
        let is_header = may_be_header(cells) || self.map.iter().any(|m| cells.iter().any(|c| m.names(c)));
        let said = self.comment.take().filter(|said| !is_header && said.len() == cells.len());
        let header: Option<&[String]> = if is_header { Some(cells) } else { said.as_deref() };
        let by_map = self.map.iter().any(|m| m.field.is_value());
        let columns = (0..cells.len()).map(|at| {
            let name = header.and_then(|header| header.get(at)).map(String::as_str);
            let number = (at + 1).to_string();
            let mapped =
                self.map.iter().find(|m| m.column == number || name.is_some_and(|name| m.names(name)));
            match (mapped, name) {
                (Some(mapping), _) => Column::Known(mapping.field),
                (None, Some(name)) => match Column::of(name) {
                    // Who names the values means these and no others.
                    Column::Known(field) if by_map && field.is_value() => Column::Ignored,
                    Column::Unknown if by_map => Column::Ignored,
                    column => column,
                },
                (None, None) if by_map => Column::Ignored,
                (None, None) => Column::Unknown,
            }
        });
        self.columns = Some(columns.collect());
        self.has_header = header.is_some();
        is_header
    }

    fn read(&self, number: u64, line: &Text, cells: &[String], out: &mut Vec<Found>) {
        let columns = self.columns.as_deref().unwrap_or_default();
        let mut about = Record::default();
        let (mut row, mut attacked) = (Row::default(), Row::default());
        for (at, cell) in cells.iter().enumerate() {
            let cell = cell.trim();
            if column::is_blank(cell) {
                continue;
            }
            let text = |text: &str| Text { text: text.to_owned(), sure: line.sure };
            match columns.get(at).copied().unwrap_or(Column::Unknown) {
                Column::Ignored => {}
                // Of a kind that is named nothing is made by its looks.
                Column::Known(field) if field.is_value() && self.kind.is_some() => {
                    match value::unsure(line.sure, cell) {
                        Some(refused) => row.refused.push(refused),
                        None => {
                            row.values.push(Record { value: Some(cell.to_owned()), ..Record::default() });
                        }
                    }
                }
                Column::Unknown | Column::Victim if self.kind.is_some() => {}
                Column::Known(field) if field.is_value() => row.expected(cell, text),
                Column::Known(field) => field.set(&mut about, cell),
                Column::Unknown => row.possible(&text(cell), self.has_header),
                Column::Victim => attacked.possible(&text(cell), self.has_header),
            }
        }
        let mut take = |what| out.push(Found { line: number, what });
        let victims: Vec<Record> = attacked.records().collect();
        if row.is_empty() && victims.is_empty() {
            let problem = "nothing in this row is an observable; name the column with --map COLUMN=value";
            take(What::refused(Reason::NoValue, problem, &line.text));
            return;
        }
        let refused = std::mem::take(&mut row.refused);
        let of_row = row.records().map(|record| (record, about.role.clone()));
        let of_victims = victims.into_iter().map(|record| (record, Some("victim".to_owned())));
        for (record, role) in of_row.chain(of_victims) {
            take(What::Record(Box::new(Record {
                value: record.value,
                md5: record.md5,
                sha1: record.sha1,
                sha256: record.sha256,
                role,
                ..about.clone()
            })));
        }
        refused.into_iter().for_each(take);
    }
}

impl Mapping {
    fn names(&self, header: &str) -> bool {
        self.column.eq_ignore_ascii_case(header.trim())
    }
}

fn joined(lines: &[Text]) -> Text {
    let texts: Vec<&str> = lines.iter().map(|line| line.text.as_str()).collect();
    Text { text: texts.join("\n"), sure: lines.iter().all(|line| line.sure) }
}

/// What the cells of a row come to.
#[derive(Default)]
struct Row {
    /// The hashes of the file that the row is about.
    file: Record,
    values: Vec<Record>,
    refused: Vec<What>,
}

impl Row {
    fn is_empty(&self) -> bool {
        self.values.is_empty() && self.file == Record::default() && self.refused.is_empty()
    }

    /// The file, then the other values.
    fn records(self) -> impl Iterator<Item = Record> {
        let file = (self.file != Record::default()).then_some(self.file);
        file.into_iter().chain(self.values)
    }

    /// A cell that should hold one value, or several.
    fn expected(&mut self, cell: &str, text: impl Fn(&str) -> Text) {
        match value::of_list(&text(cell)) {
            What::Record(record) => self.add(*record),
            whole => {
                let apart = |c: char| c.is_whitespace() || matches!(c, ',' | ';');
                let parts: Vec<&str> = cell.split(apart).filter(|part| !part.is_empty()).collect();
                if parts.len() < 2 {
                    self.refused.push(whole);
                    return;
                }
                let parts: Vec<What> = parts.into_iter().map(|part| value::of_list(&text(part))).collect();
                // Words are no list of values that went wrong.
                if !parts.iter().any(|part| matches!(part, What::Record(_))) {
                    self.refused.push(whole);
                    return;
                }
                for part in parts {
                    match part {
                        What::Record(record) => self.add(*record),
                        refused => self.refused.push(refused),
                    }
                }
            }
        }
    }

    /// A cell of which nothing is known.
    fn possible(&mut self, cell: &Text, has_header: bool) {
        let value = cell.text.as_str();
        let clear = value::is_defanged(value) || value.contains("://");
        if let Some(kind) = value::kind(value)
            && (clear
                || !matches!(kind, Kind::Domain | Kind::Url)
                || (!has_header && !value::may_be_a_file(value)))
            && let What::Record(record) = value::of_list(cell)
        {
            self.add(*record);
        }
    }

    fn add(&mut self, record: Record) {
        let text = record.value.clone().unwrap_or_default();
        let slot = match value::kind(&text) {
            Some(Kind::Md5) => &mut self.file.md5,
            Some(Kind::Sha1) => &mut self.file.sha1,
            Some(Kind::Sha256) => &mut self.file.sha256,
            _ => return self.values.push(record),
        };
        if slot.is_none() {
            *slot = Some(text);
        } else if slot.as_deref() != Some(&text) {
            self.values.push(record);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(delimiter: char, map: &[&str], input: &str) -> Vec<String> {
        let map = map.iter().map(|m| m.parse().unwrap()).collect();
        let mut table = Table::new(delimiter, map, None);
        let mut out = Vec::new();
        for (number, line) in (1..).zip(input.lines()) {
            table.take(number, Text { text: line.to_owned(), sure: true }, &mut out);
        }
        table.end(&mut out);
        out.into_iter()
            .map(|found| match found.what {
                What::Record(record) => format!("{} {}", found.line, serde_json::to_string(&record).unwrap()),
                What::Refused(reject) | What::PassedOver(reject) => {
                    format!("{} {} {}", found.line, reject.reason.as_str(), reject.text)
                }
            })
            .collect()
    }

    const MD5: &str = "8d42c01180be7588a2a68ad96dd0cf85";
    const SHA1: &str = "89a7861acb7983ad712ae9206131c96454a1b3d8";

    #[test]
    fn a_value_counts_for_what_it_is_wherever_it_lies() {
        let input = format!(
            "SHA1,MD5,Compile Timestamp,File Type,PDB String,ITW Filename,C2 Server,\n\
             ,{SHA1},12/31/2018 9:30:26pm,\"PE32, GUI\",c:\\a.pdb,article.com,a[.]example,\n\
             {SHA1},\"{MD5}\t\",,RTF,,,N/A,\n,,,,,,,\nx,{MD5},,,,,almas\\.com/js,\n"
        );
        assert_eq!(
            read(',', &[], &input),
            [
                format!("2 {{\"sha1\":\"{SHA1}\"}}"),
                "2 {\"value\":\"a[.]example\"}".to_owned(),
                format!("3 {{\"md5\":\"{MD5}\",\"sha1\":\"{SHA1}\"}}"),
                format!("5 {{\"md5\":\"{MD5}\"}}"),
                "5 FIELD_INVALID x".to_owned(),
                "5 PATTERN almas\\.com/js".to_owned(),
            ]
        );
    }

    #[test]
    fn columns_are_mapped_by_name_and_by_number_and_say_what_they_say() {
        let input = "when;what;note;site\n2026-01-02 03:04:05;evil.example;seen in mail;good.example\n";
        let expected = "2 {\"value\":\"evil.example\",\"description\":\"seen in mail\",\"first_seen\":\"2026-01-02T03:04:05Z\"}";
        assert_eq!(read(';', &["What=value", "3=description", "1=first_seen"], input), [expected]);
    }

    #[test]
    fn a_table_without_header_is_read_by_what_its_cells_are() {
        let input = "# IP\tnumber of (black)lists\n#\n198.51.100.7\t10\nevil.example\tsetup.sh\n12\tx\n";
        assert_eq!(
            read('\t', &[], input),
            ["3 {\"value\":\"198.51.100.7\"}", "4 {\"value\":\"evil.example\"}", "5 NO_VALUE 12 x"]
        );
    }

    #[test]
    fn a_header_in_a_comment_counts() {
        let input = "# x\n# id,dateadded,url,reporter\n\"1\",\"2026-01-02 03:04:05\",\"http://a.example/x\",\"b.example\"\n";
        let expected = "3 {\"value\":\"http://a.example/x\",\"first_seen\":\"2026-01-02T03:04:05Z\"}";
        assert_eq!(read(',', &[], input), [expected]);
    }

    #[test]
    fn a_quoted_cell_may_span_lines_and_a_stray_quote_costs_no_row() {
        let input = "indicator,comment\na.example,\"two\nlines\"\nb.example,x\n";
        assert_eq!(
            read(',', &[], input),
            [
                "2 {\"value\":\"a.example\",\"description\":\"two lines\"}",
                "4 {\"value\":\"b.example\",\"description\":\"x\"}"
            ]
        );
        let stray = format!("indicator,comment\na.example,\"oops\n{}", "b.example,x\n".repeat(100));
        assert_eq!(read(',', &[], &stray).len(), 101);
    }

    #[test]
    fn several_values_in_one_cell_are_taken_apart() {
        let input = "sha1,c2\n,a.example b[.]example; c.example\n,no c2 known\n";
        let told = read(',', &[], input);
        assert_eq!(told.len(), 4, "{told:?}");
        assert!(told[3].starts_with("3 FIELD_INVALID no c2"), "{told:?}");
    }

    const SHA256: &str = "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb";

    #[test]
    fn columns_that_say_what_is_to_be_done_are_heard_by_their_names() {
        let input = "value,role,action,valid_until\nnews.example,victim,,\nc2.example,,monitor,2027-01-02\n\
                     odd.example,,,31/12/2026\n";
        assert_eq!(
            read(',', &[], input),
            [
                "2 {\"value\":\"news.example\",\"role\":\"victim\"}",
                "3 {\"value\":\"c2.example\",\"valid_until\":\"2027-01-02T00:00:00Z\",\"action\":\"monitor\"}",
                // Left for the hub's own rules to refuse: it would hold for ever.
                "4 {\"value\":\"odd.example\",\"valid_until\":\"31/12/2026\"}"
            ]
        );
    }

    #[test]
    fn a_column_of_those_who_were_attacked_holds_victims_and_none_for_those_who_are_spared_holds_values() {
        let input = "c2_ip,Victim IP,internal host,allowlist\n198.51.100.7,203.0.113.9,192.0.2.1,192.0.2.2\n";
        assert_eq!(
            read(',', &[], input),
            ["2 {\"value\":\"198.51.100.7\"}", "2 {\"value\":\"203.0.113.9\",\"role\":\"victim\"}"]
        );
        let vietnamese = "Địa chỉ IP,IP nạn nhân\n198.51.100.7,203.0.113.9\n";
        assert_eq!(read(',', &[], vietnamese)[1], "2 {\"value\":\"203.0.113.9\",\"role\":\"victim\"}");
    }

    #[test]
    fn hashes_of_other_things_are_not_published_as_hashes_of_files() {
        let input = format!(
            "sha256_hash,md5_hash,imphash,ja3,Certificate SHA1,parent_md5\n{SHA256},{MD5},f34d5f2d4577ed6d9ceec516c1f5a744,\
             72a589da586844d7f0818ce684948eea,{SHA1},0cc175b9c0f1b6a831c399e269772661\n"
        );
        assert_eq!(read(',', &[], &input), [format!("2 {{\"md5\":\"{MD5}\",\"sha256\":\"{SHA256}\"}}")]);
    }

    #[test]
    fn a_header_of_names_with_dots_is_no_row() {
        let input = "event.id,host.name,destination.ip,dns.question.name\n1,,198.51.100.7,evil[.]example\n";
        assert_eq!(
            read(',', &[], input),
            ["2 {\"value\":\"198.51.100.7\"}", "2 {\"value\":\"evil[.]example\"}"]
        );
        assert_eq!(read(',', &[], "evil.com,malware\n").len(), 1);
    }

    #[test]
    fn a_stray_quote_that_another_one_closes_costs_no_row() {
        let input =
            "indicator,comment\na.example,\"oops\nb.example,x\nc.example,y\nd.example,\"hey\ne.example,z\n";
        let told = read(',', &[], input);
        assert_eq!(told.len(), 5, "{told:?}");
        assert!(told[1].starts_with("3 {\"value\":\"b.example\""), "{told:?}");
    }

    #[test]
    fn a_column_of_values_whose_kind_is_named_is_taken_as_it_is_written() {
        let map = vec!["Số điện thoại=value".parse().unwrap()];
        let mut table = Table::new(',', map, Some(Kind::Phone));
        let mut out = Vec::new();
        let text = |text: &str| Text { text: text.to_owned(), sure: true };
        for (number, line) in (1..).zip(["STT,Số điện thoại,IP", "1,0912 345 678,198.51.100.7"]) {
            table.take(number, text(line), &mut out);
        }
        let values: Vec<_> = out
            .into_iter()
            .map(|found| match found.what {
                What::Record(record) => record.value.unwrap(),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(values, ["0912 345 678"]);
    }
}
