//! Promises about rotations.
