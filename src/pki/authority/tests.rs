//! Decides nothing: the tests of [`super`], and the world that they share.

mod certificates;
mod model;
mod walk;

use std::time::Duration;

use super::*;
use crate::base::digest;

const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(86_400);
const LEAF: Duration = DAY.saturating_mul(30);

fn noon() -> Timestamp {
    Timestamp::EPOCH.saturating_add(DAY * 20_000)
}

fn system(n: u8) -> SpiffeId {
    SpiffeId::parse(&format!("spiffe://t.example/org/org-{n}/system/feed")).unwrap()
}

fn issuer(name: u32) -> IssuerDigest {
    IssuerDigest::of(&name.to_be_bytes())
}

/// An authority with a name and a key, valid for two years around noon.
fn authority(name: u32, key: u32) -> Generation {
    Generation {
        number: 0,
        issuer: issuer(name),
        name: format!("CA {name}"),
        certificate: vec![0x30, 0].into(),
        key_identifier: key.to_be_bytes().to_vec(),
        key: digest::sha256(&key.to_be_bytes()),
        not_before: noon().saturating_sub(DAY * 365),
        not_after: noon().saturating_add(DAY * 365),
    }
}

/// A hierarchy with authority 1 in use and 2 as the next, in this phase.
fn rotation(hierarchy: Hierarchy, phase: Phase) -> Rotation {
    let mut rotation = Rotation::begin(hierarchy, authority(1, 1), noon().saturating_sub(DAY * 9));
    rotation.phase = phase;
    rotation.version = 7;
    if phase != Phase::Stable {
        rotation.next = Some(Generation { number: 2, ..authority(2, 2) });
    }
    rotation
}

/// Facts under which nothing stands in the way of anything.
fn ideal() -> Facts {
    let both = BTreeSet::from([issuer(1), issuer(2)]);
    Facts {
        now: noon(),
        longest_leaf: LEAF,
        soak: HOUR,
        seen_within: LEAF,
        systems: BTreeSet::from([system(1)]),
        proved: BTreeSet::from([system(1)]),
        leaves: Vec::new(),
        connections: BTreeSet::new(),
        hub_leaf: None,
        hub_leaves_at_hand: both.clone(),
        operator: None,
        lists: both.clone(),
        keys: both.clone(),
        tested: both,
        taken: Vec::new(),
        backed_up: true,
    }
}

fn leaf(of: u32, n: u8) -> LiveLeaf {
    LiveLeaf {
        issuer: issuer(of),
        holder: system(n),
        not_after: noon().saturating_add(DAY),
        last_seen: noon().saturating_sub(HOUR),
    }
}

fn retire(accepted: &[u8]) -> Step {
    Step::Retire { accept_cutting_off: accepted.iter().map(|&n| system(n)).collect() }
}

fn switch(accepted: &[u8]) -> Step {
    Step::Switch { accept_cutting_off: accepted.iter().map(|&n| system(n)).collect() }
}

/// Facts with certificates of the old authority in the hands of 3 and 4, a
/// connection of 4 and one of 5.
fn busy() -> Facts {
    let connections =
        BTreeSet::from([(issuer(1), system(4)), (issuer(1), system(5)), (issuer(2), system(6))]);
    Facts { leaves: vec![leaf(1, 3), leaf(1, 4), leaf(2, 6)], connections, ..ideal() }
}

