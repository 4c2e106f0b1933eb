//! Decides the commands of luytre and luytred.

pub mod pki;
