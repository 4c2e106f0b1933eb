//! Decides nothing: unpacks the calls of `ReceiptService`, hands them to the
//! hub, and wraps what it answers.

use std::sync::Arc;

use tonic::{Request, Response, Status};

use crate::hub::{Holder, Hub, Received, Recipient, RecipientPage};
use crate::wire::convert::{batch, name, time};
use crate::wire::proto::v1;
use crate::wire::proto::v1::receipt_service_server::ReceiptService;

use super::call::Call;
use super::status::{invalid, status};

/// The calls of `ReceiptService`.
#[derive(Debug, Clone)]
pub(super) struct Receipts(pub(super) Arc<Hub>);

#[tonic::async_trait]
impl ReceiptService for Receipts {
    async fn list_recipients(
        &self,
        mut request: Request<v1::ListRecipientsRequest>,
    ) -> Result<Response<v1::ListRecipientsResponse>, Status> {
        let call = Call::take(&mut request)?;
        let v1::ListRecipientsRequest { indicator, page_size, page_token } = request.into_inner();
        call.caller.trail().about(|| indicator.clone());
        let id = name::read_indicator("indicator", &indicator).map_err(invalid)?;
        let size = batch::read_page_size(page_size).map_err(invalid)?;
        let page = self.0.recipients(&call.caller, id, size, &page_token).await.map_err(status)?;
        call.caller.trail().given(page.recipients.len(), 0);
        Ok(Response::new(write(page)))
    }
}

fn write(page: RecipientPage) -> v1::ListRecipientsResponse {
    let RecipientPage { state, since, recipients, count, recalls, begins, is_whole, next_page_token } = page;
    let number = |count: usize| i32::try_from(count).unwrap_or(i32::MAX);
    let [pending, delivered, acknowledged] = recalls.map(number);
    v1::ListRecipientsResponse {
        recipients: recipients.into_iter().map(recipient).collect(),
        next_page_token,
        state: i32::from(state.number()),
        version_time: Some(time::write(since)),
        recipient_count: number(count),
        pending_count: pending,
        delivered_count: delivered,
        acknowledged_count: acknowledged,
        receipts_begin_time: Some(time::write(begins)),
        older_than_receipts: !is_whole,
    }
}

fn recipient(recipient: Recipient) -> v1::Recipient {
    let Recipient { organisation, received: all, holders } = recipient;
    v1::Recipient {
        organisation: name::organisation(&organisation),
        received: Some(received(&all)),
        holders: holders.into_iter().map(holder).collect(),
    }
}

fn holder(holder: Holder) -> v1::RecipientHolder {
    let Holder { principal, subscription, certificate, audit, received: own } = holder;
    v1::RecipientHolder {
        principal: principal.as_str().to_owned(),
        subscription,
        certificate_serial: certificate,
        audit_record: audit,
        received: Some(received(&own)),
    }
}

fn received(told: &Received) -> v1::Received {
    let Received { first, last, version, ways, recall, recalled, acknowledged } = told;
    v1::Received {
        first_delivery_time: Some(time::write(*first)),
        last_delivery_time: Some(time::write(*last)),
        version_time: version.map(time::write),
        ways: ways.iter().map(|way| i32::from(way.number())).collect(),
        recall: recall.map_or(0, |recall| i32::from(recall.number())),
        recall_time: recalled.map(time::write),
        acknowledge_time: acknowledged.map(time::write),
    }
}
