//! Promises of the vault: whatever is ordered, only what the profile allows is
//! signed, and what was signed is not forgotten.

use std::cell::Cell;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use rcgen::{KeyPair, PKCS_ECDSA_P521_SHA512, PublicKeyData as _};

use super::{Profile, Vault};
use crate::base::clock::{Clock, SystemClock, Timestamp};
use crate::base::secret::Secret;
use crate::model::principal::SpiffeId;
use crate::pki::directory::Directory;
use crate::pki::identity::{self, CertificateId, IssuerDigest};
use crate::pki::issue::{BACKDATE, DAY, Hierarchy, random_serial, validity_of};
use crate::pki::revocation::{List, SKEW};
use crate::pki::signing::{Error, Holder, LeafOrder, ListOrder, Signed, Signer as _};

const DOMAIN: &str = "hub.example";
const PASSPHRASE: &str = "correct horse battery";
const HOUR: Duration = Duration::from_secs(3600);

#[derive(Debug)]
struct Hands(AtomicU64);

impl Clock for Hands {
    fn now(&self) -> Timestamp {
        Timestamp::from_micros_clamped(self.0.load(Ordering::SeqCst))
    }
}

impl Hands {
    fn advance(&self, by: Duration) {
        self.0.fetch_add(u64::try_from(by.as_micros()).unwrap(), Ordering::SeqCst);
    }
}

/// A signer's keys and journal, and the clock that it goes by.
struct Place {
    dir: tempfile::TempDir,
    pki: Directory,
    profile: Profile,
    clock: Arc<Hands>,
}

fn passphrase() -> Secret<Vec<u8>> {
    Secret::new(PASSPHRASE.as_bytes().to_vec())
}

fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let (from, to) = (entry.as_ref().unwrap().path(), to.join(entry.unwrap().file_name()));
        if from.is_dir() {
            fs::create_dir(&to).unwrap();
            copy(&from, &to);
        } else {
            fs::copy(&from, &to).unwrap();
        }
    }
}

impl Place {
    fn new() -> Self {
        // Made once: deriving a key from a passphrase is slow on purpose.
        static MADE: LazyLock<tempfile::TempDir> = LazyLock::new(|| {
            let dir = tempfile::tempdir().unwrap();
            let (pki, now) = (dir.path().join("pki"), SystemClock.now());
            let pki = Directory::init_under(&pki, DOMAIN, now, DAY, Some(passphrase())).unwrap();
            pki.export_for_signer(&dir.path().join("keys")).unwrap();
            dir
        });
        let dir = tempfile::tempdir().unwrap();
        copy(MADE.path(), dir.path());
        let now = SystemClock.now();
        let pki = Directory::open(&dir.path().join("pki")).unwrap().unlocked(Some(passphrase()));
        let names = ["hub.example".to_owned(), "192.0.2.7".to_owned()];
        let profile = Profile::new(DOMAIN.to_owned(), names.into());
        Self { dir, pki, profile, clock: Arc::new(Hands(AtomicU64::new(now.as_micros()))) }
    }

    fn path(&self, below: &str) -> PathBuf {
        self.dir.path().join(below)
    }

    fn try_open(&self, passphrase: &str) -> Result<Vault, super::Error> {
        let passphrase = Secret::new(passphrase.as_bytes().to_vec());
        let clock: Arc<dyn Clock> = Arc::clone(&self.clock) as _;
        Vault::open(&self.path("keys"), passphrase, &self.path("journal"), self.profile.clone(), clock)
    }

    fn open(&self) -> Vault {
        self.try_open(PASSPHRASE).unwrap()
    }

    /// Why it does not open.
    fn closed(&self) -> String {
        self.try_open(PASSPHRASE).map(|_| ()).unwrap_err().to_string()
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }
}

fn authority(vault: &Vault, hierarchy: Hierarchy) -> IssuerDigest {
    let held = vault.authorities().unwrap().into_iter().find(|held| held.hierarchy == hierarchy).unwrap();
    IssuerDigest::of(identity::parse(&held.certificate).unwrap().subject().as_raw())
}

fn client() -> Holder {
    Holder::Client(SpiffeId::parse("spiffe://hub.example/org/soc/system/feed").unwrap())
}

