//! Decides what a change of an organisation's own assets does: deterministic, as
//! all of [`super::apply`].

use std::collections::BTreeMap;

use crate::model::asset::{self, Asset, MAX_ASSETS};
use crate::model::org::OrgNo;
use crate::model::principal::SpiffeId;
use crate::store::asset::{Record, decode_change};
use crate::store::proto::{self, entry_header::Change as Stored};
use crate::store::{Batch, db};

use super::apply::Entry;
use super::assets::etag;
use super::directory::Directory;
use super::group::{Group, resolved};
use super::proposal::{Change, Decision, ProposedAssets, Refusal};

/// What a commit group changes of what organisations call their own.
#[derive(Debug, Default)]
pub(super) struct Assets {
    /// As it was before the group, and as it is.
    changed: BTreeMap<OrgNo, (Record, Record)>,
}

impl Assets {
    pub(super) fn write_to(&self, batch: &mut Batch<'_>) -> Result<(), db::Error> {
        self.changed.iter().try_for_each(|(org, (before, after))| batch.assets(*org, before, after))
    }

    /// What was changed, as it is.
    pub(super) fn changed(&self) -> impl Iterator<Item = (OrgNo, &Record)> {
        self.changed.iter().map(|(org, (_, after))| (*org, after))
    }
}

/// Most assets that one organisation has from all that it follows; what those
/// registered beyond is watched for nobody else.
pub(super) const MAX_INHERITED: usize = 16_384;

/// What those registered that `org` follows, and from whom it has it.
pub(super) fn inherited<E>(
    directory: &Directory,
    org: OrgNo,
    own: impl FnMut(OrgNo) -> Result<Vec<Asset>, E>,
) -> Result<BTreeMap<Asset, OrgNo>, E> {
    of_each(directory.followed_by(org), own)
}

fn of_each<E>(
    all_followed: impl IntoIterator<Item = OrgNo>,
    mut own: impl FnMut(OrgNo) -> Result<Vec<Asset>, E>,
) -> Result<BTreeMap<Asset, OrgNo>, E> {
    let mut inherited = BTreeMap::new();
    for followed in all_followed {
        if inherited.len() >= MAX_INHERITED {
            break;
        }
        for asset in own(followed)? {
            if inherited.len() < MAX_INHERITED {
                inherited.entry(asset).or_insert(followed);
            }
        }
    }
    Ok(inherited)
}

impl Group<'_> {
    /// Applies an entry about assets; it is written if it changes any.
    pub(super) fn change_assets(
        &mut self,
        asked: &ProposedAssets,
        entry: &Entry<'_>,
    ) -> Result<Decision, db::Error> {
        let org = asked.organisation;
        let author = SpiffeId::parse(entry.author).ok();
        if author.is_none_or(|author| self.directory.number(author.org()) != Some(org)) {
            return Ok(Decision::Refused(Refusal::Absent));
        }
        if asked.is_too_much {
            return Ok(Decision::Refused(Refusal::TooMuchStored));
        }
        let stands = self.assets_of(org)?;
        let inherited = if asked.expected.is_some() || !asked.change.remove.is_empty() {
            inherited(&self.directory, org, |followed| self.own_of(followed))?
        } else {
            // What is added does not depend on it.
            BTreeMap::new()
        };
        let outdated = |expected: &String| *expected != etag(&self.directory, &stands.list, &inherited);
        if asked.expected.as_ref().is_some_and(outdated) {
            return Ok(Decision::Refused(Refusal::Stale));
        }
        let (at, changed) = (entry.seq.at(0), asked.change.of(&stands.list, &inherited));
        if changed.is_empty() {
            return Ok(Decision::Unchanged { handle: at, position: at, version: 0 });
        }
        let mut after = stands.clone();
        after.change(changed, at, entry.time);
        if after.list.len() > MAX_ASSETS.max(stands.list.len()) {
            return Ok(Decision::Refused(Refusal::TooManyAssets));
        }
        self.assets.changed.entry(org).or_insert_with(|| (stands, Record::default())).1 = after;
        Ok(resolved(at))
    }

    fn assets_of(&self, org: OrgNo) -> Result<Record, db::Error> {
        match self.assets.changed.get(&org) {
            Some((_, after)) => Ok(after.clone()),
            None => self.store.assets(org),
        }
    }

    /// What an organisation registered itself; how that stood is not read.
    fn own_of(&self, org: OrgNo) -> Result<Vec<Asset>, db::Error> {
        let stored;
        let list = match self.assets.changed.get(&org) {
            Some((_, after)) => &after.list,
            None => {
                stored = self.store.asset_list(org)?;
                &stored
            }
        };
        Ok(asset::own(list).cloned().collect())
    }
}

/// What an entry about assets asked for; `None`: it is about something else.
pub(super) fn stored(header: &proto::EntryHeader) -> Option<Result<Change, db::Error>> {
    let Stored::Assets(stored) = header.change.as_ref()? else { return None };
    let proposed = |(organisation, change)| {
        // It was as expected, or it would not have been written.
        Change::Assets(Box::new(ProposedAssets { organisation, change, expected: None, is_too_much: false }))
    };
    Some(decode_change(stored).map(proposed))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_inherited_is_bounded_and_the_same_each_time() {
        let own = |org: OrgNo| {
            let numbers = (org.0 * 10_000..).take(MAX_ASSETS);
            Ok::<_, std::convert::Infallible>(numbers.map(Asset::System).collect())
        };
        let followed = || (1..9).map(OrgNo);
        let Ok(all) = of_each(followed(), own);
        assert_eq!(all.len(), MAX_INHERITED);
        assert_eq!(all.values().max(), Some(&OrgNo(4)), "the first of them whole");
        assert_eq!(of_each(followed(), own), Ok(all));
    }
}
