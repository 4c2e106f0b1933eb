//! Decides how a store is filled: through the hub's own calls, by many who
//! publish at once.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use luytre::base::clock::{Clock as _, SystemClock};
use luytre::wire::proto::v1;
use parking_lot::Mutex;
use prost::Message as _;
use tonic::transport::Channel;
use uuid::Uuid;

use super::ask::PUBLISH;
use super::corpus::{BATCH, Corpus, moment};
use super::harness::TestHub;
use super::hubs::{self, target};
use super::place::{Made, Place, Recipe};
use super::roster;
use super::seeded::Dice;
use super::wire::unary;

const REPORT: &str = "/luytre.v1.ExchangeService/ReportSightings";
const REVOKE: &str = "/luytre.v1.ExchangeService/RevokeIndicator";
/// Requests under way at once.
const AT_ONCE: usize = 16;
/// Indicators taken back together.
const REVOKED: usize = 64;
/// Lists from the newest on of which nothing is said again, where there are
/// enough: they may still be under way.
const BEHIND: u64 = 2 * AT_ONCE as u64;

/// What is asked for next.
enum Job {
    Births(u64),
    Update(u64, u64),
    Sightings(Dice),
    Revocations(Vec<u64>),
    Reinstatements(Vec<u64>),
}

/// What was done, and in what order things are done.
struct Schedule {
    recipe: Recipe,
    births: u64,
    events: u64,
    dice: Dice,
    /// How often each list was said.
    said: Vec<u8>,
    revoked: VecDeque<u64>,
    gone: std::collections::HashSet<u64>,
}

impl Schedule {
    /// New ones and what happens to old ones in step.
    fn next(&mut self) -> Option<Job> {
        let lists = self.recipe.rows.div_ceil(BATCH);
        let behind = BEHIND.min(lists / 4);
        let due = self.recipe.events as f64 * self.births as f64 / lists as f64;
        if self.births < lists && (self.events as f64 >= due || self.births <= behind) {
            self.births += 1;
            self.said.push(1);
            self.events += BATCH.min(self.recipe.rows - (self.births - 1) * BATCH);
            return Some(Job::Births(self.births - 1));
        }
        if self.events >= self.recipe.events || self.births <= behind {
            return None;
        }
        let settled = self.births - behind;
        let job = match self.dice.below(1_000) {
            // One of these is eight times smaller than the others.
            0..120 => {
                let chosen: Vec<_> = (0..REVOKED).map(|_| self.dice.below(settled * BATCH)).collect();
                let chosen: Vec<_> =
                    chosen.into_iter().filter(|n| *n < self.recipe.rows && self.gone.insert(*n)).collect();
                self.events += chosen.len() as u64;
                self.revoked.extend(&chosen);
                Job::Revocations(chosen)
            }
            120..180 if self.revoked.len() > 4 * REVOKED * AT_ONCE => {
                let chosen: Vec<_> = self.revoked.drain(..REVOKED).collect();
                self.events += chosen.len() as u64;
                chosen.iter().for_each(|number| {
                    self.gone.remove(number);
                });
                Job::Reinstatements(chosen)
            }
            180..500 => {
                // What is new is said again more often.
                let list = settled - 1 - self.dice.zipf(settled as usize) as u64;
                let said = &mut self.said[list as usize];
                *said = said.saturating_add(1);
                self.events += BATCH;
                Job::Update(list, u64::from(*said))
            }
            _ => {
                self.events += BATCH;
                Job::Sightings(Dice::of(self.dice.next(), 0, 0))
            }
        };
        Some(job)
    }
}

/// What all who publish share.
struct Load {
    corpus: Arc<Corpus>,
    rows: u64,
    channels: Vec<Channel>,
    schedule: Mutex<Schedule>,
    /// Public ids, 0 until they are known.
    names: Mutex<Vec<u128>>,
    made: Mutex<Made>,
    done: AtomicU64,
}

