//! What an indicator was: as of a moment, against a replay up to it; version by
//! version, against the list of all that ever happened.

use luytre::base::clock::{Clock as _, Timestamp};
use luytre::hub::error::Reason;
use luytre::hub::{Caller, Error, VersionView};
use luytre::model::event::VersionChange;
use luytre::model::indicator::lifecycle::{Revocation, RevocationReason};
use luytre::model::indicator::{Draft, Observable, State};
use luytre::model::marking::{Caveats, Marking, Recipients, Tlp};
use luytre::model::org::{OrgSlug, Organisation};
use luytre::model::principal::{Roles, SpiffeId};
use luytre::model::roster::{Grant, Patch};
use luytre::wire::convert::versions::differences;
use luytre::wire::proto::v1;
use proptest::prelude::*;
use prost::Message as _;
use uuid::Uuid;

use super::model::{self, Model, Version};
use super::support::{Engine, ORGS, block_on, slug};

const SECOND: u64 = 1_000_000;

fn indicator(bytes: impl Into<bytes::Bytes>) -> v1::Indicator {
    v1::Indicator::decode(bytes.into()).unwrap()
}

/// All versions that a caller is told of, read in pages of these sizes.
async fn versions(
    engine: &Engine,
    caller: &Caller,
    id: Uuid,
    sizes: &[usize],
) -> Result<Vec<VersionView>, Error> {
    let (mut all, mut token) = (Vec::new(), String::new());
    for size in sizes.iter().cycle() {
        let page = engine.hub.versions(caller, id, *size, &token).await?;
        assert!(page.versions.len() <= *size);
        all.extend(page.versions);
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    Ok(all)
}

/// The fields in which two versions of the model differ, of those by which it
/// tells them apart.
fn differ(older: &Version, newer: &Version) -> Vec<&'static str> {
    let (a, b) = (&older.item, &newer.item);
    let (a_marking, b_marking) = (model::marking(a.marking), model::marking(b.marking));
    let all = [
        ("marking.tlp", a_marking.tlp != b_marking.tlp),
        ("marking.organisations", a_marking.recipients != b_marking.recipients),
        ("labels", a.labels != b.labels),
        ("description", a.note != b.note),
        ("role", model::role(a) != model::role(b)),
        ("family", model::family(a) != model::family(b)),
        ("campaign", model::campaign(a) != model::campaign(b)),
        ("attack_techniques", model::techniques(a) != model::techniques(b)),
        ("state", older.state != newer.state),
    ];
    all.into_iter().filter(|(_, differ)| *differ).map(|(field, _)| field).collect()
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 24, max_shrink_iters: 60, failure_persistence: None, ..ProptestConfig::default()
    })]

    #[test]
    fn an_indicator_as_of_a_moment_is_what_a_replay_up_to_it_shows(
        ops in model::ops(20), moment in any::<prop::sample::Index>()
    ) {
        block_on(async {
            let engine = Engine::new();
            let mut model = Model::default();
            let mut replays = vec![(engine.clock.now(), Model::default())];
            for op in &ops {
                engine.clock.advance(SECOND);
                model.apply(&engine, op).await;
                engine.clock.advance(SECOND);
                replays.push((engine.clock.now(), model.clone()));
            }
            engine.clock.advance(SECOND);
            let (at, then) = &replays[moment.index(replays.len())];
            for viewer in 0..ORGS.len() {
                let caller = engine.caller(viewer);
                let absent = engine.hub.get_as_of(&caller, Uuid::new_v4(), *at).await.unwrap_err();
                for (number, record) in model.records.iter().enumerate() {
                    let answer = engine.hub.get_as_of(&caller, record.id, *at).await;
                    let seen = number < then.records.len()
                        && then.visible_now(viewer, number)
                        && model.visible_now(viewer, number);
                    if !seen {
                        let hidden = answer.unwrap_err();
                        prop_assert_eq!(format!("{hidden:?}"), format!("{absent:?}"));
                        continue;
                    }
                    let found = answer.unwrap();
                    let shown = indicator(found.indicator);
                    prop_assert_eq!(shown.version, then.now(number).version);
                    model.check_content(&shown);
                    let name = |sighting: Uuid| format!("indicators/{}/sightings/{}", record.id, sighting);
                    let reported = then.events.iter().rev().filter(|event| event.record == number);
                    let expected: Vec<_> = reported
                        .filter_map(|event| event.sighting.filter(|(_, by)| *by == viewer || event.owner == viewer))
                        .map(|(sighting, _)| name(sighting))
                        .collect();
                    let seen: Vec<_> =
                        found.sightings.into_iter().map(|s| v1::Sighting::decode(s).unwrap().name).collect();
                    prop_assert_eq!(seen, expected);
                }
            }
            engine.close().await;
            Ok(())
        })?;
    }

    #[test]
    fn versions_are_those_that_the_viewer_could_see_and_differ_from_the_one_before_that_he_saw(
        ops in model::ops(24), sizes in prop::collection::vec(1..4_usize, 1..4)
    ) {
        block_on(async {
            let engine = Engine::new();
            let mut model = Model::default();
            for op in &ops {
                model.apply(&engine, op).await;
            }
            for viewer in 0..ORGS.len() {
                let caller = engine.caller(viewer);
                let absent = engine.hub.versions(&caller, Uuid::new_v4(), 10, "").await.unwrap_err();
                for (number, record) in model.records.iter().enumerate() {
                    let told = versions(&engine, &caller, record.id, &sizes).await;
                    if !model.visible_now(viewer, number) {
                        prop_assert_eq!(format!("{:?}", told.unwrap_err()), format!("{absent:?}"));
                        continue;
                    }
                    let told = told.unwrap();
                    let sees = |event: &&Version| Model::sees(viewer, event.owner, event.item.marking);
                    let of_it = |event: &&Version| event.record == number && event.sighting.is_none();
                    let expected: Vec<_> = model.events.iter().rev().filter(of_it).filter(sees).collect();
                    let seen: Vec<_> = told.iter().map(|told| told.time.as_micros()).collect();
                    prop_assert_eq!(seen, expected.iter().map(|event| event.version).collect::<Vec<_>>());
                    for (place, told) in told.into_iter().enumerate() {
                        let (event, older) = (expected[place], expected.get(place + 1));
                        let shown = indicator(told.indicator);
                        model.check_content(&shown);
                        let reinstated = shown.reinstatement.is_some();
                        prop_assert_eq!(told.change, match (event.state, older) {
                            (State::Revoked, _) => VersionChange::Revoked,
                            _ if reinstated => VersionChange::Reinstated,
                            (_, Some(_)) => VersionChange::Updated,
                            (_, None) => VersionChange::Created,
                        });
                        let before = told.before.map(indicator);
                        prop_assert_eq!(before.as_ref().map(|before| before.version), older.map(|older| older.version));
                        let Some((before, older)) = before.zip(older) else { continue };
                        let fields: Vec<_> = differences(before, &shown).into_iter().map(|change| change.field).collect();
                        let known = |field: &String| {
                            !["observable", "revocation", "reinstatement"].iter().any(|of| field.starts_with(of))
                        };
                        let fields: Vec<_> = fields.into_iter().filter(known).collect();
                        prop_assert_eq!(fields, differ(older, event));
                    }
                }
            }
            engine.close().await;
            Ok(())
        })?;
    }
}

