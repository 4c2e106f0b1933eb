//! Decides how much of everything an operator allows: `[limits]` and the
//! organisations that are measured otherwise.

use std::collections::BTreeMap;
use std::time::Duration;

use super::section::Section;
use super::{Size, Span, seconds};
use crate::model::Invalid;
use crate::model::org::OrgSlug;
use crate::policy::limits::{Quota, Quotas};

/// How much of everything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// TLS handshakes under way at once.
    pub handshakes: usize,
    /// Connections at once that have not finished the handshake.
    pub pending_connections: usize,
    /// The same from one address (one /64 of IPv6).
    pub handshakes_per_source: usize,
    /// Time from the connection to the client's hello.
    pub hello_timeout: Span,
    /// Time from the hello to the end of the handshake.
    pub handshake_timeout: Span,
    /// Connections at once that have finished the handshake.
    pub connections: usize,
    /// Connections at once from one address (one /64 of IPv6).
    pub connections_per_source: usize,
    /// Calls at once on one connection.
    pub streams_per_connection: u32,
    /// Age at which a connection is asked to come anew.
    pub connection_age: Span,
    /// Longest that a call other than a stream may take.
    pub call_deadline: Span,
    /// Named subscriptions of one organisation.
    pub subscriptions_per_organisation: usize,
    /// Streams open at once of one organisation.
    pub streams_per_organisation: usize,
    /// Items that one organisation sends a second.
    pub items_per_second: u64,
    /// Bytes that one organisation sends a second.
    pub bytes_per_second: Size,
    /// Values that one organisation looks up a second.
    pub lookups_per_second: u64,
    /// Time that the hub reads for one organisation a second.
    pub reading_per_second: Span,
    /// Bytes that one organisation may have in the log; 0: it is not limited.
    pub stored_bytes_per_organisation: Size,
    /// Hundredths of these four and of the streams that one principal may have.
    pub principal_percent: u32,
    /// Organisations for which other measures hold.
    pub organisations: BTreeMap<OrgSlug, Quota>,
    /// Memory for the newest events.
    pub ring_bytes: Size,
    /// Memory for blocks read from the store.
    pub block_cache_bytes: Size,
    /// Free space on the store's disk below which nothing new is taken.
    pub free_space: Size,
    /// Span between signs of life on a quiet subscription.
    pub heartbeat: Span,
    /// Longest wait for calls under way when the hub stops.
    pub drain_deadline: Span,
}

impl Default for Limits {
    fn default() -> Self {
        let quota = Quota::default();
        Self {
            handshakes: 256,
            pending_connections: 1024,
            handshakes_per_source: 128,
            hello_timeout: seconds(3),
            handshake_timeout: seconds(10),
            connections: 4096,
            connections_per_source: 1024,
            streams_per_connection: 256,
            connection_age: seconds(24 * 3600),
            call_deadline: seconds(30),
            subscriptions_per_organisation: 256,
            streams_per_organisation: quota.streams,
            items_per_second: quota.items,
            bytes_per_second: Size(quota.bytes),
            lookups_per_second: quota.lookups,
            reading_per_second: Span(Duration::from_micros(quota.reading)),
            stored_bytes_per_organisation: Size(0),
            principal_percent: 100,
            organisations: BTreeMap::new(),
            ring_bytes: Size(64 << 20),
            block_cache_bytes: Size(256 << 20),
            free_space: Size(1 << 30),
            heartbeat: seconds(10),
            drain_deadline: seconds(20),
        }
    }
}

