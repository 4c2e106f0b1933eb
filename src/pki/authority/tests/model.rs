//! Decides nothing: the table of transitions and conditions, written down a
//! second time, and compared with every phase, step and pair of broken
//! conditions.

use std::collections::{BTreeMap, VecDeque};

use super::*;

/// A step without what it carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Prepare,
    Activate,
    Switch,
    Taint,
    Retire,
    Rollback,
}

const KINDS: [Kind; 6] =
    [Kind::Prepare, Kind::Activate, Kind::Switch, Kind::Taint, Kind::Retire, Kind::Rollback];

/// One condition that can be broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Break {
    OwnId,
    OldKeyGone,
    NewKeyGone,
    OldListStale,
    NewListStale,
    OldExpired,
    NewExpired,
    NewTooNew,
    NewEndsBeforeTwoLeaves,
    NewEndsBeforeOneLeaf,
    NameInUse,
    KeyInUse,
    IdentifierInUse,
    NameRetired,
    KeyRetired,
    NameTaken,
    KeyTaken,
    NoBackup,
    Unproved,
    Unsoaked,
    Untested,
    NoOldHubLeaf,
    NoNewHubLeaf,
    HubShowsOld,
    OperatorOfOld,
    LeavesOfOld,
    ConnectionsOfOld,
    TooMany,
}

use Break::*;

const BREAKS: [Break; 28] = [
    OwnId,
    OldKeyGone,
    NewKeyGone,
    OldListStale,
    NewListStale,
    OldExpired,
    NewExpired,
    NewTooNew,
    NewEndsBeforeTwoLeaves,
    NewEndsBeforeOneLeaf,
    NameInUse,
    KeyInUse,
    IdentifierInUse,
    NameRetired,
    KeyRetired,
    NameTaken,
    KeyTaken,
    NoBackup,
    Unproved,
    Unsoaked,
    Untested,
    NoOldHubLeaf,
    NoNewHubLeaf,
    HubShowsOld,
    OperatorOfOld,
    LeavesOfOld,
    ConnectionsOfOld,
    TooMany,
];

/// The transitions that there are, and what breaks each. All else is refused.
fn table(hierarchy: Hierarchy) -> BTreeMap<(Phase, Kind), (Phase, Vec<Break>)> {
    use Phase::{Active, Distributed, Draining, Prepared, Stable, Switched};
    let lists: &[Break] = if hierarchy == Hierarchy::Client { &[OldListStale, NewListStale] } else { &[] };
    let new_list: &[Break] = if hierarchy == Hierarchy::Client { &[NewListStale] } else { &[] };
    let old_list: &[Break] = if hierarchy == Hierarchy::Client { &[OldListStale] } else { &[] };
    let all = |these: &[Break], lists: &[Break]| [these, lists].concat();
    let prepare = all(
        &[
            NewKeyGone,
            NewExpired,
            NewTooNew,
            NewEndsBeforeTwoLeaves,
            NewEndsBeforeOneLeaf,
            NameInUse,
            KeyInUse,
            IdentifierInUse,
            NameRetired,
            KeyRetired,
            NameTaken,
            KeyTaken,
            NoBackup,
            TooMany,
        ],
        lists,
    );
    let mut activate =
        all(&[OwnId, NewKeyGone, NewExpired, NewTooNew, NewEndsBeforeOneLeaf, Unsoaked, Untested], lists);
    let switch = vec![NewExpired, NewTooNew, NoNewHubLeaf, Unproved];
    let taint = all(&[NewKeyGone, NewExpired, NewTooNew], lists);
    let retire =
        all(&[NewExpired, NewTooNew, HubShowsOld, OperatorOfOld, LeavesOfOld, ConnectionsOfOld], new_list);
    let back = all(&[OldKeyGone, OldExpired], old_list);
    let back_from_shown = all(&[OldKeyGone, OldExpired, NoOldHubLeaf], old_list);
    let back = |from| ((from, Kind::Rollback), (Phase::Rollback, back.clone()));
    match hierarchy {
        Hierarchy::Client => BTreeMap::from([
            ((Stable, Kind::Prepare), (Prepared, prepare)),
            ((Prepared, Kind::Activate), (Active, activate)),
            ((Active, Kind::Taint), (Draining, taint)),
            ((Draining, Kind::Retire), (Stable, retire)),
            back(Prepared),
            back(Active),
            back(Draining),
            // Never entered here; whoever finds himself there can go back.
            back(Distributed),
            back(Switched),
        ]),
        Hierarchy::Server => {
            activate.push(Unproved);
            BTreeMap::from([
                ((Stable, Kind::Prepare), (Prepared, prepare)),
                ((Distributed, Kind::Activate), (Active, activate)),
                ((Active, Kind::Switch), (Switched, switch)),
                ((Switched, Kind::Taint), (Draining, taint)),
                ((Draining, Kind::Retire), (Stable, retire)),
                back(Prepared),
                back(Distributed),
                back(Active),
                ((Switched, Kind::Rollback), (Phase::Rollback, back_from_shown.clone())),
                ((Draining, Kind::Rollback), (Phase::Rollback, back_from_shown)),
            ])
        }
    }
}

