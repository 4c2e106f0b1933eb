//! Promises of the client against a hub that misbehaves on purpose.

pub(crate) mod authority;
pub(crate) mod exchange;
mod renewal;
pub(crate) mod stub;
pub(crate) mod subscription;

use std::time::Duration;

use super::Backoff;

/// Tries again at once, so that no test waits.
const AT_ONCE: Backoff = Backoff { first: Duration::ZERO, longest: Duration::ZERO, tries: Some(100) };
