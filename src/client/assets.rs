//! Decides how an organisation's own assets are read and changed, and how
//! whoever watches them finds out which of them a value is about.

use crate::model::asset::Asset;
use crate::wire::proto::v1;
use v1::asset_service_client::AssetServiceClient;

use super::calls::{Client, MAX_MESSAGE, request_id};
use super::error::Error;

impl Client {
    /// What the caller's organisation calls its own.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn assets(&self) -> Result<v1::Assets, Error> {
        let request = v1::GetAssetsRequest {};
        let answer =
            self.call(request, |request| async { self.assets_service().get_assets(request).await }).await?;
        Ok(answer.assets.unwrap_or_default())
    }

    /// Registers assets and takes others off; `etag` names the list that must
    /// stand, empty: whichever stands. The list as it then is.
    ///
    /// # Errors
    /// `FIELD_INVALID`, `ETAG_MISMATCH`, `RATE_LIMITED`; see [`Error`].
    pub async fn change_assets(
        &self,
        add: Vec<String>,
        remove: Vec<String>,
        etag: &str,
    ) -> Result<v1::Assets, Error> {
        let etag = etag.to_owned();
        let request = v1::ChangeAssetsRequest { request_id: request_id(), add, remove, etag };
        let answer = self
            .call(request, |request| async { self.assets_service().change_assets(request).await })
            .await?;
        Ok(answer.assets.unwrap_or_default())
    }

    fn assets_service(&self) -> AssetServiceClient<tonic::transport::Channel> {
        AssetServiceClient::new(self.connection().channel()).max_decoding_message_size(MAX_MESSAGE)
    }
}

/// The assets of a list, as far as this release knows what they are.
#[must_use]
pub fn known(assets: &v1::Assets) -> Vec<Asset> {
    assets.assets.iter().filter_map(|asset| Asset::from_canonical(&asset.value)).collect()
}
