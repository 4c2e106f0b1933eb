//! Decides how a store is copied and brought back: through the hub that runs
//! on it, else straight from its directory.

use std::path::Path;

use tokio::runtime::Runtime;

use super::super::output;
use super::{Backup, Failure, Place, Restore, sealed};
use crate::admin::{self, Answer};
use crate::base::clock::SystemClock;
use crate::hub::{self, RestoreReport};

/// What a copy holds.
pub(super) struct Copied {
    pub(super) last_entry: u64,
    pub(super) epoch: u16,
    pub(super) bytes: u64,
    /// When a running hub began it, by its clock; 0: none did.
    pub(super) begun: u64,
}

pub(super) fn backup(place: &Place, options: &Backup) -> Result<(), Failure> {
    let to = std::path::absolute(&options.to).map_err(|error| Failure::Io(format!("--to: {error}")))?;
    if to.symlink_metadata().is_ok() {
        return Err(Failure::Exists(format!(
            "{} exists already; name a file or directory that does not",
            to.display()
        )));
    }
    match options.passphrase.source() {
        Some(source) => sealed::backup(place, &to, options, &source),
        // Who names it so wants it encrypted.
        None if to.extension().is_some_and(|ending| ending == "age") => Err(Failure::Usage(format!(
            "{} is named as an encrypted backup; say where its passphrase is with --ask-passphrase, --passphrase-file or --passphrase-fd",
            to.display()
        ))),
        None => plain(place, &to),
    }
}

/// A directory.
fn plain(place: &Place, to: &Path) -> Result<(), Failure> {
    output::talk(&format!("copying {} to {}", place.data_dir.display(), to.display()));
    let Copied { last_entry, epoch, bytes, .. } = copy(&runtime()?, place, to, false)?;
    let to = to.display();
    output::talk(&format!(
        "backed up to entry {last_entry} of epoch {epoch}, {bytes} bytes, in {to}; check it with: luytred verify --data {to}",
    ));
    Ok(())
}

pub(super) fn runtime() -> Result<Runtime, Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::Io(format!("cannot start: {error}")))
}

/// Copies the store into the new directory `to`: the hub that runs on it does,
/// else this process. Whether it is only `passing` there.
pub(super) fn copy(runtime: &Runtime, place: &Place, to: &Path, passing: bool) -> Result<Copied, Failure> {
    let answer = match runtime.block_on(admin::ask_backup(&place.admin_socket, to, passing)) {
        // No hub runs: the store is ours to open.
        Err(admin::Error::Nobody { .. }) => hub::backup::backup_offline(&place.data_dir, to)?.into(),
        asked => asked.map_err(|error| Failure::TryLater(error.to_string()))?,
    };
    match answer {
        Answer::Done { last_entry, epoch, bytes, begun, .. } => {
            Ok(Copied { last_entry, epoch, bytes, begun })
        }
        Answer::Refused { problem } => {
            Err(Failure::TryLater(format!("the running hub made no backup: {problem}")))
        }
    }
}

pub(super) fn restore(options: &Restore) -> Result<(), Failure> {
    let from = options.from.display();
    match (options.from.is_dir(), options.passphrase.source()) {
        (true, Some(_)) => {
            Err(Failure::Usage(format!("{from} is a directory: no backup that a passphrase opens")))
        }
        (false, Some(source)) => sealed::restore(options, &source),
        (false, None) if options.from.is_file() => Err(Failure::Usage(format!(
            "{from} is a file; if it is an encrypted backup, say where its passphrase is with --ask-passphrase, --passphrase-file or --passphrase-fd"
        ))),
        (_, None) => {
            output::talk(&format!("restoring {from} to {}", options.to.display()));
            tell(&hub::restore(&options.from, &options.to, &SystemClock)?);
            Ok(())
        }
    }
}

pub(super) fn tell(report: &RestoreReport) {
    output::talk(&format!(
        "restored up to entry {} in {}; epoch {} begins, and subscribers whose tokens are newer start again",
        report.last_entry,
        report.path.display(),
        report.epoch,
    ));
}
