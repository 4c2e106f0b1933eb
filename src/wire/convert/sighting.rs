//! Decides when a reported sighting is complete and within its bounds.

use crate::model::Invalid;
use crate::model::indicator::lifecycle::MAX_NOTE_BYTES;
use crate::model::sighting::{Outcome, SightingDraft};
use crate::wire::proto::v1;

use super::{marking, name, text, time};

/// Largest count of one sighting.
pub const MAX_COUNT: u64 = 1_000_000_000;

/// Reads a sighting; what the hub has to say of it is passed over.
///
/// # Errors
/// The first field that is missing or out of bounds.
pub fn read(pb: v1::Sighting) -> Result<SightingDraft, Invalid> {
    let v1::Sighting {
        name: _,
        indicator,
        outcome,
        sighted_count,
        first_seen,
        last_seen,
        note,
        marking,
        reporter: _,
        create_time: _,
    } = pb;
    let indicator = name::read_indicator("indicator", &indicator)?;
    let outcome = super::known("outcome", outcome, Outcome::from_number)?;
    let (first_seen, last_seen) = time::span(("first_seen", first_seen), ("last_seen", last_seen))?;
    Ok(SightingDraft {
        indicator,
        outcome,
        count: read_count(outcome, sighted_count)?,
        first_seen,
        last_seen,
        note: text::bounded("note", note, MAX_NOTE_BYTES)?,
        marking: marking
            .map(|given| marking::read(Some(given)).map_err(|invalid| invalid.under("marking")))
            .transpose()?,
    })
}

fn read_count(outcome: Outcome, count: u64) -> Result<u64, Invalid> {
    match (outcome, count) {
        (Outcome::SearchedNotFound, 0) => Ok(0),
        (Outcome::SearchedNotFound, _) => {
            Err(Invalid::new("sighted_count", "must be 0 when nothing was found"))
        }
        (_, 0) => Ok(1),
        (_, 1..=MAX_COUNT) => Ok(count),
        (_, _) => Err(Invalid::new("sighted_count", format!("at most {MAX_COUNT}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pb() -> v1::Sighting {
        v1::Sighting {
            indicator: "indicators/0f9c5a3e-5c1f-4a7b-9d53-2f6f0f3f8a11".into(),
            outcome: 1,
            ..Default::default()
        }
    }

    #[test]
    fn a_count_of_zero_means_once_unless_nothing_was_found() {
        assert_eq!(read(pb()).unwrap().count, 1);
        assert_eq!(read(v1::Sighting { sighted_count: MAX_COUNT, ..pb() }).unwrap().count, MAX_COUNT);
        assert_eq!(read(v1::Sighting { outcome: 3, ..pb() }).unwrap().count, 0);
        for refused in [
            v1::Sighting { sighted_count: MAX_COUNT + 1, ..pb() },
            v1::Sighting { outcome: 3, sighted_count: 1, ..pb() },
        ] {
            assert_eq!(read(refused).unwrap_err().field, "sighted_count");
        }
    }

    #[test]
    fn a_refusal_names_the_field() {
        assert_eq!(read(v1::Sighting { indicator: "x".into(), ..pb() }).unwrap_err().field, "indicator");
        assert_eq!(read(v1::Sighting { outcome: 0, ..pb() }).unwrap_err().field, "outcome");
        assert_eq!(read(v1::Sighting { outcome: 5, ..pb() }).unwrap_err().field, "outcome");
        assert_eq!(read(v1::Sighting { note: "a".repeat(1_025), ..pb() }).unwrap_err().field, "note");
        let unlabelled = v1::Sighting { marking: Some(v1::Marking::default()), ..pb() };
        assert_eq!(read(unlabelled).unwrap_err().field, "marking.tlp");
        let at = |seconds| Some(prost_types::Timestamp { seconds, nanos: 0 });
        let backwards = v1::Sighting { first_seen: at(2), last_seen: at(1), ..pb() };
        assert_eq!(read(backwards).unwrap_err().field, "last_seen");
    }
}
