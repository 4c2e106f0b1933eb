//! A file's hashes that two indicators have: what the error advises works, and
//! what it does not advise does not.

use luytre::hub::error::Reason;
use luytre::hub::{Effect, verify};
use luytre::model::indicator::lifecycle::{Revocation, RevocationReason};
use luytre::model::indicator::{Draft, normalise};
use luytre::model::marking::{Marking, Tlp};
use uuid::Uuid;

use super::support::Engine;

/// Publishes a file by the hashes that are named, with a note.
async fn publish(engine: &Engine, hashes: &str, note: &str) -> Result<(Uuid, Effect), (Reason, String)> {
    let named = |name: char, digits: usize| hashes.contains(name).then(|| "0d".repeat(digits / 2));
    let (md5, sha1, sha256) = (named('m', 32), named('1', 40), named('2', 64));
    let (observable, aliases) = normalise::file(normalise::Hashes {
        md5: md5.as_deref(),
        sha1: sha1.as_deref(),
        sha256: sha256.as_deref(),
        sha512: None,
    })
    .unwrap();
    let draft =
        Draft { aliases, description: note.into(), ..Draft::new(observable, Marking::open(Tlp::Green)) };
    let answer =
        engine.hub.publish(&engine.caller(0), Uuid::new_v4(), vec![Ok(draft)]).await.unwrap().remove(0);
    answer.map(|published| (published.id, published.effect)).map_err(|r| (r.reason, r.problem))
}

async fn revoke(engine: &Engine, id: Uuid) {
    let revocation = Revocation { reason: RevocationReason::Withdrawn, note: String::new() };
    engine.hub.revoke(&engine.caller(0), Uuid::new_v4(), id, revocation, None).await.unwrap();
}

#[tokio::test]
async fn hashes_of_two_indicators_are_published_apart_or_moved_first() {
    let engine = Engine::new();
    let (first, _) = publish(&engine, "m1", "").await.unwrap();
    let (second, _) = publish(&engine, "2", "").await.unwrap();
    let (reason, problem) = publish(&engine, "m2", "").await.unwrap_err();
    assert_eq!(reason, Reason::IdentityConflict);
    assert!(problem.contains("each with its own hashes") && !problem.contains("revoke"), "{problem}");
    // Each with its own hashes.
    assert_eq!(publish(&engine, "m1", "again").await, Ok((first, Effect::Updated)));
    assert_eq!(publish(&engine, "2", "again").await, Ok((second, Effect::Updated)));
    // The one that has the shared hash without it, then the other with it.
    assert_eq!(publish(&engine, "1", "").await, Ok((first, Effect::Updated)));
    assert_eq!(publish(&engine, "m2", "").await, Ok((second, Effect::Updated)));
    assert_eq!(publish(&engine, "m", "").await, Ok((second, Effect::Updated)));
    let path = engine.path().to_owned();
    let _dir = engine.close().await;
    assert!(verify(&path, |_| ()).unwrap().is_clean());
}

#[tokio::test]
async fn a_revocation_frees_no_hash_so_that_no_feed_brings_it_back_by_another() {
    let engine = Engine::new();
    let (first, _) = publish(&engine, "m1", "").await.unwrap();
    publish(&engine, "2", "").await.unwrap();
    revoke(&engine, first).await;
    for hashes in ["m2", "12", "m12"] {
        assert_eq!(publish(&engine, hashes, "").await.unwrap_err().0, Reason::IdentityConflict);
    }
    for hashes in ["m", "1", "m1"] {
        assert_eq!(publish(&engine, hashes, "").await.unwrap_err().0, Reason::IndicatorRevoked);
    }
    engine.close().await;
}
