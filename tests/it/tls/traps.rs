//! Traps of the library that issues certificates, shown to be there, and not
//! walked into.

use std::fs;
use std::path::PathBuf;

use luytre::base::clock::{Clock as _, SystemClock};
use luytre::model::principal::SpiffeId;
use luytre::pki::identity::{self, IssuerDigest};
use luytre::pki::issue::{DAY, Hierarchy, Leaf, random_serial};
use luytre::pki::signing::LeafOrder;
use rcgen::{BasicConstraints, CertificateParams, CertificateSigningRequestParams, IsCa, KeyPair};

use super::support::{FEED, authority, issuer, odd_leaf_with};

#[test]
fn a_serial_number_says_nothing_of_the_key_although_the_library_would_make_it_of_that() {
    let now = SystemClock.now();
    let (_, issuing) = authority(Hierarchy::Client, now);
    let issued = issuing.issue(&Leaf::Client(SpiffeId::parse(FEED).unwrap()), now, DAY).unwrap();
    let by_library = || {
        let key = KeyPair::try_from(issued.key.to_der().expose()).unwrap();
        odd_leaf_with(&issuing, key, |params| params.serial_number = None).serial()
    };
    assert_eq!(by_library(), by_library(), "the trap: to revoke one is to revoke both");
    let ours = identity::parse(&issued.certificate).unwrap();
    assert_ne!(ours.raw_serial(), by_library());

    // For the same key again there is another number: the one that is ordered,
    // and whoever orders draws it.
    let [first, second] = [(); 2].map(|()| random_serial());
    assert_ne!(first, second);
    for serial in [first, second] {
        let order = LeafOrder {
            authority: IssuerDigest::of(identity::parse(issuing.certificate()).unwrap().subject().as_raw()),
            public_key: issued.key.public_key(),
            serial: serial.to_vec(),
            holder: Leaf::Client(SpiffeId::parse(FEED).unwrap()),
            not_before: now,
            not_after: now.saturating_add(DAY),
        };
        let signed = issuing.sign_leaf(&order).unwrap();
        assert_eq!(identity::parse(&signed).unwrap().raw_serial(), serial);
    }
}

#[test]
fn a_request_that_asks_to_be_an_authority_would_be_one_and_so_no_request_is_ever_signed() {
    let now = SystemClock.now();
    let (_, issuing) = authority(Hierarchy::Client, now);
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let request = params.serialize_request(&key).unwrap();
    let request = CertificateSigningRequestParams::from_der(request.der()).unwrap();
    let signed = request.signed_by(&issuer(&issuing)).unwrap();
    let parsed = identity::parse(signed.der()).unwrap();
    let years = parsed.validity().not_after.to_datetime().year();
    assert!(parsed.is_ca() && years == 4096, "the trap: an authority for two thousand years");

    // Where a request is read, nothing is signed: only its key leaves.
    let tests = |file: &std::path::Path| file.components().any(|part| part.as_os_str() == "tests");
    for file in sources().into_iter().filter(|file| !tests(file)) {
        let text = fs::read_to_string(&file).unwrap();
        let text = text.split("#[cfg(test)]").next().unwrap();
        let (reads, signs) = (text.contains("CertificateSigningRequestParams"), text.contains(".signed_by("));
        assert!(!(reads && signs), "{} reads a request and signs", file.display());
    }
}

/// Every source file of the hub.
fn sources() -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut directories = vec![PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(directory) = directories.pop() {
        for entry in fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.is_dir() { directories.push(entry) } else { files.push(entry) }
        }
    }
    files
}
