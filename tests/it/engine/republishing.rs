//! What a republication may say, and to whom it says of what it is one.

use luytre::hub::error::Reason;
use luytre::hub::{Open, Published, Rejection, Start};
use luytre::model::indicator::{Draft, normalise};
use luytre::model::marking::{Caveats, Marking, Recipients, Tlp};
use luytre::model::republication::Terms;
use luytre::wire::convert::republication::Grant;
use luytre::wire::proto::v1;
use prost::Message as _;
use uuid::Uuid;

use super::support::{Engine, block_on, slug};

const OWNER: usize = 0;
const LEAD: usize = 1;
const NAMED: usize = 2;
const MD5: &str = "d41d8cd98f00b204e9800998ecf8427e";
const SHA1: &str = "da39a3ee5e6b4b0d3255bfef95601890afd80709";

fn amber() -> Marking {
    let organisations = vec![slug(LEAD), slug(NAMED)];
    Marking {
        tlp: Tlp::Amber,
        recipients: Recipients { organisations, ..Recipients::default() },
        caveats: Caveats::NONE,
    }
}

fn with(caveats: Caveats) -> Marking {
    Marking { caveats, ..Marking::open(Tlp::Green) }
}

async fn put(hub: &Engine, org: usize, draft: Draft) -> Result<Published, Rejection> {
    hub.hub.publish(&hub.caller(org), Uuid::new_v4(), vec![Ok(draft)]).await.unwrap().remove(0)
}

/// An indicator of the owner's, AMBER to the lead unit and another, and the
/// lead unit's leave to take it as far as `widest`.
async fn original(hub: &Engine, value: &str, widest: Marking) -> Uuid {
    let observable = normalise::detect(value).unwrap().observable;
    let indicator = put(hub, OWNER, Draft::new(observable, amber())).await.unwrap().id;
    let terms = Terms { widest, until: None };
    let grant = Grant { indicator, organisation: slug(LEAD), terms, note: String::new() };
    hub.hub.grant_republication(&hub.caller(OWNER), Uuid::new_v4(), grant).await.unwrap();
    indicator
}

fn again(value: &str, marking: Marking, of: Uuid) -> Draft {
    let observable = normalise::detect(value).unwrap().observable;
    Draft { republication_of: Some(of), ..Draft::new(observable, marking) }
}

/// What `org` is told that `id` is a republication of, whichever way it looks.
async fn told(hub: &Engine, org: usize, id: Uuid) -> String {
    let got = hub.hub.get(&hub.caller(org), id).await.unwrap().indicator;
    let got = v1::Indicator::decode(got).unwrap().republication_of;
    for start in [Start::Earliest, Start::CurrentState] {
        let open = Open { start: Some(start), credit: 1_000, ..Open::default() };
        let mut stream = hub.stream(org, open).await.unwrap();
        let name = format!("indicators/{id}");
        let event = |event: &super::support::Event| {
            event.indicator.as_ref().is_some_and(|indicator| indicator.name == name)
        };
        let sent = stream.take_until(1_000, event).await.pop().unwrap();
        let of = sent.disclosure.map(|told| told.republication_of).unwrap_or_default();
        assert_eq!(of, got);
        stream.leave().await;
    }
    let page =
        hub.hub.list(&hub.caller(org), luytre::model::query::IndicatorFilter::default(), 100, "").await;
    let listed = page.unwrap().indicators.into_iter().map(|bytes| v1::Indicator::decode(bytes).unwrap());
    let listed: Vec<_> = listed.filter(|indicator| indicator.name == format!("indicators/{id}")).collect();
    assert_eq!(listed[0].republication_of, got);
    got
}

#[test]
fn what_is_republished_under_a_mask_does_not_give_away_by_whom() {
    block_on(async {
        let hub = Engine::with(|_| ());
        let of = original(&hub, MD5, with(Caveats::NONE)).await;
        let open = put(&hub, LEAD, again(MD5, with(Caveats::NONE), of)).await.unwrap().id;
        assert_eq!(told(&hub, NAMED, open).await, format!("indicators/{of}"));
        // Few have leave: the original would tell whose this is.
        let masked = put(&hub, LEAD, again(MD5, with(Caveats::MASKED_SOURCE), of)).await.unwrap().id;
        assert_eq!(masked, open);
        assert_eq!(told(&hub, NAMED, masked).await, "");
        assert_eq!(told(&hub, LEAD, masked).await, format!("indicators/{of}"));
        assert_eq!(told(&hub, OWNER, masked).await, format!("indicators/{of}"));
        hub.close().await;
    });
}

#[test]
fn the_advice_to_watch_and_not_to_block_goes_along() {
    block_on(async {
        let hub = Engine::with(|_| ());
        let advised = with(Caveats::WATCH_DO_NOT_BLOCK);
        let of = original(&hub, MD5, advised.clone()).await;
        let refused = put(&hub, LEAD, again(MD5, with(Caveats::NONE), of)).await.unwrap_err();
        assert_eq!(refused.reason, Reason::RepublicationTooWide);
        put(&hub, LEAD, again(MD5, advised, of)).await.unwrap();
        let dropped = put(&hub, LEAD, again(MD5, with(Caveats::NONE), of)).await.unwrap_err();
        assert_eq!(dropped.reason, Reason::RepublicationTooWide);
        hub.close().await;
    });
}

#[test]
fn a_later_version_names_no_other_file() {
    block_on(async {
        let hub = Engine::with(|_| ());
        let of = original(&hub, MD5, with(Caveats::NONE)).await;
        put(&hub, LEAD, again(MD5, with(Caveats::NONE), of)).await.unwrap();
        let hashes = normalise::Hashes { md5: Some(MD5), sha1: Some(SHA1), ..Default::default() };
        let (observable, aliases) = normalise::file(hashes).unwrap();
        let more = Draft { aliases, ..Draft::new(observable, with(Caveats::NONE)) };
        assert!(put(&hub, LEAD, more).await.is_err(), "it says more than the original");
        hub.close().await;
    });
}
