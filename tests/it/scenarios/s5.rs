//! S5, an embargo of the police. ca-hanoi tells one named officer of so-tttt
//! of an address, TLP:RED, to watch and not to block. A district publishes
//! the same address: its answer is the one that it would have got anyway,
//! and the police, who hold it hidden, learn of the collision at once. Once
//! the police lower their record to GREEN, and only then, both show.

use luytre::wire::proto::v1::{self, EventKind, RecommendedAction, Tlp};
use prost::Message as _;
use time::macros::date;
use tonic::Code;
use uuid::Uuid;

use super::{ROLES, SYSTEM, new, person, red, system, told, with_systems};
use crate::harness::{Served, TestHub, amber, batch, draft, raw};

const VALUE: &str = "198.51.100.23";
const UNITS: [&str; 3] = ["ubnd-cau-giay", "ubnd-long-bien", "so-y-te"];

async fn hub() -> Served {
    let builder = with_systems(TestHub::builder().lead_unit("so-tttt"), &["so-tttt", "ca-hanoi"]);
    with_systems(builder, &UNITS)
        .principal("ca-hanoi", "user/dieu-tra", &ROLES)
        .principal("so-tttt", "user/an", &ROLES)
        .principal("so-tttt", "user/binh", &ROLES)
        .serve_on(date!(2019 - 12 - 02))
        .await
}

/// What the district publishes.
fn blocking() -> v1::PublishIndicatorsRequest {
    let draft = v1::IndicatorDraft { recommended_action: RecommendedAction::Block.into(), ..draft(VALUE) };
    batch(Uuid::new_v4(), vec![amber(draft, &["ubnd-long-bien"])])
}

/// What the district is answered, to the byte but for random ids and versions.
async fn answered(hub: &Served) -> (String, Vec<usize>, String) {
    let channel = hub.peer("ubnd-cau-giay", SYSTEM).channel();
    let publish = "/luytre.v1.ExchangeService/PublishIndicators";
    let answer = raw::call(&channel, publish, vec![blocking().encode_to_vec().into()]).await;
    assert!(answer.status.is_none(), "{answer:?}");
    let lengths = answer.messages.iter().map(bytes::Bytes::len).collect();
    let mut read = v1::PublishIndicatorsResponse::decode(answer.messages[0].clone()).unwrap();
    for result in &mut read.results {
        let Some(v1::publish_result::Outcome::Published(published)) = &mut result.outcome else {
            panic!("{result:?}")
        };
        published.name = "x".repeat(published.name.len());
        published.version = 0;
    }
    let keys = |map: &tonic::metadata::MetadataMap| {
        let keys = map.keys().map(|key| format!("{key:?}")).filter(|key| !key.contains("date"));
        keys.collect::<Vec<_>>().join(" ")
    };
    let around = format!("{} / {}", keys(&answer.headers), keys(&answer.trailers));
    (format!("{read:?}"), lengths, around)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_embargo_shows_to_nobody_until_the_police_lift_it() {
    let (hub, without) = (hub().await, hub().await);
    let officer = hub.spiffe("so-tttt", "user/an");
    let police = person(&hub, "ca-hanoi", "user/dieu-tra");
    let (an, binh) = (person(&hub, "so-tttt", "user/an"), person(&hub, "so-tttt", "user/binh"));
    let [cau_giay, long_bien, health] = UNITS.map(|slug| system(&hub, slug));
    let lead = system(&hub, "so-tttt");
    let mut embargo = red(VALUE, &[&officer]);
    let caveats = v1::Caveats { watch_do_not_block: true, ..v1::Caveats::default() };
    embargo.marking.as_mut().unwrap().caveats = Some(caveats);
    let hidden = police.publish(embargo).await;

    let mut an_hears = an.watch_all().await;
    let heard = an_hears.up_to_indicator(&hidden).await;
    let marking = heard[0].indicator.clone().unwrap().marking.unwrap();
    assert_eq!(marking.tlp(), Tlp::Red);
    assert!(marking.caveats.unwrap().watch_do_not_block);
    let mut police_hear = police.watch_all().await;
    police_hear.up_to_indicator(&hidden).await;
    let outsiders = [&binh, &lead, &cau_giay, &long_bien, &health];
    let mut outside = Vec::new();
    for who in outsiders {
        outside.push(who.watch_all().await);
        assert!(who.lookup(VALUE).await.is_empty() && who.list().await.is_empty());
        assert_eq!(who.get(&hidden).await.unwrap_err(), (Code::NotFound, "NOT_FOUND".to_owned()));
    }

    // The district publishes the same address, here and where nothing is hidden.
    let with = answered(&hub).await;
    assert_eq!(with, answered(&without).await);
    assert!(with.0.contains("effect: Created"), "{with:?}");
    let own = cau_giay.lookup(VALUE).await;
    assert_eq!(own.len(), 1, "{own:?}");
    let own = own[0].name.clone();

    // The police learn of it at once, and not of whom.
    let heard = police_hear.up_to(|event| event.kind == EventKind::Collision as i32).await;
    let collision = heard.last().unwrap().collision.clone().unwrap();
    assert_eq!(collision.indicator, hidden);
    assert_eq!((collision.other.as_str(), collision.other_owner.as_str()), ("", ""), "AMBER to others");
    assert_eq!(police.get(&hidden).await.unwrap().collisions, [collision]);
    assert!(!police.was_told("cau-giay"));

    // Nobody else hears of it, or of anything but the open marker after it.
    let marker = health.publish(draft("marker.example")).await;
    let expected: [&[&String]; 5] = [&[&marker], &[&marker], &[&own, &marker], &[&own, &marker], &[&marker]];
    for ((who, hears), expected) in outsiders.into_iter().zip(&mut outside).zip(expected) {
        let heard = hears.up_to_indicator(&marker).await;
        assert_eq!(told(&heard), new(expected));
        assert!(heard.iter().all(|event| event.collision.is_none()));
        for secret in [&hidden[11..], "ca-hanoi", "dieu-tra"] {
            assert!(!who.was_told(secret), "{secret}");
        }
    }
    let heard = an_hears.up_to_indicator(&marker).await;
    assert_eq!(told(&heard), new(&[&marker]), "the named officer hears of no collision");
    assert_eq!(an.get(&hidden).await.unwrap().collisions, []);

    // The police lower it to GREEN: all see it, and who has both sees both.
    let lowered = police.publish(draft(VALUE)).await;
    assert_eq!(lowered, hidden);
    for (who, hears) in outsiders.into_iter().zip(&mut outside) {
        let heard = hears.up_to_indicator(&hidden).await;
        assert_eq!(told(&heard), new(&[&hidden]));
        assert_eq!(heard[0].indicator.as_ref().unwrap().owner, "organisations/ca-hanoi");
        assert_eq!(who.get(&hidden).await.unwrap().indicator.unwrap().marking.unwrap().tlp(), Tlp::Green);
    }
    let heard = an_hears.up_to_indicator(&hidden).await;
    assert_eq!(told(&heard), [(EventKind::Update, hidden.clone())], "he had it already");
    for (who, expected) in outsiders.into_iter().zip([1, 1, 2, 2, 1]) {
        let matches = who.lookup(VALUE).await;
        assert_eq!(matches.len(), expected, "{matches:?}");
        assert!(matches.iter().any(|found| found.name == hidden));
    }
    assert!(!police.was_told("cau-giay"), "the district's record is not the police's to see");
    drop((an_hears, police_hear, outside));
    hub.stop().await;
    without.stop().await;
}
