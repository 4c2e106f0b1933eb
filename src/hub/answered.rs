//! Decides what is remembered of an answered request, and how its first answer
//! is given once more.

use crate::base::clock::Timestamp;
use crate::model::org::OrgNo;
use crate::pki::ledger;
use crate::store::chunk::Op;
use crate::store::requests::{self, ItemOutcome};
use crate::store::{db, proto};

use super::caller::Caller;
use super::group::{Group, resolved};
use super::proposal::{Change, Decision, Effect, Proposal, ProposedPublication, Refusal};

/// In the place of an organisation's number, which begin at 1, for what the machine's operator
/// asked.
const MACHINE: OrgNo = OrgNo(0);

/// What to remember of an answered request; nothing of the hub's own.
pub(super) fn record(proposal: &Proposal, decisions: &[Decision], now: Timestamp) -> Option<proto::Request> {
    let key = proposal.request?;
    Some(proto::Request {
        key: key.to_vec().into(),
        content: proposal.content.to_vec().into(),
        time: now.as_micros(),
        outcomes: requests::pack(&decisions.iter().map(outcome).collect::<Vec<_>>()),
        organisation: proposal.caller.as_ref().map_or(MACHINE, Caller::org).0,
        verdicts: match &proposal.change {
            Change::Publish(ProposedPublication { judged, .. }) => judged.verdicts.clone(),
            _ => None,
        },
    })
}

/// The first answer to a request, once more; of what was cut out since, that it
/// is not there. Nothing is done again for that: it might undo what followed.
pub(super) fn replay(
    known: &proto::Request,
    change: &Change,
    group: &Group<'_>,
) -> Result<Vec<Decision>, db::Error> {
    let outcomes =
        requests::unpack(&known.outcomes).ok_or_else(|| db::Error::corrupt("requests", known.time))?;
    const GONE: Decision = Decision::Refused(Refusal::Absent);
    let left = |position| -> Result<_, db::Error> {
        let header = group.kept(position)?.map(|standing| standing.header);
        Ok(header.filter(|header| header.op != Op::Born))
    };
    outcomes
        .into_iter()
        .map(|outcome| match outcome {
            ItemOutcome::Refused(number) => Ok(Decision::Refused(refusal(number))),
            ItemOutcome::Written(position)
                if matches!(
                    change,
                    Change::Roster(_)
                        | Change::Propose(_)
                        | Change::Reject(_)
                        | Change::Certificate(_)
                        | Change::Rotate(_)
                        | Change::Retain(_)
                        | Change::Assets(_)
                ) =>
            {
                Ok(resolved(position))
            }
            ItemOutcome::Written(position) => Ok(left(position)?.map_or(GONE, |header| Decision::Written {
                handle: header.handle,
                position,
                version: header.version,
                effect: Effect::from_op(header.op),
            })),
            // That list stands, or others since: there is nothing to be found.
            ItemOutcome::Unchanged(position) if matches!(change, Change::Assets(_)) => Ok(resolved(position)),
            ItemOutcome::Unchanged(position) => Ok(left(position)?.map_or(GONE, |header| {
                Decision::Unchanged { handle: header.handle, position, version: header.version }
            })),
        })
        .collect()
}

/// Numbers of the ledger's refusals begin here.
const LEDGER_FROM: u32 = 32;
/// Numbers of refusals from here on name the place of a recipient.
const UNKNOWN_RECIPIENTS_FROM: u32 = 256;
/// Numbers of refusals from here on say until when an indicator is held.
const CONTAINED_FROM: u32 = 1 << 24;

fn outcome(decision: &Decision) -> ItemOutcome {
    match *decision {
        Decision::Written { position, .. } => ItemOutcome::Written(position),
        Decision::Unchanged { position, .. } => ItemOutcome::Unchanged(position),
        Decision::Refused(refusal) => ItemOutcome::Refused(
            requests::REFUSALS_FROM
                + match refusal {
                    Refusal::Revoked => 0,
                    Refusal::Conflict => 1,
                    Refusal::Absent => 2,
                    Refusal::Stale => 3,
                    Refusal::TooManyClasses => 4,
                    Refusal::TooWide => 5,
                    Refusal::NotDelegated => 6,
                    Refusal::TooManyPending => 7,
                    Refusal::NoOriginal => 8,
                    Refusal::NotAnothers => 9,
                    Refusal::NoLeave => 10,
                    Refusal::WiderThanLeave => 11,
                    Refusal::Ended => 12,
                    Refusal::TooManyAsked => 13,
                    Refusal::NotReached => 14,
                    Refusal::Past => 15,
                    Refusal::NobodyDecides => 16,
                    Refusal::Guarded => 17,
                    Refusal::TooMuchStored => 18,
                    Refusal::TooManyHeld => 24,
                    Refusal::SecondPerson => 25,
                    Refusal::NotDecider => 26,
                    Refusal::NotLead => 27,
                    Refusal::HeldBefore => 28,
                    Refusal::TooManyHolds => 29,
                    Refusal::Contained(minutes) => minutes.saturating_add(CONTAINED_FROM),
                    Refusal::TooManyAssets => 30,
                    Refusal::Ledger(refusal) => LEDGER_FROM + refusal as u32,
                    Refusal::UnknownRecipient(place) => place.saturating_add(UNKNOWN_RECIPIENTS_FROM),
                },
        ),
    }
}

