//! Decides how the machine's operator learns how much of the log each
//! organisation takes, while the hub runs.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::{Deserialize, Serialize};

use crate::base::tasks;
use crate::hub::Hub;

use super::operator::{Error, answer as write, ask};

/// How much of the log each organisation takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StorageAnswer {
    /// So much.
    Counted {
        /// Bytes, by organisation.
        organisations: BTreeMap<String, u64>,
        /// Entries of the log that are still to be counted; 0: it is exact.
        uncounted_entries: u64,
    },
    /// It cannot be told, and why.
    Refused {
        /// What is wrong.
        problem: String,
    },
}

pub(super) async fn answer(State(hub): State<Arc<Hub>>) -> Response {
    let told = tasks::spawn_blocking(move || hub.storage()).await;
    let problem = match told {
        Ok(Ok(told)) => {
            let organisations = told.organisations.into_iter();
            let organisations = organisations.map(|(slug, bytes)| (slug.to_string(), bytes)).collect();
            let uncounted_entries = told.uncounted;
            return write(StatusCode::OK, &StorageAnswer::Counted { organisations, uncounted_entries });
        }
        Ok(Err(error)) => error.to_string(),
        Err(_) => "the store could not be asked; see the hub's log".to_owned(),
    };
    write(StatusCode::INTERNAL_SERVER_ERROR, &StorageAnswer::Refused { problem })
}

/// Asks the hub that listens on `socket` how much of its log each organisation
/// takes.
///
/// # Errors
/// [`Error::Nobody`] if none listens there; else what went wrong on the way.
pub async fn ask_storage(socket: &Path) -> Result<StorageAnswer, Error> {
    ask(socket, "/storage", &()).await
}
