//! What is hidden takes no place of what is seen: a dossier and an indicator
//! tell the same however much there is beside it that the caller may not see.

use futures_util::future::join_all;
use luytre::hub::{Caller, Dossier};
use luytre::model::dossier::{Kin, Kinship};
use luytre::model::indicator::{Draft, Observable, normalise};
use luytre::model::marking::{Caveats, Marking, Recipients, Tlp};
use luytre::model::org::{OrgSlug, Organisation};
use luytre::model::principal::{Roles, SpiffeId};
use luytre::model::roster::{Grant, Roster};
use luytre::model::sighting::{Outcome, SightingDraft};
use uuid::Uuid;

use super::support::{self, Engine, START, slug};

const OWNER: usize = 0;
const OTHER: usize = 1;
const NAMED: usize = 2;
const VIEWER: usize = 3;
const VALUE: &str = "evil.com.vn";

fn value(text: &str) -> Observable {
    normalise::detect(text).unwrap().observable
}

fn green() -> Marking {
    Marking::open(Tlp::Green)
}

fn hidden() -> Marking {
    let recipients = Recipients { organisations: vec![slug(NAMED)], ..Recipients::default() };
    Marking { tlp: Tlp::Amber, recipients, caveats: Caveats::NONE }
}

async fn publish(engine: &Engine, caller: &Caller, drafts: Vec<Draft>) -> Vec<Uuid> {
    let drafts = drafts.into_iter().map(Ok).collect();
    let results = engine.hub.publish(caller, Uuid::new_v4(), drafts).await.unwrap();
    results.into_iter().map(|result| result.unwrap().id).collect()
}

/// One for all to see, or one for its reporter and the owner alone.
fn sighting(indicator: Uuid, seen: bool) -> SightingDraft {
    SightingDraft {
        indicator,
        outcome: Outcome::SeenBlocked,
        count: 1,
        first_seen: None,
        last_seen: None,
        note: String::new(),
        marking: seen.then(green),
    }
}

async fn report(engine: &Engine, caller: &Caller, sightings: Vec<SightingDraft>) {
    let sightings = sightings.into_iter().map(Ok).collect();
    let results = engine.hub.report_sightings(caller, Uuid::new_v4(), sightings).await.unwrap();
    assert!(results.iter().all(Result::is_ok));
}

async fn ask(engine: &Engine, caller: &Caller) -> Dossier {
    engine.hub.dossier(caller, value(VALUE), Vec::new()).await.unwrap()
}

/// How many sightings are summed.
fn reports(dossier: &Dossier) -> u32 {
    dossier.summary.totals.iter().map(|total| total.reports).sum()
}

fn kin(dossier: &Dossier) -> Vec<(Kinship, Vec<String>, bool)> {
    let values = |kin: &Kin| kin.values.iter().map(|relative| relative.value.to_string()).collect();
    dossier.related.iter().map(|kin| (kin.kinship, values(kin), kin.more)).collect()
}

/// A hub where a value has a neighbour of each kind.
async fn neighbourhood() -> Engine {
    let engine = Engine::new();
    let of = |text, family: &str, campaign: &str| Draft {
        family: family.to_owned(),
        campaign: campaign.to_owned(),
        ..Draft::new(value(text), green())
    };
    publish(&engine, &engine.caller(OWNER), vec![of(VALUE, "Họ A", "Hè")]).await;
    let neighbours = vec![
        of("http://login.evil.com.vn/a", "", ""),
        of("same-campaign.example", "", "hè"),
        of("198.51.100.7", "họ a", ""),
    ];
    publish(&engine, &engine.caller(OTHER), neighbours).await;
    engine
}

fn crowd(count: usize, marking: &Marking) -> Vec<Draft> {
    let one = |number| Draft {
        family: "Họ A".to_owned(),
        campaign: "Hè".to_owned(),
        ..Draft::new(value(&format!("c-{number}.evil.com.vn")), marking.clone())
    };
    (0..count).map(one).collect()
}

#[tokio::test]
async fn hidden_values_push_no_neighbour_out_of_a_dossier() {
    let engine = neighbourhood().await;
    let viewer = engine.caller(VIEWER);
    let before = kin(&ask(&engine, &viewer).await);
    let kinships: Vec<_> = before.iter().map(|(kinship, ..)| *kinship).collect();
    assert_eq!(kinships, [Kinship::SameDomain, Kinship::SameCampaign, Kinship::SameFamily]);
    for mut drafts in [crowd(1_001, &hidden()), crowd(300, &hidden())] {
        let rest = drafts.split_off(drafts.len().min(1_000));
        publish(&engine, &engine.caller(OTHER), drafts).await;
        if !rest.is_empty() {
            publish(&engine, &engine.caller(OTHER), rest).await;
        }
        assert_eq!(kin(&ask(&engine, &viewer).await), before);
    }
    let named = kin(&ask(&engine, &engine.caller(NAMED)).await);
    assert!(named[0].2 && named[0].1[0].starts_with("c-"), "{named:?}");
    engine.close().await;
}

