//! Decides how `luytre watch` tells of what is about an organisation's own
//! assets: a subscription that asks for nothing else, each event with the asset
//! that it is about and with what to do.

use std::collections::BTreeMap;

use prost::Message as _;
use serde::Serialize;

use crate::base::clock::Timestamp;
use crate::base::digest;
use crate::client::assets::known;
use crate::client::{Client, Delivery, Received, Start, Subscribe, Subscription};
use crate::model::asset::{Asset, Place, place};
use crate::model::indicator::{Observable, Role, normalise};
use crate::wire::event;
use crate::wire::proto::v1;
use v1::EventKind;
use v1::event::Subject;

use super::arguments::Watch;
use super::exit::Failure;
use super::language::{Language, Times};
use super::output::{self, Data, for_eyes};
use super::record::{self, EventRecord, Record};
use super::state::StateFile;
use super::stop::Stop;
use super::terminal::{Terminal, pad};

/// Indicators of which it is remembered what they are about, for events that
/// bring their names only.
const MAX_KNOWN: usize = 65_536;
/// Widths of the columns but the last: when, what happened, asset, kind, label,
/// owner, value.
const WIDTHS: [usize; 7] = [26, 9, 20, 8, 16, 16, 28];

/// Runs the command.
pub(super) async fn run(
    client: &Client,
    options: &Watch,
    (language, terminal): (Language, Terminal),
    data: &mut Data,
) -> Result<(), Failure> {
    let mut stop =
        Stop::listen().map_err(|error| Failure::Io(format!("cannot listen for signals: {error}")))?;
    let assets = known(&client.assets().await?);
    if assets.is_empty() {
        let none = language.say(
            "no asset is registered; say what is yours with luytre assets add",
            "chưa có tài sản nào được đăng ký; khai báo bằng luytre assets add",
        );
        if options.once {
            return Err(Failure::NoInput(none.to_owned()));
        }
        output::talk(&format!("luytre: {none}"));
    }
    let filter = v1::IndicatorFilter { own_assets: true, ..v1::IndicatorFilter::default() };
    let asked = format!("watch {} {}", digest::hex(&filter.encode_to_vec()), options.no_sightings);
    let asked = digest::hex(&digest::sha256(asked.as_bytes()));
    let mut state = options.state.as_ref().map(|path| StateFile::new(path, client.hub(), asked));
    if let Some(state) = &mut state {
        state.lock()?;
    }
    let first = options.since.map_or(Start::CurrentState, Start::Time);
    let start = match &state {
        Some(state) => state.load()?.map_or(first, Start::Token),
        None => first,
    };
    let include_sightings = !options.no_sightings;
    let subscribe = Subscribe { filter, include_sightings, ..Subscribe::from(start) };
    let mut subscription = client.subscribe(subscribe);
    let times = Times { utc: options.utc, now: None };
    let teller = Teller { client, language, times, json: options.json, colours: terminal.colours };
    let mut about = About { assets, is_read: false, of: BTreeMap::new() };
    teller.head(data)?;
    let ended = follow(&mut subscription, &mut stop, options.once, state.as_ref(), &teller, &mut about, data);
    let ended = ended.await;
    if !matches!(ended, Err(Failure::NobodyReads)) {
        // Without a name the hub keeps no place; only manners hang on this.
        let _ = subscription.close().await;
    }
    ended
}

async fn follow(
    subscription: &mut Subscription,
    stop: &mut Stop,
    once: bool,
    state: Option<&StateFile>,
    teller: &Teller<'_>,
    about: &mut About,
    data: &mut Data,
) -> Result<(), Failure> {
    let mut scanning = false;
    loop {
        let delivery = tokio::select! {
            biased;
            () = stop.asked() => return Ok(()),
            delivery = subscription.next() => delivery?,
        };
        let Some(delivery) = delivery else { return Ok(()) };
        let token = delivery.token().cloned();
        let mut over = false;
        about.is_read = false;
        match delivery {
            Delivery::Events(events) => {
                // What stands is told to its end.
                over = events.caught_up && !scanning;
                for received in events.events {
                    teller.tell(received, false, about, data).await?;
                }
            }
            Delivery::Recalls(recalls) => {
                for received in recalls {
                    teller.tell(received, true, about, data).await?;
                }
            }
            Delivery::StateBegin { .. } => scanning = true,
            Delivery::StateEnd { .. } => (scanning, over) = (false, true),
        }
        data.flush()?;
        if let Some(token) = token {
            if let Some(state) = state {
                state.store(&token)?;
            }
            subscription.confirm(&token).await?;
        }
        if over && once {
            return Ok(());
        }
    }
}

/// Which assets indicators are about.
struct About {
    assets: Vec<Asset>,
    /// Whether they were read for what is told now.
    is_read: bool,
    of: BTreeMap<String, Vec<String>>,
}

