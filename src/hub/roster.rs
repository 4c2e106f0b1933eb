//! Decides how who takes part is changed: by an entry of the log, so that
//! every change has its place among what was published.

use time::Date;
use uuid::Uuid;

use crate::base::{digest, random};
use crate::model::roster::Patch;
use crate::store::requests;
use crate::store::roster::encode_change;

use super::caller::Caller;
use super::engine::Hub;
use super::error::Error;
use super::proposal::{Change, Proposal, RosterChange};

impl Hub {
    /// Changes who takes part. Who may ask for it is the method table's to
    /// say.
    ///
    /// # Errors
    /// `DUPLICATE_REQUEST_ID`, `STORE_READ_ONLY`, `DRAINING`,
    /// `CERTIFICATE_REVOKED`.
    pub async fn change_roster(&self, caller: &Caller, request_id: Uuid, patch: Patch) -> Result<(), Error> {
        let asked = prost::Message::encode_to_vec(&encode_change(&patch, Date::MIN));
        let date = self.now().day().max(self.shared.directory.load().date());
        let author = caller.clone();
        self.propose(|reply| Proposal {
            request: requests::request_key(author.identity().as_str(), request_id.as_bytes()),
            content: requests::first_16(&digest::sha256(&asked)),
            salt: random::bytes(),
            caller: Some(author),
            change: Change::Roster(Box::new(RosterChange { patch, date })),
            reply,
        })
        .await?;
        Ok(())
    }

    /// Lets a new day begin in the log, if on it, or on one before it that
    /// passed unseen, anybody's rights begin or end. Returns whether it did.
    ///
    /// # Errors
    /// `STORE_READ_ONLY`, `DRAINING`.
    pub async fn turn_day(&self) -> Result<bool, Error> {
        let today = self.now().day();
        {
            let directory = self.shared.directory.load();
            if today <= directory.date() || !directory.roster().turns(directory.date(), today) {
                return Ok(false);
            }
        }
        let change = RosterChange { patch: Patch::default(), date: today };
        self.propose(|reply| Proposal {
            request: random::bytes(),
            content: random::bytes(),
            salt: random::bytes(),
            caller: None,
            change: Change::Roster(Box::new(change)),
            reply,
        })
        .await?;
        Ok(true)
    }
}
