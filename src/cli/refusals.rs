//! Decides how an import keeps what the hub refused, so that a run which goes
//! on tells of the parts that it does not ask again as if it had.
//!
//! They stand in a file beside the place, one on a line, in the order of the
//! drafts. How many of them count is written with the place; what follows is of
//! parts that will be asked again.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, BufWriter, Read as _, Seek as _, SeekFrom, Take, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// Longest line that is read: far more than any reason and problem have.
const MAX_LINE_BYTES: u64 = 64 * 1024;

/// Why a draft was refused. Neither of them holds its value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Refusal {
    /// The draft, by its place in the import.
    draft: u64,
    /// The stable cause.
    pub(super) reason: String,
    /// What is wrong.
    pub(super) problem: String,
}

/// The refusals of an import.
#[derive(Debug)]
pub(super) struct Refusals {
    path: PathBuf,
    /// Those of earlier runs that are not told yet.
    earlier: BufReader<Take<File>>,
    next: Option<Refusal>,
    out: BufWriter<File>,
    count: u64,
    settled: u64,
}

impl Refusals {
    /// Opens the file beside the place `state`, of which the first `count`
    /// lines count.
    pub(super) fn open(state: &Path, count: u64) -> io::Result<Self> {
        let mut name = state.to_owned().into_os_string();
        name.push(".refused");
        let path = PathBuf::from(name);
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path)?;
        let mut lines = BufReader::new(File::open(&path)?.take(u64::MAX));
        let mut length = 0;
        for _ in 0..count {
            length += line(&mut lines)?.ok_or_else(damaged)?.1;
        }
        file.set_len(length)?;
        file.seek(SeekFrom::End(0))?;
        let mut refusals = Self {
            earlier: BufReader::new(File::open(&path)?.take(length)),
            path,
            next: None,
            out: BufWriter::new(file),
            count,
            settled: count,
        };
        refusals.turn()?;
        Ok(refusals)
    }

    /// Why an earlier run was refused this draft, if it was. Drafts are asked
    /// for in their order.
    pub(super) fn of(&mut self, draft: u64) -> io::Result<Option<Refusal>> {
        while self.next.as_ref().is_some_and(|next| next.draft < draft) {
            self.turn()?;
        }
        let told = self.next.take_if(|next| next.draft == draft);
        if told.is_some() {
            self.turn()?;
        }
        Ok(told)
    }

    /// Notes a refusal.
    pub(super) fn note(&mut self, draft: u64, (reason, problem): (String, String)) -> io::Result<()> {
        serde_json::to_writer(&mut self.out, &Refusal { draft, reason, problem })?;
        self.out.write_all(b"\n")?;
        self.count += 1;
        Ok(())
    }

    /// Has what was noted on disk; returns how many lines there are.
    pub(super) fn settle(&mut self) -> io::Result<u64> {
        if self.settled < self.count {
            self.out.flush()?;
            self.out.get_ref().sync_data()?;
            self.settled = self.count;
        }
        Ok(self.count)
    }

    /// Forgets them all.
    pub(super) fn done(self) -> io::Result<()> {
        std::fs::remove_file(&self.path)
    }

    fn turn(&mut self) -> io::Result<()> {
        self.next = line(&mut self.earlier)?.map(|(refusal, _)| refusal);
        Ok(())
    }
}

/// The next refusal, and how many bytes its line has.
fn line(from: &mut BufReader<Take<File>>) -> io::Result<Option<(Refusal, u64)>> {
    let mut bytes = Vec::new();
    let read = from.take(MAX_LINE_BYTES).read_until(b'\n', &mut bytes)?;
    if read == 0 {
        return Ok(None);
    }
    let refusal = serde_json::from_slice(&bytes).map_err(|_| damaged())?;
    Ok(Some((refusal, u64::try_from(read).unwrap_or(u64::MAX))))
}

fn damaged() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "it is not whole")
}
