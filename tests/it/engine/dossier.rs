//! The dossier of a value: what a naive search over all that ever happened
//! would put together, and nothing of what is hidden.

use luytre::base::clock::Clock as _;
use luytre::hub::{Caller, Dossier};
use luytre::model::dossier::{ConflictKind, Kin, Kinship, Total};
use luytre::model::indicator::lifecycle::{Revocation, RevocationReason};
use luytre::model::indicator::{Draft, Observable, RecommendedAction, Role, State, normalise};
use luytre::model::marking::{Caveats, Marking, Recipients, Tlp};
use luytre::model::org::OrgSlug;
use luytre::model::sighting::{Outcome, SightingDraft};
use luytre::wire::proto::v1;
use proptest::prelude::*;
use prost::Message as _;
use uuid::Uuid;

use super::model::{self, Model};
use super::support::{Engine, ORGS, block_on, slug};

const SECOND: u64 = 1_000_000;

fn value(text: &str) -> Observable {
    normalise::detect(text).unwrap().observable
}

fn green() -> Marking {
    Marking::open(Tlp::Green)
}

fn amber(to: &[usize]) -> Marking {
    let organisations = to.iter().map(|&org| slug(org)).collect();
    let recipients = Recipients { organisations, ..Recipients::default() };
    Marking { tlp: Tlp::Amber, recipients, caveats: Caveats::NONE }
}

fn masked() -> Marking {
    Marking { caveats: Caveats::MASKED_SOURCE, ..green() }
}

async fn publish(engine: &Engine, org: usize, draft: Draft) -> Uuid {
    engine.clock.advance(SECOND);
    let answer = engine.hub.publish(&engine.caller(org), Uuid::new_v4(), vec![Ok(draft)]).await.unwrap();
    answer.into_iter().next().unwrap().unwrap().id
}

async fn sight(engine: &Engine, org: usize, indicator: Uuid, outcome: Outcome, marking: Option<Marking>) {
    let count = if outcome == Outcome::SearchedNotFound { 0 } else { 3 };
    let (first_seen, last_seen, note) = (None, None, String::new());
    let draft = SightingDraft { indicator, outcome, count, first_seen, last_seen, note, marking };
    let answer =
        engine.hub.report_sightings(&engine.caller(org), Uuid::new_v4(), vec![Ok(draft)]).await.unwrap();
    assert!(answer[0].is_ok(), "{answer:?}");
}

async fn ask(engine: &Engine, caller: &Caller, asked: &str) -> Dossier {
    engine.hub.dossier(caller, value(asked), Vec::new()).await.unwrap()
}

/// Ids and versions of what is asserted.
fn asserted(dossier: &Dossier) -> Vec<(String, u64)> {
    let decoded = dossier.assertions.iter().map(|bytes| v1::Indicator::decode(bytes.clone()).unwrap());
    decoded.map(|indicator| (indicator.name, indicator.version)).collect()
}