/// The store of a recipe in `place`: as it lies there, or made now.
///
/// # Errors
/// If another one lies there.
pub async fn store(place: &Place, recipe: Recipe, note: &str) -> Result<(Made, Arc<Corpus>), String> {
    if let Some(made) = place.look(recipe)? {
        eprintln!("  {note}: {} indicators and {} events lie ready", recipe.rows, recipe.events);
        return Ok((made, Arc::new(Corpus::new(recipe.seed, recipe.rows, made.until))));
    }
    let now = i64::try_from(SystemClock.now().as_seconds()).unwrap_or_default();
    let corpus = Arc::new(Corpus::new(recipe.seed, recipe.rows, now));
    eprintln!(
        "  {note}: {} indicators and {} events are published; {}",
        recipe.rows, recipe.events, corpus.values.origin
    );
    let mut hub = place.hub();
    hub.serve().await;
    let mut channels = Vec::new();
    for place in 0..roster::ORGANISATIONS {
        channels
            .push(target(&hub, &roster::slug(place), roster::FEED).connect().await.expect("a connection"));
    }
    let schedule = Schedule {
        recipe,
        births: 0,
        events: 0,
        dice: corpus.dice(0x5c, 0),
        said: Vec::new(),
        revoked: VecDeque::new(),
        gone: std::collections::HashSet::new(),
    };
    let load = Arc::new(Load {
        corpus: Arc::clone(&corpus),
        rows: recipe.rows,
        channels,
        schedule: Mutex::new(schedule),
        names: Mutex::new(vec![0; recipe.rows as usize]),
        made: Mutex::new(Made { until: now, began: now, ..Made::default() }),
        done: AtomicU64::new(0),
    });
    let workers: Vec<_> = (0..AT_ONCE).map(|_| tokio::spawn(work(Arc::clone(&load)))).collect();
    progress(&load, recipe, workers).await;
    let mut made = *load.made.lock();
    made.ended = i64::try_from(SystemClock.now().as_seconds()).unwrap_or_default();
    eprintln!("  {note}: published in {} s; waiting until the hub has indexed it", made.ended - made.began);
    hubs::indexed(&hub).await;
    hubs::settle(hub.pid(), Duration::from_secs(1_800)).await;
    assert!(hub.terminate().await.success(), "the hub ends well");
    // What a start has left to do is done before anything is measured.
    hub.serve().await;
    hubs::settle(hub.pid(), Duration::from_secs(1_800)).await;
    assert!(hub.terminate().await.success(), "the hub ends well");
    place.finish(recipe, made);
    Ok((made, corpus))
}

async fn progress(load: &Load, recipe: Recipe, workers: Vec<tokio::task::JoinHandle<()>>) {
    let started = Instant::now();
    let mut ticks = tokio::time::interval(Duration::from_secs(5));
    let mut before = 0;
    let all = async {
        for worker in workers {
            worker.await.expect("no publisher fails");
        }
    };
    tokio::pin!(all);
    loop {
        tokio::select! {
            () = &mut all => break,
            _ = ticks.tick() => {
                let done = load.done.load(Ordering::Relaxed);
                let rate = done as f64 / started.elapsed().as_secs_f64().max(0.1);
                let left = recipe.events.saturating_sub(done) as f64 / rate.max(1.0);
                if done > before {
                    eprintln!("    {done} of {} events, {}/s now, {rate:.0}/s so far, {left:.0} s left",
                        recipe.events, (done - before) / 5);
                }
                before = done;
            }
        }
    }
}

async fn work(load: Arc<Load>) {
    loop {
        let Some(job) = load.schedule.lock().next() else { return };
        let items = match job {
            Job::Births(list) => publish(&load, list, 0, None).await,
            Job::Update(list, version) => publish(&load, list, version, None).await,
            Job::Sightings(dice) => sight(&load, dice).await,
            Job::Revocations(numbers) => revoke(&load, &numbers).await,
            Job::Reinstatements(numbers) => {
                let mut items = 0;
                for number in numbers {
                    items += publish(&load, number / BATCH, 9, Some(number)).await;
                }
                items
            }
        };
        load.done.fetch_add(items, Ordering::Relaxed);
    }
}