const fn refusal(number: u32) -> Refusal {
    match number.wrapping_sub(requests::REFUSALS_FROM) {
        0 => Refusal::Revoked,
        1 => Refusal::Conflict,
        3 => Refusal::Stale,
        4 => Refusal::TooManyClasses,
        5 => Refusal::TooWide,
        6 => Refusal::NotDelegated,
        7 => Refusal::TooManyPending,
        8 => Refusal::NoOriginal,
        9 => Refusal::NotAnothers,
        10 => Refusal::NoLeave,
        11 => Refusal::WiderThanLeave,
        12 => Refusal::Ended,
        13 => Refusal::TooManyAsked,
        14 => Refusal::NotReached,
        15 => Refusal::Past,
        16 => Refusal::NobodyDecides,
        17 => Refusal::Guarded,
        18 => Refusal::TooMuchStored,
        24 => Refusal::TooManyHeld,
        25 => Refusal::SecondPerson,
        26 => Refusal::NotDecider,
        27 => Refusal::NotLead,
        28 => Refusal::HeldBefore,
        29 => Refusal::TooManyHolds,
        30 => Refusal::TooManyAssets,
        LEDGER_FROM => Refusal::Ledger(ledger::Refusal::Absent),
        33 => Refusal::Ledger(ledger::Refusal::State),
        34 => Refusal::Ledger(ledger::Refusal::Expired),
        35 => Refusal::Ledger(ledger::Refusal::SecondPerson),
        36 => Refusal::Ledger(ledger::Refusal::TooMany),
        37 => Refusal::Ledger(ledger::Refusal::Reused),
        38 => Refusal::Ledger(ledger::Refusal::Stale),
        39 => Refusal::Ledger(ledger::Refusal::Early),
        number if number >= CONTAINED_FROM => Refusal::Contained(number - CONTAINED_FROM),
        number if number >= UNKNOWN_RECIPIENTS_FROM => {
            Refusal::UnknownRecipient(number - UNKNOWN_RECIPIENTS_FROM)
        }
        _ => Refusal::Absent,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_remembered_refusal_is_the_one_that_was_given() {
        for given in [
            Refusal::Revoked,
            Refusal::Conflict,
            Refusal::Absent,
            Refusal::Stale,
            Refusal::TooManyClasses,
            Refusal::TooWide,
            Refusal::NotDelegated,
            Refusal::TooManyPending,
            Refusal::NoOriginal,
            Refusal::NotAnothers,
            Refusal::NoLeave,
            Refusal::WiderThanLeave,
            Refusal::Ended,
            Refusal::TooManyAsked,
            Refusal::NotReached,
            Refusal::Past,
            Refusal::NobodyDecides,
            Refusal::Guarded,
            Refusal::TooMuchStored,
            Refusal::TooManyHeld,
            Refusal::SecondPerson,
            Refusal::NotDecider,
            Refusal::NotLead,
            Refusal::HeldBefore,
            Refusal::TooManyHolds,
            Refusal::Contained(29_900_000),
            Refusal::TooManyAssets,
            Refusal::Ledger(ledger::Refusal::Absent),
            Refusal::Ledger(ledger::Refusal::State),
            Refusal::Ledger(ledger::Refusal::Expired),
            Refusal::Ledger(ledger::Refusal::SecondPerson),
            Refusal::Ledger(ledger::Refusal::TooMany),
            Refusal::Ledger(ledger::Refusal::Reused),
            Refusal::Ledger(ledger::Refusal::Stale),
            Refusal::Ledger(ledger::Refusal::Early),
            Refusal::UnknownRecipient(0),
            Refusal::UnknownRecipient(255),
        ] {
            let ItemOutcome::Refused(number) = outcome(&Decision::Refused(given)) else { panic!("refused") };
            assert_eq!(refusal(number), given);
        }
    }
}
