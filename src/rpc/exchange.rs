//! Decides nothing: unpacks the calls of `ExchangeService`, hands them to the
//! hub, and wraps what it answers. `ListIndicators` is served by
//! [`super::listing`].

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{Stream, StreamExt as _, stream};
use prost::Message as _;
use tokio::sync::Semaphore;
use tonic::{Request, Response, Status, Streaming};

use crate::hub::budget::{PATIENCE, SHAPED};
use crate::hub::error::{Error, Reason};
use crate::hub::{self, Asked, Caller, Hub, Rejection};
use crate::model::Invalid;
use crate::model::principal::SpiffeId;
use crate::policy::explain;
use crate::policy::limits::Rate;
use crate::wire::convert::{batch, draft, guard, name, revocation, sighting, time};
use crate::wire::proto::v1;
use crate::wire::proto::v1::exchange_service_server::ExchangeService;

use super::call::Call;
use super::lookup;
use super::status::{self, invalid, status};

/// Requests of one stream that may be in flight at once.
const PUBLISH_WINDOW: usize = 32;
/// The same in KiB, so that large requests do not add up.
const PUBLISH_WINDOW_KIB: u32 = 16 * 1024;
/// Look-ups of one stream that may be in flight at once.
const LOOKUP_WINDOW: usize = 8;

/// The answers of a stream.
type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// The calls of `ExchangeService`.
#[derive(Debug, Clone)]
pub(super) struct Exchange(pub(super) Arc<Hub>);

#[tonic::async_trait]
impl ExchangeService for Exchange {
    async fn publish_indicators(
        &self,
        mut request: Request<v1::PublishIndicatorsRequest>,
    ) -> Result<Response<v1::PublishIndicatorsResponse>, Status> {
        let call = Call::take(&mut request)?;
        let request = request.into_inner();
        charge(&call, Rate::Items, request.indicators.len(), SHAPED).await?;
        publish(&self.0, &call.caller, request).await.map(Response::new).map_err(status)
    }

    type PublishStreamStream = Answers<v1::PublishIndicatorsResponse>;

    async fn publish_stream(
        &self,
        mut request: Request<Streaming<v1::PublishIndicatorsRequest>>,
    ) -> Result<Response<Self::PublishStreamStream>, Status> {
        let call = Call::take(&mut request)?;
        let hub = Arc::clone(&self.0);
        let room = Arc::new(Semaphore::new(PUBLISH_WINDOW_KIB as usize));
        // Each request is begun in order of arrival; `buffered` answers in the
        // same order. Nothing more is read while the window is full.
        let payer = call.clone();
        let answers = until_severed(Arc::clone(&hub), call.clone(), request.into_inner())
            .then(move |request| {
                let (room, call) = (Arc::clone(&room), payer.clone());
                async move {
                    let request = paid(&call, Rate::Items, request, |it| it.indicators.len()).await;
                    let held = room.acquire_many_owned(kib(&request)).await;
                    (request, held)
                }
            })
            .map(move |(request, held)| {
                let (hub, call) = (Arc::clone(&hub), call.clone());
                async move {
                    let _held = held;
                    let (caller, request) = (call.again(&hub).map_err(status)?, request?);
                    on_record(&hub, &caller, publish(&hub, &caller, request)).await
                }
            })
            .buffered(PUBLISH_WINDOW);
        Ok(Response::new(Box::pin(answers)))
    }

    async fn revoke_indicator(
        &self,
        mut request: Request<v1::RevokeIndicatorRequest>,
    ) -> Result<Response<v1::RevokeIndicatorResponse>, Status> {
        let call = Call::take(&mut request)?;
        let v1::RevokeIndicatorRequest { request_id, name, revocation, etag, on_behalf_of } =
            request.into_inner();
        call.caller.trail().about(|| name.clone());
        charge(&call, Rate::Items, 1, PATIENCE).await?;
        let asked = asked(&request_id, &on_behalf_of).map_err(invalid)?;
        let id = name::read_indicator("name", &name).map_err(invalid)?;
        let revocation =
            revocation::read(revocation).map_err(|refused| invalid(refused.under("revocation")))?;
        let etag = name::read_etag(&etag).map_err(invalid)?;
        let stored = self.0.revoke(&call.caller, asked, id, revocation, etag).await.map_err(status)?;
        Ok(Response::new(v1::RevokeIndicatorResponse { indicator: Some(decode(stored)?) }))
    }

