//! What the configuration promises.

use std::time::Duration;

use super::*;
use crate::model::org::OrgSlug;

const LEAST: &str = r#"
data_dir = "data"
[grpc]
cert = "hub.pem"
key = "/keys/hub.key"
client_ca = "ca.pem"
client_crl = "crl.pem"
"#;

fn read(text: &str) -> Result<Config, Error> {
    Config::read(text, Path::new("/etc/luytre/hub.toml"), &|_| None)
}

fn problems(text: &str) -> Vec<(String, String)> {
    match read(text) {
        Err(Error::Problems { problems, .. }) => problems.into_iter().map(|p| (p.field, p.problem)).collect(),
        other => panic!("expected problems, got {other:?}"),
    }
}

fn keys(text: &str) -> Vec<String> {
    problems(text).into_iter().map(|(key, _)| key).collect()
}

#[test]
fn what_is_not_said_has_the_documented_default() {
    let config = read(LEAST).unwrap();
    assert_eq!(config.grpc.listen.to_string(), "0.0.0.0:7443");
    assert_eq!(config.http.listen.to_string(), "127.0.0.1:9464");
    assert_eq!(config.log, Log { format: LogFormat::Pretty, filter: "info".to_owned() });
    assert_eq!(config.limits, Limits::default());
    assert_eq!(config.trust_domain, None);
    assert_eq!(config.ready_file, None);
    assert_eq!(config.admin_socket, Path::new("/etc/luytre/data/admin.sock"));
}

#[test]
fn a_relative_path_is_taken_from_the_directory_of_the_file() {
    let config = read(LEAST).unwrap();
    assert_eq!(config.data_dir, Path::new("/etc/luytre/data"));
    assert_eq!(config.grpc.cert, Path::new("/etc/luytre/hub.pem"));
    assert_eq!(config.grpc.key, Path::new("/keys/hub.key"));
}

#[test]
fn every_problem_is_reported_at_once_with_its_key() {
    let found = keys(
        r#"
        data_dir = 7
        colour = "red"
        [grpc]
        listen = "here"
        key = ""
        client_ca = "ca.pem"
        client_crl = "crl.pem"
        ports = 3
        [log]
        format = "xml"
        [limits]
        ring_bytes = "64MB"
        heartbeat = "0s"
        handshakes = -1
        [webhooks]
        url = "x"
        "#,
    );
    assert_eq!(
        found,
        [
            "data_dir",
            "grpc.listen",
            "grpc.cert",
            "grpc.key",
            "grpc.ports",
            "log.format",
            "limits.handshakes",
            "limits.ring_bytes",
            "limits.heartbeat",
            "colour",
            "webhooks",
        ]
    );
}

#[test]
fn an_unknown_key_is_refused_and_the_known_ones_are_named() {
    let found = problems(&format!("{LEAST}\n[http]\nlisten_on = \"127.0.0.1:1\"\n"));
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].0, "http.listen_on");
    assert!(found[0].1.contains("the keys here are listen"), "{}", found[0].1);
}

#[test]
fn a_value_out_of_bounds_is_answered_with_the_bounds() {
    let found = problems(&format!("{LEAST}\n[limits]\nheartbeat = \"1h\"\n"));
    assert_eq!(found, [("limits.heartbeat".to_owned(), "is 1h; choose from 1s to 5m".to_owned())]);
}

#[test]
fn a_missing_data_dir_is_one_problem_that_says_what_to_write() {
    let found = problems(&LEAST.replace("data_dir = \"data\"", ""));
    assert_eq!(
        found,
        [("data_dir".to_owned(), "is missing; write the path of the store's directory".to_owned())]
    );
}

#[test]
fn two_listeners_on_one_address_are_refused() {
    let text = LEAST.replace("[grpc]", "[grpc]\nlisten = \"127.0.0.1:7443\"")
        + "[http]\nlisten = \"127.0.0.1:7443\"\n";
    assert_eq!(keys(&text), ["http.listen"]);
    assert!(read(&text.replace(":7443", ":0")).is_ok());
}

