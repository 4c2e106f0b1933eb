//! Decides what our own private keys are, and how they are written down: in
//! the clear for those that a passphrase cannot serve, else encrypted.

use std::fmt;

use rcgen::{KeyPair, PKCS_ECDSA_P256_SHA256, PKCS_ECDSA_P384_SHA384, PublicKeyData as _};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use zeroize::Zeroizing;

use super::issue::Error;
use crate::base::secret::Secret;

/// A private key, wiped on drop.
pub struct Key(Secret<KeyPair>);

impl Key {
    /// A new key for an authority: P-384.
    ///
    /// # Errors
    /// If the library has none to give.
    pub fn for_authority() -> Result<Self, Error> {
        Ok(Self(Secret::new(KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384)?)))
    }

    /// A new key for a leaf: P-256.
    ///
    /// # Errors
    /// If the library has none to give.
    pub fn for_leaf() -> Result<Self, Error> {
        Ok(Self(Secret::new(KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?)))
    }

    /// From a PKCS #8 key as read from a file.
    ///
    /// # Errors
    /// If the key is not PKCS #8 or of no kind that signs here.
    pub fn from_der(der: &Secret<PrivateKeyDer<'static>>) -> Result<Self, Error> {
        Ok(Self(Secret::new(KeyPair::try_from(der.expose())?)))
    }

    /// The key as PKCS #8 in PEM, for the file that keeps it.
    #[must_use]
    pub fn to_pem(&self) -> Zeroizing<String> {
        Zeroizing::new(self.0.expose().serialize_pem())
    }

    /// Its public half, SubjectPublicKeyInfo in DER.
    #[must_use]
    pub fn public_key(&self) -> Vec<u8> {
        self.0.expose().subject_public_key_info()
    }

    /// The key for the library that signs with it.
    pub(super) const fn pair(&self) -> &KeyPair {
        self.0.expose()
    }

    /// The key as PKCS #8 in DER, for the TLS library.
    #[must_use]
    pub fn to_der(&self) -> Secret<PrivateKeyDer<'static>> {
        Secret::new(PrivatePkcs8KeyDer::from(self.0.expose().serialize_der()).into())
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<private key>")
    }
}