    async fn report_sightings(
        &self,
        mut request: Request<v1::ReportSightingsRequest>,
    ) -> Result<Response<v1::ReportSightingsResponse>, Status> {
        let call = Call::take(&mut request)?;
        let request = request.into_inner();
        let size = request.encoded_len();
        let v1::ReportSightingsRequest { request_id, sightings } = request;
        let request_id = name::read_request_id(&request_id).map_err(invalid)?;
        call.caller.trail().asked(sightings.len());
        check_batch("sightings", sightings.len(), size).map_err(status)?;
        charge(&call, Rate::Items, sightings.len(), SHAPED).await?;
        let items = sightings.into_iter().map(sighting::read).collect();
        let recorded = self.0.report_sightings(&call.caller, request_id, items).await.map_err(status)?;
        let taken = recorded.iter().filter(|verdict| verdict.is_ok()).count();
        call.caller.trail().given(taken, recorded.len() - taken);
        let results = recorded.into_iter().enumerate().map(sighting_result).collect();
        Ok(Response::new(v1::ReportSightingsResponse { results }))
    }

    async fn get_indicator(
        &self,
        mut request: Request<v1::GetIndicatorRequest>,
    ) -> Result<Response<v1::GetIndicatorResponse>, Status> {
        let call = Call::take(&mut request)?;
        let v1::GetIndicatorRequest { name, as_of } = request.into_inner();
        call.caller.trail().about(|| name.clone());
        let id = name::read_indicator("name", &name).map_err(invalid)?;
        let found = match time::read("as_of", as_of).map_err(invalid)? {
            Some(moment) => self.0.get_as_of(&call.caller, id, moment).await,
            None => self.0.get(&call.caller, id).await,
        }
        .map_err(status)?;
        let sightings = found.sightings.into_iter().map(decode).collect::<Result<_, _>>()?;
        let collisions = found.collisions.into_iter().map(decode).collect::<Result<_, _>>()?;
        let indicator = Some(decode(found.indicator)?);
        Ok(Response::new(v1::GetIndicatorResponse { indicator, sightings, collisions }))
    }

    async fn explain_access(
        &self,
        mut request: Request<v1::ExplainAccessRequest>,
    ) -> Result<Response<v1::ExplainAccessResponse>, Status> {
        let call = Call::take(&mut request)?;
        let v1::ExplainAccessRequest { name, organisation, principal } = request.into_inner();
        call.caller.trail().about(|| format!("{name} for {organisation} {principal}"));
        let id = name::read_indicator("name", &name).map_err(invalid)?;
        let own = call.caller.identity().org();
        let org = name::read_organisation_or_me("organisation", &organisation, own).map_err(invalid)?;
        let person = match principal.as_str() {
            "" => None,
            text => Some(SpiffeId::parse(text).map_err(|refused| invalid(refused.under("principal")))?),
        };
        let told = self.0.explain(&call.caller, id, org, person).await.map_err(status)?;
        let steps = told.steps.into_iter().map(access_step).collect();
        Ok(Response::new(v1::ExplainAccessResponse { visible: told.visible, steps }))
    }

    async fn list_indicators(
        &self,
        _: Request<v1::ListIndicatorsRequest>,
    ) -> Result<Response<v1::ListIndicatorsResponse>, Status> {
        Err(status(Error::internal("ListIndicators is served by its own codec")))
    }

    type LookupObservablesStream = Answers<v1::LookupObservablesResponse>;

    async fn lookup_observables(
        &self,
        mut request: Request<Streaming<v1::LookupObservablesRequest>>,
    ) -> Result<Response<Self::LookupObservablesStream>, Status> {
        let call = Call::take(&mut request)?;
        let hub = Arc::clone(&self.0);
        let payer = call.clone();
        let answers = until_severed(Arc::clone(&hub), call.clone(), request.into_inner())
            .then(move |request| {
                let call = payer.clone();
                async move { paid(&call, Rate::Lookups, request, |it| it.observables.len()).await }
            })
            .map(move |request| {
                let (hub, call) = (Arc::clone(&hub), call.clone());
                async move {
                    let (caller, request) = (call.again(&hub).map_err(status)?, request?);
                    on_record(&hub, &caller, lookup::lookup(&hub, &caller, request)).await
                }
            })
            .buffered(LOOKUP_WINDOW);
        Ok(Response::new(Box::pin(answers)))
    }
}

