//! Decides nothing: unpacks the calls of `DirectoryService`, hands them to the
//! hub, and wraps what it answers.

use std::sync::Arc;

use tonic::{Request, Response, Status};

use crate::hub::error::Error;
use crate::hub::{Allowance, Hub, OrganisationView};
use crate::wire::convert::{batch, directory, name, time};
use crate::wire::proto::v1;
use crate::wire::proto::v1::directory_service_server::DirectoryService;

use super::call::Call;
use super::page;
use super::status::{invalid, status};

/// The calls of `DirectoryService`.
#[derive(Debug, Clone)]
pub(super) struct Directory(pub(super) Arc<Hub>);

#[tonic::async_trait]
impl DirectoryService for Directory {
    async fn get_organisation(
        &self,
        mut request: Request<v1::GetOrganisationRequest>,
    ) -> Result<Response<v1::GetOrganisationResponse>, Status> {
        let call = Call::take(&mut request)?;
        let v1::GetOrganisationRequest { name } = request.into_inner();
        let slug =
            name::read_organisation_or_me("name", &name, call.caller.identity().org()).map_err(invalid)?;
        let view = self.0.organisation(&slug).ok_or_else(|| status(Error::absent()))?;
        Ok(Response::new(v1::GetOrganisationResponse { organisation: Some(show(view)) }))
    }

    async fn list_organisations(
        &self,
        mut request: Request<v1::ListOrganisationsRequest>,
    ) -> Result<Response<v1::ListOrganisationsResponse>, Status> {
        Call::take(&mut request)?;
        let v1::ListOrganisationsRequest { page_size, page_token, include_inactive } = request.into_inner();
        let size = batch::read_page_size(page_size).map_err(invalid)?;
        let list = if include_inactive { "organisations, all" } else { "organisations" };
        let mut all = self.0.organisations();
        all.retain(|view| include_inactive || takes_part(view));
        let (page, next_page_token) =
            page::cut(list, all, |view| view.organisation.slug.as_str(), size, &page_token)
                .map_err(status)?;
        let organisations = page.into_iter().map(show).collect();
        Ok(Response::new(v1::ListOrganisationsResponse { organisations, next_page_token }))
    }

    async fn who_am_i(
        &self,
        mut request: Request<v1::WhoAmIRequest>,
    ) -> Result<Response<v1::WhoAmIResponse>, Status> {
        let Call { caller, peer, method: _, account } = Call::take(&mut request)?;
        let v1::WhoAmIRequest {} = request.into_inner();
        let renewal = self.0.renewal(&peer);
        let stored = self.0.stored_allowance(&caller).map_err(status)?;
        Ok(Response::new(v1::WhoAmIResponse {
            spiffe_id: caller.identity().as_str().to_owned(),
            organisation: name::organisation(caller.identity().org()),
            roles: caller.roles().iter().map(|role| role.as_str().to_owned()).collect(),
            certificate_expire_time: Some(time::write(peer.not_after)),
            certificate_serial: peer.certificate.serial,
            server_time: Some(time::write(self.0.now())),
            server_version: env!("CARGO_PKG_VERSION").to_owned(),
            key_exchange: peer.key_exchange.to_owned(),
            renew_time: Some(time::write(renewal.at)),
            renew_now: renewal.now,
            expiry_warning_days: i32::try_from(renewal.warning_days).unwrap_or(i32::MAX),
            allowances: account.allowances().into_iter().chain(stored).map(allowance).collect(),
        }))
    }
}

fn allowance(allowance: Allowance) -> v1::Allowance {
    let Allowance { limit, own, most, left } = allowance;
    v1::Allowance { limit: limit.to_owned(), own, most, left }
}

fn show(view: OrganisationView) -> v1::Organisation {
    let OrganisationView { organisation, standing, duties, date } = view;
    directory::organisation(&organisation, standing, duties, date)
}

/// Whether an organisation is neither ended nor yet to come.
const fn takes_part(view: &OrganisationView) -> bool {
    use crate::model::org::Standing;
    match view.standing {
        Standing::Active | Standing::Suspended => true,
        Standing::Ended | Standing::Planned => false,
    }
}