fn kin(dossier: &Dossier) -> Vec<(Kinship, &str, Vec<String>, bool)> {
    let values = |kin: &Kin| kin.values.iter().map(|relative| relative.value.to_string()).collect();
    dossier.related.iter().map(|kin| (kin.kinship, kin.shared.as_str(), values(kin), kin.more)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 16, max_shrink_iters: 60, failure_persistence: None, ..ProptestConfig::default()
    })]

    #[test]
    fn a_dossier_is_what_a_naive_search_puts_together(ops in model::ops(24)) {
        block_on(async {
            let engine = Engine::new();
            let mut model = Model::default();
            for op in &ops {
                model.apply(&engine, op).await;
            }
            for viewer in 0..ORGS.len() {
                let caller = engine.caller(viewer);
                for number in 0..11 {
                    let (first, others) = model::value(number);
                    let keys = model::keys(number);
                    let dossier = engine.hub.dossier(&caller, first, others).await.unwrap();
                    let about = |record: &usize| {
                        let held = model::keys(model.now(*record).item.value);
                        model.visible_now(viewer, *record) && held.iter().any(|key| keys.contains(key))
                    };
                    let mut records: Vec<_> = (0..model.records.len()).filter(about).collect();
                    records.sort_by_key(|&record| std::cmp::Reverse(model.now(record).version));
                    let expected: Vec<_> = records
                        .iter()
                        .map(|&record| (format!("indicators/{}", model.records[record].id), model.now(record).version))
                        .collect();
                    prop_assert_eq!(asserted(&dossier), expected);
                    let holds = |record: &&usize| {
                        let now = model.now(**record);
                        now.state == State::Active && model::role(&now.item) != Some(Role::Victim)
                    };
                    let mut owners: Vec<_> =
                        records.iter().filter(holds).map(|&record| slug(model.records[record].owner)).collect();
                    owners.sort();
                    owners.dedup();
                    let told = &dossier.summary;
                    prop_assert_eq!(told.owners.iter().cloned().collect::<Vec<OrgSlug>>(), owners.clone());
                    prop_assert_eq!(told.scored.map_or(0, |scored| scored.sources as usize), owners.len());
                    let sightings = model.events.iter().filter(|event| {
                        let told = event.sighting.is_some_and(|(_, by)| by == viewer || event.owner == viewer);
                        told && records.contains(&event.record)
                    });
                    let reports: u32 = told.totals.iter().map(|total| total.reports).sum();
                    let count: u64 = told.totals.iter().map(|total| total.count).sum();
                    let expected = sightings.count();
                    prop_assert_eq!((reports as usize, count), (expected, 3 * expected as u64));
                    for kin in dossier.related.iter().filter(|kin| kin.kinship == Kinship::SameFamily) {
                        for relative in &kin.values {
                            let record = model.records.iter().position(|record| record.id == relative.id).unwrap();
                            let now = model.now(record);
                            prop_assert!(model.visible_now(viewer, record) && now.state != State::Revoked);
                            prop_assert_eq!(model::family(&now.item), kin.shared.as_str());
                            prop_assert_eq!(&model::value(now.item.value).0, &relative.value);
                        }
                    }
                }
            }
            engine.close().await;
            Ok(())
        })?;
    }
}

#[tokio::test]
async fn a_dossier_tells_who_asserts_who_disagrees_and_what_was_met() {
    let engine = Engine::new();
    let blocks = Draft {
        action: Some(RecommendedAction::Block),
        confidence: Some(80),
        ..Draft::new(value("evil.example"), green())
    };
    let ours = publish(&engine, 0, blocks).await;
    let victim = Draft { role: Some(Role::Victim), ..Draft::new(value("evil.example"), green()) };
    let theirs = publish(&engine, 1, victim).await;
    let third = publish(&engine, 2, Draft::new(value("evil.example"), green())).await;
    let revocation = Revocation { reason: RevocationReason::FalsePositive, note: String::new() };
    engine.hub.revoke(&engine.caller(2), Uuid::new_v4(), third, revocation, None).await.unwrap();
    sight(&engine, 3, ours, Outcome::SeenBlocked, Some(green())).await;
    sight(&engine, 3, ours, Outcome::SeenBlocked, Some(green())).await;
    sight(&engine, 2, ours, Outcome::FalsePositive, Some(green())).await;

    let told = ask(&engine, &engine.caller(3), "hxxp://evil[.]example/").await;
    assert_eq!(kin(&told), [(Kinship::Host, "", vec!["evil.example".to_owned()], false)]);
    assert!(told.assertions.is_empty());
    let told = ask(&engine, &engine.caller(3), "EVIL[.]example").await;
    let names: Vec<_> = asserted(&told).into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, [third, theirs, ours].map(|id| format!("indicators/{id}")));
    let summary = told.summary;
    assert_eq!(summary.owners.into_iter().collect::<Vec<_>>(), [slug(0)]);
    let conflicts: Vec<_> =
        summary.conflicts.into_iter().map(|c| (c.kind, c.indicators, c.against)).collect();
    assert_eq!(
        conflicts,
        [
            (ConflictKind::BlockAVictim, vec![ours], vec![theirs]),
            (ConflictKind::BlockTheHarmless, vec![ours], vec![ours]),
            (ConflictKind::TakenBack, vec![ours], vec![third]),
        ]
    );
    let day = engine.clock.now().day();
    let total = |outcome, count, reports| Total { kind: "unit".to_owned(), day, outcome, count, reports };
    assert_eq!(summary.totals, [total(Outcome::SeenBlocked, 6, 2), total(Outcome::FalsePositive, 3, 1)]);
    let scored = summary.scored.unwrap();
    assert_eq!((scored.score.value, scored.sources, scored.false_positives), (40, 1, 1));
    engine.close().await;
}

