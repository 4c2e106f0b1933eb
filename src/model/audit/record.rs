//! Decides what is said of a call, and how that is encoded: one canonical form,
//! whose hash is a leaf of the log.
//!
//! Numbers are big-endian. In this order:
//!
//! | bytes | what |
//! |---|---|
//! | 1 | format, 1 |
//! | 1 | phase |
//! | 1 | purpose |
//! | 1 | narrowest TLP label of what the answer held, by number; 0: none, or not told |
//! | 8 | when it began, microseconds since the Unix epoch, by the hub's clock |
//! | 4 | how long it took, microseconds; the largest number: longer |
//! | 16 | number of the call, which all its records share |
//! | 32 | SHA-256 of the certificate in DER; zeroes: none, it is the hub's own |
//! | 4, 4, 4 | items asked about, given or taken, refused |
//! | 1 + n | method, at most 255 bytes |
//! | 1 + n | outcome, at most 255 bytes |
//! | 2 + n | principal, at most 1,024 bytes |
//! | 2 + n | what was asked: a name or a filter, at most 2,048 bytes |
//! | 1 + n | digest of what was asked, 0 or 32 bytes |
//!
//! Text is UTF-8. Nothing follows.

use std::borrow::Cow;

use crate::base::clock::Timestamp;
use crate::model::numbered::numbered;

use super::tree::{self, Hash};

/// Longest principal, in bytes.
pub const MAX_PRINCIPAL_BYTES: usize = 1_024;
/// Longest text of what was asked, in bytes; more is cut off.
pub const MAX_ABOUT_BYTES: usize = 2_048;
/// Longest record, in bytes.
pub const MAX_RECORD_BYTES: usize = 4_096;
/// Method of the hub's own note that records were cut. Its count of what was
/// asked says below which number, in two halves with that of what was given.
pub const CUT: &str = "AuditRetention";
/// Method of the hub's own note that a history epoch began, from a backup.
pub const RESTORED: &str = "Restored";
/// Method of the hub's own note that something looked like a state secret.
pub const STATE_SECRET: &str = "StateSecretSuspected";
/// Method of the note that an enrolment token was shown and not taken.
pub const ENROLMENT_REFUSED: &str = "EnrolmentRefused";

const FORMAT: u8 = 1;
const HEAD_BYTES: usize = 76;

numbered! {
    /// Which part of a call a record is of.
    pub enum Phase {
        /// All of it, from its beginning to its end.
        Whole = 1 is "call",
        /// A stream began.
        Opened = 2 is "opened",
        /// Something was taken or delivered on a stream.
        Portion = 3 is "portion",
        /// A stream ended.
        Ended = 4 is "ended",
        /// Not a call: the hub's own.
        Note = 5 is "note",
    }
}

numbered! {
    /// What a call is for.
    pub enum Purpose {
        /// Publishing, revoking, reporting, and leave to republish.
        Write = 1 is "write",
        /// Delivery to a subscription.
        Deliver = 2 is "deliver",
        /// Reading one record.
        Get = 3 is "get",
        /// Listing and looking up.
        Search = 4 is "search",
        /// Counting.
        Aggregate = 5 is "aggregate",
        /// Export as a file.
        Export = 6 is "export",
        /// Certificates, authorities, the roster.
        Administer = 7 is "administer",
        /// Reading this audit.
        Audit = 8 is "audit",
        /// Health, reflection, the directory, the caller's own standing.
        Platform = 9 is "platform",
        /// The hub's own.
        Hub = 10 is "hub",
    }
}

numbered! {
    /// What is kept alike.
    pub enum Group {
        /// What was written, and by whom.
        Writes = 1 is "writes",
        /// What was read, and by whom; reading the audit too.
        Reads = 2 is "reads",
        /// What was delivered to subscribers.
        Deliveries = 3 is "deliveries",
        /// Certificates, authorities, the roster; and the hub's own notes.
        Administration = 4 is "administration",
        /// Health, reflection, the directory, the caller's own standing.
        Platform = 5 is "platform",
    }
}

impl Purpose {
    /// With what it is kept alike.
    #[must_use]
    pub const fn group(self) -> Group {
        match self {
            Self::Write => Group::Writes,
            Self::Deliver => Group::Deliveries,
            Self::Get | Self::Search | Self::Aggregate | Self::Export | Self::Audit => Group::Reads,
            Self::Administer | Self::Hub => Group::Administration,
            Self::Platform => Group::Platform,
        }
    }
}