#[test]
fn the_environment_stands_over_the_file() {
    let variable = |name: &str| match name {
        "LUYTRE_GRPC_LISTEN" => Some("127.0.0.1:1234".to_owned()),
        "LUYTRE_LOG_FORMAT" => Some("json".to_owned()),
        "LUYTRE_DATA_DIR" => Some("/srv/luytre".to_owned()),
        _ => None,
    };
    let config = Config::read(LEAST, Path::new("/etc/luytre/hub.toml"), &variable).unwrap();
    assert_eq!(config.grpc.listen.port(), 1234);
    assert_eq!(config.log.format, LogFormat::Json);
    assert_eq!(config.data_dir, Path::new("/srv/luytre"));
}

#[test]
fn a_trust_domain_and_a_filter_are_checked_before_the_hub_starts() {
    let text = format!("trust_domain = \"Hanoi\"\n{LEAST}\n[log]\nfilter = \"luytre=loud\"\n");
    assert_eq!(keys(&text), ["trust_domain", "log.filter"]);
}

#[test]
fn a_socket_path_that_linux_would_cut_is_refused() {
    let text = format!("admin_socket = \"/{}\"\n{LEAST}", "a".repeat(MAX_SOCKET_PATH_BYTES));
    assert_eq!(keys(&text), ["admin_socket"]);
}

#[test]
fn a_syntax_error_says_where_it_is() {
    let error = read("data_dir = [").unwrap_err();
    assert!(matches!(error, Error::Syntax { .. }));
    assert!(error.to_string().contains("line 1"), "{error}");
}

#[test]
fn sizes_and_spans_reach_the_limits() {
    let limits = read(&format!("{LEAST}\n[limits]\nring_bytes = \"2MiB\"\ndrain_deadline = \"500ms\"\n"))
        .unwrap()
        .limits;
    assert_eq!(limits.ring_bytes, Size(2 << 20));
    assert_eq!(limits.drain_deadline, Span(Duration::from_millis(500)));
}

const SAMPLE: &str = include_str!("../../../packaging/hub.toml");

/// A hub with authorities of its own, but for its other files.
const AUTHORITIES: &str = r#"
[authorities]
signer = "signer.sock"
roots = "server-ca.pem"
names = ["hub.example.vn", "192.0.2.7"]
"#;

/// A hub that keeps less of the past.
const RETENTION: &str = r#"
[retention]
history = "8760h"
[[retention.rules]]
keep = "2160h"
"#;

/// The sample, with `edit` done to each line that is switched off.
fn sample(edit: impl Fn(&str) -> Option<String>) -> String {
    let lines = SAMPLE.lines().map(|line| {
        let key = line.strip_prefix('#').filter(|rest| rest.starts_with(|c: char| c.is_ascii_lowercase()));
        key.and_then(&edit).unwrap_or_else(|| line.to_owned()) + "\n"
    });
    lines.collect()
}

#[test]
fn the_sample_serves_as_it_stands_and_shows_the_values_that_hold_anyway() {
    let as_it_stands = read(SAMPLE).unwrap();
    assert_eq!(as_it_stands.limits, Limits::default());
    assert_eq!(as_it_stands.data_dir, Path::new("/var/lib/luytre/store"));
    // Two keys have no value that holds when nothing is said.
    let all = sample(|key| (!key.contains("# default: ")).then(|| key.to_owned()));
    assert_eq!(read(&all).unwrap(), as_it_stands, "what is switched off there is what holds");
    let whole = read(&sample(|key| Some(key.to_owned()))).unwrap();
    assert_eq!(whole.trust_domain.as_deref(), Some("hub.example.vn"));
    assert_eq!(whole.ready_file.as_deref(), Some(Path::new("/etc/luytre/ready.json")));
}