impl About {
    /// The assets that a value is about.
    fn find(&self, value: &Observable) -> Vec<String> {
        let Some(place) = place(value) else { return Vec::new() };
        self.assets.iter().filter(|asset| asset.is_met_at(&place)).map(ToString::to_string).collect()
    }

    /// The same; the list is read anew where it has none, for it was changed
    /// meanwhile: once for all that came together.
    async fn of_value(&mut self, client: &Client, value: &Observable) -> Vec<String> {
        let found = self.find(value);
        if found.is_empty()
            && !std::mem::replace(&mut self.is_read, true)
            && let Ok(assets) = client.assets().await
        {
            self.assets = known(&assets);
            return self.find(value);
        }
        found
    }

    /// The assets that an indicator is about, of which perhaps no more than the
    /// name is known.
    async fn of_indicator(&mut self, client: &Client, indicator: &v1::Indicator) -> Vec<String> {
        let Some(value) = value_of(indicator) else {
            return self.of.get(&indicator.name).cloned().unwrap_or_default();
        };
        let found = self.of_value(client, &value).await;
        if self.of.len() < MAX_KNOWN || self.of.contains_key(&indicator.name) {
            self.of.insert(indicator.name.clone(), found.clone());
        }
        found
    }

    /// The assets that the indicator of a sighting is about.
    async fn of_name(&mut self, client: &Client, name: &str) -> Vec<String> {
        if let Some(found) = self.of.get(name) {
            return found.clone();
        }
        // One whose indicator is gone by now is about nothing that can be told.
        match client.get(name).await {
            Ok(v1::GetIndicatorResponse { indicator: Some(indicator), .. }) => {
                self.of_indicator(client, &indicator).await
            }
            _ => Vec::new(),
        }
    }
}

/// The value of an indicator that can be about an asset.
fn value_of(indicator: &v1::Indicator) -> Option<Observable> {
    let text = record::text(indicator.observable.clone()?);
    let value = normalise::detect(&text).ok()?.observable;
    matches!(place(&value), Some(Place::Network(_) | Place::Name(_) | Place::System(_))).then_some(value)
}

/// An event, and what is about it.
#[derive(Serialize)]
struct Told {
    assets: Vec<String>,
    advice: &'static str,
    #[serde(flatten)]
    event: EventRecord,
}

/// Writes events.
struct Teller<'a> {
    client: &'a Client,
    language: Language,
    times: Times,
    json: bool,
    colours: bool,
}

impl Teller<'_> {
    fn head(&self, data: &mut Data) -> Result<(), Failure> {
        if self.json {
            return Ok(());
        }
        let head = [
            ("CHANGED", "THAY ĐỔI"),
            ("EVENT", "SỰ KIỆN"),
            ("ASSET", "TÀI SẢN"),
            ("KIND", "LOẠI"),
            ("TLP", "TLP"),
            ("FROM", "NGUỒN"),
            ("VALUE", "GIÁ TRỊ"),
            ("WHAT TO DO", "VIỆC CẦN LÀM"),
        ];
        let line = line(&head.map(|(en, vi)| self.language.say(en, vi).to_owned()));
        data.line(&if self.colours { format!("\x1b[1m{line}\x1b[0m") } else { line })?;
        Ok(data.flush()?)
    }

    async fn tell(
        &self,
        received: Received,
        recall: bool,
        about: &mut About,
        data: &mut Data,
    ) -> Result<(), Failure> {
        let kind = received.kind;
        let (assets, role) = match &received.event.subject {
            Some(Subject::Indicator(indicator)) => {
                let role = u8::try_from(indicator.role).ok().and_then(Role::from_number);
                (about.of_indicator(self.client, indicator).await, role)
            }
            Some(Subject::Sighting(sighting)) => {
                (about.of_name(self.client, &sighting.indicator).await, None)
            }
            _ => return Ok(()),
        };
        if self.json {
            let advice = advice(kind, role, Language::En);
            if let Some(event) = record::event(kind, received.event, recall) {
                data.json(&Told { assets, advice, event })?;
            }
            return Ok(());
        }
        let cells = self.cells(kind, received.event, &assets, role);
        Ok(data.line(&line(&cells))?)
    }

    fn cells(
        &self,
        kind: EventKind,
        event: v1::Event,
        assets: &[String],
        role: Option<Role>,
    ) -> [String; WIDTHS.len() + 1] {
        let asset = if assets.is_empty() { "-".to_owned() } else { for_eyes(&assets.join(" ")) };
        let name = record::event_name(kind).to_owned();
        let advice = advice(kind, role, self.language);
        let when =
            |at: Option<Timestamp>| at.map(|at| self.times.tell(at, self.language)).unwrap_or_default();
        match event.subject {
            Some(Subject::Indicator(indicator)) => {
                let since = indicator.create_time.as_ref().and_then(event::timestamp);
                let record = Record::of(indicator);
                let [of_kind, tlp, owner, _, value, id, told] = record.columns(self.language);
                let value = if value.is_empty() { id } else { value };
                let mut parts = vec![advice.to_owned()];
                parts.extend(since.map(|since| {
                    format!("{} {}", self.language.say("known since", "đã biết từ"), when(Some(since)))
                }));
                parts.extend(Some(told).filter(|told| !told.is_empty()));
                let changed = when(record.changed());
                [changed, name, asset, of_kind, tlp, owner, value, parts.join("  ")]
            }
            Some(Subject::Sighting(sighting)) => {
                let at = sighting.create_time.as_ref().and_then(event::timestamp);
                let outcome = record::outcome(sighting.outcome);
                let reporter = record::slug(&sighting.reporter);
                let unnamed = self.language.say("source masked", "nguồn được ẩn");
                let from = if reporter.is_empty() { unnamed } else { reporter };
                let id = sighting.indicator.strip_prefix("indicators/").unwrap_or_default().to_owned();
                let rest = format!("{outcome} x{}  {advice}", sighting.sighted_count.max(1));
                let none = String::new;
                [when(at), name, asset, none(), none(), from.to_owned(), id, rest]
            }
            _ => Default::default(),
        }
    }
}