fn access_step(step: explain::Step) -> v1::AccessStep {
    let [text, text_vi] = step.words();
    let explain::Step { why, organisation, group, person, date } = step;
    v1::AccessStep {
        why: why as i32,
        organisation: organisation.as_ref().map(name::organisation).unwrap_or_default(),
        group: group.map(|group| group.to_string()).unwrap_or_default(),
        principal: person.map(|person| person.as_str().to_owned()).unwrap_or_default(),
        date: date.map(|date| date.to_string()).unwrap_or_default(),
        text,
        text_vi,
    }
}

async fn publish(
    hub: &Hub,
    caller: &Caller,
    request: v1::PublishIndicatorsRequest,
) -> Result<v1::PublishIndicatorsResponse, Error> {
    let size = request.encoded_len();
    let v1::PublishIndicatorsRequest { request_id, indicators, on_behalf_of } = request;
    let asked = asked(&request_id, &on_behalf_of)?;
    caller.trail().asked(indicators.len());
    check_batch("indicators", indicators.len(), size)?;
    let items = indicators.into_iter().map(draft::read).collect();
    let verdicts = hub.publish(caller, asked, items).await?;
    let taken = verdicts.iter().filter(|verdict| verdict.is_ok()).count();
    caller.trail().given(taken, verdicts.len() - taken);
    Ok(v1::PublishIndicatorsResponse {
        results: verdicts.into_iter().enumerate().map(publish_result).collect(),
    })
}

/// Answers one message of a stream, once it is on record where that has to be.
async fn on_record<T>(
    hub: &Hub,
    caller: &Caller,
    answer: impl Future<Output = Result<T, Error>>,
) -> Result<T, Status> {
    let answer = answer.await;
    let outcome = answer.as_ref().err().map_or("OK", |error| error.reason.as_str());
    let noted = hub.conclude(caller.trail(), outcome).await;
    noted.and(answer).map_err(status)
}

/// What names a request that writes, and for whom it asks.
pub(super) fn asked(request_id: &str, on_behalf_of: &str) -> Result<Asked, Invalid> {
    let request_id = name::read_request_id(request_id)?;
    let unit = (!on_behalf_of.is_empty()).then(|| name::read_organisation("on_behalf_of", on_behalf_of));
    Ok(Asked { request_id, on_behalf_of: unit.transpose()? })
}

/// Charges the caller for so many, before they are looked at.
pub(super) async fn charge(call: &Call, rate: Rate, count: usize, patience: Duration) -> Result<(), Status> {
    let amount = u64::try_from(count).unwrap_or(u64::MAX);
    call.account.pay(rate, amount, patience).await.map_err(status)
}

/// A request of a stream once it is paid for: who sends faster than he may is
/// slowed down, and nothing more of his is read meanwhile.
async fn paid<T>(
    call: &Call,
    rate: Rate,
    request: Result<T, Status>,
    count: impl Fn(&T) -> usize,
) -> Result<T, Status> {
    let request = request?;
    charge(call, rate, count(&request), PATIENCE).await?;
    Ok(request)
}

/// What a request takes up of a stream's window.
fn kib(request: &Result<v1::PublishIndicatorsRequest, Status>) -> u32 {
    let bytes = request.as_ref().map_or(0, prost::Message::encoded_len);
    u32::try_from(bytes / 1024 + 1).unwrap_or(u32::MAX).min(PUBLISH_WINDOW_KIB)
}

pub(super) fn check_batch(field: &str, items: usize, encoded: usize) -> Result<(), Error> {
    batch::check_some(field, items)?;
    if batch::is_too_large(items, encoded) {
        return Err(Error::new(
            Reason::RequestTooLarge,
            "a request holds at most 1,000 items and 4 MiB; send several",
        ));
    }
    Ok(())
}