/// What is said of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Which part of it.
    pub phase: Phase,
    /// What it was for.
    pub purpose: Purpose,
    /// Narrowest TLP label of what the answer held, by number; 0: none, or it
    /// was not looked at.
    pub tlp: u8,
    /// When it, or the portion, began.
    pub time: Timestamp,
    /// How long it took, in microseconds.
    pub micros: u32,
    /// Number of the call.
    pub call: [u8; 16],
    /// SHA-256 of the certificate; zeroes: none.
    pub certificate: [u8; 32],
    /// Items asked about.
    pub asked: u32,
    /// Items given or taken.
    pub given: u32,
    /// Items refused.
    pub refused: u32,
    /// Name of the method.
    pub method: Cow<'static, str>,
    /// `OK`, or the reason of the error.
    pub outcome: Cow<'static, str>,
    /// Who called; empty: the hub itself.
    pub principal: String,
    /// What was asked: a name or a filter. No value of an indicator but where a
    /// filter names it.
    pub about: String,
    /// Keyed digest of what was asked and is not told.
    pub digest: Option<Hash>,
}

impl Record {
    /// A note of the hub's own.
    #[must_use]
    pub fn note(method: &'static str, time: Timestamp) -> Self {
        Self {
            phase: Phase::Note,
            purpose: Purpose::Hub,
            tlp: 0,
            time,
            micros: 0,
            call: [0; 16],
            certificate: [0; 32],
            asked: 0,
            given: 0,
            refused: 0,
            method: method.into(),
            outcome: "OK".into(),
            principal: String::new(),
            about: String::new(),
            digest: None,
        }
    }

    /// The note that records below `end` may have been cut.
    #[must_use]
    pub fn cut(end: u64, about: String, time: Timestamp) -> Self {
        let [a, b, c, d, e, f, g, h] = end.to_be_bytes();
        Self {
            asked: u32::from_be_bytes([a, b, c, d]),
            given: u32::from_be_bytes([e, f, g, h]),
            about,
            ..Self::note(CUT, time)
        }
    }

    /// Below which number records may have been cut, if the record says so.
    #[must_use]
    pub fn cut_end(&self) -> Option<u64> {
        let is_cut = self.phase == Phase::Note && self.method == CUT;
        is_cut.then(|| u64::from(self.asked) << 32 | u64::from(self.given))
    }

    /// The canonical encoding.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let principal = cut(&self.principal, MAX_PRINCIPAL_BYTES);
        let about = cut(&self.about, MAX_ABOUT_BYTES);
        let (method, outcome) = (cut(&self.method, 255), cut(&self.outcome, 255));
        let texts = method.len() + outcome.len() + principal.len() + about.len();
        let mut out = Vec::with_capacity(HEAD_BYTES + texts + 7 + 32);
        out.extend_from_slice(&[FORMAT, self.phase.number(), self.purpose.number(), self.tlp]);
        out.extend_from_slice(&self.time.as_micros().to_be_bytes());
        out.extend_from_slice(&self.micros.to_be_bytes());
        out.extend_from_slice(&self.call);
        out.extend_from_slice(&self.certificate);
        for count in [self.asked, self.given, self.refused] {
            out.extend_from_slice(&count.to_be_bytes());
        }
        for text in [method, outcome] {
            out.push(u8::try_from(text.len()).unwrap_or_default());
            out.extend_from_slice(text.as_bytes());
        }
        for text in [principal, about] {
            out.extend_from_slice(&u16::try_from(text.len()).unwrap_or_default().to_be_bytes());
            out.extend_from_slice(text.as_bytes());
        }
        match &self.digest {
            Some(digest) => {
                out.push(32);
                out.extend_from_slice(digest);
            }
            None => out.push(0),
        }
        out
    }

    /// Reads a canonical encoding; `None` for anything else.
    #[must_use]
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (head, rest) = bytes.split_first_chunk::<HEAD_BYTES>()?;
        let ([FORMAT, phase, purpose, tlp], head) = head.split_first_chunk::<4>()? else { return None };
        let (time, head) = head.split_first_chunk::<8>()?;
        let (micros, head) = head.split_first_chunk::<4>()?;
        let (call, head) = head.split_first_chunk::<16>()?;
        let (certificate, head) = head.split_first_chunk::<32>()?;
        let (counts, []) = head.as_chunks::<4>() else { return None };
        let &[asked, given, refused] = counts else { return None };
        let (method, rest) = short(rest)?;
        let (outcome, rest) = short(rest)?;
        let (principal, rest) = long(rest, MAX_PRINCIPAL_BYTES)?;
        let (about, rest) = long(rest, MAX_ABOUT_BYTES)?;
        let digest = match rest {
            [0] => None,
            [32, digest @ ..] => Some(digest.try_into().ok()?),
            _ => return None,
        };
        Some(Self {
            phase: Phase::from_number(*phase)?,
            purpose: Purpose::from_number(*purpose)?,
            tlp: *tlp,
            time: Timestamp::from_micros(u64::from_be_bytes(*time))?,
            micros: u32::from_be_bytes(*micros),
            call: *call,
            certificate: *certificate,
            asked: u32::from_be_bytes(asked),
            given: u32::from_be_bytes(given),
            refused: u32::from_be_bytes(refused),
            method: method.to_owned().into(),
            outcome: outcome.to_owned().into(),
            principal: principal.to_owned(),
            about: about.to_owned(),
            digest,
        })
    }

    /// The hash of the leaf that the record is.
    #[must_use]
    pub fn leaf(encoded: &[u8]) -> Hash {
        tree::leaf(encoded)
    }
}

