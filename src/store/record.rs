//! Decides what the two state records hold: a value's assertions, and where
//! the newest version of a record stands.

use crate::model::audience::ClassNo;
use crate::model::indicator::State;
use crate::model::org::OrgNo;
use crate::model::position::Position;

const FORMAT: u8 = 1;
const ELEMENT_BYTES: usize = 34;
const LATEST_BYTES: usize = 15;

/// One producer's assertion about a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Assertion {
    /// Who asserts.
    pub owner: OrgNo,
    /// Where the record was born.
    pub handle: Position,
    /// Where its newest version stands.
    pub newest: Position,
    /// Its audience class.
    pub class: ClassNo,
    /// Where it stands in its life.
    pub state: State,
    /// Whether the value is an alias: another hash of the record's file.
    pub alias: bool,
    /// Digest of all that the publisher supplied.
    pub digest: u64,
}

impl Assertion {
    /// What is left of one whose producer took it back and whose record was
    /// dropped since: the value stays refused.
    #[must_use]
    pub const fn dropped(self) -> Self {
        Self { newest: Position::ZERO, ..self }
    }

    /// Whether the record was dropped: only its producer's next publication
    /// asks for it.
    #[must_use]
    pub fn is_dropped(&self) -> bool {
        self.newest == Position::ZERO
    }
}

/// Encodes the assertions about one value in place of what is in `out`.
pub fn encode_assertions(assertions: &[Assertion], out: &mut Vec<u8>) {
    out.clear();
    out.push(FORMAT);
    for a in assertions {
        out.extend_from_slice(&a.owner.0.to_be_bytes());
        out.extend_from_slice(&a.handle.raw().to_be_bytes());
        out.extend_from_slice(&a.newest.raw().to_be_bytes());
        out.extend_from_slice(&a.class.0.to_be_bytes());
        out.push(a.state.number());
        out.push(u8::from(a.alias));
        out.extend_from_slice(&a.digest.to_be_bytes());
    }
}

/// Decodes the assertions about one value; `None` if the bytes are damaged.
#[must_use]
pub fn decode_assertions(bytes: &[u8]) -> Option<Vec<Assertion>> {
    let (&format, elements) = bytes.split_first()?;
    if format != FORMAT || elements.len() % ELEMENT_BYTES != 0 {
        return None;
    }
    elements.chunks_exact(ELEMENT_BYTES).map(decode_assertion).collect()
}

fn decode_assertion(element: &[u8]) -> Option<Assertion> {
    let (owner, rest) = element.split_first_chunk::<4>()?;
    let (handle, rest) = rest.split_first_chunk::<8>()?;
    let (newest, rest) = rest.split_first_chunk::<8>()?;
    let (class, rest) = rest.split_first_chunk::<4>()?;
    let ([state, alias], digest) = rest.split_first_chunk::<2>()?;
    Some(Assertion {
        owner: OrgNo(u32::from_be_bytes(*owner)),
        handle: Position::from_raw(u64::from_be_bytes(*handle)),
        newest: Position::from_raw(u64::from_be_bytes(*newest)),
        class: ClassNo(u32::from_be_bytes(*class)),
        state: State::from_number(*state)?,
        alias: *alias != 0,
        digest: u64::from_be_bytes(digest.try_into().ok()?),
    })
}

/// Where the newest version of a record stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Latest {
    /// Its position.
    pub newest: Position,
    /// Its audience class.
    pub class: ClassNo,
    /// Where the record stands in its life.
    pub state: State,
    /// Whether the class ever changed since birth.
    pub reclassed: bool,
}

/// Encodes a latest record.
#[must_use]
pub fn encode_latest(latest: &Latest) -> [u8; LATEST_BYTES] {
    let mut out = [0; LATEST_BYTES];
    let (head, rest) = out.split_at_mut(1);
    let (newest, rest) = rest.split_at_mut(8);
    let (class, state) = rest.split_at_mut(4);
    head.copy_from_slice(&[FORMAT]);
    newest.copy_from_slice(&latest.newest.raw().to_be_bytes());
    class.copy_from_slice(&latest.class.0.to_be_bytes());
    state.copy_from_slice(&[latest.state.number(), u8::from(latest.reclassed)]);
    out
}

/// Decodes a latest record; `None` if the bytes are damaged.
#[must_use]
pub fn decode_latest(bytes: &[u8]) -> Option<Latest> {
    let bytes: &[u8; LATEST_BYTES] = bytes.try_into().ok()?;
    let ([format], rest) = bytes.split_first_chunk::<1>()?;
    let (newest, rest) = rest.split_first_chunk::<8>()?;
    let (class, rest) = rest.split_first_chunk::<4>()?;
    let &[state, reclassed] = rest else { return None };
    if *format != FORMAT {
        return None;
    }
    Some(Latest {
        newest: Position::from_raw(u64::from_be_bytes(*newest)),
        class: ClassNo(u32::from_be_bytes(*class)),
        state: State::from_number(state)?,
        reclassed: reclassed != 0,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encoded(all: &[Assertion]) -> Vec<u8> {
        let mut out = vec![1, 2, 3];
        encode_assertions(all, &mut out);
        out
    }

    fn state() -> impl Strategy<Value = State> {
        prop_oneof![Just(State::Active), Just(State::Revoked), Just(State::Expired)]
    }

    prop_compose! {
        fn assertion()(
            owner: u32, handle: u64, newest: u64, class: u32, state in state(), alias: bool, digest: u64
        ) -> Assertion {
            Assertion {
                owner: OrgNo(owner),
                handle: Position::from_raw(handle),
                newest: Position::from_raw(newest),
                class: ClassNo(class),
                state,
                alias,
                digest,
            }
        }
    }

    proptest! {
        #[test]
        fn assertions_decode_to_what_was_encoded(all in proptest::collection::vec(assertion(), 0..5)) {
            prop_assert_eq!(decode_assertions(&encoded(&all)), Some(all));
        }

        #[test]
        fn a_latest_record_decodes_to_what_was_encoded(newest: u64, class: u32, state in state(), reclassed: bool) {
            let latest = Latest { newest: Position::from_raw(newest), class: ClassNo(class), state, reclassed };
            prop_assert_eq!(decode_latest(&encode_latest(&latest)), Some(latest));
        }

        #[test]
        fn damaged_records_are_refused_not_misread(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            if let Some(all) = decode_assertions(&bytes) {
                prop_assert_eq!(decode_assertions(&encoded(&all)), Some(all));
            }
            let _ = decode_latest(&bytes);
        }
    }
}
