//! What the kinds of observable promise: every one is published, listed and
//! looked up under its own field, and rules come back to the last byte.

use luytre::model::indicator::Kind;
use luytre::model::principal::Role;
use luytre::wire::observable::{field, flat, of_text};
use luytre::wire::proto::v1::{self, publish_result::Outcome};
use uuid::Uuid;

use crate::harness::{Peer, TestHub, batch, draft};

async fn start() -> (TestHub, Peer) {
    let hub = TestHub::builder()
        .principal("a", "system/feed", &[Role::Publisher, Role::Subscriber, Role::Analyst])
        .start()
        .await;
    let peer = hub.peer("a", "system/feed");
    (hub, peer)
}

fn of(observable: v1::Observable) -> v1::IndicatorDraft {
    v1::IndicatorDraft { observable: Some(observable), ..draft("") }
}

async fn publish(peer: &Peer, drafts: Vec<v1::IndicatorDraft>) -> Vec<Outcome> {
    let answer = peer.exchange().publish_indicators(batch(Uuid::new_v4(), drafts)).await.unwrap();
    answer.into_inner().results.into_iter().map(|result| result.outcome.unwrap()).collect()
}

async fn lookup(peer: &Peer, observables: Vec<v1::Observable>) -> Vec<v1::LookupResult> {
    let asked = v1::LookupObservablesRequest { observables, ..Default::default() };
    let answers = peer.exchange().lookup_observables(tokio_stream::iter([asked])).await;
    answers.unwrap().into_inner().message().await.unwrap().unwrap().results
}

async fn list(peer: &Peer, kinds: Vec<i32>) -> Vec<v1::Indicator> {
    let filter = Some(v1::IndicatorFilter { kinds, ..Default::default() });
    let request = v1::ListIndicatorsRequest { filter, page_size: 100, ..Default::default() };
    peer.exchange().list_indicators(request).await.unwrap().into_inner().indicators
}

/// For each kind the first vector that names it and is taken: as given, and
/// canonical.
fn samples() -> Vec<(Kind, String, String)> {
    let unescape = |text: &str| {
        let mut out = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("\\u{") {
            let (code, after) = after.split_once('}').unwrap();
            out.push_str(before);
            out.push(char::from_u32(u32::from_str_radix(code, 16).unwrap()).unwrap());
            rest = after;
        }
        out + rest
    };
    let mut samples: Vec<(Kind, String, String)> = Vec::new();
    for file in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/vectors")).unwrap() {
        for line in std::fs::read_to_string(file.unwrap().path()).unwrap().lines() {
            let columns: Vec<&str> = line.split('\t').collect();
            if let [given, asked, verdict, canonical] = columns[..]
                && asked == verdict
                && let Some(kind) = Kind::from_name(asked)
                && !samples.iter().any(|(known, ..)| *known == kind)
            {
                samples.push((kind, unescape(given), unescape(canonical)));
            }
        }
    }
    samples.sort();
    assert_eq!(samples.iter().map(|(kind, ..)| *kind).collect::<Vec<_>>(), Kind::ALL);
    samples
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_kind_is_published_listed_and_found_in_canonical_form() {
    let (mut hub, peer) = start().await;
    let samples = samples();
    let drafts =
        samples.iter().map(|(kind, given, _)| of(of_text(Some(*kind), given.clone()))).collect::<Vec<_>>();
    for (outcome, (kind, ..)) in publish(&peer, drafts).await.iter().zip(&samples) {
        assert!(matches!(outcome, Outcome::Published(_)), "{kind}: {outcome:?}");
    }
    // From here on out of what is on the disk.
    assert!(hub.terminate().await.success());
    hub.verify();
    hub.serve().await;
    let peer = hub.peer("a", "system/feed");
    for (kind, _, canonical) in &samples {
        let listed = list(&peer, vec![i32::from(kind.number())]).await;
        let [one] = &listed[..] else { panic!("{kind}: {} listed", listed.len()) };
        let (listed_kind, value, _) = flat(one.observable.clone());
        assert_eq!((listed_kind, &value), (Some(*kind), canonical), "field {}", field(*kind));
    }
    let asked = samples.iter().map(|(kind, given, _)| of_text(Some(*kind), given.clone())).collect();
    for (result, (kind, ..)) in lookup(&peer, asked).await.iter().zip(&samples) {
        assert_eq!(result.matches.len(), 1, "{kind}: {result:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_text_under_three_kinds_is_three_indicators() {
    let (_hub, peer) = start().await;
    let text = "e7d705a3286e19ea42f587b344ee6865";
    let kinds = [Kind::Md5, Kind::Imphash, Kind::Ja3];
    let drafts = kinds.map(|kind| of(of_text(Some(kind), text.to_owned()))).to_vec();
    let names: std::collections::BTreeSet<_> = publish(&peer, drafts)
        .await
        .into_iter()
        .map(|outcome| match outcome {
            Outcome::Published(published) => published.name,
            Outcome::Rejected(status) => panic!("{status:?}"),
        })
        .collect();
    assert_eq!(names.len(), 3);
    let found = lookup(&peer, vec![of_text(None, text.to_owned())]).await;
    assert_eq!(found[0].matches.len(), 1, "detected, it is the MD5 of a file alone");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_is_found_by_its_sha_512_beside_its_sha_256() {
    let (_hub, peer) = start().await;
    let hashes = v1::FileHashes { sha256: "a".repeat(64), sha512: "B".repeat(128), ..Default::default() };
    let both = v1::Observable { value: Some(v1::observable::Value::File(hashes)) };
    publish(&peer, vec![of(both)]).await;
    let asked = [Kind::Sha512, Kind::Sha256].into_iter().zip(["b".repeat(128), "a".repeat(64)]);
    let asked = asked.map(|(kind, text)| of_text(Some(kind), text)).collect();
    let found = lookup(&peer, asked).await;
    assert_eq!(found[0].matches, found[1].matches);
    assert_eq!(found[0].matches.len(), 1);
    let [listed] = &list(&peer, vec![v1::ObservableKind::Sha256.into()]).await[..] else {
        panic!("one file")
    };
    assert_eq!(flat(listed.observable.clone()).2.sha512, "b".repeat(128));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rule_of_the_most_bytes_comes_back_whole_and_a_longer_one_is_refused() {
    let (_hub, peer) = start().await;
    let head = "rule a {\r\n\tcondition: true // hxxp[.]\n}\n";
    let rule = format!("{head}{}", "/".repeat(64 * 1024 - head.len()));
    let one = |text: &str| of(of_text(Some(Kind::Yara), text.to_owned()));
    let longer = format!("{rule}/");
    // As many as a request holds, so that a commit of large bodies is met too.
    let many = (0..60).map(|n| one(&format!("{}{n:04}", &rule[..rule.len() - 4])));
    let outcomes = publish(&peer, many.chain([one(&longer), one(&rule)]).collect()).await;
    let refused: Vec<_> = outcomes
        .iter()
        .enumerate()
        .filter(|(_, o)| matches!(o, Outcome::Rejected(_)))
        .map(|(n, _)| n)
        .collect();
    assert_eq!(refused, [60], "the longer one alone");
    let found = lookup(&peer, vec![of_text(Some(Kind::Yara), rule.clone())]).await;
    let name = found[0].matches[0].name.clone();
    let got = peer
        .exchange()
        .get_indicator(v1::GetIndicatorRequest { name, as_of: None })
        .await
        .unwrap()
        .into_inner();
    assert_eq!(flat(got.indicator.unwrap().observable).1, rule);
}
