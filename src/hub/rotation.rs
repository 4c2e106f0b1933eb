//! Decides how the rotation of an authority is asked for: the facts are
//! gathered, the machine of phases judges them, and the log keeps the step.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use prost::Message as _;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};
use uuid::Uuid;

use crate::base::clock::Timestamp;
use crate::base::{digest, random, tasks};
use crate::model::Invalid;
use crate::model::certificate::{CertificateChange, CertificateId, Hierarchy, IssuerDigest, State};
use crate::model::position::Position;
use crate::model::principal::SpiffeId;
use crate::pki::authority::{self, Due, Facts, Generation, LiveLeaf, Rotation, Step};
use crate::pki::ledger::{self, Ledger};
use crate::pki::schedule;
use crate::store::{db, proto, requests};

use super::admission::is_monitor;
use super::certificates::{Operator, refused};
use super::engine::Hub;
use super::error::{Error, Reason};
use super::issuing::unsigned;
use super::proposal::{Change, ProposedRotation};
use super::shared::Shared;
use super::{certify, store_error};

/// Holders whose certificate was never used, and was issued longer ago than
/// this, do not stand in the way of retiring its authority.
const SEEN_WITHIN: Duration = Duration::from_secs(14 * 24 * 60 * 60);

/// How long a step waits for a look at the signer.
const LOOK_PATIENCE: Duration = Duration::from_secs(5);

/// What whoever keeps the authorities in force knows of them.
#[derive(Debug, Clone, Default)]
pub struct InForce {
    /// Who signed the certificate that the hub shows.
    pub hub_leaf: Option<IssuerDigest>,
    /// The authorities of which a usable certificate for the hub is at hand.
    pub hub_leaves: BTreeSet<IssuerDigest>,
    /// The revocation lists: number, when the next is due, and the list.
    pub lists: BTreeMap<IssuerDigest, (u64, Timestamp, CertificateRevocationListDer<'static>)>,
    /// The authorities whose key the signer holds.
    pub keys: BTreeSet<IssuerDigest>,
    /// Those of which a certificate was proved by a handshake with this hub's
    /// configuration.
    pub tested: BTreeSet<IssuerDigest>,
    /// The authority that is shown under the canary's name.
    pub canary: Option<IssuerDigest>,
    /// Certificates that the lists name.
    pub listed: BTreeSet<CertificateId>,
    /// Names and keys of authorities from files.
    pub files: Vec<(IssuerDigest, [u8; 32])>,
}

/// Where a hierarchy stands, for operators.
#[derive(Debug, Clone)]
pub struct RotationView {
    /// The phase and the generations.
    pub rotation: Arc<Rotation>,
    /// Number and next update of the list of each.
    pub lists: BTreeMap<IssuerDigest, (u64, Timestamp)>,
    /// Certificates that are taken, and connections, of each.
    pub counts: BTreeMap<IssuerDigest, (usize, usize)>,
    /// What the age of the generation in use asks for.
    pub due: Option<Due>,
}

/// Which step an operator asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StepKind {
    /// Begins to trust the authority that is named.
    Prepare,
    /// Lets the authority sign that is named.
    Activate,
    /// Lets the hub show its certificate of the next authority.
    Switch,
    /// Asks holders of certificates of the old authority to renew.
    Taint,
    /// Ends the trust in the old authority.
    Retire,
    /// Goes back to the old authority.
    Rollback,
}

/// A step that an operator asks for.
#[derive(Debug, Clone)]
pub struct StepAsked {
    /// Of which hierarchy.
    pub hierarchy: Hierarchy,
    /// Which.
    pub step: StepKind,
    /// First digits of the authority that it names.
    pub authority: Option<String>,
    /// The version that it is taken from.
    pub version: u64,
    /// Whether it is only judged.
    pub dry_run: bool,
    /// Exactly those who would be cut off.
    pub accept: BTreeSet<SpiffeId>,
}

