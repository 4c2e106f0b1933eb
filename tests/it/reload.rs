//! How a hub in a process of its own takes new certificates: by SIGHUP, by
//! `luytred reload`, and what it shows of them.

use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use luytre::base::clock::{Clock as _, SystemClock};
use luytre::model::principal::Role;
use luytre::pki::directory::{CLIENT_CA, CLIENT_CRL};
use luytre::pki::issue::{Leaf, lifetime};
use luytre::wire::proto::v1;
use rustix::process::{Pid, Signal, kill_process};
use uuid::Uuid;

use crate::harness::patience::eventually;
use crate::harness::{TestHub, batch, draft};

fn leaf(names: &[&str]) -> Leaf {
    Leaf::Server {
        dns: names.iter().map(|&name| name.to_owned()).collect(),
        ip: vec![Ipv4Addr::LOCALHOST.into()],
    }
}

/// Signs another certificate of the hub, and puts it in the place of its own.
fn renew(hub: &TestHub, name: &str, names: &[&str], life: Duration) {
    let new = hub.pki().issue(&leaf(names), name, SystemClock.now(), life).unwrap();
    let pki = hub.dir().join("pki");
    fs::rename(&new.certificate, pki.join("server.pem")).unwrap();
    fs::rename(&new.key, pki.join("server.key")).unwrap();
}

fn hang_up(hub: &TestHub) {
    kill_process(Pid::from_raw(hub.pid().cast_signed()).unwrap(), Signal::HUP).unwrap();
}

/// The value of a metric, by its whole name with labels.
async fn metric(hub: &TestHub, name: &str) -> Option<u64> {
    let (_, text) = hub.get("/metrics").await;
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?.to_owned();
    Some(line.parse().unwrap())
}

async fn epoch(hub: &TestHub) -> u64 {
    metric(hub, "luytre_tls_epoch").await.unwrap()
}

/// Status, standard output and standard error of `luytred <words>`.
fn operate(hub: &TestHub, words: &[&str]) -> (Option<i32>, String, String) {
    let output = hub.operate(words);
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_owned()).unwrap();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[tokio::test]
async fn luytred_reload_tells_what_is_in_force_or_why_it_is_not() {
    let hub = TestHub::builder().start().await;
    renew(&hub, "second", &["localhost", "hub.example"], lifetime::SERVER);
    let (code, told, _) = operate(&hub, &["reload"]);
    assert_eq!(code, Some(0), "{told}");
    assert!(told.contains("epoch 2 is in force") && told.contains("another certificate"), "{told}");
    assert!(told.contains("connections ended: 0"), "{told}");
    let (code, told, _) = operate(&hub, &["reload", "--json"]);
    let json: serde_json::Value = serde_json::from_str(&told).unwrap();
    assert_eq!((code, json["reloaded"]["epoch"].as_u64()), (Some(0), Some(3)), "{told}");
    assert_eq!(json["reloaded"]["server_fingerprint"].as_str().map(str::len), Some(64));

    renew(&hub, "third", &["localhost"], lifetime::SERVER);
    let (code, told, refused) = operate(&hub, &["reload"]);
    assert_eq!((code, told.as_str()), (Some(65), ""));
    assert!(refused.contains("hub.example") && refused.contains("epoch 3 stays in force"), "{refused}");
    let failures = "luytre_tls_reload_failures_total{reason=\"names_lost\"}";
    assert_eq!(metric(&hub, failures).await, Some(1));
    assert_eq!(epoch(&hub).await, 3);

    renew(&hub, "fourth", &["localhost", "hub.example"], Duration::from_secs(3_600));
    assert_eq!(operate(&hub, &["reload"]).0, Some(65));
    assert_eq!(operate(&hub, &["reload", "--force"]).0, Some(0));
}

