//! Decides how what was and what is known is asked for: the versions of an
//! indicator page by page, an indicator as it stood, the dossier of a value.

use crate::base::clock::Timestamp;
use crate::wire::convert::time;
use crate::wire::event;
use crate::wire::proto::v1;
use v1::history_service_client::HistoryServiceClient;

use super::calls::{Client, MAX_MESSAGE, following};
use super::error::Error;

impl Client {
    /// One indicator as it stood at a moment, the sightings of it up to then
    /// and, for its owner, collisions.
    ///
    /// # Errors
    /// `NOT_FOUND` if there was none, or it was hidden then or is now; see
    /// [`Error`].
    pub async fn get_as_of(&self, name: &str, at: Timestamp) -> Result<v1::GetIndicatorResponse, Error> {
        let request = v1::GetIndicatorRequest { name: name.to_owned(), as_of: Some(time::write(at)) };
        self.call(request, |request| async { self.exchange().get_indicator(request).await }).await
    }

    /// A walk over the versions of an indicator, newest first, page by page.
    #[must_use]
    pub fn versions(&self, name: &str, page_size: i32) -> VersionWalk {
        let name = name.to_owned();
        let request = v1::ListIndicatorVersionsRequest { name, page_size, page_token: String::new() };
        VersionWalk { client: self.clone(), request, ended: false, truncated_before: None }
    }

    /// All that is known of a value.
    ///
    /// # Errors
    /// `FIELD_INVALID` if the hub cannot read it; see [`Error`].
    pub async fn observable(&self, observable: v1::Observable) -> Result<v1::GetObservableResponse, Error> {
        let request = v1::GetObservableRequest { observable: Some(observable) };
        self.call(request, |request| async { self.history().get_observable(request).await }).await
    }

    /// How many indicators there are like this, by what is asked.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn aggregate(
        &self,
        request: v1::AggregateIndicatorsRequest,
    ) -> Result<v1::AggregateIndicatorsResponse, Error> {
        self.call(request, |request| async { self.history().aggregate_indicators(request).await }).await
    }

    fn history(&self) -> HistoryServiceClient<tonic::transport::Channel> {
        HistoryServiceClient::new(self.connection().channel()).max_decoding_message_size(MAX_MESSAGE)
    }
}

/// A walk over the versions of an indicator. Pages are read as they are asked
/// for.
#[derive(Debug)]
pub struct VersionWalk {
    client: Client,
    request: v1::ListIndicatorVersionsRequest,
    ended: bool,
    truncated_before: Option<Timestamp>,
}

impl VersionWalk {
    /// Once the last page was read: versions that were replaced before this
    /// moment are kept no longer; `None` where all are.
    #[must_use]
    pub const fn truncated_before(&self) -> Option<Timestamp> {
        self.truncated_before
    }

    /// The next page; `None` after the last. May be empty in the middle.
    ///
    /// # Errors
    /// `NOT_FOUND`; see [`Error`]. The walk can go on with the page that
    /// failed.
    pub async fn next_page(&mut self) -> Result<Option<Vec<v1::IndicatorVersion>>, Error> {
        if self.ended {
            return Ok(None);
        }
        let client = &self.client;
        let page = client
            .call(self.request.clone(), |request| async {
                client.history().list_indicator_versions(request).await
            })
            .await?;
        self.ended = page.next_page_token.is_empty();
        self.truncated_before = page.history_truncated_before.as_ref().and_then(event::timestamp);
        self.request.page_token = following(page.next_page_token, &self.request.page_token)?;
        Ok(Some(page.versions))
    }
}
