//! Decides what is read of the audit, by whom, and what the hub signs and
//! proves of it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::OwnedRwLockReadGuard;

use crate::base::clock::{self, Timestamp};
use crate::base::digest;
use crate::model::Invalid;
use crate::model::audit::tree::{self, Hashes as _};
use crate::model::audit::{Checkpoint, Hash, Record, tile};
use crate::model::org::OrgSlug;
use crate::model::position::Position;
use crate::model::principal::SpiffeId;
use crate::policy::audit;
use crate::wire::token::{Place, Use};

use super::super::caller::Caller;
use super::super::engine::Hub;
use super::super::error::{Error, Reason};
use super::super::receipts::journal::Noted;
use super::super::shared::Shared;
use super::super::store_error;
use super::trail::Trail;

/// Most records that are looked at for one page.
const MAX_LOOKED: u64 = 20_000;
const METHOD: &str = "ListAuditRecords";

/// Which records are wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sought {
    /// Of this principal.
    pub principal: Option<SpiffeId>,
    /// Of this organisation.
    pub organisation: Option<OrgSlug>,
    /// Of this method; empty: of any.
    pub method: String,
    /// With this outcome; empty: with any.
    pub outcome: String,
    /// That began at or after this moment.
    pub from: Option<Timestamp>,
}

impl Sought {
    fn digest(&self) -> [u8; 32] {
        let Self { principal, organisation, method, outcome, from } = self;
        digest::sha256(format!("{principal:?} {organisation:?} {method:?} {outcome:?} {from:?}").as_bytes())
    }

    fn fits(&self, record: &Record) -> bool {
        let Self { principal, organisation, method, outcome, from } = self;
        let named = principal.as_ref().is_none_or(|id| id.as_str() == record.principal);
        let of = || SpiffeId::parse(&record.principal).ok().map(|id| id.org().clone());
        named
            && (method.is_empty() || *method == record.method)
            && (outcome.is_empty() || *outcome == record.outcome)
            && from.is_none_or(|from| record.time >= from)
            && organisation.as_ref().is_none_or(|organisation| of().as_ref() == Some(organisation))
    }
}

/// A record, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditView {
    /// Its number.
    pub index: u64,
    /// Its canonical encoding.
    pub encoded: Vec<u8>,
    /// What that says.
    pub record: Record,
}

/// A page of records, newest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditPage {
    /// The records.
    pub records: Vec<AuditView>,
    /// For the next page; empty at the end and only there.
    pub next_page_token: String,
}

impl Shared {
    /// Notes a call as it stands; its number among what waits.
    pub fn note_call(&self, trail: &Trail, opened: bool, outcome: &'static str) -> Option<u64> {
        trail.record(opened, outcome).map(|record| self.audit.journal.note(&record))
    }

    /// Notes what the answer of a call holds; `audit` is the number of the
    /// call's record, among those noted.
    pub fn note_told(&self, trail: &Trail, audit: Option<u64>) {
        if let Some((party, way, told)) = trail.receipt() {
            let (party, time) = (Arc::new(party), self.clock.now());
            self.receipts.answer(Noted { party, way, time, audit, told, acked: None });
        }
    }

    /// The newest checkpoint, and its note: a new one where that is older than
    /// `age` and there is more. Blocking.
    ///
    /// # Errors
    /// A failure of the store.
    pub fn checkpoint(&self, age: Duration) -> Result<(Checkpoint, String), Error> {
        let mut newest = self.audit.newest.lock();
        let size = self.audit.size();
        if let Some((made, checkpoint, note)) = &*newest
            && (made.elapsed() < age || checkpoint.size == size)
        {
            return Ok((checkpoint.clone(), note.clone()));
        }
        let root = tree::root(&self.store, size).map_err(store_error)?;
        let signer = self.audit.signer();
        let checkpoint = Checkpoint { origin: signer.verifier().name().to_owned(), size, root };
        let note = checkpoint.sign(signer);
        *newest = Some((clock::monotonic(), checkpoint.clone(), note.clone()));
        Ok((checkpoint, note))
    }

