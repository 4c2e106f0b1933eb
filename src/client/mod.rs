//! Decides our own client for agencies: a rotatable identity, safe retries,
//! publishing without pause, and subscriptions that resume exactly.
//!
//! | type | what it is |
//! |---|---|
//! | [`Identity`] | certificate and key, renewed and replaced while in use |
//! | [`Enrolment`], [`Issued`], [`Keep`] | the first certificate by a token, and how its files are kept |
//! | [`Endpoint`], [`Connection`] | where the hub is; one channel to it over mutual TLS |
//! | [`Client`] | the single calls |
//! | [`Draft`], [`PublishStream`], [`Verdict`] | what is published, without pause, and what became of it |
//! | [`Subscription`], [`Delivery`], [`Received`] | events, now and after any absence |
//! | [`Collection`], [`Mirror`] | what stands, in memory and on disk |
//! | [`Lookup`] | values asked about in bulk |
//! | [`Witnessed`] | what the hub signed of its audit, each proven to go on from the last |
//! | [`Error`] | why a call failed, and what to do |
//!
//! # Depending on it
//!
//! Without its default feature the crate is this client and what it stands on:
//! no RocksDB, no server, and nothing to install but a C compiler.
//!
//! ```toml
//! [dependencies]
//! luytre = { git = "…", default-features = false }
//! tokio = { version = "1", features = ["macros", "rt-multi-thread"] }
//! ```
//!
//! # A first hour
//!
//! The hub's operator gives an agency four things: an address, the authorities
//! of the hub's certificate, a certificate and its key.
//!
//! ```no_run
//! use luytre::client::{Connection, Draft, Endpoint, Identity, Start, Subscribe, Tlp, values};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), luytre::client::Error> {
//! let identity = Identity::from_files("soc.pem", "soc.key")?;
//! let endpoint = Endpoint::new("hub.example:7443", "hub-ca.pem")?;
//! let hub = Connection::open(&endpoint, identity)?.client();
//! println!("we are {}", hub.whoami().await?.organisation);
//!
//! // Published: when the verdict is here, the hub's disk has it.
//! for verdict in hub.publish([Draft::new("bad[.]example", Tlp::Green).label("phishing")]).await? {
//!     match verdict.outcome() {
//!         Ok(published) => println!("{} version {}", published.name, published.version),
//!         Err(refusal) => println!("refused: {refusal}"),
//!     }
//! }
//!
//! // Received: from the beginning, and from exactly here after any break.
//! let mut subscription = hub.subscribe(Subscribe::from(Start::Earliest));
//! while let Some(delivery) = subscription.next().await? {
//!     for received in delivery.events() {
//!         if let Some(indicator) = received.stands() {
//!             println!("use {:?}", values(indicator));
//!         } else if let Some(name) = received.ended() {
//!             println!("stop using {name}");
//!         }
//!     }
//!     if let Some(token) = delivery.token() {
//!         subscription.confirm(token).await?;
//!     }
//! }
//!
//! // Asked.
//! let mut lookup = hub.lookup();
//! let mut found = lookup.push_text("198.51.100.7").await?;
//! found.extend(lookup.finish().await?);
//! // lookup().wide() also finds networks, parent domains and hosts.
//! println!("{} assertions", found.iter().map(|one| one.result.matches.len()).sum::<usize>());
//! # Ok(())
//! # }
//! ```
//!
//! In the folder `examples/` are whole programs: `publish`, `subscribe` (goes
//! on from a file) and `block_list` (a file that holds what is to be blocked).
//!
//! # What it promises
//!
//! **Certificates** are read from their files before each new connection and
//! every five seconds, and so are the hub's authorities before each connection.
//! Replace them (write beside, then rename), or call [`Identity::renew_over`],
//! and go on: a connection with the new certificate is made beside the old one;
//! once the hub has taken it, new calls use it, open streams go on over it from
//! exactly where they are, and the old one closes. Calls and streams whose
//! certificate has expired or been revoked meanwhile connect again, once, with
//! what is in the files then.
//!
//! **Deadlines.** Every single call ends within [`Client::with_deadline`], 30
//! seconds otherwise, retries included; the hub is told, so that it stops too.
//! A stream of publications or look-ups has as long for its first answer, and a
//! minute for each further one before the connection counts as broken. A
//! subscription that hears nothing for three heartbeats connects again.
//!
//! **Retries.** What is tried again is what cannot come out differently for
//! being asked twice:
//!
//! | what failed | tried again | why that is safe |
//! |---|---|---|
//! | the hub is away or asks to come back (`UNAVAILABLE`) | up to the patience of [`Backoff`] | nothing was done, or it was done under the same request id |
//! | the connection broke without an answer | once for calls, four times in a row for streams | reading changes nothing; a write keeps its request id, under which the hub does it once and repeats its first answer |
//! | the certificate of the connection expired or was revoked | as a broken connection | the hub does nothing for it; the next connection shows the one in the files |
//! | every other answer, and certificates that are refused | never | the same call would fail the same way: see [`Error::advice`] |
//!
//! Pauses grow, with jitter, and are never shorter than what the hub asks for.
//!
//! **Publishing.** A [`PublishStream`] keeps up to `window` batches on their
//! way. After a break it sends the unanswered ones again under their request
//! ids: nothing is lost and nothing is published twice. A program that was
//! killed itself publishes its file again, since the same content changes
//! nothing, or uses [`PublishStream::push_batch`] with ids of its own.
//!
//! **Subscribing.** Store events and token together, then
//! [`confirm`](Subscription::confirm). Within a run nothing comes twice and
//! nothing is missing, whatever breaks; after a run the stored token goes on
//! exactly there.
//!
//! **Back-pressure.** A subscriber is sent at most [`Subscribe::window`] events
//! that it has not confirmed, and a publisher holds at most `batch` × `window`
//! drafts: who is slow slows the other side down, and memory is bounded.
//!
//! **The current state.** A [`Collection`] fed with every delivery of a
//! subscription from [`Start::CurrentState`] is at any moment what stands for
//! this subscriber; a [`Mirror`] also keeps it on disk, with its place, through
//! kills of either side.
//!
//! **Silence.** Nothing of what is shared is logged. `tracing` is told of
//! broken connections and renewed certificates.
//!
//! The messages of the contract are in [`v1`], with the comments of `proto/`:
//! an indicator or an event is read there; [`Draft`] and [`values`] spare most
//! programs the rest.

