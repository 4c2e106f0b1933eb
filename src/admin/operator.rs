//! Decides how the machine's operator asks a running hub for a backup, or
//! agrees to a change: over a Unix socket that only the hub's own user can
//! open, in HTTP and JSON.

use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::net::UnixStream;

use crate::base::clock::Timestamp;
use crate::base::{socket, tasks};
use crate::hub::{BackupReport, Hub};

use super::certificates::{self, Keeper};
use super::{changes, storage};

/// Longest request, in bytes.
const MAX_BYTES: usize = 64 * 1024;
/// Longest answer that is read, in bytes.
const MAX_ANSWER_BYTES: usize = 64 << 20;

/// Connections that may wait.
const BACKLOG: u32 = 8;

/// What goes over the socket to ask for a backup.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    /// Absolute path of the directory to make.
    to: PathBuf,
    /// Whether it is only on the way to another place: it counts as a backup
    /// once it is said to be there.
    #[serde(default)]
    passing: bool,
}

/// What goes over the socket once a copy has come to its place.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Arrived {
    /// When the copy was begun, as it was answered.
    begun: u64,
}

/// What comes back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// The backup is whole and synced.
    Done {
        /// Where it lies.
        path: PathBuf,
        /// Number of the last entry in it.
        last_entry: u64,
        /// Its history epoch.
        epoch: u16,
        /// Its size, in bytes.
        bytes: u64,
        /// When it was begun, by the hub's clock, in microseconds.
        #[serde(default)]
        begun: u64,
    },
    /// There is none, and why.
    Refused {
        /// What is wrong, with what to do.
        problem: String,
    },
}

