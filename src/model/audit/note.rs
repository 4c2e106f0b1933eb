//! Decides how a text is signed and held against a key: C2SP `signed-note`
//! with Ed25519.

use std::fmt;

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::base::digest;
use crate::base::secret::Secret;

/// Bytes of the seed of a key.
pub const SEED_BYTES: usize = 32;
/// Longest note that is read, in bytes.
pub const MAX_NOTE_BYTES: usize = 8 * 1024;
/// The kind of signature in key and key id.
const ED25519_KIND: u8 = 1;
const PUBLIC_BYTES: usize = 32;
const SIGNATURE_BYTES: usize = 64;

/// Why a note or a key is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The text is not a note.
    #[error("it is not a signed note")]
    NoNote,
    /// The key is not one.
    #[error("the key reads NAME+8 hexadecimal digits+base64; take it as `luytre audit checkpoint` shows it")]
    NoKey,
    /// Nothing in the note is signed by the key.
    #[error("it is not signed by the key of {0}")]
    Unsigned(String),
    /// What says to be the key's signature is none.
    #[error("the signature in the name of {0} is not of this text")]
    Forged(String),
}

/// A key that signs, under a name.
pub struct Signer {
    pair: Ed25519KeyPair,
    verifier: VerifierKey,
}

impl fmt::Debug for Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signer({})", self.verifier.name)
    }
}

impl Signer {
    /// The key of this seed, under this name; `None` if the name holds a space
    /// or a plus, or the seed is not one.
    #[must_use]
    pub fn new(name: &str, seed: &Secret<Vec<u8>>) -> Option<Self> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed.expose()).ok()?;
        let public = pair.public_key().as_ref().try_into().ok()?;
        let verifier = VerifierKey::new(name, public)?;
        Some(Self { pair, verifier })
    }

    /// The key that verifies.
    #[must_use]
    pub const fn verifier(&self) -> &VerifierKey {
        &self.verifier
    }

    /// `text`, which ends in a line feed, as a note with this one signature.
    #[must_use]
    pub fn sign(&self, text: &str) -> String {
        let mut signature = self.verifier.id().to_vec();
        signature.extend_from_slice(self.pair.sign(text.as_bytes()).as_ref());
        format!("{text}\n\u{2014} {} {}\n", self.verifier.name, STANDARD.encode(signature))
    }
}

/// A key that verifies, under a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifierKey {
    name: String,
    public: [u8; PUBLIC_BYTES],
}

impl VerifierKey {
    fn new(name: &str, public: [u8; PUBLIC_BYTES]) -> Option<Self> {
        let fits = !name.is_empty() && !name.contains(|c: char| c.is_whitespace() || c == '+');
        fits.then(|| Self { name: name.to_owned(), public })
    }

    /// Reads a key as it is shown.
    ///
    /// # Errors
    /// [`Error::NoKey`].
    pub fn parse(text: &str) -> Result<Self, Error> {
        let read = || {
            let mut parts = text.trim().splitn(3, '+');
            let (name, id, key) = (parts.next()?, parts.next()?, parts.next()?);
            let key = STANDARD.decode(key).ok()?;
            let (&ED25519_KIND, public) = key.split_first()? else { return None };
            let key = Self::new(name, public.try_into().ok()?)?;
            (digest::hex(&key.id()) == id).then_some(key)
        };
        read().ok_or(Error::NoKey)
    }

    /// The name under which the key signs.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The public key alone: it stays the same where the name changes.
    #[must_use]
    pub const fn public(&self) -> &[u8; PUBLIC_BYTES] {
        &self.public
    }

    /// The same key under another name; `None` if that is not one.
    #[must_use]
    pub fn renamed(&self, name: &str) -> Option<Self> {
        Self::new(name, self.public)
    }

    /// First four bytes of SHA-256(name || 0x0A || kind || public key).
    fn id(&self) -> [u8; 4] {
        let mut hash = digest::Sha256::default();
        hash.update(self.name.as_bytes());
        hash.update(b"\n");
        hash.update(&[ED25519_KIND]);
        hash.update(&self.public);
        let [a, b, c, d, ..] = hash.finish();
        [a, b, c, d]
    }

