//! Decides what is counted of calls: by method and outcome, nothing of whom
//! or what.

use std::sync::atomic::AtomicI64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// What is counted of calls.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    calls: Family<CallLabels, Counter>,
    running: Gauge<i64, AtomicI64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CallLabels {
    method: &'static str,
    outcome: &'static str,
}

impl Metrics {
    /// Puts the counters where they are read.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("luytre_rpc_calls", "Calls that ended, by method and outcome", self.calls.clone());
        registry.register("luytre_rpc_calls_running", "Calls that have not ended", self.running.clone());
    }

    pub(in crate::rpc) fn begin(&self) {
        self.running.inc();
    }

    pub(in crate::rpc) fn end(&self, method: &'static str, outcome: &'static str) {
        self.running.dec();
        self.calls.get_or_create(&CallLabels { method, outcome }).inc();
    }
}
