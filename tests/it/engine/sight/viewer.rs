//! A subscriber's end: it keeps its books as the contract asks, is cut off at
//! any frame, and looks at every byte that it is sent.

use std::collections::BTreeMap;

use luytre::hub::{Command, Open, Start};
use luytre::model::indicator::Kind;
use luytre::model::query::IndicatorFilter;
use luytre::wire::disclosure;
use luytre::wire::proto::v1::subscribe_response::Message;
use luytre::wire::proto::v1::{self, event::Subject};
use luytre::wire::token::TOKEN_BYTES;
use prost::bytes::Bytes;
use uuid::Uuid;

use super::super::support::{Event, Stream, events};
use super::model::{ACTIVE, EXPIRED, Model, REVOKED, SIGN, What};
use super::secrets::{self, Secrets};
use super::steps::{VIEWERS, Way, Wish};
use super::told::Level;
use super::world::{World, slug};

const NEW: i32 = 1;
const UPDATE: i32 = 2;
const WITHDRAWN: i32 = 3;
const SIGHTED: i32 = 6;
const COLLISION: i32 = 7;
/// So many states of the books are kept to go back to.
const KEPT: usize = 8;

type Set = BTreeMap<Uuid, u32>;

/// What a subscriber stores, together with the token.
#[derive(Debug, Clone, Default)]
struct Books {
    token: Bytes,
    /// What it works with: notes of the versions.
    set: Set,
    /// What it collects of a scan.
    fresh: Option<Set>,
    /// What it was told to stop using, until told of it in its place, and the
    /// note of the last version of it by then.
    recalled: BTreeMap<Uuid, (Bytes, u32)>,
    /// Sightings and notices, and what each says.
    told: BTreeMap<String, Heard>,
}

/// What a sighting or a notice says.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Heard {
    Sighting(u32),
    /// Of a record; what of the other one changes with the day.
    Notice(String),
}

pub(super) struct Viewer {
    number: usize,
    stream: Option<Stream>,
    books: Books,
    /// The books as they were after the last frames, with a token each.
    kept: Vec<Books>,
    /// Those that the hub knows of, where the subscription has a name.
    acked: Option<Books>,
    /// How much was told when he came, and how much counting what was owed.
    first: (usize, usize),
    /// Whether anything but recalls came since he came back.
    spoke: bool,
}

impl Viewer {
    pub(super) fn new(number: usize) -> Self {
        let (stream, kept, acked) = (None, Vec::new(), None);
        let books = Books {
            token: Bytes::new(),
            set: BTreeMap::new(),
            fresh: None,
            recalled: BTreeMap::new(),
            told: BTreeMap::new(),
        };
        Self { number, stream, books, kept, acked, first: (0, 0), spoke: false }
    }

    /// The last token.
    pub(super) fn token(&self) -> Option<Bytes> {
        self.stream.is_some().then(|| self.books.token.clone())
    }

    /// The next frame, checked and taken in; whether it was the sign `until`.
    async fn next(&mut self, model: &Model, until: Option<u32>) -> bool {
        let mut stream = self.stream.take().expect("a stream");
        if stream.spent() {
            stream.grant(model.wishes[self.number].credit).await;
        }
        let message = stream.next().await.expect("the stream lasts").expect("no error");
        let quiet = matches!(message, Message::Heartbeat(_));
        let signed = self.take(model, message, &stream.frame, until);
        if quiet {
            self.kept.pop();
        }
        self.kept.push(self.books.clone());
        self.kept.drain(..self.kept.len().saturating_sub(KEPT));
        self.stream = Some(stream);
        signed
    }

    fn take(&mut self, model: &Model, message: Message, frame: &[u8], until: Option<u32>) -> bool {
        let (mut allowed, mut signed) = (Secrets::new(), false);
        let token = match message {
            Message::StateBegin(begin) => {
                self.books.fresh = Some(Set::new());
                Some(begin.resume_token)
            }
            Message::StateEnd(end) => {
                self.books.set = self.books.fresh.take().expect("a state that began");
                Some(end.resume_token)
            }
            Message::Heartbeat(heartbeat) => Some(heartbeat.resume_token),
            Message::Acked(_) | Message::Checkpoint(_) => None,
            Message::Batch(batch) => {
                self.spoke = true;
                let token = batch.resume_token.clone();
                for event in events(batch) {
                    signed |= self.event(model, &event, until, &mut allowed);
                }
                Some(token)
            }
            Message::Recalls(recalls) => {
                assert!(!self.spoke, "recalls come before anything else");
                let v1::RecallBatch { events: recalled, kinds } = recalls;
                let batch = v1::EventBatch { events: recalled, kinds, ..v1::EventBatch::default() };
                for event in events(batch) {
                    self.recall(model, &event, &mut allowed);
                }
                None
            }
            other => panic!("unexpected {other:?}"),
        };
        secrets::assert_within("a frame", frame, &allowed);
        if let Some(token) = token {
            assert_eq!(token.len(), TOKEN_BYTES, "tokens are all of one length");
            self.books.token = token;
        }
        signed
    }

