//! Decides what the machine's operator reads and asks without a certificate:
//! metrics and health over plain HTTP, and backups over a private socket.

use std::fmt;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus_client::registry::Registry;
use tokio_util::sync::CancellationToken;

use crate::hub::Hub;

mod certificates;
mod changes;
mod operator;
mod readiness;
mod storage;

pub use certificates::{
    ClockAnswer, ClockRequest, Keeper, ReloadAnswer, ReloadRequest, ask_clock, ask_reload,
};
pub use changes::{RosterAnswer, RosterRequest, WaitingChange, ask_roster};
pub use operator::{Answer, Error, OperatorSocket, ask_backup, tell_arrived};
use readiness::Readiness;
pub use storage::{StorageAnswer, ask_storage};

/// Media type of a scrape.
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What metrics and health are read from.
#[derive(Clone)]
pub struct Admin {
    hub: Arc<Hub>,
    registry: Arc<Registry>,
    keeper: Arc<dyn Keeper>,
    stopping: CancellationToken,
    readiness: Readiness,
}

impl fmt::Debug for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Admin")
    }
}

impl Admin {
    /// The face of `hub`: `stopping` is cancelled when the hub begins to stop.
    #[must_use]
    pub fn new(
        hub: Arc<Hub>,
        registry: Arc<Registry>,
        keeper: Arc<dyn Keeper>,
        stopping: CancellationToken,
    ) -> Self {
        Self { hub, registry, keeper, stopping, readiness: Readiness::default() }
    }

    /// `/metrics`, `/livez` and `/readyz`.
    pub fn router(self) -> Router {
        Router::new()
            .route("/metrics", get(metrics))
            .route("/livez", get(async || "ok\n"))
            .route("/readyz", get(readyz))
            .with_state(self)
    }
}

async fn metrics(State(admin): State<Admin>) -> Response {
    let mut text = String::new();
    match prometheus_client::encoding::text::encode(&mut text, &admin.registry) {
        Ok(()) => ([(header::CONTENT_TYPE, OPENMETRICS)], text).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// Ready: a write really commits, the hub is not about to go, and its own
/// certificate keeps nobody away.
async fn readyz(State(admin): State<Admin>) -> Response {
    if let Some(ailment) = admin.keeper.ailment() {
        return (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {ailment}\n")).into_response();
    }
    let hub = admin.hub;
    let verdict = if admin.stopping.is_cancelled() {
        Err(crate::hub::error::Reason::Draining)
    } else {
        admin.readiness.ask(async move { hub.probe().await.map_err(|error| error.reason) }).await
    };
    match verdict {
        Ok(()) => (StatusCode::OK, "ready\n".to_owned()),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("not ready: {}\n", reason.as_str())),
    }
    .into_response()
}
