//! Decides in which formats indicators leave the hub as files, and what of
//! them a format leaves out.

use super::Invalid;
use super::indicator::{Kind, State};
use super::numbered::numbered;
use super::query::IndicatorFilter;

numbered! {
    /// A format of files. Numbers are sent.
    pub enum Format {
        /// One JSON object a line.
        JsonLines = 1 is "jsonl",
        /// Comma-separated values (RFC 4180) that no spreadsheet takes for formulas.
        Csv = 2 is "csv",
        /// Values to block, one a line.
        Plain = 3 is "plain",
        /// A hosts file that sends domains to block nowhere.
        Hosts = 4 is "hosts",
        /// A zone of BIND's response policies.
        Rpz = 5 is "rpz",
        /// Rules of Suricata.
        Suricata = 6 is "suricata",
        /// A list of Suricata's IP reputation.
        Iprep = 7 is "iprep",
    }
}

impl Format {
    /// Whether what reads such a file blocks what it holds: then it holds
    /// values that someone recommends to block, each once, and no others.
    #[must_use]
    pub const fn blocks(self) -> bool {
        !matches!(self, Self::JsonLines | Self::Csv)
    }

    /// Whether such a file has a place for values of this kind.
    #[must_use]
    pub const fn takes(self, kind: Kind) -> bool {
        match self {
            Self::JsonLines | Self::Csv => true,
            Self::Plain => !kind.is_rule(),
            Self::Hosts => matches!(kind, Kind::Domain),
            Self::Rpz | Self::Suricata => {
                matches!(kind, Kind::Domain | Kind::Ipv4 | Kind::Ipv6 | Kind::Cidr)
            }
            Self::Iprep => matches!(kind, Kind::Ipv4 | Kind::Ipv6 | Kind::Cidr),
        }
    }

    /// The media type of such a file.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::JsonLines => "application/jsonl",
            Self::Csv => "text/csv; charset=utf-8; header=present",
            Self::Rpz => "text/dns",
            Self::Plain | Self::Hosts | Self::Suricata | Self::Iprep => "text/plain; charset=utf-8",
        }
    }

    /// Checks that a filter asks for what such a file may hold.
    ///
    /// # Errors
    /// States other than active, for what blocks.
    pub fn check(self, filter: &IndicatorFilter) -> Result<(), Invalid> {
        if self.blocks() && filter.states.iter().any(|state| *state != State::Active) {
            let problem = format!("{} holds what is to be blocked: active indicators only", self.as_str());
            return Err(Invalid::new("filter.states", problem));
        }
        Ok(())
    }
}

numbered! {
    /// Why an indicator that was asked for is not in a file. Numbers are sent.
    pub enum Omission {
        /// It is TLP:RED, which leaves the hub in no file.
        Red = 1 is "red",
        /// It does not recommend to block.
        NotRecommended = 2 is "not-recommended",
        /// It is a victim's or is watched, or another indicator of the same
        /// value says so.
        Objected = 3 is "objected",
        /// Everyone has or needs the value.
        Everyones = 4 is "everyones",
        /// Another row already stands for the value.
        Repeated = 5 is "repeated",
        /// The format has no place for values of this kind.
        Kind = 6 is "kind",
        /// The format cannot spell this value.
        Spelling = 7 is "spelling",
    }
}

/// How many indicators are not in a file, by reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Omitted([u64; 7]);

impl Omitted {
    /// Counts one.
    pub fn note(&mut self, why: Omission) {
        if let Some(count) = self.0.get_mut(usize::from(why.number()) - 1) {
            *count += 1;
        }
    }

    /// The reasons that there were, and how often.
    pub fn iter(self) -> impl Iterator<Item = (Omission, u64)> {
        Omission::ALL.iter().copied().zip(self.0).filter(|(_, count)| *count > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_is_counted_under_its_own_name() {
        let mut omitted = Omitted::default();
        for (times, &why) in Omission::ALL.iter().enumerate() {
            (0..=times).for_each(|_| omitted.note(why));
        }
        let expected: Vec<_> = Omission::ALL.iter().copied().zip(1..).collect();
        assert_eq!(omitted.iter().collect::<Vec<_>>(), expected);
    }

    #[test]
    fn what_blocks_is_asked_for_what_is_active_only() {
        let filter =
            |states: &[State]| IndicatorFilter { states: states.to_vec(), ..IndicatorFilter::default() };
        for &format in Format::ALL {
            assert_eq!(format.check(&filter(&[])), Ok(()));
            assert_eq!(format.check(&filter(&[State::Active])), Ok(()));
            assert_eq!(format.check(&filter(&[State::Active, State::Revoked])).is_err(), format.blocks());
        }
    }
}
