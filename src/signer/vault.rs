//! Decides how an order becomes a signature: checked against the profile,
//! signed, written down, remembered, and only then handed out.

use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};

use super::journal::{self, Journal};
use super::keys::{Key, Keyring};
use super::past::Past;
use super::profile::Profile;
use super::{Error as StartError, keys};
use crate::base::clock::{Clock, Timestamp};
use crate::base::digest;
use crate::base::secret::Secret;
use crate::pki::identity::IssuerDigest;
use crate::pki::signing::{Error, Held, Holder, LeafOrder, ListOrder, Record, Signed, Signer};

/// The keys of the authorities, and the only way to use them.
#[derive(Debug)]
pub struct Vault {
    profile: Profile,
    clock: Arc<dyn Clock>,
    /// One signature at a time: what is checked is what is written down.
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    keys: Keyring,
    journal: Journal,
    past: Past,
}

impl Vault {
    /// Opens the keys below `keys` and the journal at `journal`. One process
    /// at a time may do so.
    ///
    /// # Errors
    /// The first key that is not sound, or a damaged journal.
    pub fn open(
        keys: &Path,
        passphrase: Secret<Vec<u8>>,
        journal: &Path,
        profile: Profile,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, StartError> {
        let keys = Keyring::open(keys, passphrase)?;
        let mut past = Past::default();
        let journal = Journal::open(journal, |record| past.note(record))?;
        tracing::info!(
            records = journal.last(),
            authorities = keys.held().len(),
            "keys and journal are open"
        );
        Ok(Self { profile, clock, inner: Mutex::new(Inner { keys, journal, past }) })
    }

    /// Takes in the authorities that were put into the directory of keys, and
    /// lets go of those that were taken away.
    pub fn refresh(&self) {
        self.inner.lock().keys.refresh();
    }
}

impl Inner {
    /// Writes down what was signed, then remembers it.
    fn keep(&mut self, now: Timestamp, signed: Signed) -> Result<u64, Error> {
        let record = self.journal.append(now, signed).map_err(unavailable)?;
        self.past.note(&record);
        Ok(record.number)
    }
}

fn key(keys: &Keyring, name: IssuerDigest) -> Result<&Key, Error> {
    keys.find(name).ok_or_else(|| refused("the signer does not hold the key of this authority"))
}

fn refused(problem: impl Into<String>) -> Error {
    let problem = problem.into();
    tracing::warn!(%problem, "order refused");
    Error::Refused { problem }
}

fn unavailable(error: journal::Error) -> Error {
    Error::Unavailable { problem: error.to_string() }
}

impl Signer for Vault {
    fn authorities(&self) -> Result<Vec<Held>, Error> {
        let mut inner = self.inner.lock();
        inner.keys.refresh();
        Ok(inner.keys.held())
    }

    fn sign_leaf(&self, order: &LeafOrder) -> Result<CertificateDer<'static>, Error> {
        let mut inner = self.inner.lock();
        let now = self.clock.now();
        let Inner { keys, past, .. } = &mut *inner;
        let Key { hierarchy, authority, .. } = key(keys, order.authority)?;
        self.profile.check_leaf(order, *hierarchy, authority, now).map_err(refused)?;
        if past.is_given(&order.serial) {
            return Err(refused("the serial number was given before; draw another"));
        }
        if keys.is_own(&order.public_key) {
            return Err(refused("the public key is an authority's own"));
        }
        if !past.leaves().allows(self.profile.leaves_per_hour, now) {
            let most = self.profile.leaves_per_hour;
            return Err(limited(format!(
                "{most} certificates were signed within the hour, which is the most"
            )));
        }
        let certificate = authority.sign_leaf(order).map_err(|error| refused(error.to_string()))?;
        let record = inner.keep(now, Signed::Leaf { certificate: certificate.clone() })?;
        tracing::info!(
            record,
            authority = digest::hex(order.authority.as_bytes()),
            serial = digest::hex(&order.serial),
            holder = holder(&order.holder),
            not_after = %order.not_after,
            "certificate signed"
        );
        Ok(certificate)
    }

    fn sign_list(&self, order: &ListOrder) -> Result<CertificateRevocationListDer<'static>, Error> {
        let mut inner = self.inner.lock();
        let now = self.clock.now();
        let Inner { keys, past, .. } = &mut *inner;
        let Key { authority, .. } = key(keys, order.authority)?;
        let before = past.list(order.authority);
        Profile::check_list(order, authority, before, |serial| past.is_over(serial, now), now)
            .map_err(refused)?;
        if !past.list_signatures().allows(self.profile.lists_per_hour, now) {
            let most = self.profile.lists_per_hour;
            return Err(limited(format!(
                "{most} revocation lists were signed within the hour, which is the most"
            )));
        }
        let list = authority.sign_list(order).map_err(|error| refused(error.to_string()))?;
        let added = past.added(order.authority, &order.revoked);
        let (count, new) = (order.revoked.len(), added.len());
        let signed = Signed::List { authority: order.authority, number: order.number, added };
        let record = inner.keep(now, signed)?;
        tracing::info!(
            record,
            authority = digest::hex(order.authority.as_bytes()),
            number = order.number,
            revoked = count,
            added = new,
            "revocation list signed"
        );
        Ok(list)
    }

    fn journal(&self, after: u64) -> Result<Vec<Record>, Error> {
        self.inner.lock().journal.after(after).map_err(unavailable)
    }
}

fn limited(problem: String) -> Error {
    tracing::warn!(%problem, "order refused");
    Error::Limited { problem }
}

fn holder(holder: &Holder) -> String {
    match holder {
        Holder::Client(id) => id.to_string(),
        Holder::Server { dns, ip } => {
            dns.iter().cloned().chain(ip.iter().map(ToString::to_string)).collect::<Vec<_>>().join(",")
        }
    }
}

impl From<keys::Error> for StartError {
    fn from(error: keys::Error) -> Self {
        Self::Keys(Box::new(error))
    }
}

impl From<journal::Error> for StartError {
    fn from(error: journal::Error) -> Self {
        Self::Journal(Box::new(error))
    }
}