#[tokio::test]
async fn a_masked_source_is_neither_named_nor_counted_and_hidden_sightings_are_in_no_sum() {
    let engine = Engine::new();
    let open = publish(&engine, 0, Draft::new(value("evil.example"), green())).await;
    publish(&engine, 1, Draft::new(value("evil.example"), masked())).await;
    let one = ask(&engine, &engine.caller(3), "evil.example").await.summary;
    publish(&engine, 2, Draft::new(value("evil.example"), masked())).await;
    sight(&engine, 1, open, Outcome::SeenBlocked, None).await;
    sight(&engine, 2, open, Outcome::FalsePositive, Some(masked())).await;
    let two = ask(&engine, &engine.caller(3), "evil.example").await.summary;
    assert_eq!((one.owners.len(), one.others), (1, true));
    assert_eq!((two.owners, two.others), (one.owners, true));
    assert_eq!(one.scored.unwrap().sources, two.scored.unwrap().sources);
    let [total] = &two.totals[..] else { panic!("one is hidden: {:?}", two.totals) };
    assert_eq!((total.kind.as_str(), total.outcome, total.count), ("", Outcome::FalsePositive, 3));
    let owner = ask(&engine, &engine.caller(0), "evil.example").await.summary;
    assert_eq!(owner.totals.len(), 2);
    engine.close().await;
}

#[tokio::test]
async fn what_is_red_is_in_the_dossier_of_its_owner_alone_and_its_sightings_in_none() {
    let engine = Engine::new();
    let person = engine.caller(1).identity().clone();
    let recipients = Recipients { principals: vec![person], ..Recipients::default() };
    let red = Marking { recipients, ..Marking::open(Tlp::Red) };
    let id = publish(&engine, 0, Draft::new(value("evil.example"), red)).await;
    sight(&engine, 1, id, Outcome::SeenBlocked, None).await;
    let named = ask(&engine, &engine.caller(1), "evil.example").await;
    assert_eq!((named.assertions.len(), named.summary), (0, Default::default()));
    let owner = ask(&engine, &engine.caller(0), "evil.example").await;
    assert_eq!((owner.assertions.len(), owner.summary.totals.len()), (1, 0));
    engine.close().await;
}