/// What became of a step.
#[derive(Debug, Clone)]
pub struct StepDone {
    /// Where the hierarchy stands now.
    pub rotation: RotationView,
    /// What stands in the way, in words.
    pub blockers: Vec<String>,
    /// Who would be cut off.
    pub cut_off: BTreeSet<SpiffeId>,
}

impl Hub {
    /// Where the hierarchies stand that the signer serves.
    #[must_use]
    pub fn rotations(&self) -> Vec<RotationView> {
        let ledger = self.ledger();
        ledger.rotations.values().map(|rotation| self.rotation_view(&ledger, rotation)).collect()
    }

    /// Common name of an authority that the ledger knows, else its first
    /// digits.
    #[must_use]
    pub fn issuer_name(&self, issuer: &IssuerDigest) -> String {
        let ledger = self.ledger();
        let mut known = ledger.rotations.values().filter_map(|rotation| rotation.generation(issuer));
        known.next().map_or_else(|| issuer.short(), |generation| generation.name.clone())
    }

    /// The revocation lists in force.
    #[must_use]
    pub fn revocation_lists(&self) -> Vec<CertificateRevocationListDer<'static>> {
        self.shared.in_force.load().lists.values().map(|(_, _, list)| list.clone()).collect()
    }

    /// What agencies must trust.
    ///
    /// # Errors
    /// `SIGNER_UNAVAILABLE`: the configuration names no authorities.
    pub fn trust_bundle(&self) -> Result<Arc<[CertificateDer<'static>]>, Error> {
        self.issuance().map(|issuance| Arc::clone(&issuance.roots))
    }

    /// The name under which `holder` proves that he trusts the hub's next
    /// authority; empty while there is nothing to prove, or nothing yet.
    #[must_use]
    pub fn canary_name(&self, holder: &SpiffeId) -> String {
        let ledger = self.ledger();
        let next = ledger.rotations.get(&Hierarchy::Server).and_then(|rotation| rotation.canary());
        // What is in force follows what the log says.
        let shown = next.map(|next| next.issuer).filter(|next| self.in_force().canary == Some(*next));
        let unproved = shown.is_some_and(|issuer| !ledger.proofs.contains_key(&(issuer, holder.clone())));
        let name = self.options.issuance.as_ref().filter(|_| unproved);
        name.map(|issuance| issuance.canary.to_string()).unwrap_or_default()
    }

    /// Writes down that a backup is whole, which was begun at this moment, if
    /// anything depends on it: the next authority does.
    ///
    /// # Errors
    /// As every write.
    pub async fn note_backup(&self, begun: Timestamp) -> Result<(), Error> {
        let known = self.ledger().backed_up.is_some_and(|known| begun <= known);
        if known || self.options.issuance.is_none() {
            return Ok(());
        }
        let change = CertificateChange::BackUp(begun);
        self.certify(Operator::Machine, None, random::bytes(), change).await.map(drop)
    }

    /// Says what is in force of the authorities.
    pub fn note_in_force(&self, known: InForce) {
        self.shared.in_force.store(Arc::new(known));
        self.shared.in_force_changes.send_modify(|count| *count = count.wrapping_add(1));
    }

    /// What is in force of the authorities.
    #[must_use]
    pub fn in_force(&self) -> Arc<InForce> {
        self.shared.in_force.load_full()
    }

    /// Begins a hierarchy with its first authority, if it has none yet.
    ///
    /// # Errors
    /// As every write.
    pub async fn begin_hierarchy(&self, hierarchy: Hierarchy, first: Generation) -> Result<(), Error> {
        if self.ledger().rotations.contains_key(&hierarchy) {
            return Ok(());
        }
        let rotation = Rotation::begin(hierarchy, first, self.machine_now());
        self.turn(Operator::Machine, None, random::bytes(), rotation).await
    }

    /// Takes a step of a rotation, or tells what stands in its way.
    ///
    /// # Errors
    /// `FIELD_INVALID`, `NOT_FOUND`, `ETAG_MISMATCH`, `ROTATION_BLOCKED`,
    /// `SIGNER_UNAVAILABLE`; as every write.
    pub async fn rotate(
        &self,
        by: Operator<'_>,
        request_id: Uuid,
        asked: StepAsked,
    ) -> Result<StepDone, Error> {
        let ledger = self.ledger();
        let rotation = ledger.rotations.get(&asked.hierarchy).ok_or_else(|| {
            Error::new(
                Reason::NotFound,
                "this hub has no authority of that hierarchy; its signer must hold one",
            )
        })?;
        let content = requests::first_16(&digest::sha256(format!("{asked:?}").as_bytes()));
        if asked.version != rotation.version {
            return self.taken_before(by, request_id, content, &asked, rotation).await;
        }
        let step = self.step(rotation, &asked).await?;
        let facts = self.facts(&ledger, rotation, by);
        let verdict = authority::judge(rotation, &step, &facts);
        let blockers: Vec<_> = verdict.blockers.iter().map(ToString::to_string).collect();
        if asked.dry_run {
            let rotation = self.rotation_view(&ledger, rotation);
            return Ok(StepDone { rotation, blockers, cut_off: verdict.cut_off });
        }
        let Some(next) = verdict.next else {
            let first = blockers.first().cloned().unwrap_or_default();
            let more = blockers.len().saturating_sub(1);
            let rest = if more > 0 { format!(" (and {more} more; see --dry-run)") } else { String::new() };
            return Err(Error::new(Reason::RotationBlocked, format!("{first}{rest}")));
        };
        self.turn(by, Some(request_id), content, next).await?;
        let ledger = self.ledger();
        let rotation = ledger.rotations.get(&asked.hierarchy).ok_or_else(Error::absent)?;
        tracing::warn!(
            target: "luytre::audit",
            hierarchy = asked.hierarchy.as_str(), step = step.as_str(), phase = %rotation.phase,
            cut_off = verdict.cut_off.len(), "authority rotated"
        );
        let rotation = self.rotation_view(&ledger, rotation);
        Ok(StepDone { rotation, blockers, cut_off: verdict.cut_off })
    }

    /// The first answer to a step once more, if this request took it; who asks
    /// for another from a state that is over is refused.
    async fn taken_before(
        &self,
        by: Operator<'_>,
        request_id: Uuid,
        content: [u8; 16],
        asked: &StepAsked,
        stands: &Arc<Rotation>,
    ) -> Result<StepDone, Error> {
        if asked.dry_run {
            return Err(refused(ledger::Refusal::Stale));
        }
        // What stands follows upon nothing: the writer knows the request, or
        // refuses it.
        let rotation = Arc::clone(stands);
        let change = Change::Rotate(Box::new(ProposedRotation { time: self.machine_now(), rotation }));
        let at = self.write(by, Some(request_id), content, change).await?;
        let taken = self.blocking(move |shared| rotation_of(shared, at)).await?;
        let rotation = self.rotation_view(&self.ledger(), &taken);
        // Whom else it cut off, who was not seen for long, is written nowhere.
        Ok(StepDone { rotation, blockers: Vec::new(), cut_off: asked.accept.clone() })
    }

    /// Takes the steps that nobody has to ask for. Returns whether one was
    /// taken.
    ///
    /// # Errors
    /// As every write.
    pub async fn settle_rotations(&self) -> Result<bool, Error> {
        let ledger = self.ledger();
        let mut taken = false;
        for rotation in ledger.rotations.values() {
            let facts = self.facts(&ledger, rotation, Operator::Machine);
            if let Some(next) = authority::settle(rotation, &facts) {
                let phase = next.phase;
                self.turn(Operator::Machine, None, random::bytes(), next).await?;
                tracing::warn!(target: "luytre::audit", hierarchy = rotation.hierarchy.as_str(), %phase, "authority rotated by itself");
                taken = true;
            }
        }
        Ok(taken)
    }

    async fn turn(
        &self,
        by: Operator<'_>,
        request_id: Option<Uuid>,
        content: [u8; 16],
        rotation: Rotation,
    ) -> Result<(), Error> {
        let (time, rotation) = (self.machine_now(), Arc::new(rotation));
        let change = Change::Rotate(Box::new(ProposedRotation { time, rotation }));
        self.write(by, request_id, content, change).await.map(drop)
    }

    async fn step(&self, rotation: &Rotation, asked: &StepAsked) -> Result<Step, Error> {
        let named = || {
            let problem =
                "required for this step: the authority, by the name that ListAuthorities or the signer gives";
            asked.authority.as_deref().ok_or_else(|| Error::from(Invalid::new("authority", problem)))
        };
        let accept_cutting_off = asked.accept.clone();
        Ok(match asked.step {
            StepKind::Prepare => Step::Prepare(Box::new(self.held(asked.hierarchy, named()?).await?)),
            StepKind::Activate => {
                let name = named()?;
                let known = rotation.trusted().find(|generation| generation.issuer.short() == name);
                Step::Activate(known.map(|generation| generation.issuer).ok_or_else(Error::absent)?)
            }
            StepKind::Switch => Step::Switch { accept_cutting_off },
            StepKind::Taint => Step::Taint,
            StepKind::Retire => Step::Retire { accept_cutting_off },
            StepKind::Rollback => Step::Rollback,
        })
    }

    /// The authority of which the signer holds the key, by its first digits.
    async fn held(&self, hierarchy: Hierarchy, name: &str) -> Result<Generation, Error> {
        let signer = Arc::clone(&self.issuance()?.signer);
        let held = tasks::spawn_blocking(move || signer.authorities()).await;
        let held = held.map_err(Error::internal)?.map_err(unsigned)?;
        let held: Vec<_> = held
            .into_iter()
            .filter(|held| held.hierarchy == hierarchy)
            .filter_map(|held| Generation::from_der(0, held.certificate).ok())
            .collect();
        let found = held.iter().find(|generation| generation.issuer.short() == name).cloned();
        let found = found.ok_or_else(|| {
            let all = held.iter().map(|one| format!("authorities/{} ({})", one.issuer.short(), one.name));
            let all = all.collect::<Vec<_>>().join(", ");
            Error::new(
                Reason::NotFound,
                format!("the signer holds no authority {name} of this hierarchy, but {all}; put its certificate and key into the signer's directory"),
            )
        })?;
        self.look_again(found.issuer).await;
        Ok(found)
    }

    /// Has whoever keeps the authorities in force look at the signer once
    /// more, if he does not know yet that it holds this key.
    async fn look_again(&self, issuer: IssuerDigest) {
        let mut reports = self.shared.in_force_changes.subscribe();
        if self.in_force().keys.contains(&issuer) {
            return;
        }
        self.shared.ledger_changes.send_modify(|count| *count = count.wrapping_add(1));
        // In vain if the look goes wrong; the facts will say so.
        let looked =
            async { while !self.in_force().keys.contains(&issuer) && reports.changed().await.is_ok() {} };
        let _ = tokio::time::timeout(LOOK_PATIENCE, looked).await;
    }

    fn facts(&self, ledger: &Ledger, rotation: &Rotation, by: Operator<'_>) -> Facts {
        let (known, now) = (self.in_force(), self.machine_now());
        // What waits for an operator's word is cut off with its authority, too.
        let counts = |c: &&Arc<_>| ledger.is_live(c, now) || ledger.waits(c, now);
        let live = || ledger.certificates.values().filter(counts).filter(|c| !is_monitor(&c.holder));
        let is_client = rotation.hierarchy == Hierarchy::Client;
        let next = rotation.next.as_ref().map(|next| next.issuer);
        let others = ledger.rotations.values().filter(|other| other.hierarchy != rotation.hierarchy);
        let foreign = others.flat_map(|other| {
            let trusted = other.trusted().map(|generation| (generation.issuer, generation.key));
            trusted.chain(other.retired.iter().copied()).collect::<Vec<_>>()
        });
        Facts {
            now,
            longest_leaf: self.options.issuance.as_ref().map_or(Duration::ZERO, |issuance| {
                if is_client { issuance.lifetime } else { crate::pki::issue::lifetime::SERVER }
            }),
            soak: self.options.issuance.as_ref().map_or(schedule::SOAK, |issuance| issuance.soak),
            seen_within: SEEN_WITHIN,
            systems: live().filter(|c| c.first_used.is_some()).map(|c| c.holder.clone()).collect(),
            proved: ledger
                .proofs
                .keys()
                .filter(|(issuer, _)| Some(*issuer) == next)
                .map(|(_, holder)| holder.clone())
                .collect(),
            leaves: live()
                // Whose successor is in use is not cut off with it, but for
                // the connections that he still has open: these count.
                .filter(|c| matches!(c.state(now), State::Active | State::Unconfirmed))
                .map(|c| LiveLeaf {
                    issuer: c.id.issuer,
                    holder: c.holder.clone(),
                    not_after: c.not_after,
                    // Later than the truth errs on the safe side.
                    last_seen: if c.first_used.is_some() { now } else { c.issued },
                })
                .collect(),
            connections: if is_client { self.in_use() } else { BTreeSet::new() },
            hub_leaf: known.hub_leaf,
            hub_leaves_at_hand: known.hub_leaves.clone(),
            operator: match by {
                Operator::Person(caller) => Some(caller.certificate().issuer),
                Operator::Machine => None,
            },
            lists: known
                .lists
                .iter()
                .filter(|(_, (_, next_update, _))| now < *next_update)
                .map(|(issuer, _)| *issuer)
                .collect(),
            keys: known.keys.clone(),
            tested: known.tested.clone(),
            taken: foreign.chain(known.files.iter().copied()).collect(),
            backed_up: Self::backed_up(ledger, rotation),
        }
    }

    fn in_use(&self) -> BTreeSet<(IssuerDigest, SpiffeId)> {
        let board = self.shared.switchboard.get();
        let all = board.map(|board| board.in_use()).unwrap_or_default();
        all.into_iter().map(|(id, holder, _)| (id.issuer, holder)).collect()
    }

    /// Whether a backup was made since the phase began that a step starts from.
    fn backed_up(ledger: &Ledger, rotation: &Rotation) -> bool {
        ledger.backed_up.is_some_and(|begun| begun >= rotation.since)
    }

    fn rotation_view(&self, ledger: &Ledger, rotation: &Arc<Rotation>) -> RotationView {
        let (known, now) = (self.in_force(), self.machine_now());
        let mut counts: BTreeMap<IssuerDigest, (usize, usize)> = BTreeMap::new();
        for certificate in ledger.certificates.values().filter(|c| ledger.is_live(c, now)) {
            counts.entry(certificate.id.issuer).or_default().0 += 1;
        }
        for (id, _, connections) in
            self.shared.switchboard.get().map(|board| board.in_use()).unwrap_or_default()
        {
            counts.entry(id.issuer).or_default().1 += connections;
        }
        RotationView {
            rotation: Arc::clone(rotation),
            lists: known
                .lists
                .iter()
                .map(|(issuer, (number, next, _))| (*issuer, (*number, *next)))
                .collect(),
            counts,
            due: rotation.due(now),
        }
    }
}

/// The rotation as the entry at `at` left it.
fn rotation_of(shared: &Shared, at: Position) -> Result<Arc<Rotation>, Error> {
    let damaged = || store_error(db::Error::corrupt("entry", at));
    let chunk = shared.store.chunk_at(at).map_err(store_error)?.ok_or_else(damaged)?;
    let header = chunk.view().and_then(|view| view.entry_header).ok_or_else(damaged)?;
    let header = proto::EntryHeader::decode(header).map_err(|_| damaged())?;
    match certify::stored(&header).ok_or_else(damaged)?.map_err(store_error)? {
        Change::Rotate(taken) => Ok(taken.rotation),
        _ => Err(damaged()),
    }
}
