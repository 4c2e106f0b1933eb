//! Decides how a page of indicators leaves: each as it lies in the store, or as
//! it was cut for the caller, and not unpacked and packed once more.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use tonic::{Request, Response, Status};

use crate::hub::{Hub, query};
use crate::model::audit::asked;
use crate::model::query::Question;
use crate::wire::codec::Codec;
use crate::wire::convert::{batch, filter, time};
use crate::wire::proto::v1;

use super::call::Call;
use super::face::MAX_SMALL_MESSAGE_BYTES;
use super::status::{invalid, status};

/// A `luytre.v1.ListIndicatorsResponse` whose indicators are encoded: on the
/// wire a message within a message is bytes.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Page {
    #[prost(bytes = "bytes", repeated, tag = "1")]
    indicators: Vec<Bytes>,
    #[prost(string, tag = "2")]
    next_page_token: String,
    #[prost(message, optional, tag = "3")]
    plan: Option<v1::QueryPlan>,
}

/// The `ListIndicators` call.
#[derive(Debug, Clone)]
pub(super) struct Listing(pub(super) Arc<Hub>);

impl Listing {
    /// Serves one call.
    pub(super) async fn serve(
        self,
        request: http::Request<tonic::body::Body>,
    ) -> http::Response<tonic::body::Body> {
        tonic::server::Grpc::new(Codec::<Page, v1::ListIndicatorsRequest>::default())
            .apply_max_message_size_config(Some(MAX_SMALL_MESSAGE_BYTES), None)
            .unary(self, request)
            .await
    }

    async fn list(self, mut request: Request<v1::ListIndicatorsRequest>) -> Result<Response<Page>, Status> {
        let call = Call::take(&mut request)?;
        let v1::ListIndicatorsRequest { filter, page_size, page_token, order, as_of, explain } =
            request.into_inner();
        let filter = filter::read(filter).map_err(|refused| invalid(refused.under("filter")))?;
        let order = filter::read_order(order).map_err(invalid)?;
        let as_of = time::read("as_of", as_of).map_err(invalid)?;
        let size = batch::read_page_size(page_size).map_err(invalid)?;
        call.caller.trail().about(|| asked::filter(&filter));
        let question = Question { filter, order, as_of, explain };
        let page = self.0.list(&call.caller, question, size, &page_token).await.map_err(status)?;
        call.caller.trail().given(page.indicators.len(), 0);
        let plan = explain.then(|| v1::QueryPlan { steps: page.plan.into_iter().map(step).collect() });
        Ok(Response::new(Page { indicators: page.indicators, next_page_token: page.next_page_token, plan }))
    }
}

impl tonic::server::UnaryService<v1::ListIndicatorsRequest> for Listing {
    type Response = Page;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Page>, Status>> + Send>>;

    fn call(&mut self, request: Request<v1::ListIndicatorsRequest>) -> Self::Future {
        Box::pin(self.clone().list(request))
    }
}

fn step(step: query::Step) -> v1::QueryStep {
    let query::Step { text, expected, rows } = step;
    v1::QueryStep { text, expected, rows }
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;

    #[test]
    fn a_page_leaves_as_the_message_of_the_contract() {
        let indicator = |name: &str| v1::Indicator { name: name.into(), version: 7, ..Default::default() };
        let steps = vec![v1::QueryStep { text: "walk the log".into(), expected: Some(2), rows: 2 }];
        let contract = v1::ListIndicatorsResponse {
            indicators: vec![indicator("indicators/a"), indicator("indicators/b"), v1::Indicator::default()],
            next_page_token: "next".into(),
            plan: Some(v1::QueryPlan { steps }),
        };
        let page = Page {
            indicators: contract.indicators.iter().map(|one| one.encode_to_vec().into()).collect(),
            next_page_token: contract.next_page_token.clone(),
            plan: contract.plan.clone(),
        };
        assert_eq!(page.encode_to_vec(), contract.encode_to_vec());
        assert_eq!(Page::default().encode_to_vec(), v1::ListIndicatorsResponse::default().encode_to_vec());
    }
}
