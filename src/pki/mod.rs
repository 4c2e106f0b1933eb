//! Decides X.509 and TLS: certificate to identity, issuance, the TLS snapshot.
//!
//! | module | decides |
//! |---|---|
//! | [`ask`] | what whoever wants a certificate asks for |
//! | [`authority`] | how an authority gives way to the next one |
//! | [`directory`] | how a directory of authorities and certificates lies on disk |
//! | [`encrypted`] | how a private key is kept under a passphrase |
//! | [`pem`] | what a PEM file holds, all of it or an error |
//! | [`identity`] | who a leaf certificate says its holder is |
//! | [`issue`] | what our own authorities sign |
//! | [`key`] | what our own private keys are, and how they are written down |
//! | [`ledger`] | what was issued, and how it stands |
//! | [`lifetime`] | how long things live that we sign |
//! | [`request`] | which requests for a certificate prove that their key is the asker's |
//! | [`revocation`] | which revocation list counts, and for which authority |
//! | [`schedule`] | when something is due, and whether a clock can be believed |
//! | [`signing`] | what the hub may ask of whoever holds the authorities' keys |
//! | [`token`] | how a one-time token for a new system is written |
//! | [`tls`] | on what terms the hub and its clients shake hands |

pub mod ask;
pub mod authority;
#[cfg(feature = "hub")]
pub mod directory;
#[cfg(feature = "hub")]
pub mod encrypted;
pub mod identity;
pub mod issue;
pub mod key;
pub mod ledger;
pub mod lifetime;
pub mod pem;
pub mod request;
pub mod revocation;
pub mod schedule;
pub mod signing;
pub mod tls;
pub mod token;
