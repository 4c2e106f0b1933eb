//! Decides how a subscriber has at hand what stands, now and after any
//! absence: the set and its place in one directory, changed together.

mod collection;
mod entry;
mod journal;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use prost::Message as _;

use crate::base::{digest, files};

pub use collection::Collection;

use super::calls::Client;
use super::delivery::Delivery;
use super::error::{Advice, Error};
use super::subscribe::{Start, Subscribe, Subscription};
use entry::{Change, Entry, FORM, Step};
use journal::Journal;

/// Names within the directory.
const LOCK: &str = "lock";
const JOURNAL: &str = "mirror";
/// Indicators in one frame of a snapshot.
const PART: usize = 256;
/// Shortest wait before a subscription that failed for good is tried anew.
const PAUSE: Duration = Duration::from_secs(2);

/// Why a mirror cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum MirrorError {
    /// The hub, or the way to it.
    #[error(transparent)]
    Client(#[from] Error),
    /// Another process has the directory.
    #[error(
        "another process uses the state in {}; end that one, or name another directory",
        directory.display()
    )]
    Busy {
        /// The directory.
        directory: PathBuf,
    },
    /// The state cannot be read or written.
    #[error("the state in {} cannot be used: {source}", directory.display())]
    State {
        /// The directory.
        directory: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// What came of a delivery.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct News {
    /// What is in use is another set than before.
    pub changed: bool,
    /// All that was there when the stream was opened has come.
    pub caught_up: bool,
}

/// A [`Collection`] that is kept up to date over a subscription, and on disk.
///
/// It begins with the hub's current state and goes on with every change. The
/// set and the token lie in one journal, and each delivery is on disk before it
/// is confirmed: a process that is killed at any moment goes on exactly where
/// its set stands. Where the hub does not take the token any more, as after a
/// restore from a backup, it asks for the current state again, and what is in
/// use stays in use until that is complete.
///
/// ```no_run
/// # async fn example(client: luytre::client::Client) -> Result<(), luytre::client::MirrorError> {
/// use luytre::client::{Mirror, Start, Subscribe};
///
/// let mut mirror = Mirror::open(&client, "/var/lib/agency".as_ref(), Subscribe::from(Start::CurrentState))?;
/// loop {
///     if mirror.next().await?.changed && mirror.collection().is_complete() {
///         println!("{} indicators stand", mirror.collection().len());
///     }
/// }
/// # }
/// ```
#[derive(Debug)]
pub struct Mirror {
    client: Client,
    options: Subscribe,
    directory: PathBuf,
    collection: Collection,
    journal: Journal,
    /// Resumes after what the journal holds; none: the state is asked for.
    token: Option<Bytes>,
    /// Digest of what is subscribed to.
    asked: String,
    subscription: Option<Subscription>,
    /// What was not told yet.
    news: News,
    _lock: File,
}

impl Mirror {
    /// Opens the mirror in `directory`, which is made where there is none
    /// (mode 0700) and is this mirror's alone. `start` and `limit` of the
    /// options do not apply. A mirror of another hub, name or filter is
    /// empty, and asks for the current state anew.
    ///
    /// # Errors
    /// [`MirrorError::Busy`], [`MirrorError::State`].
    pub fn open(client: &Client, directory: &Path, options: Subscribe) -> Result<Self, MirrorError> {
        let failed = |source| MirrorError::State { directory: directory.to_owned(), source };
        files::create_private_dir(directory).map_err(failed)?;
        let lock = files::lock(&directory.join(LOCK))
            .map_err(failed)?
            .ok_or_else(|| MirrorError::Busy { directory: directory.to_owned() })?;
        let asked = asked(client.connection().hub(), &options);
        let mut read = Read::default();
        let journal =
            Journal::open(&directory.join(JOURNAL), |frame| read.take(frame).is_some()).map_err(failed)?;
        let Read { mut collection, mut token, asked: kept, whole } = read;
        if !whole || kept != asked {
            // Damaged, or of another question: it is not what stands.
            (collection, token) = (Collection::default(), None);
        }
        let mut mirror = Self {
            client: client.clone(),
            options,
            directory: directory.to_owned(),
            collection,
            journal,
            token,
            asked,
            subscription: None,
            news: News::default(),
            _lock: lock,
        };
        if !whole || kept != mirror.asked {
            mirror.rewrite()?;
        }
        Ok(mirror)
    }

    /// What stands.
    #[must_use]
    pub const fn collection(&self) -> &Collection {
        &self.collection
    }

    /// Asks for the current state anew; what is in use stays in use until it
    /// is told.
    pub fn start_anew(&mut self) {
        self.token = None;
        self.subscription = None;
    }

    /// Waits for what comes next, and has it on disk when it returns. Nothing
    /// is lost if the future is dropped.
    ///
    /// # Errors
    /// What does not pass: the certificate is refused, the name was taken over,
    /// the disk fails; and, with a backoff that gives up, that the hub is away.
    pub async fn next(&mut self) -> Result<News, MirrorError> {
        loop {
            let subscription = match &mut self.subscription {
                Some(subscription) => subscription,
                none => {
                    let start = self.token.clone().map_or(Start::CurrentState, Start::Token);
                    none.insert(self.client.subscribe(Subscribe {
                        start,
                        limit: None,
                        ..self.options.clone()
                    }))
                }
            };
            let delivery = match subscription.next().await {
                Ok(Some(delivery)) => delivery,
                // Only a limit ends a subscription.
                Ok(None) => return Err(Error::Misuse("a mirror has no limit").into()),
                Err(error) => {
                    self.after(error).await?;
                    continue;
                }
            };
            self.keep(&Entry::of(&delivery))?;
            self.news.caught_up |= matches!(&delivery, Delivery::Events(events) if events.caught_up)
                && self.collection.is_complete();
            if let (Some(token), Some(subscription)) = (delivery.token(), &mut self.subscription) {
                subscription.confirm(token).await?;
            }
            return Ok(std::mem::take(&mut self.news));
        }
    }

