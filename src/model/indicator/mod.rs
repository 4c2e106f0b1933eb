//! Decides what an indicator is: one producer's assertion about one observable.

pub mod draft;
pub mod lifecycle;
pub mod normalise;
pub mod value;

pub use draft::{Draft, RecommendedAction};
pub use lifecycle::{RevocationReason, State};
pub use value::{Kind, Observable, Written};