fn amber(to: &[usize]) -> Marking {
    let organisations = to.iter().map(|&org| slug(org)).collect();
    Marking {
        tlp: Tlp::Amber,
        recipients: Recipients { organisations, ..Recipients::default() },
        caveats: Caveats::NONE,
    }
}

/// Publishes a version of one value; its name, and when it stood.
async fn publish(engine: &Engine, note: &str, marking: Marking) -> (Uuid, Timestamp) {
    engine.clock.advance(SECOND);
    let draft = Draft {
        description: note.to_owned(),
        ..Draft::new(Observable::Domain("evil.example".into()), marking)
    };
    let answer = engine.hub.publish(&engine.caller(0), Uuid::new_v4(), vec![Ok(draft)]).await.unwrap();
    let id = answer.into_iter().next().unwrap().unwrap().id;
    engine.clock.advance(SECOND);
    (id, engine.clock.now())
}

fn texts(versions: &[VersionView]) -> Vec<String> {
    versions.iter().map(|version| indicator(version.indicator.clone()).description).collect()
}

#[tokio::test]
async fn of_a_hidden_version_between_two_nothing_shows() {
    let engine = Engine::new();
    let (id, _) = publish(&engine, "first", Marking::open(Tlp::Green)).await;
    let (_, hidden) = publish(&engine, "the secret", amber(&[2])).await;
    publish(&engine, "last", Marking::open(Tlp::Green)).await;
    let told = versions(&engine, &engine.caller(1), id, &[1]).await.unwrap();
    assert_eq!(texts(&told), ["last", "first"]);
    assert_eq!([told[0].change, told[1].change], [VersionChange::Updated, VersionChange::Created]);
    let before = told[0].before.clone().map(indicator).unwrap();
    let changes = differences(before, &indicator(told[0].indicator.clone()));
    assert_eq!(changes.iter().map(|change| change.field.as_str()).collect::<Vec<_>>(), ["description"]);
    assert_eq!(changes[0].before, "first");
    let absent = engine.hub.get_as_of(&engine.caller(1), id, hidden).await.unwrap_err();
    assert_eq!(absent.reason, Reason::NotFound);
    let owner = versions(&engine, &engine.caller(0), id, &[10]).await.unwrap();
    assert_eq!(texts(&owner), ["last", "the secret", "first"]);
    let there = engine.hub.get_as_of(&engine.caller(2), id, hidden).await.unwrap();
    assert_eq!(indicator(there.indicator).description, "the secret");
    // With the first hidden, the second begins it.
    let (_, _) = publish(&engine, "hidden again", amber(&[])).await;
    assert_eq!(
        versions(&engine, &engine.caller(1), id, &[10]).await.unwrap_err().reason,
        Reason::NotFound,
        "what was seen once is no longer there for whom it is hidden today"
    );
    engine.close().await;
}