/// Writes a line of the configuration in place of another.
fn rewrite(hub: &TestHub, line: &str, by: &str) {
    let file = hub.dir().join("hub.toml");
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.contains(line), "{text}");
    fs::write(&file, text.replace(line, by)).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_and_modes_of_lists_are_taken_up_while_the_hub_runs_and_unsound_ones_change_nothing() {
    let mut hub = TestHub::builder()
        .principal("a", "system/feed", &[Role::Publisher, Role::Subscriber])
        .config("[limits]\nitems_per_second = 10\n[guards.modes]\nreserved-networks = \"inform\"")
        .prepare();
    hub.serve().await;
    let feed = hub.peer("a", "system/feed");
    let request = |count: usize| {
        let items = (0..count).map(|number| draft(&format!("n{number}.example"))).collect();
        batch(Uuid::new_v4(), items)
    };
    let most = async || {
        let me = feed.directory().who_am_i(v1::WhoAmIRequest {}).await.unwrap().into_inner();
        let told = me.allowances.into_iter().filter(|told| told.limit == "items_per_second");
        told.map(|told| told.most).collect::<Vec<_>>()
    };
    // Ten seconds' worth at once, and a debt of more.
    feed.exchange().publish_indicators(request(1_000)).await.unwrap();
    let refused = feed.exchange().publish_indicators(request(1_000)).await.unwrap_err();
    assert_eq!((refused.code(), most().await), (tonic::Code::ResourceExhausted, vec![10, 10]));

    rewrite(&hub, "items_per_second = 10\n", "items_per_second = 100000\n");
    rewrite(&hub, "reserved-networks = \"inform\"", "reserved-networks = \"block\"");
    let (code, told, _) = operate(&hub, &["reload"]);
    assert_eq!(code, Some(0), "{told}");
    assert!(told.contains("changed: the limits of organisations are others"), "{told}");
    assert!(told.contains("changed: values are held against"), "{told}");
    assert!(told.contains("connections ended: 0"), "{told}");
    assert_eq!(most().await, [100_000, 100_000]);
    // What it owes is as little as it would have been.
    let answer = feed.exchange().publish_indicators(batch(Uuid::new_v4(), vec![draft("10.1.2.3")])).await;
    let result = answer.unwrap().into_inner().results.remove(0).outcome.unwrap();
    assert!(matches!(result, v1::publish_result::Outcome::Rejected(_)), "{result:?}");

    rewrite(&hub, "items_per_second = 100000\n", "items_per_second = \"many\"\n");
    let (code, told, problem) = operate(&hub, &["reload"]);
    assert_eq!(code, Some(78), "it does not come so far as to ask the hub: {told}");
    assert!(problem.contains("limits.items_per_second"), "{problem}");
    hang_up(&hub);
    let failures = "luytre_guard_reload_failures_total";
    eventually("the hub refuses it as well", async || {
        (metric(&hub, failures).await == Some(1)).then_some(())
    })
    .await;
    assert_eq!(most().await, [100_000, 100_000]);

    rewrite(&hub, "items_per_second = \"many\"\n", "items_per_second = 10\nheartbeat = \"7s\"\n");
    hang_up(&hub);
    eventually("the old limit is back", async || (most().await == [10, 10]).then_some(())).await;
    let (code, told, _) = operate(&hub, &["reload"]);
    assert_eq!(code, Some(0), "{told}");
    assert!(told.contains("read at the next start"), "{told}");

    // Certificates that are refused hold nothing else up, and it is told.
    fs::write(hub.dir().join("pki/server.pem"), "none").unwrap();
    rewrite(&hub, "items_per_second = 10\n", "items_per_second = 20\n");
    let (code, _, problem) = operate(&hub, &["reload"]);
    assert_eq!((code, most().await), (Some(65), vec![20, 20]));
    assert!(problem.contains("changed all the same: the limits of organisations are others"), "{problem}");
}

