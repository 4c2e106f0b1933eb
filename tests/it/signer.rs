//! Promises of the signer: a process of its own that signs within its bounds,
//! forgets nothing when it is killed, and shows its keys to nobody.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};
use std::sync::LazyLock;
use std::time::Duration;

use luytre::base::clock::{Clock as _, SystemClock, Timestamp};
use luytre::model::principal::SpiffeId;
use luytre::pki::identity::{self, IssuerDigest};
use luytre::pki::issue::{BACKDATE, DAY, Hierarchy, Key, random_serial};
use luytre::pki::pem::{self, Label};
use luytre::pki::signing::{Error, Holder, LeafOrder, ListOrder, Signed, Signer as _};
use luytre::signer::Remote;

use crate::harness::eventually;
use crate::harness::secrets::forms;

const PASSPHRASE: &str = "a passphrase that nobody logs";

/// A signer's files, as `luytre pki` makes them.
struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        Self::with("")
    }

    /// With these lines in the configuration's section of limits.
    fn with(limits: &str) -> Self {
        // Made once: deriving a key from a passphrase is slow on purpose.
        static MADE: LazyLock<Place> = LazyLock::new(|| {
            let place = Place { dir: tempfile::tempdir().unwrap() };
            place.write("passphrase", PASSPHRASE);
            place.pki("init --dir pki --trust-domain hub.example --passphrase-file passphrase");
            place.pki("export-signer --dir pki --to keys");
            place
        });
        let place = Self { dir: tempfile::tempdir().unwrap() };
        let copied = place.run("cp", &format!("-a {}/. .", MADE.dir.path().display()));
        assert!(copied.status.success(), "{copied:?}");
        place.write(
            "signer.toml",
            &format!(
                "trust_domain = \"hub.example\"\nserver_names = [\"hub.example\"]\nkeys = \"keys\"\n\
                 state = \"state\"\nsocket = \"signer.sock\"\n[limits]\n{limits}\n[log]\nfilter = \"debug\"\n"
            ),
        );
        place
    }

    fn path(&self, below: &str) -> PathBuf {
        self.dir.path().join(below)
    }

    fn write(&self, below: &str, content: &str) {
        fs::write(self.path(below), content).unwrap();
        fs::set_permissions(self.path(below), fs::Permissions::from_mode(0o600)).unwrap();
    }

    fn run(&self, program: &str, line: &str) -> Output {
        Command::new(program)
            .args(line.split_whitespace())
            .current_dir(self.dir.path())
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    fn pki(&self, line: &str) -> String {
        let output = self.run(env!("CARGO_BIN_EXE_luytre"), &format!("pki {line}"));
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{line}: {told}");
        told
    }

    /// What a signer that does not start says, and its exit code.
    fn fails(&self, line: &str) -> (i32, String) {
        // One that starts after all is ended, and its code is not the one.
        let program = env!("CARGO_BIN_EXE_luytred");
        let output = self.run("timeout", &format!("60 {program} signer --config signer.toml {line}"));
        (output.status.code().unwrap(), String::from_utf8(output.stderr).unwrap())
    }

    /// Starts a signer that reads its passphrase from descriptor 3.
    async fn start(&self) -> Running {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.path("log")).unwrap();
        let script = "exec 3< passphrase; exec \"$0\" signer --config signer.toml --passphrase-fd 3";
        let child = Command::new("sh")
            .args(["-c", script, env!("CARGO_BIN_EXE_luytred")])
            .current_dir(self.dir.path())
            .stdin(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let mut running = Running(child);
        eventually("the signer answers", async || {
            assert_eq!(running.0.try_wait().unwrap(), None, "{}", self.log());
            self.remote().authorities().ok()
        })
        .await;
        running
    }

    fn remote(&self) -> Remote {
        Remote::new(self.path("signer.sock"))
    }

    fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    fn journal(&self) -> String {
        fs::read_to_string(self.path("state/journal")).unwrap_or_default()
    }

    fn openssl(&self, line: &str) -> String {
        let output = self.run("openssl", line);
        let told = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{line}: {told}{}", String::from_utf8_lossy(&output.stderr));
        told
    }
}

/// A signer, killed with the test.
struct Running(Child);

