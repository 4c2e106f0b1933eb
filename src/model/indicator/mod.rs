//! Decides what an indicator is: one producer's assertion about one observable.

pub mod draft;
pub mod everyones;
pub mod lifecycle;
pub mod normalise;
pub mod score;
pub mod shown;
pub mod technique;
pub mod value;
pub mod wider;

pub use draft::{Draft, RecommendedAction, Role};
pub use lifecycle::{RevocationReason, State};
pub use shown::Shown;
pub use value::{Kind, Observable, Written};