#[tokio::test]
async fn an_indicator_that_begins_hidden_begins_for_others_when_it_is_released() {
    let engine = Engine::new();
    let (id, _) = publish(&engine, "the secret", amber(&[])).await;
    publish(&engine, "open", Marking::open(Tlp::Green)).await;
    let told = versions(&engine, &engine.caller(1), id, &[10]).await.unwrap();
    assert_eq!((texts(&told), told[0].change), (vec!["open".to_owned()], VersionChange::Created));
    assert_eq!(told[0].before, None);
    engine.close().await;
}

#[tokio::test]
async fn who_joins_sees_from_then_on_what_stood_when_it_joined() {
    let engine = Engine::new();
    let (id, _) = publish(&engine, "before", Marking::open(Tlp::Green)).await;
    let (_, before) = publish(&engine, "standing", Marking::open(Tlp::Green)).await;
    engine.clock.advance(SECOND);
    let late = OrgSlug::parse("late").unwrap();
    let person = SpiffeId::parse("spiffe://hub.example/org/late/system/soc").unwrap();
    let organisation =
        Organisation { slug: late, ..engine.hub.roster().roster.organisations[&slug(1)].clone() };
    let grant = Grant { roles: Roles::from_bits(0xff), from: None, to: None };
    let patch = Patch {
        organisations: vec![organisation],
        principals: vec![(person.clone(), Some(grant))],
        ..Patch::default()
    };
    engine.hub.change_roster(&engine.caller(0), Uuid::new_v4(), patch).await.unwrap();
    engine.clock.advance(SECOND);
    let joined = engine.clock.now();
    publish(&engine, "after", Marking::open(Tlp::Green)).await;
    let caller = engine.caller_named(person);
    let told = versions(&engine, &caller, id, &[1]).await.unwrap();
    assert_eq!(texts(&told), ["after", "standing"]);
    let then = engine.hub.get_as_of(&caller, id, before).await.unwrap_err();
    assert_eq!(then.reason, Reason::NotFound);
    let stood = engine.hub.get_as_of(&caller, id, joined).await.unwrap();
    assert_eq!(indicator(stood.indicator).description, "standing");
    engine.close().await;
}

#[tokio::test]
async fn a_source_that_is_masked_today_is_masked_in_every_version() {
    let engine = Engine::new();
    let (id, open) = publish(&engine, "open", Marking::open(Tlp::Green)).await;
    let masked = Marking { caveats: Caveats::MASKED_SOURCE, ..Marking::open(Tlp::Green) };
    publish(&engine, "masked", masked).await;
    let told = versions(&engine, &engine.caller(1), id, &[10]).await.unwrap();
    let shown: Vec<_> = told.iter().map(|told| indicator(told.indicator.clone())).collect();
    assert_eq!(shown.iter().map(|shown| shown.owner.as_str()).collect::<Vec<_>>(), ["", ""]);
    let changes = differences(shown[1].clone(), &shown[0]);
    assert!(changes.iter().all(|change| change.field == "description"), "{changes:?}");
    let stood = engine.hub.get_as_of(&engine.caller(1), id, open).await.unwrap();
    assert_eq!(indicator(stood.indicator).owner, "");
    let owner = versions(&engine, &engine.caller(0), id, &[10]).await.unwrap();
    assert!(owner.iter().all(|told| indicator(told.indicator.clone()).owner == "organisations/alpha"));
    engine.close().await;
}

#[tokio::test]
async fn a_page_token_of_versions_is_good_for_its_indicator_and_caller_only() {
    let engine = Engine::new();
    let (id, _) = publish(&engine, "a", Marking::open(Tlp::Green)).await;
    publish(&engine, "b", Marking::open(Tlp::Green)).await;
    let token = engine.hub.versions(&engine.caller(1), id, 1, "").await.unwrap().next_page_token;
    assert!(!token.is_empty());
    for (viewer, id) in [(2, id), (1, Uuid::new_v4())] {
        let refused = engine.hub.versions(&engine.caller(viewer), id, 1, &token).await.unwrap_err();
        assert_eq!(refused.reason, Reason::PageTokenInvalid);
    }
    let revocation = Revocation { reason: RevocationReason::Withdrawn, note: String::new() };
    engine.hub.revoke(&engine.caller(0), Uuid::new_v4(), id, revocation, None).await.unwrap();
    let rest = engine.hub.versions(&engine.caller(1), id, 9, &token).await.unwrap();
    assert_eq!((texts(&rest.versions), rest.next_page_token.as_str()), (vec!["a".to_owned()], ""));
    let now = engine.hub.versions(&engine.caller(1), id, 9, "").await.unwrap().versions;
    assert_eq!((now.len(), now[0].change), (3, VersionChange::Revoked));
    engine.close().await;
}