impl Running {
    fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }

    fn signal(&self, name: &str) {
        let kill = Command::new("kill").args([name, &self.0.id().to_string()]).status().unwrap();
        assert!(kill.success());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn now() -> Timestamp {
    SystemClock.now()
}

fn authority(remote: &Remote, hierarchy: Hierarchy) -> (IssuerDigest, Vec<u8>) {
    let held = remote.authorities().unwrap().into_iter().find(|held| held.hierarchy == hierarchy).unwrap();
    let certificate = held.certificate.to_vec();
    (IssuerDigest::of(identity::parse(&certificate).unwrap().subject().as_raw()), certificate)
}

fn leaf(remote: &Remote) -> LeafOrder {
    LeafOrder {
        authority: authority(remote, Hierarchy::Client).0,
        public_key: Key::for_leaf().unwrap().public_key(),
        serial: random_serial().to_vec(),
        holder: Holder::Client(SpiffeId::parse("spiffe://hub.example/org/soc/system/feed").unwrap()),
        not_before: now().saturating_sub(BACKDATE),
        not_after: now().saturating_add(DAY),
    }
}

fn list(remote: &Remote, number: u64, revoked: &[String]) -> ListOrder {
    ListOrder {
        authority: authority(remote, Hierarchy::Client).0,
        number,
        this_update: now().saturating_sub(BACKDATE),
        next_update: now().saturating_add(DAY),
        revoked: revoked.iter().map(|serial| (serial.clone(), now())).collect(),
    }
}

fn assert_refused<T: std::fmt::Debug>(outcome: Result<T, Error>, why: &str) {
    match outcome {
        Err(Error::Refused { problem }) => assert!(problem.contains(why), "{problem:?} lacks {why:?}"),
        other => panic!("not refused for {why:?}: {other:?}"),
    }
}

#[tokio::test]
async fn openssl_verifies_what_the_signer_signs() {
    let place = Place::new();
    let running = place.start().await;
    let remote = place.remote();
    let order = leaf(&remote);
    let serial = identity::serial_hex(&order.serial).unwrap();
    place.write("leaf.pem", &pem::encode(Label::Certificate, &remote.sign_leaf(&order).unwrap()));
    let list_of = |number, revoked: &[String]| {
        let signed = remote.sign_list(&list(&remote, number, revoked)).unwrap();
        place.write("list.pem", &pem::encode(Label::RevocationList, &signed));
    };
    place.write("ca.pem", &pem::encode(Label::Certificate, &authority(&remote, Hierarchy::Client).1));
    list_of(1, &[]);
    let verify =
        "verify -partial_chain -CAfile ca.pem -CRLfile list.pem -crl_check -purpose sslclient leaf.pem";
    place.openssl(verify);
    place.openssl("crl -in list.pem -CAfile ca.pem -noout");
    let shown = place.openssl("x509 -in leaf.pem -noout -text");
    assert!(shown.contains("CA:FALSE") && shown.contains("URI:spiffe://hub.example/org/soc/system/feed"));
    assert!(shown.contains("TLS Web Client Authentication") && !shown.contains("Server Authentication"));
    list_of(2, &[serial]);
    let revoked = place.run("openssl", verify);
    let said = String::from_utf8_lossy(&revoked.stderr).into_owned();
    assert!(!revoked.status.success() && said.contains("certificate revoked"), "{said}");

    // OpenSSL opens a key of ours, and the signer one of OpenSSL's.
    place.openssl("pkcs8 -in keys/client/g1.key -passin file:passphrase -out plain.key");
    place.openssl(
        "pkcs8 -topk8 -scrypt -v2 aes-256-cbc -in plain.key -passout file:passphrase -out keys/client/g1.key",
    );
    drop(running);
    fs::set_permissions(place.path("keys/client/g1.key"), fs::Permissions::from_mode(0o600)).unwrap();
    let _running = place.start().await;
    remote.sign_leaf(&leaf(&remote)).unwrap();
}

#[tokio::test]
async fn what_was_written_down_outlives_a_kill_before_the_answer() {
    let place = Place::new();
    for round in 1..=3_u64 {
        let running = place.start().await;
        let remote = place.remote();
        let order = leaf(&remote);
        let (asking, asked) = (remote.clone(), order.clone());
        let answer = tokio::task::spawn_blocking(move || asking.sign_leaf(&asked));
        eventually("the journal has it", async || {
            (place.journal().lines().count() as u64 == round).then_some(())
        })
        .await;
        running.kill();
        let answer = answer.await.unwrap();

        // A line that was torn by the kill was never answered.
        let torn = format!("{}0badc0de {{\"number\":{}", place.journal(), round + 1);
        fs::write(place.path("state/journal"), torn).unwrap();
        let _running = place.start().await;
        let journal = remote.journal(0).unwrap();
        assert_eq!(journal.len() as u64, round);
        let Some(Signed::Leaf { certificate }) = journal.last().map(|record| record.signed.clone()) else {
            panic!("{journal:?}");
        };
        let kept = identity::read(&certificate, "hub.example").unwrap();
        assert_eq!(Some(kept.serial), identity::serial_hex(&order.serial));
        if let Ok(answer) = answer {
            assert_eq!(answer, certificate);
        }
        assert_refused(remote.sign_leaf(&order), "given before");
    }
    assert_eq!(place.log().matches("torn by a crash").count(), 3, "{}", place.log());
}

#[tokio::test]
async fn a_journal_damaged_in_the_middle_keeps_the_signer_from_starting() {
    let place = Place::new();
    let running = place.start().await;
    let remote = place.remote();
    for _ in 0..3 {
        remote.sign_leaf(&leaf(&remote)).unwrap();
    }
    running.kill();
    let whole = place.journal();
    let second = whole.lines().next().unwrap().len() + 1;
    let mut damaged = whole.into_bytes();
    damaged[second + 40] ^= 1;
    fs::write(place.path("state/journal"), &damaged).unwrap();
    let (code, said) = place.fails("--passphrase-file passphrase");
    assert_eq!(code, 70, "{said}");
    assert!(said.contains("damaged at record 2") && said.contains("never start it empty"), "{said}");
    assert_eq!(fs::read(place.path("state/journal")).unwrap(), damaged);
}

#[tokio::test]
async fn a_signer_without_its_passphrase_or_with_a_bad_key_says_what_to_do() {
    let place = Place::new();
    place.write("wrong", "another passphrase");
    place.write("empty", "\n");
    for (line, why) in [
        ("--passphrase-file wrong", "the passphrase does not open the key"),
        ("--passphrase-file empty", "is empty"),
        ("--passphrase-file absent", "cannot read the passphrase"),
        ("--passphrase-fd 7", "descriptor 7"),
        ("", "--passphrase-fd N"),
    ] {
        let (code, said) = place.fails(line);
        assert!(code == 78 && said.contains(why), "{line}: {code} {said}");
    }
    let key = place.path("keys/client/g1.key");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let (code, said) = place.fails("--passphrase-file passphrase");
    assert!(code == 78 && said.contains("chmod 600"), "{code} {said}");

    let told = place.pki("init --dir plain --trust-domain hub.example");
    assert!(told.contains("NOT encrypted"), "{told}");
    let refused = place.run(env!("CARGO_BIN_EXE_luytre"), "pki export-signer --dir plain --to other");
    assert!(String::from_utf8_lossy(&refused.stderr).contains("luytre pki encrypt"));
    assert!(!place.path("other").exists());
    fs::copy(place.path("plain/private/client-issuing.key"), &key).unwrap();
    fs::copy(place.path("plain/private/client-issuing.pem"), key.with_extension("pem")).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    let (code, said) = place.fails("--passphrase-file passphrase");
    assert!(code == 78 && said.contains("luytre pki encrypt"), "{code} {said}");
    place.pki(&format!("encrypt {} --passphrase-file passphrase", key.display()));
    let _running = place.start().await;
}

#[tokio::test]
async fn the_next_generation_is_made_offline_and_taken_without_a_restart() {
    let place = Place::new();
    let running = place.start().await;
    let remote = place.remote();
    assert_eq!(remote.authorities().unwrap().len(), 2);
    let locked = place.run(env!("CARGO_BIN_EXE_luytre"), "pki issuing --dir pki --hierarchy client");
    assert!(String::from_utf8_lossy(&locked.stderr).contains("--ask-passphrase"));
    place.pki("issuing --dir pki --hierarchy client --passphrase-file passphrase");
    place.pki("export-signer --dir pki --to keys");
    running.signal("-HUP");
    eventually("SIGHUP brings it in", async || place.log().contains("client/g2.pem").then_some(())).await;
    let held = remote.authorities().unwrap();
    let names: std::collections::BTreeSet<_> =
        held.iter().map(|held| identity::parse(&held.certificate).unwrap().subject().to_string()).collect();
    assert_eq!(names.len(), 3, "{names:?}");
    let second = names.iter().find(|name| name.contains("Luytre Client CA G2")).unwrap();
    let digest = held
        .iter()
        .map(|held| identity::parse(&held.certificate).unwrap())
        .find(|parsed| parsed.subject().to_string() == *second)
        .map(|parsed| IssuerDigest::of(parsed.subject().as_raw()));
    let order = LeafOrder { authority: digest.unwrap(), ..leaf(&remote) };
    remote.sign_leaf(&order).unwrap();
    // The offline directory goes on with what it has, given the passphrase.
    place.pki("crl --dir pki --passphrase-file passphrase");
}

#[tokio::test]
async fn a_list_that_goes_back_or_forgets_is_refused_after_a_restart_too() {
    let place = Place::new();
    let running = place.start().await;
    let remote = place.remote();
    let both = ["cafe".to_owned(), "f00d".to_owned()];
    remote.sign_list(&list(&remote, 7, &both)).unwrap();
    running.kill();
    let _running = place.start().await;
    assert_refused(remote.sign_list(&list(&remote, 7, &both)), "not above 7");
    assert_refused(remote.sign_list(&list(&remote, 8, &both[..1])), "forgets f00d");
    remote.sign_list(&list(&remote, 8, &both)).unwrap();
}

#[tokio::test]
async fn more_than_an_hour_allows_is_put_off() {
    let place = Place::with("leaves_per_hour = 2");
    let _running = place.start().await;
    let remote = place.remote();
    remote.sign_leaf(&leaf(&remote)).unwrap();
    remote.sign_leaf(&leaf(&remote)).unwrap();
    let third = remote.sign_leaf(&leaf(&remote));
    assert!(matches!(third, Err(Error::Limited { .. })), "{third:?}");
    remote.sign_list(&list(&remote, 1, &[])).unwrap();
}

#[tokio::test]
async fn a_hundred_thousand_revocations_fit() {
    let place = Place::new();
    let _running = place.start().await;
    let remote = place.remote();
    let revoked: Vec<_> = (0..100_000_u32).map(|number| format!("5f{number:038x}")).collect();
    let signed = remote.sign_list(&list(&remote, 1, &revoked)).unwrap();
    let read = luytre::pki::revocation::List::read(&signed).unwrap();
    assert_eq!(read.revoked.len(), 100_000);
    let page = remote.journal(0).unwrap();
    assert!(
        matches!(&page[..], [record] if matches!(&record.signed, Signed::List { added, .. } if added.len() == 100_000))
    );
}

#[tokio::test]
async fn the_socket_is_its_users_alone_and_strangers_are_turned_away() {
    let place = Place::new();
    let running = place.start().await;
    let socket = fs::symlink_metadata(place.path("signer.sock")).unwrap();
    assert!(socket.file_type().is_socket() && socket.permissions().mode() & 0o777 == 0o600);
    assert_eq!(fs::metadata(place.path("state")).unwrap().permissions().mode() & 0o777, 0o700);
    assert_eq!(fs::metadata(place.path("state/journal")).unwrap().permissions().mode() & 0o777, 0o600);
    if socket.uid() == 0 {
        // Open the way for another user, whom the signer then does not know.
        for path in [place.dir.path().to_owned(), place.path("signer.sock")] {
            fs::set_permissions(path, fs::Permissions::from_mode(0o777)).unwrap();
        }
        let script = "import socket,sys\ns=socket.socket(socket.AF_UNIX)\ns.connect(sys.argv[1])\n\
            try:\n  s.sendall(bytes([0,0,0,4,1])+b'null')\n  print(len(s.recv(100)))\nexcept OSError: print(0)\n";
        let ask = |uid: u32| {
            let asked =
                Command::new("python3").args(["-c", script]).arg(place.path("signer.sock")).uid(uid).output();
            let asked = asked.unwrap();
            assert!(asked.status.success(), "{}", String::from_utf8_lossy(&asked.stderr));
            String::from_utf8(asked.stdout).unwrap().trim().to_owned()
        };
        assert_eq!(ask(0), "100");
        assert_eq!(ask(65_533), "0");
        assert!(place.log().contains("uid=65533"), "{}", place.log());
        running.kill();
        let config = fs::read_to_string(place.path("signer.toml")).unwrap();
        place.write("signer.toml", &format!("allow_users = [\"65533\"]\n{config}"));
        let _running = place.start().await;
        let mode = fs::symlink_metadata(place.path("signer.sock")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o660);
        fs::set_permissions(place.path("signer.sock"), fs::Permissions::from_mode(0o666)).unwrap();
        assert_eq!(ask(65_533), "100");
        assert_eq!(ask(65_532), "0");
    } else {
        eprintln!("SKIPPED: not root; another user's connection was not tried");
    }
}

#[tokio::test]
async fn what_is_too_long_or_unintelligible_ends_the_connection_and_nothing_else() {
    let place = Place::new();
    let _running = place.start().await;
    let ask = |bytes: &[u8]| {
        let mut stream = UnixStream::connect(place.path("signer.sock")).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream.write_all(bytes).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        answer
    };
    assert_eq!(ask(&[0xff, 0xff, 0xff, 0xff, 3]), b"");
    assert_eq!(ask(&[0, 0x10, 0, 1, 2]), b"");
    assert_eq!(ask(&[0, 0, 0, 0, 9]), b"");
    assert_eq!(ask(&[0, 0, 0, 9, 2, b'{']), b"");
    let odd = ask(b"\x00\x00\x00\x02\x02{}");
    assert!(String::from_utf8_lossy(&odd).contains("well-formed"));
    let silent: Vec<_> = (0..40).map(|_| UnixStream::connect(place.path("signer.sock")).unwrap()).collect();
    drop(silent);
    let remote = place.remote();
    remote.sign_leaf(&leaf(&remote)).unwrap();
}

#[tokio::test]
async fn one_signer_at_a_time_uses_a_journal_and_a_stopped_one_leaves_no_socket() {
    let place = Place::new();
    let mut running = place.start().await;
    let (code, said) = place.fails("--passphrase-file passphrase");
    assert!(code == 75 && said.contains("another signer uses"), "{code} {said}");
    running.signal("-TERM");
    let ended = eventually("it stops", async || running.0.try_wait().unwrap()).await;
    assert!(ended.success(), "{ended}");
    assert!(!place.path("signer.sock").exists());
    let gone = place.remote().authorities().unwrap_err().to_string();
    assert!(gone.contains("luytred signer"), "{gone}");
}

#[tokio::test]
async fn no_log_and_no_journal_holds_a_key_or_the_passphrase() {
    let place = Place::new();
    let running = place.start().await;
    let remote = place.remote();
    remote.sign_leaf(&leaf(&remote)).unwrap();
    assert_refused(remote.sign_leaf(&LeafOrder { public_key: vec![0], ..leaf(&remote) }), "well-formed");
    remote.sign_list(&list(&remote, 1, &["cafe".to_owned()])).unwrap();
    // Its memory is nobody else's, and no core of it is written.
    let limits = fs::read_to_string(format!("/proc/{}/limits", running.0.id())).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().nth(4), Some("0"), "{core}");
    running.kill();
    place.write("wrong", "another passphrase, wrong");
    let (_, said) = place.fails("--passphrase-file wrong");

    let mut secrets = vec![PASSPHRASE.as_bytes().to_vec(), b"another passphrase, wrong".to_vec()];
    for key in ["keys/client/g1.key", "keys/server/g1.key"] {
        place.openssl(&format!("pkcs8 -in {key} -passin file:passphrase -out plain.key"));
        let der = pem::private_key(&fs::read(place.path("plain.key")).unwrap()).unwrap();
        // The secret number of a P-384 key, 48 bytes behind the tag 04 30.
        let der = der.expose().secret_der();
        let at = der.windows(2).position(|tag| tag == [0x04, 0x30]).unwrap() + 2;
        secrets.push(der[at..at + 48].to_vec());
    }
    // A key in PEM is broken into lines, and a log may write their ends out.
    let seen =
        [place.log(), place.journal(), said].join("\n").replace("\\n", "").replace('\n', "").into_bytes();
    assert!(seen.len() > 1_000);
    for secret in secrets {
        for form in forms(&secret) {
            assert!(!seen.windows(form.len()).any(|window| window == form), "a secret was written");
        }
    }
}

#[test]
fn a_secret_is_known_in_every_form() {
    let text = forms(b"a secret of some length");
    assert!(text.iter().any(|form| form.starts_with(b"YSBzZWNyZXQg")));
    assert!(text.iter().any(|form| form.starts_with(b"97, 32, 115")));
}
