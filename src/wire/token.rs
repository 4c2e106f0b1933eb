//! Decides what a token is: a place in the log, encrypted and authenticated,
//! of one length, bound to whom and to the use it was made for.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM_SIV, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::base::random;
use crate::model::audience::ClassNo;
use crate::model::position::Position;
use crate::model::principal::SpiffeId;
use crate::model::reached::{Reached, Step};

/// Length of a token key, in bytes.
pub const KEY_BYTES: usize = 32;

const FORMAT: u8 = 1;
const CONTENT_BYTES: usize = 8 + 8 + 4 + 1;
const TAG_BYTES: usize = 16;
const HEAD_BYTES: usize = 1 + 4 + NONCE_LEN;
/// Length of every token, in bytes.
pub const TOKEN_BYTES: usize = HEAD_BYTES + CONTENT_BYTES + TAG_BYTES;

/// What a token is good for. A token of one use is none in another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use<'a> {
    /// Resuming a subscription: its name (empty: unnamed) and the digest of
    /// its filter.
    Resume {
        /// Name of the subscription, empty if it has none.
        subscription: &'a str,
        /// Digest of the effective filter.
        filter: &'a [u8; 32],
    },
    /// The next page of a query: its method and the digest of its arguments.
    Page {
        /// Full method name.
        method: &'static str,
        /// Digest of all other arguments.
        arguments: &'a [u8; 32],
    },
}

/// What a token holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Place {
    /// After this position (resuming), or before it (paging back).
    pub position: Position,
    /// Where the walk began (paging), or how far one at the position has got
    /// (resuming); else zero.
    pub origin: Position,
    /// Audience class that such a walk has got to; of an export the number of
    /// its state.
    pub class: u32,
    /// Number of the stage at the position.
    pub stage: u8,
}

impl From<Reached> for Place {
    fn from(reached: Reached) -> Self {
        let (stage, step) = reached.number();
        Self { position: reached.position, origin: step.after, class: step.class.0, stage }
    }
}

impl Place {
    /// How far a subscriber has got.
    ///
    /// # Errors
    /// [`InvalidToken`] if the stage is unknown.
    pub fn reached(self) -> Result<Reached, InvalidToken> {
        let step = Step { class: ClassNo(self.class), after: self.origin };
        Reached::from_number(self.position, self.stage, step).ok_or(InvalidToken)
    }
}

/// Why a token was refused. Deliberately says no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the token was not made by this hub for this caller and use")]
pub struct InvalidToken;

/// Makes tokens and reads its own.
pub struct Tokens {
    keys: Vec<(u32, LessSafeKey)>,
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tokens")
    }
}

impl Tokens {
    /// From the log's token keys, oldest first; the last one seals. `None` if
    /// there is none or one has the wrong length.
    #[must_use]
    pub fn new<'a>(keys: impl IntoIterator<Item = (u32, &'a [u8])>) -> Option<Self> {
        let keys = keys
            .into_iter()
            .map(|(id, key)| Some((id, LessSafeKey::new(UnboundKey::new(&AES_256_GCM_SIV, key).ok()?))))
            .collect::<Option<Vec<_>>>()?;
        (!keys.is_empty()).then_some(Self { keys })
    }

    /// Seals a place for `to` and `purpose`.
    ///
    /// # Errors
    /// If the AEAD refuses, which its inputs give no reason for.
    pub fn seal(&self, to: &SpiffeId, purpose: Use<'_>, place: Place) -> Result<Vec<u8>, InvalidToken> {
        let (id, key) = self.keys.last().ok_or(InvalidToken)?;
        let nonce = random::bytes::<NONCE_LEN>();
        let mut out = Vec::with_capacity(TOKEN_BYTES);
        out.push(FORMAT);
        out.extend_from_slice(&id.to_be_bytes());
        out.extend_from_slice(&nonce);
        let mut content = [0; CONTENT_BYTES];
        let (position, rest) = content.split_at_mut(8);
        let (origin, rest) = rest.split_at_mut(8);
        let (class, stage) = rest.split_at_mut(4);
        position.copy_from_slice(&place.position.raw().to_be_bytes());
        origin.copy_from_slice(&place.origin.raw().to_be_bytes());
        class.copy_from_slice(&place.class.to_be_bytes());
        stage.copy_from_slice(&[place.stage]);
        let aad = binding(*id, to, purpose);
        let tag = key
            .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), Aad::from(&aad), &mut content)
            .map_err(|_| InvalidToken)?;
        out.extend_from_slice(&content);
        out.extend_from_slice(tag.as_ref());
        Ok(out)
    }

    /// Opens a token that was sealed for `to` and `purpose`.
    ///
    /// # Errors
    /// [`InvalidToken`] for anything else.
    pub fn open(&self, to: &SpiffeId, purpose: Use<'_>, token: &[u8]) -> Result<Place, InvalidToken> {
        let token: &[u8; TOKEN_BYTES] = token.try_into().map_err(|_| InvalidToken)?;
        let (head, sealed) = token.split_at(HEAD_BYTES);
        let (format, head) = head.split_first().ok_or(InvalidToken)?;
        let (id, nonce) = head.split_first_chunk::<4>().ok_or(InvalidToken)?;
        let id = u32::from_be_bytes(*id);
        let (_, key) = self.keys.iter().find(|(known, _)| *known == id).ok_or(InvalidToken)?;
        if *format != FORMAT {
            return Err(InvalidToken);
        }
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| InvalidToken)?;
        let mut sealed = sealed.to_vec();
        let aad = binding(id, to, purpose);
        let content = key.open_in_place(nonce, Aad::from(&aad), &mut sealed).map_err(|_| InvalidToken)?;
        let (position, rest) = content.split_first_chunk::<8>().ok_or(InvalidToken)?;
        let (origin, rest) = rest.split_first_chunk::<8>().ok_or(InvalidToken)?;
        let (class, rest) = rest.split_first_chunk::<4>().ok_or(InvalidToken)?;
        Ok(Place {
            position: Position::from_raw(u64::from_be_bytes(*position)),
            origin: Position::from_raw(u64::from_be_bytes(*origin)),
            class: u32::from_be_bytes(*class),
            stage: rest.first().copied().ok_or(InvalidToken)?,
        })
    }

    /// [`Self::seal`] as URL-safe text (RFC 4648, section 5).
    ///
    /// # Errors
    /// As [`Self::seal`].
    pub fn seal_text(&self, to: &SpiffeId, purpose: Use<'_>, place: Place) -> Result<String, InvalidToken> {
        self.seal(to, purpose, place).map(|token| URL_SAFE_NO_PAD.encode(token))
    }

    /// [`Self::open`] of URL-safe text.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn open_text(&self, to: &SpiffeId, purpose: Use<'_>, token: &str) -> Result<Place, InvalidToken> {
        let token = URL_SAFE_NO_PAD.decode(token).map_err(|_| InvalidToken)?;
        self.open(to, purpose, &token)
    }
}

