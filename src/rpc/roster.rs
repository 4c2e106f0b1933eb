//! Decides nothing: unpacks the calls of `RosterService`, hands them to the
//! hub, and wraps what it answers.

use std::sync::Arc;

use bytes::Bytes;
use tonic::{Request, Response, Status};

use crate::base::tasks;
use crate::hub::error::{Error, Reason};
use crate::hub::{Amended, Hub, Second, Waiting};
use crate::interop::roster::{self, Places};
use crate::model::Invalid;
use crate::model::roster::Roster;
use crate::wire::convert::roster::{
    check_document, etag, pending_change, read_etag, read_pending_change, read_reason,
};
use crate::wire::convert::{batch, name, time};
use crate::wire::proto::v1;
use crate::wire::proto::v1::roster_service_server::RosterService;

use super::call::Call;
use super::page;
use super::status::{invalid, status};

/// The calls of `RosterService`.
#[derive(Debug, Clone)]
pub(super) struct Rosters(pub(super) Arc<Hub>);

#[tonic::async_trait]
impl RosterService for Rosters {
    async fn get_roster(
        &self,
        mut request: Request<v1::GetRosterRequest>,
    ) -> Result<Response<v1::GetRosterResponse>, Status> {
        Call::take(&mut request)?;
        let v1::GetRosterRequest {} = request.into_inner();
        let hub = Arc::clone(&self.0);
        let written = tasks::spawn_blocking(move || {
            let view = hub.roster();
            let etag = etag(&view.etag);
            v1::GetRosterResponse {
                document: roster::write(&view.roster, &etag).into(),
                etag,
                date: view.date.to_string(),
            }
        });
        Ok(Response::new(written.await.map_err(|error| status(Error::internal(error)))?))
    }

    async fn diff_roster(
        &self,
        mut request: Request<v1::DiffRosterRequest>,
    ) -> Result<Response<v1::DiffRosterResponse>, Status> {
        let call = Call::take(&mut request)?;
        let v1::DiffRosterRequest { document, etag } = request.into_inner();
        let etag = read_etag(&etag).map_err(invalid)?;
        let (after, places) = read(document).await.map_err(status)?;
        let hub = Arc::clone(&self.0);
        let compared = tasks::spawn_blocking(move || hub.compare_roster(&call.caller, &after, etag)).await;
        let compared = compared.map_err(Error::internal).flatten();
        let comparison = compared.map_err(|error| status(placed(error, &places)))?;
        Ok(Response::new(v1::DiffRosterResponse {
            differences: comparison.differences,
            approvals: comparison.by_two,
        }))
    }

    async fn apply_roster(
        &self,
        mut request: Request<v1::ApplyRosterRequest>,
    ) -> Result<Response<v1::ApplyRosterResponse>, Status> {
        let call = Call::take(&mut request)?;
        let v1::ApplyRosterRequest { request_id, document, etag } = request.into_inner();
        let request_id = name::read_request_id(&request_id).map_err(invalid)?;
        let etag = read_etag(&etag).map_err(invalid)?;
        let (after, places) = read(document).await.map_err(status)?;
        let applied = self.0.apply_roster(&call.caller, request_id, after, etag).await;
        let (amended, comparison) = applied.map_err(|error| status(placed(error, &places)))?;
        let (outcome, waiting) = match amended {
            Amended::Applied => (v1::RosterOutcome::Applied, String::new()),
            Amended::Pending(id) => (v1::RosterOutcome::Pending, pending_change(id)),
            Amended::Unchanged => (v1::RosterOutcome::Unchanged, String::new()),
        };
        Ok(Response::new(v1::ApplyRosterResponse {
            outcome: outcome.into(),
            differences: comparison.differences,
            approvals: comparison.by_two,
            pending_change: waiting,
        }))
    }