#[test]
fn the_sample_and_the_documentation_show_every_key_there_is() {
    // The names of the fields, as their sections hold them.
    let own = |line: &&str| !line.starts_with("cert =") && !line.starts_with("key =");
    let least = LEAST.lines().filter(own).chain(AUTHORITIES.lines()).chain(RETENTION.lines());
    let least: Vec<_> = least.collect();
    let shown = format!("{:#?}", read(&least.join("\n")).unwrap());
    let mut known = Vec::new();
    let mut section = "";
    for line in shown.lines() {
        let (indent, text) = (line.len() - line.trim_start().len(), line.trim());
        let Some((name, rest)) = text.split_once(": ") else { continue };
        match indent {
            4 if [
                "grpc",
                "authorities",
                "http",
                "log",
                "limits",
                "retention",
                "audit",
                "receipts",
                "guards",
            ]
            .contains(&name) =>
            {
                section = name
            }
            // Where it was read.
            4 if name == "file" => {}
            4 => known.push(name.to_owned()),
            // Tables of their own, whose names are those of organisations.
            8 if (section, name) == ("limits", "organisations") => {}
            8 if !section.is_empty() => known.push(format!("{section}.{name}")),
            // This section may be absent, and its names are of two kinds.
            12 if section == "authorities" && name == "ip" => {}
            12 if section == "authorities" && name == "dns" => known.push("authorities.names".to_owned()),
            12 if section == "retention" && name == "rules" => {}
            20 if section == "retention" => known.push(format!("{section}.rules.{name}")),
            12 if ["authorities", "retention"].contains(&section) => known.push(format!("{section}.{name}")),
            _ => assert!(!rest.is_empty(), "{line}"),
        }
    }
    known.sort();
    assert!(known.len() > 25 && known.contains(&"limits.free_space".to_owned()), "{known:?}");

    let (mut sampled, mut section) = (Vec::new(), String::new());
    for line in sample(|key| Some(key.to_owned())).lines().map(|line| line.trim_start_matches("##")) {
        if line.starts_with('[') && line.ends_with(']') {
            section = format!("{}.", line.trim_matches(['[', ']']));
        } else if let Some((key, _)) = line.split_once(" = ").filter(|(key, _)| !key.contains(['#', ' '])) {
            sampled.push(format!("{section}{key}"));
        }
    }
    sampled.retain(|key: &String| !key.starts_with("limits.organisations."));
    sampled.sort();
    assert_eq!(sampled, known, "packaging/hub.toml");

    let (mut documented, mut section) = (Vec::new(), Some(String::new()));
    for line in include_str!("../../../docs/configuration.md").lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            let named = heading.strip_prefix("`[").map(|rest| rest.trim_start_matches('['));
            section = match named.and_then(|rest| rest.split_once(']')) {
                Some((name, _)) => Some(format!("{name}.")),
                None => (heading == "Top level").then(String::new),
            };
        } else if let (Some(section), Some(rest)) = (&section, line.strip_prefix("| `")) {
            documented.push(format!("{section}{}", rest.split('`').next().unwrap()));
        }
    }
    documented.sort();
    assert_eq!(documented, known, "docs/configuration.md");
}

#[test]
fn an_organisation_may_be_measured_otherwise_and_the_rest_holds_for_it_too() {
    let limits =
        |text: &str| format!("{LEAST}[limits]\nitems_per_second = 7\nprincipal_percent = 50\n{text}");
    let text =
        limits("[limits.organisations.ca-hanoi]\nlookups_per_second = 9\nreading_per_second = \"2s\"\n");
    let quotas = read(&text).unwrap().limits.quotas();
    let slug = |text| OrgSlug::parse(text).unwrap();
    let (usual, own) = (quotas.of(&slug("a")), quotas.of(&slug("ca-hanoi")));
    assert_eq!((usual.items, usual.lookups), (7, Limits::default().lookups_per_second));
    assert_eq!((own.items, own.lookups, own.reading), (7, 9, 2_000_000));
    assert_eq!((quotas.of_principal(&slug("ca-hanoi")).lookups, own.streams), (4, 512));
    let wrong = "[limits.organisations]\nx = 3\n[limits.organisations.Bad]\n[limits.organisations.a]\nitems = 3\nitems_per_second = 0\n";
    assert_eq!(
        keys(&limits(wrong)),
        [
            "limits.organisations.x",
            "limits.organisations.Bad",
            "limits.organisations.a.items_per_second",
            "limits.organisations.a.items"
        ]
    );
}