pub mod assets;
mod audit;
mod backoff;
mod calls;
mod certificates;
mod connection;
mod connector;
mod delivery;
mod draft;
mod endpoint;
mod enrolment;
mod error;
mod export;
mod held;
mod history;
mod identity;
mod issued;
mod keep;
mod ledger;
mod line;
mod lookup;
mod mirror;
mod pipeline;
mod publish;
mod receipts;
mod received;
mod republication;
mod roster;
mod subscribe;
#[cfg(test)]
pub(crate) mod tests;
mod tls;

pub use audit::Witnessed;
pub use backoff::Backoff;
pub use calls::{Client, Listing, MAX_ITEMS};
pub use certificates::{CertificateWalk, Severed};
pub use connection::Connection;
pub use delivery::{Delivery, SubscriptionEvents};
pub use draft::Draft;
pub use endpoint::Endpoint;
pub use enrolment::Enrolment;
pub use error::{Advice, Broken, Error, FieldViolation, Refusal};
pub use export::{ExportPart, Exporting};
pub use history::VersionWalk;
pub use identity::Identity;
pub use issued::Issued;
pub use keep::Keep;
pub use lookup::{Found, Lookup};
pub use mirror::{Collection, Mirror, MirrorError, News};
pub use publish::{PublishOptions, PublishStream, Verdict};
pub use received::{Received, values};
pub use subscribe::{Start, Subscribe, Subscription};

pub use crate::base::clock::Timestamp;
pub use crate::model::indicator::{Kind, RecommendedAction, Role};
pub use crate::model::marking::Tlp;
pub use crate::wire::proto::v1;