    fn recall(&mut self, model: &Model, event: &Event, allowed: &mut Secrets) {
        let id = bare(event);
        let record = model.by_id(id);
        assert!(
            model.was_ever_seen(self.number, record),
            "{} is recalled from whom it never was",
            self.number
        );
        assert!(matches!(event.kind, WITHDRAWN | 4 | 5), "a recall takes back");
        allowed.insert(secrets::id(id));
        self.books.set.remove(&id);
        self.books.fresh.iter_mut().for_each(|fresh| _ = fresh.remove(&id));
        self.books.recalled.insert(id, (event.event_id.clone(), model.now(record).note));
    }

    fn event(&mut self, model: &Model, event: &Event, until: Option<u32>, allowed: &mut Secrets) -> bool {
        match event.kind {
            SIGHTED => self.sighting(model, event, allowed),
            COLLISION => self.collision(model, event, allowed),
            WITHDRAWN => {
                let id = bare(event);
                let seen = model.was_ever_seen(self.number, model.by_id(id));
                assert!(seen, "{} was told of what was never his", self.number);
                allowed.insert(secrets::id(id));
                self.drop(id, &event.event_id);
            }
            _ => return self.version(model, event, until, allowed),
        }
        false
    }

    fn version(&mut self, model: &Model, event: &Event, until: Option<u32>, allowed: &mut Secrets) -> bool {
        let shown = merged(event);
        let (record, note) = named(model, &shown);
        let state = match event.kind {
            NEW | UPDATE => ACTIVE,
            4 => REVOKED,
            5 => EXPIRED,
            other => panic!("kind {other}"),
        };
        let version = model.sendable(self.number, record, note, state);
        let version =
            version.unwrap_or_else(|| panic!("{} was sent what is not his: {shown:?}", self.number));
        assert_eq!(shown.state, state);
        let source = !shown.owner.is_empty();
        assert!(
            version.seen.may_be(source, self.number),
            "{}: a source, {source}, of {version:?}",
            self.number
        );
        check_source(version, &shown);
        allowed.extend(model.secrets(version, source));
        let (id, books) = (model.records[record].id, &mut self.books);
        if !matches!(event.kind, NEW | UPDATE) {
            self.drop(id, &event.event_id);
            return false;
        }
        if let Some((_, last)) = books.recalled.get(&id) {
            assert!(note > *last, "{id} was recalled and comes back");
        }
        assert!(books.fresh.is_none() || event.kind == NEW, "the state brings what is new only");
        let scan = books.fresh.is_some();
        let held = books.fresh.as_mut().unwrap_or(&mut books.set).insert(id, note).is_some();
        if event.kind == NEW {
            assert!(!held, "what is new comes once");
        } else {
            let sure = model.always_stood(self.number, record);
            assert!(held || !sure, "an update is of what one has");
        }
        !scan && until == Some(note)
    }

    fn drop(&mut self, id: Uuid, event_id: &Bytes) {
        let books = &mut self.books;
        books.fresh.as_mut().unwrap_or(&mut books.set).remove(&id);
        if books.recalled.get(&id).is_some_and(|(end, _)| end == event_id) {
            books.recalled.remove(&id);
        }
    }

    fn sighting(&mut self, model: &Model, event: &Event, allowed: &mut Secrets) {
        assert!(model.wishes[self.number].sightings, "nobody asked");
        let mut sighting = event.sighting.clone().expect("a sighting");
        if let Some(disclosed) = &event.disclosure {
            sighting.reporter = disclosed.owner.clone();
        }
        let note = secrets::note_in(&sighting.note);
        let (number, _) = model.heard(self.number, self.first.0);
        let is_it = |number: &&usize| matches!(model.told[**number].what, What::Sighting { note: of, .. } if of == note);
        let number = number.iter().find(is_it);
        let number = number.unwrap_or_else(|| panic!("{} heard {sighting:?}", self.number));
        let told = &model.told[*number];
        let source = !sighting.reporter.is_empty();
        assert!(told.seen.may_be(source, self.number), "{}: a reporter, {source}, of {told:?}", self.number);
        allow_sighting(model, *number, source, allowed);
        let again = self.books.told.insert(sighting.name, Heard::Sighting(note));
        assert_eq!(again, None, "a sighting comes once");
    }

