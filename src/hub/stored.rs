//! Decides whose items are refused because their owner has stored as much as it
//! may: what is in the log of it, as far as it is counted, against its limit.
//! What is refused keeps its place, and what takes back or ends goes on.

use crate::model::org::OrgNo;
use crate::store::db;

use super::directory::Directory;
use super::proposal::{
    Change, ProposedAssets, ProposedIndicator, ProposedPublication, ProposedSighting, Refusal,
};
use super::shared::Shared;

/// The change without what is too much; `None`: all of it may stand.
pub(super) fn within(
    shared: &Shared,
    directory: &Directory,
    change: &Change,
) -> Result<Option<Change>, db::Error> {
    if !shared.budgets.limits_stored() {
        return Ok(None);
    }
    let over = |owners: Vec<OrgNo>| over(shared, directory, owners);
    let refused = Refusal::TooMuchStored;
    match change {
        Change::Publish(ProposedPublication { items, judged: lists }) => {
            let over = over(items.iter().flatten().map(|item| item.owner).collect())?;
            let judged = |item: &Result<ProposedIndicator, Refusal>| match item {
                Ok(item) if over.contains(&item.owner) => Err(refused),
                other => other.clone(),
            };
            let without =
                || ProposedPublication { items: items.iter().map(judged).collect(), judged: lists.clone() };
            Ok((!over.is_empty()).then(|| Change::Publish(without())))
        }
        Change::Sight(items) => {
            let over = over(items.iter().flatten().map(|item| item.reporter).collect())?;
            let judged = |item: &Result<ProposedSighting, Refusal>| match item {
                Ok(item) if over.contains(&item.reporter) => Err(refused),
                other => other.clone(),
            };
            Ok((!over.is_empty()).then(|| Change::Sight(items.iter().map(judged).collect())))
        }
        Change::Assets(asked) if !asked.change.add.is_empty() => {
            let over = over(vec![asked.organisation])?;
            let without = || ProposedAssets { is_too_much: true, ..asked.as_ref().clone() };
            Ok((!over.is_empty()).then(|| Change::Assets(Box::new(without()))))
        }
        _ => Ok(None),
    }
}

/// Those of `owners` who may store no more.
fn over(shared: &Shared, directory: &Directory, mut owners: Vec<OrgNo>) -> Result<Vec<OrgNo>, db::Error> {
    owners.sort_unstable();
    owners.dedup();
    let taken = shared.store.usage()?.bytes;
    owners.retain(|owner| {
        let Some(slug) = directory.slug(*owner) else { return false };
        let most = shared.budgets.stored(slug);
        let is_over = most.is_some_and(|most| taken.get(owner).copied().unwrap_or_default() >= most);
        if is_over {
            shared.budgets.refused_to_store(slug);
        }
        is_over
    });
    Ok(owners)
}
