//! Decides how many files and sockets the hub may hold open: as many as the
//! system lets it.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the soft limit on open files to the hard one.
pub(super) fn raise() {
    let limit = getrlimit(Resource::Nofile);
    if limit.current == limit.maximum {
        return;
    }
    match setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }) {
        Ok(()) => tracing::debug!(from = limit.current, to = limit.maximum, "limit on open files raised"),
        Err(error) => tracing::warn!(%error, limit = limit.current, "cannot raise the limit on open files"),
    }
}
