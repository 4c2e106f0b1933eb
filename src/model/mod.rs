//! Decides what the domain's nouns are: pure, no async, no I/O, no clock.

pub mod aggregate;
pub mod amendment;
pub mod asset;
pub mod audience;
pub mod audit;
pub mod certificate;
pub mod containment;
pub mod difference;
pub mod dossier;
pub mod event;
pub mod export;
pub mod held;
pub mod indicator;
pub mod invalid;
pub mod marking;
mod numbered;
pub mod org;
pub mod position;
pub mod principal;
pub mod query;
pub mod reached;
pub mod receipt;
pub mod republication;
pub mod retention;
pub mod roster;
pub mod search;
pub mod sighting;
pub mod text;
pub mod warninglist;

pub use invalid::Invalid;
