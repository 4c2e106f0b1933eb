//! Decides how `luytre canonical` tells what the hub makes of a value: by the
//! function that the hub itself reads with, on this machine.

use std::io::{self, Read as _};

use serde::Serialize;

use crate::interop::{self, plain};
use crate::model::indicator::Kind;
use crate::model::indicator::draft::MAX_RULE_BYTES;
use crate::model::indicator::normalise::explain::{Explained, explain};

use super::arguments::{Canonical, TableOrJson};
use super::exit::Failure;
use super::output::{self, Data, for_eyes};

/// Width of the column of kinds: the longest of them.
const KIND: usize = 14;

#[derive(Debug, Serialize)]
struct Told<'a> {
    value: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    canonical: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refused: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    why: Vec<&'static str>,
}

/// Runs the command.
pub(super) fn run(options: &Canonical, data: &mut Data) -> Result<(), Failure> {
    let from_stdin = options.values.iter().any(|value| value == "-");
    if from_stdin && options.values.len() > 1 {
        return Err(Failure::Usage("luytre: give values, or - alone to read them from stdin".to_owned()));
    }
    let mut refused = false;
    if !from_stdin && !options.values.is_empty() {
        for value in &options.values {
            refused |= tell(value, options, data)?;
        }
    } else if options.kind.is_some_and(Kind::is_rule) {
        refused = tell(&whole_of_stdin()?, options, data)?;
    } else {
        for line in plain::Lines::new(io::stdin().lock()) {
            match line {
                Ok(line) => refused |= tell(&line.text, options, data)?,
                Err(error @ interop::Error::Read { .. }) => return Err(Failure::Io(error.to_string())),
                Err(error) => {
                    output::talk(&format!("luytre: {error}"));
                    refused = true;
                }
            }
        }
    }
    if refused { Err(Failure::SomeRefused) } else { Ok(()) }
}

fn whole_of_stdin() -> Result<String, Failure> {
    let failed = |error: io::Error| Failure::Io(format!("cannot read stdin: {error}"));
    let mut text = String::new();
    let most = u64::try_from(MAX_RULE_BYTES + 1).unwrap_or(u64::MAX);
    io::stdin().lock().take(most).read_to_string(&mut text).map_err(failed)?;
    Ok(text)
}

/// Writes what becomes of one value; returns whether it is refused.
fn tell(value: &str, options: &Canonical, data: &mut Data) -> Result<bool, Failure> {
    let Explained { read, steps } = explain(options.kind, value);
    let (kind, canonical, refused) = match read {
        Ok(read) => (Some(read.observable.kind().as_str()), Some(read.observable.to_string()), None),
        Err(invalid) => (None, None, Some(invalid.problem)),
    };
    let is_refused = refused.is_some();
    match options.format {
        TableOrJson::Jsonl => data.json(&Told { value, kind, canonical, refused, why: steps })?,
        TableOrJson::Table => {
            let shown = canonical.as_deref().unwrap_or(value);
            data.line(&format!("{:<KIND$}  {}", kind.unwrap_or("refused"), for_eyes(shown)))?;
            for why in steps.into_iter().chain(refused.as_deref()) {
                data.line(&format!("{:<KIND$}    {why}", ""))?;
            }
        }
    }
    Ok(is_refused)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use parking_lot::Mutex;

    use super::*;

    #[derive(Clone, Default)]
    struct Printed(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Printed {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn told(values: &[&str], kind: Option<Kind>, format: TableOrJson) -> (String, bool) {
        let printed = Printed::default();
        let mut data = Data::to(printed.clone());
        let values = values.iter().map(|&value| value.to_owned()).collect();
        let ended = run(&Canonical { values, kind, format }, &mut data);
        data.flush().unwrap();
        let text = String::from_utf8(printed.0.lock().clone()).unwrap();
        (text, ended.is_ok())
    }

    #[test]
    fn a_value_is_shown_with_its_kind_its_form_and_the_reasons() {
        let (text, taken) = told(&["HXXP://example[.]org/a"], None, TableOrJson::Table);
        assert!(text.starts_with("url             http://example.org/a\n"), "{text}");
        assert!(text.contains("marks of defanging are undone") && taken, "{text}");
    }

    #[test]
    fn a_refused_value_is_told_and_ends_in_failure() {
        let (text, taken) = told(&["198.51.100.300", "a.example"], None, TableOrJson::Jsonl);
        let lines: Vec<serde_json::Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert!(!taken && lines[0]["refused"].as_str().unwrap().contains("IPv4"), "{text}");
        assert_eq!((&lines[1]["kind"], &lines[1]["canonical"]), (&"domain".into(), &"a.example".into()));
    }

    #[test]
    fn a_named_kind_and_a_value_of_many_lines_keep_to_their_line() {
        let (text, _) = told(&["rule a {\n condition: true }"], Some(Kind::Yara), TableOrJson::Table);
        assert!(text.starts_with("yara            rule a {\\n condition: true }\n"), "{text}");
    }
}
