//! Decides X.509 and TLS: certificate to identity, issuance, the TLS snapshot.
//!
//! | module | decides |
//! |---|---|
//! | [`ask`] | what whoever wants a certificate asks for |
//! | [`directory`] | how a directory of authorities and certificates lies on disk |
//! | [`pem`] | what a PEM file holds, all of it or an error |
//! | [`identity`] | who a leaf certificate says its holder is |
//! | [`issue`] | what our own authorities sign |
//! | [`revocation`] | which revocation list counts, and for which authority |
//! | [`signing`] | what the hub may ask of whoever holds the authorities' keys |
//! | [`token`] | how a one-time token for a new system is written |
//! | [`tls`] | on what terms the hub and its clients shake hands |

pub mod ask;
pub mod directory;
pub mod identity;
pub mod issue;
pub mod pem;
pub mod revocation;
pub mod signing;
pub mod tls;
pub mod token;