#[tokio::test]
async fn related_values_say_what_they_share_and_hidden_ones_are_not_among_them() {
    let engine = Engine::new();
    let hashes = normalise::Hashes {
        md5: Some(&"a".repeat(32)),
        sha1: None,
        sha256: Some(&"b".repeat(64)),
        sha512: None,
    };
    let (sha256, aliases) = normalise::file(hashes).unwrap();
    let of = |observable: Observable, marking| Draft {
        family: "Họ A".to_owned(),
        campaign: "Hè 2026".to_owned(),
        ..Draft::new(observable, marking)
    };
    publish(&engine, 0, Draft { aliases, ..of(sha256, green()) }).await;
    publish(&engine, 1, of(value("c2.example"), green())).await;
    publish(&engine, 1, of(value("hidden.example"), amber(&[2]))).await;
    let only_family = Draft { campaign: String::new(), ..of(value("192.0.2.7"), green()) };
    publish(&engine, 2, Draft { family: "họ a".to_owned(), ..only_family }).await;
    let gone = publish(&engine, 1, of(value("gone.example"), green())).await;
    let revocation = Revocation { reason: RevocationReason::FalsePositive, note: String::new() };
    engine.hub.revoke(&engine.caller(1), Uuid::new_v4(), gone, revocation, None).await.unwrap();

    let texts = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
    let told = ask(&engine, &engine.caller(3), &"a".repeat(32)).await;
    assert_eq!(
        kin(&told),
        [
            (Kinship::SameFile, "", texts(&[&"b".repeat(64)]), false),
            (Kinship::SameCampaign, "Hè 2026", texts(&["c2.example"]), false),
            (Kinship::SameFamily, "Họ A", texts(&["192.0.2.7"]), false),
        ]
    );
    let told = ask(&engine, &engine.caller(2), &"a".repeat(32)).await;
    assert_eq!(
        kin(&told)[1],
        (Kinship::SameCampaign, "Hè 2026", texts(&["hidden.example", "c2.example"]), false)
    );

    publish(&engine, 0, Draft::new(value("192.0.2.0/24"), green())).await;
    publish(&engine, 0, Draft::new(value("192.0.0.0/16"), amber(&[2]))).await;
    let told = ask(&engine, &engine.caller(3), "192.0.2.7").await;
    assert_eq!(kin(&told)[0], (Kinship::ContainingNetwork, "", texts(&["192.0.2.0/24"]), false));
    engine.close().await;
}

#[tokio::test]
async fn what_lies_under_the_same_registrable_domain_is_related() {
    let engine = Engine::new();
    let all = [
        "http://login.evil.com.vn/a",
        "mail.evil.com.vn",
        "bob@evil.com.vn",
        "www.evil.com.vn:8443",
        "notevil.com.vn",
        "other.com.vn",
    ];
    for text in all {
        publish(&engine, 0, Draft::new(value(text), green())).await;
    }
    publish(&engine, 0, Draft::new(value("c2.evil.com.vn"), amber(&[2]))).await;
    let under = |values: &[&str]| {
        let values = values.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
        (Kinship::SameDomain, "evil.com.vn", values, false)
    };
    let told = ask(&engine, &engine.caller(1), "evil.com.vn").await;
    let expected =
        ["www.evil.com.vn:8443", "bob@evil.com.vn", "mail.evil.com.vn", "http://login.evil.com.vn/a"];
    assert_eq!(kin(&told), [under(&expected)]);
    let told = ask(&engine, &engine.caller(2), "http://login.evil.com.vn/a").await;
    let expected = ["c2.evil.com.vn", "www.evil.com.vn:8443", "bob@evil.com.vn", "mail.evil.com.vn"];
    assert_eq!(kin(&told), [under(&expected)]);
    let told = ask(&engine, &engine.caller(1), "com.vn").await;
    assert_eq!(kin(&told), [], "a public suffix is nobody's");
    engine.close().await;
}

#[tokio::test]
async fn a_group_of_related_values_is_bounded_and_says_that_there_are_more() {
    let engine = Engine::new();
    let of = |number: usize| Draft {
        campaign: "Hè".to_owned(),
        ..Draft::new(value(&format!("host-{number}.example")), green())
    };
    for number in 0..22 {
        publish(&engine, 0, of(number)).await;
    }
    let told = ask(&engine, &engine.caller(1), "host-0.example").await;
    let [(Kinship::SameCampaign, "Hè", values, true)] = &kin(&told)[..] else { panic!("{:?}", kin(&told)) };
    assert_eq!((values.len(), values[0].as_str()), (20, "host-21.example"));
    publish(&engine, 0, Draft { campaign: String::new(), ..of(21) }).await;
    let told = ask(&engine, &engine.caller(1), "host-0.example").await;
    let [(_, _, values, more)] = &kin(&told)[..] else { panic!("{:?}", kin(&told)) };
    assert_eq!((values.len(), values[0].as_str(), *more), (20, "host-20.example", false));
    engine.close().await;
}
