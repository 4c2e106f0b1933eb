//! Decides what the hub asks of the system for its process: as many files and
//! sockets as it may have, and memory in small pages.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Asks for all of it.
pub(super) fn prepare() {
    raise_descriptors();
    small_pages();
}

/// Raises the soft limit on open files to the hard one.
fn raise_descriptors() {
    let limit = getrlimit(Resource::Nofile);
    if limit.current == limit.maximum {
        return;
    }
    match setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }) {
        Ok(()) => tracing::debug!(from = limit.current, to = limit.maximum, "limit on open files raised"),
        Err(error) => tracing::warn!(%error, limit = limit.current, "cannot raise the limit on open files"),
    }
}

/// Asks for small pages: a connection's few tens of KiB lie scattered, and
/// with huge pages each idle subscriber costs half as much again
/// (`make bench BENCH=P9`).
#[cfg(target_os = "linux")]
fn small_pages() {
    if let Err(error) = rustix::thread::disable_transparent_huge_pages(true) {
        tracing::debug!(%error, "cannot ask for small pages");
    }
}

#[cfg(not(target_os = "linux"))]
const fn small_pages() {}
