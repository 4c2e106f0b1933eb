//! Decides how it is read who received an indicator.

use crate::wire::proto::v1;
use v1::receipt_service_client::ReceiptServiceClient;

use super::calls::{Client, MAX_MESSAGE};
use super::error::Error;

/// Recipients in a page.
const PAGE: i32 = 1_000;

impl Client {
    /// Who received an indicator, all pages in one: the answer of the last one,
    /// with the recipients of all.
    ///
    /// # Errors
    /// `NOT_FOUND`, `RATE_LIMITED`; see [`Error`].
    pub async fn recipients(&self, indicator: &str) -> Result<v1::ListRecipientsResponse, Error> {
        let (mut all, mut page_token) = (Vec::new(), String::new());
        loop {
            let indicator = indicator.to_owned();
            let request = v1::ListRecipientsRequest { indicator, page_size: PAGE, page_token };
            let mut page = self
                .call(request, |request| async { self.receipts_service().list_recipients(request).await })
                .await?;
            all.append(&mut page.recipients);
            if page.next_page_token.is_empty() {
                page.recipients = all;
                return Ok(page);
            }
            page_token = page.next_page_token;
        }
    }

    fn receipts_service(&self) -> ReceiptServiceClient<tonic::transport::Channel> {
        ReceiptServiceClient::new(self.connection().channel()).max_decoding_message_size(MAX_MESSAGE)
    }
}
