//! Decides how `luytre sync` writes its files: each as a whole, in the place of
//! the old one, and only if something in it changed.

use std::fs::File;
use std::io::{self, Read as _, Write};
use std::path::{Path, PathBuf};

use crate::base::digest::Sha256;
use crate::base::files::Replacement;
use crate::cli::arguments::Sync;
use crate::cli::exit::Failure;
use crate::cli::record::{self, Record};
use crate::client::Collection;
use crate::interop::blocklist::{Advice, BlockList, Which};
use crate::model::indicator::{Kind, RecommendedAction, Role};
use crate::wire::observable::flat;
use crate::wire::proto::v1;

/// Of a file that was not there before: what is in it is not for everyone.
const MODE: u32 = 0o600;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Plain,
    Hosts,
    Jsonl,
}

#[derive(Debug)]
struct List {
    path: PathBuf,
    form: Form,
    /// Digest of what stands in it.
    stands: Option<[u8; 32]>,
}

/// The files that are kept up to date.
#[derive(Debug)]
pub(super) struct Lists {
    lists: Vec<List>,
    which: Which,
    /// The kinds that were asked for by name.
    kinds: Vec<Kind>,
    /// Values that were told to be left out of block lists.
    spared: usize,
}

impl Lists {
    /// The files that the options name.
    pub(super) fn open(options: &Sync) -> Result<Self, Failure> {
        let named = |form, paths: &[PathBuf]| paths.iter().map(move |path| (form, path.clone())).collect();
        let named: [Vec<_>; 3] = [
            named(Form::Plain, &options.plain),
            named(Form::Hosts, &options.hosts),
            named(Form::Jsonl, &options.jsonl),
        ];
        let usage = |text: String| Failure::Usage(format!("luytre: {text}"));
        let mut lists: Vec<List> = Vec::new();
        for (form, path) in named.into_iter().flatten() {
            if lists.iter().any(|list| list.path == path) {
                return Err(usage(format!("{} is named twice; give each file its own name", path.display())));
            }
            let stands = digest(&path).map_err(|error| cannot_write(&path, &error))?;
            lists.push(List { path, form, stands });
        }
        if lists.is_empty() {
            return Err(usage("which files? Name at least one with --plain, --hosts or --jsonl.".to_owned()));
        }
        let of_values = !options.plain.is_empty() || !options.hosts.is_empty();
        if of_values && options.filter.check_plain().is_err() {
            return Err(usage(
                "--plain and --hosts leave victims out, for such lists feed what blocks; --jsonl tells of them"
                    .to_owned(),
            ));
        }
        let which = if options.include_monitor { Which::Watched } else { Which::Blocked };
        Ok(Self { lists, which, kinds: options.filter.kind.clone(), spared: 0 })
    }

    /// Writes what stands. `announce` is called before the first file is
    /// replaced. Returns how many were.
    pub(super) fn write(
        &mut self,
        collection: &Collection,
        mut announce: impl FnMut() -> Result<(), Failure>,
    ) -> Result<usize, Failure> {
        let Self { lists, which, kinds, spared } = self;
        let mut block = None;
        let mut replaced = 0;
        for List { path, form, stands } in lists {
            let failed = |error: io::Error| cannot_write(path, &error);
            let mut new =
                Hashed { out: Replacement::of(path, MODE).map_err(failed)?, hash: Sha256::default() };
            let written = match form {
                Form::Plain => {
                    block.get_or_insert_with(|| of(collection, kinds)).write_plain(*which, &mut new)
                }
                Form::Hosts => {
                    block.get_or_insert_with(|| of(collection, kinds)).write_hosts(*which, &mut new)
                }
                Form::Jsonl => write_jsonl(collection, &mut new),
            };
            written.map_err(failed)?;
            let digest = new.hash.finish();
            if *stands == Some(digest) && path.try_exists().unwrap_or(false) {
                continue;
            }
            if replaced == 0 {
                announce()?;
            }
            new.out.publish().map_err(failed)?;
            *stands = Some(digest);
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

fn cannot_write(path: &Path, error: &io::Error) -> Failure {
    Failure::Io(format!("cannot write {}: {error}", path.display()))
}

/// The digest of a file that is there; an error if it is none to be replaced.
fn digest(path: &Path) -> io::Result<Option<[u8; 32]>> {
    let mut file = match std::fs::metadata(path) {
        Ok(found) if found.is_file() => File::open(path)?,
        Ok(_) => return Err(io::Error::other("it is no regular file")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut hash = Sha256::default();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(Some(hash.finish())),
            n => hash.update(buffer.get(..n).unwrap_or_default()),
        }
    }
}

/// What is said of the values. Kinds that are free text stand in no list that
/// did not ask for them: what reads the list may take a line for a command.
fn of(collection: &Collection, kinds: &[Kind]) -> BlockList {
    let mut list = BlockList::default();
    for indicator in collection.iter() {
        let advice = advice(&indicator);
        if let (Some(kind), value, _) = flat(indicator.observable)
            && (!kind.may_hold_blanks() || kinds.contains(&kind))
        {
            list.note(kind, value, advice);
        }
    }
    list
}

fn advice(indicator: &v1::Indicator) -> Advice {
    let caveats = indicator.marking.as_ref().and_then(|marking| marking.caveats.as_ref());
    Advice {
        action: record::number(indicator.recommended_action).and_then(RecommendedAction::from_number),
        role: record::number(indicator.role).and_then(Role::from_number),
        watch_only: caveats.is_some_and(|caveats| caveats.watch_do_not_block),
    }
}

fn write_jsonl(collection: &Collection, out: &mut impl Write) -> io::Result<()> {
    for indicator in collection.iter() {
        serde_json::to_writer(&mut *out, &Record::of(indicator))?;
        out.write_all(b"\n")?;
    }
    Ok(())
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
