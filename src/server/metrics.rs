//! Decides what is counted and where it is read: plain numbers of the hub, its
//! connections and its certificates, gathered at the moment they are asked.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use super::connections::Connections;
use super::handshake::Refused;
use super::settings::Settings;
use super::sever::Cause;
use super::tls::{Certificates, Failure};
use crate::base::clock::{Clock as _, Timestamp};
use crate::base::steady::SteadyClock;
use crate::hub::{Hub, Statistics};
use crate::model::warninglist::Outcome;
use crate::rpc::Metrics;

/// The registry of one hub; `docs/metrics.md` lists what is in it.
#[must_use]
pub fn registry(
    hub: &Arc<Hub>,
    rpc: &Metrics,
    connections: &Arc<Connections>,
    certificates: &Arc<Certificates>,
    settings: &Arc<Settings>,
    clock: &Arc<SteadyClock>,
) -> Registry {
    let mut registry = Registry::default();
    let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
    registry.register("luytre_build", "Version of the running hub", build);
    rpc.register(&mut registry);
    registry.register_collector(Box::new(Gatherer {
        hub: Arc::clone(hub),
        connections: Arc::clone(connections),
        certificates: Arc::clone(certificates),
        settings: Arc::clone(settings),
        clock: Arc::clone(clock),
        started: clock.now(),
    }));
    registry
}

/// Where the numbers are gathered from.
struct Gatherer {
    hub: Arc<Hub>,
    connections: Arc<Connections>,
    certificates: Arc<Certificates>,
    settings: Arc<Settings>,
    clock: Arc<SteadyClock>,
    started: Timestamp,
}

impl fmt::Debug for Gatherer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Gatherer")
    }
}

impl Collector for Gatherer {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut sheet = Sheet(encoder);
        sheet.gauge(
            "luytre_start_time_seconds",
            "When the hub started, Unix time",
            self.started.as_seconds(),
        )?;
        self.certificates(&mut sheet)?;
        self.connections(&mut sheet)?;
        self.guards(&mut sheet)?;
        self.hub(&mut sheet)
    }
}

impl Gatherer {
    fn certificates(&self, sheet: &mut Sheet<'_>) -> fmt::Result {
        let snapshot = self.certificates.current();
        let now = self.clock.now();
        sheet.gauge("luytre_tls_epoch", "Number of the TLS configuration in force", snapshot.epoch())?;
        let failures = Failure::ALL.map(|kind| (kind.as_str(), self.certificates.failed(kind)));
        sheet.counters(
            "luytre_tls_reload_failures",
            "Reloads of the certificates that changed nothing, by reason",
            "reason",
            &failures,
        )?;
        let not_after = snapshot.server_not_after();
        sheet.gauge(
            "luytre_tls_server_certificate_not_after_seconds",
            "When the hub's certificate expires, Unix time",
            not_after.as_seconds(),
        )?;
        sheet.gauge(
            "luytre_tls_server_certificate_ttl_seconds",
            "Seconds until the hub's certificate expires, 0 once it has",
            not_after.since(now).as_secs(),
        )?;
        let anchors: Vec<_> = snapshot.anchors().map(|it| (it.name.as_str(), it.not_after)).collect();
        sheet.ends("luytre_tls_anchor", "a trusted authority expires", &anchors, now)?;
        let lists: Vec<_> =
            snapshot.revocation_lists().map(|it| (it.authority.as_str(), it.next_update)).collect();
        let end = "a revocation list runs out and handshakes under its authority fail";
        sheet.ends("luytre_tls_revocation_list", end, &lists, now)?;
        let revoked = snapshot.revoked();
        sheet.gauge(
            "luytre_tls_revoked_certificates",
            "Certificates on the revocation lists",
            count(revoked),
        )?;
        sheet.gauge(
            "luytre_clock_doubted",
            "1 while the machine's clock has jumped and is not believed",
            u64::from(self.clock.is_doubted()),
        )
    }

    fn guards(&self, sheet: &mut Sheet<'_>) -> fmt::Result {
        let outcomes: Vec<_> =
            Outcome::ALL.iter().map(|outcome| (outcome.as_str(), self.hub.guarded(*outcome))).collect();
        let help = "Items whose values lists name, by what that made of them";
        sheet.counters("luytre_guard_items", help, "outcome", &outcomes)?;
        let lists = self.hub.guard().lists().len();
        sheet.gauge("luytre_guard_lists", "Lists that values are held against", count(lists))?;
        let help = "Reloads that left limits and lists as they were, for something is unsound";
        sheet.counter("luytre_guard_reload_failures", help, self.settings.failed())
    }

