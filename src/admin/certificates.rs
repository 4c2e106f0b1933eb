//! Decides how the machine's operator has the certificates read anew and
//! settles what time it is, whatever state the certificates are in.

use std::fmt;
use std::future::Future;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::post;
use serde::{Deserialize, Serialize};

use super::operator::{Error, answer as write, ask};
use crate::base::tasks;

/// Asks for the certificates to be read anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReloadRequest {
    /// Whether to take a certificate of the hub that ends within a day.
    pub forced: bool,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReloadAnswer {
    /// What was read is in force.
    Reloaded {
        /// Number of the configuration in force.
        epoch: u64,
        /// The hub's certificate, SHA-256 in hexadecimal.
        server_fingerprint: String,
        /// When it ends.
        server_not_after: String,
        /// What has changed, in words; empty: nothing.
        changes: Vec<String>,
        /// The authorities that are trusted now: name, and SHA-256 in hexadecimal.
        anchors: Vec<(String, String)>,
        /// Connections that were ended.
        severed: usize,
        /// Why limits and lists are those that were in force, with what to do.
        problem: Option<String>,
    },
    /// The certificates are not; those that were in force still are.
    Refused {
        /// The class of what is wrong, as in the metric.
        reason: String,
        /// What is wrong, with what to do.
        problem: String,
        /// Number of the configuration in force.
        epoch: u64,
        /// What has changed of limits and lists, in words; empty: nothing.
        changes: Vec<String>,
        /// Why those are as they were, too, with what to do.
        unread: Option<String>,
    },
}

/// What is asked about the time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ClockRequest {
    /// What the hub makes of it.
    Show,
    /// To believe the machine's clock from now on.
    Accept,
}

/// What the hub makes of the time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClockAnswer {
    /// What certificates are judged by.
    pub time: String,
    /// What the machine's clock shows.
    pub machine: String,
    /// Whether the machine's clock has jumped, and is not believed.
    pub doubted: bool,
}

/// Who keeps the hub's certificates and the time by which they are judged.
pub trait Keeper: fmt::Debug + Send + Sync {
    /// Reads the certificates anew.
    fn reload(&self, request: ReloadRequest) -> Pin<Box<dyn Future<Output = ReloadAnswer> + Send>>;

    /// Shows or settles the time.
    fn clock(&self, request: ClockRequest) -> ClockAnswer;

    /// Why the hub's own certificate keeps clients away, if it does.
    fn ailment(&self) -> Option<String>;
}

/// `/certificates/reload` and `/clock`.
pub(super) fn router(keeper: Arc<dyn Keeper>) -> Router {
    Router::new().route("/certificates/reload", post(reload)).route("/clock", post(clock)).with_state(keeper)
}

async fn reload(State(keeper): State<Arc<dyn Keeper>>, body: Bytes) -> Response {
    let Ok(request) = serde_json::from_slice::<ReloadRequest>(&body) else {
        return misfit("send {\"forced\": false}");
    };
    tracing::info!(?request, "the machine's operator has the certificates read anew");
    // A task of its own: whoever asks and hangs up does not stop it half-way.
    let reloaded = tasks::spawn("reload", keeper.reload(request)).await;
    match reloaded {
        Ok(done @ ReloadAnswer::Reloaded { .. }) => write(StatusCode::OK, &done),
        Ok(refused @ ReloadAnswer::Refused { .. }) => write(StatusCode::CONFLICT, &refused),
        Err(_) => misfit("the reload failed; see the hub's log"),
    }
}

async fn clock(State(keeper): State<Arc<dyn Keeper>>, body: Bytes) -> Response {
    match serde_json::from_slice::<ClockRequest>(&body) {
        Ok(request) => write(StatusCode::OK, &keeper.clock(request)),
        Err(_) => misfit("send \"show\" or \"accept\""),
    }
}

fn misfit(problem: &str) -> Response {
    write(StatusCode::BAD_REQUEST, &serde_json::json!({ "problem": problem }))
}

/// Has the hub that listens on `socket` read its certificates anew.
///
/// # Errors
/// [`Error::Nobody`] if none listens there; else what went wrong on the way.
pub async fn ask_reload(socket: &Path, request: ReloadRequest) -> Result<ReloadAnswer, Error> {
    ask(socket, "/certificates/reload", &request).await
}

/// Asks the hub that listens on `socket` about the time.
///
/// # Errors
/// [`Error::Nobody`] if none listens there; else what went wrong on the way.
pub async fn ask_clock(socket: &Path, request: ClockRequest) -> Result<ClockAnswer, Error> {
    ask(socket, "/clock", &request).await
}