#[test]
fn a_phase_keeps_its_number_in_the_log_and_in_the_contract() {
    let codes = Phase::ALL.map(Phase::code);
    assert_eq!(codes, [1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(codes.map(Phase::from_code), Phase::ALL.map(Some));
    assert_eq!((Phase::from_code(0), Phase::from_code(8)), (None, None));
}

#[test]
fn retiring_names_everybody_whom_it_would_cut_off() {
    let verdict = judge(&rotation(Hierarchy::Client, Phase::Draining), &retire(&[]), &busy());
    assert_eq!(verdict.next, None);
    assert_eq!(verdict.cut_off, BTreeSet::from([system(3), system(4), system(5)]));
    let said: Vec<_> = verdict.blockers.iter().map(ToString::to_string).collect();
    assert_eq!(
        said,
        [
            "2 systems have certificates of CA 1 in use: spiffe://t.example/org/org-3/system/feed, \
             spiffe://t.example/org/org-4/system/feed; wait until they renewed, revoke them, or accept \
             cutting off exactly those that the dry run lists",
            "2 systems have connections open under CA 1: spiffe://t.example/org/org-4/system/feed, \
             spiffe://t.example/org/org-5/system/feed; wait until they reconnect, sever them, or accept \
             cutting off exactly those that the dry run lists"
        ]
    );
}

#[test]
fn retiring_cuts_off_exactly_those_who_were_accepted_or_nobody() {
    let from = rotation(Hierarchy::Client, Phase::Draining);
    let after = judge(&from, &retire(&[3, 4, 5]), &busy());
    assert_eq!(after.blockers, []);
    assert_eq!(after.next.unwrap().current.issuer, issuer(2));
    for wrong in [&[3, 4][..], &[3, 4, 5, 6], &[6]] {
        let verdict = judge(&from, &retire(wrong), &busy());
        assert_eq!(verdict.next, None, "{wrong:?}");
        assert!(matches!(verdict.blockers.last(), Some(Blocker::Acceptance { .. })), "{wrong:?}");
    }
    let stale = judge(&from, &retire(&[3]), &ideal());
    assert_eq!(stale.next, None, "whoever accepts what would not happen has looked at another state");
}

#[test]
fn what_was_accepted_forces_nothing_else() {
    let from = rotation(Hierarchy::Client, Phase::Draining);
    let own = Facts { operator: Some(issuer(1)), ..busy() };
    let verdict = judge(&from, &retire(&[3, 4, 5]), &own);
    assert_eq!(verdict.blockers, [Blocker::Operator { authority: "CA 1".into() }]);
    let unlisted = Facts { lists: BTreeSet::from([issuer(1)]), ..busy() };
    let verdict = judge(&from, &retire(&[3, 4, 5]), &unlisted);
    assert_eq!(verdict.blockers, [Blocker::RevocationList { authority: "CA 2".into() }]);
    let early = judge(&rotation(Hierarchy::Client, Phase::Active), &retire(&[3, 4, 5]), &busy());
    assert!(matches!(early.blockers[..], [Blocker::Phase { .. }]), "{:?}", early.blockers);
}

#[test]
fn a_holder_who_was_not_seen_for_long_does_not_block_and_is_named_all_the_same() {
    let mut facts = ideal();
    let long_ago = noon().saturating_sub(DAY * 40);
    facts.leaves = vec![LiveLeaf { last_seen: long_ago, ..leaf(1, 3) }];
    let verdict = judge(&rotation(Hierarchy::Client, Phase::Draining), &retire(&[]), &facts);
    assert_eq!(verdict.blockers, []);
    assert_eq!(verdict.cut_off, BTreeSet::from([system(3)]));
}

#[test]
fn a_certificate_holds_through_its_last_second_and_blocks_no_longer() {
    let from = rotation(Hierarchy::Client, Phase::Draining);
    let mut facts = ideal();
    facts.leaves = vec![LiveLeaf { not_after: noon(), ..leaf(1, 3) }];
    facts.now = noon().saturating_add(Duration::from_millis(999));
    assert_eq!(judge(&from, &retire(&[]), &facts).next, None);
    facts.now = noon().saturating_add(Duration::from_secs(1));
    assert!(judge(&from, &retire(&[]), &facts).next.is_some());
}

#[test]
fn the_hub_switches_only_when_everybody_proved_trust_or_exactly_they_are_accepted() {
    let from = rotation(Hierarchy::Server, Phase::Active);
    let facts = Facts { proved: BTreeSet::new(), ..ideal() };
    let verdict = judge(&from, &switch(&[]), &facts);
    assert_eq!((verdict.next, verdict.cut_off), (None, BTreeSet::from([system(1)])));
    assert_eq!(
        verdict.blockers[0].to_string(),
        "1 system has not proved that they trust CA 2: spiffe://t.example/org/org-1/system/feed; let them \
         fetch the trust bundle and connect, or revoke their certificates"
    );
    assert_eq!(judge(&from, &switch(&[1, 2]), &facts).next, None);
    assert!(judge(&from, &switch(&[1]), &facts).next.is_some());
}

#[test]
fn whoever_activates_before_everybody_proved_trust_is_told_who_did_not() {
    let facts = Facts { proved: BTreeSet::new(), ..ideal() };
    let verdict = judge(&rotation(Hierarchy::Server, Phase::Prepared), &Step::Activate(issuer(2)), &facts);
    let unproved = Blocker::Unproved { authority: "CA 2".into(), systems: BTreeSet::from([system(1)]) };
    assert!(matches!(verdict.blockers[0], Blocker::Phase { .. }));
    assert_eq!(verdict.blockers[1..], [unproved]);
    assert_eq!(verdict.cut_off, BTreeSet::from([system(1)]));
}

#[test]
fn a_hierarchy_is_distributed_by_itself_once_everybody_proved_trust() {
    let from = rotation(Hierarchy::Server, Phase::Prepared);
    let after = settle(&from, &ideal()).unwrap();
    assert_eq!((after.phase, after.version, after.since), (Phase::Distributed, 8, noon()));
    assert_eq!(settle(&from, &Facts { proved: BTreeSet::new(), ..ideal() }), None);
    let mut expired = from;
    expired.next.as_mut().unwrap().not_after = noon();
    assert_eq!(settle(&expired, &ideal()), None);
    for phase in Phase::ALL {
        let client = settle(&rotation(Hierarchy::Client, phase), &ideal());
        assert_eq!(client.is_some(), phase == Phase::Rollback, "{phase}");
    }
}

#[test]
fn the_next_authority_signs_from_active_on_and_is_shown_from_switched_on() {
    for phase in Phase::ALL {
        let rotation = rotation(Hierarchy::Server, phase);
        let (signs, shown) = match phase {
            Phase::Active => (2, 1),
            Phase::Switched | Phase::Draining => (2, 2),
            _ => (1, 1),
        };
        assert_eq!(rotation.signing().issuer, issuer(signs), "{phase}");
        assert_eq!(rotation.shown().issuer, issuer(shown), "{phase}");
    }
}

#[test]
fn a_message_names_ten_systems_and_counts_the_others() {
    let systems: BTreeSet<_> = (0..12).map(system).collect();
    let said = Blocker::Unproved { authority: "CA 2".into(), systems }.to_string();
    assert!(said.starts_with("12 systems have not proved"), "{said}");
    assert_eq!(said.matches("spiffe://").count(), 10);
    assert!(said.contains(" and 2 more; "), "{said}");
}

#[test]
fn a_rotation_that_was_rolled_back_ends_once_nothing_of_it_is_in_use() {
    for hierarchy in [Hierarchy::Server, Hierarchy::Client] {
        let from = rotation(hierarchy, Phase::Rollback);
        let old = LiveLeaf { last_seen: noon().saturating_sub(DAY * 300), ..leaf(2, 3) };
        let held = [
            Facts { leaves: vec![old], ..ideal() },
            Facts { connections: BTreeSet::from([(issuer(2), system(3))]), ..ideal() },
            Facts { hub_leaf: Some(issuer(2)), ..ideal() },
            Facts { operator: Some(issuer(2)), ..ideal() },
        ];
        for facts in held {
            assert_eq!(settle(&from, &facts), None);
            let waits = judge(&from, &Step::Prepare(Box::new(authority(3, 3))), &facts).blockers;
            assert_eq!(waits.len(), 2, "it says what it waits for: {waits:?}");
        }
        let after = settle(&from, &ideal()).unwrap();
        assert_eq!((after.phase, after.version, after.since), (Phase::Stable, 8, noon()));
        assert_eq!((after.current.issuer, after.next), (issuer(1), None));
        assert_eq!(after.retired, [(issuer(2), authority(2, 2).key)]);
    }
}

#[test]
fn a_number_is_given_once_even_if_its_generation_was_rolled_back() {
    let stable = settle(&rotation(Hierarchy::Client, Phase::Rollback), &ideal()).unwrap();
    let mut facts = ideal();
    facts.keys.insert(issuer(3));
    facts.lists.insert(issuer(3));
    let verdict = judge(&stable, &Step::Prepare(Box::new(authority(3, 3))), &facts);
    assert_eq!(verdict.next.unwrap().next.unwrap().number, 3);
}

#[test]
fn an_expired_authority_keeps_nobody_from_the_next_one() {
    // All that is left at a hub that was off for years: the admin socket, and
    // an authority whose key can sign no list any more.
    let mut from = rotation(Hierarchy::Client, Phase::Stable);
    from.current.not_after = noon().saturating_sub(DAY);
    let facts = Facts { keys: BTreeSet::from([issuer(2)]), lists: BTreeSet::from([issuer(2)]), ..ideal() };
    let prepared = judge(&from, &Step::Prepare(Box::new(authority(2, 2))), &facts);
    assert_eq!(prepared.blockers, []);
    let later = Facts { now: noon().saturating_add(HOUR), ..facts };
    let active = judge(&prepared.next.unwrap(), &Step::Activate(issuer(2)), &later).next.unwrap();
    let draining = judge(&active, &Step::Taint, &later).next.unwrap();
    assert_eq!(judge(&draining, &Step::Rollback, &later).next, None, "there is nothing to go back to");
    assert!(judge(&draining, &retire(&[]), &later).next.is_some());
}

#[test]
fn holders_of_what_is_on_its_way_out_are_asked_to_renew() {
    for phase in Phase::ALL {
        let rotation = rotation(Hierarchy::Client, phase);
        let asked = [1, 2].map(|of| rotation.renews_now(&issuer(of)));
        let expected = match phase {
            Phase::Draining => [true, false],
            Phase::Rollback => [false, true],
            _ => [false, false],
        };
        assert_eq!(asked, expected, "{phase}");
    }
}

#[test]
fn systems_can_prove_their_trust_from_prepared_until_the_hub_switched() {
    for phase in Phase::ALL {
        let shown = rotation(Hierarchy::Server, phase).canary().map(|generation| generation.issuer);
        let open = matches!(phase, Phase::Prepared | Phase::Distributed | Phase::Active);
        assert_eq!(shown, open.then(|| issuer(2)), "{phase}");
        assert_eq!(rotation(Hierarchy::Client, phase).canary(), None);
    }
}

#[test]
fn what_is_due_follows_from_the_age_of_the_authority_in_use() {
    let due = |phase, left| {
        let now = rotation(Hierarchy::Server, phase).current.not_after.saturating_sub(DAY * left);
        rotation(Hierarchy::Server, phase).due(now)
    };
    assert_eq!((due(Phase::Stable, 31), due(Phase::Stable, 30)), (None, Some(Due::Prepare)));
    assert_eq!((due(Phase::Prepared, 8), due(Phase::Prepared, 7)), (None, Some(Due::Activate)));
    assert_eq!(due(Phase::Distributed, 7), Some(Due::Activate));
    assert_eq!(due(Phase::Active, 1), None);
}
