//! What a reload promises: all of what its source says, or nothing of it and
//! the reason, while everybody is served.

use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use luytre::base::clock::Clock as _;
use luytre::model::principal::SpiffeId;
use luytre::pki::issue::{Authority, DAY, Hierarchy, Key, Leaf};
use luytre::pki::pem::{self, Label};
use luytre::pki::tls::{Material, Monitor, Trial};
use luytre::server::Error;
use luytre::server::config::Grpc;
use luytre::server::handshake::Refused;
use luytre::server::listener::Limits;
use luytre::server::tls::{Candidate, Certificates, Failure, Files, NotReloaded, Source};
use parking_lot::Mutex;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};

use super::support::{Credential, FEED, Hub, ManualClock, NAME, check, crl, reason, within};

/// The four files of a hub, which is served by what they say.
struct Kept {
    hub: Hub,
    dir: tempfile::TempDir,
    certificates: Certificates,
}

impl Kept {
    async fn start() -> Self {
        let (hub, dir) = (Hub::start().await, tempfile::tempdir().unwrap());
        let at = |name: &str| dir.path().join(name);
        let (listen, cert, key) = (hub.address, at("cert.pem"), at("key.pem"));
        let grpc = Grpc { listen, cert, key, client_ca: at("ca.pem"), client_crl: at("crl.pem") };
        let certificates = certificates(&hub, Arc::new(Files(grpc)));
        let kept = Self { hub, dir, certificates };
        kept.write(&kept.leaf(&[NAME], DAY * 30), &[]);
        kept.certificates.reload(false).await.unwrap();
        kept
    }

    fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A certificate of the hub with its chain, for these names.
    fn leaf(&self, names: &[&str], life: Duration) -> Credential {
        let dns = names.iter().map(|&name| name.to_owned()).collect();
        let leaf = Leaf::Server { dns, ip: vec![[127, 0, 0, 1].into()] };
        let issued = self.hub.pki.server.issue(&leaf, self.hub.clock.now(), life).unwrap();
        let chain = vec![issued.certificate, self.hub.pki.server.certificate().clone()];
        Credential { chain, key: issued.key.to_der() }
    }

    /// Writes all four files.
    fn write(&self, server: &Credential, revoked: &[&[u8]]) {
        let list = crl(&self.hub.pki.client, None, revoked, self.hub.clock.now());
        fs::write(self.at("ca.pem"), encode(&[self.hub.pki.client.certificate().clone()])).unwrap();
        fs::write(self.at("crl.pem"), pem::encode(Label::RevocationList, &list)).unwrap();
        self.write_certificate(server);
        self.write_key(server);
    }

    fn write_certificate(&self, server: &Credential) {
        fs::write(self.at("cert.pem"), encode(&server.chain)).unwrap();
    }

    fn write_key(&self, server: &Credential) {
        write_key(&self.at("key.pem"), server);
    }

    /// Reloads, which must be refused for `kind`, change nothing, and be told
    /// and counted.
    async fn assert_refused(&self, kind: Failure) -> String {
        let (before, count) = (self.certificates.current(), self.certificates.failed(kind));
        let NotReloaded { error, epoch } = self.certificates.reload(false).await.unwrap_err();
        assert_eq!(Failure::of(&error), kind, "{error}");
        assert!(Arc::ptr_eq(&before, &self.certificates.current()));
        assert_eq!(epoch, before.epoch());
        assert_eq!(self.certificates.failed(kind), count + 1);
        self.hub.assert_serves(&self.hub.good_client()).await;
        error.to_string()
    }

    async fn assert_reloads(&self) {
        let before = self.certificates.current().epoch();
        assert_eq!(self.certificates.reload(false).await.unwrap().snapshot.epoch(), before + 1);
        self.hub.assert_serves(&self.hub.good_client()).await;
    }
}

fn certificates(hub: &Hub, source: Arc<dyn Source>) -> Certificates {
    let (snapshot, connections) = (Arc::clone(&hub.snapshot), Arc::clone(&hub.connections));
    Certificates::new(source, None, snapshot, connections, Arc::clone(&hub.clock))
}

