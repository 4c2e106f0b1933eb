//! Decides how a question is timed: one after the other on one connection,
//! from the request to the last byte of the answer, which is looked at later.

use std::time::{Duration, Instant};

use bytes::Bytes;
use luytre::wire::proto::v1;
use prost::Message as _;
use tonic::Status;
use tonic::transport::Channel;

use super::load::quantile;
use super::place::Place;
use super::process;
use super::wire::{Fields, Target, unary};

pub const PUBLISH: &str = "/luytre.v1.ExchangeService/PublishIndicators";
pub const LIST: &str = "/luytre.v1.ExchangeService/ListIndicators";
pub const GET: &str = "/luytre.v1.ExchangeService/GetIndicator";
pub const LOOKUP: &str = "/luytre.v1.ExchangeService/LookupObservables";
pub const DOSSIER: &str = "/luytre.v1.HistoryService/GetObservable";
pub const VERSIONS: &str = "/luytre.v1.HistoryService/ListIndicatorVersions";
pub const EXPORT: &str = "/luytre.v1.HistoryService/ExportIndicators";
pub const WHO_AM_I: &str = "/luytre.v1.DirectoryService/WhoAmI";
/// Items of a page.
pub const PAGE: usize = 100;

/// Who asks.
#[derive(Debug, Clone)]
pub struct Asker {
    pub target: Target,
    pub channel: Channel,
    /// The process of the hub that is asked.
    pub pid: u32,
}

/// One question, encoded.
#[derive(Debug, Clone)]
pub struct Question {
    pub path: &'static str,
    pub request: Bytes,
}

impl Question {
    pub fn new(path: &'static str, request: &impl prost::Message) -> Self {
        Self { path, request: request.encode_to_vec().into() }
    }
}

/// What questions of a kind took.
#[derive(Debug, Clone, Default)]
pub struct Times {
    spans: Vec<Duration>,
    /// What of it the hub was at work, on all its threads.
    busy: Vec<Duration>,
    pub failed: usize,
    pub first_failure: Option<String>,
    /// Whether the hub has no such method.
    pub unknown: bool,
}

impl Times {
    pub fn p50(&self) -> f64 {
        quantile(&self.spans, 0.5)
    }

    pub fn p90(&self) -> f64 {
        quantile(&self.spans, 0.9)
    }

    pub fn p99(&self) -> f64 {
        quantile(&self.spans, 0.99)
    }

    pub fn max(&self) -> f64 {
        quantile(&self.spans, 1.0)
    }

    /// What 99 in 100 cost the hub: no neighbour on the machine moves that much.
    pub fn busy(&self) -> f64 {
        quantile(&self.busy, 0.99)
    }

    pub fn add(&mut self, span: Duration) {
        insert(&mut self.spans, span);
    }

    fn fail(&mut self, status: &Status) {
        self.failed += 1;
        self.unknown |= status.message().contains("no such method");
        let told = || format!("{:?}: {}", status.code(), status.message());
        self.first_failure.get_or_insert_with(told);
    }
}

fn insert(spans: &mut Vec<Duration>, span: Duration) {
    let place = spans.partition_point(|other| *other <= span);
    spans.insert(place, span);
}

impl Asker {
    pub async fn of(target: Target, pid: u32) -> Self {
        let channel = target.connect().await.expect("the hub takes a connection");
        Self { target, channel, pid }
    }

    /// Asks each; what fails counts with the time until it failed. Before each
    /// the store of `cold` is made cold.
    pub async fn times(&self, questions: &[Question], cold: Option<&Place>) -> Times {
        let mut times = Times::default();
        for question in questions {
            if let Some(place) = cold {
                place.evict();
            }
            let (busy, started) = (process::busy(self.pid), Instant::now());
            let answer = unary(&self.channel, question.path, question.request.clone()).await;
            times.add(started.elapsed());
            insert(&mut times.busy, process::busy(self.pid).saturating_sub(busy));
            if let Err(status) = answer {
                times.fail(&status);
            }
        }
        times
    }

