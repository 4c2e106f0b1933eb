//! Decides how an operator reads and changes the roster.

use crate::wire::proto::v1;
use v1::roster_service_client::RosterServiceClient;

use super::calls::{Client, MAX_MESSAGE, request_id};
use super::error::Error;

/// Changes that wait, in a page: more than a hub lets wait.
const PAGE: i32 = 1_000;

impl Client {
    /// The whole roster, with its etag.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn roster(&self) -> Result<v1::GetRosterResponse, Error> {
        self.call(v1::GetRosterRequest {}, |request| async { self.rosters().get_roster(request).await }).await
    }

    /// What the roster in `document` would change. `etag` is that of the
    /// roster that it was made from.
    ///
    /// # Errors
    /// `ETAG_MISMATCH`; see [`Error`].
    pub async fn diff_roster(&self, document: Vec<u8>, etag: &str) -> Result<v1::DiffRosterResponse, Error> {
        let request = v1::DiffRosterRequest { document: document.into(), etag: etag.to_owned() };
        self.call(request, |request| async { self.rosters().diff_roster(request).await }).await
    }

    /// Puts the roster in `document` in the place of the one that `etag`
    /// names.
    ///
    /// # Errors
    /// `ETAG_MISMATCH`; see [`Error`].
    pub async fn apply_roster(
        &self,
        document: Vec<u8>,
        etag: &str,
    ) -> Result<v1::ApplyRosterResponse, Error> {
        let (request_id, document, etag) = (request_id(), document.into(), etag.to_owned());
        let request = v1::ApplyRosterRequest { request_id, document, etag };
        self.call(request, |request| async { self.rosters().apply_roster(request).await }).await
    }

    /// The changes that wait for a second person.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn pending_changes(&self) -> Result<Vec<v1::PendingChange>, Error> {
        let request = v1::ListPendingChangesRequest { page_size: PAGE, page_token: String::new() };
        let page = self
            .call(request, |request| async { self.rosters().list_pending_changes(request).await })
            .await?;
        Ok(page.pending_changes)
    }

    /// Agrees to a change that another operator proposed, by its full name.
    ///
    /// # Errors
    /// `SECOND_PERSON_REQUIRED`, `ETAG_MISMATCH`, `NOT_FOUND`; see [`Error`].
    pub async fn approve_change(&self, name: &str) -> Result<Vec<String>, Error> {
        let request = v1::ApproveChangeRequest { request_id: request_id(), name: name.to_owned() };
        let answer =
            self.call(request, |request| async { self.rosters().approve_change(request).await }).await?;
        Ok(answer.differences)
    }

    /// Drops a change that waits, by its full name.
    ///
    /// # Errors
    /// `NOT_FOUND`; see [`Error`].
    pub async fn reject_change(&self, name: &str, reason: &str) -> Result<(), Error> {
        let (request_id, name, reason) = (request_id(), name.to_owned(), reason.to_owned());
        let request = v1::RejectChangeRequest { request_id, name, reason };
        self.call(request, |request| async { self.rosters().reject_change(request).await }).await.map(drop)
    }

    fn rosters(&self) -> RosterServiceClient<tonic::transport::Channel> {
        RosterServiceClient::new(self.connection().channel()).max_decoding_message_size(MAX_MESSAGE)
    }
}