/// The associated data: everything a token is bound to, each part with its
/// length so that no two bindings read alike.
fn binding(key: u32, to: &SpiffeId, purpose: Use<'_>) -> Vec<u8> {
    let (kind, name, digest) = match purpose {
        Use::Resume { subscription, filter } => (1_u8, subscription, filter),
        Use::Page { method, arguments } => (2, method, arguments),
    };
    let mut out = Vec::with_capacity(128);
    out.extend_from_slice(&key.to_be_bytes());
    out.push(kind);
    for part in [to.as_str().as_bytes(), name.as_bytes(), digest] {
        out.extend_from_slice(&(part.len() as u64).to_be_bytes());
        out.extend_from_slice(part);
    }
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tokens() -> Tokens {
        Tokens::new([(1, [1_u8; KEY_BYTES].as_slice()), (2, [2_u8; KEY_BYTES].as_slice())]).unwrap()
    }

    fn who(name: &str) -> SpiffeId {
        SpiffeId::parse(&format!("spiffe://hub.example/org/{name}")).unwrap()
    }

    proptest! {
        #[test]
        fn a_token_opens_to_what_was_sealed(position: u64, origin: u64, class: u32, stage: u8) {
            let (position, origin) = (Position::from_raw(position), Position::from_raw(origin));
            let place = Place { position, origin, class, stage };
            let purpose = Use::Resume { subscription: "soc", filter: &[9; 32] };
            let token = tokens().seal(&who("a/user/an"), purpose, place).unwrap();
            prop_assert_eq!(token.len(), TOKEN_BYTES);
            prop_assert_eq!(tokens().open(&who("a/user/an"), purpose, &token), Ok(place));
        }

        #[test]
        fn a_token_with_one_byte_changed_is_refused(at in 0..TOKEN_BYTES, change in 1_u8..) {
            let place = Place { position: Position::from_raw(5), ..Place::default() };
            let purpose = Use::Resume { subscription: "", filter: &[0; 32] };
            let mut token = tokens().seal(&who("a/user/an"), purpose, place).unwrap();
            token[at] ^= change;
            prop_assert_eq!(tokens().open(&who("a/user/an"), purpose, &token), Err(InvalidToken));
        }
    }

    #[test]
    fn a_token_is_good_only_for_its_principal_subscription_filter_and_use() {
        let place = Place { position: Position::from_raw(5), ..Place::default() };
        let purpose = Use::Resume { subscription: "soc", filter: &[7; 32] };
        let token = tokens().seal(&who("a/user/an"), purpose, place).unwrap();
        let refused =
            |other: &str, purpose| assert_eq!(tokens().open(&who(other), purpose, &token), Err(InvalidToken));
        refused("b/user/an", purpose);
        refused("a/user/binh", purpose);
        refused("a/system/an", purpose);
        refused("a/user/an", Use::Resume { subscription: "so", filter: &[7; 32] });
        refused("a/user/an", Use::Resume { subscription: "soc", filter: &[8; 32] });
        refused("a/user/an", Use::Page { method: "soc", arguments: &[7; 32] });
    }

    #[test]
    fn a_token_of_an_older_key_still_opens() {
        let old = Tokens::new([(1, [1_u8; KEY_BYTES].as_slice())]).unwrap();
        let place = Place { position: Position::from_raw(5), ..Place::default() };
        let purpose = Use::Page { method: "list", arguments: &[7; 32] };
        let token = old.seal_text(&who("a/user/an"), purpose, place).unwrap();
        assert_eq!(tokens().open_text(&who("a/user/an"), purpose, &token), Ok(place));
    }
}
