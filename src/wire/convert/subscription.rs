//! Decides what a subscriber may say.

use crate::model::Invalid;
use crate::wire::proto::v1;

/// Most events that one grant of credit may hold.
pub const MAX_CREDIT: u64 = 1_000_000_000;
/// Longest resume token that is looked at, in bytes.
pub const MAX_TOKEN_BYTES: usize = 1_024;

/// Reads a grant of credit.
///
/// # Errors
/// Not 1 to [`MAX_CREDIT`].
pub fn read_credit(pb: v1::Credit) -> Result<u64, Invalid> {
    let v1::Credit { events } = pb;
    u64::try_from(events)
        .ok()
        .filter(|events| (1..=MAX_CREDIT).contains(events))
        .ok_or_else(|| Invalid::new("credit.events", format!("1 to {MAX_CREDIT}")))
}

/// Reads where to start without a token.
///
/// # Errors
/// Nothing that this hub knows.
pub fn read_position(number: i32) -> Result<Position, Invalid> {
    super::known("open.position", number, |number| match number {
        1 => Some(Position::Earliest),
        2 => Some(Position::Latest),
        3 => Some(Position::CurrentState),
        _ => None,
    })
}

/// Where to start without a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Position {
    /// Everything that is kept, then what comes.
    Earliest,
    /// Only what comes.
    Latest,
    /// What stands now, then what comes.
    CurrentState,
}

/// Checks the length of a token; nothing else about it is ours to read.
#[must_use]
pub const fn is_token(token: &[u8]) -> bool {
    !token.is_empty() && token.len() <= MAX_TOKEN_BYTES
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credit_is_one_or_more() {
        assert_eq!(read_credit(v1::Credit { events: 1 }).unwrap(), 1);
        assert_eq!(read_credit(v1::Credit { events: 1_000_000_000 }).unwrap(), MAX_CREDIT);
        for events in [0, -1, 1_000_000_001, i64::MIN] {
            assert_eq!(read_credit(v1::Credit { events }).unwrap_err().field, "credit.events", "{events}");
        }
    }

    #[test]
    fn a_start_is_never_a_default() {
        assert_eq!(read_position(1).unwrap(), Position::Earliest);
        assert_eq!(read_position(2).unwrap(), Position::Latest);
        assert!(read_position(0).is_err() && read_position(4).is_err());
    }
}
