//! Promises of `luytre pki`.

use std::fs;

use clap::Parser;

use super::super::exit::Failure;
use super::*;
use crate::base::files;
use crate::pki::tls::{Material, Snapshot, Standing};

#[derive(Debug, Parser)]
struct Line {
    #[command(flatten)]
    args: Args,
}

/// Runs one line at `now`, and returns what was told.
fn at(line: &str, now: Timestamp) -> Result<String, Error> {
    let words_show = line.starts_with("show");
    let words = std::iter::once("pki").chain(line.split_whitespace());
    let line = Line::try_parse_from(words).unwrap();
    let (mut data, mut talk) = (Vec::new(), Vec::new());
    run_to(line.args, &mut data, &mut talk, now)?;
    assert!(data.is_empty() || talk.is_empty(), "a command either shows or does");
    assert_eq!(data.is_empty(), !words_show, "what was asked for is data, all else is talk");
    data.append(&mut talk);
    Ok(String::from_utf8(data).unwrap())
}

fn code(error: Error) -> u8 {
    Failure::Pki(error).code()
}

fn told(line: &str) -> String {
    at(line, SystemClock.now()).unwrap()
}

fn place() -> (tempfile::TempDir, String) {
    let place = tempfile::tempdir().unwrap();
    let dir = place.path().join("pki").display().to_string();
    told(&format!("init --dir {dir} --trust-domain hub.example"));
    (place, dir)
}

fn snapshot(dir: &str) -> Snapshot {
    build(dir).unwrap()
}

fn build(dir: &str) -> Result<Snapshot, crate::pki::tls::Error> {
    let read = |name: &str| fs::read(format!("{dir}/{name}")).unwrap();
    let material = Material::from_pem(
        &read(directory::CLIENT_CA),
        &read(directory::CLIENT_CRL),
        &read("server.pem"),
        &read("server.key"),
    );
    Snapshot::build(material?, "hub.example", 1, &SystemClock::shared(), None)
}

#[test]
fn a_hub_starts_with_what_the_commands_write_and_takes_a_revocation() {
    let (_place, dir) = place();
    told(&format!("issue --dir {dir} server --dns hub.example www.hub.example --ip 127.0.0.1 ::1"));
    told(&format!("issue --dir {dir} client --id spiffe://hub.example/org/soc/system/feed"));
    let text = fs::read(format!("{dir}/soc-feed.pem")).unwrap();
    let certificates = pem::certificates(&text).unwrap();
    let identity = identity::read(&certificates[0], "hub.example").unwrap();
    let standing = |snapshot: &Snapshot| snapshot.standing(&identity, SystemClock.now());
    let before = snapshot(&dir);
    assert_eq!(standing(&before), Standing::Good);
    told(&format!("revoke --dir {dir} --serial {}", identity.serial));
    assert_eq!(standing(&snapshot(&dir)), Standing::Revoked);
    told(&format!("crl --dir {dir}"));
    assert_eq!(standing(&snapshot(&dir)), Standing::Revoked);
}

#[test]
fn a_list_that_ran_out_is_signed_again() {
    let place = tempfile::tempdir().unwrap();
    let dir = place.path().join("pki").display().to_string();
    let long_ago = SystemClock.now().saturating_sub(DAY * 8);
    at(&format!("init --dir {dir} --trust-domain hub.example"), long_ago).unwrap();
    told(&format!("issue --dir {dir} server --dns hub.example"));
    assert!(build(&dir).is_err());
    told(&format!("crl --dir {dir} --crl-days 9"));
    let next = snapshot(&dir).revocation_next_update().unwrap();
    assert!(next > SystemClock.now().saturating_add(DAY * 8));
}

#[test]
fn show_tells_what_the_hub_would_read_or_why_it_would_refuse() {
    let (_place, dir) = place();
    told(&format!("issue --dir {dir} server --dns hub.example --ip 192.0.2.7"));
    told(&format!("issue --dir {dir} client --id spiffe://hub.example/org/soc/user/an --days 3"));
    let client = told(&format!("show {dir}/soc-an.pem"));
    assert!(client.contains("spiffe://hub.example/org/soc/user/an"), "{client}");
    assert!(client.contains("clientAuth") && client.contains("2 days left"), "{client}");
    let server = told(&format!("show {dir}/server.pem"));
    assert!(server.contains("hub.example, 192.0.2.7") && server.contains("authority"), "{server}");
    let expired = at(&format!("show {dir}/soc-an.pem"), SystemClock.now().saturating_add(DAY * 4)).unwrap();
    assert!(expired.contains("EXPIRED"), "{expired}");
    assert!(at(&format!("show {dir}/soc-an.key"), SystemClock.now()).is_err());
}

#[test]
fn show_tells_what_a_revocation_list_revokes_and_when_the_next_is_due() {
    let (_place, dir) = place();
    told(&format!("issue --dir {dir} client --id spiffe://hub.example/org/soc/user/an"));
    let serial = told(&format!("show {dir}/soc-an.pem"));
    let serial = serial.lines().find_map(|line| line.strip_prefix("serial      ")).unwrap();
    assert!(told(&format!("show {dir}/client-crl.pem")).contains("revoked     0"));
    told(&format!("revoke --dir {dir} --serial {serial}"));
    let list = told(&format!("show {dir}/client-crl.pem"));
    assert!(list.contains("revoked     1") && list.contains(serial) && !list.contains("OVERDUE"), "{list}");
    let later = SystemClock.now().saturating_add(DAY * 8);
    assert!(at(&format!("show {dir}/client-crl.pem"), later).unwrap().contains("OVERDUE"));
}

#[test]
fn a_hostile_name_cannot_write_to_the_terminal() {
    let (place, _) = place();
    let mut params = rcgen::CertificateParams::default();
    params.distinguished_name.push(rcgen::DnType::CommonName, "a\u{1b}[2Jb");
    let certificate = params.self_signed(&rcgen::KeyPair::generate().unwrap()).unwrap();
    let path = place.path().join("odd.pem");
    files::write_new(&path, certificate.pem().as_bytes(), 0o600).unwrap();
    let shown = told(&format!("show {}", path.display()));
    assert!(shown.contains("[2Jb") && !shown.contains('\u{1b}'), "{shown:?}");
}

#[test]
fn an_error_says_what_to_do() {
    let (_place, dir) = place();
    let now = SystemClock.now();
    let again = at(&format!("init --dir {dir} --trust-domain hub.example"), now).unwrap_err();
    assert!(again.to_string().contains("not overwritten"), "{again}");
    assert_eq!(code(again), 73);
    let nowhere = at("crl --dir /nonexistent/pki", now).unwrap_err();
    assert!(nowhere.to_string().contains("luytre pki init"), "{nowhere}");
    assert_eq!(code(nowhere), 66);
    let no_file = at(&format!("show {dir}/none.pem"), now).unwrap_err();
    assert_eq!(code(no_file), 66);
    let no_certificate = at(&format!("show {dir}/private/client-root.key"), now).unwrap_err();
    assert_eq!(code(no_certificate), 65);
    let name =
        at(&format!("issue --dir {dir} client --id spiffe://hub.example/org/SOC/user/an"), now).unwrap_err();
    assert!(name.to_string().contains("--id"), "{name}");
    assert_eq!(code(name), 64);
    let serial = at(&format!("revoke --dir {dir} --serial 0102"), now).unwrap_err();
    assert_eq!(code(serial), 64);
    let nameless = at(&format!("issue --dir {dir} server"), now).unwrap_err();
    assert!(nameless.to_string().contains("DNS name"), "{nameless}");
}
