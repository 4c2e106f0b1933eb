//! Decides how `luytre subscribe` hands events on: written, flushed, then
//! remembered, in this order.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use prost::Message as _;

use crate::base::digest;
use crate::client::{self, Client, Delivery, Start, Subscription};
use crate::wire::proto::v1::{self, EventKind};

use super::arguments::{From, PlainOrJson, Subscribe};
use super::exit::Failure;
use super::language::Language;
use super::output::{self, Data};
use super::record;
use super::state::StateFile;
use super::stop::Stop;
use super::subscriptions::full_name;

/// Runs the command.
pub(super) async fn run(
    client: &Client,
    options: &Subscribe,
    (quiet, language): (bool, Language),
    data: &mut Data,
) -> Result<(), Failure> {
    if options.format == PlainOrJson::Plain {
        options.filter.check_plain().map_err(Failure::Usage)?;
    }
    let mut stop =
        Stop::listen().map_err(|error| Failure::Io(format!("cannot listen for signals: {error}")))?;
    let filter = options.filter.to_wire();
    let asked = digest::hex(&digest::sha256(
        format!("{}\n{}\n{}", digest::hex(&filter.encode_to_vec()), options.sightings, options.notices)
            .as_bytes(),
    ));
    let mut state = options.state.as_ref().map(|path| StateFile::new(path, client.hub(), asked));
    if let Some(state) = &mut state {
        state.lock()?;
    }
    let first = match &options.from {
        From::Earliest => Start::Earliest,
        From::Latest => Start::Latest,
        From::CurrentState => Start::CurrentState,
        From::Time(at) => Start::Time(*at),
        From::Token(token) => Start::Token(token.clone()),
    };
    let name = match &options.name {
        Some(name) => Some(full_name(client, name).await?),
        None => None,
    };
    let start = match (&state, &name) {
        (Some(state), _) => state.load()?.map_or(first, Start::Token),
        (None, Some(name)) => {
            if has_cursor(client, name).await? {
                Start::Cursor
            } else {
                first
            }
        }
        (None, None) => first,
    };
    let kept = state.is_some() || name.is_some();
    let mut subscription = client.subscribe(client::Subscribe {
        name,
        filter,
        include_sightings: options.sightings,
        include_notices: options.notices,
        limit: options.count,
        ..client::Subscribe::from(start)
    });
    let mut place = None;
    let how = How { format: options.format, language: (!quiet).then_some(language) };
    let ended = receive(&mut subscription, &mut stop, how, state.as_ref(), &mut place, data).await;
    if matches!(ended, Err(Failure::NobodyReads)) {
        return ended;
    }
    if let Err(error) = subscription.close().await {
        output::talk(&format!(
            "luytre: the hub did not confirm the last place ({error}); the next run may repeat events"
        ));
    }
    if let Some(token) = place.filter(|_| !kept && !quiet) {
        output::talk(&format!(
            "luytre: to go on exactly after the last event, use the same filters and --from token:{}",
            URL_SAFE_NO_PAD.encode(token)
        ));
    }
    ended
}

/// How events are handed on.
#[derive(Clone, Copy)]
struct How {
    format: PlainOrJson,
    /// In which language alarms are told; `None`: they are not.
    language: Option<Language>,
}

/// Hands on what comes until it is enough; `place` is the token after what was
/// handed on for good.
async fn receive(
    subscription: &mut Subscription,
    stop: &mut Stop,
    how: How,
    state: Option<&StateFile>,
    place: &mut Option<Bytes>,
    data: &mut Data,
) -> Result<(), Failure> {
    loop {
        let delivery = tokio::select! {
            biased;
            () = stop.asked() => return Ok(()),
            delivery = subscription.next() => delivery?,
        };
        let Some(delivery) = delivery else { return Ok(()) };
        let token = delivery.token().cloned();
        write(delivery, how, data)?;
        data.flush()?;
        let Some(token) = token else { continue };
        if let Some(state) = state {
            state.store(&token)?;
        }
        subscription.confirm(&token).await?;
        *place = Some(token);
    }
}

