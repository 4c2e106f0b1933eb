//! Each viewer's set, built from frames alone, is at every rest what a naive
//! reading of the rules says, over random rosters, markings, changes,
//! subscribers and absences; and nothing that a viewer is sent or answered
//! names what he may not know.

mod answers;
mod model;
mod rules;
mod secrets;
mod steps;
mod told;
mod viewer;
mod world;

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::support::block_on;
use rules::{For, Mutant, Rules};
use steps::{Case, Step, VIEWERS, Way};
use world::World;

/// How many cases are drawn; `LUYTRE_SIGHT_CASES` for many more.
fn cases(usual: u32) -> u32 {
    std::env::var("LUYTRE_SIGHT_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

/// Goes through a case, and at its end lets everyone come back, begin anew,
/// and ask.
async fn live(case: &Case, mutant: Option<Mutant>) {
    let mut world = World::new(case, mutant).await;
    for step in &case.steps {
        world.act(step).await;
    }
    for way in [Way::Back(1), Way::Earliest, Way::State] {
        for viewer in 0..VIEWERS.len() {
            world.act(&Step::Return { viewer, way }).await;
        }
        world.act(&Step::Rest).await;
    }
    for viewer in 0..VIEWERS.len() {
        world.act(&Step::Ask { viewer, filtered: viewer % 2 == 0 }).await;
        world.act(&Step::Leave { viewer }).await;
    }
    let dir = world.hub.expect("the hub is open").close().await;
    let report = luytre::hub::verify(&dir.path().join("hub"), |_| ()).unwrap();
    assert!(report.is_clean(), "{:?}", report.differences);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(24), max_shrink_iters: 150, ..ProptestConfig::default() })]
    #[test]
    fn every_viewer_has_and_learns_what_the_rules_say_and_no_more(case in steps::case(1..50)) {
        block_on(live(&case, None));
    }
}

/// With a rule of the model turned wrong the property fails;
/// `LUYTRE_SIGHT_MUTANTS` for some of them, by name with commas between.
#[test]
#[ignore = "takes half an hour, and prints each failure"]
fn the_property_fails_for_every_mutant() {
    use proptest::test_runner::{Config, TestRunner};

    let config =
        Config { cases: cases(2_000), max_shrink_iters: 0, failure_persistence: None, ..Config::default() };
    let mut alive = Vec::new();
    let some = std::env::var("LUYTRE_SIGHT_MUTANTS").unwrap_or_default();
    let wanted =
        |mutant: &Mutant| some.is_empty() || some.split(',').any(|name| name == format!("{mutant:?}"));
    for mutant in Mutant::ALL.into_iter().filter(wanted) {
        let run = TestRunner::new(config.clone()).run(&steps::case(20..50), |case| {
            block_on(live(&case, Some(mutant)));
            Ok(())
        });
        if run.is_ok() {
            alive.push(mutant);
        }
        eprintln!("tried {mutant:?}: {}", if run.is_ok() { "ALIVE" } else { "caught" });
    }
    assert!(alive.is_empty(), "the property does not notice {alive:?}");
}

/// The property above compares with [`Rules`]. For each rule, the same rule
/// turned wrong must lead to another answer for some viewer in some case that
/// the property may draw: else the property could not tell.
#[test]
fn the_property_tells_every_rule_from_its_mutant() {
    use proptest::strategy::ValueTree as _;
    use proptest::test_runner::TestRunner;

    let mut runner = TestRunner::deterministic();
    let cases = prop::collection::vec(steps::step(), 20..50);
    let mut alive: BTreeSet<_> = Mutant::ALL.into_iter().collect();
    for _ in 0..3_000 {
        if alive.is_empty() {
            break;
        }
        let (mut rules, mut hours, mut held) = (Rules::new(), 0, BTreeMap::new());
        for step in cases.new_tree(&mut runner).unwrap().current() {
            match step {
                Step::Publish { owner, items, .. } => {
                    held.extend(items.into_iter().map(|item| ((owner, item.value), item.mark)));
                }
                Step::Pass { hours: some, tick } => {
                    hours += some;
                    rules.day = if tick { (hours + 7) / 24 } else { rules.day };
                }
                roster => _ = rules.take(&roster, (hours + 7) / 24),
            }
            alive.retain(|mutant| {
                let wrong = Rules { mutant: Some(*mutant), ..rules.clone() };
                held.iter().all(|((owner, _), mark)| {
                    VIEWERS.iter().filter(|viewer| rules.is_active(viewer.0, (hours + 7) / 24)).all(
                        |viewer| {
                            [For::Sending, For::Getting, For::Searching].into_iter().all(|purpose| {
                                let ask = |rules: &Rules| {
                                    let visible = rules.visible(*viewer, *owner, mark, purpose);
                                    (visible, rules.told(*viewer, *owner, mark, purpose))
                                };
                                ask(&wrong) == ask(&rules)
                            })
                        },
                    )
                })
            });
        }
    }
    assert!(alive.is_empty(), "no case tells {alive:?} from the rule");
}
