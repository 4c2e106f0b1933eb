//! Decides nothing: unpacks the calls of `RepublicationService`, hands them to
//! the hub, and wraps what it answers.

use std::sync::Arc;

use tonic::{Request, Response, Status};

use crate::hub::Hub;
use crate::wire::convert::{batch, name, republication};
use crate::wire::proto::v1;
use crate::wire::proto::v1::republication_service_server::RepublicationService;

use super::call::Call;
use super::exchange::{asked, decode};
use super::status::{invalid, status};

/// The calls of `RepublicationService`.
#[derive(Debug, Clone)]
pub(super) struct Republications(pub(super) Arc<Hub>);

#[tonic::async_trait]
impl RepublicationService for Republications {
    async fn request_republication(
        &self,
        mut request: Request<v1::RequestRepublicationRequest>,
    ) -> Result<Response<v1::RequestRepublicationResponse>, Status> {
        let call = Call::take(&mut request)?;
        let (id, wanted) = republication::read_request(request.into_inner()).map_err(invalid)?;
        let id = name::read_request_id(&id).map_err(invalid)?;
        let told = self.0.request_republication(&call.caller, id, wanted).await.map_err(status)?;
        Ok(Response::new(v1::RequestRepublicationResponse { republication: Some(decode(told)?) }))
    }

    async fn grant_republication(
        &self,
        mut request: Request<v1::GrantRepublicationRequest>,
    ) -> Result<Response<v1::GrantRepublicationResponse>, Status> {
        let call = Call::take(&mut request)?;
        let (id, unit, grant) = republication::read_grant(request.into_inner()).map_err(invalid)?;
        let asked = asked(&id, &unit).map_err(invalid)?;
        let told = self.0.grant_republication(&call.caller, asked, grant).await.map_err(status)?;
        Ok(Response::new(v1::GrantRepublicationResponse { republication: Some(decode(told)?) }))
    }

    async fn withdraw_republication(
        &self,
        mut request: Request<v1::WithdrawRepublicationRequest>,
    ) -> Result<Response<v1::WithdrawRepublicationResponse>, Status> {
        let call = Call::take(&mut request)?;
        let own = call.caller.identity().org();
        let (id, unit, withdrawal) =
            republication::read_withdrawal(request.into_inner(), own).map_err(invalid)?;
        let asked = asked(&id, &unit).map_err(invalid)?;
        let told = self.0.withdraw_republication(&call.caller, asked, withdrawal).await.map_err(status)?;
        Ok(Response::new(v1::WithdrawRepublicationResponse { republication: Some(decode(told)?) }))
    }

    async fn list_republications(
        &self,
        mut request: Request<v1::ListRepublicationsRequest>,
    ) -> Result<Response<v1::ListRepublicationsResponse>, Status> {
        let call = Call::take(&mut request)?;
        let v1::ListRepublicationsRequest { awaiting_answer, page_size, page_token } = request.into_inner();
        let size = batch::read_page_size(page_size).map_err(invalid)?;
        let page = self
            .0
            .list_republications(&call.caller, awaiting_answer, size, &page_token)
            .await
            .map_err(status)?;
        let republications = page.republications.into_iter().map(decode).collect::<Result<_, _>>()?;
        let next_page_token = page.next_page_token;
        Ok(Response::new(v1::ListRepublicationsResponse { republications, next_page_token }))
    }
}