fn write(delivery: Delivery, how: How, data: &mut Data) -> Result<(), Failure> {
    let How { format, language } = how;
    let recall = matches!(delivery, Delivery::Recalls(_));
    match delivery {
        Delivery::Events(client::SubscriptionEvents { events, .. }) | Delivery::Recalls(events) => {
            for received in events {
                let alarm = language.and_then(|language| alarm(&received.event, language));
                alarm.inspect(|text| output::talk(text));
                write_event(received, recall, format, data)?;
            }
        }
        Delivery::StateBegin { .. } if format == PlainOrJson::Jsonl => data.json(&record::STATE_BEGIN)?,
        Delivery::StateEnd { .. } if format == PlainOrJson::Jsonl => data.json(&record::STATE_END)?,
        Delivery::StateBegin { .. } | Delivery::StateEnd { .. } => {}
    }
    Ok(())
}

fn write_event(
    received: client::Received,
    recall: bool,
    format: PlainOrJson,
    data: &mut Data,
) -> Result<(), Failure> {
    match format {
        PlainOrJson::Jsonl => {
            if let Some(record) = record::event(received.kind, received.event, recall) {
                data.json(&record)?;
            }
        }
        PlainOrJson::Plain => {
            if matches!(received.kind, EventKind::New | EventKind::Update)
                && let Some(value) = record::event_value(received.event)
            {
                data.line(&output::on_one_line(&value))?;
            }
        }
    }
    Ok(())
}

/// What a person is to look at now: somebody says that an indicator is wrong,
/// and blocking it may break something at this moment.
fn alarm(event: &v1::Event, language: Language) -> Option<String> {
    let Some(v1::event::Subject::Sighting(sighting)) = &event.subject else { return None };
    if sighting.outcome() != v1::SightingOutcome::FalsePositive {
        return None;
    }
    let who = match record::slug(&sighting.reporter) {
        "" => language.say("another member", "một thành viên khác"),
        slug => slug,
    };
    let (indicator, note) = (&sighting.indicator, output::for_eyes(&sighting.note));
    let note = if note.is_empty() { note } else { format!(" ({note})") };
    Some(match language {
        Language::En => format!(
            "luytre: FALSE POSITIVE: {who} met {indicator} and says that it is harmless{note}; look at it now: luytre get {indicator}"
        ),
        Language::Vi => format!(
            "luytre: BÁO NHẦM: {who} gặp {indicator} và cho biết là vô hại{note}; hãy xem ngay: luytre get {indicator}"
        ),
    })
}

/// Whether the hub keeps a place for this name already.
async fn has_cursor(client: &Client, name: &str) -> Result<bool, Failure> {
    match client.subscription(name).await {
        Ok(subscription) => Ok(subscription.is_some_and(|subscription| subscription.ack_time.is_some())),
        Err(error) if error.reason() == "NOT_FOUND" => Ok(false),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_false_positive_is_told_in_the_language_of_the_reader_and_nothing_else_is() {
        let event = |outcome: v1::SightingOutcome| v1::Event {
            subject: Some(v1::event::Subject::Sighting(v1::Sighting {
                indicator: "indicators/x".into(),
                outcome: outcome.into(),
                reporter: "organisations/so-y-te".into(),
                note: "registration\u{202e} fails".into(),
                ..v1::Sighting::default()
            })),
            ..v1::Event::default()
        };
        let wrong = event(v1::SightingOutcome::FalsePositive);
        assert_eq!(
            alarm(&wrong, Language::En).unwrap(),
            "luytre: FALSE POSITIVE: so-y-te met indicators/x and says that it is harmless (registration\\u{202e} fails); look at it now: luytre get indicators/x"
        );
        assert!(
            alarm(&wrong, Language::Vi).unwrap().starts_with("luytre: BÁO NHẦM: so-y-te gặp indicators/x")
        );
        assert_eq!(alarm(&event(v1::SightingOutcome::SeenBlocked), Language::En), None);
        assert_eq!(alarm(&v1::Event::default(), Language::En), None);
    }
}
