//! Decides how a batch of values is looked up: each under its own value, a file
//! under each of its hashes, and what was refused in its place.

use crate::hub::error::Error;
use crate::hub::{self, Caller, Hub, WideMatches, WiderMatch};
use crate::model::Invalid;
use crate::model::indicator::Observable;
use crate::model::indicator::wider::Relation;
use crate::wire::convert::{batch, lookup as convert, name, observable};
use crate::wire::proto::v1;

use super::exchange::check_batch;
use super::status;

/// Answers one request of a stream.
pub(super) async fn lookup(
    hub: &Hub,
    caller: &Caller,
    request: v1::LookupObservablesRequest,
) -> Result<v1::LookupObservablesResponse, Error> {
    let size = prost::Message::encoded_len(&request);
    let v1::LookupObservablesRequest { observables, scope } = request;
    check_batch("observables", observables.len(), size)?;
    let wide = convert::read_scope("scope", scope)?;
    caller.trail().asked(observables.len());
    // A file is asked for under each of its hashes: one item, several values.
    let mut values = Vec::with_capacity(observables.len());
    let read: Vec<_> = observables
        .into_iter()
        .map(|pb| {
            let observable::Read { observable, aliases, raw: _ } = observable::read(Some(pb))?;
            let before = values.len();
            values.push(observable);
            values.extend(aliases);
            Ok(values.len() - before)
        })
        .collect();
    hub.note_values(caller, &values);
    let found = in_steps(hub, caller, values, wide).await?;
    let matches = found.iter().flat_map(|of| of.exact.iter().chain(of.wider.iter().map(|wide| &wide.found)));
    matches.for_each(|&hub::Match { record: (handle, position), .. }| caller.trail().told(handle, position));
    let mut found = found.into_iter();
    let results: Vec<_> = read
        .into_iter()
        .enumerate()
        .map(|(i, item): (usize, Result<usize, Invalid>)| match item {
            Ok(values) => result(found.by_ref().take(values)),
            Err(refused) => {
                let rejected = status::rejection(format_args!("observables[{i}]"), refused.into());
                v1::LookupResult { rejected: Some(rejected), ..v1::LookupResult::default() }
            }
        })
        .collect();
    let known = results.iter().filter(|result: &&v1::LookupResult| !result.matches.is_empty()).count();
    let refused = results.iter().filter(|result| result.rejected.is_some()).count();
    caller.trail().given(known, refused);
    Ok(v1::LookupObservablesResponse { results })
}

/// Looks values up, in several steps if the hashes of files made them many.
async fn in_steps(
    hub: &Hub,
    caller: &Caller,
    mut rest: Vec<Observable>,
    wide: bool,
) -> Result<Vec<WideMatches>, Error> {
    let mut found = Vec::with_capacity(rest.len());
    while !rest.is_empty() {
        let further = rest.split_off(rest.len().min(batch::MAX_ITEMS));
        let values = std::mem::replace(&mut rest, further);
        if wide {
            found.extend(hub.lookup_wide(caller, values).await?);
        } else {
            let exact = hub.lookup(caller, values).await?.into_iter();
            found.extend(exact.map(|exact| WideMatches { exact, ..WideMatches::default() }));
        }
    }
    Ok(found)
}

/// What is known of one item, which may be several values.
fn result(found: impl Iterator<Item = WideMatches>) -> v1::LookupResult {
    let mut result = v1::LookupResult::default();
    for WideMatches { exact, wider, truncated } in found {
        let before = result.matches.len();
        for found in exact {
            // Several hashes of one file meet the same indicator.
            let name = name::indicator(found.id);
            if !result.matches.iter().take(before).any(|known| known.name == name) {
                result.matches.push(told(name, found, Relation::Exact));
            }
        }
        result.matches.extend(wider.into_iter().map(|WiderMatch { relation, value, found }| {
            v1::LookupMatch {
                matched: Some(convert::observable(&value)),
                ..told(name::indicator(found.id), found, relation)
            }
        }));
        result.truncated |= truncated;
    }
    result
}

fn told(name: String, found: hub::Match, relation: Relation) -> v1::LookupMatch {
    v1::LookupMatch {
        name,
        owner: found.owner.as_ref().map(name::organisation).unwrap_or_default(),
        state: i32::from(found.state.number()),
        relation: i32::from(relation.number()),
        matched: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::indicator::State;
    use crate::model::org::OrgSlug;

    #[test]
    fn an_indicator_that_two_hashes_of_a_file_meet_is_shown_once() {
        let found = |id| hub::Match {
            id: uuid::Uuid::from_u128(id),
            owner: OrgSlug::parse("a").ok(),
            state: State::Revoked,
            record: Default::default(),
        };
        let hashes = [vec![found(1), found(2)], vec![found(1)]];
        let exact = hashes.map(|exact| WideMatches { exact, ..WideMatches::default() });
        let result = result(exact.into_iter());
        let names: Vec<_> = result.matches.iter().map(|m| m.name.as_str()).collect();
        assert_eq!(
            names,
            [name::indicator(uuid::Uuid::from_u128(1)), name::indicator(uuid::Uuid::from_u128(2))]
        );
        assert!(result.matches.iter().all(|m| m.owner == "organisations/a" && m.state == 2));
    }
}
