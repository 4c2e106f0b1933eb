//! What the ledger lets nobody do, whichever way he comes: renew what is not
//! good any more, revoke what never was, go on under an authority that is gone.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use luytre::base::clock::{Clock, SystemClock};
use luytre::base::secret::Secret;
use luytre::hub::error::Reason;
use luytre::hub::{
    Caller, Hub, InForce, Issuance, Issued, Operator, Options, PeerCertificate, StepAsked, StepKind,
};
use luytre::model::certificate::{CertificateId, Hierarchy, IssuerDigest};
use luytre::model::indicator::{Draft, normalise};
use luytre::model::marking::{Caveats, Marking, Recipients, Tlp};
use luytre::model::principal::Roles;
use luytre::pki::authority::Generation;
use luytre::pki::directory::{Directory, SERVER_CA};
use luytre::pki::issue::{BACKDATE, DAY, lifetime};
use luytre::pki::key::Key;
use luytre::pki::pem;
use luytre::pki::signing::{ListOrder, Signer as _};
use luytre::pki::tls::LedgerVerdict;
use luytre::signer::{Profile, Vault};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::support::{Hands, identity, roster};
use crate::harness::issuing::request;

const DOMAIN: &str = "hub.example";
/// From where systems enrol.
const HERE: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const MACHINE: Operator<'static> = Operator::Machine;

fn passphrase() -> Secret<Vec<u8>> {
    Secret::new(b"nobody else knows it".to_vec())
}

/// The authorities of all these hubs, with the next generation of those who
/// sign for clients. Made once: deriving a key from a passphrase is slow.
static MADE: LazyLock<tempfile::TempDir> = LazyLock::new(|| {
    let dir = tempfile::tempdir().unwrap();
    let (ca, now) = (dir.path().join("ca"), SystemClock.now());
    let made = Directory::init_under(&ca, DOMAIN, now, DAY, Some(passphrase())).unwrap();
    made.export_for_signer(&dir.path().join("first")).unwrap();
    made.next_issuing(Hierarchy::Client, now).unwrap();
    made.export_for_signer(&dir.path().join("both")).unwrap();
    dir
});

/// A hub that issues, and its signer, by one clock.
struct Desk {
    hub: Arc<Hub>,
    vault: Arc<Vault>,
    clock: Arc<Hands>,
    dir: tempfile::TempDir,
}

impl Desk {
    async fn open() -> Self {
        let dir = tempfile::tempdir().unwrap();
        copy(&MADE.path().join("first"), &dir.path().join("keys"));
        let clock = Arc::new(Hands::new(SystemClock.now().as_micros()));
        let profile = Profile::new(DOMAIN.to_owned(), std::collections::BTreeSet::new());
        let (keys, journal) = (dir.path().join("keys"), dir.path().join("journal"));
        let vault = Vault::open(&keys, passphrase(), &journal, profile, Arc::clone(&clock) as _).unwrap();
        let vault = Arc::new(vault);
        let roots = pem::certificates(&fs::read(MADE.path().join("ca").join(SERVER_CA)).unwrap()).unwrap();
        let issuance = Issuance {
            signer: Arc::clone(&vault) as _,
            roots: roots.into(),
            canary: "canary.hub.example".into(),
            lifetime: lifetime::CLIENT,
            soak: Duration::ZERO,
        };
        let data_dir = dir.path().join("data");
        let mut roster = roster();
        // Nobody else operates this hub, so the machine's word is enough.
        roster.principals.values_mut().for_each(|grant| grant.roles = Roles::from_bits(1));
        Hub::init(&data_dir, roster, DOMAIN, clock.as_ref()).unwrap();
        let machine: Arc<dyn Clock> = clock.clone();
        let options = Options { data_dir, machine, issuance: Some(issuance), ..Options::default() };
        let hub = Hub::open(options).unwrap();
        let desk = Self { hub, vault, clock, dir };
        for (hierarchy, generation) in desk.generations() {
            desk.hub.begin_hierarchy(hierarchy, generation).await.unwrap();
        }
        desk
    }

    fn generations(&self) -> Vec<(Hierarchy, Generation)> {
        let held = self.vault.authorities().unwrap();
        held.into_iter()
            .map(|held| (held.hierarchy, Generation::from_der(0, held.certificate).unwrap()))
            .collect()
    }

    /// The authority that signs for clients.
    fn issuer(&self) -> IssuerDigest {
        self.hub.ledger().rotations[&Hierarchy::Client].signing().issuer
    }

    fn wait(&self, span: Duration) {
        self.clock.advance(u64::try_from(span.as_micros()).unwrap());
    }

    /// How much the signer signed so far.
    fn signed(&self) -> usize {
        self.vault.journal(0).unwrap().len()
    }