    async fn list_pending_changes(
        &self,
        mut request: Request<v1::ListPendingChangesRequest>,
    ) -> Result<Response<v1::ListPendingChangesResponse>, Status> {
        Call::take(&mut request)?;
        let v1::ListPendingChangesRequest { page_size, page_token } = request.into_inner();
        let size = batch::read_page_size(page_size).map_err(invalid)?;
        let hub = Arc::clone(&self.0);
        let all = tasks::spawn_blocking(move || hub.pending_changes()).await;
        // In order of time, and of a key that sorts like it.
        let all = all.map_err(|error| status(Error::internal(error)))?.into_iter();
        let mut keyed: Vec<(String, Waiting)> =
            all.map(|w| (format!("{:020} {}", w.proposed.as_micros(), w.id), w)).collect();
        keyed.sort_by(|one, other| one.0.cmp(&other.0));
        let (page, next_page_token) =
            page::cut("pending changes", keyed, |(key, _)| key.as_str(), size, &page_token)
                .map_err(status)?;
        let pending_changes = page.into_iter().map(|(_, waiting)| show(waiting)).collect();
        Ok(Response::new(v1::ListPendingChangesResponse { pending_changes, next_page_token }))
    }

    async fn approve_change(
        &self,
        mut request: Request<v1::ApproveChangeRequest>,
    ) -> Result<Response<v1::ApproveChangeResponse>, Status> {
        let call = Call::take(&mut request)?;
        let v1::ApproveChangeRequest { request_id, name } = request.into_inner();
        let request_id = name::read_request_id(&request_id).map_err(invalid)?;
        let id = read_pending_change(&name).map_err(invalid)?;
        let second = Second::Operator(&call.caller, request_id);
        let approved = self.0.approve_change(second, id).await.map_err(status)?;
        Ok(Response::new(v1::ApproveChangeResponse { differences: approved.differences }))
    }

    async fn reject_change(
        &self,
        mut request: Request<v1::RejectChangeRequest>,
    ) -> Result<Response<v1::RejectChangeResponse>, Status> {
        let call = Call::take(&mut request)?;
        let v1::RejectChangeRequest { request_id, name, reason } = request.into_inner();
        let request_id = name::read_request_id(&request_id).map_err(invalid)?;
        let id = read_pending_change(&name).map_err(invalid)?;
        let reason = read_reason(reason).map_err(invalid)?;
        let second = Second::Operator(&call.caller, request_id);
        self.0.reject_change(second, id, reason).await.map_err(status)?;
        Ok(Response::new(v1::RejectChangeResponse {}))
    }
}

fn show(waiting: Waiting) -> v1::PendingChange {
    let Waiting { id, author, proposed, expires, outdated, comparison } = waiting;
    v1::PendingChange {
        name: pending_change(id),
        author,
        create_time: Some(time::write(proposed)),
        expire_time: Some(time::write(expires)),
        differences: comparison.differences,
        approvals: comparison.by_two,
        outdated,
    }
}

/// Reads a roster file, off the threads that serve connections.
async fn read(document: Bytes) -> Result<(Roster, Places), Error> {
    check_document(&document)?;
    let read = tasks::spawn_blocking(move || roster::read(&document)).await.map_err(Error::internal)?;
    read.map_err(|found| refused(found.into_iter().map(|invalid| within(&invalid)).collect()))
}

/// The refusal of a document, with the place of each problem in it.
fn placed(error: Error, places: &Places) -> Error {
    if error.reason != Reason::Input(crate::model::invalid::Reason::FieldInvalid) {
        return error;
    }
    refused(error.fields.into_iter().map(|invalid| within(&places.place(invalid))).collect())
}

/// The same problem under the field of the document.
fn within(invalid: &Invalid) -> Invalid {
    let reason = invalid.reason;
    let path = if invalid.field.is_empty() { String::new() } else { format!("document.{}", invalid.field) };
    Invalid::new(if path.is_empty() { "document".to_owned() } else { path }, invalid.problem.clone())
        .because(reason)
}

fn refused(fields: Vec<Invalid>) -> Error {
    let first = fields.first().cloned().unwrap_or_else(|| Invalid::new("document", "cannot be read"));
    Error { fields, ..Error::from(first) }
}