#[tokio::test]
async fn a_storm_of_hangups_is_a_few_reloads_and_leaks_no_descriptor() {
    let hub = TestHub::builder().principal("a", "system/siem", &[Role::Subscriber]).start().await;
    let descriptors =
        || fs::read_dir(Path::new("/proc").join(hub.pid().to_string()).join("fd")).unwrap().count();
    let mut peer = hub.peer("a", "system/siem").directory();
    let known = peer.who_am_i(v1::WhoAmIRequest {}).await.unwrap().into_inner().spiffe_id;
    let before = (epoch(&hub).await, descriptors());
    for _ in 0..3_000 {
        hang_up(&hub);
    }
    // One more, after all of them have been heard of.
    let seen = eventually("the storm was heard", async || {
        let now = epoch(&hub).await;
        (now > before.0).then_some(now)
    })
    .await;
    let reloads = eventually("the storm is over", async || {
        let now = epoch(&hub).await;
        hang_up(&hub);
        let next =
            eventually("one more reload", async || Some(epoch(&hub).await).filter(|&next| next > now)).await;
        (next == now + 1).then_some(next - before.0)
    })
    .await;
    assert!(seen > before.0 && reloads < 1_500, "{reloads} reloads");
    eventually("its descriptors are closed", async || (descriptors() <= before.1 + 2).then_some(())).await;
    // The connection of before is the same, and serves.
    assert_eq!(peer.who_am_i(v1::WhoAmIRequest {}).await.unwrap().into_inner().spiffe_id, known);
    assert_eq!(metric(&hub, "luytre_connections_served_total").await, Some(1));
}

#[tokio::test]
async fn files_that_the_hub_may_not_read_or_that_are_gone_change_nothing_until_they_are_back() {
    let mut hub = TestHub::builder().principal("a", "system/siem", &[Role::Subscriber]).prepare();
    if !hub.without_privileges() {
        eprintln!("skipped: luytred cannot be run as another user here (setpriv, and a path open to all)");
        return;
    }
    hub.serve().await;
    let serves = async || hub.peer("a", "system/siem").directory().who_am_i(v1::WhoAmIRequest {}).await;
    let pki = hub.dir().join("pki");
    let mut failed = 0;
    for name in ["server.pem", "server.key", CLIENT_CA, CLIENT_CRL] {
        let (file, aside) = (pki.join(name), pki.join("aside"));
        let mode = fs::metadata(&file).unwrap().permissions();
        for gone in [false, true] {
            if gone {
                fs::rename(&file, &aside).unwrap();
            } else {
                fs::set_permissions(&file, fs::Permissions::from_mode(0o000)).unwrap();
            }
            let (code, _, told) = operate(&hub, &["reload"]);
            let why = if gone { "No such file" } else { "Permission denied" };
            assert!(code == Some(65) && told.contains(name) && told.contains(why), "{code:?} {told}");
            failed += 1;
            let failures = metric(&hub, "luytre_tls_reload_failures_total{reason=\"file\"}").await;
            assert_eq!(failures, Some(failed));
            serves().await.unwrap();
            if gone {
                fs::rename(&aside, &file).unwrap();
            } else {
                fs::set_permissions(&file, mode.clone()).unwrap();
            }
            assert_eq!(operate(&hub, &["reload"]).0, Some(0), "{name}");
        }
    }
    serves().await.unwrap();
    assert!(hub.terminate().await.success());
}

#[tokio::test]
async fn every_end_is_a_moment_and_a_time_to_live_and_follows_what_is_in_force() {
    let hub = TestHub::builder().start().await;
    let (_, text) = hub.get("/metrics").await;
    let value = |name: &str| -> u64 {
        let line =
            text.lines().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{name}: {text}"));
        line.rsplit(' ').next().unwrap().parse().unwrap()
    };
    let now = SystemClock.now().as_seconds();
    for (of, life) in [
        ("luytre_tls_server_certificate", lifetime::SERVER),
        ("luytre_tls_anchor", lifetime::ISSUING),
        ("luytre_tls_revocation_list", lifetime::REVOCATION_LIST),
    ] {
        let (end, left) = (value(&format!("{of}_not_after_seconds")), value(&format!("{of}_ttl_seconds")));
        assert!(end.abs_diff(now + left) < 120, "{of}: {end} {left}");
        assert!(left.abs_diff(life.as_secs()) < 3_600, "{of}: {left}");
    }
    for of in ["anchor", "revocation_list"] {
        let named = |line: &str| line.starts_with(&format!("luytre_tls_{of}_ttl_seconds{{authority="));
        let line = text.lines().find(|line| named(line)).unwrap();
        assert!(line.contains("CN=Luytre Client CA G1"), "{line}");
    }
    assert_eq!(value("luytre_clock_doubted"), 0);

    renew(&hub, "brief", &["localhost"], lifetime::CLIENT);
    assert_eq!(operate(&hub, &["reload"]).0, Some(0));
    let left = metric(&hub, "luytre_tls_server_certificate_ttl_seconds").await.unwrap();
    assert!(left.abs_diff(lifetime::CLIENT.as_secs()) < 3_600, "{left}");
}

