//! What is visible of a past moment is the same in a list, in an indicator got
//! as of then, and among versions: what the roster and the marking of then, and
//! those of today, let see.

use luytre::base::clock::{Clock as _, Timestamp};
use luytre::hub::Caller;
use luytre::model::indicator::{Draft, normalise};
use luytre::model::marking::{Marking, Recipients, Tlp};
use luytre::model::org::{OrgSlug, Organisation};
use luytre::model::principal::{Roles, SpiffeId};
use luytre::model::query::{IndicatorFilter, Order, Question};
use luytre::model::roster::{Grant, Patch};
use luytre::wire::proto::v1;
use prost::Message as _;
use uuid::Uuid;

use super::draw::{GROUP, SECOND};
use super::naive::group;
use crate::engine::support::{Engine, block_on, slug};

const OWNER: usize = 0;
const VIEWER: usize = 1;

async fn publish(engine: &Engine, description: &str, marking: Marking) -> Uuid {
    publish_value(engine, "evil.example", description, marking).await
}

async fn publish_value(engine: &Engine, value: &str, description: &str, marking: Marking) -> Uuid {
    let value = normalise::detect(value).unwrap().observable;
    let draft = Draft { description: description.into(), ..Draft::new(value, marking) };
    let published = engine.hub.publish(&engine.caller(OWNER), Uuid::new_v4(), vec![Ok(draft)]).await.unwrap();
    published[0].as_ref().unwrap().id
}

/// For the members of the group.
fn to_group() -> Marking {
    let groups = vec![OrgSlug::parse(GROUP).unwrap()];
    Marking { recipients: Recipients { groups, ..Recipients::default() }, ..Marking::open(Tlp::AmberStrict) }
}

async fn regroup(engine: &Engine, members: u8) {
    engine.hub.change_roster(&engine.caller(OWNER), Uuid::new_v4(), group(members)).await.unwrap();
}

/// Who takes part from now on.
async fn join(engine: &Engine) -> SpiffeId {
    let person = SpiffeId::parse("spiffe://hub.example/org/late/system/soc").unwrap();
    let late = OrgSlug::parse("late").unwrap();
    let organisation =
        Organisation { slug: late, ..engine.hub.roster().roster.organisations[&slug(VIEWER)].clone() };
    let grant = Grant { roles: Roles::from_bits(0xff), from: None, to: None };
    let patch = Patch {
        organisations: vec![organisation],
        principals: vec![(person.clone(), Some(grant))],
        ..Patch::default()
    };
    engine.hub.change_roster(&engine.caller(OWNER), Uuid::new_v4(), patch).await.unwrap();
    person
}

fn description(bytes: impl Into<bytes::Bytes>) -> String {
    v1::Indicator::decode(bytes.into()).unwrap().description
}

/// What a caller sees of the indicator as of each moment, got and listed alike.
async fn as_of(engine: &Engine, caller: &Caller, id: Uuid, moments: &[Timestamp]) -> Vec<Option<String>> {
    let mut seen = Vec::new();
    for &at in moments {
        let got = engine.hub.get_as_of(caller, id, at).await.ok().map(|found| description(found.indicator));
        let question = Question { as_of: Some(at), ..Question::new(IndicatorFilter::default()) };
        let listed = engine.hub.list(caller, question, 10, "").await.unwrap().indicators;
        let listed: Vec<_> = listed.into_iter().map(description).collect();
        assert_eq!(listed, Vec::from_iter(got.clone()), "{at:?}");
        let mut by_label = Vec::new();
        for tlp in Tlp::ALL {
            let filter = IndicatorFilter { tlps: vec![tlp], ..IndicatorFilter::default() };
            let question = Question { as_of: Some(at), ..Question::new(filter) };
            let listed = engine.hub.list(caller, question, 10, "").await.unwrap().indicators;
            by_label.extend(listed.into_iter().map(description));
        }
        assert_eq!(by_label, Vec::from_iter(got.clone()), "{at:?}, as it was marked then");
        seen.push(got);
    }
    seen
}

async fn versions(engine: &Engine, caller: &Caller, id: Uuid) -> Vec<String> {
    let page = engine.hub.versions(caller, id, 10, "").await.unwrap();
    page.versions.into_iter().map(|version| description(version.indicator)).collect()
}

#[test]
fn what_is_seen_of_a_moment_is_one_in_lists_in_gets_and_among_versions() {
    block_on(async {
        let engine = Engine::new();
        let mut moments = Vec::new();
        let mut later = |engine: &Engine| {
            engine.clock.advance(SECOND);
            moments.push(engine.clock.now());
            engine.clock.advance(SECOND);
        };
        let to_group = to_group();
        regroup(&engine, 0).await;
        let id = publish(&engine, "first", to_group.clone()).await;
        later(&engine);
        // A member while the first version stands, neither at its beginning nor at its end.
        regroup(&engine, 1 << VIEWER).await;
        later(&engine);
        regroup(&engine, 0).await;
        later(&engine);
        publish(&engine, "second", to_group).await;
        later(&engine);
        publish(&engine, "third", Marking::open(Tlp::Clear)).await;
        later(&engine);
        let late = join(&engine).await;
        later(&engine);
        publish(&engine, "fourth", Marking::open(Tlp::Clear)).await;
        later(&engine);

        let some = |text: &str| Some(text.to_owned());
        let viewer = engine.caller(VIEWER);
        let seen = as_of(&engine, &viewer, id, &moments).await;
        let (third, fourth) = (some("third"), some("fourth"));
        let expected = [None, some("first"), None, None, third.clone(), third.clone(), fourth.clone()];
        assert_eq!(seen, expected);
        assert_eq!(versions(&engine, &viewer, id).await, ["fourth", "third", "first"]);

        // Who had not joined saw nothing, be it for everyone.
        let late = engine.caller_named(late);
        let seen = as_of(&engine, &late, id, &moments).await;
        assert_eq!(seen, [None, None, None, None, None, third, fourth]);
        assert_eq!(versions(&engine, &late, id).await, ["fourth", "third"]);
        engine.close().await;
    });
}

#[test]
fn the_pages_of_a_walk_show_nothing_that_was_hidden_when_it_began() {
    block_on(async {
        for order in Order::ALL {
            let engine = Engine::new();
            regroup(&engine, 0).await;
            let values = ["a.example", "b.example", "c.example", "d.example"];
            for (number, value) in values.into_iter().enumerate() {
                engine.clock.advance(SECOND);
                let hidden = number == 1 || number == 2;
                let marking = if hidden { to_group() } else { Marking::open(Tlp::Clear) };
                publish_value(&engine, value, if hidden { "hidden" } else { "open" }, marking).await;
            }
            let (viewer, mut token, mut seen) = (engine.caller(VIEWER), String::new(), Vec::new());
            let question = || Question { order: *order, ..Question::new(IndicatorFilter::default()) };
            loop {
                let page = engine.hub.list(&viewer, question(), 1, &token).await.unwrap();
                seen.extend(page.indicators.into_iter().map(description));
                token = page.next_page_token;
                if token.is_empty() {
                    break;
                }
                // A member of the group from now on.
                regroup(&engine, 1 << VIEWER).await;
            }
            assert_eq!(seen, ["open", "open"], "{order:?}");
            // Who asks anew is shown all.
            let page = engine.hub.list(&viewer, question(), 10, "").await.unwrap();
            assert_eq!(page.indicators.len(), 4);
            engine.close().await;
        }
    });
}