/// What to do about an event; `role` is that of the value in the attack.
const fn advice(kind: EventKind, role: Option<Role>, language: Language) -> &'static str {
    match (kind, role) {
        (EventKind::New | EventKind::Update, Some(Role::Victim)) => language.say(
            "said to have been attacked: look for traces on it",
            "được báo là nạn nhân: kiểm tra dấu vết tấn công",
        ),
        (EventKind::New | EventKind::Update, Some(Role::Sink)) => language.say(
            "said to be a sinkhole: check that it is one of yours",
            "được báo là sinkhole: kiểm tra có đúng là của đơn vị",
        ),
        (EventKind::New | EventKind::Update, _) => language.say(
            "said to serve attackers: look for a compromise, or report luytre sight --outcome false-positive",
            "được báo là phục vụ tấn công: kiểm tra bị xâm nhập, hoặc báo nhầm bằng luytre sight --outcome false-positive",
        ),
        (EventKind::Revoked, _) => {
            language.say("taken back by its publisher: nothing to do", "đã thu hồi: không cần xử lý")
        }
        (EventKind::Expired, _) => {
            language.say("its time is over: nothing new to do", "hết hiệu lực: không cần xử lý thêm")
        }
        (EventKind::Withdrawn, _) => language.say(
            "you may see it no longer, or it is about no asset of yours",
            "không còn được xem, hoặc không còn liên quan tài sản nào",
        ),
        (EventKind::Sighted, _) => {
            language.say("what others found of it", "kết quả ghi nhận của đơn vị khác")
        }
        _ => "",
    }
}

fn line(cells: &[String]) -> String {
    let padded =
        cells.iter().enumerate().map(|(at, cell)| pad(cell, WIDTHS.get(at).copied().unwrap_or_default()));
    padded.collect::<Vec<_>>().join("  ").trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn indicator(value: &str) -> v1::Indicator {
        v1::Indicator {
            name: "indicators/0b54".into(),
            observable: Some(v1::Observable { value: Some(v1::observable::Value::Text(value.into())) }),
            ..v1::Indicator::default()
        }
    }

    #[test]
    fn an_indicator_is_about_every_asset_that_it_meets() {
        let assets = ["198.51.100.0/24", "198.51.100.7", "example.vn", "AS64500"];
        let assets = assets.map(|text| Asset::parse(text).unwrap()).into();
        let about = About { assets, is_read: false, of: BTreeMap::new() };
        let found = |value: &str| about.find(&value_of(&indicator(value)).unwrap());
        assert_eq!(found("http://198.51.100.7/x"), ["198.51.100.0/24", "198.51.100.7"]);
        assert_eq!(found("a@mail.example.vn"), ["example.vn"]);
        assert!(found("198.51.101.1").is_empty());
        assert!(value_of(&indicator("d41d8cd98f00b204e9800998ecf8427e")).is_none());
    }

    #[test]
    fn every_kind_of_event_says_what_to_do_in_both_languages() {
        let kinds = [
            EventKind::New,
            EventKind::Update,
            EventKind::Revoked,
            EventKind::Expired,
            EventKind::Withdrawn,
            EventKind::Sighted,
        ];
        for kind in kinds {
            let (en, vi) = (advice(kind, None, Language::En), advice(kind, None, Language::Vi));
            assert!(!en.is_empty() && !vi.is_empty() && en != vi, "{kind:?}");
        }
        assert_ne!(
            advice(EventKind::New, Some(Role::Victim), Language::En),
            advice(EventKind::New, Some(Role::Tool), Language::En)
        );
    }
}