/// Publishes a list, or brings one of it back.
async fn publish(load: &Load, list: u64, version: u64, back: Option<u64>) -> u64 {
    let corpus = &load.corpus;
    let numbers: Vec<u64> = match back {
        Some(number) => vec![number],
        None => {
            let gone = &load.schedule.lock().gone;
            let all = list * BATCH..((list + 1) * BATCH).min(load.rows);
            all.filter(|number| version == 0 || !gone.contains(number)).collect()
        }
    };
    let mut drafts: Vec<_> = numbers.iter().map(|number| corpus.draft(*number, version)).collect();
    if back.is_some() {
        let reason = "seen again".to_owned();
        drafts
            .iter_mut()
            .for_each(|draft| draft.reinstate = Some(v1::Reinstatement { reason: reason.clone() }));
    }
    let lengths: Vec<_> = drafts.iter().map(|draft| draft.encoded_len() as u64).collect();
    let request = super::harness::batch(Uuid::new_v4(), drafts).encode_to_vec().into();
    let answer = tell(&load.channels[corpus.owner(list)], PUBLISH, request).await;
    let answer = v1::PublishIndicatorsResponse::decode(answer).expect("an answer");
    let mut one = Made::default();
    let mut names = load.names.lock();
    for ((number, result), length) in numbers.iter().zip(answer.results).zip(lengths) {
        match result.outcome {
            Some(v1::publish_result::Outcome::Published(published)) => {
                names[*number as usize] = id_of(&published.name);
                if published.effect() == v1::PublishEffect::Created {
                    one.created += 1;
                    one.created_bytes += length;
                }
                if published.effect() != v1::PublishEffect::Unchanged {
                    one.items += 1;
                    one.bytes += length;
                }
            }
            Some(v1::publish_result::Outcome::Rejected(status)) => {
                if load.made.lock().refused + one.refused == 0 {
                    eprintln!("    refused, for one: {}", status.message);
                }
                one.refused += 1;
            }
            None => one.refused += 1,
        }
    }
    drop(names);
    add(load, one);
    numbers.len() as u64
}

fn id_of(name: &str) -> u128 {
    let id = name.rsplit('/').next().and_then(|id| Uuid::parse_str(id).ok());
    id.map_or(0, |id| id.as_u128())
}

/// One organisation tells what it met.
async fn sight(load: &Load, mut dice: Dice) -> u64 {
    let reporter = dice.zipf(roster::ORGANISATIONS);
    let known = load.schedule.lock().births * BATCH;
    let known = known.min(load.rows).max(1);
    let sightings = sightings(load, known, &mut dice);
    let count = sightings.len() as u64;
    if count == 0 {
        return BATCH;
    }
    let mut one = Made::default();
    let bytes: u64 = sightings.iter().map(|sighting| sighting.encoded_len() as u64).sum();
    let request = v1::ReportSightingsRequest { request_id: Uuid::new_v4().to_string(), sightings };
    let answer = tell(&load.channels[reporter], REPORT, request.encode_to_vec().into()).await;
    let answer = v1::ReportSightingsResponse::decode(answer).expect("an answer");
    for result in answer.results {
        match result.outcome {
            Some(v1::sighting_result::Outcome::Recorded(_)) => one.items += 1,
            _ => one.refused += 1,
        }
    }
    one.bytes = bytes;
    add(load, one);
    count
}

/// Of what every member may see.
fn sightings(load: &Load, known: u64, dice: &mut Dice) -> Vec<v1::Sighting> {
    let mut sightings = Vec::with_capacity(BATCH as usize);
    let names = load.names.lock();
    // Some lists are not open at all: what is drawn is drawn often enough.
    for _ in 0..BATCH * 4 {
        let number = dice.below(known);
        let id = names[number as usize];
        if id != 0 && load.corpus.is_open(number) && sightings.len() < BATCH as usize {
            sightings.push(sighting(&load.corpus, id, dice));
        }
    }
    sightings
}