    async fn enrol(&self, org: usize) -> Issued {
        let made = self.hub.make_token(MACHINE, Uuid::new_v4(), identity(org), Duration::ZERO, String::new());
        let (token, secret) = made.await.unwrap();
        self.hub.approve_token(MACHINE, Uuid::new_v4(), token.id).await.unwrap();
        let asked = request(&Key::for_leaf().unwrap());
        self.hub.enrol(HERE, &secret.unwrap(), &asked, || ()).await.unwrap()
    }

    async fn revoke(&self, id: CertificateId) -> Result<(), Reason> {
        let asked = self.hub.revoke_certificate(MACHINE, Uuid::new_v4(), id, "stolen".to_owned(), false);
        asked.await.map(drop).map_err(|error| error.reason)
    }

    /// Takes a step of the client hierarchy, with all that it asks for at hand.
    async fn step(&self, step: StepKind, authority: Option<&Generation>) {
        let clients = || self.generations().into_iter().filter(|(of, _)| *of == Hierarchy::Client);
        let now = self.clock.now();
        let number = self.signed() as u64 + 1;
        let lists = clients().map(|(_, generation)| {
            let order = ListOrder {
                authority: generation.issuer,
                number,
                this_update: now.saturating_sub(BACKDATE),
                next_update: now.saturating_add(DAY),
                revoked: Vec::new(),
            };
            (generation.issuer, (number, order.next_update, self.vault.sign_list(&order).unwrap()))
        });
        let lists = lists.collect();
        self.hub.note_in_force(InForce {
            lists,
            keys: clients().map(|(_, generation)| generation.issuer).collect(),
            tested: clients().map(|(_, generation)| generation.issuer).collect(),
            ..InForce::default()
        });
        self.hub.note_backup(self.hub.machine_now()).await.unwrap();
        let asked = StepAsked {
            hierarchy: Hierarchy::Client,
            step,
            authority: authority.map(|generation| generation.issuer.short()),
            version: self.hub.ledger().rotations[&Hierarchy::Client].version,
            dry_run: false,
            accept: std::collections::BTreeSet::new(),
        };
        self.hub.rotate(MACHINE, Uuid::new_v4(), asked).await.unwrap();
    }
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let there = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &there);
        } else {
            let _ = fs::copy(entry.path(), there).unwrap();
        }
    }
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o700);
    fs::set_permissions(to, mode).unwrap();
}

/// What the listener proves of a connection under this certificate.
fn peer(issued: &Issued) -> PeerCertificate {
    let known = &issued.certificate;
    PeerCertificate {
        identity: known.holder.clone(),
        certificate: known.id.clone(),
        fingerprint: known.fingerprint(),
        not_before: known.not_before,
        not_after: known.not_after,
        key_exchange: "X25519MLKEM768",
        severed: CancellationToken::new(),
    }
}

fn any_request() -> Vec<u8> {
    request(&Key::for_leaf().unwrap())
}

#[tokio::test]
async fn what_is_revoked_superseded_or_severed_renews_nothing_and_nothing_is_signed_for_it() {
    let desk = Desk::open().await;
    let (revoked, old, good) = (desk.enrol(0).await, desk.enrol(1).await, desk.enrol(2).await);
    desk.wait(DAY * 20);
    // Let in while all was well.
    let [of_revoked, of_old, of_good] =
        [&revoked, &old, &good].map(|issued| desk.hub.authenticate(&peer(issued)).unwrap());
    let new = desk.hub.renew(&of_old, &any_request()).await.unwrap();
    let uses = {
        let hub = Arc::clone(&desk.hub);
        tokio::spawn(async move { hub.note_first_uses().await })
    };
    desk.hub.authenticate(&peer(&new)).unwrap();
    crate::harness::eventually("the use is noted", async || {
        let known = desk.hub.certificate(&new.certificate.id).unwrap();
        known.certificate.first_used.map(drop)
    })
    .await;
    uses.abort();
    desk.wait(DAY * 5);
    desk.revoke(revoked.certificate.id.clone()).await.unwrap();
    let signed = desk.signed();
    for (caller, reason) in
        [(&of_revoked, Reason::CertificateRevoked), (&of_old, Reason::CertificateSuperseded)]
    {
        let refused = desk.hub.renew(caller, &any_request()).await.unwrap_err();
        assert_eq!(refused.reason, reason, "{refused:?}");
    }
    assert_eq!(desk.signed(), signed, "nothing was signed");
    for (issued, reason) in [(&revoked, Reason::CertificateRevoked), (&old, Reason::CertificateSuperseded)] {
        assert_eq!(desk.hub.authenticate(&peer(issued)).unwrap_err().reason, reason);
    }
    let severed = peer(&good);
    severed.severed.cancel();
    assert_eq!(desk.hub.authenticate(&severed).unwrap_err().reason, Reason::CertificateRevoked);
    // Nothing else stood in the way.
    desk.hub.renew(&of_good, &any_request()).await.unwrap();
}

