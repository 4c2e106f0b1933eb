//! Who is told who received what, and what of it.

use luytre::model::principal::Role;
use luytre::wire::proto::v1;
use prost::Message as _;
use time::macros::date;
use tonic::Code;
use v1::ReceiptWay as Way;

use super::{MEMBER, recipients, ways, witness};
use crate::harness::witness::refusal;
use crate::harness::{Builder, Faced, TestHub, Witness, amber, draft, raw, text_value};

const SOC: &str = "system/soc";
const AUDITOR: &str = "user/auditor";
const VALUE: &str = "received.example";

fn builder() -> Builder {
    ["owner", "other", "lead", "third"]
        .into_iter()
        .fold(TestHub::builder().lead_unit("lead"), |builder, slug| builder.principal(slug, SOC, &MEMBER))
        .principal("other", "user/an", &[Role::Subscriber, Role::Analyst])
        .principal("other", AUDITOR, &[Role::Auditor])
        .principal("hub", AUDITOR, &[Role::Auditor])
        .principal("hub", "user/operator", &[Role::Operator])
}

async fn start() -> Faced {
    builder().face_on(date!(2026 - 01 - 05)).await
}

/// The principals that a witness is told of.
fn principals(told: &v1::ListRecipientsResponse) -> Vec<&str> {
    let mut all: Vec<_> =
        told.recipients.iter().flat_map(|one| one.holders.iter().map(|h| h.principal.as_str())).collect();
    all.sort_unstable();
    all
}

async fn refused(asker: &Witness, name: &str) -> (Code, String) {
    refusal(&recipients(asker, name).await.unwrap_err())
}

