//! What points to a masked source though it is not named: neighbours, and what
//! was told of the record while it was open.

use luytre::hub::error::Reason;
use luytre::model::indicator::{Draft, Observable};
use luytre::model::invalid;
use luytre::model::marking::{Caveats, Marking, Recipients, Tlp};
use luytre::model::sighting::{Outcome, SightingDraft};
use uuid::Uuid;

use super::support::{Engine, block_on, slug};

const ALPHA: usize = 0;
const BRAVO: usize = 1;
const CHARLIE: usize = 2;

fn amber(to: &[usize], caveats: Caveats) -> Marking {
    let organisations = to.iter().map(|&org| slug(org)).collect();
    Marking { tlp: Tlp::Amber, recipients: Recipients { organisations, ..Recipients::default() }, caveats }
}

fn draft(value: u8, caveats: Caveats) -> Draft {
    Draft::new(Observable::Ipv4([192, 0, 2, value].into()), amber(&[BRAVO, CHARLIE], caveats))
}

async fn publish(hub: &Engine, org: usize, draft: Draft) -> Uuid {
    let answer = hub.hub.publish(&hub.caller(org), Uuid::new_v4(), vec![Ok(draft)]).await.unwrap();
    answer.into_iter().next().unwrap().unwrap().id
}

fn sighting(indicator: Uuid, marking: Option<Marking>) -> SightingDraft {
    SightingDraft {
        indicator,
        outcome: Outcome::SeenBlocked,
        count: 1,
        first_seen: None,
        last_seen: None,
        note: String::new(),
        marking,
    }
}

#[test]
fn one_request_holds_masked_items_or_open_ones_and_a_mixed_one_stores_nothing() {
    block_on(async {
        let hub = Engine::new();
        let caller = hub.caller(ALPHA);
        let mixed = vec![Ok(draft(1, Caveats::NONE)), Ok(draft(2, Caveats::MASKED_SOURCE))];
        let refused = hub.hub.publish(&caller, Uuid::new_v4(), mixed).await.unwrap_err();
        assert_eq!(refused.reason, Reason::Input(invalid::Reason::SourcesMixed));
        assert_eq!(refused.fields[0].field, "indicators[1].marking.caveats.masked_source");
        assert_eq!(hub.hub.statistics().items, 0);
        for caveats in [Caveats::NONE, Caveats::MASKED_SOURCE] {
            let alike = vec![Ok(draft(3, caveats)), Ok(draft(4, caveats))];
            assert!(hub.hub.publish(&caller, Uuid::new_v4(), alike).await.unwrap().iter().all(Result::is_ok));
        }
        let seen = publish(&hub, BRAVO, draft(5, Caveats::NONE)).await;
        let masked = amber(&[BRAVO], Caveats::MASKED_SOURCE);
        let mixed = vec![Ok(sighting(seen, Some(masked))), Ok(sighting(seen, None))];
        let reporter = hub.caller(CHARLIE);
        let refused = hub.hub.report_sightings(&reporter, Uuid::new_v4(), mixed).await.unwrap_err();
        assert_eq!(refused.reason, Reason::Input(invalid::Reason::SourcesMixed));
    });
}
