//! Decides what keeps a hub from starting with a configuration: everything
//! that can be found at once, in the file, in what it names, and in the store.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use zeroize::Zeroizing;

use super::Error;
use super::config::{self, Config, Grpc};
use super::tls;
use crate::base::clock::{Clock, Timestamp};
use crate::base::files;
use crate::hub::rest;
use crate::model::Invalid;
use crate::pki::tls::{Part, problems_of};
use crate::store;

/// What was found good.
#[derive(Debug)]
pub struct Checked {
    path: PathBuf,
    server_not_after: Timestamp,
    revoked: usize,
    store: Domain,
}

/// What the store says of its trust domain.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Domain {
    /// This one.
    Is(String),
    /// A hub runs on it, and is left alone.
    InUse,
    /// Nothing: the reason is among the problems.
    Unknown,
}

impl fmt::Display for Checked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} is sound; the hub's certificate is good until {}, {} certificates are revoked",
            self.path.display(),
            self.server_not_after,
            self.revoked,
        )?;
        match &self.store {
            Domain::Is(domain) => write!(f, "; the store is of trust domain {domain}"),
            Domain::InUse => f.write_str("; a hub runs on the store, which was therefore not looked at"),
            Domain::Unknown => Ok(()),
        }
    }
}

/// Checks the configuration at `path`. Changes nothing, and opens no store
/// that a hub runs on. Blocking.
///
/// # Errors
/// Everything that is wrong.
pub fn check(path: &Path, clock: &Arc<dyn Clock>) -> Result<Checked, Error> {
    let (config, mut problems) = Config::inspect(path)?;
    // A key that is wrong already has no file.
    let named = |path: &Path| !path.as_os_str().is_empty();
    let mut store = Domain::Unknown;
    if named(&config.data_dir) {
        store = check_store(&config, &mut problems);
    }
    check_certificates(&config.grpc, clock.now(), &mut problems);
    if !problems.is_empty() {
        return Err(config::Error::Problems { path: path.to_owned(), problems }.into());
    }
    let domain = match &store {
        Domain::Is(domain) => domain.as_str(),
        _ => config.trust_domain.as_deref().unwrap_or_default(),
    };
    let snapshot = tls::load(&config.grpc, domain, 1, clock)?;
    Ok(Checked {
        path: path.to_owned(),
        server_not_after: snapshot.server_not_after(),
        revoked: snapshot.revoked(),
        store,
    })
}

fn check_store(config: &Config, problems: &mut Vec<Invalid>) -> Domain {
    let shown = config.data_dir.display();
    if !config.data_dir.is_dir() {
        let problem = format!("{shown} is no directory; make one with: luytred init --data {shown}");
        problems.push(Invalid::new("data_dir", problem));
        return Domain::Unknown;
    }
    let store = match rest::trust_domain(&config.data_dir) {
        Ok(store) => store,
        Err(store::Error::Locked(_)) => return Domain::InUse,
        Err(error) => {
            problems.push(Invalid::new("data_dir", error.to_string()));
            return Domain::Unknown;
        }
    };
    if let Some(said) = config.trust_domain.as_deref().filter(|&said| said != store) {
        problems.push(Invalid::new(
            "trust_domain",
            format!("is {said}, and the store is of {store}; correct trust_domain or data_dir"),
        ));
    }
    Domain::Is(store)
}

fn check_certificates(grpc: &Grpc, now: Timestamp, problems: &mut Vec<Invalid>) {
    let key_of = |part| match part {
        Part::Anchors => ("grpc.client_ca", &grpc.client_ca),
        Part::RevocationLists => ("grpc.client_crl", &grpc.client_crl),
        Part::Chain => ("grpc.cert", &grpc.cert),
        Part::Key => ("grpc.key", &grpc.key),
    };
    let mut read = |part| {
        let (key, path) = key_of(part);
        if path.as_os_str().is_empty() {
            return None;
        }
        let text = fs::read(path).map(Zeroizing::new);
        text.map_err(|error| {
            let shown = path.display();
            let problem = format!("cannot read {shown}: {error}; check the path and who may read it");
            problems.push(Invalid::new(key, problem));
        })
        .ok()
    };
    let (chain, key) = (read(Part::Chain), read(Part::Key));
    let (anchors, lists) = (read(Part::Anchors), read(Part::RevocationLists));
    if files::is_open_to_others(&grpc.key).unwrap_or(false) {
        let shown = grpc.key.display();
        let problem = format!("others can read this private key; run: chmod 600 {shown}");
        problems.push(Invalid::new("grpc.key", problem));
    }
    let found = problems_of(
        anchors.as_deref().map(Vec::as_slice),
        lists.as_deref().map(Vec::as_slice),
        chain.as_deref().map(Vec::as_slice),
        key.as_deref().map(Vec::as_slice),
        now,
    );
    for (part, error) in found {
        let (key, path) = key_of(part);
        problems.push(Invalid::new(key, format!("{}: {error}", path.display())));
    }
}
