//! What is hidden from a caller is, for him, what is absent, on the wire:
//! every method of every service answers the same with and without a hidden
//! record, down to the length of each message, header and trailer, and asks
//! the same of the store (`hidden.rs` shows it beneath the transport).
//!
//! Masked before comparing: ids (each is told as the number of its first
//! appearance), what is in tokens and ids of events (not their length), the
//! serial number and last day of the caller's certificate, and of times and
//! versions what is below a second, where the hub leaves random gaps. The
//! calendar moves by a second with each call.

mod asker;
mod mask;
mod script;

use std::collections::BTreeSet;

use luytre::model::principal::Role;
use luytre::wire::proto::v1;
use time::macros::date;
use uuid::Uuid;

use self::asker::{Asker, Cost, Told};
use crate::authz_matrix::methods;
use crate::harness::{Builder, Faced, TestHub, Witness, amber, draft};

const VIEWER: &str = "viewer";
/// The hidden values. A list says to think twice about the first, so that
/// something of it waits for a second person.
const SECRET: &str = "secret.gov.kh";
const LATER: &str = "198.51.96.0/20";
const SYSTEM: &str = "system/soc";
/// Somebody of the viewer's organisation who is no auditor.
const READER: &str = "user/reader";

/// What is hidden from the viewer.
#[derive(Debug, Clone)]
enum Hidden {
    /// Nothing.
    Nothing,
    /// These two values, marked so.
    Records(v1::Marking, [&'static str; 2]),
    /// What another found of an open record.
    Sighting,
    /// That an open record is a republication of one that is hidden; and the
    /// same record where there is no other.
    Original(bool),
    /// That others have assets of their own, the viewer's and what is open among
    /// them.
    Assets,
    /// Who published records, and reported a sighting, that the viewer sees.
    Source(&'static str),
}

/// A hub with what is hidden in it.
struct Hub {
    served: Faced,
    hidden: Hidden,
    owner: Witness,
    other: Witness,
    /// The hidden record, or nothing.
    secret: String,
    /// The second hidden record.
    later: Option<String>,
    open: String,
    own: String,
    named_person: String,
    /// Events that the viewer sees of all that.
    shown: u32,
    /// Records that stand, of those that he sees.
    standing: u32,
}

fn builder() -> Builder {
    let builder =
        ["owner", "another-owner", "other", "named"].into_iter().fold(TestHub::builder(), |builder, slug| {
            builder.principal(slug, SYSTEM, &[Role::Publisher, Role::Subscriber, Role::Analyst])
        });
    builder
        .principal(VIEWER, SYSTEM, &Role::ALL)
        .principal(VIEWER, "user/colleague", &[Role::Analyst])
        .principal(VIEWER, READER, &[Role::Publisher, Role::Analyst])
        .group("those", &["named", "other"])
        .lead_unit("named")
}

/// What `text` asserts, so marked.
fn marked(text: &str, marking: v1::Marking) -> v1::IndicatorDraft {
    let (labels, family) = (vec!["c2".to_owned()], "Họ A".to_owned());
    let recommended_action = v1::RecommendedAction::Block.into();
    v1::IndicatorDraft { marking: Some(marking), labels, family, recommended_action, ..draft(text) }
}

fn masked(marking: v1::Marking) -> v1::Marking {
    let caveats = v1::Caveats { masked_source: true, ..v1::Caveats::default() };
    v1::Marking { caveats: Some(caveats), ..marking }
}

impl Hub {
    async fn with(hidden: Hidden) -> Self {
        let served = builder().face_on(date!(2026 - 01 - 05)).await;
        let owner = match hidden {
            Hidden::Source(slug) => slug,
            _ => "owner",
        };
        let [owner, other, named, viewer] =
            [owner, "other", "named", VIEWER].map(|slug| Witness::new(&served.peer(slug, SYSTEM)));
        let tick = || served.clock.advance(1_000_000);
        let hide = async |at: usize| {
            tick();
            let draft = match &hidden {
                Hidden::Records(marking, values) => marked(values[at], marking.clone()),
                Hidden::Source(_) => {
                    let open = draft(["masked-0.example", "masked-1.example"][at]);
                    v1::IndicatorDraft { marking: open.marking.map(masked), ..open }
                }
                Hidden::Original(true) if at == 0 => amber(draft(SECRET), &["named"]),
                Hidden::Nothing | Hidden::Sighting | Hidden::Assets | Hidden::Original(_) => return None,
            };
            let secret = owner.publish(draft).await;
            // So is what its owner allows another.
            let grant = v1::GrantRepublicationRequest {
                request_id: Uuid::new_v4().to_string(),
                indicator: secret.clone(),
                organisation: "organisations/named".to_owned(),
                widest: crate::harness::draft("").marking,
                ..v1::GrantRepublicationRequest::default()
            };
            let granted = owner
                .call::<v1::GrantRepublicationResponse>("RepublicationService/GrantRepublication", &grant)
                .await;
            assert!(granted.is_ok() || matches!(hidden, Hidden::Records(..)), "{granted:?}");
            Some(secret)
        };
        tick();
        let open = other.publish(draft("open-0.example")).await;
        let secret = hide(0).await;
        tick();
        other.publish(draft("open-1.example")).await;
        tick();
        other.publish(marked("open-2.example", draft("").marking.unwrap())).await;
        tick();
        let own = viewer.publish(amber(draft("own.example"), &["named"])).await;
        tick();
        let sighting = v1::Sighting {
            indicator: open.clone(),
            outcome: v1::SightingOutcome::SeenBlocked.into(),
            note: "on our own machines".to_owned(),
            ..v1::Sighting::default()
        };
        let (records, events) = match hidden {
            Hidden::Nothing | Hidden::Records(..) => (0, 0),
            Hidden::Assets => {
                for witness in [&owner, &other, &named] {
                    let request = v1::ChangeAssetsRequest {
                        request_id: Uuid::new_v4().to_string(),
                        add: vec!["198.51.100.0/24".into(), SECRET.into(), "open-0.example".into()],
                        ..v1::ChangeAssetsRequest::default()
                    };
                    let method = "AssetService/ChangeAssets";
                    witness.call::<v1::ChangeAssetsResponse>(method, &request).await.unwrap();
                }
                (0, 0)
            }
            Hidden::Original(hidden) => {
                let republication_of = secret.clone().filter(|_| hidden).unwrap_or_default();
                named.publish(v1::IndicatorDraft { republication_of, ..draft(SECRET) }).await;
                (1, 1)
            }
            Hidden::Sighting => {
                named.sight(sighting).await.unwrap();
                (0, 0)
            }
            Hidden::Source(_) => {
                let marking = Some(masked(draft("").marking.unwrap()));
                owner.sight(v1::Sighting { marking, ..sighting }).await.unwrap();
                (2, 3)
            }
        };
        let later = hide(1).await;
        Self {
            hidden,
            owner,
            other,
            secret: secret.unwrap_or_else(|| format!("indicators/{}", Uuid::new_v4())),
            later,
            open,
            own,
            named_person: served.spiffe("named", SYSTEM),
            shown: 4 + events,
            standing: 4 + records,
            served,
        }
    }

    /// Lets more happen: what is hidden changes and is taken back, and
    /// something open is published.
    async fn go_on(&self, asker: &Asker<'_>) {
        asker.tick();
        if let (Hidden::Records(marking, values), Some(later)) = (&self.hidden, &self.later) {
            let draft = marked(values[0], marking.clone());
            self.owner.publish(v1::IndicatorDraft { confidence: Some(90), ..draft }).await;
            let revocation = v1::Revocation { reason: 1, ..v1::Revocation::default() };
            let request = v1::RevokeIndicatorRequest {
                request_id: Uuid::new_v4().to_string(),
                name: later.clone(),
                revocation: Some(revocation),
                ..v1::RevokeIndicatorRequest::default()
            };
            let method = "ExchangeService/RevokeIndicator";
            self.owner.call::<v1::RevokeIndicatorResponse>(method, &request).await.unwrap();
        }
        asker.tick();
        self.other.publish(draft("marker.example")).await;
    }

    /// Lets somebody else's request take along what the hub owes by itself:
    /// word to owners of what was published before is written with the next
    /// commit, whosever that is, and would be counted there.
    async fn settle(&self, asker: &Asker<'_>) {
        asker.tick();
        self.other.publish(draft(&format!("settled-{}.example", asker.told.len()))).await;
    }

    /// All that the viewer is told.
    async fn tell(self) -> Vec<Told> {
        let peer = self.served.peer(VIEWER, SYSTEM);
        let mut asker = Asker::new(&self.served, &peer);
        asker.ids.meet(&self.secret);
        script::ask_all(&mut asker, &self).await;
        let mut all = methods(&peer).await;
        // Reflection answers in its first form as well, and does not say so.
        all.insert("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo".to_owned());
        assert_eq!(asker.asked.iter().map(|&method| method.to_owned()).collect::<BTreeSet<_>>(), all);
        let mut told = asker.told;
        let reader = self.served.peer(VIEWER, READER);
        let mut asker = Asker::new(&self.served, &reader);
        asker.ids.meet(&self.secret);
        script::ask_as_reader(&mut asker, &self).await;
        told.append(&mut asker.told);
        self.served.stop().await;
        told
    }
}

/// Every way to hide a record from the viewer.
fn markings(hub: &TestHub) -> Vec<v1::Marking> {
    let marking = |tlp: v1::Tlp| v1::Marking { tlp: tlp.into(), ..v1::Marking::default() };
    let to_named = |tlp| v1::Marking { organisations: vec!["organisations/named".into()], ..marking(tlp) };
    let to = |person: String| v1::Marking { principals: vec![person], ..marking(v1::Tlp::Red) };
    vec![
        to_named(v1::Tlp::Amber),
        to_named(v1::Tlp::AmberStrict),
        masked(to_named(v1::Tlp::Amber)),
        v1::Marking { groups: vec!["groups/those".into()], ..marking(v1::Tlp::AmberStrict) },
        to(hub.spiffe("named", SYSTEM)),
        to(hub.spiffe(VIEWER, "user/colleague")),
    ]
}

/// Compares, call by call.
fn compare(what: &str, told: &[Told], expected: &[Told], costs: impl Fn(Cost) -> bool) {
    for (told, expected) in told.iter().zip(expected) {
        assert_eq!(told.what, expected.what, "{what}");
        assert_eq!(told.answer, expected.answer, "{what}: {}", told.what);
        if costs(told.cost) {
            assert_eq!(told.calls, expected.calls, "{what}: {}", told.what);
        }
    }
    assert_eq!(told.len(), expected.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_call_about_what_is_hidden_is_answered_and_costs_as_about_what_is_absent() {
    let without = Hub::with(Hidden::Nothing).await;
    let all = markings(&without.served);
    let absent = without.tell().await;
    assert!(absent.len() > 100);
    for marking in all {
        let what = format!("{marking:?}");
        let of_another = Hidden::Records(marking.clone(), ["another.example", "192.0.2.0/25"]);
        let with = Hub::with(Hidden::Records(marking, [SECRET, LATER])).await.tell().await;
        let elsewhere = Hub::with(of_another).await.tell().await;
        compare(&what, &with, &absent, |cost| cost == Cost::Nothing);
        compare(&what, &with, &elsewhere, |cost| cost != Cost::Open);
    }
    let with = Hub::with(Hidden::Sighting).await.tell().await;
    compare("a sighting", &with, &absent, |cost| cost == Cost::Nothing);
    let with = Hub::with(Hidden::Assets).await.tell().await;
    compare("assets of others", &with, &absent, |cost| cost == Cost::Nothing);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_call_tells_who_stands_behind_a_masked_record() {
    let one = Hub::with(Hidden::Source("owner")).await.tell().await;
    let other = Hub::with(Hidden::Source("another-owner")).await.tell().await;
    compare("masked", &one, &other, |cost| cost == Cost::Nothing);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_call_tells_that_a_record_is_a_republication_of_a_hidden_one() {
    let with = Hub::with(Hidden::Original(true)).await.tell().await;
    let without = Hub::with(Hidden::Original(false)).await.tell().await;
    compare("a republication", &with, &without, |cost| cost == Cost::Nothing);
}