/// Whether a break says something of the next authority, which in this phase
/// is the candidate or is there already.
fn apply(
    broken: Break,
    rotation: &mut Rotation,
    candidate: &mut Generation,
    facts: &mut Facts,
    id: &mut u32,
) {
    let mut of_new = |change: &dyn Fn(&mut Generation)| {
        change(candidate);
        if let Some(next) = &mut rotation.next {
            change(next);
        }
    };
    match broken {
        OwnId => *id = 1,
        OldKeyGone => drop(facts.keys.remove(&issuer(1))),
        NewKeyGone => drop(facts.keys.remove(&issuer(2))),
        OldListStale => drop(facts.lists.remove(&issuer(1))),
        NewListStale => drop(facts.lists.remove(&issuer(2))),
        OldExpired => rotation.current.not_after = noon(),
        NewExpired => of_new(&|new| new.not_after = noon()),
        NewTooNew => of_new(&|new| new.not_before = noon().saturating_add(HOUR)),
        NewEndsBeforeTwoLeaves => {
            of_new(&|new| new.not_after = new.not_after.min(noon().saturating_add(LEAF * 2 - HOUR)));
        }
        NewEndsBeforeOneLeaf => {
            of_new(&|new| new.not_after = new.not_after.min(noon().saturating_add(LEAF - HOUR)));
        }
        NameInUse => candidate.issuer = issuer(1),
        KeyInUse => candidate.key = rotation.current.key,
        IdentifierInUse => candidate.key_identifier.clone_from(&rotation.current.key_identifier),
        NameRetired => rotation.retired.push((candidate.issuer, [9; 32])),
        KeyRetired => rotation.retired.push((issuer(9), candidate.key)),
        NameTaken => facts.taken.push((candidate.issuer, [8; 32])),
        KeyTaken => facts.taken.push((issuer(8), candidate.key)),
        NoBackup => facts.backed_up = false,
        Unproved => drop(facts.proved.remove(&system(1))),
        Unsoaked => rotation.since = noon().saturating_sub(HOUR / 2),
        Untested => drop(facts.tested.remove(&issuer(2))),
        NoOldHubLeaf => drop(facts.hub_leaves_at_hand.remove(&issuer(1))),
        NoNewHubLeaf => drop(facts.hub_leaves_at_hand.remove(&issuer(2))),
        HubShowsOld => facts.hub_leaf = Some(issuer(1)),
        OperatorOfOld => facts.operator = Some(issuer(1)),
        LeavesOfOld => facts.leaves.push(leaf(1, 3)),
        ConnectionsOfOld => drop(facts.connections.insert((issuer(1), system(4)))),
        TooMany => rotation.retired.extend((100..).take(MAX_GENERATIONS).map(|n| (issuer(n), [7; 32]))),
    }
}

fn step(kind: Kind, candidate: &Generation, id: u32) -> Step {
    match kind {
        Kind::Prepare => Step::Prepare(Box::new(candidate.clone())),
        Kind::Activate => Step::Activate(issuer(id)),
        Kind::Switch => switch(&[]),
        Kind::Taint => Step::Taint,
        Kind::Retire => retire(&[]),
        Kind::Rollback => Step::Rollback,
    }
}

