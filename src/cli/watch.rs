//! Decides how `luytre query --watch` goes on after its answer: with what newly
//! matches, told by a subscription, or, where the question asks what
//! subscriptions do not or its asker may not subscribe, by asking again.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use crate::base::clock::Timestamp;
use crate::client::{Advice, Client, Delivery, Start, Subscribe, Subscription};
use crate::model::query::Order;
use crate::wire::event;
use crate::wire::proto::v1;

use super::arguments::Query;
use super::draft::wire_time;
use super::exit::Failure;

/// Between two questions.
const EVERY: Duration = Duration::from_secs(3);
/// Indicators in a page.
const PAGE: i32 = 500;

/// What comes after an answer.
pub(super) struct News {
    from: From,
    /// Versions that were shown: they do not come again.
    shown: HashMap<String, u64>,
}

enum From {
    Subscription {
        subscription: Box<Subscription>,
        ready: VecDeque<v1::Indicator>,
    },
    Questions {
        client: Client,
        filter: Box<v1::IndicatorFilter>,
        /// What was added since is new.
        since: Timestamp,
    },
}

impl News {
    /// Listens from now on, before the question is asked.
    pub(super) async fn listen(client: &Client, options: &Query) -> Result<Self, Failure> {
        let filter = options.asked.to_wire().map_err(Failure::Usage)?;
        let subscribed = if options.asked.is_for_subscriptions() {
            subscribe(client, filter.clone()).await?
        } else {
            None
        };
        let from = match subscribed {
            Some(from) => from,
            None => questions(client, filter).await?,
        };
        Ok(Self { from, shown: HashMap::new() })
    }

    /// Notes that an indicator was shown as it stands.
    pub(super) fn note(&mut self, indicator: &v1::Indicator) {
        self.shown.insert(indicator.name.clone(), indicator.version);
    }

    /// Waits for what newly matches.
    pub(super) async fn next(&mut self) -> Result<Vec<v1::Indicator>, Failure> {
        loop {
            let mut found = match &mut self.from {
                From::Subscription { subscription, ready } => {
                    if ready.is_empty() {
                        hear(subscription, ready).await?;
                    }
                    std::mem::take(ready).into()
                }
                From::Questions { client, filter, since } => {
                    tokio::time::sleep(EVERY).await;
                    ask(client, filter, since).await?
                }
            };
            found.retain(|new| self.shown.get(&new.name).is_none_or(|shown| *shown < new.version));
            if !found.is_empty() {
                return Ok(found);
            }
        }
    }
}

/// Subscribes, and waits until the hub has begun; `None`: the caller may not.
async fn subscribe(client: &Client, filter: v1::IndicatorFilter) -> Result<Option<From>, Failure> {
    let options = Subscribe { filter, ..Subscribe::from(Start::Latest) };
    let (mut subscription, mut ready) = (Box::new(client.subscribe(options)), VecDeque::new());
    loop {
        match hear(&mut subscription, &mut ready).await {
            Ok(true) => return Ok(Some(From::Subscription { subscription, ready })),
            Ok(false) => {}
            Err(Failure::Client(error)) if error.reason() == "ROLE_INSUFFICIENT" => return Ok(None),
            Err(error) => return Err(error),
        }
    }
}

/// Takes what comes next; whether all there was when the stream began has come.
async fn hear(subscription: &mut Subscription, ready: &mut VecDeque<v1::Indicator>) -> Result<bool, Failure> {
    let Some(delivery) = subscription.next().await? else {
        return Err(Failure::Interrupted("the hub ended the subscription".to_owned()));
    };
    let caught_up = matches!(&delivery, Delivery::Events(events) if events.caught_up);
    if let Some(token) = delivery.token() {
        subscription.confirm(token).await?;
    }
    if let Delivery::Events(events) = delivery {
        for received in events.events {
            let matches = matches!(received.kind, v1::EventKind::New | v1::EventKind::Update);
            if let Some(v1::event::Subject::Indicator(indicator)) = received.event.subject.filter(|_| matches)
            {
                ready.push_back(indicator);
            }
        }
    }
    Ok(caught_up)
}

/// Asks from now on, by the clock of the hub.
async fn questions(client: &Client, filter: v1::IndicatorFilter) -> Result<From, Failure> {
    let answer = client.aggregate(v1::AggregateIndicatorsRequest::default()).await?;
    let since = answer.as_of_time.as_ref().and_then(event::timestamp).unwrap_or_default();
    Ok(From::Questions { client: client.clone(), filter: Box::new(filter), since })
}

/// What was added since the last time, oldest first. While the hub is away
/// there is nothing new.
async fn ask(
    client: &Client,
    filter: &v1::IndicatorFilter,
    since: &mut Timestamp,
) -> Result<Vec<v1::Indicator>, Failure> {
    let asked = filter.added.unwrap_or_default();
    let from = asked.start_time.as_ref().and_then(event::timestamp).map_or(*since, |from| from.max(*since));
    let added = v1::TimeRange { start_time: Some(wire_time(from)), ..asked };
    let mut walk = client.query(v1::ListIndicatorsRequest {
        filter: Some(v1::IndicatorFilter { added: Some(added), ..filter.clone() }),
        page_size: PAGE,
        order: i32::from(Order::ModifiedOldest.number()),
        ..v1::ListIndicatorsRequest::default()
    });
    let mut found = Vec::new();
    loop {
        match walk.next_page().await {
            Ok(Some(page)) => found.extend(page),
            Ok(None) => break,
            Err(error) if matches!(error.advice(), Advice::Retry(_)) => break,
            Err(error) => return Err(error.into()),
        }
    }
    // What was heard before a break is not asked for again.
    if let Some(last) = found.last() {
        *since = Timestamp::from_micros_clamped(last.version.saturating_add(1)).max(*since);
    }
    Ok(found)
}
