//! Decides how single calls are made: within a deadline, tried again only
//! where that is safe, and under one request id however often they are tried.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tonic::{Code, Request, Response, Status};

use crate::base::random;
use crate::wire::proto::v1;
use v1::directory_service_client::DirectoryServiceClient;
use v1::exchange_service_client::ExchangeServiceClient;
use v1::subscription_service_client::SubscriptionServiceClient;

use super::audit::Witnessed;
use super::backoff::{Backoff, Tries};
use super::connection::Connection;
use super::error::{Error, cause};
use super::publish::Verdict;

/// Most items in one request, as the public contract says.
pub const MAX_ITEMS: usize = 1_000;
/// Items in a page, the most that the public contract gives.
const PAGE: i32 = 1_000;
/// Largest message taken from the hub: a page of a thousand full indicators.
pub(super) const MAX_MESSAGE: usize = 32 * 1024 * 1024;

/// The calls of the hub. Cheap to clone; clones share one channel.
#[derive(Debug, Clone)]
pub struct Client {
    connection: Connection,
    deadline: Duration,
    backoff: Backoff,
    /// The newest checkpoint of the hub's audit; clones share it.
    witnessed: Arc<Mutex<Option<Witnessed>>>,
}

impl Client {
    pub(super) fn new(connection: Connection) -> Self {
        let (deadline, backoff) = (Duration::from_secs(30), Backoff::CALL);
        Self { connection, deadline, backoff, witnessed: Arc::default() }
    }

    pub(super) fn witnessed(&self) -> &Mutex<Option<Witnessed>> {
        &self.witnessed
    }