/// Breaks these, judges, and compares with the table.
fn compare(hierarchy: Hierarchy, phase: Phase, kind: Kind, broken: &[Break]) {
    let mut from = rotation(hierarchy, phase);
    let (mut facts, mut candidate, mut id) = (ideal(), authority(2, 2), 2);
    for &each in broken {
        apply(each, &mut from, &mut candidate, &mut facts, &mut id);
    }
    let verdict = judge(&from, &step(kind, &candidate, id), &facts);
    let case = format!("{kind:?} from {phase} of the {hierarchy:?} hierarchy with {broken:?}");
    assert_eq!(verdict.next.is_none(), !verdict.blockers.is_empty(), "{case}");
    let table = table(hierarchy);
    let Some((to, breaks)) = table.get(&(phase, kind)) else {
        assert_eq!(verdict.next, None, "{case}");
        let first = &verdict.blockers[0];
        let structural =
            matches!(first, Blocker::Phase { .. } | Blocker::InProgress { .. } | Blocker::Hierarchy);
        return assert!(structural, "{case}: {first:?}");
    };
    // An authority that expired needs no list: it is not trusted.
    let excused = |each: &Break| {
        *each == OldListStale && broken.contains(&OldExpired)
            || *each == NewListStale && (broken.contains(&NewExpired) || broken.contains(&NewTooNew))
    };
    let blocks = broken.iter().any(|each| breaks.contains(each) && !excused(each));
    assert_eq!(verdict.next.is_none(), blocks, "{case}: {:?}", verdict.blockers);
    if let Some(next) = verdict.next {
        assert_eq!((next.phase, next.version, next.since), (*to, from.version + 1, noon()), "{case}");
    }
}

#[test]
fn the_table_of_transitions_is_whole_and_every_condition_blocks_alone_and_in_pairs() {
    for hierarchy in [Hierarchy::Server, Hierarchy::Client] {
        for phase in Phase::ALL {
            for kind in KINDS {
                compare(hierarchy, phase, kind, &[]);
                for (at, &first) in BREAKS.iter().enumerate() {
                    compare(hierarchy, phase, kind, &[first]);
                    for &second in &BREAKS[at + 1..] {
                        compare(hierarchy, phase, kind, &[first, second]);
                    }
                }
            }
        }
    }
}

/// Whatever can be reached from `from` in one move, every fact being ideal.
fn moves(from: &Rotation) -> Vec<Rotation> {
    let mut facts = ideal();
    facts.now = from.since.saturating_add(HOUR);
    let fresh = authority(2, 2);
    let steps = KINDS.map(|kind| step(kind, &fresh, 2));
    let mut to: Vec<_> = steps.iter().filter_map(|step| judge(from, step, &facts).next).collect();
    to.extend(settle(from, &facts));
    to
}

/// Everything that can be reached, by phase and authority in use.
fn reachable(from: Rotation) -> Vec<Rotation> {
    let mut seen = vec![from.clone()];
    let mut queue = VecDeque::from([from]);
    while let Some(at) = queue.pop_front() {
        for to in moves(&at) {
            if !seen.iter().any(|s| (s.phase, s.current.issuer) == (to.phase, to.current.issuer)) {
                seen.push(to.clone());
                queue.push_back(to);
            }
        }
    }
    seen
}

#[test]
fn a_hierarchy_reaches_exactly_its_own_phases() {
    use Phase::{Active, Distributed, Draining, Prepared, Stable, Switched};
    let phases = |hierarchy| {
        let all = reachable(rotation(hierarchy, Stable));
        all.iter().map(|rotation| rotation.phase).collect::<BTreeSet<_>>()
    };
    assert_eq!(
        phases(Hierarchy::Client),
        BTreeSet::from([Stable, Prepared, Active, Draining, Phase::Rollback])
    );
    assert_eq!(
        phases(Hierarchy::Server),
        BTreeSet::from([Stable, Prepared, Distributed, Active, Switched, Draining, Phase::Rollback])
    );
}

#[test]
fn from_everywhere_some_steps_lead_to_a_stable_hierarchy() {
    for hierarchy in [Hierarchy::Server, Hierarchy::Client] {
        for from in reachable(rotation(hierarchy, Phase::Stable)) {
            let phase = from.phase;
            let ends = reachable(from).into_iter().any(|to| to.phase == Phase::Stable);
            assert!(ends, "{phase} of the {hierarchy:?} hierarchy is a dead end");
        }
    }
}
