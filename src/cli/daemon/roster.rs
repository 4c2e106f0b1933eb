//! Decides how the operator of the hub's machine agrees to changes of the
//! roster, as the second person where there is no other operator.

use super::super::output::{self, Data};
use super::{Failure, Place, RosterAction};
use crate::admin::{self, RosterAnswer, RosterRequest};

pub(super) fn run(place: &Place, action: RosterAction, data: &mut Data) -> Result<(), Failure> {
    let request = match action {
        RosterAction::Pending => RosterRequest::Pending,
        RosterAction::Approve { id } => RosterRequest::Approve { id },
        RosterAction::Reject { id } => RosterRequest::Reject { id },
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::Io(format!("cannot start: {error}")))?;
    let asked = runtime.block_on(admin::ask_roster(&place.admin_socket, &request));
    match asked.map_err(|error| Failure::TryLater(error.to_string()))? {
        RosterAnswer::Pending { changes } => {
            if changes.is_empty() {
                output::talk("no change waits");
            }
            for change in changes {
                data.line(&format!("{}  by {}  until {}", change.id, change.author, change.expires))?;
                for line in change.differences {
                    data.line(&format!("  {line}"))?;
                }
            }
            Ok(())
        }
        RosterAnswer::Done { differences } => {
            for line in differences {
                data.line(&line)?;
            }
            Ok(())
        }
        RosterAnswer::Refused { problem } => Err(Failure::Input(problem)),
    }
}
