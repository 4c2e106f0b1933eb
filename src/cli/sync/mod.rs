//! Decides how `luytre sync` keeps files up to date: what the hub tells is on
//! disk first, then in the files, then the hook is told.

mod lists;

use std::time::{Duration, Instant};

use crate::base::clock::monotonic;
use crate::client::{self, Backoff, Client, Mirror, MirrorError, Start};

use super::arguments::Sync;
use super::exit::Failure;
use super::hook::{self, Hook};
use super::output::{self, count};
use super::stop::Stop;
use super::subscriptions::full_name;
use lists::Lists;

/// There as long as the hook is due; within the directory of the state.
const HOOK_DUE: &str = "hook-due";
/// Writing takes at most this part of the time, however large the set.
const SHARE: u32 = 10;

/// Runs the command.
pub(super) async fn run(client: &Client, options: &Sync, quiet: bool) -> Result<(), Failure> {
    let mut stop =
        Stop::listen().map_err(|error| Failure::Io(format!("cannot listen for signals: {error}")))?;
    let lists = Lists::open(options)?;
    let named = async {
        Ok::<_, Failure>(match &options.name {
            Some(name) => Some(full_name(client, name).await?),
            None => None,
        })
    };
    let name = tokio::select! {
        name = named => name?,
        () = stop.asked() => return Ok(()),
    };
    let subscribe = client::Subscribe {
        name,
        filter: options.filter.to_wire(),
        backoff: if options.once { Backoff::CALL } else { Backoff::FOREVER },
        ..client::Subscribe::from(Start::CurrentState)
    };
    let mut mirror = Mirror::open(client, &options.state, subscribe)?;
    let hook = match &options.hook {
        Some(command) => Some(Hook::open(command, options.hook_timeout, options.state.join(HOOK_DUE))?),
        None => None,
    };
    let mut work = Work { lists, hook, every: options.every, took: Duration::ZERO, due: None, changed: 0 };
    if mirror.collection().is_complete() {
        // An earlier run may have ended between the state and the files, and
        // the files may have been named only now.
        work.due = Some(monotonic());
    }
    let ended = follow(&mut mirror, &mut work, &mut stop, options.once).await;
    // What was received is put to use, however this ends.
    let finished = work.finish(&mirror).await;
    let stands = mirror.collection().len();
    let closed = mirror.close().await;
    ended.and(finished)?;
    if let Err(error) = closed {
        output::talk(&format!("luytre: the hub did not confirm the last place ({error}); nothing is lost"));
    }
    if options.once && !quiet {
        output::talk(&format!(
            "luytre: {} indicators stand; {} of the files changed",
            count(stands as u64),
            work.changed
        ));
    }
    Ok(())
}

/// Takes what comes until asked to end, or, if that is all that is wanted,
/// until all that there was has come.
async fn follow(mirror: &mut Mirror, work: &mut Work, stop: &mut Stop, once: bool) -> Result<(), Failure> {
    loop {
        let news = tokio::select! {
            biased;
            () = stop.asked() => {
                return if once {
                    Err(Failure::Interrupted("interrupted before the files were up to date".to_owned()))
                } else {
                    Ok(())
                };
            }
            () = until(work.due), if !once => {
                work.write(mirror)?;
                continue;
            }
            never = hook::working(&mut work.hook), if !once => match never {},
            news = mirror.next() => news?,
        };
        if news.changed && mirror.collection().is_complete() {
            work.note_change();
        }
        if once && news.caught_up {
            return Ok(());
        }
    }
}

/// The files and what hangs on them.
struct Work {
    lists: Lists,
    hook: Option<Hook>,
    every: Duration,
    /// How long the last writing took.
    took: Duration,
    /// When the files are to be written; none: they are up to date.
    due: Option<Instant>,
    /// Files replaced in the last writing.
    changed: usize,
}

impl Work {
    fn note_change(&mut self) {
        let wait = self.every.max(self.took.saturating_mul(SHARE));
        self.due.get_or_insert_with(|| monotonic() + wait);
    }

    fn write(&mut self, mirror: &Mirror) -> Result<(), Failure> {
        let began = monotonic();
        let hook = &mut self.hook;
        self.changed =
            self.lists.write(mirror.collection(), || hook.as_mut().map_or(Ok(()), Hook::announce))?;
        self.due = None;
        self.took = began.elapsed();
        tracing::info!(
            indicators = mirror.collection().len(),
            files = self.changed,
            "the files are up to date"
        );
        Ok(())
    }

    async fn finish(&mut self, mirror: &Mirror) -> Result<(), Failure> {
        if self.due.is_some() {
            self.write(mirror)?;
        }
        match &mut self.hook {
            Some(hook) => hook.finish().await,
            None => Ok(()),
        }
    }
}

/// Waits for a moment; for ever where there is none.
async fn until(moment: Option<Instant>) {
    match moment {
        Some(moment) => tokio::time::sleep(moment.saturating_duration_since(monotonic())).await,
        None => std::future::pending().await,
    }
}

impl From<MirrorError> for Failure {
    fn from(error: MirrorError) -> Self {
        let text = error.to_string();
        match error {
            MirrorError::Client(error) => error.into(),
            MirrorError::Busy { .. } => Self::Busy(text),
            MirrorError::State { .. } => Self::Io(text),
        }
    }
}