#[tokio::test]
async fn values_that_are_hidden_by_now_push_no_neighbour_out_of_a_dossier() {
    let engine = neighbourhood().await;
    let viewer = engine.caller(VIEWER);
    let before = kin(&ask(&engine, &viewer).await);
    for marking in [green(), hidden()] {
        publish(&engine, &engine.caller(OTHER), crowd(600, &marking)).await;
    }
    assert_eq!(kin(&ask(&engine, &viewer).await), before);
    engine.close().await;
}

#[tokio::test]
async fn what_a_dossier_costs_does_not_tell_how_much_is_hidden_under_a_domain() {
    let engine = Engine::with(|options| options.debt_delay = std::time::Duration::from_secs(3_600));
    publish(&engine, &engine.caller(OWNER), vec![Draft::new(value(VALUE), green())]).await;
    let cost = async || {
        let before = engine.hub.store_calls();
        ask(&engine, &engine.caller(VIEWER)).await;
        engine.hub.store_calls().since(&before)
    };
    let without = cost().await;
    publish(&engine, &engine.caller(OTHER), crowd(600, &hidden())).await;
    assert_eq!(cost().await, without);
    engine.close().await;
}

#[tokio::test]
async fn hidden_sightings_push_no_seen_one_of_their_reporter_out_of_a_dossier() {
    let engine = Engine::new();
    let id = publish(&engine, &engine.caller(OWNER), vec![Draft::new(value(VALUE), green())]).await[0];
    let (reporter, viewer) = (engine.caller(OTHER), engine.caller(VIEWER));
    report(&engine, &reporter, vec![sighting(id, true)]).await;
    let before = ask(&engine, &viewer).await;
    let got = engine.hub.get(&viewer, id).await.unwrap().sightings;
    assert_eq!((reports(&before), got.len()), (1, 1));
    for count in [1_000, 1] {
        report(&engine, &reporter, vec![sighting(id, false); count]).await;
    }
    assert_eq!(engine.hub.get(&viewer, id).await.unwrap().sightings, got);
    let after = ask(&engine, &viewer).await;
    assert_eq!((after.summary, after.more_sightings), (before.summary, before.more_sightings));
    assert_eq!(reports(&ask(&engine, &engine.caller(OWNER)).await), 1_000);
    engine.close().await;
}

#[tokio::test]
async fn a_dossier_says_that_there_are_more_sightings_though_one_reported_them_all() {
    let engine = Engine::new();
    let id = publish(&engine, &engine.caller(OWNER), vec![Draft::new(value(VALUE), green())]).await[0];
    for (count, expected) in [(1_000, (1_000, false)), (1, (1_000, true))] {
        report(&engine, &engine.caller(OTHER), vec![sighting(id, true); count]).await;
        let told = ask(&engine, &engine.caller(VIEWER)).await;
        assert_eq!((reports(&told), told.more_sightings), expected);
    }
    engine.close().await;
}

fn member(number: usize) -> SpiffeId {
    SpiffeId::parse(&format!("spiffe://hub.example/org/o-{number}/system/soc")).unwrap()
}

/// A hub of so many organisations, and a caller of each.
fn hub_of(count: usize) -> (Engine, Vec<Caller>) {
    let organisation = |number: usize| {
        let slug = OrgSlug::parse(&format!("o-{number}")).unwrap();
        let plain = support::roster().organisations.into_values().next().unwrap();
        (slug.clone(), Organisation { slug, ..plain })
    };
    let grant = Grant { roles: Roles::from_bits(0xff), from: None, to: None };
    let roster = Roster {
        organisations: (0..count).map(organisation).collect(),
        principals: (0..count).map(|number| (member(number), grant.clone())).collect(),
        ..Roster::default()
    };
    let engine = Engine::of(roster, START, |_| ());
    let callers = (0..count).map(|number| engine.caller_named(member(number))).collect();
    (engine, callers)
}

#[tokio::test]
async fn reporters_whose_sightings_are_hidden_push_none_out_of_a_dossier() {
    // So many that each with each is more than are looked at.
    let (engine, callers) = hub_of(47);
    let (viewer, others) = callers.split_last().unwrap();
    let mut ids = Vec::new();
    for caller in others {
        ids.extend(publish(&engine, caller, vec![Draft::new(value(VALUE), green())]).await);
    }
    for caller in others {
        report(&engine, caller, ids.iter().map(|id| sighting(*id, false)).collect()).await;
    }
    // What changed last comes first, and who reported first.
    report(&engine, others.last().unwrap(), vec![sighting(ids[0], true)]).await;
    assert_eq!(reports(&ask(&engine, viewer).await), 1);
    engine.close().await;
}

#[tokio::test]
async fn reporters_whose_sightings_are_hidden_push_none_out_of_an_indicator() {
    let (engine, callers) = hub_of(1_003);
    let (viewer, others) = callers.split_last().unwrap();
    let (last, hiding) = others.split_last().unwrap();
    let id = publish(&engine, &hiding[0], vec![Draft::new(value(VALUE), green())]).await[0];
    join_all(hiding.iter().map(|caller| report(&engine, caller, vec![sighting(id, false)]))).await;
    report(&engine, last, vec![sighting(id, true)]).await;
    assert_eq!(engine.hub.get(viewer, id).await.unwrap().sightings.len(), 1);
    engine.close().await;
}