    fn connections(&self, sheet: &mut Sheet<'_>) -> fmt::Result {
        let (connections, counters) = (&self.connections, self.connections.counters());
        sheet.gauge("luytre_connections_live", "Connections being served", count(connections.live()))?;
        sheet.gauge(
            "luytre_connections_open",
            "Connections in all, those at the handshake included",
            count(connections.total()),
        )?;
        sheet.counter("luytre_connections_accepted", "TCP connections accepted", counters.accepted())?;
        sheet.counter(
            "luytre_connections_served",
            "Connections whose handshake succeeded",
            counters.served(),
        )?;
        sheet.counter("luytre_accept_errors", "Failures to accept a connection", counters.accept_errors())?;
        let refused = Refused::ALL.map(|reason| (reason.as_str(), counters.refused(reason)));
        sheet.counters("luytre_connections_refused", "Connections refused, by reason", "reason", &refused)?;
        let ended = Cause::ALL.map(|cause| (cause.as_str(), counters.ended(cause)));
        sheet.counters(
            "luytre_connections_ended",
            "Connections that the hub ended, by cause",
            "cause",
            &ended,
        )
    }

    fn hub(&self, sheet: &mut Sheet<'_>) -> fmt::Result {
        let Statistics {
            commits,
            commit_micros,
            items,
            delivered,
            subscribers,
            catch_ups,
            index_behind,
            merges_waiting,
            merged_blocks,
            ring_bytes,
            waiting_requests,
            waiting_bytes,
            audience_classes,
            values_estimate,
            membership_bytes,
            membership_complete,
            standing_bytes,
            standing_complete,
            table_bytes,
            history_begins,
            truncation_behind,
            truncated_bytes,
            dropped_records,
            receipts,
            receipt_bytes,
            receipts_begin,
            read_only,
            space_low,
            space_free,
        } = self.hub.statistics();
        let read_only = u64::from(read_only);
        sheet.gauge("luytre_store_read_only", "1 once a failed write made the store read-only", read_only)?;
        sheet.gauge(
            "luytre_store_space_low",
            "1 while nothing is taken for lack of room on the disk",
            u64::from(space_low),
        )?;
        if let Some(free) = space_free {
            sheet.gauge("luytre_store_free_bytes", "Bytes free on the store's disk", free)?;
        }
        sheet.counter("luytre_store_commits", "Commits, each a group of requests with one sync", commits)?;
        let waited = Duration::from_micros(commit_micros);
        sheet.seconds("luytre_store_commit_seconds", "Time spent in commits", waited)?;
        sheet.counter("luytre_items_written", "Indicators, revocations and sightings written", items)?;
        sheet.counter(
            "luytre_state_secrets_refused",
            "Items refused because they look like state secrets",
            self.hub.state_secrets_refused(),
        )?;
        sheet.gauge("luytre_audit_records", "Records in the audit", self.hub.audit_size())?;
        sheet.counter("luytre_receipts_written", "Receipts of what was handed over", receipts)?;
        sheet.counter("luytre_receipt_bytes_written", "Bytes that these took", receipt_bytes)?;
        sheet.gauge(
            "luytre_receipts_begin_seconds",
            "Since when receipts are on record, Unix time",
            receipts_begin,
        )?;
        sheet.counter("luytre_events_delivered", "Events delivered to subscribers", delivered)?;
        sheet.gauge("luytre_subscribers", "Subscriptions open now", subscribers)?;
        sheet.counter(
            "luytre_subscriber_catch_ups",
            "Times that a subscriber was too slow for the ring and read from the store",
            catch_ups,
        )?;
        sheet.gauge(
            "luytre_index_behind_entries",
            "Entries of the log that cannot be found yet by what they say",
            index_behind,
        )?;
        sheet.gauge(
            "luytre_postings_merges_waiting",
            "Terms whose blocks of postings wait to be merged",
            merges_waiting,
        )?;
        sheet.counter(
            "luytre_postings_blocks_merged",
            "Blocks of postings that a larger one has replaced",
            merged_blocks,
        )?;
        sheet.gauge("luytre_ring_bytes", "Memory that the newest events take", ring_bytes)?;
        sheet.gauge(
            "luytre_writer_waiting_requests",
            "Requests that wait to be written",
            waiting_requests,
        )?;
        sheet.gauge(
            "luytre_writer_waiting_bytes",
            "About how many bytes wait to be written or are being written",
            waiting_bytes,
        )?;
        sheet.gauge("luytre_audience_classes", "Different audiences known", audience_classes)?;
        sheet.gauge("luytre_values_estimate", "Values known, as the store estimates", values_estimate)?;
        sheet.gauge(
            "luytre_membership_bytes",
            "Memory that says which audiences have which values",
            membership_bytes,
        )?;
        sheet.gauge(
            "luytre_membership_complete",
            "1 once it knows of all values, so that look-ups of others read nothing",
            u64::from(membership_complete),
        )?;
        sheet.gauge("luytre_standing_bytes", "Memory that says which versions stand", standing_bytes)?;
        sheet.gauge(
            "luytre_standing_complete",
            "1 once it knows of all that is committed, so that questions read no more than they show",
            u64::from(standing_complete),
        )?;
        sheet.gauge(
            "luytre_history_begins_seconds",
            "From when on history is kept, Unix time; 0: from the beginning",
            history_begins,
        )?;
        sheet.gauge(
            "luytre_truncation_behind_entries",
            "Entries below the base from which is still to be cut out",
            truncation_behind,
        )?;
        sheet.counter("luytre_truncated_bytes", "Bytes that were cut out of the log", truncated_bytes)?;
        sheet.counter("luytre_records_dropped", "Records that were dropped", dropped_records)?;
        // By organisation, for without a name nobody knows whom to call.
        let refusals = self.hub.refusals();
        let mut family = sheet.of(
            "luytre_limit_refusals",
            "Times that a limit of an organisation or of one of its principals was met",
            MetricType::Counter,
        )?;
        refusals.iter().try_for_each(|(organisation, limit, count)| {
            let labels = [("organisation", organisation.as_str()), ("limit", *limit)];
            ConstCounter::new(*count).encode(family.encode_family(&labels)?)
        })?;
        // Whose they are is told to the machine's operator alone.
        if let Ok(storage) = self.hub.storage() {
            let bytes = storage.organisations.values().sum();
            sheet.gauge("luytre_log_item_bytes", "Bytes of what members published and reported", bytes)?;
            sheet.gauge(
                "luytre_log_uncounted_entries",
                "Entries of the log that are not in that yet",
                storage.uncounted,
            )?;
        }
        sheet.gauge("luytre_store_table_bytes", "Bytes of the store's table files", table_bytes)
    }
}