    /// The text of a note that this key signed. Signatures of others in it do
    /// not matter.
    ///
    /// # Errors
    /// [`Error::NoNote`], [`Error::Unsigned`], [`Error::Forged`].
    pub fn open<'a>(&self, note: &'a str) -> Result<&'a str, Error> {
        let (text, signatures) = split(note)?;
        for line in signatures.lines() {
            let (name, signature) = signature(line).ok_or(Error::NoNote)?;
            if name != self.name {
                continue;
            }
            let Some((id, signature)) = signature.split_first_chunk::<4>() else { return Err(Error::NoNote) };
            if *id != self.id() {
                continue;
            }
            let key = UnparsedPublicKey::new(&ED25519, &self.public);
            let valid = signature.len() == SIGNATURE_BYTES && key.verify(text.as_bytes(), signature).is_ok();
            return if valid { Ok(text) } else { Err(Error::Forged(self.name.clone())) };
        }
        Err(Error::Unsigned(self.name.clone()))
    }
}

impl fmt::Display for VerifierKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut key = vec![ED25519_KIND];
        key.extend_from_slice(&self.public);
        write!(f, "{}+{}+{}", self.name, digest::hex(&self.id()), STANDARD.encode(key))
    }
}

/// Text and signatures of a note, whoever signed it.
///
/// # Errors
/// [`Error::NoNote`].
pub fn split(note: &str) -> Result<(&str, &str), Error> {
    let controls = note.chars().any(|c| c.is_control() && c != '\n');
    if note.len() > MAX_NOTE_BYTES || controls || !note.ends_with('\n') {
        return Err(Error::NoNote);
    }
    let end = note.rfind("\n\n").ok_or(Error::NoNote)?;
    let (text, signatures) = note.split_at_checked(end + 1).ok_or(Error::NoNote)?;
    let signatures = signatures.strip_prefix('\n').ok_or(Error::NoNote)?;
    if signatures.is_empty() { Err(Error::NoNote) } else { Ok((text, signatures)) }
}

fn signature(line: &str) -> Option<(&str, Vec<u8>)> {
    let (name, signature) = line.strip_prefix("\u{2014} ")?.split_once(' ')?;
    Some((name, STANDARD.decode(signature).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signer(name: &str, seed: u8) -> Signer {
        Signer::new(name, &Secret::new(vec![seed; SEED_BYTES])).unwrap()
    }

    #[test]
    fn the_example_of_the_reference_implementation_verifies() {
        // Of golang.org/x/mod/sumdb/note.
        let key =
            VerifierKey::parse("PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW").unwrap();
        let text = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n";
        let note = format!(
            "{text}\n\u{2014} PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
        );
        assert_eq!(key.open(&note), Ok(text));
        assert_eq!(
            key.open(&note.replace("problem is", "problem was")),
            Err(Error::Forged("PeterNeumann".into()))
        );
        assert_eq!(key.to_string(), "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW");
    }

    #[test]
    fn a_note_is_opened_by_its_own_key_alone() {
        let (own, other) = (signer("a.example/audit/1", 1), signer("a.example/audit/1", 2));
        let note = own.sign("some\ntext\n");
        assert_eq!(own.verifier().open(&note), Ok("some\ntext\n"));
        assert!(matches!(other.verifier().open(&note), Err(Error::Unsigned(_))));
        assert!(matches!(signer("b", 1).verifier().open(&note), Err(Error::Unsigned(_))));
        for broken in [&note[..note.len() - 1], &note.replace("\n\n", "\n"), "", "\n", "\n\n"] {
            assert_eq!(own.verifier().open(broken), Err(Error::NoNote), "{broken:?}");
        }
    }

    #[test]
    fn a_key_reads_back_and_one_of_another_name_does_not() {
        let key = signer("a.example/audit/1", 1).verifier().clone();
        let shown = key.to_string();
        assert_eq!(VerifierKey::parse(&shown), Ok(key));
        assert_eq!(VerifierKey::parse(&shown.replace("audit/1", "audit/2")), Err(Error::NoKey));
        assert!(Signer::new("a b", &Secret::new(vec![0; 32])).is_none());
    }
}
