//! Decides how an organisation reads and changes what it calls its own, and
//! where that is at hand: it is nobody else's to know.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use parking_lot::{Mutex, RwLock};
use prost::Message as _;
use uuid::Uuid;

use crate::base::clock::Timestamp;
use crate::base::{digest, random};
use crate::model::asset::{self, Asset, AssetChange, List, Matcher};
use crate::model::marking::Recipients;
use crate::model::org::{OrgNo, OrgSlug};
use crate::model::position::Position;
use crate::store::asset::{Record, encode_change};
use crate::store::{Store, db, requests};

use super::asset::{Assets, inherited};
use super::caller::Caller;
use super::directory::Directory;
use super::engine::Hub;
use super::error::{Error, Reason};
use super::proposal::{Change, Decision, Proposal, ProposedAssets, Refusal};
use super::rejection::Rejection;
use super::shared::Shared;

/// One asset, and from whom the organisation has it, if not from itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AssetView {
    /// The asset.
    pub asset: Asset,
    /// Whose it was.
    pub inherited_from: Option<OrgSlug>,
}

/// What is watched for an organisation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AssetsView {
    /// In order, each once.
    pub assets: Vec<AssetView>,
    /// Names the list.
    pub etag: String,
    /// When the organisation itself changed it last.
    pub changed: Option<Timestamp>,
}

/// The assets of all organisations.
#[derive(Debug, Default)]
pub struct Register {
    records: RwLock<BTreeMap<OrgNo, Arc<Record>>>,
    /// What is watched for an organisation from a position on, compiled, while
    /// somebody holds events against it: one for all of its streams.
    compiled: Mutex<BTreeMap<(OrgNo, Position), Weak<Matcher>>>,
}

impl Register {
    /// Reads all of them.
    ///
    /// # Errors
    /// Whatever the store answers.
    pub fn load(store: &Store) -> Result<Self, db::Error> {
        let all = store.all_assets()?.into_iter().map(|(org, record)| (org, Arc::new(record)));
        Ok(Self { records: RwLock::new(all.collect()), compiled: Mutex::default() })
    }

    /// Those of one organisation, and how they stood.
    #[must_use]
    pub fn of(&self, org: OrgNo) -> Arc<Record> {
        self.records.read().get(&org).cloned().unwrap_or_default()
    }

    pub(super) fn take_in(&self, assets: &Assets) {
        for (org, record) in assets.changed() {
            self.records.write().insert(org, Arc::new(record.clone()));
        }
    }

    /// What is watched for an organisation from a position on; `compile` makes
    /// it where nobody has it.
    pub(super) fn compiled<E>(
        &self,
        key: (OrgNo, Position),
        compile: impl FnOnce() -> Result<Matcher, E>,
    ) -> Result<Arc<Matcher>, E> {
        if let Some(known) = self.compiled.lock().get(&key).and_then(Weak::upgrade) {
            return Ok(known);
        }
        // Made without the lock, for others wait behind it.
        let made = Arc::new(compile()?);
        let mut compiled = self.compiled.lock();
        if let Some(known) = compiled.get(&key).and_then(Weak::upgrade) {
            return Ok(known);
        }
        compiled.retain(|_, held| held.strong_count() > 0);
        compiled.insert(key, Arc::downgrade(&made));
        Ok(made)
    }
}

/// Names what is watched for an organisation: it tells nothing but that.
pub(super) fn etag(directory: &Directory, list: &List, inherited: &BTreeMap<Asset, OrgNo>) -> String {
    let mut all = digest::Sha256::default();
    for AssetView { asset, inherited_from } in views(directory, list, inherited) {
        all.update(asset.to_string().as_bytes());
        all.update(&[0]);
        all.update(inherited_from.as_ref().map_or("", OrgSlug::as_str).as_bytes());
        all.update(&[0]);
    }
    digest::hex(&requests::first_16(&all.finish()))
}

fn views(directory: &Directory, list: &List, inherited: &BTreeMap<Asset, OrgNo>) -> Vec<AssetView> {
    let view = |asset: &Asset| {
        let from = inherited.get(asset).filter(|_| !list.contains_key(asset));
        let inherited_from = from.and_then(|org| directory.slug(*org)).cloned();
        AssetView { asset: asset.clone(), inherited_from }
    };
    let mut views: Vec<_> = asset::watched(list, inherited).map(view).collect();
    views.sort_unstable_by(|a, b| a.asset.cmp(&b.asset));
    views
}

impl Shared {
    /// What those registered that `org` follows today.
    fn inherited_assets(&self, directory: &Directory, org: OrgNo) -> BTreeMap<Asset, OrgNo> {
        let own = |followed| Ok(asset::own(&self.assets.of(followed).list).cloned().collect());
        inherited::<std::convert::Infallible>(directory, org, own).unwrap_or_else(|never| match never {})
    }

    fn assets_view(&self, org: OrgNo) -> AssetsView {
        let (directory, record) = (self.directory.load(), self.assets.of(org));
        let inherited = self.inherited_assets(&directory, org);
        AssetsView {
            assets: views(&directory, &record.list, &inherited),
            etag: etag(&directory, &record.list, &inherited),
            changed: record.time,
        }
    }

    /// Names what is watched for `org` today.
    pub(super) fn assets_etag(&self, org: OrgNo) -> String {
        let (directory, record) = (self.directory.load(), self.assets.of(org));
        etag(&directory, &record.list, &self.inherited_assets(&directory, org))
    }
}

impl Hub {
    /// What is watched for the caller's organisation.
    ///
    /// # Errors
    /// The hub is going down.
    pub async fn assets(&self, caller: &Caller) -> Result<AssetsView, Error> {
        let org = caller.org();
        self.blocking(move |shared| Ok(shared.assets_view(org))).await
    }

    /// Changes what the caller's organisation calls its own; `expected` is the
    /// etag of the list that must stand.
    ///
    /// # Errors
    /// `ETAG_MISMATCH`, `RATE_LIMITED` where there would be too many, or too much
    /// is stored already,
    /// `DUPLICATE_REQUEST_ID`, `STORE_READ_ONLY`, `DRAINING`.
    ///
    /// # Cancellation
    /// As of [`Hub::publish`].
    pub async fn change_assets(
        &self,
        caller: &Caller,
        request_id: Uuid,
        change: AssetChange,
        expected: Option<String>,
    ) -> Result<AssetsView, Error> {
        let mut content = digest::Sha256::default();
        content.update(&encode_change(caller.org(), &change).encode_to_vec());
        content.update(expected.as_deref().unwrap_or_default().as_bytes());
        let (author, organisation) = (caller.clone(), caller.org());
        let decision = self
            .propose(|reply| Proposal {
                request: Some(requests::request_key(author.identity().as_str(), request_id.as_bytes())),
                content: requests::first_16(&content.finish()),
                salt: random::bytes(),
                caller: Some(author),
                change: Change::Assets(Box::new(ProposedAssets {
                    organisation,
                    change,
                    expected,
                    is_too_much: false,
                })),
                reply,
            })
            .await?
            .pop();
        match decision {
            Some(Decision::Written { .. } | Decision::Unchanged { .. }) => self.assets(caller).await,
            Some(Decision::Refused(Refusal::Stale)) => Err(Error::new(
                Reason::EtagMismatch,
                "another list stands by now; read it with GetAssets and decide again",
            )),
            Some(Decision::Refused(refusal)) => {
                let Rejection { reason, problem, .. } = Rejection::refused(refusal, &Recipients::default());
                Err(Error::new(reason, problem))
            }
            None => Err(Error::absent()),
        }
    }
}
