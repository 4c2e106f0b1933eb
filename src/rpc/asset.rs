//! Decides nothing: unpacks the calls of `AssetService`, hands them to the hub,
//! and wraps what it answers.

use std::sync::Arc;

use tonic::{Request, Response, Status};

use crate::hub::budget::SHAPED;
use crate::hub::{AssetsView, Hub};
use crate::policy::limits::Rate;
use crate::wire::convert::asset;
use crate::wire::proto::v1;
use crate::wire::proto::v1::asset_service_server::AssetService;

use super::call::Call;
use super::exchange::charge;
use super::status::{invalid, status};

/// The calls of `AssetService`.
#[derive(Debug, Clone)]
pub(super) struct Assets(pub(super) Arc<Hub>);

#[tonic::async_trait]
impl AssetService for Assets {
    async fn get_assets(
        &self,
        mut request: Request<v1::GetAssetsRequest>,
    ) -> Result<Response<v1::GetAssetsResponse>, Status> {
        let call = Call::take(&mut request)?;
        let v1::GetAssetsRequest {} = request.into_inner();
        let assets = write(self.0.assets(&call.caller).await.map_err(status)?);
        Ok(Response::new(v1::GetAssetsResponse { assets: Some(assets) }))
    }

    async fn change_assets(
        &self,
        mut request: Request<v1::ChangeAssetsRequest>,
    ) -> Result<Response<v1::ChangeAssetsResponse>, Status> {
        let call = Call::take(&mut request)?;
        let asset::Request { id, change, etag } =
            asset::read_change(request.into_inner()).map_err(invalid)?;
        // Whatever it changes, those who watch look anew at what they may see.
        let items = 1 + change.add.len() + change.remove.len();
        charge(&call, Rate::Items, items, SHAPED).await?;
        let stands = self.0.change_assets(&call.caller, id, change, etag).await.map_err(status)?;
        Ok(Response::new(v1::ChangeAssetsResponse { assets: Some(write(stands)) }))
    }
}

fn write(stands: AssetsView) -> v1::Assets {
    let AssetsView { assets, etag, changed } = stands;
    let assets = assets.iter().map(|view| asset::write(&view.asset, view.inherited_from.as_ref())).collect();
    asset::write_list(assets, etag, changed)
}