fn publish_result((i, verdict): (usize, Result<hub::Published, Rejection>)) -> v1::PublishResult {
    use v1::publish_result::Outcome;
    let outcome = match verdict {
        Ok(hub::Published { id, version, effect, guard, held }) => {
            Outcome::Published(v1::PublishedIndicator {
                name: name::indicator(id),
                version,
                effect: published_effect(effect).into(),
                guard: guard.map(|found| guard::finding(found, held.as_deref())),
            })
        }
        Err(refused) => Outcome::Rejected(status::rejection(format_args!("indicators[{i}]"), refused)),
    };
    v1::PublishResult { outcome: Some(outcome) }
}

const fn published_effect(effect: hub::Effect) -> v1::PublishEffect {
    match effect {
        hub::Effect::Created => v1::PublishEffect::Created,
        hub::Effect::Updated => v1::PublishEffect::Updated,
        hub::Effect::Unchanged => v1::PublishEffect::Unchanged,
        hub::Effect::Reinstated => v1::PublishEffect::Reinstated,
    }
}

fn sighting_result((i, verdict): (usize, Result<hub::SightingName, Rejection>)) -> v1::SightingResult {
    use v1::sighting_result::Outcome;
    let outcome = match verdict {
        Ok(hub::SightingName { indicator, sighting }) => {
            Outcome::Recorded(name::sighting(indicator, sighting))
        }
        Err(refused) => Outcome::Rejected(status::rejection(format_args!("sightings[{i}]"), refused)),
    };
    v1::SightingResult { outcome: Some(outcome) }
}

/// The requests of a stream, ended with the reason once the caller's
/// certificate is no longer good.
fn until_severed<T: Send + 'static>(
    hub: Arc<Hub>,
    call: Call,
    requests: Streaming<T>,
) -> impl Stream<Item = Result<T, Status>> + Send {
    let caller = call.caller.clone();
    let watched = call.caller.clone();
    until_error(requests).take_until(async move { watched.severed().await }).chain(
        stream::once(async move {
            if caller.is_severed() { Some(Err(status(call.severed(&hub).await))) } else { None }
        })
        .filter_map(std::future::ready),
    )
}

/// The requests of a stream up to the first that cannot be read: tonic goes on
/// behind it, byte by byte, and takes what follows for further messages.
fn until_error<T: Send + 'static>(requests: Streaming<T>) -> impl Stream<Item = Result<T, Status>> + Send {
    stream::unfold(Some(requests), |requests| async move {
        let mut requests = requests?;
        match requests.message().await.transpose()? {
            Ok(request) => Some((Ok(request), Some(requests))),
            Err(status) => Some((Err(status), None)),
        }
    })
}

/// Reads a message that the hub itself encoded.
pub(super) fn decode<M: prost::Message + Default>(encoded: bytes::Bytes) -> Result<M, Status> {
    M::decode(encoded).map_err(|error| status(Error::internal(error)))
}

#[cfg(test)]
mod tests {
    use tonic_types::RpcStatusExt as _;

    use super::*;
    use crate::model::invalid;

    #[test]
    fn a_refused_item_names_its_place_in_the_batch() {
        let refused = Rejection::from(Invalid::new("marking.tlp", "no"));
        let Some(v1::publish_result::Outcome::Rejected(status)) = publish_result((3, Err(refused))).outcome
        else {
            panic!("rejected");
        };
        let violations = status.get_error_details().bad_request().unwrap().field_violations.clone();
        assert_eq!(violations[0].field, "indicators[3].marking.tlp");
    }

    #[test]
    fn a_batch_is_neither_empty_nor_larger_than_the_limits() {
        let reason = |items, encoded| check_batch("indicators", items, encoded).err().map(|e| e.reason);
        assert_eq!(reason(0, 0), Some(Reason::Input(invalid::Reason::FieldInvalid)));
        assert_eq!(reason(1_001, 0), Some(Reason::RequestTooLarge));
        assert_eq!(reason(1, batch::MAX_BATCH_BYTES + 1), Some(Reason::RequestTooLarge));
        assert_eq!(reason(1_000, batch::MAX_BATCH_BYTES), None);
    }
}
