//! Decides how a one-time token is written by which a new system enrols: a
//! secret, and the root by which the hub is known on first contact.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::Zeroizing;

use crate::base::secret::Secret;
use crate::base::{digest, random};

/// How every token of this form begins.
const PREFIX: &str = "luytre-enrol-1.";
/// Bytes of the secret.
const SECRET_BYTES: usize = 32;
/// Longest text that is read as a token.
pub const MAX_TEXT: usize = 256;
/// Bytes of a digest that its fingerprint shows.
const FINGERPRINT_BYTES: usize = 8;

/// Why a text is no token. It is not repeated: most of it may be a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It begins with something else.
    #[error("this is no enrolment token; one begins with {PREFIX}")]
    Foreign,
    /// It begins as one, and is not one.
    #[error("the enrolment token is cut short or mistyped; copy it whole, as the operator gave it")]
    Damaged,
}

/// A one-time token: `luytre-enrol-1.<secret>.<root>`, with 32 random bytes in
/// base64url and the SHA-256 of the hub's root in hexadecimal. The hub keeps
/// the digest of the secret and nothing else.
pub struct EnrolmentToken {
    secret: Secret<[u8; SECRET_BYTES]>,
    root: [u8; 32],
}

impl fmt::Debug for EnrolmentToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<enrolment token>")
    }
}

impl EnrolmentToken {
    /// A new token for a hub whose certificate comes from the root with this
    /// digest (SHA-256 over its DER).
    #[must_use]
    pub fn generate(root: [u8; 32]) -> Self {
        Self { secret: Secret::new(random::bytes()), root }
    }

    /// Reads a token; white space around it does not count.
    ///
    /// # Errors
    /// If it is none.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let rest = text.trim_ascii().strip_prefix(PREFIX).ok_or(Error::Foreign)?;
        if rest.len() > MAX_TEXT {
            return Err(Error::Damaged);
        }
        let (secret, root) = rest.split_once('.').ok_or(Error::Damaged)?;
        let secret = Zeroizing::new(URL_SAFE_NO_PAD.decode(secret).map_err(|_| Error::Damaged)?);
        let secret = <[u8; SECRET_BYTES]>::try_from(secret.as_slice()).map_err(|_| Error::Damaged)?;
        Ok(Self { secret: Secret::new(secret), root: digest_from_hex(root).ok_or(Error::Damaged)? })
    }

    /// The token as it is given to whoever enrols, once.
    #[must_use]
    pub fn reveal(&self) -> Zeroizing<String> {
        let secret = Zeroizing::new(URL_SAFE_NO_PAD.encode(self.secret.expose()));
        Zeroizing::new(format!("{PREFIX}{}.{}", *secret, digest::hex(&self.root)))
    }

    /// SHA-256 over the secret: what the hub keeps and compares.
    #[must_use]
    pub fn digest(&self) -> [u8; 32] {
        digest::sha256(self.secret.expose())
    }

    /// SHA-256 over the DER of the root by which the hub is known.
    #[must_use]
    pub const fn root(&self) -> &[u8; 32] {
        &self.root
    }
}

/// First digits of a token's digest, to compare by phone.
#[must_use]
pub fn fingerprint(digest: &[u8; 32]) -> String {
    let shown = digest.get(..FINGERPRINT_BYTES).unwrap_or(digest);
    digest::hex(shown)
}

/// A digest from its 64 lower-case hexadecimal digits.
fn digest_from_hex(text: &str) -> Option<[u8; 32]> {
    let mut bytes = [0; 32];
    if text.len() != 2 * bytes.len() {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        let digit = |c: u8| match c {
            b'0'..=b'9' => Some(c - b'0'),
            b'a'..=b'f' => Some(c - b'a' + 10),
            _ => None,
        };
        let &[high, low] = pair else { return None };
        *byte = (digit(high)? << 4) | digit(low)?;
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_that_was_given_is_read_back_and_its_digest_is_the_same() {
        let given = EnrolmentToken::generate([7; 32]);
        let read = EnrolmentToken::parse(&format!(" {}\n", *given.reveal())).unwrap();
        assert_eq!((read.digest(), read.root()), (given.digest(), &[7; 32]));
        assert!(given.reveal().len() <= MAX_TEXT);
        assert_ne!(EnrolmentToken::generate([7; 32]).digest(), given.digest());
    }

    #[test]
    fn the_digest_is_of_the_secret_alone() {
        let text = format!("luytre-enrol-1.{}.{}", "A".repeat(43), "0f".repeat(32));
        let token = EnrolmentToken::parse(&text).unwrap();
        assert_eq!(token.digest(), digest::sha256(&[0; 32]));
        assert_eq!(token.root(), &[0x0f; 32]);
        assert_eq!(fingerprint(&token.digest()), "66687aadf862bd77");
    }

    #[test]
    fn what_is_cut_short_or_mistyped_is_no_token() {
        let good = EnrolmentToken::generate([0xab; 32]).reveal().to_string();
        assert!(matches!(EnrolmentToken::parse("ey.J0"), Err(Error::Foreign)));
        let upper = good.replace("ab", "AB");
        for wrong in [&good[..60], &good[..good.len() - 1], &format!("{good}0"), &upper, "luytre-enrol-1.."] {
            assert!(matches!(EnrolmentToken::parse(wrong), Err(Error::Damaged)), "{wrong}");
        }
        assert!(EnrolmentToken::parse(&format!("luytre-enrol-1.{}", "A".repeat(10_000))).is_err());
    }

    #[test]
    fn no_message_shows_the_secret() {
        let token = EnrolmentToken::generate([1; 32]);
        assert_eq!(format!("{token:?}"), "<enrolment token>");
    }
}
