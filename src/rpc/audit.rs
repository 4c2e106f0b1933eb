//! Decides nothing: unpacks the calls of `AuditService`, hands them to the hub,
//! and wraps what it answers.

use std::pin::Pin;
use std::sync::Arc;

use futures_util::{Stream, stream};
use tonic::{Request, Response, Status};

use crate::hub::{AuditExport, AuditPage, AuditView, Hub, Sought};
use crate::model::principal::SpiffeId;
use crate::wire::convert::{audit, batch, name, time};
use crate::wire::proto::v1;
use crate::wire::proto::v1::audit_service_server::AuditService;

use super::call::Call;
use super::status::{invalid, status};

/// The files of a log.
type Files = Pin<Box<dyn Stream<Item = Result<v1::ExportAuditLogResponse, Status>> + Send>>;

/// The calls of `AuditService`.
#[derive(Debug, Clone)]
pub(super) struct Audits(pub(super) Arc<Hub>);

#[tonic::async_trait]
impl AuditService for Audits {
    type ExportAuditLogStream = Files;

    async fn list_audit_records(
        &self,
        mut request: Request<v1::ListAuditRecordsRequest>,
    ) -> Result<Response<v1::ListAuditRecordsResponse>, Status> {
        let call = Call::take(&mut request)?;
        let v1::ListAuditRecordsRequest {
            principal,
            organisation,
            method,
            outcome,
            start_time,
            page_size,
            page_token,
        } = request.into_inner();
        let principal = match principal.as_str() {
            "" => None,
            text => Some(SpiffeId::parse(text).map_err(|refused| invalid(refused.under("principal")))?),
        };
        let organisation = match organisation.as_str() {
            "" => None,
            text => Some(name::read_organisation("organisation", text).map_err(invalid)?),
        };
        let from = time::read("start_time", start_time).map_err(invalid)?;
        let size = batch::read_page_size(page_size).map_err(invalid)?;
        let sought = Sought { principal, organisation, method, outcome, from };
        let AuditPage { records, next_page_token } =
            self.0.audit_records(&call.caller, sought, size, &page_token).await.map_err(status)?;
        call.caller.trail().given(records.len(), 0);
        let records = records.into_iter();
        let records =
            records.map(|AuditView { index, encoded, record }| audit::record(index, encoded, record));
        Ok(Response::new(v1::ListAuditRecordsResponse { records: records.collect(), next_page_token }))
    }

    async fn get_checkpoint(
        &self,
        _: Request<v1::GetCheckpointRequest>,
    ) -> Result<Response<v1::GetCheckpointResponse>, Status> {
        let (checkpoint, verifier_key) = self.0.checkpoint().await.map_err(status)?;
        Ok(Response::new(v1::GetCheckpointResponse { checkpoint, verifier_key }))
    }

    async fn get_consistency_proof(
        &self,
        request: Request<v1::GetConsistencyProofRequest>,
    ) -> Result<Response<v1::GetConsistencyProofResponse>, Status> {
        let v1::GetConsistencyProofRequest { old_size, new_size } = request.into_inner();
        let path = self.0.consistency_proof(old_size, new_size).await.map_err(status)?;
        Ok(Response::new(v1::GetConsistencyProofResponse { hashes: audit::hashes(&path) }))
    }

    async fn get_inclusion_proof(
        &self,
        request: Request<v1::GetInclusionProofRequest>,
    ) -> Result<Response<v1::GetInclusionProofResponse>, Status> {
        let v1::GetInclusionProofRequest { index, size } = request.into_inner();
        let path = self.0.inclusion_proof(index, size).await.map_err(status)?;
        Ok(Response::new(v1::GetInclusionProofResponse { hashes: audit::hashes(&path) }))
    }

    async fn export_audit_log(
        &self,
        mut request: Request<v1::ExportAuditLogRequest>,
    ) -> Result<Response<Files>, Status> {
        let call = Call::take(&mut request)?;
        let export = self.0.export_audit(&call.caller).await.map_err(status)?;
        let files = stream::try_unfold((Arc::clone(&self.0), call, export), next);
        Ok(Response::new(Box::pin(files)))
    }
}

/// The next file, for a caller who may still have it.
async fn next(
    (hub, call, mut export): (Arc<Hub>, Call, AuditExport),
) -> Result<Option<(v1::ExportAuditLogResponse, (Arc<Hub>, Call, AuditExport))>, Status> {
    call.again(&hub).map_err(status)?;
    let Some((path, content)) = export.next().await.map_err(status)? else { return Ok(None) };
    call.caller.trail().gave(1);
    Ok(Some((v1::ExportAuditLogResponse { path, content }, (hub, call, export))))
}
