//! Decides how a store is checked and mended at the prompt.

use serde::Serialize;

use super::super::output::{self, Data};
use super::{Failure, Repair, Verify, sealed};
use crate::hub::{self, VerifyReport};

/// The result of a check as `--json` prints it.
#[derive(Debug, Serialize)]
struct Findings<'a> {
    clean: bool,
    entries: u64,
    items: u64,
    digest: &'a str,
    difference_count: u64,
    differences: &'a [String],
}

pub(super) fn verify(options: &Verify, data: &mut Data) -> Result<(), Failure> {
    sealed::refuse(&options.data)?;
    let bar = output::progress(None, false);
    let progress = |items| {
        bar.set_message(format!("{} items applied again", output::count(items)));
        bar.tick();
    };
    let report = match &options.scratch {
        Some(scratch) => hub::verify_in(&options.data, scratch, progress),
        None => hub::verify(&options.data, progress),
    };
    bar.finish_and_clear();
    let report = report?;
    if options.json {
        data.json(&findings(&report))?;
    } else {
        for difference in &report.differences {
            data.line(difference)?;
        }
        data.line(&summary(&report))?;
    }
    if report.is_clean() { Ok(()) } else { Err(Failure::Damaged) }
}

fn findings(report: &VerifyReport) -> Findings<'_> {
    Findings {
        clean: report.is_clean(),
        entries: report.entries,
        items: report.items,
        digest: &report.digest,
        difference_count: report.difference_count,
        differences: &report.differences,
    }
}

fn summary(report: &VerifyReport) -> String {
    let read = format!(
        "{} entries with {} items, state {}",
        output::count(report.entries),
        output::count(report.items),
        report.digest,
    );
    match report.difference_count {
        0 => format!("clean: {read}"),
        count => format!(
            "DAMAGED: {} differences between log and state in {read}; restore the last good backup with: luytred restore",
            output::count(count),
        ),
    }
}

pub(super) fn repair(options: &Repair) -> Result<(), Failure> {
    match hub::repair_tail(&options.data)?.damage {
        None => output::talk("the end of the log is whole; nothing was changed"),
        Some(damage) => output::talk(&format!(
            "cut {} bytes off the end of {}; a copy of the whole file is beside it, ending in .damaged",
            output::count(damage.length.saturating_sub(damage.offset)),
            damage.path.display(),
        )),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_store_is_told_with_what_to_do() {
        let report = VerifyReport { entries: 1_200, difference_count: 2, ..VerifyReport::default() };
        let told = summary(&report);
        assert!(told.starts_with("DAMAGED: 2 differences") && told.contains("luytred restore"), "{told}");
        assert!(!findings(&report).clean);
    }

    #[test]
    fn a_clean_store_is_told_in_one_line() {
        let report =
            VerifyReport { entries: 1_200, items: 3, digest: "ab".to_owned(), ..VerifyReport::default() };
        assert_eq!(summary(&report), "clean: 1,200 entries with 3 items, state ab");
    }
}
