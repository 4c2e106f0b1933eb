//! A file that leaves the hub holds what its reader asked for and may see, the
//! same bytes for the same position, and in a format that its reader reads.

mod asked;
mod told;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use luytre::model::principal::Role;
use luytre::wire::proto::v1;
use tokio_util::sync::CancellationToken;
use tonic::Code;
use tonic_types::StatusExt as _;
use uuid::Uuid;
use v1::ExportFormat as Format;
use v1::ExportOmissionReason as Why;
use v1::publish_result::Outcome;

use self::told::{ask, export, of, unnumbered};
use crate::harness::patience::patiently;
use crate::harness::{Peer, TestHub, amber, batch, draft, luytre};

const FORMATS: [Format; 7] = [
    Format::JsonLines,
    Format::Csv,
    Format::Plain,
    Format::Hosts,
    Format::Rpz,
    Format::Suricata,
    Format::Iprep,
];

async fn hub() -> TestHub {
    TestHub::builder()
        .principal("a", "system/feed", &[Role::Publisher])
        .principal("b", "system/feed", &[Role::Publisher, Role::Analyst])
        .principal("c", "user/an", &[Role::Analyst, Role::Publisher, Role::Subscriber])
        .principal("c", "user/binh", &[Role::Analyst])
        .organisation("elsewhere")
        .start()
        .await
}

fn blocking(value: &str) -> v1::IndicatorDraft {
    v1::IndicatorDraft { recommended_action: v1::RecommendedAction::Block.into(), ..draft(value) }
}

fn watched(draft: v1::IndicatorDraft) -> v1::IndicatorDraft {
    let caveats = v1::Caveats { watch_do_not_block: true, ..v1::Caveats::default() };
    let marking = draft.marking.map(|marking| v1::Marking { caveats: Some(caveats), ..marking });
    v1::IndicatorDraft { marking, ..draft }
}

fn victim(value: &str) -> v1::IndicatorDraft {
    v1::IndicatorDraft { role: v1::IndicatorRole::Victim.into(), ..draft(value) }
}

async fn publish(peer: &Peer, drafts: Vec<v1::IndicatorDraft>) -> Vec<String> {
    let answer = peer.exchange().publish_indicators(batch(Uuid::new_v4(), drafts)).await.unwrap();
    let name = |result: v1::PublishResult| match result.outcome.unwrap() {
        Outcome::Published(published) => published.name,
        Outcome::Rejected(status) => panic!("{status:?}"),
    };
    answer.into_inner().results.into_iter().map(name).collect()
}

async fn revoke(peer: &Peer, name: &str) {
    let request = v1::RevokeIndicatorRequest {
        request_id: Uuid::new_v4().to_string(),
        name: name.to_owned(),
        revocation: Some(v1::Revocation { reason: 1, ..v1::Revocation::default() }),
        ..v1::RevokeIndicatorRequest::default()
    };
    peer.exchange().revoke_indicator(request).await.unwrap();
}