    /// Refuses a tree that no checkpoint was given of: how many records there
    /// are is told by those alone.
    fn known_size(&self, field: &str, size: u64, age: Duration) -> Result<(), Error> {
        if size <= self.checkpoint(age)?.0.size {
            return Ok(());
        }
        let problem = "the hub has signed no checkpoint of so many records; take the size from one";
        Err(Invalid::new(field, problem).into())
    }
}

impl Hub {
    /// Records, newest first, of those whose calls the caller may read.
    ///
    /// # Errors
    /// `PAGE_TOKEN_INVALID`, or a failure of the store.
    pub async fn audit_records(
        &self,
        caller: &Caller,
        sought: Sought,
        size: usize,
        page_token: &str,
    ) -> Result<AuditPage, Error> {
        let arguments = sought.digest();
        let (to, purpose) = (caller.identity(), Use::Page { method: METHOD, arguments: &arguments });
        let begin = match page_token {
            "" => {
                // What ended before is shown.
                self.shared.audit.journal.flush().await;
                self.shared.audit.size()
            }
            token => {
                let place = self.shared.tokens.open_text(to, purpose, token).map_err(|_| {
                    Error::new(
                        Reason::PageTokenInvalid,
                        "the page_token is not from the page before of this same query; start again without one",
                    )
                })?;
                place.position.raw()
            }
        };
        let own = (!self.reads_all(caller)).then(|| caller.identity().org().clone());
        let (records, end) =
            self.blocking(move |shared| page(shared, &sought, own.as_ref(), size, begin)).await?;
        let next_page_token = if end == 0 {
            String::new()
        } else {
            let place = Place { position: Position::from_raw(end), ..Place::default() };
            self.shared.tokens.seal_text(to, purpose, place).map_err(Error::internal)?
        };
        Ok(AuditPage { records, next_page_token })
    }

    /// The newest checkpoint, a signed note, and the key that verifies it.
    ///
    /// # Errors
    /// A failure of the store.
    pub async fn checkpoint(&self) -> Result<(String, String), Error> {
        let age = self.shared.audit.every;
        let (_, note) = self.blocking(move |shared| shared.checkpoint(age)).await?;
        Ok((note, self.audit_key()))
    }

    /// The key that verifies checkpoints.
    #[must_use]
    pub fn audit_key(&self) -> String {
        self.shared.audit.signer().verifier().to_string()
    }

    /// Number of records that are durable.
    #[must_use]
    pub fn audit_size(&self) -> u64 {
        self.shared.audit.size()
    }

    /// That a tree of `new` records goes on from one of `old`.
    ///
    /// # Errors
    /// `FIELD_INVALID`, or a failure of the store.
    pub async fn consistency_proof(&self, old: u64, new: u64) -> Result<Vec<Hash>, Error> {
        if old > new {
            return Err(Invalid::new("old_size", "must not be above new_size").into());
        }
        let age = self.shared.audit.every;
        self.blocking(move |shared| {
            shared.known_size("new_size", new, age)?;
            tree::consistency(&shared.store, old, new).map_err(store_error)
        })
        .await
    }

    /// That record `index` is in a tree of `size` records.
    ///
    /// # Errors
    /// `FIELD_INVALID`, or a failure of the store.
    pub async fn inclusion_proof(&self, index: u64, size: u64) -> Result<Vec<Hash>, Error> {
        if index >= size {
            return Err(Invalid::new("index", "must be below size").into());
        }
        let age = self.shared.audit.every;
        self.blocking(move |shared| {
            shared.known_size("size", size, age)?;
            tree::inclusion(&shared.store, index, size).map_err(store_error)
        })
        .await
    }