fn server() -> Holder {
    Holder::Server { dns: vec!["hub.example".to_owned()], ip: vec!["192.0.2.7".parse().unwrap()] }
}

fn leaf(vault: &Vault, place: &Place, hierarchy: Hierarchy, holder: Holder) -> LeafOrder {
    LeafOrder {
        authority: authority(vault, hierarchy),
        public_key: KeyPair::generate().unwrap().subject_public_key_info(),
        serial: random_serial().to_vec(),
        holder,
        not_before: place.now().saturating_sub(BACKDATE),
        not_after: place.now().saturating_add(DAY),
    }
}

fn list(vault: &Vault, place: &Place, number: u64, revoked: &[&str]) -> ListOrder {
    ListOrder {
        authority: authority(vault, Hierarchy::Client),
        number,
        this_update: place.now(),
        next_update: place.now().saturating_add(DAY),
        revoked: revoked.iter().map(|serial| ((*serial).to_owned(), place.now())).collect(),
    }
}

fn assert_refused<T: std::fmt::Debug>(outcome: Result<T, Error>, why: &str) {
    match outcome {
        Err(Error::Refused { problem }) => assert!(problem.contains(why), "{problem:?} lacks {why:?}"),
        other => panic!("not refused for {why:?}: {other:?}"),
    }
}

#[test]
fn the_hierarchy_decides_what_a_leaf_is_for() {
    let place = Place::new();
    let vault = place.open();
    let order = leaf(&vault, &place, Hierarchy::Client, client());
    let signed = vault.sign_leaf(&order).unwrap();
    let read = identity::read(&signed, DOMAIN).unwrap();
    assert_eq!(read.spiffe_id.as_str(), "spiffe://hub.example/org/soc/system/feed");
    let serial = identity::serial_hex(&order.serial).unwrap();
    assert_eq!(read.certificate_id(), CertificateId { issuer: order.authority, serial });
    assert_eq!(identity::parse(&signed).unwrap().public_key().raw, order.public_key);

    let signed = vault.sign_leaf(&leaf(&vault, &place, Hierarchy::Server, server())).unwrap();
    let purpose = identity::parse(&signed).unwrap();
    let purpose = purpose.extended_key_usage().unwrap().unwrap().value;
    assert!(purpose.server_auth && !purpose.client_auth && !purpose.any);

    assert_refused(vault.sign_leaf(&leaf(&vault, &place, Hierarchy::Client, server())), "clients alone");
    assert_refused(vault.sign_leaf(&leaf(&vault, &place, Hierarchy::Server, client())), "servers alone");
}

#[test]
fn whatever_is_ordered_what_is_signed_keeps_the_profile() {
    let place = Place::new();
    let vault = place.open();
    let day = i64::try_from(DAY.as_secs()).unwrap();
    let orders = (
        (prop::bool::ANY, prop::bool::ANY, 0..4_usize),
        (-1_000..1_000_i64, prop_oneof![-day..day, 25 * day..120 * day]),
        // Half of them sound, so that something is signed whatever is drawn.
        prop_oneof![prop::collection::vec(any::<u8>(), 14..22), prop::collection::vec(1..0x80_u8, 16..21)],
    );
    let signed = Cell::new(0);
    let shift = |at: Timestamp, by: i64| {
        let span = Duration::from_secs(by.unsigned_abs());
        if by < 0 { at.saturating_sub(span) } else { at.saturating_add(span) }
    };
    TestRunner::new(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })
        .run(&orders, |((of_clients, for_client, name), (begin, end), serial)| {
            let now = place.now();
            let hierarchy = if of_clients { Hierarchy::Client } else { Hierarchy::Server };
            let holder = if for_client {
                let domain = ["hub.example", "hub.example", "other.example", "hub.example.org"][name];
                Holder::Client(SpiffeId::parse(&format!("spiffe://{domain}/org/soc/system/feed")).unwrap())
            } else {
                let dns = ["hub.example", "HUB.example", "*.example", "evil.example"][name].to_owned();
                Holder::Server { dns: vec![dns], ip: Vec::new() }
            };
            let mut order = leaf(&vault, &place, hierarchy, holder);
            (order.not_before, order.not_after, order.serial) = (shift(now, begin), shift(now, end), serial);
            let Ok(certificate) = vault.sign_leaf(&order) else { return Ok(()) };
            signed.set(signed.get() + 1);
            let parsed = identity::parse(&certificate).unwrap();
            let (not_before, not_after) = validity_of(&parsed).unwrap();
            let (longest, purpose) = match hierarchy {
                Hierarchy::Client => (DAY * 30, (true, false)),
                Hierarchy::Server => (DAY * 90, (false, true)),
            };
            prop_assert!(not_before >= now.saturating_sub(BACKDATE + SKEW + Duration::from_secs(1)));
            prop_assert!(not_before <= now.saturating_add(SKEW) && not_before < not_after);
            prop_assert!(not_after <= now.saturating_add(longest + SKEW));
            prop_assert!(!parsed.is_ca());
            let used = parsed.extended_key_usage().unwrap().unwrap().value;
            prop_assert_eq!((used.client_auth, used.server_auth), purpose);
            let usage = parsed.key_usage().unwrap().unwrap().value;
            prop_assert!(usage.digital_signature() && !usage.key_cert_sign() && !usage.crl_sign());
            prop_assert!((16..=20).contains(&parsed.raw_serial().len()) && parsed.raw_serial()[0] < 0x80);
            prop_assert_eq!(for_client, of_clients);
            prop_assert!(!for_client || identity::read(&certificate, DOMAIN).is_ok());
            prop_assert!(for_client || name == 0, "{}", name);
            Ok(())
        })
        .unwrap();
    assert!(signed.get() > 0, "none was signed");
}

