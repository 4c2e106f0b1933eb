//! Decides whether a rotation takes a step: the transitions that there are, and
//! the conditions of each.

use std::collections::BTreeSet;

use super::{Blocker, Facts, Generation, MAX_GENERATIONS, Phase, Rotation, Step, Verdict};
use crate::base::clock::Timestamp;
use crate::model::principal::SpiffeId;
use crate::pki::identity::IssuerDigest;
use crate::pki::issue::Hierarchy;
use crate::pki::schedule;

/// Judges `step` from `rotation` with everything that is known. The answer is
/// the dry run: it changes nothing, and the caller stores what it allows only
/// over the version that was judged.
#[must_use]
pub fn judge(rotation: &Rotation, step: &Step, facts: &Facts) -> Verdict {
    let mut case = Case { rotation, facts, blockers: Vec::new(), cut_off: BTreeSet::new() };
    let after = case.after(step);
    let Case { blockers, cut_off, .. } = case;
    let next = after.filter(|_| blockers.is_empty());
    Verdict { next, blockers, cut_off }
}

/// The rotation after the step that nobody has to ask for, once its condition
/// holds: from prepared to distributed when every system has proved its trust,
/// and from rollback to stable when nothing of the next generation is in use.
#[must_use]
pub fn settle(rotation: &Rotation, facts: &Facts) -> Option<Rotation> {
    let next = rotation.next.as_ref()?;
    match (rotation.hierarchy, rotation.phase) {
        (Hierarchy::Server, Phase::Prepared) => {
            let proved = facts.unproved().is_empty() && next.is_valid_at(facts.now);
            proved.then(|| rotation.entering(Phase::Distributed, facts.now))
        }
        (_, Phase::Rollback) => {
            in_use(next, facts).is_empty().then(|| rotation.without_next(next, facts.now))
        }
        _ => None,
    }
}

