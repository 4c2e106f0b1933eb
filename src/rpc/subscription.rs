//! Decides nothing: unpacks the unary calls of `SubscriptionService`, hands
//! them to the hub, and wraps what it answers. `Subscribe` has a codec of its
//! own and is served by [`super::subscribe`].

use std::sync::Arc;

use tonic::{Request, Response, Status, Streaming};

use crate::hub::error::Error;
use crate::hub::{Hub, SubscriptionRecord};
use crate::model::org::OrgSlug;
use crate::wire::convert::{batch, filter, name, time};
use crate::wire::proto::v1;
use crate::wire::proto::v1::subscription_service_server::SubscriptionService;

use super::call::Call;
use super::page;
use super::status::{invalid, status};

/// The unary calls of `SubscriptionService`.
#[derive(Debug, Clone)]
pub(super) struct Subscriptions(pub(super) Arc<Hub>);

#[tonic::async_trait]
impl SubscriptionService for Subscriptions {
    type SubscribeStream = futures_util::stream::Empty<Result<v1::SubscribeResponse, Status>>;

    async fn subscribe(
        &self,
        _: Request<Streaming<v1::SubscribeRequest>>,
    ) -> Result<Response<Self::SubscribeStream>, Status> {
        Err(status(Error::internal("Subscribe is served by its own codec")))
    }

    async fn get_subscription(
        &self,
        mut request: Request<v1::GetSubscriptionRequest>,
    ) -> Result<Response<v1::GetSubscriptionResponse>, Status> {
        let call = Call::take(&mut request)?;
        let v1::GetSubscriptionRequest { name } = request.into_inner();
        let id = own(&call, &name)?;
        let record = self.0.subscription(&call.caller, &id).await.map_err(status)?;
        let subscription = show(call.caller.identity().org(), record);
        Ok(Response::new(v1::GetSubscriptionResponse { subscription: Some(subscription) }))
    }

    async fn list_subscriptions(
        &self,
        mut request: Request<v1::ListSubscriptionsRequest>,
    ) -> Result<Response<v1::ListSubscriptionsResponse>, Status> {
        let call = Call::take(&mut request)?;
        let v1::ListSubscriptionsRequest { page_size, page_token } = request.into_inner();
        let size = batch::read_page_size(page_size).map_err(invalid)?;
        let all = self.0.subscriptions(&call.caller).await.map_err(status)?;
        let owner = call.caller.identity().org();
        let list = format!("subscriptions of {}", call.caller.identity());
        let (page, next_page_token) =
            page::cut(&list, all, |record| record.name.as_str(), size, &page_token).map_err(status)?;
        let subscriptions = page.into_iter().map(|record| show(owner, record)).collect();
        Ok(Response::new(v1::ListSubscriptionsResponse { subscriptions, next_page_token }))
    }

    async fn delete_subscription(
        &self,
        mut request: Request<v1::DeleteSubscriptionRequest>,
    ) -> Result<Response<v1::DeleteSubscriptionResponse>, Status> {
        let call = Call::take(&mut request)?;
        let v1::DeleteSubscriptionRequest { name } = request.into_inner();
        let id = own(&call, &name)?;
        self.0.delete_subscription(&call.caller, &id).await.map_err(status)?;
        Ok(Response::new(v1::DeleteSubscriptionResponse {}))
    }
}

/// The last segment of a subscription's name; another organisation's is as
/// absent as one that never was, and so is a colleague's to the hub.
fn own(call: &Call, text: &str) -> Result<String, Status> {
    let own = call.caller.identity().org();
    let (owner, id) = name::read_subscription("name", text, own).map_err(invalid)?;
    if owner == *own { Ok(id) } else { Err(status(Error::absent())) }
}

fn show(owner: &OrgSlug, record: SubscriptionRecord) -> v1::Subscription {
    let SubscriptionRecord { name, filter, created, acked, include_sightings, include_notices } = record;
    v1::Subscription {
        name: name::subscription(owner, &name),
        filter: Some(filter::write(filter)),
        create_time: Some(time::write(created)),
        ack_time: acked.map(time::write),
        include_sightings,
        include_notices,
    }
}