#[tokio::test]
async fn a_hub_whose_own_certificate_has_run_out_is_not_ready_and_says_why() {
    let hub = TestHub::builder().start().await;
    assert_eq!(hub.get("/readyz").await.0, 200);
    renew(&hub, "brief", &["localhost"], Duration::from_secs(5));
    assert_eq!(operate(&hub, &["reload", "--force"]).0, Some(0));
    let told = eventually("the hub is not ready", async || {
        let (status, told) = hub.get("/readyz").await;
        (status == 503).then_some(told)
    })
    .await;
    assert!(told.contains("own certificate ended") && told.contains("luytred reload"), "{told}");
    renew(&hub, "sound", &["localhost"], lifetime::SERVER);
    assert_eq!(operate(&hub, &["reload"]).0, Some(0));
    assert_eq!(hub.get("/readyz").await.0, 200);
}

#[tokio::test]
async fn the_machines_operator_sees_and_settles_the_time_without_a_certificate() {
    let hub = TestHub::builder().start().await;
    let (code, told, _) = operate(&hub, &["clock", "show"]);
    assert!(code == Some(0) && told.contains("judged at") && !told.contains("jumped"), "{told}");
    assert_eq!(operate(&hub, &["clock", "accept"]).0, Some(0));
    assert!(hub.log().contains("on the operator's word"));
}

#[tokio::test]
async fn the_log_holds_no_key_however_much_is_logged() {
    let hub = TestHub::builder()
        .principal("a", "system/siem", &[Role::Subscriber])
        .config("[log]\nfilter = \"trace\"")
        .start()
        .await;
    let mut peer = hub.peer("a", "system/siem").directory();
    peer.who_am_i(v1::WhoAmIRequest {}).await.unwrap();
    renew(&hub, "second", &["localhost"], lifetime::SERVER);
    assert_eq!(operate(&hub, &["reload"]).0, Some(0));
    // Half a key, and a key where a certificate belongs.
    let key = hub.dir().join("pki/server.key");
    let whole = fs::read_to_string(&key).unwrap();
    fs::write(&key, &whole[..whole.len() / 2]).unwrap();
    assert_eq!(operate(&hub, &["reload"]).0, Some(65));
    fs::write(&key, &whole).unwrap();
    let certificate = hub.dir().join("pki/server.pem");
    fs::copy(&key, &certificate).unwrap();
    assert_eq!(operate(&hub, &["reload"]).0, Some(65));

    let log = hub.log();
    assert!(log.contains("TRACE"), "it logs all it can");
    let mut keys = 0;
    let mut directories = vec![hub.dir().to_owned()];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap().map(Result::unwrap) {
            let path = entry.path();
            if path.is_dir() {
                directories.push(path);
            } else if path.extension().is_some_and(|end| end == "key") {
                keys += 1;
                assert_is_not_in(&log, &fs::read(&path).unwrap());
            }
        }
    }
    assert!(keys >= 4, "{keys} keys");
}

/// Neither a line of the file nor the key's own bytes, in hexadecimal or as
/// a list of numbers, stand in `log`.
fn assert_is_not_in(log: &str, pem: &[u8]) {
    let text = std::str::from_utf8(pem).unwrap();
    let body = text.lines().filter(|line| !line.starts_with("-----"));
    for line in body.filter(|line| line.len() >= 16) {
        // The first bytes are the same for all keys of one kind.
        assert!(!log.contains(&line[line.len() - 16..]), "a line of a key is in the log");
    }
    let key = luytre::pki::pem::private_key(pem).unwrap();
    let der = key.expose().secret_der();
    // The key itself, and its text where it is shown as bytes.
    let (_, body) = text.split_once('\n').unwrap();
    let secrets = [&der[der.len() / 4..], &body.as_bytes()[body.len() / 4..body.len() * 3 / 4]];
    for window in secrets.into_iter().flat_map(|secret| secret.chunks_exact(8)) {
        let numbers = window.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let hex = luytre::base::digest::hex(window);
        assert!(!log.contains(&hex) && !log.contains(&numbers), "a key is in the log");
    }
}