/// The longest prefix of whole characters within `max` bytes.
fn cut(text: &str, max: usize) -> &str {
    text.get(..text.floor_char_boundary(max)).unwrap_or_default()
}

fn short(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let (length, rest) = bytes.split_first()?;
    let (text, rest) = rest.split_at_checked(usize::from(*length))?;
    Some((std::str::from_utf8(text).ok()?, rest))
}

fn long(bytes: &[u8], max: usize) -> Option<(&str, &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<2>()?;
    let length = usize::from(u16::from_be_bytes(*length));
    let (text, rest) = rest.split_at_checked(length)?;
    if length > max {
        return None;
    }
    Some((std::str::from_utf8(text).ok()?, rest))
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A record whose number tells it from others.
    pub(crate) fn numbered(number: u64) -> Record {
        Record {
            time: Timestamp::from_micros(1_000_000 + number).unwrap(),
            about: format!("number {number}"),
            principal: "spiffe://test.example/org/a/system/feed".to_owned(),
            phase: Phase::Whole,
            purpose: Purpose::Search,
            ..Record::note("ListIndicators", Timestamp::EPOCH)
        }
    }

    #[test]
    fn the_encoding_is_the_documented_one() {
        let record = Record {
            micros: 5,
            call: [6; 16],
            certificate: [7; 32],
            asked: 1,
            given: 2,
            refused: 3,
            tlp: 4,
            principal: "p".into(),
            about: "ab".into(),
            digest: Some([9; 32]),
            ..numbered(0)
        };
        let mut expected = vec![1, 1, 4, 4, 0, 0, 0, 0, 0, 15, 66, 64, 0, 0, 0, 5];
        expected.extend([6; 16]);
        expected.extend([7; 32]);
        expected.extend([0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3]);
        expected.extend(b"\x0eListIndicators\x02OK\x00\x01p\x00\x02ab\x20");
        expected.extend([9; 32]);
        assert_eq!(record.encode(), expected);
    }

    #[test]
    fn what_is_too_long_is_cut_at_a_character_and_fits() {
        let record = Record {
            about: "ộ".repeat(5_000),
            principal: "ộ".repeat(5_000),
            ..Record::note(CUT, Timestamp::EPOCH)
        };
        let encoded = record.encode();
        assert!(encoded.len() <= MAX_RECORD_BYTES);
        assert_eq!(Record::decode(&encoded).unwrap().encode(), encoded);
    }

    #[test]
    fn a_note_says_below_which_number_records_were_cut() {
        let end = (7 << 32) + 9;
        assert_eq!(Record::cut(end, String::new(), Timestamp::EPOCH).cut_end(), Some(end));
        assert_eq!(numbered(1).cut_end(), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn a_record_has_one_encoding_and_no_other_bytes_are_one(
            about in ".{0,40}", counts: [u32; 3], digest: Option<[u8; 32]>, cut in 0..200_usize, flip in 0..200_usize,
        ) {
            let [asked, given, refused] = counts;
            let record = Record { about, asked, given, refused, digest, ..numbered(3) };
            let encoded = record.encode();
            prop_assert_eq!(Record::decode(&encoded), Some(record));
            let mut longer = encoded.clone();
            longer.push(0);
            prop_assert_eq!(Record::decode(&longer), None);
            prop_assert_eq!(Record::decode(&encoded[..cut.min(encoded.len() - 1)]), None);
            let mut other = encoded.clone();
            let place = flip % encoded.len();
            other[place] ^= 1;
            if let Some(read) = Record::decode(&other) {
                prop_assert_eq!(read.encode(), other);
            }
        }
    }
}
