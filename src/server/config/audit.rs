//! Decides how it is written for how long audit records are kept, and how
//! often the hub signs them.

use crate::hub::audit::Keep;
use crate::model::Invalid;

use super::section::Section;
use super::{Span, seconds};

const HOUR: u64 = 3_600;
/// 24 months.
const KEEP: Span = seconds(17_544 * HOUR);
const SHORTEST: Span = seconds(24 * HOUR);
const LONGEST: Span = seconds(876_000 * HOUR);

/// What is said of the audit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AuditConfig {
    /// Least time between two checkpoints for members.
    pub checkpoint_every: Span,
    /// For how long records of what was written are kept.
    pub keep_writes: Span,
    /// Of what was read.
    pub keep_reads: Span,
    /// Of what was delivered to subscribers.
    pub keep_deliveries: Span,
    /// Of certificates, authorities, the roster.
    pub keep_administration: Span,
    /// Of all else.
    pub keep_platform: Span,
}

impl AuditConfig {
    /// For how long records are kept.
    #[must_use]
    pub const fn keep(&self) -> Keep {
        Keep {
            writes: self.keep_writes.0,
            reads: self.keep_reads.0,
            deliveries: self.keep_deliveries.0,
            administration: self.keep_administration.0,
            platform: self.keep_platform.0,
        }
    }
}

/// What the section says.
pub(super) fn read(mut section: Section, problems: &mut Vec<Invalid>) -> AuditConfig {
    let checkpoint_every =
        section.bounded("checkpoint_every", seconds(60), (seconds(1), seconds(24 * HOUR)), problems);
    let mut keep = |key| section.bounded(key, KEEP, (SHORTEST, LONGEST), problems);
    let read = AuditConfig {
        checkpoint_every,
        keep_writes: keep("keep_writes"),
        keep_reads: keep("keep_reads"),
        keep_deliveries: keep("keep_deliveries"),
        keep_administration: keep("keep_administration"),
        keep_platform: keep("keep_platform"),
    };
    section.finish(problems);
    read
}
