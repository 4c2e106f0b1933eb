//! A request is answered once, however often and whenever it is sent.

use futures_util::future::join_all;
use luytre::hub::error::Reason;
use luytre::hub::{Effect, Published, Rejection, verify};
use luytre::model::indicator::lifecycle::{Revocation, RevocationReason};
use luytre::wire::proto::v1;
use prost::Message as _;
use uuid::Uuid;

use super::model::{self, Item};
use super::support::Engine;

fn item(value: u8, note: u8) -> Item {
    Item { value, marking: 1, labels: 1, note, reinstate: false }
}

async fn publish(
    engine: &Engine,
    org: usize,
    request: Uuid,
    items: &[Item],
) -> Vec<Result<Published, Rejection>> {
    let drafts = items.iter().map(|item| Ok(model::draft(item))).collect();
    engine.hub.publish(&engine.caller(org), request, drafts).await.unwrap()
}

fn effects(answers: &[Result<Published, Rejection>]) -> Vec<Result<Effect, Reason>> {
    answers.iter().map(|answer| answer.as_ref().map(|p| p.effect).map_err(|r| r.reason)).collect()
}

fn withdrawn() -> Revocation {
    Revocation { reason: RevocationReason::Withdrawn, note: String::new() }
}

#[tokio::test]
async fn a_repeated_request_gets_its_first_answer_at_once_later_and_after_a_restart() {
    let mut engine = Engine::new();
    let request = Uuid::new_v4();
    // 3 and 4 become two records, 5 would join them.
    let items = [item(0, 0), item(3, 0), item(0, 1), item(0, 1), item(4, 0), item(5, 0)];
    let all = join_all((0..200).map(|_| publish(&engine, 0, request, &items))).await;
    let first = all[0].clone();
    let expected = [
        Ok(Effect::Created),
        Ok(Effect::Created),
        Ok(Effect::Updated),
        Ok(Effect::Unchanged),
        Ok(Effect::Created),
        Err(Reason::IdentityConflict),
    ];
    assert_eq!(effects(&first), expected);
    assert!(all.iter().all(|answer| *answer == first), "one answer for all");
    assert_eq!(engine.hub.statistics().items, 4, "written once");
    // The state goes on, the answer stays.
    publish(&engine, 0, Uuid::new_v4(), &[item(0, 0)]).await;
    assert_eq!(publish(&engine, 0, request, &items).await, first);
    engine = engine.reopen(|_| ()).await;
    assert_eq!(publish(&engine, 0, request, &items).await, first);
    // Another principal's request of the same id is another request.
    assert_eq!(effects(&publish(&engine, 1, request, &items[..1]).await), [Ok(Effect::Created)]);
    let path = engine.path().to_owned();
    let _dir = engine.close().await;
    assert!(verify(&path, |_| ()).unwrap().is_clean());
}

#[tokio::test]
async fn a_request_id_with_other_content_is_refused_and_stores_nothing() {
    let engine = Engine::new();
    let (request, caller) = (Uuid::new_v4(), engine.caller(0));
    let id = publish(&engine, 0, request, &[item(0, 0)]).await[0].as_ref().unwrap().id;
    let others =
        [vec![item(0, 1)], vec![item(0, 0), item(1, 0)], vec![Item { reinstate: true, ..item(0, 0) }]];
    for items in others {
        let drafts = items.iter().map(|item| Ok(model::draft(item))).collect();
        let error = engine.hub.publish(&caller, request, drafts).await.unwrap_err();
        assert_eq!(error.reason, Reason::DuplicateRequestId);
    }
    let error = engine.hub.revoke(&caller, request, id, withdrawn(), None).await.unwrap_err();
    assert_eq!(error.reason, Reason::DuplicateRequestId);
    // In one group too, whichever comes first.
    let request = Uuid::new_v4();
    let answers = join_all((0..40_u8).map(|n| {
        let drafts = vec![Ok(model::draft(&item(2, n % 2)))];
        engine.hub.publish(&caller, request, drafts)
    }));
    let refused = answers.await.into_iter().filter_map(Result::err).map(|e| e.reason).collect::<Vec<_>>();
    assert_eq!(refused, [Reason::DuplicateRequestId; 20]);
    assert_eq!(engine.hub.statistics().items, 2);
}

