//! Decides how a private key is kept under a passphrase: encrypted PKCS #8
//! (RFC 5958) with scrypt and AES-256-CBC, which OpenSSL reads and writes too.

use pkcs8::der::SecretDocument;
use pkcs8::pkcs5::{self, pbes2, scrypt};
use pkcs8::{EncryptedPrivateKeyInfoRef, LineEnding, PrivateKeyInfoRef};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use zeroize::Zeroizing;

use super::issue;
use super::key::Key;
use crate::base::random;
use crate::base::secret::Secret;

const LABEL: &str = "ENCRYPTED PRIVATE KEY";

/// Shortest passphrase that a key is encrypted with, in bytes.
pub const MIN_PASSPHRASE_BYTES: usize = 12;

// The most memory that OpenSSL's reader allows (16 MiB), and as many rounds of
// it as OWASP asks for.
const SCRYPT_LOG_N: u8 = 14;
const SCRYPT_R: u32 = 8;
const SCRYPT_P: u32 = 5;

/// Why a key is not read or not written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Decryption gave no key.
    #[error("the passphrase does not open the key")]
    Passphrase,
    /// Too short to encrypt with.
    #[error(
        "the passphrase must have at least {MIN_PASSPHRASE_BYTES} bytes; six random words make a good one"
    )]
    Short,
    /// Damaged, or encrypted in another way.
    #[error(
        "the encrypted key is damaged, or not PKCS #8 under scrypt or PBKDF2 with AES; `openssl pkcs8 -topk8 -scrypt` writes one"
    )]
    Malformed,
    /// No key that signs here.
    #[error(transparent)]
    Key(#[from] issue::Error),
}

/// Whether `text` holds an encrypted key, as far as its heading says.
#[must_use]
pub fn is_encrypted(text: &[u8]) -> bool {
    const HEADING: &[u8] = b"-----BEGIN ENCRYPTED PRIVATE KEY-----";
    text.windows(HEADING.len()).any(|window| window == HEADING)
}

/// Reads the encrypted key in `text`, PEM.
///
/// # Errors
/// [`Error::Passphrase`], [`Error::Malformed`], [`Error::Key`].
pub fn read(text: &[u8], passphrase: &Secret<Vec<u8>>) -> Result<Key, Error> {
    let text = std::str::from_utf8(text).map_err(|_| Error::Malformed)?;
    let (label, document) = SecretDocument::from_pem(text).map_err(|_| Error::Malformed)?;
    if label != LABEL {
        return Err(Error::Malformed);
    }
    let encrypted =
        EncryptedPrivateKeyInfoRef::try_from(document.as_bytes()).map_err(|_| Error::Malformed)?;
    let key = encrypted.decrypt(passphrase.expose()).map_err(|error| match error {
        // A wrong passphrase leaves garbage, of which a few in a hundred look
        // padded and fail only as a key.
        pkcs8::Error::EncryptedPrivateKey(pkcs5::Error::DecryptFailed) | pkcs8::Error::Asn1(_) => {
            Error::Passphrase
        }
        _ => Error::Malformed,
    })?;
    let key = PrivatePkcs8KeyDer::from(key.as_bytes().to_vec());
    Ok(Key::from_der(&Secret::new(PrivateKeyDer::from(key)))?)
}

/// Writes `key` encrypted under `passphrase`, PEM.
///
/// # Errors
/// [`Error::Short`]; [`Error::Malformed`] if the library refuses.
pub fn write(key: &Key, passphrase: &Secret<Vec<u8>>) -> Result<Zeroizing<String>, Error> {
    if passphrase.expose().len() < MIN_PASSPHRASE_BYTES {
        return Err(Error::Short);
    }
    let (salt, vector) = (random::bytes::<16>(), random::bytes::<16>());
    let encrypted = || {
        let scrypt = scrypt::Params::new(SCRYPT_LOG_N, SCRYPT_R, SCRYPT_P).ok()?;
        let scheme = pbes2::Parameters::generate_scrypt_aes256cbc(scrypt, &salt, vector).ok()?;
        let der = key.to_der();
        let key = PrivateKeyInfoRef::try_from(der.expose().secret_der()).ok()?;
        key.encrypt_with_params(scheme, passphrase.expose()).ok()?.to_pem(LABEL, LineEnding::LF).ok()
    };
    encrypted().ok_or(Error::Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Secret<Vec<u8>> {
        Secret::new(text.as_bytes().to_vec())
    }

    #[test]
    fn what_is_encrypted_is_read_back_with_its_passphrase_alone() {
        let key = Key::for_authority().unwrap();
        let text = write(&key, &secret("correct horse battery")).unwrap();
        assert!(is_encrypted(text.as_bytes()) && !is_encrypted(key.to_pem().as_bytes()));
        let read_back = read(text.as_bytes(), &secret("correct horse battery")).unwrap();
        assert_eq!(read_back.public_key(), key.public_key());
        for wrong in ["correct horse batterz", "", "correct horse battery "] {
            let refused = read(text.as_bytes(), &secret(wrong)).map(|_| ());
            assert!(matches!(refused, Err(Error::Passphrase)), "{refused:?}");
        }
    }

    #[test]
    fn no_two_files_of_one_key_are_alike() {
        let key = Key::for_authority().unwrap();
        let once = write(&key, &secret("correct horse battery")).unwrap();
        assert_ne!(once, write(&key, &secret("correct horse battery")).unwrap());
    }

    #[test]
    fn a_short_passphrase_encrypts_nothing() {
        let key = Key::for_leaf().unwrap();
        assert!(matches!(write(&key, &secret("eleven byte")), Err(Error::Short)));
    }

    #[test]
    fn a_damaged_file_is_told_from_a_wrong_passphrase() {
        let key = Key::for_leaf().unwrap();
        let text = write(&key, &secret("correct horse battery")).unwrap();
        let plain = key.to_pem();
        for broken in [&text[..text.len() / 2], plain.as_str(), ""] {
            let refused = read(broken.as_bytes(), &secret("correct horse battery")).map(|_| ());
            assert!(matches!(refused, Err(Error::Malformed)), "{refused:?}");
        }
    }
}
