//! Decides what every call passes through, whatever its method: a name, a
//! bound in time or number, and an end with exactly one `ErrorInfo`.

pub(super) mod deadline;
pub(super) mod metrics;
pub(super) mod repair;
pub(super) mod streams;
pub(super) mod watch;

pub(super) use repair::own_fault;
