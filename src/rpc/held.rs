//! Decides nothing: unpacks the calls of `HeldService`, hands them to the hub,
//! and wraps what it answers.

use std::sync::Arc;

use tonic::{Request, Response, Status};

use crate::hub::Hub;
use crate::wire::convert::{batch, held, name};
use crate::wire::proto::v1;
use crate::wire::proto::v1::held_service_server::HeldService;

use super::call::Call;
use super::exchange::decode;
use super::status::{invalid, status};

/// The calls of `HeldService`.
#[derive(Debug, Clone)]
pub(super) struct HeldPublications(pub(super) Arc<Hub>);

#[tonic::async_trait]
impl HeldService for HeldPublications {
    async fn list_held_publications(
        &self,
        mut request: Request<v1::ListHeldPublicationsRequest>,
    ) -> Result<Response<v1::ListHeldPublicationsResponse>, Status> {
        let call = Call::take(&mut request)?;
        let v1::ListHeldPublicationsRequest { waiting, page_size, page_token } = request.into_inner();
        let size = batch::read_page_size(page_size).map_err(invalid)?;
        let page = self.0.list_held(&call.caller, waiting, size, &page_token).await.map_err(status)?;
        let held_publications = page.held.into_iter().map(decode).collect::<Result<_, _>>()?;
        let next_page_token = page.next_page_token;
        Ok(Response::new(v1::ListHeldPublicationsResponse { held_publications, next_page_token }))
    }

    async fn approve_publication(
        &self,
        mut request: Request<v1::ApprovePublicationRequest>,
    ) -> Result<Response<v1::ApprovePublicationResponse>, Status> {
        let call = Call::take(&mut request)?;
        let (id, verdict) = held::read_approval(request.into_inner()).map_err(invalid)?;
        let id = name::read_request_id(&id).map_err(invalid)?;
        let told = self.0.approve_held(&call.caller, id, verdict).await.map_err(status)?;
        Ok(Response::new(v1::ApprovePublicationResponse { held_publication: Some(decode(told)?) }))
    }

    async fn reject_publication(
        &self,
        mut request: Request<v1::RejectPublicationRequest>,
    ) -> Result<Response<v1::RejectPublicationResponse>, Status> {
        let call = Call::take(&mut request)?;
        let (id, verdict) = held::read_rejection(request.into_inner()).map_err(invalid)?;
        let id = name::read_request_id(&id).map_err(invalid)?;
        let told = self.0.reject_held(&call.caller, id, verdict).await.map_err(status)?;
        Ok(Response::new(v1::RejectPublicationResponse { held_publication: Some(decode(told)?) }))
    }

    async fn hold_indicator(
        &self,
        mut request: Request<v1::HoldIndicatorRequest>,
    ) -> Result<Response<v1::HoldIndicatorResponse>, Status> {
        let call = Call::take(&mut request)?;
        let (id, indicator, reason) = held::read_hold(request.into_inner()).map_err(invalid)?;
        let id = name::read_request_id(&id).map_err(invalid)?;
        let told = self.0.hold_indicator(&call.caller, id, indicator, reason).await.map_err(status)?;
        Ok(Response::new(v1::HoldIndicatorResponse { hold: Some(decode(told)?) }))
    }

    async fn release_indicator(
        &self,
        mut request: Request<v1::ReleaseIndicatorRequest>,
    ) -> Result<Response<v1::ReleaseIndicatorResponse>, Status> {
        let call = Call::take(&mut request)?;
        let (id, indicator, note) = held::read_release(request.into_inner()).map_err(invalid)?;
        let id = name::read_request_id(&id).map_err(invalid)?;
        let told = self.0.release_indicator(&call.caller, id, indicator, note).await.map_err(status)?;
        Ok(Response::new(v1::ReleaseIndicatorResponse { hold: Some(decode(told)?) }))
    }
}