    fn collision(&mut self, model: &Model, event: &Event, allowed: &mut Secrets) {
        assert!(model.wishes[self.number].notices, "nobody asked");
        let v1::Collision { name, indicator, other, other_owner, .. } =
            event.collision.clone().expect("a notice");
        for id in name.split('/').chain(indicator.split('/')).chain(other.split('/')) {
            allowed.extend(Uuid::parse_str(id).map(secrets::id));
        }
        allowed.extend(other_owner.strip_prefix("organisations/").map(str::to_owned));
        let told = (other, other_owner);
        let fits = |number: &usize| {
            let of = &model.told[*number];
            let may_be = |level: &Level| model.may_be_told(self.number, *number, *level);
            matches!(of.what, What::Notice { .. })
                && indicator == format!("indicators/{}", model.records[of.record].id)
                && Level::ALL
                    .iter()
                    .filter(|level| may_be(level))
                    .any(|level| model.names(*number, *level) == told)
        };
        let (known, _) = model.heard(self.number, self.first.0);
        assert!(known.iter().any(fits), "{} heard {told:?} of {indicator}", self.number);
        let heard = Heard::Notice(indicator);
        assert_eq!(self.books.told.insert(name, heard), None, "a notice comes once");
    }

    fn check_rest(&self, model: &Model) {
        let Books { set, fresh, told, .. } = &self.books;
        assert_eq!(*fresh, None, "the state came to its end");
        assert_eq!(*set, model.due(self.number), "the set of {} on {:?}", self.number, model.rules);
        let mut left: Vec<_> = told.values().cloned().collect();
        let (may, _) = heard_of(model, self.number, self.first.0);
        let (_, must) = heard_of(model, self.number, self.first.1);
        for heard in &must {
            assert_eq!(count(&left, heard).min(count(&must, heard)), count(&must, heard), "not {heard:?}");
        }
        left.dedup();
        for heard in &left {
            let all: Vec<_> = told.values().cloned().collect();
            assert!(count(&all, heard) <= count(&may, heard), "too many of {heard:?}");
        }
    }
}

fn count(all: &[Heard], one: &Heard) -> usize {
    all.iter().filter(|heard| *heard == one).count()
}

/// What a viewer may have heard of that came after `first`, and must have.
fn heard_of(model: &Model, viewer: usize, first: usize) -> (Vec<Heard>, Vec<Heard>) {
    let name = |record: usize| format!("indicators/{}", model.records[record].id);
    let say = |number: usize| match model.told[number].what {
        What::Sighting { note, .. } => Heard::Sighting(note),
        What::Notice { .. } => Heard::Notice(name(model.told[number].record)),
    };
    let (may, must) = model.heard(viewer, first);
    (may.into_iter().map(say).collect(), must.into_iter().map(say).collect())
}

/// What a sighting may name, with its reporter or without.
pub(super) fn allow_sighting(model: &Model, number: usize, source: bool, allowed: &mut Secrets) {
    let told = &model.told[number];
    let What::Sighting { id, reporter, note } = told.what else { panic!("a sighting") };
    allowed.extend([secrets::id(model.records[told.record].id), secrets::id(id), secrets::note(note)]);
    if source {
        allowed.insert(secrets::org(reporter));
        secrets::recipients(&told.mark, allowed);
    }
}

/// The id in an event that is a stub, and no more.
fn bare(event: &Event) -> Uuid {
    let indicator = event.indicator.as_ref().expect("a stub of an indicator");
    let stub = v1::Indicator { name: indicator.name.clone(), ..v1::Indicator::default() };
    assert_eq!(*indicator, stub, "what one has no more is named, and no more");
    indicator.name.strip_prefix("indicators/").expect("a name").parse().expect("an id")
}

/// The record that an indicator is of, and the note of its version.
pub(super) fn named(model: &Model, shown: &v1::Indicator) -> (usize, u32) {
    let id = shown.name.strip_prefix("indicators/").expect("a name").parse().expect("an id");
    (model.by_id(id), secrets::note_in(&shown.description))
}

/// The source is shown as it is, or not at all.
pub(super) fn check_source(version: &super::model::Version, shown: &v1::Indicator) {
    let marking = shown.marking.clone().expect("a marking");
    let named = marking.organisations.len() + marking.groups.len() + marking.principals.len();
    let mark = &version.mark;
    if shown.owner.is_empty() {
        assert_eq!((named, shown.published_by.as_str()), (0, ""), "no owner, no recipients");
    } else {
        assert_eq!(shown.owner, format!("organisations/{}", slug(version.owner)));
        assert_eq!(named, mark.organisations.len() + mark.groups.len() + mark.persons.len());
        let by = version.by.filter(|_| !mark.masked).map(|by| format!("organisations/{}", slug(by)));
        assert_eq!(shown.published_by, by.unwrap_or_default());
    }
    assert_eq!(marking.tlp, i32::from(mark.tlp.number()));
}

