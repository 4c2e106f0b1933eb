//! Decides how the machine's operator is the second person for a change of
//! the roster: whoever may open the hub's own socket.

use std::path::Path;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::base::tasks;
use crate::hub::{self, Hub, Second};

use super::operator::{Error, answer as write, ask};

/// What is asked about changes that wait.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum RosterRequest {
    /// Which there are.
    Pending,
    /// To carry one out.
    Approve {
        /// Which.
        id: String,
    },
    /// To drop one.
    Reject {
        /// Which.
        id: String,
    },
}

/// A change that waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WaitingChange {
    /// Its id.
    pub id: String,
    /// Who proposed it.
    pub author: String,
    /// When.
    pub proposed: String,
    /// Until when it waits.
    pub expires: String,
    /// Whether the roster has changed since, so that it can only be dropped.
    pub outdated: bool,
    /// What it would change, in words.
    pub differences: Vec<String>,
    /// What of it one person alone cannot do, in words.
    pub approvals: Vec<String>,
}

/// What comes back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RosterAnswer {
    /// These wait.
    Pending {
        /// Oldest first.
        changes: Vec<WaitingChange>,
    },
    /// It is done.
    Done {
        /// What changed, in words.
        differences: Vec<String>,
    },
    /// It is not, and why.
    Refused {
        /// What is wrong, with what to do.
        problem: String,
    },
}

/// Answers a request about changes that wait.
pub(super) async fn answer(State(hub): State<Arc<Hub>>, body: Bytes) -> Response {
    let Ok(request) = serde_json::from_slice::<RosterRequest>(&body) else {
        let problem = "send \"pending\", {\"approve\": {\"id\": …}} or {\"reject\": {\"id\": …}}".to_owned();
        return write(StatusCode::BAD_REQUEST, &RosterAnswer::Refused { problem });
    };
    tracing::info!(?request, "the machine's operator on changes of the roster");
    let decided = match request {
        RosterRequest::Pending => pending(hub).await,
        RosterRequest::Approve { id } => match read(&id) {
            Ok(id) => hub.approve_change(Second::Machine, id).await.map(|done| done.differences),
            Err(error) => Err(error),
        }
        .map(|differences| RosterAnswer::Done { differences }),
        RosterRequest::Reject { id } => match read(&id) {
            Ok(id) => hub.reject_change(Second::Machine, id, String::new()).await,
            Err(error) => Err(error),
        }
        .map(|()| RosterAnswer::Done { differences: Vec::new() }),
    };
    match decided {
        Ok(done) => write(StatusCode::OK, &done),
        // Who can open this socket is the machine's operator, for whom
        // nothing is hidden.
        Err(error) => write(StatusCode::CONFLICT, &RosterAnswer::Refused { problem: error.to_string() }),
    }
}

fn read(id: &str) -> Result<Uuid, hub::Error> {
    let id = id.strip_prefix("pendingChanges/").unwrap_or(id);
    Uuid::try_parse(id).map_err(|_| hub::Error::absent())
}

async fn pending(hub: Arc<Hub>) -> Result<RosterAnswer, hub::Error> {
    let waiting = tasks::spawn_blocking(move || hub.pending_changes()).await.map_err(hub::Error::internal)?;
    let changes = waiting.into_iter().map(|change| WaitingChange {
        id: change.id.to_string(),
        author: change.author,
        proposed: change.proposed.to_string(),
        expires: change.expires.to_string(),
        outdated: change.outdated,
        differences: change.comparison.differences,
        approvals: change.comparison.by_two,
    });
    Ok(RosterAnswer::Pending { changes: changes.collect() })
}

/// Asks the hub that listens on `socket` about changes that wait.
///
/// # Errors
/// [`Error::Nobody`] if none listens there; else what went wrong on the way.
pub async fn ask_roster(socket: &Path, request: &RosterRequest) -> Result<RosterAnswer, Error> {
    ask(socket, "/roster", request).await
}
