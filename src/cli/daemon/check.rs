//! Decides how a store is checked and mended at the prompt.

use super::super::output::{self, Data};
use super::{Failure, Repair, Verify};
use crate::hub;

pub(super) fn verify(options: &Verify, data: &mut Data) -> Result<(), Failure> {
    let bar = output::progress(None, false);
    let report = hub::verify(&options.data, |progress| bar.set_message(progress.to_string()));
    bar.finish_and_clear();
    let report = report?;
    if options.json {
        data.json(&report)?;
    } else {
        data.line(&report.to_string())?;
    }
    if report.is_clean() { Ok(()) } else { Err(Failure::Damaged) }
}

pub(super) fn repair(options: &Repair) -> Result<(), Failure> {
    match hub::repair_tail(&options.data)?.damage {
        None => output::talk("the end of the log is whole; nothing was changed"),
        Some(damage) => output::talk(&format!(
            "cut {} bytes off the end of {}; a copy of the whole file is beside it, ending in .damaged",
            damage.length.saturating_sub(damage.offset),
            damage.path.display(),
        )),
    }
    Ok(())
}