fn absent() -> (Code, String) {
    (Code::NotFound, "NOT_FOUND".to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_owner_the_lead_and_the_hubs_auditors_are_told_and_for_all_others_there_is_no_record() {
    let hub = start().await;
    let [owner, other, lead, third] =
        ["owner", "other", "lead", "third"].map(|slug| witness(&hub, slug, SOC));
    let [own_auditor, auditor] = ["other", "hub"].map(|slug| witness(&hub, slug, AUDITOR));
    let name = owner.publish(amber(draft(VALUE), &["other"])).await;
    owner.get(&name).await.unwrap();
    other.get(&name).await.unwrap();

    let told = recipients(&owner, &name).await.unwrap();
    assert_eq!(ways(&told), [("other", vec![Way::Read]), ("owner", vec![Way::Read])]);
    assert_eq!(principals(&told), [owner.identity()], "of others no principal");
    let told = recipients(&auditor, &name).await.unwrap();
    assert_eq!(told.recipient_count, 2);
    assert_eq!(principals(&told), [other.identity(), owner.identity()]);
    let holder = &told.recipients.iter().find(|one| one.organisation.ends_with("other")).unwrap().holders[0];
    assert!(holder.audit_record.is_some() && !holder.certificate_serial.is_empty(), "{holder:?}");
    assert!(!auditor.was_told(VALUE), "an auditor sees no content");

    for asker in [&other, &lead, &third, &own_auditor] {
        assert_eq!(refused(asker, &name).await, absent(), "{}", asker.identity());
    }
    // Who leads is told of what it may see.
    let seen = owner.publish(amber(draft("seen.example"), &["lead", "other"])).await;
    other.get(&seen).await.unwrap();
    let told = recipients(&lead, &seen).await.unwrap();
    assert_eq!((ways(&told), principals(&told)), (vec![("other", vec![Way::Read])], vec![]));
    assert_eq!(refused(&other, &seen).await, absent());
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_not_ask_of_a_record_costs_it_the_same_reads_whether_he_sees_it_or_not() {
    let hub = start().await;
    let [owner, third] = ["owner", "third"].map(|slug| witness(&hub, slug, SOC));
    let hidden = owner.publish(amber(draft(VALUE), &["other"])).await;
    let open = owner.publish(draft("open.example")).await;
    witness(&hub, "other", SOC).get(&hidden).await.unwrap();
    let channel = hub.peer("third", SOC).channel();
    let mut costs = Vec::new();
    for name in [&hidden, &open] {
        let request = v1::ListRecipientsRequest { indicator: name.clone(), ..Default::default() };
        let said = vec![request.encode_to_vec().into()];
        let before = hub.engine.store_calls();
        let answer = raw::call(&channel, "/luytre.v1.ReceiptService/ListRecipients", said).await;
        costs.push((hub.engine.store_calls().since(&before), refusal(&answer.status.unwrap())));
    }
    assert_eq!(costs[0], costs[1]);
    assert_eq!(costs[0].1, absent());
    assert_eq!(costs[0].0.walks, 0, "no receipt is looked at for him");
    assert_eq!(refused(&third, &format!("indicators/{}", uuid::Uuid::new_v4())).await, absent());
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_persons_of_a_red_record_are_told_to_its_owner_and_to_no_lead() {
    let hub = start().await;
    let [owner, lead] = ["owner", "lead"].map(|slug| witness(&hub, slug, SOC));
    let person = witness(&hub, "other", "user/an");
    let principals_of_it = vec![person.identity().to_owned()];
    let marking =
        v1::Marking { tlp: v1::Tlp::Red.into(), principals: principals_of_it, ..Default::default() };
    let name = owner.publish(v1::IndicatorDraft { marking: Some(marking), ..draft("red.example") }).await;
    person.get(&name).await.unwrap();
    let told = recipients(&owner, &name).await.unwrap();
    assert_eq!(principals(&told), [person.identity()]);
    assert_eq!(refused(&lead, &name).await, absent());
    assert_eq!(refused(&witness(&hub, "other", SOC), &name).await, absent());
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_way_in_which_an_indicator_is_read_leaves_a_receipt() {
    let hub = start().await;
    let [owner, other] = ["owner", "other"].map(|slug| witness(&hub, slug, SOC));
    let name = owner.publish(draft(VALUE)).await;
    let of_it = async || {
        let told = recipients(&owner, &name).await.unwrap();
        ways(&told).into_iter().flat_map(|(_, ways)| ways).collect::<Vec<_>>()
    };
    assert_eq!(of_it().await, [], "nobody has it yet");
    other.lookup("never.example").await;
    assert_eq!(of_it().await, []);
    other.lookup(VALUE).await;
    assert_eq!(of_it().await, [Way::LookedUp]);
    let format = v1::ExportFormat::Csv.into();
    let request = v1::ExportIndicatorsRequest { format, ..Default::default() };
    let said = vec![request.encode_to_vec().into()];
    let channel = hub.peer("other", SOC).channel();
    assert!(raw::call(&channel, "/luytre.v1.HistoryService/ExportIndicators", said).await.status.is_none());
    assert_eq!(of_it().await, [Way::LookedUp, Way::Exported]);
    other.list().await;
    assert_eq!(of_it().await, [Way::Read, Way::LookedUp, Way::Exported]);

    // Each of the others by itself.
    let fresh = async |value: &str| owner.publish(draft(value)).await;
    let read = [fresh("got.example").await, fresh("known.example").await, fresh("past.example").await];
    other.get(&read[0]).await.unwrap();
    let value = v1::GetObservableRequest { observable: Some(text_value("known.example")) };
    other.call::<v1::GetObservableResponse>("HistoryService/GetObservable", &value).await.unwrap();
    let versions = v1::ListIndicatorVersionsRequest { name: read[2].clone(), ..Default::default() };
    other
        .call::<v1::ListIndicatorVersionsResponse>("HistoryService/ListIndicatorVersions", &versions)
        .await
        .unwrap();
    for name in &read {
        assert_eq!(ways(&recipients(&owner, name).await.unwrap()), [("other", vec![Way::Read])], "{name}");
    }
    // What was refused was not given.
    let hidden = owner.publish(amber(draft("hidden.example"), &["third"])).await;
    other.get(&hidden).await.unwrap_err();
    assert_eq!(recipients(&owner, &hidden).await.unwrap().recipient_count, 0);
    hub.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn receipts_past_their_time_are_cut_and_no_newer_one_is_lost() {
    const YEAR: u64 = 365 * 24 * 3_600_000_000;
    let hub = start().await;
    let [owner, other] = ["owner", "other"].map(|slug| witness(&hub, slug, SOC));
    let names = [owner.publish(draft("old.example")).await, owner.publish(draft("kept.example")).await];
    other.get(&names[0]).await.unwrap();
    let told = async |name: &str| recipients(&owner, name).await.unwrap();
    let count = async |name: &str| told(name).await.recipient_count;
    assert_eq!(count(&names[0]).await, 1);
    let begin = told(&names[0]).await;
    assert!(!begin.older_than_receipts, "nothing was handed over before");
    assert_eq!(hub.engine.cut_receipts().await.unwrap(), 0);
    hub.clock.advance(3 * YEAR);
    other.get(&names[1]).await.unwrap();
    assert_eq!(count(&names[1]).await, 1);
    assert!(hub.engine.cut_receipts().await.unwrap() > 0);
    assert_eq!((count(&names[0]).await, count(&names[1]).await), (0, 1));
    other.get(&names[0]).await.unwrap();
    assert_eq!(count(&names[0]).await, 1);
    // Of what is older it is said that not all is known; of what came since all is.
    let since = told(&names[0]).await;
    assert!(since.older_than_receipts);
    let seconds = |told: &v1::ListRecipientsResponse| told.receipts_begin_time.unwrap().seconds;
    assert!(seconds(&since) >= seconds(&begin));
    assert_eq!(hub.engine.statistics().receipts_begin, u64::try_from(seconds(&since)).unwrap());
    let young = owner.publish(draft("young.example")).await;
    other.get(&young).await.unwrap();
    assert_eq!((count(&young).await, told(&young).await.older_than_receipts), (1, false));
    assert_eq!(
        told(&young).await.receipts_begin_time,
        since.receipts_begin_time,
        "the same of whatever record"
    );
    hub.stop().await;
}
