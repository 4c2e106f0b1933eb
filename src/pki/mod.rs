//! Decides X.509 and TLS: certificate to identity, issuance, the TLS snapshot.
//!
//! | module | decides |
//! |---|---|
//! | [`directory`] | how a directory of authorities and certificates lies on disk |
//! | [`encrypted`] | how a private key is kept under a passphrase |
//! | [`pem`] | what a PEM file holds, all of it or an error |
//! | [`identity`] | who a leaf certificate says its holder is |
//! | [`issue`] | what our own authorities sign |
//! | [`key`] | what our own private keys are, and how they are written down |
//! | [`lifetime`] | how long things live that we sign |
//! | [`request`] | which requests for a certificate prove that their key is the asker's |
//! | [`revocation`] | which revocation list counts, and for which authority |
//! | [`signing`] | what the hub may ask of whoever holds the authorities' keys |
//! | [`tls`] | on what terms the hub and its clients shake hands |

#[cfg(feature = "hub")]
pub mod directory;
#[cfg(feature = "hub")]
pub mod encrypted;
pub mod identity;
pub mod issue;
pub mod key;
pub mod lifetime;
pub mod pem;
pub mod request;
pub mod revocation;
pub mod signing;
pub mod tls;
