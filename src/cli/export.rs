//! Decides how `luytre export` writes: the file in its place as a whole, what
//! it is and what it leaves out on stderr.

use std::io::{self, Write as _};
use std::path::Path;

use crate::base::files::Replacement;
use crate::client::{Client, ExportPart};
use crate::interop::export::CATEGORIES;
use crate::model::export::{Format, Omission};
use crate::wire::proto::v1;

use super::arguments::Export;
use super::exit::Failure;
use super::output::{self, Data, count};
use super::record;
use super::stop::Stop;

/// Of a file that was not there before: what is in it is not for everyone.
const MODE: u32 = 0o600;

/// Where the content goes.
enum Target<'a> {
    File(Replacement, &'a Path),
    Stdout(&'a mut Data),
}

impl Target<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        match self {
            Self::File(file, path) => file.write_all(bytes).map_err(|error| cannot_write(path, &error)),
            Self::Stdout(data) => Ok(data.bytes(bytes)?),
        }
    }

    fn publish(self) -> Result<(), Failure> {
        match self {
            Self::File(file, path) => file.publish().map_err(|error| cannot_write(path, &error)),
            Self::Stdout(data) => Ok(data.flush()?),
        }
    }
}

/// Runs the command.
pub(super) async fn run(
    client: &Client,
    options: &Export,
    quiet: bool,
    data: &mut Data,
) -> Result<(), Failure> {
    if options.format.blocks() && options.asked.filter.check_plain().is_err() {
        let text = "luytre: what feeds what blocks leaves victims out; --format jsonl and csv tell of them";
        return Err(Failure::Usage(text.to_owned()));
    }
    if options.categories.is_some() && options.format != Format::Iprep {
        return Err(Failure::Usage("luytre: --categories goes with --format iprep".to_owned()));
    }
    let mut stop =
        Stop::listen().map_err(|error| Failure::Io(format!("cannot listen for signals: {error}")))?;
    if let Some(path) = &options.categories {
        write_whole(path, CATEGORIES.as_bytes()).map_err(|error| cannot_write(path, &error))?;
    }
    let target = match &options.output {
        Some(path) => {
            let file = Replacement::of(path, MODE).map_err(|error| cannot_write(path, &error))?;
            Target::File(file, path)
        }
        None => Target::Stdout(data),
    };
    tokio::select! {
        biased;
        () = stop.asked() => Err(Failure::Interrupted("interrupted before the file was whole".to_owned())),
        done = export(client, options, quiet, target) => done,
    }
}

async fn export(
    client: &Client,
    options: &Export,
    quiet: bool,
    mut target: Target<'_>,
) -> Result<(), Failure> {
    let filter = options.asked.to_wire().map_err(Failure::Usage)?;
    let format = v1::ExportFormat::try_from(i32::from(options.format.number())).unwrap_or_default();
    let mut parts = client.export(filter, format, &options.if_none_match);
    let bar = output::progress(None, quiet);
    let (mut marking, mut bytes) = ("", 0);
    while let Some(part) = parts.next_part().await? {
        match part {
            ExportPart::Progress(found) => bar.set_message(format!("{} found", count(found))),
            ExportPart::Unchanged => {
                bar.finish_and_clear();
                if !quiet {
                    output::talk("luytre: unchanged");
                }
                return Ok(());
            }
            ExportPart::Opening(opening) => {
                marking = if opening.tlp == 0 { "nothing within" } else { record::tlp(opening.tlp) };
            }
            ExportPart::Chunk(chunk) => {
                target.write(&chunk)?;
                bytes += chunk.len() as u64;
                bar.set_message(format!("{} KiB", count(bytes / 1_024)));
            }
            ExportPart::Closing(closing) => {
                bar.finish_and_clear();
                target.publish()?;
                if !quiet {
                    tell(&closing, marking);
                }
                return Ok(());
            }
        }
    }
    Ok(())
}

fn tell(closing: &v1::ExportClosing, marking: &str) {
    output::talk(&format!("luytre: {} rows, {marking}", count(closing.rows)));
    for omission in &closing.omissions {
        let why = record::number(omission.reason).and_then(Omission::from_number);
        output::talk(&format!(
            "luytre: not within: {} {}",
            count(omission.count),
            why.map_or("others", words)
        ));
    }
    if closing.defused_cells > 0 {
        output::talk(&format!(
            "luytre: {} cells begin with an apostrophe, so that no spreadsheet takes them for a formula",
            count(closing.defused_cells)
        ));
    }
    output::talk(&format!("luytre: etag {}", closing.etag));
}

const fn words(why: Omission) -> &'static str {
    match why {
        Omission::Red => "TLP:RED, which leaves the hub in no file",
        Omission::NotRecommended => "that do not recommend to block",
        Omission::Objected => "of victims or of what is to be watched, by one indicator at least",
        Omission::Everyones => "of what everyone has or needs",
        Omission::Repeated => "of values that stand there already",
        Omission::Kind => "of kinds that the format has no place for",
        Omission::Spelling => "whose value the format cannot spell",
    }
}

fn write_whole(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut file = Replacement::of(path, MODE)?;
    file.write_all(content)?;
    file.publish()
}

fn cannot_write(path: &Path, error: &io::Error) -> Failure {
    Failure::Io(format!("cannot write {}: {error}", path.display()))
}