    /// The same client with another deadline for a whole call, retries
    /// included; 30 seconds otherwise.
    #[must_use]
    pub const fn with_deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// The same client with another patience between tries.
    #[must_use]
    pub const fn with_backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = backoff;
        self
    }

    /// What the hub makes of this client's certificate.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn whoami(&self) -> Result<v1::WhoAmIResponse, Error> {
        self.call(v1::WhoAmIRequest {}, |request| async { self.directory().who_am_i(request).await }).await
    }

    /// One indicator, the newest sightings of it and, for its owner, collisions.
    ///
    /// # Errors
    /// `NOT_FOUND` if there is none or it is hidden; see [`Error`].
    pub async fn get(&self, name: &str) -> Result<v1::GetIndicatorResponse, Error> {
        let request = v1::GetIndicatorRequest { name: name.to_owned(), as_of: None };
        self.call(request, |request| async { self.exchange().get_indicator(request).await }).await
    }

    /// Why `organisation`, or `principal` of it unless empty, sees an
    /// indicator of the caller's organisation, or does not.
    ///
    /// # Errors
    /// `NOT_FOUND`, `ORGANISATION_UNKNOWN`; see [`Error`].
    pub async fn explain(
        &self,
        name: &str,
        organisation: &str,
        principal: &str,
    ) -> Result<v1::ExplainAccessResponse, Error> {
        let request = v1::ExplainAccessRequest {
            name: name.to_owned(),
            organisation: organisation.to_owned(),
            principal: principal.to_owned(),
        };
        self.call(request, |request| async { self.exchange().explain_access(request).await }).await
    }

    /// A walk over the indicators that `filter` wants, newest version first,
    /// page by page.
    ///
    /// ```no_run
    /// # async fn example(client: luytre::client::Client) -> Result<(), luytre::client::Error> {
    /// let mut walk = client.list(Default::default(), 500);
    /// while let Some(page) = walk.next_page().await? {
    ///     println!("{} more", page.len());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn list(&self, filter: v1::IndicatorFilter, page_size: i32) -> Listing {
        self.query(v1::ListIndicatorsRequest { filter: Some(filter), page_size, ..Default::default() })
    }

    /// A walk over what answers a question, page by page: in its order, and as
    /// of the moment that it names.
    #[must_use]
    pub fn query(&self, question: v1::ListIndicatorsRequest) -> Listing {
        Listing { client: self.clone(), request: question, ended: false, plan: None }
    }

    /// Takes back an indicator of the caller's organisation, or of the one
    /// named `on_behalf_of`, if that is not empty. `etag` is the decimal text
    /// of the version last seen; empty: whichever stands.
    ///
    /// # Errors
    /// `NOT_FOUND`, `ETAG_MISMATCH`; see [`Error`].
    pub async fn revoke(
        &self,
        name: &str,
        revocation: v1::Revocation,
        etag: &str,
        on_behalf_of: &str,
    ) -> Result<v1::RevokeIndicatorResponse, Error> {
        let request = v1::RevokeIndicatorRequest {
            request_id: request_id(),
            name: name.to_owned(),
            revocation: Some(revocation),
            etag: etag.to_owned(),
            on_behalf_of: on_behalf_of.to_owned(),
        };
        self.call(request, |request| async { self.exchange().revoke_indicator(request).await }).await
    }

    /// Records up to [`MAX_ITEMS`] sightings: one verdict each, in order.
    ///
    /// # Errors
    /// See [`Error`]; a refused sighting is a verdict, not an error.
    pub async fn sight(&self, sightings: Vec<v1::Sighting>) -> Result<Vec<v1::SightingResult>, Error> {
        let asked = sightings.len();
        let request = v1::ReportSightingsRequest { request_id: request_id(), sightings };
        let answer =
            self.call(request, |request| async { self.exchange().report_sightings(request).await }).await?;
        check_count(asked, answer.results.len())?;
        Ok(answer.results)
    }

    /// Publishes up to [`MAX_ITEMS`] drafts: one verdict each, in order, sent
    /// after they are durable. For more than a few, see
    /// [`Client::publish_stream`].
    ///
    /// # Errors
    /// See [`Error`]; a refused indicator is a verdict, not an error.
    pub async fn publish<D>(&self, drafts: impl IntoIterator<Item = D>) -> Result<Vec<Verdict>, Error>
    where
        D: Into<v1::IndicatorDraft>,
    {
        let indicators: Vec<_> = drafts.into_iter().map(Into::into).collect();
        let asked = indicators.len();
        let request = v1::PublishIndicatorsRequest {
            request_id: request_id(),
            indicators,
            ..v1::PublishIndicatorsRequest::default()
        };
        let answer =
            self.call(request, |request| async { self.exchange().publish_indicators(request).await }).await?;
        check_count(asked, answer.results.len())?;
        Ok((0..).zip(answer.results).map(|(index, result)| Verdict { index, result }).collect())
    }

    /// A named subscription of the caller's own, by its full name.
    ///
    /// # Errors
    /// `NOT_FOUND`; see [`Error`].
    pub async fn subscription(&self, name: &str) -> Result<Option<v1::Subscription>, Error> {
        let request = v1::GetSubscriptionRequest { name: name.to_owned() };
        let answer = self
            .call(request, |request| async { self.subscriptions().get_subscription(request).await })
            .await?;
        Ok(answer.subscription)
    }

    /// A page of the caller's own named subscriptions, and the
    /// token of the next page, empty at the end.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn named_subscriptions(
        &self,
        page_token: &str,
    ) -> Result<(Vec<v1::Subscription>, String), Error> {
        let request = v1::ListSubscriptionsRequest { page_size: PAGE, page_token: page_token.to_owned() };
        let page = self
            .call(request, |request| async { self.subscriptions().list_subscriptions(request).await })
            .await?;
        Ok((page.subscriptions, following(page.next_page_token, page_token)?))
    }

    /// Deletes a named subscription of the caller's own and its
    /// cursor, by its full name. A stream of it ends.
    ///
    /// # Errors
    /// `NOT_FOUND`; see [`Error`].
    pub async fn delete_subscription(&self, name: &str) -> Result<(), Error> {
        let request = v1::DeleteSubscriptionRequest { name: name.to_owned() };
        let tries = AtomicU32::new(0);
        let deleted = self
            .call(request, |request| async {
                tries.fetch_add(1, Ordering::Relaxed);
                self.subscriptions().delete_subscription(request).await
            })
            .await;
        match deleted {
            // The try whose answer was lost has deleted it.
            Err(error) if error.reason() == "NOT_FOUND" && tries.load(Ordering::Relaxed) > 1 => Ok(()),
            deleted => deleted.map(|_| ()),
        }
    }

    /// A page of who takes part, and the token of the next page, empty at the
    /// end. `all`: also those that do not take part now.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn organisations(
        &self,
        all: bool,
        page_token: &str,
    ) -> Result<(Vec<v1::Organisation>, String), Error> {
        let request = v1::ListOrganisationsRequest {
            page_size: PAGE,
            page_token: page_token.to_owned(),
            include_inactive: all,
        };
        let page = self
            .call(request, |request| async { self.directory().list_organisations(request).await })
            .await?;
        Ok((page.organisations, following(page.next_page_token, page_token)?))
    }

    /// Address of the hub, for people.
    #[must_use]
    pub fn hub(&self) -> &str {
        self.connection.hub()
    }

    pub(super) const fn deadline(&self) -> Duration {
        self.deadline
    }

    pub(super) const fn connection(&self) -> &Connection {
        &self.connection
    }

    pub(super) fn exchange(&self) -> ExchangeServiceClient<tonic::transport::Channel> {
        ExchangeServiceClient::new(self.connection.channel()).max_decoding_message_size(MAX_MESSAGE)
    }

    pub(super) fn subscriptions(&self) -> SubscriptionServiceClient<tonic::transport::Channel> {
        SubscriptionServiceClient::new(self.connection.channel()).max_decoding_message_size(MAX_MESSAGE)
    }

    fn directory(&self) -> DirectoryServiceClient<tonic::transport::Channel> {
        DirectoryServiceClient::new(self.connection.channel())
    }

    /// Makes a call until it is answered, refused, or out of time.
    pub(super) async fn call<Q, A, F>(&self, message: Q, make: impl Fn(Request<Q>) -> F) -> Result<A, Error>
    where
        Q: Clone,
        F: Future<Output = Result<Response<A>, Status>>,
    {
        let hub = self.connection.hub();
        let mut tries = Tries::new(self.backoff, 1);
        let mut last = None;
        let answered = async {
            loop {
                let mut request = Request::new(message.clone());
                // Tells the hub when nobody waits any more.
                request.set_timeout(self.deadline);
                match make(request).await {
                    Ok(response) => return Ok(response.into_inner()),
                    Err(status) => {
                        let delay = tries.after(&status, hub)?;
                        // A call cut off by its own deadline explains nothing.
                        if status.code() != Code::Cancelled {
                            last = Some(cause(&status));
                        }
                        tokio::time::sleep(delay).await;
                    }
                }
            }
        };
        let ended = tokio::time::timeout(self.deadline, answered).await;
        ended.unwrap_or_else(|_| Err(Error::Timeout { hub: hub.to_owned(), after: self.deadline, last }))
    }
}

