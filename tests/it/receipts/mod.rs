//! What receipts promise: exactly what was delivered is on record, through
//! restarts and displaced streams; a hub that is killed forgets nothing that
//! was acknowledged, and makes nothing up; owners are told who received what
//! and how far a recall has got, and nobody else is told that there is a record.

mod asked;
mod kept;
mod recall;

use std::collections::{BTreeMap, BTreeSet};

use luytre::model::position::Position;
use luytre::model::principal::Role;
use luytre::store::chunk::View;
use luytre::store::keys::ReceiptPlace;
use luytre::store::receipts::Block;
use luytre::store::{Store, Tuning};
use luytre::wire::proto::v1;
use prost::Message as _;

use crate::harness::{TestHub, Witness};

/// A principal, an event and what it was for him.
type Delivery = (String, Vec<u8>, i32);

/// What the receipts of a hub that does not run say was delivered.
fn on_record(hub: &TestHub) -> BTreeSet<Delivery> {
    let store = Store::open_read_only(&hub.data_dir(), &Tuning::default()).unwrap();
    let mut events = BTreeMap::new();
    let mut scan = store.scan(Position::ZERO).unwrap();
    while let Some((first, bytes)) = scan.peek().unwrap() {
        for item in View::parse(first, bytes).unwrap().items().flatten() {
            let told = v1::EventBatch::decode(item.body).unwrap();
            events.insert(item.position, told.events[0].event_id.to_vec());
        }
        scan.advance();
    }
    let mut walk = store.receipts_from(ReceiptPlace::default()).unwrap();
    let mut all = BTreeSet::new();
    while let Some((_, encoded)) = walk.next(|_| true).unwrap() {
        for receipt in Block::decode(&encoded).unwrap().receipts {
            let party = store.receipt_party(receipt.party).unwrap().unwrap();
            if !party.streams {
                continue;
            }
            let who = party.principal.as_str();
            for run in receipt.told.births() {
                for raw in run.first.raw()..run.first.raw() + run.count {
                    all.insert((who.to_owned(), events[&Position::from_raw(raw)].clone(), 1));
                }
            }
            for other in receipt.told.others() {
                let kind = i32::from(other.kind.unwrap().number());
                all.insert((who.to_owned(), events[&other.position].clone(), kind));
            }
        }
    }
    all
}

/// A principal of the hub's own.
fn witness(hub: &TestHub, organisation: &str, name: &str) -> Witness {
    Witness::new(&hub.peer(organisation, name))
}

/// Who received an indicator, as the hub tells this witness.
async fn recipients(asker: &Witness, name: &str) -> Result<v1::ListRecipientsResponse, tonic::Status> {
    let request = v1::ListRecipientsRequest { indicator: name.to_owned(), ..Default::default() };
    asker.call("ReceiptService/ListRecipients", &request).await
}

/// Each organisation that received it, and in which ways.
fn ways(told: &v1::ListRecipientsResponse) -> Vec<(&str, Vec<v1::ReceiptWay>)> {
    let ways = |one: &v1::Recipient| one.received.as_ref().unwrap().ways().collect();
    let all = told.recipients.iter();
    let mut all: Vec<_> =
        all.map(|one| (one.organisation.strip_prefix("organisations/").unwrap(), ways(one))).collect();
    all.sort_unstable_by_key(|(slug, _)| *slug);
    all
}

const MEMBER: [Role; 3] = [Role::Publisher, Role::Subscriber, Role::Analyst];
