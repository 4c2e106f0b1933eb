//! Decides our own client for agencies: a rotatable identity, safe retries,
//! publishing without pause, and subscriptions that resume exactly.
//!
//! | type | what it is |
//! |---|---|
//! | [`Identity`] | certificate and key, replaced while in use |
//! | [`Endpoint`], [`Connection`] | where the hub is; one channel to it over mutual TLS |
//! | [`Client`] | the single calls |
//! | [`PublishStream`], [`Lookup`] | bulk work over one stream |
//! | [`Subscription`] | events, now and after any absence |
//! | [`Collection`], [`Mirror`] | what stands, in memory and on disk |
//! | [`Error`] | why a call failed, and what to do |

mod backoff;
mod calls;
mod connection;
mod delivery;
mod error;
mod identity;
mod ledger;
mod lookup;
mod mirror;
mod pipeline;
mod publish;
mod received;
mod republication;
mod roster;
mod subscribe;
#[cfg(test)]
pub(crate) mod tests;
mod tls;

pub use backoff::Backoff;
pub use calls::{Client, Listing, MAX_ITEMS};
pub use connection::{Connection, Endpoint};
pub use delivery::{Delivery, SubscriptionEvents};
pub use error::{Advice, Broken, Error, FieldViolation, Refusal};
pub use identity::Identity;
pub use lookup::{Found, Lookup};
pub use mirror::{Collection, Mirror, MirrorError, News};
pub use publish::{PublishOptions, PublishStream, Verdict};
pub use received::Received;
pub use subscribe::{Start, Subscribe, Subscription};
