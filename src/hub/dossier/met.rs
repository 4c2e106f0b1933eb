//! Decides which sightings of a value's records are summed: the newest of
//! those that the caller may see. What is marked TLP:RED is in no sum.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use bytes::Bytes;

use crate::model::audience::ClassNo;
use crate::model::dossier::Met;
use crate::model::marking::Tlp;
use crate::model::position::Position;
use crate::policy::visibility::Purpose;
use crate::wire::convert::dossier as read;

use super::super::directory::Directory;
use super::super::error::Error;
use super::super::fetch::{self, damaged, viewer};
use super::super::reported::Bounds;
use super::super::source::{Reported, Source};
use super::super::store_error;
use super::{Asking, Known};

/// Most sightings that are summed.
const MAX_MET: usize = 1_000;
/// Most reporters whose sightings are summed, over all records: each has one at
/// least, so that there are more than are summed where there are more of them.
const MAX_REPORTERS: usize = 2_000;
const _: () = assert!(MAX_REPORTERS > MAX_MET);

/// A sighting of one of the records, by its number among them.
type Found = (usize, Reported, Bytes);

impl Asking<'_> {
    /// The sightings that are summed, and whether there are more.
    pub(super) fn met(self, known: &[Known]) -> Result<(Vec<Met>, bool), Error> {
        // One more than are summed: it says whether there are more.
        let mut found = BTreeMap::new();
        let mut bounds = Bounds::of(MAX_REPORTERS);
        for (number, known) in known.iter().enumerate() {
            if bounds.are_met() {
                break;
            }
            self.newest(number, known, &mut bounds, &mut found)?;
        }
        let more = found.len() > MAX_MET;
        let newest = found.into_iter().take(MAX_MET);
        let met = newest.map(|(Reverse(at), found)| self.one(at, &found, known));
        Ok((met.filter_map(Result::transpose).collect::<Result<_, _>>()?, more))
    }

    /// Adds the sightings of one record that are among the newest.
    fn newest(
        self,
        number: usize,
        known: &Known,
        bounds: &mut Bounds,
        found: &mut BTreeMap<Reverse<Position>, Found>,
    ) -> Result<(), Error> {
        let (handle, end) = (known.assertion.handle, Position::from_raw(u64::MAX));
        let mut sightings = self.shared.store.sightings(handle, end).map_err(store_error)?;
        // After it was settled what there is, so that it knows their classes.
        let today = self.shared.directory.load();
        let counts = |class| self.counts(&today, class);
        bounds.walk(&mut sightings, counts, |_, sighting| {
            let place = Reverse(sighting.position);
            if found.len() > MAX_MET && found.last_key_value().is_some_and(|(oldest, _)| *oldest < place) {
                return false;
            }
            found.insert(place, (number, sighting.into(), Bytes::copy_from_slice(sighting.body)));
            if found.len() > MAX_MET + 1 {
                found.pop_last();
            }
            true
        })
    }

    fn counts(self, today: &Directory, class: ClassNo) -> bool {
        today.visible(viewer(self.caller), class, Purpose::Aggregate) && today.tlp(class) != Tlp::Red
    }

    /// A sighting; none if it may be seen no longer.
    fn one(
        self,
        at: Position,
        (number, reported, body): &Found,
        known: &[Known],
    ) -> Result<Option<Met>, Error> {
        let class_now = known.get(*number).ok_or_else(|| damaged(at))?.assertion.class;
        let today = self.shared.directory.load();
        if !self.counts(&today, reported.class) {
            return Ok(None);
        }
        let viewer = viewer(self.caller);
        let source = Source::of_sighting(&today, viewer, *reported, class_now, Purpose::Aggregate);
        let shown = source.show_sighting(fetch::inner(body, at)?).ok_or_else(|| damaged(at))?;
        let mut met = read::met(&shown).ok_or_else(|| damaged(at))?;
        let reporter = met.reporter.as_ref().and_then(|slug| today.roster().organisations.get(slug));
        met.reporter_kind = reporter.map(|organisation| organisation.kind.clone()).unwrap_or_default();
        Ok(Some(met))
    }
}