/// A walk over indicators. Pages are read as they are asked for.
#[derive(Debug)]
pub struct Listing {
    client: Client,
    request: v1::ListIndicatorsRequest,
    ended: bool,
    plan: Option<v1::QueryPlan>,
}

impl Listing {
    /// How the last page was found, if the question asks for it.
    #[must_use]
    pub const fn plan(&self) -> Option<&v1::QueryPlan> {
        self.plan.as_ref()
    }

    /// The next page; `None` after the last. May be empty in the middle.
    ///
    /// # Errors
    /// See [`Error`]. The walk can go on with the page that failed.
    pub async fn next_page(&mut self) -> Result<Option<Vec<v1::Indicator>>, Error> {
        if self.ended {
            return Ok(None);
        }
        let client = &self.client;
        let page = client
            .call(self.request.clone(), |request| async { client.exchange().list_indicators(request).await })
            .await?;
        self.ended = page.next_page_token.is_empty();
        self.plan = page.plan;
        self.request.page_token = following(page.next_page_token, &self.request.page_token)?;
        Ok(Some(page.indicators))
    }
}

/// The token of the next page, which is not that of the page it came with: a
/// walk has to end.
pub(super) fn following(next: String, asked: &str) -> Result<String, Error> {
    if !next.is_empty() && next == asked {
        return Err(Error::Protocol("a page names itself as the next one".to_owned()));
    }
    Ok(next)
}

/// A new request id: a random UUID.
pub(super) fn request_id() -> String {
    uuid::Builder::from_random_bytes(random::bytes()).into_uuid().to_string()
}

/// As many verdicts as items, or the order means nothing.
pub(super) fn check_count(asked: usize, answered: usize) -> Result<(), Error> {
    if asked == answered {
        Ok(())
    } else {
        Err(Error::Protocol(format!("{answered} verdicts on {asked} items")))
    }
}
