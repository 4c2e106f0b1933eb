//! Decides what a checkpoint says: which log, how many records, and their
//! root; C2SP `tlog-checkpoint`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::note::{self, Signer, VerifierKey};
use super::tree::Hash;

/// What the hub signs of its audit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// The log, and the name of its key: see [`origin`].
    pub origin: String,
    /// Number of records.
    pub size: u64,
    /// Root over them.
    pub root: Hash,
}

/// The name of a hub's audit in a history epoch. A hub that is restored from a
/// backup goes on with what the backup held, and what it held not is lost: that
/// is another log, and has another name.
#[must_use]
pub fn origin(trust_domain: &str, epoch: u16) -> String {
    format!("{trust_domain}/audit/{epoch}")
}

/// Hub and history epoch of an origin.
#[must_use]
pub fn read_origin(origin: &str) -> Option<(&str, u16)> {
    let (trust_domain, epoch) = origin.rsplit_once("/audit/")?;
    Some((trust_domain, epoch.parse().ok()?))
}

impl Checkpoint {
    /// The signed note.
    #[must_use]
    pub fn sign(&self, signer: &Signer) -> String {
        let Self { origin, size, root } = self;
        signer.sign(&format!("{origin}\n{size}\n{}\n", STANDARD.encode(root)))
    }

    /// Reads a note that `key` signed and that is of the log of that name.
    ///
    /// # Errors
    /// [`note::Error`].
    pub fn open(note: &str, key: &VerifierKey) -> Result<Self, note::Error> {
        let read = Self::read(key.open(note)?).ok_or(note::Error::NoNote)?;
        if read.origin == key.name() { Ok(read) } else { Err(note::Error::Unsigned(read.origin)) }
    }

    /// Reads what a note says without a look at who signed it.
    ///
    /// # Errors
    /// [`note::Error::NoNote`].
    pub fn read_unverified(note: &str) -> Result<Self, note::Error> {
        Self::read(note::split(note)?.0).ok_or(note::Error::NoNote)
    }

    fn read(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        let (origin, size, root) = (lines.next()?, lines.next()?, lines.next()?);
        let canonical = size == "0" || !size.starts_with(['0', '+']);
        if origin.is_empty() || !canonical {
            return None;
        }
        let root = STANDARD.decode(root).ok()?.try_into().ok()?;
        Some(Self { origin: origin.to_owned(), size: size.parse().ok()?, root })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::secret::Secret;

    #[test]
    fn a_checkpoint_reads_back_for_its_own_log() {
        let signer = |name: &str| Signer::new(name, &Secret::new(vec![7; 32])).unwrap();
        let here = origin("hub.example", 3);
        let checkpoint = Checkpoint { origin: here.clone(), size: 70_000, root: [9; 32] };
        let note = checkpoint.sign(&signer(&here));
        assert!(note.starts_with("hub.example/audit/3\n70000\nCQkJ"), "{note}");
        assert_eq!(Checkpoint::open(&note, signer(&here).verifier()), Ok(checkpoint.clone()));
        assert_eq!(Checkpoint::read_unverified(&note), Ok(checkpoint.clone()));
        assert_eq!(read_origin(&here), Some(("hub.example", 3)));
        // Signed by a key of the name, and said of another log.
        let other = signer("hub.example/audit/4");
        let foreign = checkpoint.sign(&other);
        assert!(Checkpoint::open(&foreign, other.verifier()).is_err());
        assert!(Checkpoint::read_unverified(&note.replace("70000", "070000")).is_err());
    }
}