/// Why the running hub could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No hub listens there.
    #[error("no hub listens on {}", path.display())]
    Nobody {
        /// The socket.
        path: PathBuf,
    },
    /// The socket cannot be opened.
    #[error("cannot open {}: {source}; run this as the hub's own user", path.display())]
    Socket {
        /// The socket.
        path: PathBuf,
        /// What the system answered.
        source: io::Error,
    },
    /// The hub cannot listen there.
    #[error("{0}; `admin_socket` names the place")]
    Bind(#[from] socket::Error),
    /// The hub went away, or what answered is no hub.
    #[error("the hub did not answer; see its log")]
    Broken(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// The socket of the machine's operator, bound.
#[derive(Debug)]
pub struct OperatorSocket(socket::Listener);

impl OperatorSocket {
    /// Binds `path`, mode 0600. Call it only while holding the lock of the
    /// hub's directory: a socket that a killed hub left there is removed, and
    /// nothing else is.
    ///
    /// # Errors
    /// [`Error::Bind`].
    pub async fn bind(path: &Path) -> Result<Self, Error> {
        Ok(Self(socket::Listener::bind(path, 0o600, BACKLOG).await?))
    }

    /// Answers until `stop`, then removes the socket. `calls` is what else is
    /// served there, over gRPC.
    ///
    /// # Errors
    /// Whatever accepting answers.
    pub async fn serve(
        self,
        hub: Arc<Hub>,
        keeper: Arc<dyn Keeper>,
        calls: Router,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> io::Result<()> {
        let router = Router::new()
            .route("/backup", post(backup))
            .route("/backup/arrived", post(arrived))
            .route("/roster", post(changes::answer))
            .route("/storage", post(storage::answer))
            .with_state(hub)
            .merge(certificates::router(keeper))
            .merge(calls)
            .layer(DefaultBodyLimit::max(MAX_BYTES));
        let (listener, place) = self.0.into_parts();
        let served = axum::serve(listener, router).with_graceful_shutdown(stop).await;
        drop(place);
        served
    }
}

async fn backup(State(hub): State<Arc<Hub>>, body: Bytes) -> Response {
    let Ok(request) = serde_json::from_slice::<Request>(&body) else {
        return refused("send {\"to\": \"/absolute/path\"}");
    };
    if !request.to.is_absolute() {
        return refused("the path of a backup must be absolute");
    }
    tracing::info!(to = %request.to.display(), "backup asked for");
    let (copied, begun) = (Arc::clone(&hub), hub.machine_now());
    let taken = tasks::spawn_blocking(move || copied.backup(&request.to)).await;
    match taken {
        Ok(Ok(report)) => {
            if !request.passing {
                note(&hub, begun).await;
            }
            let BackupReport { path, last_entry, epoch, bytes } = report;
            let begun = begun.as_micros();
            answer(StatusCode::OK, &Answer::Done { path, last_entry, epoch, bytes, begun })
        }
        Ok(Err(error)) => {
            tracing::warn!(%error, "backup failed");
            // Who can open this socket is the machine's operator, for whom
            // nothing is hidden.
            failed(&error.to_string())
        }
        Err(_) => failed("the backup failed; see the hub's log"),
    }
}

async fn arrived(State(hub): State<Arc<Hub>>, body: Bytes) -> Response {
    let Ok(Arrived { begun }) = serde_json::from_slice::<Arrived>(&body) else {
        return refused("send {\"begun\": MICROSECONDS}, as the copy was answered");
    };
    let begun = Timestamp::from_micros_clamped(begun).min(hub.machine_now());
    note(&hub, begun).await;
    answer(StatusCode::OK, &serde_json::json!({}))
}

/// Writes down that there is a backup; without that it is one all the same.
async fn note(hub: &Hub, begun: Timestamp) {
    if let Err(error) = hub.note_backup(begun).await {
        tracing::warn!(%error, "a backup was made, but it could not be written down: no authority can be prepared on it");
    }
}

fn refused(problem: &str) -> Response {
    answer(StatusCode::BAD_REQUEST, &Answer::Refused { problem: problem.to_owned() })
}

fn failed(problem: &str) -> Response {
    answer(StatusCode::INTERNAL_SERVER_ERROR, &Answer::Refused { problem: problem.to_owned() })
}

impl From<BackupReport> for Answer {
    fn from(report: BackupReport) -> Self {
        let BackupReport { path, last_entry, epoch, bytes } = report;
        Self::Done { path, last_entry, epoch, bytes, begun: 0 }
    }
}

pub(super) fn answer(status: StatusCode, answer: &impl Serialize) -> Response {
    match serde_json::to_vec(answer) {
        Ok(body) => (status, body).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// Asks the hub that listens on `socket` for a backup to `to`; one that is
/// only `passing` counts once [`tell_arrived`] said so.
///
/// # Errors
/// [`Error::Nobody`] if none listens there; else what went wrong on the way.
pub async fn ask_backup(socket: &Path, to: &Path, passing: bool) -> Result<Answer, Error> {
    ask(socket, "/backup", &Request { to: to.to_owned(), passing }).await
}

/// Tells the hub that listens on `socket` that a copy, which it began at that
/// moment, has come to its place and is a backup.
///
/// # Errors
/// [`Error::Nobody`] if none listens there; else what went wrong on the way.
pub async fn tell_arrived(socket: &Path, begun: u64) -> Result<(), Error> {
    ask::<serde_json::Value>(socket, "/backup/arrived", &Arrived { begun }).await.map(drop)
}

/// Asks the hub that listens on `socket`.
pub(super) async fn ask<A: DeserializeOwned>(
    socket: &Path,
    path: &str,
    request: &impl Serialize,
) -> Result<A, Error> {
    let stream = UnixStream::connect(socket).await.map_err(|source| {
        let path = socket.to_owned();
        match source.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => Error::Nobody { path },
            _ => Error::Socket { path, source },
        }
    })?;
    let body = serde_json::to_vec(request).map_err(broken)?;
    let request =
        http::Request::post(path).header("host", "hub").body(Full::new(Bytes::from(body))).map_err(broken)?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
    let connection = tasks::spawn("operator socket", connection);
    let response = sender.send_request(request).await.map_err(broken)?;
    let body = Limited::new(response.into_body(), MAX_ANSWER_BYTES)
        .collect()
        .await
        .map_err(Error::Broken)?
        .to_bytes();
    connection.abort();
    serde_json::from_slice(&body).map_err(broken)
}

fn broken(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::Broken(error.into())
}
