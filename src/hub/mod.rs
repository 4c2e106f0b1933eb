//! Decides what the hub knows and who hears of it: the engine. One file per
//! noun; no transport type in any signature.
//!
//! * [`apply`] decides what an entry does over what a [`group`] sees, [`writer`] in what
//!   order;
//! * [`directory`] and [`rosters`] say who is who, and was, [`organisations`] tells it; [`mod@roster`] changes it, once two
//!   agree where it takes two;
//! * [`select`] says who is sent what, [`source`] who learns from whom it is;
//! * [`publish`], [`revoke`], [`sighting`] bring entries to the writer, [`asked`] on whose behalf,
//!   and [`mod@expire`] what ends by itself; [`owed`] is what the hub tells owners by itself;
//! * [`republication`] asks owners for leave; [`held`] has a second person answer what lists hold back; [`mod@containment`] holds an indicator for a day;
//! * [`republication`] asks owners for leave; [`assets`] are what organisations call their own, [`own`] along the log;
//! * [`fetch`] (with what was `reported`), [`list`], [`aggregate`], [`mod@export`], [`lookup`] (past [`membership`]) and `explain` ask, `past`, [`versions`] and
//!   [`dossier`] what was and what is known; [`subscribe`], [`pump`] and [`look`] follow;
//! * [`mod@audit`] keeps who called what, [`receipts`] who was given what;
//! * `secrecy` refuses what looks like a state secret, [`lists`] are loaded, [`judged`] is what they make of values;
//! * [`room`], [`lanes`] and [`space`] decide when writing must wait and in which order, [`budget`] who has asked enough;
//! * [`certificates`] and `issuing` ask for certificates and give them, [`revoking`] takes them;
//! * [`indexer`] follows the log and makes it found by its [`facets`];
//! * [`retention`] keeps less of the past;
//! * [`merger`], [`mod@verify`] and [`backup`] look after what is stored, [`archive`] encrypts a
//!   backup, [`rest`] looks at it.

mod admission;
mod agenda;
pub mod aggregate;
mod amend;
mod answered;
pub mod apply;
pub mod archive;
mod ask;
pub mod asked;
mod asset;
pub mod assets;
pub mod attempts;
pub mod audit;
pub mod backup;
mod beside;
pub mod budget;
pub mod caller;
pub mod certificates;
mod certify;
mod changing;
mod compare;
mod containing;
pub mod containment;
pub mod cursors;
pub mod decision;
pub mod directory;
pub mod dossier;
pub mod engine;
pub mod error;
pub mod expire;
mod explain;
pub mod export;
pub mod facets;
pub mod fetch;
pub mod genesis;
pub mod group;
pub mod held;
mod holding;
pub mod indexer;
mod issuing;
pub mod judged;
pub mod lanes;
mod leave;
pub mod list;
pub mod lists;
mod look;
pub mod lookup;
pub mod membership;
pub mod merger;
mod notice;
pub mod organisations;
pub mod owed;
mod own;
mod past;
pub mod proposal;
pub mod publish;
mod pump;
pub mod query;
mod recall;
pub mod receipts;
mod recovery;
pub mod rejection;
pub mod replaced;
mod reported;
pub mod republication;
pub mod rest;
pub mod retention;
pub mod revoke;
pub mod revoking;
pub mod room;
pub mod roster;
pub mod rosters;
mod rotation;
mod secrecy;
mod seen;
pub mod select;
pub mod shared;
mod shown;
pub mod sighted;
pub mod sighting;
pub mod source;
pub mod space;
mod stored;
pub mod subscribe;
pub mod tail;
#[cfg(test)]
mod testing;
pub mod totals;
pub mod usage;
pub mod verify;
pub mod versions;
mod walk;
pub mod work;
pub mod writer;
mod writing;

pub use crate::model::certificate::Peers;
pub use admission::{is_monitor, monitor};
pub use asked::Asked;
pub use assets::{AssetView, AssetsView};
pub use audit::{AuditExport, AuditPage, AuditView, Sought};
pub use backup::{BackupReport, RepairReport, RestoreReport, repair_tail, restore};
pub use budget::{Account, Allowance, OpenStream};
pub use caller::{Caller, PeerCertificate};
pub use certificates::{CertificateView, Issuance, Operator, TokenView};
pub use dossier::Dossier;
pub use engine::{Hub, Options, Statistics};
pub use error::Error;
pub use expire::Expired;
pub use export::{Closing, Export, Exported, Opening, Wanted};
pub use fetch::Found;
pub use held::HeldPage;
pub use issuing::{Issued, Renewal};
pub use list::Page;
pub use lookup::{Match, WideMatches, WiderMatch};
pub use organisations::OrganisationView;
pub use publish::{Effect, Published};
pub use pump::{Command, Pump};
pub use receipts::{Holder, Recall, Received, Recipient, RecipientPage};
pub use recovery::Learnt;
pub use rejection::Rejection;
pub use republication::LeavePage;
pub use retention::{Forecast, forecast};
pub use revoking::{Revocation, Switchboard};
pub use roster::{Amended, Comparison, RosterView, Second, Waiting};
pub use rotation::{InForce, RotationView, StepAsked, StepDone, StepKind};
pub use sighting::SightingName;
pub use subscribe::{Open, Opened, Start, SubscriptionRecord};
pub use verify::{VerifyReport, verify, verify_in};
pub use versions::{VersionPage, VersionView};

/// What a failure of the store means for a caller.
fn store_error(error: crate::store::Error) -> Error {
    use crate::store::Error as Store;
    match &error {
        Store::Corrupt { .. } | Store::DamagedTail { .. } => {
            Error::new(error::Reason::DataCorrupt, "stored data is damaged; the hub's operator must act")
                .with_source(error)
        }
        _ => Error::internal(error),
    }
}
