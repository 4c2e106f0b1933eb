//! Decides which sightings of a value's records are summed: the newest of
//! those that the caller may see. What is marked TLP:RED is in no sum.

use crate::model::audience::ClassNo;
use crate::model::dossier::Met;
use crate::model::marking::Tlp;
use crate::model::position::Position;
use crate::policy::visibility::Purpose;
use crate::store::chunk::Op;
use crate::wire::convert::dossier as read;

use super::super::error::Error;
use super::super::fetch::{self, PASSED_REPORTERS, damaged, viewer};
use super::super::source::Source;
use super::{Asking, Known};

/// Most sightings that are summed.
const MAX_MET: usize = 1_000;
/// Most reporters whose sightings are summed, over all records: each has one at
/// least, so that there are more than are summed where there are more of them.
const MAX_REPORTERS: usize = 2_000;
const _: () = assert!(MAX_REPORTERS > MAX_MET);

impl Asking<'_> {
    /// The sightings that are summed, and whether there are more.
    pub(super) fn met(self, known: &[Known]) -> Result<(Vec<Met>, bool), Error> {
        let end = Position::from_raw(u64::MAX);
        let (mut found, mut told, mut passed) = (Vec::new(), 0, 0);
        'records: for (number, known) in known.iter().enumerate() {
            let handle = known.assertion.handle;
            for reporter in fetch::reporters(self.shared, handle)? {
                if told == MAX_REPORTERS || passed == PASSED_REPORTERS {
                    break 'records;
                }
                let today = self.shared.directory.load();
                let counts = |class: ClassNo| {
                    today.visible(viewer(self.caller), class, Purpose::Aggregate)
                        && today.tlp(class) != Tlp::Red
                };
                let by = fetch::sightings_by(self.shared, (handle, reporter), end, MAX_MET + 1, counts)?;
                *if by.is_empty() { &mut passed } else { &mut told } += 1;
                found.extend(by.into_iter().map(|at| (at, number)));
            }
        }
        found.sort_unstable_by_key(|&(at, _)| std::cmp::Reverse(at));
        let more = found.len() > MAX_MET;
        found.truncate(MAX_MET);
        let mut met = Vec::with_capacity(found.len());
        for (at, number) in found {
            if let Some(known) = known.get(number) {
                met.extend(self.one(at, known)?);
            }
        }
        Ok((met, more))
    }

    /// One sighting; none if it is of another record, which has the same term
    /// by chance.
    fn one(self, at: Position, known: &Known) -> Result<Option<Met>, Error> {
        let Some((header, body)) = fetch::kept(self.shared, at)? else { return Ok(None) };
        let today = self.shared.directory.load();
        let viewer = viewer(self.caller);
        let counts =
            today.visible(viewer, header.class, Purpose::Aggregate) && today.tlp(header.class) != Tlp::Red;
        if header.op != Op::Sight || header.previous != known.assertion.handle || !counts {
            return Ok(None);
        }
        let source = Source::of_sighting(&today, viewer, &header, known.assertion.class, Purpose::Aggregate);
        let shown = source.show_sighting(fetch::inner(&body, at)?).ok_or_else(|| damaged(at))?;
        let mut met = read::met(&shown).ok_or_else(|| damaged(at))?;
        let reporter = met.reporter.as_ref().and_then(|slug| today.roster().organisations.get(slug));
        met.reporter_kind = reporter.map(|organisation| organisation.kind.clone()).unwrap_or_default();
        Ok(Some(met))
    }
}
