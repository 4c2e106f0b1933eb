//! Decides how `luytre tail-publish` goes on: what is new is read, published
//! and confirmed, and only then the place is moved behind it.

mod follow;
mod place;
mod portion;

use std::fs::File;
use std::path::Path;
use std::time::Duration;

use crate::client::{Advice, Client, PublishOptions};
use crate::interop::{Field, Format, Found, What};
use crate::wire::proto::v1;

use super::arguments::{PublishFile, TailPublish};
use super::draft::{Refused, Template};
use super::exit::Failure;
use super::input::Input;
use super::output::{self, count, for_eyes};
use super::report::{Pending, Report};
use super::stop::Stop;
use follow::{Follower, Portion, Seen};
use place::Places;

/// Items of a file that is read as a whole, published at once.
const PART: usize = 5_000;
/// Shortest wait for a hub that was given up on once.
const PAUSE: Duration = Duration::from_secs(2);

/// Runs the command.
pub(super) async fn run(client: &Client, options: &TailPublish) -> Result<(), Failure> {
    let template = Template::new(&options.how);
    template.check()?;
    let format = options.how.input_format.format();
    let tells_marking =
        format == Some(Format::Jsonl) || options.how.map.iter().any(|m| m.field == Field::Tlp);
    if !tells_marking {
        // Else everything would be refused and passed by.
        template.check_for_plain()?;
    }
    let mut stop =
        Stop::listen().map_err(|error| Failure::Io(format!("cannot listen for signals: {error}")))?;
    let places = Places::open(&options.state, client.hub())?;
    let mut follower = Follower::new(options, places);
    let work = async {
        loop {
            let seen = follower.scan()?;
            let moved = follower.moved_away(&seen);
            for seen in seen.into_iter().chain(moved) {
                take(client, options, &mut follower, &seen).await?;
            }
            follower.save()?;
            tokio::time::sleep(options.poll).await;
        }
    };
    // What was not confirmed is read again by the next run.
    let ended = tokio::select! {
        biased;
        () = stop.asked() => Ok(()),
        ended = work => ended,
    };
    let saved = follower.save();
    ended.and(saved)
}

/// Publishes what is new in a file.
async fn take(
    client: &Client,
    options: &TailPublish,
    follower: &mut Follower,
    seen: &Seen,
) -> Result<(), Failure> {
    while let Some(portion) = follower.next(seen)? {
        let place = match portion {
            Portion::Lines(items, place) => {
                publish(client, options, &seen.path, items).await?;
                place
            }
            Portion::Whole(file, place) => {
                whole(client, options, &seen.path, file).await?;
                place
            }
        };
        follower.advance(seen.key, place)?;
    }
    Ok(())
}

/// Publishes a file that is read as a whole. One that cannot be read is told of
/// and passed by.
async fn whole(client: &Client, options: &TailPublish, path: &Path, opened: File) -> Result<(), Failure> {
    let file = PublishFile { input: path.to_owned(), dry_run: false, resume: None, how: options.how.clone() };
    let unreadable =
        |error: String| output::talk(&format!("luytre: {}; it is passed over", for_eyes(&error)));
    let mut input = match Input::of(&file, opened).await {
        Ok(input) => input,
        Err(failure) => {
            unreadable(failure.text().unwrap_or_default());
            return Ok(());
        }
    };
    let mut items = Vec::new();
    while let Some(item) = input.next().await {
        match item {
            Ok(found) => items.push(found),
            Err(error) => unreadable(format!("{}: {error}", path.display())),
        }
        if items.len() >= PART {
            publish(client, options, path, std::mem::take(&mut items)).await?;
        }
    }
    publish(client, options, path, items).await
}

/// Publishes items and tells what was refused. Returns when the hub has
/// confirmed all of them, however long that takes.
async fn publish(
    client: &Client,
    options: &TailPublish,
    path: &Path,
    items: Vec<Found>,
) -> Result<(), Failure> {
    if items.is_empty() {
        return Ok(());
    }
    // Made anew each time: a validity in days counts from now.
    let template = Template::new(&options.how);
    let mut report = match &options.how.rejects {
        Some(rejects) => Report::with_rejects_added(rejects, path)?,
        None => Report::default(),
    };
    let (mut pending, mut drafts) = (Vec::new(), Vec::new());
    for Found { line, what } in items {
        match what {
            What::Record(record) => {
                let drafted = template.draft(&record);
                let record = report.keeps_records().then_some(*record);
                let awaited = Pending { number: line, record };
                match drafted {
                    Ok(draft) => {
                        pending.push(awaited);
                        drafts.push(draft);
                    }
                    Err(Refused { reason, problem }) => report.refuse(&awaited, reason, &problem)?,
                }
            }
            What::Refused(unread) => report.unread(line, &unread)?,
            What::PassedOver(unread) => report.pass_over(line, &unread)?,
        }
    }
    let verdicts = patiently(client, options, &drafts).await?;
    for (pending, verdict) in pending.iter().zip(verdicts) {
        report.verdict(pending, verdict)?;
    }
    let (judged, refused) = (report.judged(), report.refused());
    let text = report.finish()?;
    let name = for_eyes(&path.display().to_string());
    if refused > 0 {
        output::talk(&format!("luytre: {name}: {text}"));
    } else {
        tracing::info!(file = %name, published = %count(judged), "published");
    }
    Ok(())
}

/// The verdicts on drafts, of a hub that may be away for long.
async fn patiently(
    client: &Client,
    options: &TailPublish,
    drafts: &[v1::IndicatorDraft],
) -> Result<Vec<v1::PublishResult>, Failure> {
    loop {
        let error = match attempt(client, options, drafts).await {
            Ok(verdicts) => return Ok(verdicts),
            Err(error) => error,
        };
        let Advice::Retry(delay) = error.advice() else { return Err(error.into()) };
        output::talk(&format!("luytre: {error}\n  Nothing is lost: it is tried again."));
        tokio::time::sleep(delay.max(PAUSE)).await;
    }
}

async fn attempt(
    client: &Client,
    options: &TailPublish,
    drafts: &[v1::IndicatorDraft],
) -> Result<Vec<v1::PublishResult>, crate::client::Error> {
    let mut stream = client.publish_stream(PublishOptions {
        batch: usize::from(options.how.batch),
        on_behalf_of: options.how.on_behalf_of.clone().unwrap_or_default(),
        ..PublishOptions::default()
    });
    let mut verdicts = Vec::with_capacity(drafts.len());
    for draft in drafts {
        verdicts.extend(stream.push(draft.clone()).await?);
    }
    verdicts.extend(stream.finish().await?);
    Ok(verdicts.into_iter().map(|verdict| verdict.result).collect())
}
