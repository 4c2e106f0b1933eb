//! Decides what every call passes through, whatever its method: a name,
//! bounds in time, number and bytes, and an end with exactly one `ErrorInfo`.

pub(super) mod deadline;
pub(super) mod intake;
pub(super) mod metrics;
pub(super) mod repair;
pub(super) mod streams;
pub(super) mod watch;

pub(super) use repair::own_fault;
