//! Decides how `luytre sync` writes its files: each as a whole, in the place of
//! the old one, and only if something in it changed.

use std::fs::File;
use std::io::{self, Read as _, Write};
use std::path::{Path, PathBuf};

use crate::base::clock::{Clock as _, SystemClock};
use crate::base::digest::Sha256;
use crate::base::files::Replacement;
use crate::cli::arguments::Sync;
use crate::cli::exit::Failure;
use crate::client::Collection;
use crate::interop::blocklist::{BlockList, Which};
use crate::interop::export::{self, Head, List as Blocking, Table, Writer};
use crate::model::export::{Format, Omission};
use crate::model::indicator::Kind;
use crate::wire::convert::shown;

/// Of a file that was not there before: what is in it is not for everyone.
const MODE: u32 = 0o600;

#[derive(Debug)]
struct List {
    path: PathBuf,
    format: Format,
    stands: Stands,
}

/// What stands in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Stands {
    /// Its digest, but for the number of the state; none: there is no file.
    digest: Option<[u8; 32]>,
    /// The number of its state, in a format that has one.
    serial: Option<u32>,
}

/// The files that are kept up to date.
#[derive(Debug)]
pub(super) struct Lists {
    lists: Vec<List>,
    monitor: bool,
    /// The kinds that were asked for by name.
    kinds: Vec<Kind>,
    /// Values that were told to be left out of block lists.
    spared: usize,
}

impl Lists {
    /// The files that the options name.
    pub(super) fn open(options: &Sync) -> Result<Self, Failure> {
        let usage = |text: String| Failure::Usage(format!("luytre: {text}"));
        let mut lists: Vec<List> = Vec::new();
        for (format, path) in options.files() {
            if lists.iter().any(|list| list.path == *path) {
                return Err(usage(format!("{} is named twice; give each file its own name", path.display())));
            }
            let stands = Stands::of(path, format).map_err(|error| cannot_write(path, &error))?;
            lists.push(List { path: path.clone(), format, stands });
        }
        if lists.is_empty() {
            return Err(usage(
                "which files? Name at least one with --plain, --hosts, --rpz, --suricata, --iprep, --csv or --jsonl."
                    .to_owned(),
            ));
        }
        let blocks = lists.iter().any(|list| list.format.blocks());
        if blocks && options.filter.check_plain().is_err() {
            return Err(usage(
                "what feeds what blocks leaves victims out; --jsonl and --csv tell of them".to_owned(),
            ));
        }
        Ok(Self { lists, monitor: options.include_monitor, kinds: options.filter.kind.clone(), spared: 0 })
    }

    /// Writes what stands. `announce` is called before the first file is
    /// replaced. Returns how many were.
    pub(super) fn write(
        &mut self,
        collection: &Collection,
        mut announce: impl FnMut() -> Result<(), Failure>,
    ) -> Result<usize, Failure> {
        let Self { lists, monitor, kinds, spared } = self;
        let mut block = None;
        let mut replaced = 0;
        for List { path, format, stands } in lists {
            let failed = |error: io::Error| cannot_write(path, &error);
            let mut new =
                Hashed { out: Replacement::of(path, MODE).map_err(failed)?, hash: Sha256::default() };
            let serial = stands.next_serial();
            match Writer::of(*format, kinds) {
                Writer::Table(table) => write_table(table, collection, &mut new),
                Writer::List(list) => {
                    let which = match *format {
                        Format::Plain | Format::Hosts if *monitor => Which::Watched,
                        _ => Which::Blocked,
                    };
                    let block = block.get_or_insert_with(|| of(collection));
                    write_list(block, which, list, serial, &mut new)
                }
            }
            .map_err(failed)?;
            let digest = Some(new.hash.finish());
            if stands.digest == digest && path.try_exists().unwrap_or(false) {
                continue;
            }
            if replaced == 0 {
                announce()?;
            }
            new.out.publish().map_err(failed)?;
            *stands = Stands { digest, serial: Some(serial) };
            replaced += 1;
        }
        let left_out = block.as_ref().map_or(0, BlockList::spared);
        if left_out != std::mem::replace(spared, left_out) && left_out > 0 {
            tracing::warn!(
                values = left_out,
                "some recommend to block what everyone has or needs (private addresses, public suffixes, nearly all \
                 addresses): that is not in the files"
            );
        }
        Ok(replaced)
    }
}

impl Stands {
    /// What stands in a file; an error if it is none to be replaced.
    fn of(path: &Path, format: Format) -> io::Result<Self> {
        let mut file = match std::fs::metadata(path) {
            Ok(found) if found.is_file() => File::open(path)?,
            Ok(_) => return Err(io::Error::other("it is no regular file")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(error),
        };
        let mut hash = Sha256::default();
        let mut beginning = Vec::with_capacity(BLOCK);
        (&file).take(BLOCK as u64).read_to_end(&mut beginning)?;
        let mut serial = None;
        if let (Format::Rpz, Some(found)) = (format, export::serial(&beginning)) {
            serial = Some(found.number);
            beginning.splice(found.place, *b"0");
        }
        hash.update(&beginning);
        let mut buffer = vec![0; BLOCK];
        loop {
            match file.read(&mut buffer)? {
                0 => return Ok(Self { digest: Some(hash.finish()), serial }),
                n => hash.update(buffer.get(..n).unwrap_or_default()),
            }
        }
    }

    /// The number of the next state: the time, and past the one before.
    fn next_serial(self) -> u32 {
        let now = export::serial_at(SystemClock.now());
        self.serial.map_or(now, |last| now.max(last.wrapping_add(1)))
    }
}

/// Bytes of a file that are read at once.
const BLOCK: usize = 64 * 1024;

fn cannot_write(path: &Path, error: &io::Error) -> Failure {
    Failure::Io(format!("cannot write {}: {error}", path.display()))
}

/// What is said of the values.
fn of(collection: &Collection) -> BlockList {
    let mut list = BlockList::default();
    for indicator in collection.iter() {
        list.note(&shown::read(indicator));
    }
    list
}

fn write_list(
    block: &BlockList,
    which: Which,
    list: Blocking,
    serial: u32,
    new: &mut Hashed,
) -> io::Result<()> {
    let tlp = block.tlp(which);
    let mut writer = Writer::List(list);
    let head = |serial| {
        let mut head = Vec::new();
        writer.head(Head { tlp, serial }, &mut head);
        head
    };
    // The number of the state is no change of it.
    new.out.write_all(&head(serial))?;
    new.hash.update(&head(0));
    let Writer::List(list) = &mut writer else { return Ok(()) };
    let omitted = block.write(which, list, new)?;
    for (why, values) in omitted.iter().filter(|(why, _)| *why != Omission::Repeated) {
        tracing::info!(values, why = why.as_str(), "the format has no place for some values");
    }
    Ok(())
}

fn write_table(table: Table, collection: &Collection, new: &mut Hashed) -> io::Result<()> {
    let mut writer = Writer::Table(table);
    let mut out = Vec::with_capacity(BLOCK);
    writer.head(Head { tlp: None, serial: 0 }, &mut out);
    let Writer::Table(table) = &mut writer else { return Ok(()) };
    for indicator in collection.iter() {
        table.row(shown::read(indicator), &mut out);
        if out.len() >= BLOCK {
            new.write_all(&out)?;
            out.clear();
        }
    }
    new.write_all(&out)
}

/// What is written, and its digest so far.
struct Hashed {
    out: Replacement,
    hash: Sha256,
}

impl Write for Hashed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.out.write(bytes)?;
        self.hash.update(bytes.get(..n).unwrap_or_default());
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
