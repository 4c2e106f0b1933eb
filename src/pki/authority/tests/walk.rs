//! Decides nothing: random histories of a hierarchy, its systems and its
//! operator, and what holds after each move.

use proptest::prelude::*;

use super::*;

const SYSTEMS: u8 = 4;

/// How an operator accepts.
#[derive(Debug, Clone, Copy)]
enum Accept {
    Nobody,
    DryRun,
    Random(u8),
}

#[derive(Debug, Clone)]
enum Move {
    /// Hours pass.
    Pass(u32),
    /// A system gets a certificate of whoever signs.
    Renew(u8),
    Use(u8),
    Revoke(u8),
    Connect(u8),
    Disconnect(u8),
    Prove(u8),
    ProveAll,
    /// The hub shows what it should.
    ShowRight,
    /// The operator renews his own certificate.
    Operator,
    Settle,
    /// An authority, by name and key, so that either may come twice.
    Prepare(u32, u32),
    Activate(u32),
    /// Activates the one that is prepared.
    ActivateNext,
    Switch(Accept),
    Taint,
    Retire(Accept),
    Rollback,
}

fn accepts() -> impl Strategy<Value = Accept> {
    prop_oneof![Just(Accept::Nobody), Just(Accept::DryRun), (0_u8..16).prop_map(Accept::Random)]
}

fn moves() -> impl Strategy<Value = Move> {
    prop_oneof![
        3 => (1_u32..400).prop_map(Move::Pass),
        3 => (0..SYSTEMS).prop_map(Move::Renew),
        1 => (0..SYSTEMS).prop_map(Move::Use),
        1 => (0..SYSTEMS).prop_map(Move::Revoke),
        1 => (0..SYSTEMS).prop_map(Move::Connect),
        2 => (0..SYSTEMS).prop_map(Move::Disconnect),
        1 => (0..SYSTEMS).prop_map(Move::Prove),
        4 => Just(Move::ProveAll),
        4 => Just(Move::ShowRight),
        3 => Just(Move::Operator),
        6 => Just(Move::Settle),
        4 => (1_u32..20, 1_u32..20).prop_map(|(name, key)| Move::Prepare(name, key)),
        1 => (1_u32..20).prop_map(Move::Activate),
        4 => Just(Move::ActivateNext),
        4 => accepts().prop_map(Move::Switch),
        4 => Just(Move::Taint),
        4 => accepts().prop_map(Move::Retire),
        1 => Just(Move::Rollback),
    ]
}

struct World {
    rotation: Rotation,
    facts: Facts,
    /// Every generation that was ever trusted.
    ever: Vec<Generation>,
    retired: u32,
}

impl World {
    fn new(hierarchy: Hierarchy) -> Self {
        let all: BTreeSet<_> = (0..20).map(issuer).collect();
        let facts = Facts {
            now: noon(),
            soak: HOUR * 24,
            seen_within: DAY * 10,
            systems: (0..SYSTEMS).map(system).collect(),
            proved: BTreeSet::new(),
            hub_leaf: Some(issuer(1)),
            operator: (hierarchy == Hierarchy::Client).then(|| issuer(1)),
            hub_leaves_at_hand: all.clone(),
            lists: all.clone(),
            keys: all.clone(),
            tested: all,
            ..ideal()
        };
        let rotation = Rotation::begin(hierarchy, authority(1, 1), noon());
        Self { ever: vec![rotation.current.clone()], rotation, facts, retired: 0 }
    }

    fn leaf_of(&mut self, n: u8) -> Option<&mut LiveLeaf> {
        self.facts.leaves.iter_mut().find(|leaf| leaf.holder == system(n))
    }

    fn step(&self, step: &Move) -> Option<Step> {
        let accept = |how, of: &dyn Fn(BTreeSet<SpiffeId>) -> Step| match how {
            Accept::Nobody => of(BTreeSet::new()),
            Accept::DryRun => of(judge(&self.rotation, &of(BTreeSet::new()), &self.facts).cut_off),
            Accept::Random(mask) => of((0..SYSTEMS).filter(|n| mask & (1 << n) != 0).map(system).collect()),
        };
        Some(match step {
            Move::Prepare(name, key) => {
                // Made when it is needed: valid from now on.
                let made = Generation {
                    not_before: self.facts.now,
                    not_after: self.facts.now.saturating_add(DAY * 365),
                    ..authority(*name, *key)
                };
                Step::Prepare(Box::new(made))
            }
            Move::Activate(name) => Step::Activate(issuer(*name)),
            Move::ActivateNext => Step::Activate(self.rotation.next.as_ref()?.issuer),
            Move::Switch(how) => accept(*how, &|who| Step::Switch { accept_cutting_off: who }),
            Move::Taint => Step::Taint,
            Move::Retire(how) => accept(*how, &|who| Step::Retire { accept_cutting_off: who }),
            Move::Rollback => Step::Rollback,
            _ => return None,
        })
    }

