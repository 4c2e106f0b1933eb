//! Decides how it is written for how long receipts are kept.

use crate::hub::receipts::KEEP;
use crate::model::Invalid;

use super::section::Section;
use super::{Span, seconds};

const HOUR: u64 = 3_600;
const SHORTEST: Span = seconds(24 * HOUR);
const LONGEST: Span = seconds(876_000 * HOUR);

/// What is said of receipts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReceiptsConfig {
    /// For how long they are kept.
    pub keep: Span,
}

/// What the section says.
pub(super) fn read(mut section: Section, problems: &mut Vec<Invalid>) -> ReceiptsConfig {
    let keep = section.bounded("keep", Span(KEEP), (SHORTEST, LONGEST), problems);
    section.finish(problems);
    ReceiptsConfig { keep }
}
