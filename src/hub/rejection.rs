//! Decides what a publisher is told of an item for which nothing was stored.

use crate::model::marking::{Recipient, Recipients};
use crate::model::warninglist::{Finding, ListName};
use crate::model::{Invalid, invalid};

use super::containing;
use super::error::Reason;
use super::proposal::Refusal;
use super::publish::MAX_CLASSES_PER_OWNER;

const GUARDED: &str =
    "lists of this hub let nobody publish the value; ask its operator where a list is wrong";

/// Why nothing was stored for an item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// The stable cause.
    pub reason: Reason,
    /// Path of the field, as the item spells it; empty for the whole item.
    pub field: String,
    /// What is wrong and what would be right.
    pub problem: String,
}

impl From<Invalid> for Rejection {
    fn from(invalid: Invalid) -> Self {
        Self { reason: invalid.reason.into(), field: invalid.field, problem: invalid.problem }
    }
}

impl Rejection {
    /// Why an item with these recipients was refused.
    pub(super) fn refused(refusal: Refusal, recipients: &Recipients) -> Self {
        let (reason, problem) = match refusal {
            Refusal::Revoked => (
                Reason::IndicatorRevoked,
                "your organisation revoked this value; publish it with `reinstate` and a reason to bring it back",
            ),
            Refusal::Conflict => (
                Reason::IdentityConflict,
                "the hashes name two indicators of your organisation; publish each with its own hashes, or first publish without a shared hash the one that has it",
            ),
            // Of the ledger alone, which tells it in its own words.
            Refusal::Absent | Refusal::Ledger(_) => {
                (Reason::NotFound, "there is no such indicator, or you may not see it")
            }
            Refusal::Stale => {
                (Reason::EtagMismatch, "another version stands by now; read it and decide again")
            }
            Refusal::TooManyClasses => {
                return Self {
                    reason: Reason::RateLimited,
                    field: "marking".to_owned(),
                    problem: format!(
                        "the owner has used {MAX_CLASSES_PER_OWNER} different audiences; address one of those"
                    ),
                };
            }
            Refusal::TooMuchStored => (
                Reason::RateLimited,
                "the owner has stored as much as the hub's configuration allows it; ask the hub's operator for more",
            ),
            Refusal::TooWide => {
                return Self::from(Invalid::new(
                    "marking",
                    "wider than the indicator's, which is not yours to widen; leave it out to tell the indicator's owner alone",
                ));
            }
            Refusal::NotDelegated => (
                Reason::DelegationMissing,
                "your organisation does not act for the one that it names, or there is none of that name",
            ),
            Refusal::TooManyPending => (Reason::RateLimited, "too many changes of the roster wait"),
            Refusal::NoLeave => (
                Reason::RepublicationWithoutLeave,
                "its owner gave your organisation no leave that holds, or revoked it; ask with `luytre leave ask`",
            ),
            Refusal::WiderThanLeave => (
                Reason::RepublicationTooWide,
                "this would reach further than its owner's leave, which `luytre leave list` shows; narrow the marking, or ask for more",
            ),
            Refusal::Ended => (
                Reason::IndicatorRevoked,
                "its owner has revoked the indicator, so there is nothing to republish",
            ),
            Refusal::NobodyDecides => (
                Reason::RepublicationWithoutLeave,
                "its owner has ended, and nobody follows it who could give leave",
            ),
            Refusal::TooManyAsked => (
                Reason::RateLimited,
                "too many requests wait for answers, of yours (at most 128) or of your organisation (at most 256); give up some with `luytre leave withdraw`",
            ),
            Refusal::TooManyAssets => (
                Reason::RateLimited,
                "an organisation's list holds at most 4,096 assets, inherited ones that it removed among them; register networks and domains as a whole, and remove what lies in them",
            ),
            Refusal::NoOriginal => {
                let problem = "there is no such indicator, or you may not see it".to_owned();
                return Self { reason: Reason::NotFound, field: "republication_of".to_owned(), problem };
            }
            Refusal::NotAnothers => {
                return Self::from(Invalid::new(
                    "republication_of",
                    "names an indicator of another organisation, of this very value; your own are yours to mark as you like",
                ));
            }
            Refusal::NotReached => {
                return Self::from(Invalid::new(
                    "organisation",
                    "may not see the indicator; let it by the indicator's marking first",
                ));
            }
            Refusal::Past => {
                return Self::from(Invalid::new(
                    "expire_time",
                    "must be later than now; leave it out for leave without end",
                ));
            }
            Refusal::TooManyHeld => (
                Reason::RateLimited,
                "too much waits for a second person, of yours (at most 128) or of the owner (at most 256); have some of it answered: `luytre held list --waiting`",
            ),
            Refusal::SecondPerson => (
                Reason::SecondPersonRequired,
                "you published this yourself; it takes another person to let it out, or to refuse it",
            ),
            Refusal::NotDecider => (
                Reason::RoleInsufficient,
                "your organisation does not decide about this; `luytre held list` shows who does, and whether anybody leads today who could",
            ),
            Refusal::NotLead => (
                Reason::RoleInsufficient,
                "only an organisation that leads today holds what is within its audience, and releases it",
            ),
            Refusal::HeldBefore => (
                Reason::IndicatorHeld,
                "this version was held before, for as long as it may be; talk to its owner, who can revoke it",
            ),
            Refusal::TooManyHolds => {
                (Reason::RateLimited, "too many indicators are held; release some first")
            }
            Refusal::Contained(minutes) => {
                return Self {
                    reason: Reason::IndicatorHeld,
                    field: String::new(),
                    problem: format!(
                        "the unit that leads holds this indicator, until {} at the latest; revoke it, or publish again once it is released",
                        containing::ends(minutes)
                    ),
                };
            }
            // Told with the lists, by `guarded`.
            Refusal::Guarded => (Reason::GuardRefused, GUARDED),
            Refusal::UnknownRecipient(place) => {
                return Self::unknown(recipients.iter().nth(place as usize));
            }
        };
        Self { reason, field: String::new(), problem: problem.to_owned() }
    }

