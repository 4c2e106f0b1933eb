//! Decides how a store is copied and brought back: through the hub that runs
//! on it, else straight from its directory.

use std::path::Path;

use super::super::output;
use super::{Failure, Place, Restore};
use crate::admin::{self, Answer};
use crate::base::clock::SystemClock;
use crate::hub;

pub(super) fn backup(place: &Place, to: &Path) -> Result<(), Failure> {
    let to = std::path::absolute(to).map_err(|error| Failure::Io(format!("--to: {error}")))?;
    if to.symlink_metadata().is_ok() {
        return Err(Failure::Exists(format!(
            "{} exists already; name a directory that does not",
            to.display()
        )));
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::Io(format!("cannot start: {error}")))?;
    output::talk(&format!("copying {} to {}", place.data_dir.display(), to.display()));
    let answer = match runtime.block_on(admin::ask_backup(&place.admin_socket, &to)) {
        // No hub runs: the store is ours to open.
        Err(admin::Error::Nobody { .. }) => hub::backup::backup_offline(&place.data_dir, &to)?.into(),
        asked => asked.map_err(|error| Failure::TryLater(error.to_string()))?,
    };
    match answer {
        Answer::Done { path, last_entry, epoch, bytes } => {
            let path = path.display();
            output::talk(&format!(
                "backed up to entry {last_entry} of epoch {epoch}, {bytes} bytes, in {path}; check it with: luytred verify --data {path}",
            ));
            Ok(())
        }
        Answer::Refused { problem } => {
            Err(Failure::TryLater(format!("the running hub made no backup: {problem}")))
        }
    }
}

pub(super) fn restore(options: &Restore) -> Result<(), Failure> {
    output::talk(&format!("restoring {} to {}", options.from.display(), options.to.display()));
    let report = hub::restore(&options.from, &options.to, &SystemClock)?;
    output::talk(&format!(
        "restored up to entry {} in {}; epoch {} begins, and subscribers whose tokens are newer start again",
        report.last_entry,
        report.path.display(),
        report.epoch,
    ));
    Ok(())
}