    /// What happens without anybody asking the machine.
    fn live(&mut self, step: &Move) {
        let now = self.facts.now;
        match step {
            Move::Pass(hours) => self.facts.now = now.saturating_add(HOUR * *hours),
            Move::Renew(n) => {
                self.facts.leaves.retain(|leaf| leaf.holder != system(*n));
                let issuer = self.rotation.signing().issuer;
                let not_after = now.saturating_add(LEAF);
                self.facts.leaves.push(LiveLeaf { issuer, holder: system(*n), not_after, last_seen: now });
            }
            Move::Use(n) => {
                if let Some(leaf) = self.leaf_of(*n) {
                    leaf.last_seen = now;
                }
            }
            Move::Revoke(n) => self.facts.leaves.retain(|leaf| leaf.holder != system(*n)),
            Move::Connect(n) => {
                if let Some(issuer) = self.leaf_of(*n).map(|leaf| leaf.issuer) {
                    self.facts.connections.insert((issuer, system(*n)));
                }
            }
            Move::Disconnect(n) => self.facts.connections.retain(|(_, holder)| *holder != system(*n)),
            Move::Prove(n) => drop(self.facts.proved.insert(system(*n))),
            Move::ProveAll => self.facts.proved.clone_from(&self.facts.systems),
            Move::ShowRight => self.facts.hub_leaf = Some(self.rotation.shown().issuer),
            Move::Operator => {
                self.facts.operator = self.facts.operator.map(|_| self.rotation.signing().issuer);
            }
            _ => {}
        }
    }

    fn make(&mut self, step: &Move) -> Result<(), TestCaseError> {
        if matches!(step, Move::Settle) {
            if let Some(after) = settle(&self.rotation, &self.facts) {
                self.enter(after, None)?;
            }
        } else if let Some(asked) = self.step(step) {
            let verdict = judge(&self.rotation, &asked, &self.facts);
            prop_assert_eq!(verdict.next.is_some(), verdict.blockers.is_empty());
            if let Some(after) = verdict.next {
                self.enter(after, Some(&asked))?;
            }
        } else {
            self.live(step);
        }
        Ok(())
    }

    fn enter(&mut self, after: Rotation, asked: Option<&Step>) -> Result<(), TestCaseError> {
        prop_assert_eq!(after.version, self.rotation.version + 1, "one higher after every step");
        prop_assert_eq!(after.next.is_none(), after.phase == Phase::Stable);
        for generation in self.rotation.trusted().filter(|old| after.generation(&old.issuer).is_none()) {
            self.dropped(generation, asked)?;
        }
        prop_assert!(after.trusted().count() >= 1, "something is trusted");
        prop_assert!(after.generation(&after.signing().issuer).is_some(), "whoever signs is trusted");
        prop_assert!(after.generation(&after.shown().issuer).is_some(), "what the hub shows is trusted");
        for new in after.trusted().filter(|new| self.rotation.generation(&new.issuer).is_none()) {
            for old in &self.ever {
                prop_assert_ne!(old.issuer, new.issuer, "a name is never used again");
                prop_assert_ne!(old.key, new.key, "a key is never used again");
                prop_assert_ne!(old.number, new.number, "a number is never used again");
            }
        }
        let new: Vec<_> =
            after.trusted().filter(|new| self.rotation.generation(&new.issuer).is_none()).cloned().collect();
        if !new.is_empty() {
            self.facts.proved.clear();
        }
        self.ever.extend(new);
        self.retired += u32::from(matches!(asked, Some(Step::Retire { .. })));
        // The hub ends what is no longer trusted.
        self.facts.leaves.retain(|leaf| after.generation(&leaf.issuer).is_some());
        self.facts.connections.retain(|(issuer, _)| after.generation(issuer).is_some());
        self.rotation = after;
        Ok(())
    }

    /// What must hold when a generation is trusted no more.
    fn dropped(&self, old: &Generation, asked: Option<&Step>) -> Result<(), TestCaseError> {
        let now = self.facts.now;
        let valid = |leaf: &&LiveLeaf| leaf.issuer == old.issuer && now <= leaf.not_after;
        let held: BTreeSet<_> =
            self.facts.leaves.iter().filter(valid).map(|leaf| leaf.holder.clone()).collect();
        let open: BTreeSet<_> = self
            .facts
            .connections
            .iter()
            .filter(|(of, _)| *of == old.issuer)
            .map(|(_, who)| who.clone())
            .collect();
        let all: BTreeSet<_> = held.union(&open).cloned().collect();
        prop_assert!(self.facts.operator != Some(old.issuer), "no operator locks himself out");
        prop_assert!(self.facts.hub_leaf != Some(old.issuer), "the hub never shows what is not trusted");
        match asked {
            None => prop_assert!(all.is_empty(), "nobody is cut off without a word: {all:?}"),
            Some(Step::Retire { accept_cutting_off }) if !accept_cutting_off.is_empty() => {
                prop_assert_eq!(accept_cutting_off, &all);
            }
            Some(Step::Retire { .. }) => {
                let quiet = |leaf: &LiveLeaf| now.since(leaf.last_seen) > self.facts.seen_within;
                prop_assert!(open.is_empty() && self.facts.leaves.iter().filter(valid).all(quiet));
            }
            Some(other) => prop_assert!(false, "{other:?} ends no trust"),
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn no_history_cuts_anybody_off_unsaid_or_uses_a_name_or_key_twice(
        server in any::<bool>(), history in prop::collection::vec(moves(), 1..200),
    ) {
        let mut world = World::new(if server { Hierarchy::Server } else { Hierarchy::Client });
        for step in history {
            world.make(&step)?;
        }
    }
}

#[test]
fn random_histories_go_all_the_way_round() {
    use proptest::strategy::ValueTree as _;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    for hierarchy in [Hierarchy::Server, Hierarchy::Client] {
        let mut retired = 0;
        for _ in 0..40 {
            let history = prop::collection::vec(moves(), 200).new_tree(&mut runner).unwrap().current();
            let mut world = World::new(hierarchy);
            for step in history {
                world.make(&step).unwrap();
            }
            retired += world.retired;
        }
        assert!(retired > 10, "{retired} of the {hierarchy:?} hierarchy: the histories prove little");
    }
}