#[test]
fn a_serial_number_is_given_once_and_a_restart_forgets_none() {
    let place = Place::new();
    let vault = place.open();
    let order = leaf(&vault, &place, Hierarchy::Client, client());
    let first = vault.sign_leaf(&order).unwrap();
    let mut again = leaf(&vault, &place, Hierarchy::Server, server());
    again.serial.clone_from(&order.serial);
    assert_refused(vault.sign_leaf(&order), "given before");
    assert_refused(vault.sign_leaf(&again), "given before");
    drop(vault);
    let vault = place.open();
    assert_refused(vault.sign_leaf(&order), "given before");
    let journal = vault.journal(0).unwrap();
    assert_eq!(journal.len(), 1);
    assert_eq!(journal[0].signed, Signed::Leaf { certificate: first });
    assert_eq!((journal[0].number, journal[0].time), (1, place.now()));
}

#[test]
fn a_leaf_ends_with_its_authority_and_an_authority_that_is_over_signs_nothing() {
    let place = Place::new();
    let vault = place.open();
    let held = vault.authorities().unwrap();
    let parsed = identity::parse(&held[0].certificate).unwrap();
    let end = validity_of(&parsed).unwrap().1;
    place.clock.advance(end.since(place.now()) - DAY);
    let mut order = leaf(&vault, &place, held[0].hierarchy, client());
    if held[0].hierarchy == Hierarchy::Server {
        order.holder = server();
    }
    order.not_after = end.saturating_add(Duration::from_secs(1));
    assert_refused(vault.sign_leaf(&order), "not after the authority");
    order.not_after = end;
    vault.sign_leaf(&order).unwrap();
    place.clock.advance(DAY);
    assert_refused(
        vault.sign_leaf(&leaf(&vault, &place, held[0].hierarchy, order.holder)),
        "the authority is valid from",
    );
    assert_refused(vault.sign_list(&list(&vault, &place, 1, &[])), "the authority is valid from");
}

#[test]
fn a_key_of_another_kind_or_of_an_authority_is_not_certified() {
    let place = Place::new();
    let vault = place.open();
    let with = |public_key: Vec<u8>| {
        let order = leaf(&vault, &place, Hierarchy::Client, client());
        vault.sign_leaf(&LeafOrder { public_key, ..order })
    };
    let own = vault.authorities().unwrap()[0].certificate.clone();
    assert_refused(with(identity::parse(&own).unwrap().public_key().raw.to_vec()), "an authority's own");
    let other = KeyPair::generate_for(&PKCS_ECDSA_P521_SHA512).unwrap().subject_public_key_info();
    assert_refused(with(other), "P-256");
    let sound = KeyPair::generate().unwrap().subject_public_key_info();
    assert_refused(with([sound.clone(), vec![0]].concat()), "well-formed");
    assert_refused(with(sound[..sound.len() - 1].to_vec()), "well-formed");
    assert_refused(with(Vec::new()), "well-formed");
    assert_eq!(vault.journal(0).unwrap(), []);
}