#[tokio::test]
async fn of_many_that_publish_one_value_at_once_one_creates_it() {
    let engine = Engine::new();
    let twice = [item(6, 0), item(6, 0)];
    let answers = join_all((0..300).map(|_| publish(&engine, 0, Uuid::new_v4(), &twice))).await;
    let all: Vec<_> = answers.into_iter().flatten().map(Result::unwrap).collect();
    assert_eq!(all.iter().filter(|p| p.effect == Effect::Created).count(), 1);
    assert!(all.iter().all(|p| (p.id, p.version) == (all[0].id, all[0].version)));
    assert!(engine.hub.statistics().commits < 300, "groups held several");
    // Aliases that many move at once: whatever the order, one state.
    let moves = (0..200_u8).map(|n| {
        let engine = &engine;
        async move {
            publish(engine, usize::from(n % 2), Uuid::new_v4(), &[item(3 + n % 8, n / 100), item(n % 11, 0)])
                .await
        }
    });
    join_all(moves).await;
    let path = engine.path().to_owned();
    let _dir = engine.close().await;
    let report = verify(&path, |_| ()).unwrap();
    assert!(report.is_clean(), "{:?}", report.differences);
}

#[tokio::test]
async fn versions_rise_by_one_to_four_microseconds_where_time_stands() {
    let mut engine = Engine::new();
    let mut versions = Vec::new();
    for note in 0..30 {
        let answers =
            publish(&engine, usize::from(note % 3), Uuid::new_v4(), &[item(0, note), item(1, note)]).await;
        versions.extend(answers.into_iter().map(|answer| answer.unwrap().version));
        if note % 10 == 9 {
            // A clock that is set back changes nothing.
            engine.clock.set(super::support::START - 3_600_000_000);
            engine = engine.reopen(|_| ()).await;
        }
    }
    let gaps: Vec<_> = versions.windows(2).map(|pair| pair[1].wrapping_sub(pair[0])).collect();
    assert!(gaps.iter().all(|gap| (1..=4).contains(gap)), "{gaps:?}");
    assert!((1..=4).all(|gap| gaps.contains(&gap)), "every gap occurs: {gaps:?}");
}

#[tokio::test]
async fn a_revocation_stays_until_it_is_reinstated_and_minds_the_version() {
    let engine = Engine::new();
    let caller = engine.caller(0);
    let first = publish(&engine, 0, Uuid::new_v4(), &[item(0, 0)]).await.remove(0).unwrap();
    let second = publish(&engine, 0, Uuid::new_v4(), &[item(0, 1)]).await.remove(0).unwrap();
    let revoke = |request, etag| engine.hub.revoke(&caller, request, first.id, withdrawn(), etag);
    let stale = revoke(Uuid::new_v4(), Some(first.version)).await.unwrap_err();
    assert_eq!(stale.reason, Reason::EtagMismatch);
    let request = Uuid::new_v4();
    let revoked = revoke(request, Some(second.version)).await.unwrap();
    assert_eq!(
        effects(&publish(&engine, 0, Uuid::new_v4(), &[item(0, 1)]).await),
        [Err(Reason::IndicatorRevoked)]
    );
    let back = Item { reinstate: true, ..item(0, 1) };
    assert_eq!(
        effects(&publish(&engine, 0, Uuid::new_v4(), std::slice::from_ref(&back)).await),
        [Ok(Effect::Reinstated)]
    );
    assert_eq!(effects(&publish(&engine, 0, Uuid::new_v4(), &[back]).await), [Ok(Effect::Unchanged)]);
    let now = v1::Indicator::decode(engine.hub.get(&caller, first.id).await.unwrap().indicator).unwrap();
    assert_eq!(now.reinstatement.unwrap().reason, "it is back");
    assert!(now.revocation.is_none());
    // The repeated revocation is answered, and takes nothing back again.
    assert_eq!(revoke(request, Some(second.version)).await.unwrap(), revoked);
    assert_eq!(
        v1::Indicator::decode(engine.hub.get(&caller, first.id).await.unwrap().indicator).unwrap().state,
        1
    );
}
