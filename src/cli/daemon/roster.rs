//! Decides how the operator of the hub's machine agrees to changes of the
//! roster, as the second person where there is no other operator.

use super::super::changes::{self, Waiting};
use super::super::output::Data;
use super::{Failure, Place, RosterAction};
use crate::admin::{self, RosterAnswer, RosterRequest};

pub(super) fn run(place: &Place, action: RosterAction, data: &mut Data) -> Result<(), Failure> {
    match action {
        RosterAction::Pending => Ok(changes::list(&pending(place)?, data)?),
        RosterAction::Approve { id } => {
            let differences = decide(place, &RosterRequest::Approve { id: named(place, &id)? })?;
            Ok(changes::approved(&differences, data)?)
        }
        RosterAction::Reject { id } => {
            decide(place, &RosterRequest::Reject { id: named(place, &id)? })?;
            changes::rejected();
            Ok(())
        }
    }
}

/// The whole id of the change that is meant.
fn named(place: &Place, id: &str) -> Result<String, Failure> {
    match changes::whole(id) {
        Some(id) => Ok(id),
        None => changes::chosen(&pending(place)?, id).map_err(Failure::NoInput),
    }
}

fn pending(place: &Place) -> Result<Vec<Waiting>, Failure> {
    match ask(place, &RosterRequest::Pending)? {
        RosterAnswer::Pending { changes } => Ok(changes.into_iter().map(Waiting::from).collect()),
        RosterAnswer::Done { .. } => Err(misfit()),
        RosterAnswer::Refused { problem } => Err(Failure::Input(problem)),
    }
}

fn decide(place: &Place, request: &RosterRequest) -> Result<Vec<String>, Failure> {
    match ask(place, request)? {
        RosterAnswer::Done { differences } => Ok(differences),
        RosterAnswer::Pending { .. } => Err(misfit()),
        RosterAnswer::Refused { problem } => Err(Failure::Input(problem)),
    }
}

fn misfit() -> Failure {
    Failure::Input("the hub answered another question; it is of another release than this program".to_owned())
}

fn ask(place: &Place, request: &RosterRequest) -> Result<RosterAnswer, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::Io(format!("cannot start: {error}")))?;
    let asked = runtime.block_on(admin::ask_roster(&place.admin_socket, request));
    asked.map_err(|error| Failure::TryLater(error.to_string()))
}

impl From<admin::WaitingChange> for Waiting {
    fn from(change: admin::WaitingChange) -> Self {
        let admin::WaitingChange { id, author, proposed, expires, outdated, differences, approvals } = change;
        Self { id, author, proposed, expires, outdated, differences, approvals }
    }
}
