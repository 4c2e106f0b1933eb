//! Decides what is in force where nothing can be: a hub whose certificates
//! have all ended takes nobody, and can still be asked by its machine's
//! operator.

use std::sync::Arc;

use super::{Error, Material, Snapshot};
use crate::base::clock::{Clock, Timestamp};
use crate::pki::issue::{self, Authority, DAY, Hierarchy, Leaf};

/// The name in the certificate of a hub that takes nobody.
const NAME: &str = "closed.invalid";

/// A snapshot, before any other, that no client trusts and that trusts none:
/// its authorities are made here and forgotten.
///
/// # Errors
/// The library refuses.
pub fn closed(trust_domain: &str, clock: &Arc<dyn Clock>) -> Result<Snapshot, Error> {
    let material = material(clock.now()).map_err(|error| rustls::Error::General(error.to_string()))?;
    Snapshot::build(material, trust_domain, 0, clock, None)
}

fn material(now: Timestamp) -> Result<Material, issue::Error> {
    let authority = |hierarchy| {
        let root = Authority::root(hierarchy, NAME, now, DAY * 2)?;
        root.issuing(hierarchy, NAME, 1, now, DAY * 2)
    };
    let (server, client) = (authority(Hierarchy::Server)?, authority(Hierarchy::Client)?);
    let leaf = server.issue(&Leaf::Server { dns: vec![NAME.to_owned()], ip: Vec::new() }, now, DAY)?;
    Ok(Material {
        anchors: vec![client.certificate().clone()],
        revocation_lists: vec![client.sign_revocation_list(None, None, now, DAY)?],
        chain: vec![leaf.certificate],
        key: leaf.key.to_der(),
        canary: None,
    })
}