    /// The whole log as files.
    ///
    /// # Errors
    /// `ROLE_INSUFFICIENT`, or a failure of the store.
    pub async fn export_audit(&self, caller: &Caller) -> Result<AuditExport, Error> {
        if !self.reads_all(caller) {
            return Err(Error::new(
                Reason::RoleInsufficient,
                "the whole audit is read by auditors of an organisation that runs the hub; list what concerns yours",
            ));
        }
        let whole = Arc::clone(&self.shared.audit.whole).read_owned().await;
        self.shared.audit.journal.flush().await;
        let (checkpoint, note) = self.blocking(|shared| shared.checkpoint(Duration::ZERO)).await?;
        let files = tile::bundles(checkpoint.size)
            .flat_map(|(index, width)| [File::Entries(index, width), File::Tile(0, index, width)])
            .chain(
                tile::all(checkpoint.size)
                    .filter(|(level, _, _)| *level > 0)
                    .map(|(level, index, width)| File::Tile(level, index, width)),
            );
        let files = Box::new(files);
        Ok(AuditExport { shared: Arc::clone(&self.shared), files, note: Some(note), _whole: whole })
    }

    fn reads_all(&self, caller: &Caller) -> bool {
        let directory = self.shared.directory.load();
        audit::reads_all(directory.roster(), caller.identity().org(), self.now().day())
    }
}

/// A page, and before which number the next one begins; 0: there is none.
fn page(
    shared: &Shared,
    sought: &Sought,
    own: Option<&OrgSlug>,
    size: usize,
    begin: u64,
) -> Result<(Vec<AuditView>, u64), Error> {
    let (mut records, mut at) = (Vec::new(), begin.min(shared.audit.size()));
    let least = at.saturating_sub(MAX_LOOKED);
    while at > least {
        for (index, encoded) in shared.store.audit_before(at).map_err(store_error)? {
            if records.len() == size {
                return Ok((records, at));
            }
            at = index;
            // One that was cut, or of a kind of a later release.
            let Some(record) = Record::decode(&encoded) else { continue };
            let may =
                own.is_none_or(|own| SpiffeId::parse(&record.principal).is_ok_and(|id| id.org() == own));
            if may && sought.fits(&record) {
                records.push(AuditView { index, encoded, record });
            }
        }
    }
    Ok((records, at))
}

/// A file of an export.
#[derive(Debug, Clone, Copy)]
enum File {
    Entries(u64, usize),
    Tile(u8, u64, usize),
}

impl File {
    fn read(self, shared: &Shared) -> Result<(String, Bytes), Error> {
        match self {
            Self::Entries(index, width) => {
                let (first, mut bundle) = (index * tile::WIDTH as u64, Vec::new());
                let each = |_, record: &[u8]| {
                    tile::push_entry(&mut bundle, record);
                    true
                };
                shared.store.audit_records(first, first + width as u64, each).map_err(store_error)?;
                Ok((tile::entries_path(index, width), bundle.into()))
            }
            Self::Tile(level, index, width) => {
                let hashes = shared.store.tile(level, index, width).map_err(store_error)?;
                Ok((tile::path(level, index, width), tile::encode(&hashes).into()))
            }
        }
    }
}

/// An export under way.
pub struct AuditExport {
    shared: Arc<Shared>,
    files: Box<dyn Iterator<Item = File> + Send>,
    note: Option<String>,
    /// Nothing is cut meanwhile that the checkpoint does not tell of.
    _whole: OwnedRwLockReadGuard<()>,
}

impl std::fmt::Debug for AuditExport {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AuditExport")
    }
}

impl AuditExport {
    /// The next file, its path and what is in it; the checkpoint comes last.
    ///
    /// # Errors
    /// A failure of the store.
    pub async fn next(&mut self) -> Result<Option<(String, Bytes)>, Error> {
        match self.files.next() {
            Some(file) => self.shared.read(move |shared| file.read(shared)).await.map(Some),
            None => Ok(self.note.take().map(|note| (tile::CHECKPOINT.to_owned(), note.into()))),
        }
    }
}
