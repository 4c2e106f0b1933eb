//! Decides how values are looked up in bulk: in batches over one stream, the
//! results in the order of the values.

use std::fmt;

use prost::Message as _;
use tonic::{Status, Streaming};

use crate::wire::proto::v1;

use super::backoff::Backoff;
use super::calls::{Client, MAX_ITEMS};
use super::error::Error;
use super::line::Place;
use super::pipeline::{Call, Pipeline, Requests};

/// Values in a batch.
const BATCH: usize = 400;
/// Most bytes of values in a batch, for rules are long: below the 4 MiB of the
/// contract, with room for framing.
const BATCH_BYTES: usize = 3 * 1024 * 1024;
/// Batches on their way at once.
const WINDOW: usize = 4;

/// A value that was looked up, and what is known of it.
#[derive(Debug, Clone)]
pub struct Found {
    /// The value as it was asked for.
    pub observable: v1::Observable,
    /// What the hub knows of it.
    pub result: v1::LookupResult,
}

/// A bulk look-up that survives broken connections. Memory is bounded by a few
/// batches.
///
/// ```no_run
/// # async fn example(client: luytre::client::Client) -> Result<(), luytre::client::Error> {
/// let mut lookup = client.lookup().wide();
/// let mut found = Vec::new();
/// for value in ["198.51.100.7", "example.net"] {
///     found.extend(lookup.push_text(value).await?);
/// }
/// found.extend(lookup.finish().await?);
/// # Ok(())
/// # }
/// ```
pub struct Lookup {
    pipeline: Pipeline<Ask>,
    scope: v1::LookupScope,
    gathered: Vec<v1::Observable>,
    gathered_bytes: usize,
    ready: Vec<Found>,
}

impl fmt::Debug for Lookup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lookup").field("gathered", &self.gathered.len()).finish_non_exhaustive()
    }
}

impl Client {
    /// A bulk look-up of exact values; see [`Lookup::wide`] for more.
    #[must_use]
    pub fn lookup(&self) -> Lookup {
        let hub = self.connection().hub().to_owned();
        Lookup {
            pipeline: Pipeline::new(Ask(self.clone()), hub, WINDOW, Backoff::STREAM, self.deadline()),
            scope: v1::LookupScope::Exact,
            gathered: Vec::new(),
            gathered_bytes: 0,
            ready: Vec::new(),
        }
    }
}

impl Lookup {
    /// Finds also what contains a value: networks that hold an address, domains
    /// above a name, the host of a URL. [`v1::LookupMatch::relation`] tells how
    /// each match is about the value.
    #[must_use]
    pub fn wide(self) -> Self {
        Self { scope: v1::LookupScope::Wide, ..self }
    }

    /// Adds a value whose kind the hub detects. Returns results for earlier
    /// values.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn push_text(&mut self, value: &str) -> Result<Vec<Found>, Error> {
        self.push(v1::Observable { value: Some(v1::observable::Value::Text(value.to_owned())) }).await
    }

    /// Adds a value. Returns results for earlier values.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn push(&mut self, observable: v1::Observable) -> Result<Vec<Found>, Error> {
        let bytes = observable.encoded_len() + 8;
        if self.gathered_bytes + bytes > BATCH_BYTES {
            self.send_gathered().await?;
        }
        self.gathered_bytes += bytes;
        self.gathered.push(observable);
        if self.gathered.len() >= BATCH.min(MAX_ITEMS) {
            self.send_gathered().await?;
        }
        Ok(std::mem::take(&mut self.ready))
    }

    /// Sends what is gathered and waits for every result that is due.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn flush(&mut self) -> Result<Vec<Found>, Error> {
        self.send_gathered().await?;
        while !self.pipeline.is_empty() {
            self.receive().await?;
        }
        Ok(std::mem::take(&mut self.ready))
    }

    /// As [`Self::flush`], then ends the stream in good order.
    ///
    /// # Errors
    /// As [`Self::flush`].
    pub async fn finish(&mut self) -> Result<Vec<Found>, Error> {
        let found = self.flush().await?;
        self.pipeline.end().await;
        Ok(found)
    }

    async fn send_gathered(&mut self) -> Result<(), Error> {
        if self.gathered.is_empty() {
            return Ok(());
        }
        while self.pipeline.is_full() {
            self.receive().await?;
        }
        let observables = std::mem::take(&mut self.gathered);
        self.gathered_bytes = 0;
        let scope = self.scope.into();
        self.pipeline.send(v1::LookupObservablesRequest { observables, scope });
        Ok(())
    }

    async fn receive(&mut self) -> Result<(), Error> {
        if let Some((request, answer)) = self.pipeline.receive().await? {
            let pairs = request.observables.into_iter().zip(answer.results);
            self.ready.extend(pairs.map(|(observable, result)| Found { observable, result }));
        }
        Ok(())
    }
}

struct Ask(Client);

impl Call for Ask {
    type Request = v1::LookupObservablesRequest;
    type Answer = v1::LookupObservablesResponse;

    fn place(&self) -> Place {
        self.0.connection().place()
    }

    async fn open(&self, requests: Requests<Self::Request>) -> Result<Streaming<Self::Answer>, Status> {
        Ok(self.0.exchange().lookup_observables(requests).await?.into_inner())
    }

    fn asked(request: &Self::Request) -> usize {
        request.observables.len()
    }

    fn answered(answer: &Self::Answer) -> usize {
        answer.results.len()
    }
}