/// What of `leaving` is still in use. Nobody is asked here, so even holders
/// who were not seen for long count.
fn in_use(leaving: &Generation, facts: &Facts) -> Vec<Blocker> {
    let authority = || leaving.name.clone();
    let is = |issuer: Option<IssuerDigest>| issuer == Some(leaving.issuer);
    let holders = facts.holders(&leaving.issuer);
    let connected = facts.connected(&leaving.issuer);
    [
        is(facts.hub_leaf).then(|| Blocker::HubLeaf { authority: authority() }),
        is(facts.operator).then(|| Blocker::Operator { authority: authority() }),
        (!holders.is_empty()).then(|| Blocker::Leaves { authority: authority(), holders }),
        (!connected.is_empty()).then(|| Blocker::Connections { authority: authority(), holders: connected }),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// A step under judgement.
struct Case<'a> {
    rotation: &'a Rotation,
    facts: &'a Facts,
    blockers: Vec<Blocker>,
    cut_off: BTreeSet<SpiffeId>,
}

impl Case<'_> {
    /// Where the step leads if nothing blocks; none if it does not follow from
    /// this phase at all.
    fn after(&mut self, step: &Step) -> Option<Rotation> {
        let now = self.facts.now;
        let rotation = self.rotation;
        let Some(next) = &rotation.next else {
            let (Phase::Stable, Step::Prepare(candidate)) = (rotation.phase, step) else {
                return self.misplaced(step);
            };
            self.prepare(candidate);
            return Some(rotation.preparing(candidate, now));
        };
        match (rotation.hierarchy, rotation.phase, step) {
            (_, phase, Step::Prepare(_)) => {
                self.block(Blocker::InProgress { phase, next: next.name.clone() });
                if phase == Phase::Rollback {
                    self.blockers.extend(in_use(next, self.facts));
                }
                None
            }
            (Hierarchy::Client, Phase::Prepared, Step::Activate(named))
            | (Hierarchy::Server, Phase::Distributed, Step::Activate(named)) => {
                self.activate(next, named);
                Some(rotation.entering(Phase::Active, now))
            }
            (Hierarchy::Server, Phase::Active, Step::Switch { accept_cutting_off }) => {
                self.switch(next, accept_cutting_off);
                Some(rotation.entering(Phase::Switched, now))
            }
            (Hierarchy::Client, Phase::Active, Step::Taint)
            | (Hierarchy::Server, Phase::Switched, Step::Taint) => {
                self.signs(next);
                self.listed(&[&rotation.current, next]);
                Some(rotation.entering(Phase::Draining, now))
            }
            (_, Phase::Draining, Step::Retire { accept_cutting_off }) => {
                self.retire(next, accept_cutting_off);
                Some(rotation.retiring(next, now))
            }
            (
                _,
                Phase::Prepared | Phase::Distributed | Phase::Active | Phase::Switched | Phase::Draining,
                Step::Rollback,
            ) => {
                self.roll_back();
                Some(rotation.entering(Phase::Rollback, now))
            }
            _ => self.misplaced(step),
        }
    }

    fn block(&mut self, blocker: Blocker) {
        self.blockers.push(blocker);
    }

    fn block_if(&mut self, condition: bool, blocker: impl FnOnce() -> Blocker) {
        if condition {
            self.blockers.push(blocker());
        }
    }

    /// Refuses a step that does not follow from this phase.
    fn misplaced(&mut self, step: &Step) -> Option<Rotation> {
        let (hierarchy, phase) = (self.rotation.hierarchy, self.rotation.phase);
        let after = match (hierarchy, step) {
            (_, Step::Prepare(_)) => "stable",
            (Hierarchy::Client, Step::Switch { .. }) => {
                self.block(Blocker::Hierarchy);
                return None;
            }
            (Hierarchy::Client, Step::Activate(_)) => "prepared",
            (Hierarchy::Server, Step::Activate(_)) => "distributed",
            (Hierarchy::Server, Step::Switch { .. }) | (Hierarchy::Client, Step::Taint) => "active",
            (Hierarchy::Server, Step::Taint) => "switched",
            (_, Step::Retire { .. }) => "draining",
            (_, Step::Rollback) => "any phase from prepared to draining",
        };
        self.block(Blocker::Phase { step: step.as_str(), after, phase });
        // Whoever asks to activate too early asks whom the hub waits for.
        if let (Hierarchy::Server, Phase::Prepared, Step::Activate(_), Some(next)) =
            (hierarchy, phase, step, &self.rotation.next)
        {
            self.proved(next);
        }
        None
    }

    fn prepare(&mut self, candidate: &Generation) {
        let (rotation, facts) = (self.rotation, self.facts);
        let authority = || candidate.name.clone();
        let current = &rotation.current;
        let known = || rotation.retired.iter().chain(&facts.taken);
        let name_used =
            current.issuer == candidate.issuer || known().any(|(issuer, _)| *issuer == candidate.issuer);
        self.block_if(name_used, || Blocker::NameUsed { authority: authority() });
        let key_used = current.key == candidate.key || known().any(|(_, key)| *key == candidate.key);
        self.block_if(key_used, || Blocker::KeyUsed { authority: authority() });
        self.block_if(current.key_identifier == candidate.key_identifier, || Blocker::KeyIdentifierUsed {
            authority: authority(),
            other: current.name.clone(),
        });
        self.block_if(rotation.generations() >= MAX_GENERATIONS, || Blocker::Generations {
            max: MAX_GENERATIONS,
        });
        self.signs(candidate);
        self.lasts(candidate, facts.longest_leaf.saturating_mul(schedule::LEAVES_IN_AUTHORITY));
        self.listed(&[current, candidate]);
        self.block_if(!facts.backed_up, || Blocker::Backup);
    }

    fn activate(&mut self, next: &Generation, named: &IssuerDigest) {
        let facts = self.facts;
        self.block_if(next.issuer != *named, || Blocker::OtherAuthority { next: next.name.clone() });
        let until = self.rotation.since.saturating_add(facts.soak);
        self.block_if(facts.now < until, || Blocker::Soaking { authority: next.name.clone(), until });
        self.signs(next);
        self.lasts(next, facts.longest_leaf);
        self.block_if(!facts.tested.contains(&next.issuer), || Blocker::Untested {
            authority: next.name.clone(),
        });
        self.listed(&[&self.rotation.current, next]);
        if self.rotation.hierarchy == Hierarchy::Server {
            self.proved(next);
        }
    }

    fn switch(&mut self, next: &Generation, accepted: &BTreeSet<SpiffeId>) {
        self.valid(next);
        self.shows(next);
        self.cut_off = self.facts.unproved();
        let systems = self.cut_off.clone();
        let unproved = Blocker::Unproved { authority: next.name.clone(), systems };
        self.unless_accepted(accepted, (!self.cut_off.is_empty()).then_some(unproved));
    }

    fn retire(&mut self, next: &Generation, accepted: &BTreeSet<SpiffeId>) {
        let facts = self.facts;
        let leaving = &self.rotation.current;
        let authority = || leaving.name.clone();
        self.valid(next);
        self.listed(&[next]);
        self.block_if(facts.hub_leaf == Some(leaving.issuer), || Blocker::HubLeaf { authority: authority() });
        self.block_if(facts.operator == Some(leaving.issuer), || Blocker::Operator {
            authority: authority(),
        });
        let connected = facts.connected(&leaving.issuer);
        self.cut_off = facts.holders(&leaving.issuer);
        self.cut_off.extend(connected.iter().cloned());
        let holders = facts.holders_seen(&leaving.issuer);
        let leaves = (!holders.is_empty()).then(|| Blocker::Leaves { authority: authority(), holders });
        let connections = (!connected.is_empty())
            .then(|| Blocker::Connections { authority: authority(), holders: connected });
        self.unless_accepted(accepted, leaves.into_iter().chain(connections));
    }

    fn roll_back(&mut self) {
        let rotation = self.rotation;
        self.signs(&rotation.current);
        // Only what stays needs a list: one that cannot sign its list any more
        // is a reason to go back.
        self.listed(&[&rotation.current]);
        if rotation.hierarchy == Hierarchy::Server
            && matches!(rotation.phase, Phase::Switched | Phase::Draining)
        {
            self.shows(&rotation.current);
        }
    }

    /// Blocks unless exactly those were accepted who would be cut off. Whoever
    /// accepts others has looked at another state than this.
    fn unless_accepted(
        &mut self,
        accepted: &BTreeSet<SpiffeId>,
        blockers: impl IntoIterator<Item = Blocker>,
    ) {
        if !accepted.is_empty() && *accepted == self.cut_off {
            return;
        }
        self.blockers.extend(blockers);
        if !accepted.is_empty() {
            let acceptance = Blocker::Acceptance {
                missing: self.cut_off.difference(accepted).cloned().collect(),
                surplus: accepted.difference(&self.cut_off).cloned().collect(),
            };
            self.block(acceptance);
        }
    }

    /// Blocks unless every system has proved that it trusts `next`.
    fn proved(&mut self, next: &Generation) {
        self.cut_off = self.facts.unproved();
        let systems = self.cut_off.clone();
        self.block_if(!systems.is_empty(), || Blocker::Unproved { authority: next.name.clone(), systems });
    }

    /// Blocks unless `generation` can sign: it is valid, and its key is there.
    fn signs(&mut self, generation: &Generation) {
        self.valid(generation);
        self.block_if(!self.facts.keys.contains(&generation.issuer), || Blocker::Key {
            authority: generation.name.clone(),
        });
    }

    fn valid(&mut self, generation: &Generation) {
        let (now, authority) = (self.facts.now, || generation.name.clone());
        let (not_before, not_after) = (generation.not_before, generation.not_after);
        self.block_if(now < not_before, || Blocker::NotYetValid { authority: authority(), not_before });
        self.block_if(now >= not_after, || Blocker::Expired { authority: authority(), not_after });
    }

    /// Blocks unless `generation` outlasts what it is about to sign.
    fn lasts(&mut self, generation: &Generation, at_least: std::time::Duration) {
        let needed: Timestamp = self.facts.now.saturating_add(at_least);
        let not_after = generation.not_after;
        self.block_if(self.facts.now < not_after && not_after < needed, || Blocker::TooShort {
            authority: generation.name.clone(),
            not_after,
            needed,
        });
    }

    /// Blocks unless the hub has a certificate of `generation` to show.
    fn shows(&mut self, generation: &Generation) {
        self.block_if(!self.facts.hub_leaves_at_hand.contains(&generation.issuer), || {
            Blocker::HubLeafMissing { authority: generation.name.clone() }
        });
    }

    /// Blocks unless each of these has a current revocation list. The hub asks
    /// for the lists of those who sign for its clients, and none of one that
    /// has expired, which it does not trust.
    fn listed(&mut self, generations: &[&Generation]) {
        if self.rotation.hierarchy == Hierarchy::Server {
            return;
        }
        for generation in generations {
            let missing =
                generation.is_valid_at(self.facts.now) && !self.facts.lists.contains(&generation.issuer);
            self.block_if(missing, || Blocker::RevocationList { authority: generation.name.clone() });
        }
    }
}

impl Rotation {
    /// How many generations there were, those in use included.
    fn generations(&self) -> usize {
        self.retired.len().saturating_add(self.trusted().count())
    }

    fn entering(&self, phase: Phase, now: Timestamp) -> Self {
        Self { phase, since: now, version: self.version.saturating_add(1), ..self.clone() }
    }

    fn preparing(&self, candidate: &Generation, now: Timestamp) -> Self {
        // Counted, so that a generation that was rolled back keeps its number.
        let number = u32::try_from(self.generations()).unwrap_or(u32::MAX).saturating_add(1);
        let next = Generation { number, ..candidate.clone() };
        Self { next: Some(next), ..self.entering(Phase::Prepared, now) }
    }

    fn retiring(&self, next: &Generation, now: Timestamp) -> Self {
        let mut after = self.entering(Phase::Stable, now);
        after.retired.push((self.current.issuer, self.current.key));
        after.current = next.clone();
        after.next = None;
        after
    }

    fn without_next(&self, next: &Generation, now: Timestamp) -> Self {
        let mut after = self.entering(Phase::Stable, now);
        after.retired.push((next.issuer, next.key));
        after.next = None;
        after
    }
}
