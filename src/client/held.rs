//! Decides how a member lists what lists of the hub hold back, and answers as
//! the second person.

use crate::wire::proto::v1;
use v1::held_service_client::HeldServiceClient;

use super::calls::{Client, MAX_MESSAGE, request_id};
use super::error::Error;

/// Held publications in a page.
const PAGE: i32 = 500;

impl Client {
    /// Lets out what is held of an indicator; `etag` is the version that was
    /// looked at, `note` says why.
    ///
    /// # Errors
    /// `NOT_FOUND`, `SECOND_PERSON_REQUIRED`, `ROLE_INSUFFICIENT`,
    /// `ETAG_MISMATCH`, `GUARD_REFUSED`; see [`Error`].
    pub async fn approve_publication(
        &self,
        name: &str,
        etag: &str,
        note: &str,
    ) -> Result<v1::HeldPublication, Error> {
        let request = v1::ApprovePublicationRequest {
            request_id: request_id(),
            name: name.to_owned(),
            etag: etag.to_owned(),
            note: note.to_owned(),
        };
        let answer =
            self.call(request, |request| async { self.held().approve_publication(request).await }).await?;
        Ok(answer.held_publication.unwrap_or_default())
    }

    /// Refuses what is held of an indicator, which stays at `monitor`.
    ///
    /// # Errors
    /// As [`Client::approve_publication`], without `GUARD_REFUSED`.
    pub async fn reject_publication(
        &self,
        name: &str,
        etag: &str,
        note: &str,
    ) -> Result<v1::HeldPublication, Error> {
        let request = v1::RejectPublicationRequest {
            request_id: request_id(),
            name: name.to_owned(),
            etag: etag.to_owned(),
            note: note.to_owned(),
        };
        let answer =
            self.call(request, |request| async { self.held().reject_publication(request).await }).await?;
        Ok(answer.held_publication.unwrap_or_default())
    }

    /// A page of held publications, and the token of the next one; empty at the
    /// end. `waiting`: only what waits for an answer.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn held_publications(
        &self,
        waiting: bool,
        page_token: &str,
    ) -> Result<(Vec<v1::HeldPublication>, String), Error> {
        let page_token = page_token.to_owned();
        let request = v1::ListHeldPublicationsRequest { waiting, page_size: PAGE, page_token };
        let page =
            self.call(request, |request| async { self.held().list_held_publications(request).await }).await?;
        Ok((page.held_publications, page.next_page_token))
    }

    /// Holds an indicator for a day, as a unit that leads and may see it.
    ///
    /// # Errors
    /// `NOT_FOUND`, `ROLE_INSUFFICIENT`, `INDICATOR_HELD`; see [`Error`].
    pub async fn hold_indicator(&self, name: &str, reason: &str) -> Result<v1::IndicatorHold, Error> {
        let (name, reason) = (name.to_owned(), reason.to_owned());
        let request = v1::HoldIndicatorRequest { request_id: request_id(), name, reason };
        let answer =
            self.call(request, |request| async { self.held().hold_indicator(request).await }).await?;
        Ok(answer.hold.unwrap_or_default())
    }

    /// Ends such a hold before its time.
    ///
    /// # Errors
    /// `NOT_FOUND`, `ROLE_INSUFFICIENT`; see [`Error`].
    pub async fn release_indicator(&self, name: &str, note: &str) -> Result<v1::IndicatorHold, Error> {
        let (name, note) = (name.to_owned(), note.to_owned());
        let request = v1::ReleaseIndicatorRequest { request_id: request_id(), name, note };
        let answer =
            self.call(request, |request| async { self.held().release_indicator(request).await }).await?;
        Ok(answer.hold.unwrap_or_default())
    }

    fn held(&self) -> HeldServiceClient<tonic::transport::Channel> {
        HeldServiceClient::new(self.connection().channel()).max_decoding_message_size(MAX_MESSAGE)
    }
}
