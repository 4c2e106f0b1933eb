//! Decides how a log begins: one entry with the keys, the trust domain and the
//! roster. And how it goes on after a restore: an entry that begins a new
//! history epoch.

use std::path::Path;

use prost::Message as _;
use time::Date;
use zeroize::Zeroize as _;

use crate::base::clock::{Clock, Timestamp};
use crate::base::random;
use crate::model::Invalid;
use crate::model::position::{MAX_EPOCH, Position, Seq};
use crate::model::principal::check_trust_domain;
use crate::model::roster::Roster;
use crate::store::chunk::Builder;
use crate::store::proto::entry_header::Change;
use crate::store::{Batch, Store, Tuning, db, proto, roster};
use crate::wire::{seal, token};

use super::directory::Directory;
use super::error::{Error, Reason};

/// The first entry's number.
pub const FIRST: Seq = Seq::new(1, 1);

/// How many epochs a restore draws the next one from; leaves room for some
/// 500 restores of one log.
const EPOCH_STEPS: u64 = 64;
/// How many counters a restore draws the next one from.
const COUNTER_STEPS: u64 = 1 << 28;

/// Where the first roster generation began, and its day.
#[must_use]
pub fn began(time: u64) -> (Position, Date) {
    (FIRST.at(0), Timestamp::from_micros_clamped(time).day())
}

/// What the first entry says.
#[derive(Debug)]
pub struct Genesis {
    /// When the log began, microseconds since the Unix epoch.
    pub time: u64,
    /// Who took part then.
    pub roster: Roster,
    /// Trust domain of every identity.
    pub trust_domain: String,
    /// Key of public ids.
    pub seal_key: crate::base::secret::Secret<Vec<u8>>,
    /// Keys of tokens, oldest first.
    pub token_keys: Vec<(u32, crate::base::secret::Secret<Vec<u8>>)>,
}

/// Begins a log in a new or empty directory.
///
/// # Errors
/// If the directory is not empty, the roster does not fit the trust domain,
/// or the store fails.
pub fn init(data_dir: &Path, roster: Roster, trust_domain: &str, clock: &dyn Clock) -> Result<(), Error> {
    check_trust_domain(trust_domain).map_err(|invalid| invalid.under("trust_domain"))?;
    if let Some(stranger) = roster.principals.keys().find(|id| id.trust_domain() != trust_domain) {
        let problem = format!("{stranger} is not of the trust domain {trust_domain}");
        return Err(Invalid::new("roster.principals", problem).into());
    }
    let store = Store::create(data_dir, &Tuning::default()).map_err(super::store_error)?;
    let mut genesis = proto::Genesis {
        trust_domain: trust_domain.to_owned(),
        log_id: random::bytes::<16>().to_vec().into(),
        seal_key: random::bytes::<{ seal::KEY_BYTES }>().to_vec().into(),
        token_key: Some(proto::TokenKey {
            key_id: 1,
            key: random::bytes::<{ token::KEY_BYTES }>().to_vec().into(),
        }),
        roster: Some(roster::encode_roster(&roster)),
    };
    let header = proto::EntryHeader {
        time: clock.now().as_micros(),
        change: Some(Change::Genesis(genesis.clone())),
        ..Default::default()
    };
    let mut encoded = header.encode_to_vec();
    let mut batch = Batch::new(&store);
    let result = write_genesis(&mut batch, &encoded, header.time, roster);
    encoded.zeroize();
    genesis.seal_key = Default::default();
    result.map_err(super::store_error)?;
    store.commit(batch).map_err(super::store_error)
}

fn write_genesis(batch: &mut Batch<'_>, header: &[u8], time: u64, roster: Roster) -> Result<(), db::Error> {
    for chunk in Builder::new(FIRST.at(0), header.to_vec(), time).finish() {
        batch.chunk(&chunk)?;
    }
    batch.meta(db::FORMAT, &db::FORMAT_VERSION.to_be_bytes())?;
    batch.meta("genesis", &FIRST.raw().to_be_bytes())?;
    let directory = Directory::from_roster(roster, began(time));
    directory.write_to(&Roster::default(), batch)
}

/// Reads what the log began with.
///
/// # Errors
/// If the log has no beginning, or the store fails.
pub fn read(store: &Store) -> Result<Genesis, Error> {
    let damaged = || super::store_error(db::Error::corrupt("entry", FIRST));
    let chunk = store.chunk_at(FIRST.at(0)).map_err(super::store_error)?.ok_or_else(damaged)?;
    let header = chunk.view().and_then(|view| view.entry_header).ok_or_else(damaged)?;
    let header = proto::EntryHeader::decode(header).map_err(|_| damaged())?;
    let Some(Change::Genesis(genesis)) = header.change else { return Err(damaged()) };
    let key = genesis.token_key.ok_or_else(damaged)?;
    let stored = genesis.roster.unwrap_or_default();
    Ok(Genesis {
        time: header.time,
        roster: roster::decode_roster(&stored).map_err(super::store_error)?,
        trust_domain: genesis.trust_domain,
        seal_key: crate::base::secret::Secret::new(genesis.seal_key.to_vec()),
        token_keys: vec![(key.key_id, crate::base::secret::Secret::new(key.key.to_vec()))],
    })
}

/// Begins the next history epoch, so that no position is ever issued twice
/// after a restore.
///
/// # Errors
/// If the epochs are used up, or the store fails.
pub fn begin_epoch(store: &Store, last: Seq, time: Timestamp) -> Result<Seq, Error> {
    if last.epoch() >= MAX_EPOCH {
        return Err(Error::new(Reason::InternalError, "this log has been restored too often"));
    }
    // The same backup may be restored twice, and each life must number its
    // entries apart from the other: the next epoch and counter are drawn.
    let drawn = random::u64();
    let step = u16::try_from(drawn % EPOCH_STEPS).unwrap_or_default();
    let epoch = last.epoch().saturating_add(1 + step).min(MAX_EPOCH);
    let next = Seq::new(epoch, last.counter() + 1 + (drawn >> 32) % COUNTER_STEPS);
    let header = proto::EntryHeader {
        time: time.as_micros(),
        change: Some(Change::EpochBegin(proto::EpochBegin { previous_last_seq: last.raw() })),
        ..Default::default()
    };
    let mut batch = Batch::new(store);
    let mut fences = fences(store)?;
    fences.push(last);
    let raw: Vec<u8> = fences.iter().flat_map(|fence| fence.raw().to_be_bytes()).collect();
    (|| {
        for chunk in Builder::new(next.at(0), header.encode_to_vec(), time.as_micros()).finish() {
            batch.chunk(&chunk)?;
        }
        batch.meta("fences", &raw)?;
        store.commit(batch)
    })()
    .map_err(super::store_error)?;
    Ok(next)
}

/// Where each former history epoch ended.
///
/// # Errors
/// If the store fails.
pub fn fences(store: &Store) -> Result<Vec<Seq>, Error> {
    let stored = store.meta("fences").map_err(super::store_error)?.unwrap_or_default();
    let numbers = stored.chunks_exact(8).filter_map(|raw| raw.try_into().ok());
    Ok(numbers.map(|raw| Seq::from_raw(u64::from_be_bytes(raw))).collect())
}