fn encode(chain: &[CertificateDer<'_>]) -> String {
    chain.iter().map(|der| pem::encode(Label::Certificate, der)).collect()
}

fn write_key(path: &Path, server: &Credential) {
    fs::write(path, Key::from_der(&server.key).unwrap().to_pem().as_bytes()).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

#[tokio::test]
async fn a_reload_takes_everything_and_says_what_it_has_changed() {
    let kept = Kept::start().await;
    let (bad, good) = (kept.hub.good_client(), kept.hub.good_client());
    let (mut bad_calls, mut good_calls) = (kept.hub.client(&bad), kept.hub.client(&good));
    let mut bad_stream = kept.hub.watch(&mut bad_calls).await;
    let mut good_stream = kept.hub.watch(&mut good_calls).await;
    kept.write(&kept.leaf(&[NAME, "www.hub.test"], DAY * 60), &[&bad.serial()]);
    let done = kept.certificates.reload(false).await.unwrap();
    assert_eq!((done.severed, done.change.newly_revoked, done.change.server), (1, 1, true));
    assert_eq!(done.change.lists_renewed.len(), 1);
    assert_eq!((done.change.anchors_added.len(), done.change.anchors_removed.len()), (0, 0));
    assert_eq!(reason(&within(bad_stream.message()).await.unwrap_err()), "CERTIFICATE_REVOKED");
    // The other's stream stays open, and goes on.
    kept.hub.health.set_service_status("", tonic_health::ServingStatus::NotServing).await;
    within(good_stream.message()).await.unwrap().unwrap();
    check(&mut good_calls).await.unwrap();
    // Once more, it changes nothing.
    let again = kept.certificates.reload(false).await.unwrap();
    assert_eq!((again.severed, again.change), (0, luytre::pki::tls::Change::default()));
}

#[tokio::test]
async fn half_a_file_is_refused_and_the_old_configuration_serves() {
    let kept = Kept::start().await;
    for (name, kind) in [
        ("ca.pem", Failure::Pem),
        ("crl.pem", Failure::Pem),
        ("cert.pem", Failure::Pem),
        ("key.pem", Failure::Pem),
    ] {
        let whole = fs::read(kept.at(name)).unwrap();
        // At its half, and where the last certificate of several breaks off.
        for left in [0, whole.len() / 2, whole.len() - 40] {
            fs::write(kept.at(name), &whole[..left]).unwrap();
            kept.assert_refused(kind).await;
        }
        fs::write(kept.at(name), &whole).unwrap();
        kept.assert_reloads().await;
    }
}

#[tokio::test]
async fn a_certificate_that_comes_before_its_key_changes_nothing_until_the_key_is_there() {
    let kept = Kept::start().await;
    let new = kept.leaf(&[NAME], DAY * 60);
    kept.write_certificate(&new);
    kept.assert_refused(Failure::KeyMismatch).await;
    kept.assert_refused(Failure::KeyMismatch).await;
    kept.write_key(&new);
    kept.assert_reloads().await;
    let shown = kept.hub.tls(&kept.hub.good_client()).await.unwrap();
    assert_eq!(shown.get_ref().1.peer_certificates().unwrap()[0], new.chain[0]);
}

#[tokio::test]
async fn files_that_are_gone_unreadable_or_open_to_others_change_nothing() {
    let kept = Kept::start().await;
    for name in ["ca.pem", "crl.pem", "cert.pem", "key.pem"] {
        let aside = kept.at("aside");
        fs::rename(kept.at(name), &aside).unwrap();
        assert!(kept.assert_refused(Failure::File).await.contains(name));
        // Nobody can read a directory, root neither.
        fs::create_dir(kept.at(name)).unwrap();
        kept.assert_refused(Failure::File).await;
        fs::remove_dir(kept.at(name)).unwrap();
        fs::rename(&aside, kept.at(name)).unwrap();
        if !rustix::process::geteuid().is_root() {
            let mode = fs::metadata(kept.at(name)).unwrap().permissions();
            fs::set_permissions(kept.at(name), fs::Permissions::from_mode(0o000)).unwrap();
            kept.assert_refused(Failure::File).await;
            fs::set_permissions(kept.at(name), mode).unwrap();
        }
        kept.assert_reloads().await;
    }
    fs::set_permissions(kept.at("key.pem"), fs::Permissions::from_mode(0o644)).unwrap();
    assert!(kept.assert_refused(Failure::File).await.contains("chmod 600"));
}

#[tokio::test]
async fn a_directory_that_is_exchanged_by_its_symlink_is_taken_whole() {
    let kept = Kept::start().await;
    // As Kubernetes mounts secrets: files are links into `..data`, which is a
    // link to the newest directory.
    for name in ["ca.pem", "crl.pem", "cert.pem", "key.pem"] {
        fs::create_dir_all(kept.at("..1")).unwrap();
        fs::rename(kept.at(name), kept.at("..1").join(name)).unwrap();
        symlink(Path::new("..data").join(name), kept.at(name)).unwrap();
    }
    symlink("..1", kept.at("..data")).unwrap();
    kept.assert_reloads().await;
    let new = kept.leaf(&[NAME], DAY * 60);
    fs::create_dir(kept.at("..2")).unwrap();
    for name in ["ca.pem", "crl.pem"] {
        fs::copy(kept.at(name), kept.at("..2").join(name)).unwrap();
    }
    fs::write(kept.at("..2").join("cert.pem"), encode(&new.chain)).unwrap();
    write_key(&kept.at("..2").join("key.pem"), &new);
    symlink("..2", kept.at("..new")).unwrap();
    fs::rename(kept.at("..new"), kept.at("..data")).unwrap();
    fs::remove_dir_all(kept.at("..1")).unwrap();
    kept.assert_reloads().await;
    let shown = kept.hub.tls(&kept.hub.good_client()).await.unwrap();
    assert_eq!(shown.get_ref().1.peer_certificates().unwrap()[0], new.chain[0]);
}

#[tokio::test]
async fn a_certificate_that_loses_a_name_is_refused_and_names_it() {
    let kept = Kept::start().await;
    kept.write(&kept.leaf(&[NAME, "www.hub.test"], DAY * 30), &[]);
    kept.assert_reloads().await;
    kept.write(&kept.leaf(&[NAME], DAY * 30), &[]);
    let told = kept.assert_refused(Failure::NamesLost).await;
    assert!(told.contains("www.hub.test") && !told.contains("DNS hub.test"), "{told}");
    kept.write(&kept.leaf(&["WWW.hub.test", NAME, "more.hub.test"], DAY * 30), &[]);
    kept.assert_reloads().await;
}

#[tokio::test]
async fn a_new_certificate_that_ends_within_a_day_has_to_be_forced() {
    let kept = Kept::start().await;
    let brief = kept.leaf(&[NAME], DAY / 2);
    kept.write(&brief, &[]);
    kept.assert_refused(Failure::NearEnd).await;
    let done = kept.certificates.reload(true).await.unwrap();
    assert!(done.change.server);
    // The one in force may be near its end: a revocation still comes in.
    kept.write(&brief, &[&[9]]);
    assert_eq!(kept.certificates.reload(false).await.unwrap().change.newly_revoked, 1);
}

#[tokio::test]
async fn an_older_revocation_list_is_refused() {
    let kept = Kept::start().await;
    kept.write(&kept.leaf(&[NAME], DAY * 30), &[&[9], &[10]]);
    kept.assert_reloads().await;
    kept.write(&kept.leaf(&[NAME], DAY * 30), &[&[9]]);
    kept.assert_refused(Failure::RevocationList).await;
}

#[tokio::test]
async fn a_chain_that_does_not_hold_together_is_refused() {
    let kept = Kept::start().await;
    let mut server = kept.leaf(&[NAME], DAY * 30);
    let (_, stranger) = super::support::authority(Hierarchy::Server, kept.hub.clock.now());
    server.chain[1] = stranger.certificate().clone();
    kept.write(&server, &[]);
    kept.assert_refused(Failure::Rehearsal).await;
}

#[tokio::test]
async fn what_has_run_out_in_force_keeps_no_revocation_out() {
    let clock = ManualClock::shared();
    let now = clock.now();
    let root = Authority::root(Hierarchy::Client, "test", now, DAY * 300).unwrap();
    let brief = root.issuing(Hierarchy::Client, "test", 2, now, DAY * 10).unwrap();
    let hub = Hub::start_with(Limits::default(), clock.clone(), &[&brief]).await;
    let source = Arc::new(Told::default());
    let certificates = certificates(&hub, Arc::clone(&source) as _);
    let server = hub.pki.material(now);
    let reload = async |revoked: &[&[u8]], foreign: &CertificateRevocationListDer<'static>| {
        let list = crl(&hub.pki.client, None, revoked, clock.now());
        let trusted = [(&hub.pki.client, list), (&brief, foreign.clone())];
        let key = luytre::base::secret::Secret::new(server.key.expose().clone_key());
        let material = Material { chain: server.chain.clone(), key, ..hub.pki.material_with(&trusted) };
        *source.says.lock() = Some(Candidate { material, trial: None });
        certificates.reload(false).await
    };
    let foreign = crl(&brief, None, &[], now);
    reload(&[], &foreign).await.unwrap();
    let feed = Leaf::Client(SpiffeId::parse(FEED).unwrap());
    let [good, bad] = [(); 2].map(|()| Credential::from(hub.pki.client.issue(&feed, now, DAY * 90).unwrap()));
    let mut calls = hub.client(&bad);
    check(&mut calls).await.unwrap();

    // By now the authority, its list and the hub's own certificate are over.
    clock.forward(DAY * 60);
    let done = reload(&[&bad.serial()], &foreign).await.unwrap();
    assert_eq!((done.severed, done.change.newly_revoked, done.change.server), (1, 1, false));
    hub.assert_refuses(&bad, Refused::Revoked).await;
    hub.assert_serves(&good).await;
    // Another list that is over is no better for that.
    let NotReloaded { error, .. } = reload(&[], &crl(&brief, None, &[&[9]], now)).await.unwrap_err();
    assert_eq!(Failure::of(&error), Failure::RevocationList, "{error}");
}

/// Says what it is told to, and counts how many ask at once.
#[derive(Debug, Default)]
struct Told {
    says: Mutex<Option<Candidate>>,
    asking: AtomicUsize,
    most: AtomicUsize,
}

impl Source for Told {
    fn gather(&self) -> Result<Candidate, Error> {
        let asking = self.asking.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(asking, Ordering::SeqCst);
        let said = self.says.lock().take();
        // Time enough for another to come in, if it could.
        (0..1_000).for_each(|_| std::thread::yield_now());
        self.asking.fetch_sub(1, Ordering::SeqCst);
        said.ok_or_else(|| Error::Log("there is nothing to say".to_owned()))
    }
}

#[tokio::test]
async fn a_candidate_that_misjudges_a_monitor_is_refused() {
    let hub = Hub::start().await;
    let source = Arc::new(Told::default());
    let certificates = certificates(&hub, Arc::clone(&source) as _);
    let (good, bad) = (hub.good_client(), hub.good_client());
    let monitor = |of: &Credential| Monitor {
        chain: of.chain.clone(),
        key: luytre::base::secret::Secret::new(of.key.expose().clone_key()),
    };
    let material = |revoked: &Credential| -> Material {
        let list = crl(&hub.pki.client, None, &[&revoked.serial()], hub.clock.now());
        hub.pki.material_with(&[(&hub.pki.client, list)])
    };
    // Nothing is revoked, or the wrong one: either verdict is wrong then.
    let nothing = hub.pki.material(hub.clock.now());
    for wrong in [nothing, material(&good)] {
        let trial = Some(Trial { good: monitor(&good), revoked: monitor(&bad) });
        *source.says.lock() = Some(Candidate { material: wrong, trial });
        let NotReloaded { error, .. } = certificates.reload(false).await.unwrap_err();
        assert_eq!(Failure::of(&error), Failure::Rehearsal, "{error}");
        hub.assert_serves(&good).await;
        hub.assert_serves(&bad).await;
    }
    let trial = Some(Trial { good: monitor(&good), revoked: monitor(&bad) });
    *source.says.lock() = Some(Candidate { material: material(&bad), trial });
    certificates.reload(false).await.unwrap();
    hub.assert_serves(&good).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reloads_come_one_after_the_other() {
    let hub = Hub::start().await;
    let source = Arc::new(Told::default());
    let certificates = Arc::new(certificates(&hub, Arc::clone(&source) as _));
    let reloads: Vec<_> = (0..50)
        .map(|_| {
            let certificates = Arc::clone(&certificates);
            tokio::spawn(async move { certificates.reload(false).await.is_ok() })
        })
        .collect();
    for reload in reloads {
        assert!(!within(reload).await.unwrap());
    }
    assert_eq!(source.most.load(Ordering::SeqCst), 1);
    assert_eq!(certificates.failed(Failure::Other), 50);
}
