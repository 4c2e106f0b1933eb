//! Decides what a signer asks of the system for its process: that its memory is
//! neither dumped, nor read by others, nor written to a swap device.

use rustix::mm::{MlockAllFlags, mlockall};
use rustix::process::{DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit};

/// Asks for all of it; what the system does not give is logged.
pub(super) fn harden() {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    if let Err(error) = setrlimit(Resource::Core, none) {
        tracing::warn!(%error, "core dumps cannot be ruled out");
    }
    if let Err(error) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        tracing::warn!(%error, "other processes of this user can read the signer's memory");
    }
    // Under a limit, what is allocated later could not be locked, and the
    // allocation would fail: then only what is there already.
    let unlimited = getrlimit(Resource::Memlock).current.is_none();
    let later =
        if unlimited { MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT } else { MlockAllFlags::empty() };
    if let Err(error) = mlockall(MlockAllFlags::CURRENT | later) {
        tracing::warn!(%error, "keys may be written to a swap device; set LimitMEMLOCK=infinity");
    } else if !unlimited {
        tracing::warn!("what is allocated from here on may be swapped; set LimitMEMLOCK=infinity");
    }
}
