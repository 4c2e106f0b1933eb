//! Decides what is kept of who called what: [`trail`] gathers what one call
//! did, [`journal`] brings records to the writer, which lays them down with its
//! commit groups, and [`log`] reads them, signs and proves. [`closing`] sees to
//! it that no call ends without its record.

pub mod check;
pub mod closing;
pub mod cut;
pub mod delivered;
pub mod journal;
pub mod laying;
pub mod log;
mod told;
pub mod trail;

pub use closing::Closing;
pub use cut::Keep;
pub use journal::{Audit, Journal};
pub use log::{AuditExport, AuditPage, AuditView, Sought};
pub use trail::Trail;