/// Something of every kind that a format has a place for, and more.
fn mixed(count: usize) -> Vec<v1::IndicatorDraft> {
    let one = |n: usize| {
        let value = match n % 6 {
            0 => format!("bad-{n}.example"),
            1 => format!("198.51.{}.{}", n / 250 % 250, n % 250 + 1),
            2 => format!("2001:db8::{n:x}"),
            3 => format!("203.0.{}.0/24", n % 250),
            4 => format!("http://bad-{n}.example/x?y=1"),
            _ => format!("{:064x}", n + 1),
        };
        let description = "=cmd|' /C calc'!A0 tiếng Việt, \"trích\"\r\n".repeat(4);
        v1::IndicatorDraft { description, labels: vec!["c2".to_owned()], ..blocking(&value) }
    };
    (0..count).map(one).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_position_gives_the_same_bytes_while_others_publish() {
    let hub = hub().await;
    let (a, b, c) = (hub.peer("a", "system/feed"), hub.peer("b", "system/feed"), hub.peer("c", "user/an"));
    let names = publish(&a, mixed(400)).await;
    let filters = [
        v1::IndicatorFilter::default(),
        v1::IndicatorFilter { labels: vec!["c2".into()], ..Default::default() },
        v1::IndicatorFilter { kinds: vec![v1::ObservableKind::Domain.into(), 1], ..Default::default() },
    ];
    let mut before = Vec::new();
    for format in FORMATS {
        for filter in &filters {
            let request = v1::ExportIndicatorsRequest { filter: Some(filter.clone()), ..of(format) };
            let whole = export(&c, &request).await;
            let rows = whole.closing.rows;
            assert!(rows > 60, "{format:?} {rows}");
            let request = v1::ExportIndicatorsRequest {
                position_token: whole.opening.position_token.clone(),
                ..request
            };
            before.push((request, whole));
        }
    }
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    let writing = tokio::spawn(async move {
        let mut rounds = 0;
        while !stopped.is_cancelled() {
            // New ones, new versions, other labels, and some taken back.
            let relabelled = mixed(60).into_iter().map(|draft| v1::IndicatorDraft {
                labels: vec![format!("round-{rounds}")],
                confidence: Some(rounds % 100),
                ..draft
            });
            publish(&a, relabelled.collect()).await;
            publish(&b, mixed(30)).await;
            if let Some(name) = names.get(100 + rounds as usize) {
                revoke(&a, name).await;
            }
            rounds += 1;
        }
        rounds
    });
    for (request, whole) in before.iter().chain(&before) {
        let again = export(&c, request).await;
        assert_eq!(again.content, whole.content, "{request:?}");
        assert_eq!((&again.closing, again.opening.tlp), (&whole.closing, whole.opening.tlp));
    }
    stop.cancel();
    assert!(patiently("the writers end", writing).await.unwrap() > 0);
    let (request, whole) = &before[0];
    let now =
        export(&c, &v1::ExportIndicatorsRequest { position_token: String::new(), ..request.clone() }).await;
    assert_ne!(now.content, whole.content);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_hidden_changes_no_byte_no_etag_and_no_piece() {
    let hub = hub().await;
    let (a, b, c) = (hub.peer("a", "system/feed"), hub.peer("b", "system/feed"), hub.peer("c", "user/an"));
    publish(&a, mixed(300)).await;
    let mut before = Vec::new();
    for format in FORMATS {
        before.push(export(&c, &of(format)).await);
    }
    // The same values and others, as victims and otherwise, narrow or for one
    // person, renewed and taken back.
    let person = hub.spiffe("c", "user/an");
    let red = |draft: v1::IndicatorDraft| v1::IndicatorDraft {
        marking: Some(v1::Marking {
            tlp: v1::Tlp::Red.into(),
            principals: vec![person.clone()],
            ..v1::Marking::default()
        }),
        ..draft
    };
    let objecting = |draft: v1::IndicatorDraft| v1::IndicatorDraft {
        role: v1::IndicatorRole::Victim.into(),
        recommended_action: 0,
        ..draft
    };
    for confidence in [1, 2] {
        let hidden = mixed(200).into_iter().enumerate().map(|(n, draft)| {
            let draft = v1::IndicatorDraft { confidence: Some(confidence), ..objecting(draft) };
            if n % 2 == 0 { amber(draft, &["elsewhere"]) } else { red(draft) }
        });
        let names = publish(&b, hidden.collect()).await;
        if confidence == 2 {
            revoke(&b, &names[0]).await;
        }
        let more = (0..50).map(|n| amber(blocking(&format!("hidden-{n}.example")), &["elsewhere"]));
        publish(&b, more.collect()).await;
    }
    for (format, before) in FORMATS.into_iter().zip(before) {
        let after = export(&c, &of(format)).await;
        assert_eq!(unnumbered(&after.content), unnumbered(&before.content), "{format:?}");
        assert_eq!(after.closing.etag, before.closing.etag, "{format:?}");
        assert_eq!(after.lengths, before.lengths, "{format:?}");
        if format != Format::Rpz {
            assert_eq!(after.closing, before.closing, "{format:?}");
        }
        let has = v1::ExportIndicatorsRequest { if_none_match: before.closing.etag, ..of(format) };
        assert_eq!(told::parts(&c, &has).await.unwrap(), [told::UNCHANGED], "{format:?}");
    }
    // For its owner it is there, but in no file if it is RED.
    let own = export(&b, &of(Format::JsonLines)).await;
    let reds = own.closing.omissions.iter().find(|one| one.reason() == Why::Red).unwrap();
    assert_eq!((own.closing.rows, reds.count), (300 + 99 + 50, 100));
    assert!(!own.text().contains("TLP:RED"));
    assert_eq!(own.opening.tlp(), v1::Tlp::Amber);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_for_blocking_holds_what_is_to_be_blocked_and_says_what_it_leaves_out() {
    let hub = hub().await;
    let (a, b, c) = (hub.peer("a", "system/feed"), hub.peer("b", "system/feed"), hub.peer("c", "user/an"));
    let family = |draft: v1::IndicatorDraft| v1::IndicatorDraft { family: "emotet".into(), ..draft };
    publish(
        &a,
        vec![
            family(blocking("evil.example")),
            family(blocking("torn.example")),
            family(amber(blocking("narrow.example"), &["c"])),
            family(watched(blocking("watched.example"))),
            family(victim("victim.example")),
            family(draft("silent.example")),
            family(blocking("com.vn")),
            family(blocking("http://evil.example/x")),
            family(blocking("198.51.100.7")),
            blocking("other.example"),
        ],
    )
    .await;
    // Of another owner, and of no family: the filter leaves it out, and it is
    // heard all the same.
    publish(&b, vec![victim("torn.example"), family(blocking("evil.example")), draft("198.51.100.7")]).await;
    let filter = v1::IndicatorFilter { families: vec!["emotet".into()], ..Default::default() };
    let request = |format| v1::ExportIndicatorsRequest { filter: Some(filter.clone()), ..of(format) };
    let hosts = export(&c, &request(Format::Hosts)).await;
    assert_eq!(
        hosts.text(),
        "# Luy Tre: domains to block. TLP:AMBER\n0.0.0.0 evil.example\n0.0.0.0 narrow.example\n"
    );
    assert_eq!(hosts.opening.tlp(), v1::Tlp::Amber);
    assert_eq!(hosts.opening.content_type, "text/plain; charset=utf-8");
    let left: Vec<_> = hosts.closing.omissions.iter().map(|one| (one.reason(), one.count)).collect();
    let expected = [
        // What is everyone's was not let out as what is to be blocked.
        (Why::NotRecommended, 2),
        (Why::Objected, 3),
        (Why::Repeated, 1),
        (Why::Kind, 2),
    ];
    assert_eq!((hosts.closing.rows, left.as_slice()), (2, expected.as_slice()));
    let plain = export(&c, &request(Format::Plain)).await;
    assert_eq!(plain.text(), "evil.example\nnarrow.example\nhttp://evil.example/x\n198.51.100.7\n");
    // A table tells of all, and what blocks holds nothing that is over.
    assert_eq!(export(&c, &request(Format::Csv)).await.closing.rows, 10);
    let states = vec![v1::IndicatorState::Revoked.into()];
    let revoked = v1::IndicatorFilter { states, ..Default::default() };
    for format in FORMATS {
        let request = v1::ExportIndicatorsRequest { filter: Some(revoked.clone()), ..of(format) };
        let table = matches!(format, Format::JsonLines | Format::Csv);
        assert_eq!(ask(&c, request).await.is_ok(), table, "{format:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_goes_on_where_it_was_cut() {
    let hub = hub().await;
    let (a, c) = (hub.peer("a", "system/feed"), hub.peer("c", "user/an"));
    publish(&a, mixed(600)).await;
    let request = of(Format::JsonLines);
    let whole = export(&c, &request).await;
    let pieces = whole.lengths.len();
    assert!(whole.content.len() > 3 * (64 << 10) && pieces > 5, "{} bytes", whole.content.len());
    assert!(whole.lengths.iter().all(|length| *length < (64 << 10) + 64), "{:?}", whole.lengths);
    publish(&a, vec![draft("later.example")]).await;
    let position_token = whole.opening.position_token.clone();
    let again = |offset| v1::ExportIndicatorsRequest {
        position_token: position_token.clone(),
        offset,
        ..request.clone()
    };
    let length = whole.content.len() as u64;
    for offset in [0, 1, 65_535, 65_536, 100_000, length] {
        let rest = ask(&c, again(offset)).await.unwrap();
        assert_eq!(rest.content, whole.content[offset as usize..], "{offset}");
        assert_eq!(rest.closing, whole.closing, "{offset}");
    }
    let reason = |status: tonic::Status| status.get_details_error_info().unwrap().reason;
    let refused = async |peer: &Peer, request| reason(ask(peer, request).await.unwrap_err());
    assert_eq!(refused(&c, again(length + 1)).await, "FIELD_INVALID");
    let no_token = v1::ExportIndicatorsRequest { offset: 1, ..request.clone() };
    assert_eq!(refused(&c, no_token).await, "FIELD_INVALID");
    assert_eq!(refused(&c, v1::ExportIndicatorsRequest { format: 0, ..again(0) }).await, "FIELD_INVALID");
    // A position is good for its reader, filter and format.
    let csv = v1::ExportIndicatorsRequest { format: Format::Csv.into(), ..again(0) };
    assert_eq!(refused(&c, csv).await, "PAGE_TOKEN_INVALID");
    assert_eq!(refused(&hub.peer("c", "user/binh"), again(0)).await, "PAGE_TOKEN_INVALID");
    let denied = ask(&a, request.clone()).await.unwrap_err();
    assert_eq!((denied.code(), reason(denied).as_str()), (Code::PermissionDenied, "ROLE_INSUFFICIENT"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_may_be_seen_no_longer_is_in_no_later_copy_of_the_same_position() {
    let hub = hub().await;
    let (a, c) = (hub.peer("a", "system/feed"), hub.peer("c", "user/an"));
    publish(&a, vec![blocking("stays.example"), amber(blocking("goes.example"), &["c"])]).await;
    let whole = export(&c, &of(Format::Hosts)).await;
    assert_eq!(whole.closing.rows, 2);
    let again =
        v1::ExportIndicatorsRequest { position_token: whole.opening.position_token, ..of(Format::Hosts) };
    publish(&a, vec![amber(blocking("goes.example"), &["elsewhere"])]).await;
    let later = export(&c, &again).await;
    assert_eq!(later.text(), "# Luy Tre: domains to block. TLP:GREEN\n0.0.0.0 stays.example\n");
    // And what could not be seen then is not seen now.
    publish(&a, vec![blocking("new.example"), blocking("goes.example")]).await;
    assert_eq!(export(&c, &again).await.closing.rows, 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn luytre_export_puts_a_whole_file_in_its_place_or_leaves_the_old_one() {
    let mut hub = hub().await;
    let a = hub.peer("a", "system/feed");
    publish(&a, mixed(300)).await;
    let file = hub.dir().join("all.csv");
    let path = file.to_str().unwrap().to_owned();
    let words = ["export", "--format", "csv", "--output", &path];
    let ended = luytre(&hub, "c", "user/an", &words).await;
    assert_eq!((ended.code, ended.stdout.as_str()), (0, ""), "{ended:?}");
    let text = fs::read_to_string(&file).unwrap();
    // Each row has a description that begins as a formula does.
    assert!(
        ended.stderr.contains("300 rows, TLP:GREEN") && ended.stderr.contains("300 cells begin"),
        "{ended:?}"
    );
    assert_eq!(text.matches(",\"'=cmd|").count(), 300);
    let etag = ended.stderr.lines().find_map(|line| line.strip_prefix("luytre: etag ")).unwrap().to_owned();
    fs::write(&file, "mine").unwrap();
    let unchanged = luytre(&hub, "c", "user/an", &[&words[..], &["--if-none-match", &etag]].concat()).await;
    assert!(unchanged.code == 0 && unchanged.stderr.contains("unchanged"), "{unchanged:?}");
    assert_eq!(fs::read_to_string(&file).unwrap(), "mine");
    publish(&a, vec![draft("more.example")]).await;
    let changed = luytre(&hub, "c", "user/an", &[&words[..], &["--if-none-match", &etag]].concat()).await;
    assert!(changed.code == 0 && changed.stderr.contains("301 rows"), "{changed:?}");

    // The same lines as those of a list, in another order.
    let list = ["list", "--label", "c2", "--kind", "domain", "--limit", "0", "--format", "jsonl"];
    let listed = luytre(&hub, "c", "user/an", &list).await.well();
    let jsonl = ["export", "--format", "jsonl", "--label", "c2", "--kind", "domain"];
    let exported = luytre(&hub, "c", "user/an", &jsonl).await.well();
    let lines = |text: &str| text.lines().map(str::to_owned).collect::<BTreeSet<_>>();
    assert!(lines(&listed).len() == 50 && lines(&listed) == lines(&exported));

    let victims = luytre(&hub, "c", "user/an", &["export", "--format", "rpz", "--role", "victim"]).await;
    assert_eq!(victims.code, 64, "{victims:?}");
    let nowhere = luytre(&hub, "c", "user/an", &["export", "--format", "rpz", "-o", "/nonexistent/x"]).await;
    assert_eq!(nowhere.code, 74, "{nowhere:?}");
    let denied = luytre(&hub, "a", "system/feed", &["export", "--format", "rpz"]).await;
    assert_eq!(denied.code, 77, "{denied:?}");
    fs::write(&file, "mine").unwrap();
    hub.terminate().await;
    let away = luytre(&hub, "c", "user/an", &words).await;
    assert_eq!((away.code, fs::read_to_string(&file).unwrap().as_str()), (75, "mine"), "{away:?}");
}

/// Runs a program of Debian's, if it is here.
fn second_opinion(program: &str, words: &[&str]) -> Option<(bool, String)> {
    let Ok(output) = Command::new(program).args(words).output() else {
        println!("{program} is not here (make deps-ci installs it): nothing was compared");
        return None;
    };
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    Some((output.status.success(), text.concat()))
}

async fn write(hub: &TestHub, format: &str, name: &str) -> String {
    let path = hub.dir().join(name).to_str().unwrap().to_owned();
    let mut words = vec!["export", "--format", format, "--output", &path];
    let categories = hub.dir().join("categories.txt").to_str().unwrap().to_owned();
    if format == "iprep" {
        words.extend(["--categories", &categories]);
    }
    let ended = luytre(hub, "c", "user/an", &words).await;
    assert_eq!(ended.code, 0, "{ended:?}");
    path
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bind_reads_the_zone() {
    let hub = hub().await;
    let mut drafts = mixed(300);
    // The longest name that there is room for, and the first that there is not.
    let long =
        |length: usize| format!("{}.{}.{}.example", "a".repeat(63), "b".repeat(63), "c".repeat(length - 136));
    drafts.extend([180, 181].map(|length| blocking(&long(length))));
    drafts.extend(["2001:db8:0:0:1:0:0:1", "bücher.example", "2001:db8:1::/48"].map(blocking));
    publish(&hub.peer("a", "system/feed"), drafts).await;
    let zone = write(&hub, "rpz", "luytre.zone").await;
    let text = fs::read_to_string(&zone).unwrap();
    assert!(text.contains(&format!("\n*.{} CNAME .\n", long(180))) && !text.contains(&long(181)));
    if let Some((well, said)) =
        second_opinion("named-checkzone", &["-i", "none", "rpz.luytre.example", &zone])
    {
        assert!(well && said.contains("loaded serial"), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn suricata_reads_the_rules_and_the_reputations() {
    let hub = hub().await;
    let mut drafts = mixed(300);
    drafts.extend(["bücher.example", "2001:db8:1::/48"].map(blocking));
    publish(&hub.peer("a", "system/feed"), drafts).await;
    let rules = write(&hub, "suricata", "luytre.rules").await;
    write(&hub, "iprep", "luytre.list").await;
    // A rule of one's own that asks for the reputation.
    let mut text = fs::read_to_string(&rules).unwrap();
    let count = text.lines().filter(|line| line.starts_with("alert")).count();
    assert_eq!(count, 51 * 3 + 151);
    text.push_str("alert ip any any -> any any (iprep:any,LuyTre,>,100; sid:1; rev:1;)\n");
    fs::write(&rules, text).unwrap();
    let dir = hub.dir().to_str().unwrap().to_owned();
    let config = hub.dir().join("suricata.yaml");
    fs::write(&config, configuration(Path::new(&dir))).unwrap();
    let words = ["-T", "-c", config.to_str().unwrap(), "-l", &dir];
    if let Some((well, said)) = second_opinion("suricata", &words) {
        let loaded = format!("{} rules successfully loaded, 0 rules failed", count + 1);
        assert!(well && said.contains(&loaded) && !said.contains("Error"), "{said}");
    }
}

fn configuration(dir: &Path) -> String {
    let dir = dir.display();
    format!(
        "%YAML 1.1\n---\nvars: {{address-groups: {{HOME_NET: any, EXTERNAL_NET: any}}}}\ndefault-log-dir: {dir}\n\
         reputation-categories-file: {dir}/categories.txt\ndefault-reputation-path: {dir}\n\
         reputation-files: [luytre.list]\ndefault-rule-path: {dir}\nrule-files: [luytre.rules]\n\
         logging: {{default-log-level: info, outputs: [{{console: {{enabled: yes}}}}]}}\n\
         app-layer: {{protocols: {{dns: {{udp: {{enabled: yes, detection-ports: {{dp: 53}}}}, tcp: {{enabled: yes, \
         detection-ports: {{dp: 53}}}}}}, http: {{enabled: yes}}, tls: {{enabled: yes, detection-ports: {{dp: 443}}}}}}}}\n"
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sync_writes_the_same_rows_as_export_and_no_new_zone_for_nothing() {
    let hub = hub().await;
    let a = hub.peer("a", "system/feed");
    publish(&a, mixed(120)).await;
    let path = |name: &str| hub.dir().join(name).to_str().unwrap().to_owned();
    let state = path("state");
    let mut words = vec!["sync".to_owned(), "--once".to_owned(), "--state".to_owned(), state];
    let formats = ["plain", "hosts", "rpz", "suricata", "iprep", "csv", "jsonl"];
    for format in formats {
        words.extend([format!("--{format}"), path(&format!("sync.{format}"))]);
    }
    let words: Vec<_> = words.iter().map(String::as_str).collect();
    luytre(&hub, "c", "user/an", &words).await.well();
    let rows = |name: String| {
        let text = fs::read_to_string(path(&name)).unwrap();
        let lines = unnumbered(text.as_bytes());
        String::from_utf8(lines).unwrap().split_inclusive('\n').map(str::to_owned).collect::<BTreeSet<_>>()
    };
    for format in formats {
        write(&hub, format, &format!("export.{format}")).await;
        assert_eq!(rows(format!("sync.{format}")), rows(format!("export.{format}")), "{format}");
    }
    // Nothing changed, so no file did, whatever time it is; and then the zone
    // has a higher number.
    let read = || fs::read_to_string(path("sync.rpz")).unwrap();
    let zone = read();
    luytre(&hub, "c", "user/an", &words).await.well();
    assert_eq!(read(), zone);
    publish(&a, vec![blocking("more.example")]).await;
    luytre(&hub, "c", "user/an", &words).await.well();
    let serial = |text: &str| luytre::interop::export::serial(text.as_bytes()).unwrap().number;
    assert!(serial(&read()) > serial(&zone));
}
