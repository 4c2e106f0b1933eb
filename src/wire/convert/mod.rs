//! Decides how the public contract becomes the model and back: every bound is
//! checked here, once, and a refusal names the field by its path.
//!
//! One file per noun. Messages are taken by value and destructured in full, so
//! that a field added to the contract does not compile until it is read here.

pub mod aggregate;
pub mod asset;
pub mod audit;
pub mod batch;
pub mod certificate;
pub mod directory;
pub mod dossier;
pub mod draft;
pub mod export;
pub mod filter;
pub mod guard;
pub mod held;
pub mod lookup;
pub mod marking;
pub mod name;
pub mod observable;
pub mod republication;
pub mod revocation;
pub mod roster;
pub mod shown;
pub mod sighting;
pub mod subscription;
pub mod text;
pub mod time;
pub mod value_match;
pub mod versions;

use crate::model::Invalid;

/// Reads an enum: the zero value and numbers without a meaning are refused.
fn known<T>(field: &str, number: i32, from_number: impl FnOnce(u8) -> Option<T>) -> Result<T, Invalid> {
    match u8::try_from(number) {
        Ok(0) => Err(Invalid::new(field, "a value is required; the zero value is not one")),
        Ok(number) => from_number(number).ok_or_else(|| unknown(field)),
        Err(_) => Err(unknown(field)),
    }
}

/// The refusal of an enum number without a meaning.
fn unknown(field: &str) -> Invalid {
    Invalid::new(field, "this hub does not know this value; send one of its release of the contract")
}