/// Reads `[limits]` and what stands below it.
pub(super) fn read(mut section: Section, problems: &mut Vec<Invalid>) -> Limits {
    let usual = Limits::default();
    let quota = quota(&mut section, &Quota::default(), problems);
    let organisations = exceptions(section.section("organisations", problems), &quota, problems);
    let limits = Limits {
        handshakes: section.bounded("handshakes", usual.handshakes, (1, 65_536), problems),
        pending_connections: section.bounded(
            "pending_connections",
            usual.pending_connections,
            (1, 65_536),
            problems,
        ),
        handshakes_per_source: section.bounded(
            "handshakes_per_source",
            usual.handshakes_per_source,
            (1, 65_536),
            problems,
        ),
        hello_timeout: section.bounded(
            "hello_timeout",
            usual.hello_timeout,
            (seconds(1), seconds(60)),
            problems,
        ),
        handshake_timeout: section.bounded(
            "handshake_timeout",
            usual.handshake_timeout,
            (seconds(1), seconds(60)),
            problems,
        ),
        connections: section.bounded("connections", usual.connections, (1, 1_000_000), problems),
        connections_per_source: section.bounded(
            "connections_per_source",
            usual.connections_per_source,
            (1, 1_000_000),
            problems,
        ),
        streams_per_connection: section.bounded(
            "streams_per_connection",
            usual.streams_per_connection,
            (1, 65_536),
            problems,
        ),
        connection_age: section.bounded(
            "connection_age",
            usual.connection_age,
            (seconds(60), seconds(30 * 24 * 3600)),
            problems,
        ),
        call_deadline: section.bounded(
            "call_deadline",
            usual.call_deadline,
            (seconds(1), seconds(600)),
            problems,
        ),
        subscriptions_per_organisation: section.bounded(
            "subscriptions_per_organisation",
            usual.subscriptions_per_organisation,
            (1, 10_000),
            problems,
        ),
        streams_per_organisation: quota.streams,
        items_per_second: quota.items,
        bytes_per_second: Size(quota.bytes),
        lookups_per_second: quota.lookups,
        reading_per_second: Span(Duration::from_micros(quota.reading)),
        stored_bytes_per_organisation: Size(quota.stored.unwrap_or_default()),
        principal_percent: section.bounded("principal_percent", usual.principal_percent, (1, 100), problems),
        organisations,
        ring_bytes: section.bounded(
            "ring_bytes",
            usual.ring_bytes,
            (Size(1 << 20), Size(64 << 30)),
            problems,
        ),
        block_cache_bytes: section.bounded(
            "block_cache_bytes",
            usual.block_cache_bytes,
            (Size(8 << 20), Size(1 << 40)),
            problems,
        ),
        free_space: section.bounded("free_space", usual.free_space, (Size(0), Size(1 << 50)), problems),
        heartbeat: section.bounded("heartbeat", usual.heartbeat, (seconds(1), seconds(300)), problems),
        drain_deadline: section.bounded(
            "drain_deadline",
            usual.drain_deadline,
            (seconds(0), seconds(600)),
            problems,
        ),
    };
    section.finish(problems);
    limits
}

impl Limits {
    /// The same, but for how much each organisation and each principal may ask
    /// for.
    pub(super) fn with_quotas_of(self, other: &Self) -> Self {
        Self {
            streams_per_organisation: other.streams_per_organisation,
            items_per_second: other.items_per_second,
            bytes_per_second: other.bytes_per_second,
            lookups_per_second: other.lookups_per_second,
            reading_per_second: other.reading_per_second,
            stored_bytes_per_organisation: other.stored_bytes_per_organisation,
            principal_percent: other.principal_percent,
            organisations: other.organisations.clone(),
            ..self
        }
    }

    /// How much each organisation and each principal may ask for.
    #[must_use]
    pub fn quotas(&self) -> Quotas {
        Quotas {
            organisation: Quota {
                items: self.items_per_second,
                bytes: self.bytes_per_second.0,
                lookups: self.lookups_per_second,
                reading: micros(self.reading_per_second),
                streams: self.streams_per_organisation,
                stored: some(self.stored_bytes_per_organisation),
            },
            principal_percent: self.principal_percent,
            exceptions: self.organisations.clone(),
        }
    }
}

/// Nothing is no limit.
const fn some(size: Size) -> Option<u64> {
    if size.0 == 0 { None } else { Some(size.0) }
}

fn micros(span: Span) -> u64 {
    u64::try_from(span.0.as_micros()).unwrap_or(u64::MAX)
}

/// What one organisation may ask for; what is not said is as `usual`.
fn quota(section: &mut Section, usual: &Quota, problems: &mut Vec<Invalid>) -> Quota {
    let many = (1, 1_000_000_000);
    Quota {
        streams: section.bounded("streams_per_organisation", usual.streams, (1, 1_000_000), problems),
        stored: some(section.bounded(
            "stored_bytes_per_organisation",
            Size(usual.stored.unwrap_or_default()),
            (Size(0), Size(1 << 50)),
            problems,
        )),
        items: section.bounded("items_per_second", usual.items, many, problems),
        bytes: section
            .bounded("bytes_per_second", Size(usual.bytes), (Size(1 << 10), Size(1 << 40)), problems)
            .0,
        lookups: section.bounded("lookups_per_second", usual.lookups, many, problems),
        reading: micros(section.bounded(
            "reading_per_second",
            Span(Duration::from_micros(usual.reading)),
            (Span(Duration::from_millis(1)), seconds(3_600)),
            problems,
        )),
    }
}

/// The organisations that are measured otherwise, each a table of its own.
fn exceptions(mut section: Section, usual: &Quota, problems: &mut Vec<Invalid>) -> BTreeMap<OrgSlug, Quota> {
    let mut exceptions = BTreeMap::new();
    for (name, mut table) in section.tables(problems) {
        let own = quota(&mut table, usual, problems);
        match OrgSlug::parse(&name) {
            Ok(slug) => drop(exceptions.insert(slug, own)),
            Err(invalid) => problems.push(Invalid::new(table.path_of(), invalid.problem)),
        }
        table.finish(problems);
    }
    section.finish(problems);
    exceptions
}
