//! Decides how long things live that we sign.

use std::time::Duration;

/// A day.
pub const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// An offline root.
pub const ROOT: Duration = DAY.saturating_mul(10 * 365);
/// An issuing authority.
pub const ISSUING: Duration = DAY.saturating_mul(2 * 365);
/// A server certificate.
pub const SERVER: Duration = DAY.saturating_mul(90);
/// A client certificate.
pub const CLIENT: Duration = DAY.saturating_mul(30);
/// A revocation list, until the next is due.
pub const REVOCATION_LIST: Duration = DAY.saturating_mul(7);