fn sighting(corpus: &Corpus, id: u128, dice: &mut Dice) -> v1::Sighting {
    use v1::SightingOutcome as Outcome;
    let outcomes =
        [Outcome::SeenBlocked, Outcome::SeenNotBlocked, Outcome::SearchedNotFound, Outcome::FalsePositive];
    let outcome = *dice.first_of(&outcomes);
    let green = v1::Marking { tlp: v1::Tlp::Green.into(), ..Default::default() };
    let at = corpus.until - dice.below(30 * 86_400) as i64;
    let seen = outcome != Outcome::SearchedNotFound;
    v1::Sighting {
        indicator: format!("indicators/{}", Uuid::from_u128(id)),
        outcome: outcome.into(),
        sighted_count: if seen { 1 + dice.zipf(100) as u64 } else { 0 },
        first_seen: moment(at).filter(|_| seen),
        last_seen: moment(at + 60).filter(|_| seen),
        marking: dice.chance(70).then_some(green),
        ..Default::default()
    }
}

/// Each owner takes back what is his.
async fn revoke(load: &Load, numbers: &[u64]) -> u64 {
    let ids: Vec<_> = {
        let names = load.names.lock();
        numbers.iter().map(|number| (*number, names[*number as usize])).filter(|(_, id)| *id != 0).collect()
    };
    let asked = ids.iter().map(|(number, id)| {
        let reasons = [v1::RevocationReason::FalsePositive, v1::RevocationReason::Withdrawn];
        let revocation =
            v1::Revocation { reason: reasons[(*number % 2) as usize].into(), ..Default::default() };
        let request = v1::RevokeIndicatorRequest {
            request_id: Uuid::new_v4().to_string(),
            name: format!("indicators/{}", Uuid::from_u128(*id)),
            revocation: Some(revocation),
            ..Default::default()
        };
        let channel = &load.channels[load.corpus.owner(number / BATCH)];
        let request: Bytes = request.encode_to_vec().into();
        async move { unary(channel, REVOKE, request).await.is_ok() }
    });
    let done = futures_util::future::join_all(asked).await;
    let taken = done.iter().filter(|done| **done).count() as u64;
    let bytes = 30 * taken;
    add(load, Made { items: taken, bytes, refused: done.len() as u64 - taken, ..Made::default() });
    numbers.len() as u64
}

fn add(load: &Load, one: Made) {
    let mut made = load.made.lock();
    made.items += one.items;
    made.created += one.created;
    made.bytes += one.bytes;
    made.created_bytes += one.created_bytes;
    made.refused += one.refused;
}

/// Asks until it is answered: a busy hub may say to come again.
async fn tell(channel: &Channel, path: &'static str, request: Bytes) -> Bytes {
    for _ in 0..600 {
        match unary(channel, path, request.clone()).await {
            Ok(answer) => return answer,
            Err(status)
                if matches!(status.code(), tonic::Code::ResourceExhausted | tonic::Code::Unavailable) =>
            {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            Err(status) => panic!("{path}: {status}"),
        }
    }
    panic!("{path}: the hub is busy for a minute");
}

/// So many lists that are not of the corpus, encoded; another `begin` gives
/// others.
pub fn fresh(corpus: &Corpus, lists: u64, begin: u64) -> Vec<Bytes> {
    let other = Corpus::new(corpus.seed ^ 0xff, corpus.rows, corpus.until);
    // Their values must be new: numbers beyond all that were published.
    let request = |list: u64| {
        let first = corpus.rows + list * BATCH;
        let drafts = (first..first + BATCH).map(|number| other.draft(number, 0)).collect();
        super::harness::batch(Uuid::new_v4(), drafts).encode_to_vec().into()
    };
    (begin..begin + lists).map(request).collect()
}

/// Publishes these on four connections, and says how many items were taken;
/// a hub that is killed meanwhile takes no more.
pub async fn more(hub: &TestHub, requests: Vec<Bytes>) -> u64 {
    let mut channels = Vec::new();
    for place in 0..4 {
        channels.push(target(hub, &roster::slug(place), roster::FEED).connect().await.expect("a connection"));
    }
    let queue = Mutex::new(requests);
    let workers = channels.into_iter().map(async |channel| {
        let mut taken = 0;
        loop {
            let request = queue.lock().pop();
            let Some(request) = request else { return taken };
            let Ok(answer) = unary(&channel, PUBLISH, request).await else { return taken };
            taken += super::wire::published(&answer) as u64;
        }
    });
    futures_util::future::join_all(workers).await.into_iter().sum()
}