/// The indicator that an event brings, with what is disclosed of it.
fn merged(event: &Event) -> v1::Indicator {
    let subject = event.indicator.clone().map(Subject::Indicator);
    let mut events = [v1::Event { event_id: event.event_id.clone(), subject }];
    let disclosures = event.disclosure.iter().map(|d| v1::Disclosure { index: 0, ..d.clone() }).collect();
    disclosure::merge(&mut events, disclosures).expect("a disclosure that fits");
    let [v1::Event { subject: Some(Subject::Indicator(indicator)), .. }] = events else {
        panic!("an indicator")
    };
    indicator
}

impl Wish {
    pub(super) fn filter(&self) -> IndicatorFilter {
        IndicatorFilter {
            owners: self.owners.iter().copied().map(slug).collect(),
            labels: if self.labelled { vec!["c2".to_owned()] } else { Vec::new() },
            tlps: self.tlps.clone(),
            kinds: if self.domains { vec![Kind::Domain] } else { Vec::new() },
            ..IndicatorFilter::default()
        }
    }
}

impl World {
    pub(super) async fn leave(&mut self, viewer: usize) {
        if let Some(stream) = self.viewers[viewer].stream.take() {
            stream.leave().await;
        }
    }

    pub(super) async fn join(&mut self, number: usize, way: Way) {
        if !self.model.is_here(VIEWERS[number].0) {
            return;
        }
        let wish = self.model.wishes[number].clone();
        if wish.named && self.viewers[number].stream.is_some() {
            self.ack(number).await;
        }
        self.leave(number).await;
        let viewer = &mut self.viewers[number];
        let way = match way {
            Way::Back(_) if viewer.kept.is_empty() => Way::Earliest,
            // The hub keeps the furthest cursor; only the state begins anew.
            Way::Earliest | Way::Latest if viewer.acked.is_some() => Way::State,
            way => way,
        };
        let start = match way {
            Way::Back(_) if wish.named => {
                viewer.books = viewer.acked.clone().expect("a cursor");
                None
            }
            Way::Back(back) => {
                viewer.kept.truncate(viewer.kept.len().saturating_sub(back).max(1));
                viewer.books = viewer.kept.last().cloned().expect("a state of the books");
                Some(Start::Token(viewer.books.token.clone()))
            }
            Way::Earliest => Some(Start::Earliest),
            Way::Latest => Some(Start::Latest),
            Way::State => Some(Start::CurrentState),
        };
        let open = Open {
            subscription: wish.named.then(|| format!("v{number}")),
            filter: wish.filter(),
            start,
            credit: wish.credit,
            include_sightings: wish.sightings,
            include_notices: wish.notices,
        };
        let caller = self.caller(VIEWERS[number]);
        let stream = self.hub().stream_of(&caller, open).await.unwrap();
        let viewer = &mut self.viewers[number];
        viewer.spoke = false;
        viewer.books.recalled.clear();
        if !matches!(way, Way::Back(_)) {
            self.model.begin(number, matches!(way, Way::Latest));
            let told = self.model.told_by_now();
            viewer.first = if matches!(way, Way::Earliest) { (0, 0) } else { told };
            viewer.books = Books { token: stream.token.clone(), ..Books::default() };
            viewer.kept = vec![viewer.books.clone()];
        }
        viewer.stream = Some(stream);
        self.model.rest(number);
        if wish.named && !matches!(way, Way::Back(_)) {
            if self.viewers[number].acked.is_some() {
                while self.viewers[number].books.fresh.is_none() {
                    self.viewers[number].next(&self.model, None).await;
                }
                self.ack(number).await;
            }
            let viewer = &mut self.viewers[number];
            viewer.acked.get_or_insert_with(|| viewer.books.clone());
        }
    }

    /// Lets the hub keep where a named subscription stands.
    async fn ack(&mut self, number: usize) {
        let books = self.viewers[number].books.clone();
        let stream = self.viewers[number].stream.as_mut().expect("a stream");
        let before = stream.acked;
        stream.commands.send(Ok(Command::Ack(books.token.clone()))).await.unwrap();
        self.viewers[number].acked = Some(books);
        while self.viewers[number].stream.as_ref().is_some_and(|stream| stream.acked == before) {
            self.viewers[number].next(&self.model, None).await;
            // A cursor waits for company: this is some.
            self.hub().hub.probe().await.unwrap();
        }
    }

    pub(super) async fn listen(&mut self, number: usize, frames: usize) {
        for _ in 0..frames {
            if self.viewers[number].stream.is_some() {
                self.viewers[number].next(&self.model, None).await;
            }
        }
    }

    /// Lets one take all up to the last sign, and compares.
    pub(super) async fn settle_viewer(&mut self, number: usize) {
        if self.viewers[number].stream.is_none() {
            return;
        }
        let sign = self.model.now(self.model.find(0, SIGN).expect("the sign")).note;
        while !self.viewers[number].next(&self.model, Some(sign)).await {}
        self.viewers[number].check_rest(&self.model);
        self.model.rest(number);
    }
}
