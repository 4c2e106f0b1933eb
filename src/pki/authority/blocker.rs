//! Decides in which words a step of a rotation is refused: who or what stands
//! in the way, and what to do.

use std::collections::BTreeSet;
use std::fmt;

use super::Phase;
use crate::base::clock::Timestamp;
use crate::model::principal::SpiffeId;

/// Most identities that one message names: it has to fit into the trailers of an
/// answer. The verdict holds them all.
const MAX_NAMED: usize = 10;

/// One thing that stands in the way of a step. Names of authorities are common
/// names.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Blocker {
    /// There is a rotation already.
    #[error(
        "a rotation to {next} is {phase} already; finish it or roll it back before the next one is prepared"
    )]
    InProgress {
        /// How far it has come.
        phase: Phase,
        /// To which authority.
        next: String,
    },
    /// The step does not follow from this phase.
    #[error("{step} follows {after}, and the hierarchy is {phase}; no phase can be skipped")]
    Phase {
        /// The step.
        step: &'static str,
        /// The phase in which it can be taken.
        after: &'static str,
        /// The phase that holds.
        phase: Phase,
    },
    /// There is nothing to switch for agencies' certificates.
    #[error("switch is a step of the server hierarchy alone; here, taint follows active")]
    Hierarchy,
    /// Another authority was named than the next one.
    #[error("the authority named is not the one that was prepared, {next}; look at that one and name it")]
    OtherAuthority {
        /// The one that was prepared.
        next: String,
    },
    /// The distinguished name was used before.
    #[error(
        "the distinguished name of {authority} is or was in use; make an authority with a name of its own (`luytre pki issuing`)"
    )]
    NameUsed {
        /// The one that would be prepared.
        authority: String,
    },
    /// The key was used before.
    #[error(
        "the key of {authority} is or was in use; make an authority with a new key (`luytre pki issuing`)"
    )]
    KeyUsed {
        /// The one that would be prepared.
        authority: String,
    },
    /// The subject key identifier is that of the other generation.
    #[error(
        "{authority} has the subject key identifier of {other}; make an authority with one of its own (`luytre pki issuing`)"
    )]
    KeyIdentifierUsed {
        /// The one that would be prepared.
        authority: String,
        /// The one in use.
        other: String,
    },
    /// Too many generations for what is kept of them.
    #[error("this hierarchy has had its {max} generations; begin a new one with new roots")]
    Generations {
        /// How many there can be.
        max: usize,
    },
    /// An authority's validity lies ahead.
    #[error("{authority} is valid only from {not_before}; wait, or check this machine's clock")]
    NotYetValid {
        /// Which.
        authority: String,
        /// Start of its validity.
        not_before: Timestamp,
    },
    /// An authority's validity is over.
    #[error("{authority} expired at {not_after}; it can sign nothing and nothing of it is taken")]
    Expired {
        /// Which.
        authority: String,
        /// End of its validity.
        not_after: Timestamp,
    },
    /// An authority ends too soon for the certificates that it would sign.
    #[error("{authority} ends at {not_after}, and must last until {needed}; make one that lasts longer")]
    TooShort {
        /// Which.
        authority: String,
        /// End of its validity.
        not_after: Timestamp,
        /// How long it must last.
        needed: Timestamp,
    },
    /// The signer cannot sign for an authority.
    #[error(
        "the signer does not hold a working key of {authority}; put the encrypted key in its directory and restart it"
    )]
    Key {
        /// Which.
        authority: String,
    },
    /// A trusted authority without a current list would refuse all its clients.
    #[error(
        "{authority} has no current revocation list, and all its clients would be refused; see why the signer signs none"
    )]
    RevocationList {
        /// Which.
        authority: String,
    },
    /// Nothing could be restored.
    #[error("there is no backup of the signer and of the hub as they are now; make one (`luytred backup`)")]
    Backup,
    /// Systems that may not trust the next authority.
    #[error(
        "{} proved that they trust {authority}: {}; let them fetch the trust bundle and connect, or revoke their certificates", Count(.systems, "system has not", "systems have not"), Names(.systems)
    )]
    Unproved {
        /// The next authority.
        authority: String,
        /// Who.
        systems: BTreeSet<SpiffeId>,
    },
    /// The next authority has not been trusted for long enough.
    #[error("{authority} has to be trusted for a while before it signs; wait until {until}")]
    Soaking {
        /// The next authority.
        authority: String,
        /// Until when.
        until: Timestamp,
    },
    /// No certificate of the next authority ever worked.
    #[error(
        "no test certificate of {authority} has connected to this hub from end to end; see the hub's log"
    )]
    Untested {
        /// The next authority.
        authority: String,
    },
    /// The hub has nothing to show.
    #[error("the hub has no certificate of {authority} to show; let the signer issue one")]
    HubLeafMissing {
        /// Which.
        authority: String,
    },
    /// The hub shows a certificate of the authority that would go.
    #[error(
        "the certificate that this hub shows is of {authority}; let it show one of the next authority first"
    )]
    HubLeaf {
        /// The authority that would go.
        authority: String,
    },
    /// The operator would lock himself out.
    #[error(
        "your own certificate is of {authority}; renew it and use the new one, or work at the hub's admin socket"
    )]
    Operator {
        /// The authority that would go.
        authority: String,
    },
    /// Certificates that would no longer be taken.
    #[error(
        "{} of {authority} in use: {}; wait until they renewed, revoke them, or accept cutting off exactly those that the dry run lists", Count(.holders, "system has a certificate", "systems have certificates"), Names(.holders)
    )]
    Leaves {
        /// The authority that would go.
        authority: String,
        /// Whose.
        holders: BTreeSet<SpiffeId>,
    },
    /// Connections that would be ended.
    #[error(
        "{} open under {authority}: {}; wait until they reconnect, sever them, or accept cutting off exactly those that the dry run lists", Count(.holders, "system has a connection", "systems have connections"), Names(.holders)
    )]
    Connections {
        /// The authority that would go.
        authority: String,
        /// Whose.
        holders: BTreeSet<SpiffeId>,
    },
    /// Others would be cut off than those who were named.
    #[error(
        "those accepted to be cut off are not those who would be; not accepted: {}; not cut off: {}; look at the dry run again", Names(.missing), Names(.surplus)
    )]
    Acceptance {
        /// Who would be cut off and was not named.
        missing: BTreeSet<SpiffeId>,
        /// Who was named and would not be cut off.
        surplus: BTreeSet<SpiffeId>,
    },
}

/// How many, in words that agree with the number.
struct Count<'a>(&'a BTreeSet<SpiffeId>, &'static str, &'static str);

impl fmt::Display for Count<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.0.len();
        write!(f, "{count} {}", if count == 1 { self.1 } else { self.2 })
    }
}

/// Who, up to a number that can still be read.
struct Names<'a>(&'a BTreeSet<SpiffeId>);

impl fmt::Display for Names<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("nobody");
        }
        for (at, name) in self.0.iter().take(MAX_NAMED).enumerate() {
            write!(f, "{}{name}", if at == 0 { "" } else { ", " })?;
        }
        match self.0.len().saturating_sub(MAX_NAMED) {
            0 => Ok(()),
            more => write!(f, " and {more} more"),
        }
    }
}