#[tokio::test]
async fn what_waits_for_the_writer_when_its_author_is_revoked_or_severed_is_not_written() {
    let desk = Desk::open().await;
    let (revoked, severed) = (desk.enrol(0).await, peer(&desk.enrol(1).await));
    // Let in while all was well, and slower than whoever revokes them.
    let revoked_author = desk.hub.authenticate(&peer(&revoked)).unwrap();
    let severed_author = desk.hub.authenticate(&severed).unwrap();
    let publish = async |author: &Caller, value: &str| {
        let observable = normalise::detect(value).unwrap().observable;
        let marking = Marking { tlp: Tlp::Green, recipients: Recipients::default(), caveats: Caveats::NONE };
        let items = vec![Ok(Draft::new(observable, marking))];
        desk.hub.publish(author, Uuid::new_v4(), items).await.map(drop).map_err(|error| error.reason)
    };
    for (author, value) in [(&revoked_author, "one.example"), (&severed_author, "two.example")] {
        publish(author, value).await.unwrap();
    }
    desk.revoke(revoked.certificate.id.clone()).await.unwrap();
    severed.severed.cancel();
    for (author, value) in [(&revoked_author, "three.example"), (&severed_author, "four.example")] {
        assert_eq!(publish(author, value).await, Err(Reason::CertificateRevoked), "{value}");
    }
}

#[tokio::test]
async fn nothing_is_revoked_that_was_never_issued_but_what_others_issued_is() {
    let desk = Desk::open().await;
    let issued = desk.enrol(0).await;
    let id = |issuer, serial: &str| CertificateId { issuer, serial: serial.to_owned() };
    let real = issued.certificate.id.clone();
    for unknown in ["1badc0de", &format!("00{}", real.serial)] {
        assert_eq!(desk.revoke(id(desk.issuer(), unknown)).await, Err(Reason::NotFound), "{unknown}");
    }
    assert!(desk.hub.ledger().revoked.is_empty(), "no list will name it");
    desk.revoke(id(IssuerDigest::of(b"CN=another"), "1badc0de")).await.unwrap();
    desk.revoke(real.clone()).await.unwrap();
    assert!(desk.hub.ledger().revoked.contains_key(&real));
}

#[tokio::test]
async fn nobody_gets_in_under_an_authority_that_was_retired() {
    let desk = Desk::open().await;
    let (first, old) = (desk.issuer(), desk.enrol(0).await);
    let judge =
        |id: &CertificateId, fingerprint| desk.hub.admission().judge(id, &fingerprint, desk.clock.now());
    let of_old = peer(&old);
    let known = (old.certificate.id.clone(), old.certificate.fingerprint());
    assert_eq!(judge(&known.0, known.1), LedgerVerdict::Taken);
    assert_eq!(judge(&known.0, [7; 32]), LedgerVerdict::Unknown, "another certificate of that number");
    let forged = CertificateId { issuer: first, serial: "1badc0de".to_owned() };
    assert_eq!(judge(&forged, [7; 32]), LedgerVerdict::Unknown);
    let foreign = CertificateId { issuer: IssuerDigest::of(b"CN=another"), ..forged.clone() };
    assert_eq!(judge(&foreign, [7; 32]), LedgerVerdict::NotEmbedded);

    copy(&MADE.path().join("both"), &desk.dir.path().join("keys"));
    let mut all = desk.generations().into_iter();
    let next = all.find(|(of, next)| *of == Hierarchy::Client && next.issuer != first).unwrap().1;
    desk.step(StepKind::Prepare, Some(&next)).await;
    desk.step(StepKind::Activate, Some(&next)).await;
    desk.step(StepKind::Taint, None).await;
    // Whose holder was not seen for so long that he stands in nobody's way.
    desk.wait(DAY * 15);
    assert_eq!(judge(&known.0, known.1), LedgerVerdict::Taken, "until the last step");
    desk.step(StepKind::Retire, None).await;

    assert_eq!(judge(&known.0, known.1), LedgerVerdict::Revoked);
    assert_eq!(judge(&forged, [7; 32]), LedgerVerdict::Revoked);
    assert_eq!(desk.hub.authenticate(&of_old).unwrap_err().reason, Reason::CertificateRevoked);
    assert_eq!(desk.revoke(forged).await, Err(Reason::NotFound), "nor does it fill the lists");
    // The next one's are taken.
    let new = desk.enrol(0).await;
    assert_eq!(new.certificate.id.issuer, next.issuer);
    assert_eq!(judge(&new.certificate.id, new.certificate.fingerprint()), LedgerVerdict::Taken);
}