    /// One page of a list.
    pub async fn page(
        &self,
        request: &v1::ListIndicatorsRequest,
    ) -> Result<v1::ListIndicatorsResponse, Status> {
        let answer = unary(&self.channel, LIST, request.encode_to_vec().into()).await?;
        v1::ListIndicatorsResponse::decode(answer).map_err(|error| Status::internal(error.to_string()))
    }

    /// The first page of each list: where the hub breaks off its search after
    /// a second, it is asked to go on until a page is full.
    pub async fn pages(&self, lists: &[v1::ListIndicatorsRequest], cold: Option<&Place>) -> Pages {
        let mut pages = Pages::default();
        for list in lists {
            if let Some(place) = cold {
                place.evict();
            }
            let first: Bytes = list.encode_to_vec().into();
            let (busy, started) = (process::busy(self.pid), Instant::now());
            let mut got = Vec::new();
            let mut answer = unary(&self.channel, LIST, first).await;
            loop {
                let page = match answer {
                    Ok(page) => page,
                    Err(status) => {
                        pages.times.fail(&status);
                        break;
                    }
                };
                let rows = rows_of(&page);
                let token = token_of(&page);
                got.push((rows, page));
                let so_far: usize = got.iter().map(|(rows, _)| rows).sum();
                if token.is_empty() || so_far >= PAGE {
                    break;
                }
                pages.cut += 1;
                let next = v1::ListIndicatorsRequest { page_token: token, ..list.clone() };
                answer = unary(&self.channel, LIST, next.encode_to_vec().into()).await;
            }
            let span = started.elapsed();
            if pages.slowest.is_none_or(|(slowest, _)| span > slowest) {
                pages.slowest = Some((span, pages.rows.len()));
            }
            pages.times.add(span);
            insert(&mut pages.times.busy, process::busy(self.pid).saturating_sub(busy));
            pages.rows.push(got.iter().map(|(rows, _)| rows).sum());
            pages.bodies.push(got.into_iter().map(|(_, page)| page).collect());
        }
        pages
    }
}

/// What lists brought.
#[derive(Debug, Default)]
pub struct Pages {
    pub times: Times,
    /// Rows of each first page.
    pub rows: Vec<usize>,
    /// Its answers.
    pub bodies: Vec<Vec<Bytes>>,
    /// Answers that were no full page and not the end.
    pub cut: usize,
    /// The longest time, and which list took it.
    slowest: Option<(Duration, usize)>,
}

impl Pages {
    /// The names on the first page of the `number`th list, in order.
    pub fn names(&self, number: usize) -> Vec<String> {
        let answers = self.bodies.get(number).into_iter().flatten();
        let decoded = answers.filter_map(|answer| v1::ListIndicatorsResponse::decode(answer.clone()).ok());
        let all = decoded.flat_map(|answer| answer.indicators).map(|indicator| indicator.name);
        all.take(PAGE).collect()
    }

    /// How the hub finds what took longest of these lists.
    pub async fn explained(&self, asker: &Asker, lists: &[v1::ListIndicatorsRequest]) -> String {
        let Some(list) = self.slowest.and_then(|(_, number)| lists.get(number)) else { return String::new() };
        let request = v1::ListIndicatorsRequest { explain: true, ..list.clone() };
        let answer = asker.page(&request).await.ok();
        let steps = answer.and_then(|answer| answer.plan).unwrap_or_default().steps;
        let step = |step: &v1::QueryStep| match step.expected {
            Some(expected) => format!("{} ({} of {expected} expected)", step.text, step.rows),
            None => format!("{} ({})", step.text, step.rows),
        };
        let steps = steps.iter().map(step).collect::<Vec<_>>().join("; ");
        format!("{:?}: {steps}", list.filter.clone().unwrap_or_default())
    }

    /// Rows of a first page, on average.
    pub fn mean_rows(&self) -> f64 {
        self.rows.iter().sum::<usize>() as f64 / self.rows.len().max(1) as f64
    }
}

fn rows_of(answer: &[u8]) -> usize {
    Fields(answer).filter(|(number, _)| *number == 1).count()
}

fn token_of(answer: &[u8]) -> String {
    let token = Fields(answer).find(|(number, _)| *number == 2);
    token.map(|(_, token)| String::from_utf8_lossy(token).into_owned()).unwrap_or_default()
}