    /// The refusal of a value that lists let nobody publish.
    pub(super) fn guarded(found: Option<Finding>) -> Self {
        let lists = found.map(|found| found.lists).unwrap_or_default();
        let told = |list: &ListName| format!("{} ({}, version {})", list.slug, list.name, list.version);
        let lists: Vec<_> = lists.iter().map(told).collect();
        let problem = match lists.as_slice() {
            [] => GUARDED.to_owned(),
            lists => format!("{GUARDED}: {}", lists.join("; ")),
        };
        Self { reason: Reason::GuardRefused, field: "observable".to_owned(), problem }
    }

    /// The refusal of one whom the roster does not know. That a person is
    /// unknown may be told: only who knows an identity can ask after it, and
    /// the answer does not depend on whose it would be.
    fn unknown(recipient: Option<Recipient<'_>>) -> Self {
        let (reason, field, problem) = match recipient {
            None => (
                invalid::Reason::OrganisationUnknown,
                "marking",
                "it names one who is not in the hub's roster".to_owned(),
            ),
            Some(Recipient::Organisation(slug)) => (
                invalid::Reason::OrganisationUnknown,
                "marking.organisations",
                format!(
                    "{slug} is not in the hub's roster, or has ended and nobody succeeds it; `luytre organisations` shows who takes part"
                ),
            ),
            Some(Recipient::Group(slug)) => (
                invalid::Reason::GroupUnknown,
                "marking.groups",
                format!("{slug} is no group of the hub's roster; name its organisations instead"),
            ),
            Some(Recipient::Principal(id)) => (
                invalid::Reason::PersonUnknown,
                "marking.principals",
                format!(
                    "{id} is nobody whom the hub's roster knows; ask the person for the identity that `luytre whoami` shows"
                ),
            ),
        };
        Self { reason: reason.into(), field: field.to_owned(), problem }
    }
}