/// What a scrape is written to.
struct Sheet<'a>(DescriptorEncoder<'a>);

impl Sheet<'_> {
    fn gauge(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        let gauge = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
        gauge.encode(self.of(name, help, MetricType::Gauge)?)
    }

    /// When things of one kind end, and how far away that is, by authority.
    fn ends(&mut self, name: &str, end: &str, things: &[(&str, Timestamp)], now: Timestamp) -> fmt::Result {
        let at = |not_after: Timestamp| not_after.as_seconds();
        let left = |not_after: Timestamp| not_after.since(now).as_secs();
        self.gauges(&format!("{name}_not_after_seconds"), &format!("When {end}, Unix time"), things, at)?;
        self.gauges(
            &format!("{name}_ttl_seconds"),
            &format!("Seconds until {end}, 0 once it has"),
            things,
            left,
        )
    }

    fn gauges(
        &mut self,
        name: &str,
        help: &str,
        things: &[(&str, Timestamp)],
        value: impl Fn(Timestamp) -> u64,
    ) -> fmt::Result {
        let mut family = self.of(name, help, MetricType::Gauge)?;
        things.iter().try_for_each(|&(authority, not_after)| {
            let gauge = ConstGauge::new(i64::try_from(value(not_after)).unwrap_or(i64::MAX));
            gauge.encode(family.encode_family(&[("authority", authority)])?)
        })
    }

    fn counter(&mut self, name: &str, help: &str, value: u64) -> fmt::Result {
        ConstCounter::new(value).encode(self.of(name, help, MetricType::Counter)?)
    }

    fn seconds(&mut self, name: &str, help: &str, value: Duration) -> fmt::Result {
        ConstCounter::new(value.as_secs_f64()).encode(self.of(name, help, MetricType::Counter)?)
    }

    fn counters(&mut self, name: &str, help: &str, label: &str, values: &[(&str, u64)]) -> fmt::Result {
        let mut family = self.of(name, help, MetricType::Counter)?;
        values.iter().try_for_each(|&(of, value)| {
            ConstCounter::new(value).encode(family.encode_family(&[(label, of)])?)
        })
    }

    fn of<'s>(
        &'s mut self,
        name: &'s str,
        help: &str,
        kind: MetricType,
    ) -> Result<MetricEncoder<'s>, fmt::Error> {
        self.0.encode_descriptor(name, help, None, kind)
    }
}

fn count(of: usize) -> u64 {
    u64::try_from(of).unwrap_or(u64::MAX)
}
