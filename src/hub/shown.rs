//! Decides in which order what is durable is shown to everyone who follows.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::store::keys;

use super::directory::Directory;
use super::group::Group;
use super::shared::Shared;

impl Shared {
    /// Shows a durable group to everyone who follows.
    pub(super) fn show(&self, group: Group<'_>, before: &Directory) {
        self.counters.items.fetch_add(group.item_count() as u64, Ordering::Relaxed);
        // Before the chunks: whoever reads them must find the roster and the
        // assets that hold at their positions.
        for generation in &group.generations {
            self.rosters.push(generation);
        }
        if !group.generations.is_empty() || !group.directory.waits_as(before) {
            self.directory.store(Arc::clone(&group.directory));
        }
        self.assets.take_in(&group.assets);
        if group.has_certified() {
            self.ledger.store(Arc::clone(&group.ledger));
            self.ledger_changes.send_modify(|count| *count = count.wrapping_add(1));
        }
        self.history.show(&group);
        if !group.dropped.is_empty() {
            let mut reclassed = self.reclassed.write();
            for handle in &group.dropped {
                reclassed.remove(handle);
            }
        }
        for (handle, class) in group.reclassed() {
            self.reclassed.write().insert(handle, class);
        }
        self.backlog.note(group.postings.terms());
        if !group.validities.is_empty() {
            self.expiries.agenda.lock().note(&group.validities);
        }
        for (indicator, _, at) in group.sightings.keys().filter_map(|key| keys::read_sighting(key)) {
            self.sighted.forget(indicator, at);
        }
        if !group.chunks.is_empty() {
            self.replaced.take_in(group.chunks, |chunks| self.tail.push(chunks));
        }
    }
}