    /// Ends the stream, and for a named subscription waits until the last
    /// confirmation is durable.
    ///
    /// # Errors
    /// The hub did not say so; nothing is lost.
    pub async fn close(self) -> Result<(), MirrorError> {
        match self.subscription {
            Some(subscription) => Ok(subscription.close().await?),
            None => Ok(()),
        }
    }

    /// Decides about a subscription that failed: an error, or a new one.
    async fn after(&mut self, error: Error) -> Result<(), MirrorError> {
        self.subscription = None;
        let hub = self.client.connection().hub();
        match error.advice() {
            // Not the current state's own failure: that needs no token.
            Advice::Restart if self.token.is_some() => {
                tracing::warn!(hub, %error, "asking for the current state anew");
                self.start_anew();
            }
            _ if error.reason() == "RESUME_TOKEN_INVALID" && self.token.is_some() => {
                tracing::warn!(hub, %error, "asking for the current state anew");
                self.start_anew();
            }
            Advice::Retry(delay) if self.options.backoff.tries.is_none() => {
                tracing::warn!(hub, %error, "the subscription failed; trying again");
                tokio::time::sleep(delay.max(PAUSE)).await;
            }
            _ => return Err(error.into()),
        }
        Ok(())
    }

    /// Writes an entry down, then does what it says.
    fn keep(&mut self, entry: &Entry) -> Result<(), MirrorError> {
        if entry.step() == Step::End && !self.collection.is_collecting() {
            return Err(Error::Protocol("a current state ended that had not begun".to_owned()).into());
        }
        // What changes nothing and comes again is not worth a write.
        if entry.token.is_empty() && entry.changes.is_empty() {
            return Ok(());
        }
        self.journal.append(&entry.encode_to_vec()).map_err(|source| self.failed(source))?;
        self.news.changed |= self.collection.apply(entry)?;
        if !entry.token.is_empty() {
            self.token = Some(entry.token.clone());
        }
        if self.journal.is_long(self.collection.bytes()) {
            self.rewrite()?;
        }
        Ok(())
    }

    /// Puts a snapshot in the place of the journal.
    fn rewrite(&mut self) -> Result<(), MirrorError> {
        let Self { collection, token, asked, directory, journal, .. } = self;
        let begin =
            Entry { step: Step::Snapshot.into(), asked: asked.clone(), form: FORM, ..Entry::default() };
        let end = Entry {
            step: Step::Whole.into(),
            token: token.clone().unwrap_or_default(),
            complete: collection.is_complete(),
            collecting: collection.is_collecting(),
            ..Entry::default()
        };
        let entries = std::iter::once(begin)
            .chain(parts(Step::InUse, collection.in_use()))
            .chain(parts(Step::Fresh, collection.fresh()))
            .chain(std::iter::once(end));
        let frames = entries.map(|entry| entry.encode_to_vec());
        journal.replace(frames).map_err(|source| MirrorError::State { directory: directory.clone(), source })
    }

    fn failed(&self, source: io::Error) -> MirrorError {
        MirrorError::State { directory: self.directory.clone(), source }
    }
}

/// What a journal holds.
#[derive(Default)]
struct Read {
    collection: Collection,
    token: Option<Bytes>,
    asked: String,
    /// Whether the snapshot was there to its end.
    whole: bool,
}

impl Read {
    /// Takes a frame; none if it is not understood.
    fn take(&mut self, frame: &[u8]) -> Option<()> {
        let entry = Entry::decode(frame).ok()?;
        let step = Step::try_from(entry.step).ok()?;
        match step {
            Step::Snapshot if entry.form != FORM => return None,
            Step::Snapshot => {
                self.asked.clone_from(&entry.asked);
                self.whole = false;
            }
            Step::Whole => self.whole = true,
            Step::InUse | Step::Fresh => {}
            Step::Changes | Step::Begin | Step::End | Step::Recalls if !self.whole => return None,
            Step::Changes | Step::Begin | Step::End | Step::Recalls => {}
        }
        self.collection.apply(&entry).ok()?;
        if !entry.token.is_empty() {
            self.token = Some(entry.token);
        }
        Some(())
    }
}

fn parts(step: Step, changes: impl Iterator<Item = Change>) -> impl Iterator<Item = Entry> {
    let mut changes = changes.peekable();
    std::iter::from_fn(move || {
        changes.peek()?;
        let part = changes.by_ref().take(PART).collect();
        Some(Entry { step: step.into(), changes: part, ..Entry::default() })
    })
}

/// What a token is good for.
fn asked(hub: &str, options: &Subscribe) -> String {
    let name = options.name.as_deref().unwrap_or_default();
    let mut hash = digest::Sha256::default();
    hash.update(hub.as_bytes());
    hash.update(&[0]);
    hash.update(&options.filter.encode_to_vec());
    hash.update(&[options.include_sightings.into(), options.include_notices.into()]);
    hash.update(name.as_bytes());
    digest::hex(&hash.finish())
}
