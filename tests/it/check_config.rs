//! What `luytred check-config` promises: every problem at once, and nothing
//! touched; and what `luytred ready` tells of the hub of a configuration.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use crate::harness::TestHub;

/// Exit code and stderr of a check of `hub.toml` with `edit` done to it.
fn check(hub: &TestHub, edit: impl FnOnce(String) -> String) -> (Option<i32>, String) {
    let text = fs::read_to_string(hub.dir().join("hub.toml")).unwrap();
    let path = hub.dir().join("edited.toml");
    fs::write(&path, edit(text)).unwrap();
    let output = hub.check_config(&path);
    assert!(output.stdout.is_empty());
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

/// Every file of a directory, with its content and when it changed.
fn files(dir: &Path) -> BTreeMap<String, (Vec<u8>, std::time::SystemTime)> {
    let entries = fs::read_dir(dir).unwrap().map(Result::unwrap);
    entries
        .map(|entry| {
            let changed = entry.metadata().unwrap().modified().unwrap();
            (entry.file_name().into_string().unwrap(), (fs::read(entry.path()).unwrap(), changed))
        })
        .collect()
}

#[test]
fn problems_of_the_file_the_certificates_and_the_store_are_told_together() {
    let hub = TestHub::builder().prepare();
    let pki = hub.dir().join("pki");
    fs::write(hub.dir().join("broken.pem"), "-----BEGIN CERTIFICATE-----\nAAAA").unwrap();
    let (code, told) = check(&hub, |text| {
        let text = text.replace(pki.join("server.pem").to_str().unwrap(), "broken.pem");
        let text = text.replace(pki.join("client-crl.pem").to_str().unwrap(), "nowhere.pem");
        format!("trust_domain = \"other.example\"\ncolour = \"red\"\n{text}")
    });
    assert_eq!(code, Some(78), "{told}");
    assert!(told.contains("has 4 problems"), "{told}");
    let store = "trust_domain: is other.example, and the store is of test.luytre.example";
    for problem in ["colour: is no key", "grpc.client_crl: cannot read", "grpc.cert: ", store] {
        assert!(told.contains(&format!("\n  {problem}")), "{problem}: {told}");
    }
}

#[test]
fn a_key_that_others_can_read_or_that_is_another_certificates_is_told_with_the_fix() {
    use std::os::unix::fs::PermissionsExt as _;
    let hub = TestHub::builder().prepare();
    let other = hub.credentials("hub", "user/operator").key;
    fs::set_permissions(&other, fs::Permissions::from_mode(0o640)).unwrap();
    let own = hub.dir().join("pki/server.key");
    let (code, told) = check(&hub, |text| text.replace(own.to_str().unwrap(), other.to_str().unwrap()));
    assert_eq!(code, Some(78), "{told}");
    assert!(told.contains("has 2 problems") && told.contains("chmod 600"), "{told}");
    assert!(told.contains("does not belong to the certificate"), "{told}");
}

#[test]
fn a_check_names_the_stores_trust_domain_and_changes_nothing() {
    let hub = TestHub::builder().prepare();
    let before = files(&hub.data_dir());
    let (code, told) = check(&hub, |text| text);
    assert_eq!(code, Some(0), "{told}");
    assert!(told.contains("the store is of trust domain test.luytre.example"), "{told}");
    assert_eq!(files(&hub.data_dir()), before, "the store was touched");
}

#[test]
fn a_directory_without_a_hub_or_with_a_backup_is_told() {
    let hub = TestHub::builder().prepare();
    fs::create_dir(hub.dir().join("empty")).unwrap();
    let backup = hub.dir().join("copy");
    assert!(hub.luytred(&["backup", "--to", backup.to_str().unwrap()]).status.success());
    for (place, fix) in [("empty", "luytred init"), ("copy", "luytred restore"), ("nowhere", "luytred init")]
    {
        let data = hub.data_dir();
        let there = hub.dir().join(place);
        let (code, told) =
            check(&hub, |text| text.replacen(data.to_str().unwrap(), there.to_str().unwrap(), 1));
        assert_eq!(code, Some(78), "{told}");
        assert!(told.contains("\n  data_dir: ") && told.contains(fix), "{told}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_store_of_a_running_hub_is_left_alone() {
    let mut hub = TestHub::builder().start().await;
    let (code, told) = check(&hub, |text| format!("trust_domain = \"other.example\"\n{text}"));
    assert_eq!(code, Some(0), "{told}");
    assert!(told.contains("a hub runs on the store"), "{told}");
    hub.restart().await;
}

/// Exit code, stdout and stderr of `luytred ready` with `edit` done to
/// `hub.toml`.
fn ready(hub: &TestHub, edit: impl FnOnce(String) -> String) -> (Option<i32>, String, String) {
    let text = fs::read_to_string(hub.dir().join("hub.toml")).unwrap();
    let path = hub.dir().join("asked.toml");
    fs::write(&path, edit(text)).unwrap();
    let output = hub.ready(&path);
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ready_finds_the_hub_by_its_configuration_and_tells_whether_it_serves() {
    let mut hub = TestHub::builder().prepare();
    let (code, _, told) = ready(&hub, |text| text);
    assert_eq!(code, Some(78), "{told}");
    assert!(told.contains("http.listen takes any free port") && told.contains("is no help"), "{told}");

    hub.serve().await;
    assert_eq!(ready(&hub, |text| text), (Some(0), "ready\n".to_owned(), String::new()));
    // By its fixed port, too, wherever it listens.
    let port = hub.http().port();
    let fixed = |text: String| {
        assert!(text.contains("[http]\nlisten = \"127.0.0.1:0\""), "{text}");
        text.replace("[http]\nlisten = \"127.0.0.1:0\"", &format!("[http]\nlisten = \"0.0.0.0:{port}\""))
    };
    assert_eq!(ready(&hub, fixed), (Some(0), "ready\n".to_owned(), String::new()));

    hub.kill9();
    let (code, printed, told) = ready(&hub, fixed);
    assert_eq!((code, printed.as_str()), (Some(75), ""));
    assert!(told.contains(&format!("no hub answers at 127.0.0.1:{port}")), "{told}");
}
