//! Decides how leave to republish is asked for, given, withdrawn and read.

use crate::wire::proto::v1;
use v1::republication_service_client::RepublicationServiceClient;

use super::calls::{Client, MAX_MESSAGE, request_id};
use super::error::Error;

/// Leaves in a page.
const PAGE: i32 = 500;

impl Client {
    /// Asks the owner of an indicator for leave to publish its value.
    ///
    /// # Errors
    /// `NOT_FOUND`, `INDICATOR_REVOKED`, `RATE_LIMITED`; see [`Error`].
    pub async fn request_republication(
        &self,
        indicator: &str,
        wish: v1::Marking,
        reason: &str,
    ) -> Result<v1::Republication, Error> {
        let request = v1::RequestRepublicationRequest {
            request_id: request_id(),
            indicator: indicator.to_owned(),
            wish: Some(wish),
            reason: reason.to_owned(),
        };
        let answer = self
            .call(request, |request| async {
                self.republications_service().request_republication(request).await
            })
            .await?;
        Ok(answer.republication.unwrap_or_default())
    }

    /// Gives leave; `request_id` of the request is set here.
    ///
    /// # Errors
    /// `NOT_FOUND`, `ROLE_INSUFFICIENT`, `DELEGATION_MISSING`; see [`Error`].
    pub async fn grant_republication(
        &self,
        grant: v1::GrantRepublicationRequest,
    ) -> Result<v1::Republication, Error> {
        let request = v1::GrantRepublicationRequest { request_id: request_id(), ..grant };
        let answer = self
            .call(request, |request| async {
                self.republications_service().grant_republication(request).await
            })
            .await?;
        Ok(answer.republication.unwrap_or_default())
    }

    /// Refuses leave, takes it back or gives it up; `request_id` of the
    /// request is set here.
    ///
    /// # Errors
    /// `NOT_FOUND`, `ROLE_INSUFFICIENT`, `DELEGATION_MISSING`; see [`Error`].
    pub async fn withdraw_republication(
        &self,
        withdrawal: v1::WithdrawRepublicationRequest,
    ) -> Result<v1::Republication, Error> {
        let request = v1::WithdrawRepublicationRequest { request_id: request_id(), ..withdrawal };
        let answer = self
            .call(request, |request| async {
                self.republications_service().withdraw_republication(request).await
            })
            .await?;
        Ok(answer.republication.unwrap_or_default())
    }

    /// A page of the leaves of the caller's organisation, given and asked for,
    /// and the token of the next one; empty at the end.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn republications(
        &self,
        awaiting_answer: bool,
        page_token: &str,
    ) -> Result<(Vec<v1::Republication>, String), Error> {
        let page_token = page_token.to_owned();
        let request = v1::ListRepublicationsRequest { awaiting_answer, page_size: PAGE, page_token };
        let page = self
            .call(request, |request| async {
                self.republications_service().list_republications(request).await
            })
            .await?;
        Ok((page.republications, page.next_page_token))
    }

    fn republications_service(&self) -> RepublicationServiceClient<tonic::transport::Channel> {
        RepublicationServiceClient::new(self.connection().channel()).max_decoding_message_size(MAX_MESSAGE)
    }
}