#[test]
fn an_authority_that_is_not_held_signs_nothing() {
    let place = Place::new();
    let vault = place.open();
    let mut order = leaf(&vault, &place, Hierarchy::Client, client());
    order.authority = IssuerDigest::of(b"another");
    assert_refused(vault.sign_leaf(&order), "does not hold");
}

#[test]
fn an_hour_has_its_bound_which_a_restart_does_not_lift() {
    let mut place = Place::new();
    place.profile.leaves_per_hour = 2;
    place.profile.lists_per_hour = 1;
    let vault = place.open();
    let sign = |vault: &Vault| vault.sign_leaf(&leaf(vault, &place, Hierarchy::Client, client()));
    sign(&vault).unwrap();
    place.clock.advance(HOUR / 2);
    sign(&vault).unwrap();
    vault.sign_list(&list(&vault, &place, 1, &[])).unwrap();
    assert!(matches!(sign(&vault), Err(Error::Limited { .. })));
    assert!(matches!(vault.sign_list(&list(&vault, &place, 2, &[])), Err(Error::Limited { .. })));
    drop(vault);
    let vault = place.open();
    assert!(matches!(sign(&vault), Err(Error::Limited { .. })));
    place.clock.advance(HOUR / 2);
    sign(&vault).unwrap();
    assert!(matches!(sign(&vault), Err(Error::Limited { .. })));
}

#[test]
fn a_list_has_a_higher_number_and_forgets_nothing() {
    let place = Place::new();
    let vault = place.open();
    let order = leaf(&vault, &place, Hierarchy::Client, client());
    let ends = order.not_after;
    vault.sign_leaf(&order).unwrap();
    let known = identity::serial_hex(&order.serial).unwrap();
    assert_refused(vault.sign_list(&list(&vault, &place, 5, &["BADC0DE0"])), "no serial number");
    assert_refused(vault.sign_list(&list(&vault, &place, 5, &["00badc0d"])), "no serial number");
    let both = [known.as_str(), "badc0de0"];
    assert_refused(vault.sign_list(&list(&vault, &place, 5, &[both[0], both[0]])), "twice");

    let signed = List::read(&vault.sign_list(&list(&vault, &place, 5, &both)).unwrap()).unwrap();
    assert_eq!(signed.revoked.len(), 2);
    assert_eq!(signed.number_u64(), Some(5));
    drop(vault);
    let vault = place.open();
    for number in [0, 4, 5] {
        assert_refused(vault.sign_list(&list(&vault, &place, number, &both)), "not above 5");
    }
    for forgetful in [&both[..1], &both[1..], &[]] {
        assert_refused(vault.sign_list(&list(&vault, &place, 6, forgetful)), "forgets");
    }
    vault.sign_list(&list(&vault, &place, 9, &[both[0], both[1], "cafe"])).unwrap();
    let added: Vec<_> = vault
        .journal(1)
        .unwrap()
        .into_iter()
        .map(|record| match record.signed {
            Signed::List { added, .. } => added.into_iter().map(|(serial, _)| serial).collect(),
            Signed::Leaf { .. } => Vec::new(),
        })
        .collect();
    assert_eq!(added, [both.map(str::to_owned).to_vec(), vec!["cafe".to_owned()]]);

    // Only what is known to be over may be left out.
    place.clock.advance(ends.since(place.now()) + Duration::from_secs(1));
    assert_refused(vault.sign_list(&list(&vault, &place, 10, &["cafe"])), "forgets");
    vault.sign_list(&list(&vault, &place, 10, &[both[1], "cafe"])).unwrap();
}

