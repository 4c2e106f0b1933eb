//! Whatever a version says of itself leads to it, and so does who met it.

use luytre::base::clock::Timestamp;
use luytre::hub::verify;
use luytre::model::indicator::lifecycle::{Revocation, RevocationReason};
use luytre::model::indicator::{Draft, RecommendedAction, normalise};
use luytre::model::marking::{Marking, Tlp};
use luytre::model::position::Position;
use luytre::model::sighting::{Outcome, SightingDraft};
use luytre::store::keys::{self, Dimension};
use luytre::store::postings::Posting;
use luytre::store::{Store, Tuning};
use uuid::Uuid;

use super::support::{Engine, START};

const HOUR: u64 = 3_600_000_000;

/// The postings of a term, oldest first.
fn postings(store: &Store, dimension: Dimension, term: u64) -> Vec<Posting> {
    let mut blocks = store.postings_after(dimension, term, Position::ZERO).unwrap();
    std::iter::from_fn(|| blocks.next_block().unwrap()).flatten().collect()
}

#[tokio::test]
async fn versions_are_posted_by_what_they_say_and_sightings_by_who_and_what() {
    let engine = Engine::new();
    let draft = |first_seen| Draft {
        action: Some(RecommendedAction::Block),
        confidence: Some(80),
        description: "Lừa đảo".to_owned(),
        first_seen: Some(Timestamp::from_micros_clamped(first_seen)),
        ..Draft::new(normalise::detect("a.b.example.vn").unwrap().observable, Marking::open(Tlp::Green))
    };
    let publish = async |draft| {
        let done = engine.hub.publish(&engine.caller(0), Uuid::new_v4(), vec![Ok(draft)]).await.unwrap();
        done.into_iter().next().unwrap().unwrap().id
    };
    let id = publish(draft(START)).await;
    assert_eq!(publish(draft(START + 1)).await, id);
    let sighting = SightingDraft {
        indicator: id,
        outcome: Outcome::SeenNotBlocked,
        count: 1,
        first_seen: None,
        last_seen: None,
        note: String::new(),
        marking: None,
    };
    engine.hub.report_sightings(&engine.caller(1), Uuid::new_v4(), vec![Ok(sighting)]).await.unwrap()[0]
        .as_ref()
        .unwrap();
    let revocation = Revocation { reason: RevocationReason::Withdrawn, note: String::new() };
    engine.hub.revoke(&engine.caller(0), Uuid::new_v4(), id, revocation, None).await.unwrap();
    let path = engine.path().to_owned();
    let _dir = engine.close().await;
    assert!(verify(&path, |_| ()).unwrap().is_clean());

    let store = Store::open(&path, &Tuning::default()).unwrap();
    let reporter = store.directory().unwrap().numbers.into_iter().find(|(_, slug)| slug.as_str() == "bravo");
    let sighted = postings(&store, Dimension::SightedBy, u64::from(reporter.unwrap().0.0));
    let [Posting { position: sighted, handle }] = sighted[..] else { panic!("{sighted:?}") };
    let outcome = u64::from(Outcome::SeenNotBlocked.number());
    assert_eq!(postings(&store, Dimension::Outcome, outcome), [Posting { position: sighted, handle }]);
    let versions = |dimension, term| {
        let all = postings(&store, dimension, term);
        assert!(all.iter().all(|posting| posting.handle == handle), "{all:?}");
        all.iter().map(|posting| posting.position).collect::<Vec<_>>()
    };
    // Born, amended, met, revoked; each version by all that it says.
    let all = versions(Dimension::Action, u64::from(RecommendedAction::Block.number()));
    assert_eq!((all.len(), all[0]), (3, handle));
    assert!(all[1] < sighted && sighted < all[2]);
    let hour = START / HOUR * 2;
    for (dimension, term, expected) in [
        (Dimension::Confidence, 80, &all[..]),
        (Dimension::FirstSeen, hour, &all[..1]),
        (Dimension::FirstSeen, hour + 1, &all[1..]),
        (Dimension::LastSeen, keys::NOT_SEEN, &all[..0]),
        (Dimension::Host, keys::host_term("vn"), &all[..]),
        (Dimension::Host, keys::host_term("example.vn"), &all[..]),
        (Dimension::Host, keys::host_term("b.example.vn"), &all[..]),
        (Dimension::Text, keys::text_term("lua"), &all[..]),
        (Dimension::Text, keys::text_term("dao"), &all[..]),
        (Dimension::Text, keys::text_term("example"), &all[..0]),
    ] {
        assert_eq!(versions(dimension, term), expected, "{dimension:?} {term}");
    }
}
