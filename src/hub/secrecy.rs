//! Decides what becomes of what looks like a state secret: it is refused with
//! its field and its marking named, and counted. Who sent it, when, and a
//! keyed digest of it are noted; its text goes nowhere.

use std::fmt;
use std::sync::atomic::Ordering;

use crate::base::digest::{Keyed, hex};
use crate::model::audit::record::{self, Record};
use crate::model::indicator::Draft;
use crate::model::sighting::SightingDraft;
use crate::model::{Invalid, invalid};
use crate::policy::guard::secrecy::items::{self, Found, Part};

use super::caller::Caller;
use super::engine::Hub;
use super::error::Error;

/// Bytes that take a closer look and are still looked at on the connection's
/// own thread.
const AT_ONCE: usize = 32 * 1024;

/// How many items of a request are named where it is noted.
const NOTED: usize = 8;

/// What digests under the log's sealing key for this purpose.
pub(super) fn keyed(key: &[u8]) -> Keyed {
    Keyed::new(key, "luytre: items refused as state secrets")
}

/// Items as they come to the engine.
type Items<T> = Vec<Result<T, Invalid>>;

/// What is noted of an item.
struct Suspected {
    found: Found,
    digest: [u8; 32],
}

impl Hub {
    /// Items that were refused as state secrets since the start.
    #[must_use]
    pub fn state_secrets_refused(&self) -> u64 {
        self.shared.counters.state_secrets.load(Ordering::Relaxed)
    }

    /// Refuses those indicators that look like state secrets, in their place.
    pub(super) async fn guard_drafts(
        &self,
        caller: &Caller,
        drafts: Items<Draft>,
    ) -> Result<Items<Draft>, Error> {
        let close = drafts.iter().flatten().map(|draft| items::weight(items::of_draft(draft)));
        let heavy = close.fold(0, usize::saturating_add) > AT_ONCE;
        self.guard_items(caller, "publish", drafts, heavy, |keyed, draft| {
            look(keyed, || items::of_draft(draft))
        })
        .await
    }

    /// The same of sightings.
    pub(super) async fn guard_sightings(
        &self,
        caller: &Caller,
        drafts: Items<SightingDraft>,
    ) -> Result<Items<SightingDraft>, Error> {
        let close = drafts.iter().flatten().map(|draft| items::weight(items::of_sighting(draft)));
        let heavy = close.fold(0, usize::saturating_add) > AT_ONCE;
        self.guard_items(caller, "report", drafts, heavy, |keyed, draft| {
            look(keyed, || items::of_sighting(draft))
        })
        .await
    }

    async fn guard_items<T: Send + 'static>(
        &self,
        caller: &Caller,
        call: &'static str,
        mut items: Items<T>,
        heavy: bool,
        look: fn(&Keyed, &T) -> Option<Suspected>,
    ) -> Result<Items<T>, Error> {
        let mut suspected = Vec::new();
        if heavy {
            (items, suspected) = self
                .blocking(move |shared| {
                    let suspected = refuse(&shared.suspected, &mut items, look);
                    Ok((items, suspected))
                })
                .await?;
        } else {
            suspected.extend(refuse(&self.shared.suspected, &mut items, look));
        }
        self.note_suspected(caller.identity().as_str(), call, &suspected);
        Ok(items)
    }

    /// Refuses a call whose texts look like state secrets.
    ///
    /// # Errors
    /// `STATE_SECRET_SUSPECTED`.
    pub(super) fn guard_texts<'a, P>(
        &self,
        who: &str,
        call: &'static str,
        parts: impl Fn() -> P,
    ) -> Result<(), Error>
    where
        P: Iterator<Item = Part<'a>>,
    {
        let Some(suspected) = look(&self.shared.suspected, parts) else { return Ok(()) };
        let refused = refusal(suspected.found);
        self.note_suspected(who, call, &[suspected]);
        Err(refused.into())
    }

    /// The same of one text.
    ///
    /// # Errors
    /// `STATE_SECRET_SUSPECTED`.
    pub(super) fn guard_text(
        &self,
        who: &str,
        call: &'static str,
        field: &'static str,
        text: &str,
    ) -> Result<(), Error> {
        self.guard_texts(who, call, || std::iter::once(Part::text(field, text)))
    }

    /// The one place where it is noted who sent what looks like a state
    /// secret, and when: by the log's own time. A request has one line, lest a
    /// publisher drown the others.
    fn note_suspected(&self, who: &str, call: &str, suspected: &[Suspected]) {
        let count = suspected.len() as u64;
        self.shared.counters.state_secrets.fetch_add(count, Ordering::Relaxed);
        if suspected.is_empty() {
            return;
        }
        let first: Vec<_> = suspected.iter().take(NOTED).map(ToString::to_string).collect();
        let noted = Record {
            asked: u32::try_from(count).unwrap_or(u32::MAX),
            refused: u32::try_from(count).unwrap_or(u32::MAX),
            outcome: invalid::Reason::StateSecretSuspected.as_str().into(),
            principal: who.to_owned(),
            about: format!("{call}: {}", first.join(", ")),
            digest: suspected.first().map(|suspected| suspected.digest),
            ..Record::note(record::STATE_SECRET, self.shared.clock.now())
        };
        self.shared.audit.journal.note(&noted);
        tracing::warn!(
            target: "luytre::audit",
            who,
            call,
            count,
            first = first.join(", "),
            "refused: it looks like a state secret; nothing of its text is kept"
        );
    }
}

impl fmt::Display for Suspected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { found: Found { field, level }, digest } = self;
        write!(f, "{field} ({level}) {}", hex(digest))
    }
}

/// Puts refusals in the place of the items that look like state secrets.
fn refuse<T>(
    keyed: &Keyed,
    items: &mut Items<T>,
    look: fn(&Keyed, &T) -> Option<Suspected>,
) -> Vec<Suspected> {
    let mut all = Vec::new();
    for item in items {
        if let Ok(draft) = item
            && let Some(suspected) = look(keyed, draft)
        {
            *item = Err(refusal(suspected.found));
            all.push(suspected);
        }
    }
    all
}

fn look<'a, P: Iterator<Item = Part<'a>>>(keyed: &Keyed, parts: impl Fn() -> P) -> Option<Suspected> {
    let found = items::find(parts())?;
    Some(Suspected { found, digest: keyed.of(parts().map(|part| part.text.as_bytes())) })
}

fn refusal(Found { field, level }: Found) -> Invalid {
    let problem = format!(
        "reads as marked {level}: do not send it through this hub, which may hold no state secret of any level; \
         if it is one, tell whoever answers for state secrets in your office, and if it is none, say it without the marking"
    );
    Invalid::new(field, problem).because(invalid::Reason::StateSecretSuspected)
}
