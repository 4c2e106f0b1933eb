//! Decides how a store is copied and brought back: through the hub that runs
//! on it, else straight from its directory.

use std::path::Path;

use super::super::output;
use super::{Failure, Place, Restore};
use crate::admin::{self, Answer};
use crate::base::clock::SystemClock;
use crate::hub::{self, BackupReport, Hub, Options};

pub(super) fn backup(place: &Place, to: &Path) -> Result<(), Failure> {
    let to = std::path::absolute(to).map_err(|error| Failure::Io(format!("--to: {error}")))?;
    output::talk(&format!("copying {} to {}", place.data_dir.display(), to.display()));
    let report = match ask(place, &to)? {
        Some(Answer::Done(report)) => report,
        Some(Answer::Refused { reason, problem }) => {
            return Err(Failure::TryLater(format!("the running hub made no backup: {reason}: {problem}")));
        }
        None => {
            let options = Options { data_dir: place.data_dir.clone(), ..Options::default() };
            Hub::open(options)?.backup(&to)?
        }
    };
    tell(&report, &to);
    Ok(())
}

/// Asks the running hub; `None` if none runs.
fn ask(place: &Place, to: &Path) -> Result<Option<Answer>, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::Io(format!("cannot start: {error}")))?;
    match runtime.block_on(admin::ask_backup(&place.admin_socket, to)) {
        Ok(answer) => Ok(Some(answer)),
        Err(admin::Error::Nobody { .. }) => Ok(None),
        Err(error) => Err(Failure::TryLater(error.to_string())),
    }
}

pub(super) fn restore(options: &Restore) -> Result<(), Failure> {
    output::talk(&format!("restoring {} to {}", options.from.display(), options.to.display()));
    let report = hub::restore(&options.from, &options.to, &SystemClock)?;
    output::talk(&format!("restored {report}; subscribers resume from their own tokens' successors"));
    Ok(())
}

fn tell(report: &BackupReport, to: &Path) {
    output::talk(&format!("backed up {report} to {}; check it with: luytred verify --data {}", to.display(), to.display()));
}