#[test]
fn a_list_is_for_now_and_not_for_ever() {
    let place = Place::new();
    let vault = place.open();
    let sign = |change: &dyn Fn(&mut ListOrder)| {
        let mut order = list(&vault, &place, 1, &["cafe"]);
        change(&mut order);
        vault.sign_list(&order)
    };
    let hour = |hours: u32| place.now().saturating_add(HOUR * hours);
    assert_refused(sign(&|order| order.next_update = hour(24 * 32)), "within 31 days");
    assert_refused(sign(&|order| order.this_update = hour(1)), "clock");
    assert_refused(sign(&|order| order.this_update = place.now().saturating_sub(HOUR)), "clock");
    assert_refused(sign(&|order| order.revoked[0].1 = hour(1)), "future");
    assert_refused(sign(&|order| order.next_update = order.this_update), "ends after it begins");
    sign(&|_| {}).unwrap();
}

#[test]
fn a_key_that_is_open_plain_or_locked_otherwise_is_not_held() {
    let place = Place::new();
    let key = place.path("keys/client/g1.key");
    let mode = |path: &PathBuf, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    let refused = place.try_open("another passphrase").map(|_| ()).unwrap_err().to_string();
    assert!(refused.contains("the passphrase does not open the key"), "{refused}");
    for open in [0o644, 0o640, 0o602] {
        mode(&key, open);
        assert!(place.closed().contains("chmod 600"), "{open:o}");
    }
    mode(&key, 0o600);
    mode(&place.path("keys/client"), 0o770);
    assert!(place.closed().contains("chmod go-w"));
    mode(&place.path("keys/client"), 0o700);

    let encrypted = fs::read(&key).unwrap();
    let plain = crate::pki::encrypted::read(&encrypted, &passphrase()).unwrap().to_pem();
    fs::write(&key, plain.as_bytes()).unwrap();
    let refused = place.closed();
    assert!(refused.contains("luytre pki encrypt") && refused.contains("not encrypted"), "{refused}");
    fs::write(&key, &encrypted[..encrypted.len() / 2]).unwrap();
    assert!(place.closed().contains("damaged"));
    fs::copy(place.path("keys/server/g1.key"), &key).unwrap();
    assert!(place.closed().contains("does not belong to its certificate"));
    fs::remove_dir_all(place.path("keys")).unwrap();
    assert!(place.closed().contains("holds no authority"));
}

#[test]
fn a_root_and_one_authority_twice_are_not_held() {
    let place = Place::new();
    for ending in ["pem", "key"] {
        let root = place.path(&format!("pki/private/client-root.{ending}"));
        fs::copy(root, place.path(&format!("keys/client/root.{ending}"))).unwrap();
    }
    let refused = place.closed();
    assert!(refused.contains("keep roots offline"), "{refused}");
    for ending in ["pem", "key"] {
        let there = place.path(&format!("keys/server/g1.{ending}"));
        fs::rename(&there, place.path(&format!("keys/client/root.{ending}"))).unwrap();
        fs::copy(place.path(&format!("keys/client/g1.{ending}")), there).unwrap();
    }
    let refused = place.closed();
    assert!(refused.contains("name of an authority that is held already"), "{refused}");
}

#[test]
fn a_new_generation_signs_as_soon_as_it_is_put_there_and_a_removed_one_no_more() {
    let place = Place::new();
    let vault = place.open();
    let first = authority(&vault, Hierarchy::Client);
    place.pki.next_issuing(Hierarchy::Client, place.now()).unwrap();
    place.pki.export_for_signer(&place.path("keys")).unwrap();
    // What is not sound there disturbs nothing.
    fs::write(place.path("keys/client/odd.pem"), "no certificate").unwrap();
    let held = vault.authorities().unwrap();
    assert_eq!(held.len(), 3);
    let names: Vec<_> = held
        .iter()
        .filter(|held| held.hierarchy == Hierarchy::Client)
        .map(|held| IssuerDigest::of(identity::parse(&held.certificate).unwrap().subject().as_raw()))
        .collect();
    for name in &names {
        let order = leaf(&vault, &place, Hierarchy::Client, client());
        vault.sign_leaf(&LeafOrder { authority: *name, ..order }).unwrap();
    }
    fs::remove_file(place.path("keys/client/g1.pem")).unwrap();
    vault.refresh();
    let order = leaf(&vault, &place, Hierarchy::Client, client());
    assert_refused(vault.sign_leaf(&LeafOrder { authority: first, ..order }), "does not hold");
}
