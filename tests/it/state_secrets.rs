//! The promise that a hub takes no state secrets: what is marked as one is
//! refused wherever members write, what stands beside it is taken, and
//! nothing of its text is left behind.

use luytre::model::principal::Role;
use luytre::wire::proto::v1;
use tonic::Status;
use tonic_types::{RpcStatusExt as _, StatusExt as _};
use uuid::Uuid;

use crate::harness::secrets::Left;
use crate::harness::{TestHub, batch, draft};
use crate::secrets::store_in;

const REASON: &str = "STATE_SECRET_SUSPECTED";
/// What no trace of may be left.
const SECRET: &str = "hamcapquangsovohinh";

fn marked(marking: &str) -> String {
    format!("{marking}\n{SECRET}")
}

fn refused(status: &Status) -> (String, String) {
    let details = status.get_error_details();
    let field = details.bad_request().unwrap().field_violations[0].field.clone();
    (details.error_info().unwrap().reason.clone(), field)
}

/// The places of what was refused as a state secret, the rest being taken.
async fn publish(hub: &TestHub, request: v1::PublishIndicatorsRequest) -> Vec<Option<String>> {
    let mut client = hub.peer("a", "system/feed").exchange();
    let answer = client.publish_indicators(request).await.unwrap().into_inner();
    let verdict = |result: v1::PublishResult| match result.outcome.unwrap() {
        v1::publish_result::Outcome::Published(_) => None,
        v1::publish_result::Outcome::Rejected(status) => {
            assert!(!format!("{status:?}").contains(SECRET));
            assert!(status.message.contains("do not send it through this hub"), "{}", status.message);
            let details = status.get_error_details();
            assert_eq!(details.error_info().unwrap().reason, REASON);
            Some(details.bad_request().unwrap().field_violations[0].field.clone())
        }
    };
    answer.results.into_iter().map(verdict).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_marked_as_a_state_secret_is_refused_and_leaves_nothing_behind() {
    let mut hub = TestHub::builder()
        .principal("a", "system/feed", &[Role::Publisher, Role::Subscriber, Role::Analyst])
        .config("[log]\nfilter = \"trace\"")
        .start()
        .await;
    let described = |value: &str, description: String| v1::IndicatorDraft { description, ..draft(value) };
    let labelled = |value: &str, label: &str| v1::IndicatorDraft {
        labels: vec!["phishing".to_owned(), label.to_owned()],
        description: SECRET.to_owned(),
        ..draft(value)
    };
    let indicators = vec![
        described("one.example", "đổi mật khẩu, Luật Bảo vệ bí mật nhà nước".to_owned()),
        described("two.example", marked("T U Y Ệ T  M Ậ T")),
        described("toi-mat.example", "trang giả mạo".to_owned()),
        labelled("four.example", "toi-mat"),
        v1::IndicatorDraft { campaign: format!("Độ mật: Mật, {SECRET}"), ..draft("five.example") },
    ];
    let request = batch(Uuid::new_v4(), indicators);
    let expected = [
        None,
        Some("indicators[1].description".to_owned()),
        None,
        Some("indicators[3].labels".to_owned()),
        Some("indicators[4].campaign".to_owned()),
    ];
    assert_eq!(publish(&hub, request.clone()).await, expected);
    assert_eq!(publish(&hub, request).await, expected, "a repeat has the same answer");

    let mut client = hub.peer("a", "system/feed").exchange();
    let listed = client.list_indicators(v1::ListIndicatorsRequest::default()).await.unwrap().into_inner();
    let name = listed.indicators[0].name.clone();
    assert_eq!(listed.indicators.len(), 2);
    let sighting = v1::Sighting {
        indicator: name.clone(),
        outcome: 1,
        note: marked("Độ mật: Tối mật"),
        ..v1::Sighting::default()
    };
    let request_id = Uuid::new_v4().to_string();
    let reported = v1::ReportSightingsRequest { request_id, sightings: vec![sighting] };
    let answer = client.report_sightings(reported).await.unwrap().into_inner();
    let Some(v1::sighting_result::Outcome::Rejected(status)) = answer.results[0].outcome.clone() else {
        panic!("{answer:?}")
    };
    assert_eq!(
        status.get_error_details().bad_request().unwrap().field_violations[0].field,
        "sightings[0].note"
    );
    let revocation = v1::Revocation { reason: 2, note: marked("[MẬT]"), revoke_time: None };
    let request_id = Uuid::new_v4().to_string();
    let revoked =
        v1::RevokeIndicatorRequest { request_id, name, revocation: Some(revocation), ..Default::default() };
    let status = client.revoke_indicator(revoked).await.unwrap_err();
    assert_eq!(refused(&status), (REASON.to_owned(), "revocation.note".to_owned()));

    let (_, metrics) = hub.get("/metrics").await;
    let count = metrics.lines().find(|line| line.starts_with("luytre_state_secrets_refused_total "));
    assert_eq!(count, Some("luytre_state_secrets_refused_total 8"), "three twice, a sighting, a revocation");

    hub.terminate().await;
    let log = hub.log();
    let noted: Vec<_> = log.lines().filter(|line| line.contains("it looks like a state secret")).collect();
    assert_eq!(noted.len(), 4, "one of each request: {noted:#?}");
    assert!(noted.iter().all(|line| line.contains("/org/a/system/feed")), "{noted:#?}");
    let batch = ["description (Tuyệt mật)", "labels (Tối mật)", "campaign (Mật)"];
    assert!(batch.iter().all(|item| noted[0].contains(item)), "{noted:#?}");
    let left = [Left::read(hub.dir(), |_| false), Left::of_store(&store_in(&hub.data_dir()))];
    for left in left {
        assert_eq!(left.holds(SECRET.as_bytes()), None, "the text");
    }
    // The search finds what was taken.
    assert!(Left::of_store(&store_in(&hub.data_dir())).holds("trang giả mạo".as_bytes()).is_some());
}
