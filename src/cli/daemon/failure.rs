//! Decides how a command of the hub ends: one exit code for each class of
//! failure, as `sysexits.h` numbers them.

use std::io;

use crate::hub::{self, archive, error::Kind};
use crate::model::Invalid;
use crate::store;

/// Why a command did not do what it was asked.
#[derive(Debug)]
pub enum Failure {
    /// The arguments are wrong; the text is whole.
    Usage(String),
    /// What an argument or an input file says is wrong.
    Input(String),
    /// An input file is not there.
    NoInput(String),
    /// What should be made is there already.
    Exists(String),
    /// The configuration is wrong.
    Configuration(String),
    /// The check ran, and found damage; the result is printed already.
    Damaged,
    /// What was written once cannot be read.
    Corrupt(String),
    /// Reading, writing or listening failed.
    Io(String),
    /// The hub is busy elsewhere, or could not answer now.
    TryLater(String),
    /// The store cannot be opened, or is damaged.
    Store(store::Error),
    /// The engine refused.
    Hub(hub::Error),
}

impl Failure {
    /// What to tell; `None`: nothing is left to say.
    pub(super) fn text(&self) -> Option<String> {
        match self {
            Self::Usage(text) => Some(text.trim_end().to_owned()),
            Self::Input(text)
            | Self::NoInput(text)
            | Self::Exists(text)
            | Self::Configuration(text)
            | Self::Corrupt(text)
            | Self::Io(text)
            | Self::TryLater(text) => Some(format!("luytred: {text}")),
            Self::Store(error) => Some(format!("luytred: {error}")),
            Self::Hub(error) => Some(tell(error)),
            Self::Damaged => None,
        }
    }

    /// The exit code.
    pub(super) const fn code(&self) -> u8 {
        match self {
            Self::Usage(_) => 64,
            Self::Input(_) => 65,
            Self::NoInput(_) => 66,
            Self::Exists(_) => 73,
            Self::Damaged | Self::Corrupt(_) => of_kind(Kind::Corrupt),
            Self::Io(_) => 74,
            Self::TryLater(_) => 75,
            Self::Configuration(_) => 78,
            Self::Store(error) => of_store(error),
            Self::Hub(error) => of_kind(error.kind()),
        }
    }

    /// A list of problems with `what`.
    pub(super) fn problems(what: &str, problems: &[Invalid]) -> Self {
        let count = problems.len();
        let plural = if count == 1 { "" } else { "s" };
        let listed: String = problems.iter().map(|problem| format!("\n  {problem}")).collect();
        Self::Input(format!("{what} has {count} problem{plural}:{listed}"))
    }
}

const fn of_kind(kind: Kind) -> u8 {
    match kind {
        Kind::Invalid => 64,
        Kind::State | Kind::Expired => 65,
        Kind::Absent => 66,
        Kind::Corrupt | Kind::Internal => 70,
        Kind::Exists => 73,
        Kind::Stale | Kind::Limited | Kind::ReadOnly | Kind::Draining | Kind::Displaced | Kind::Timeout => 75,
        Kind::Unauthenticated | Kind::Denied => 77,
    }
}

const fn of_store(error: &store::Error) -> u8 {
    match error {
        store::Error::Format { .. } => 65,
        store::Error::Absent(_) => 66,
        store::Error::DamagedTail { .. } | store::Error::Corrupt { .. } => of_kind(Kind::Corrupt),
        store::Error::NotEmpty(_) => 73,
        store::Error::Engine(_) | store::Error::File { .. } | store::Error::Scratch { .. } => 74,
        store::Error::Locked(_) => 75,
        store::Error::OpenToOthers(_) | store::Error::Backup(_) => 78,
    }
}

/// The error with its causes: at this prompt its reader is the operator of the
/// machine, for whom nothing is hidden.
fn tell(error: &hub::Error) -> String {
    let mut text = format!("luytred: {}", error.public);
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text.push_str("\n  because: ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

impl From<hub::Error> for Failure {
    /// A failure of the store is told as such: the engine's text for callers
    /// hides it, and here nothing is hidden.
    fn from(mut error: hub::Error) -> Self {
        match error.source.take().map(|source| source.downcast::<store::Error>()) {
            Some(Ok(store)) => Self::Store(*store),
            Some(Err(source)) => Self::Hub(error.with_source(source)),
            None => Self::Hub(error),
        }
    }
}

impl From<store::Error> for Failure {
    fn from(error: store::Error) -> Self {
        Self::Store(error)
    }
}

impl From<archive::Error> for Failure {
    fn from(error: archive::Error) -> Self {
        let text = error.to_string();
        match error {
            archive::Error::Store(error) => Self::Store(error),
            archive::Error::Foreign { .. } | archive::Error::Passphrase { .. } | archive::Error::NotText => {
                Self::Input(text)
            }
            archive::Error::Damaged { .. } => Self::Corrupt(text),
            archive::Error::Interrupted => Self::TryLater(text),
            archive::Error::File { source, .. } if source.kind() == io::ErrorKind::AlreadyExists => {
                Self::Exists(text)
            }
            archive::Error::File { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                Self::NoInput(text)
            }
            archive::Error::File { .. } => Self::Io(text),
        }
    }
}

impl From<io::Error> for Failure {
    /// Of writing to stdout.
    fn from(error: io::Error) -> Self {
        Self::Io(format!("cannot write the output: {error}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::error::Reason;

    #[test]
    fn every_kind_of_error_has_the_documented_exit_code() {
        let documented = |kind| match kind {
            Kind::Invalid => 64,
            Kind::State | Kind::Expired => 65,
            Kind::Absent => 66,
            Kind::Corrupt | Kind::Internal => 70,
            Kind::Exists => 73,
            Kind::Unauthenticated | Kind::Denied => 77,
            _ => 75,
        };
        for kind in Kind::ALL {
            assert_eq!(of_kind(kind), documented(kind), "{kind:?}");
        }
    }

    #[test]
    fn a_failure_of_the_store_is_told_by_its_own_text_and_code() {
        let store = store::Error::NotEmpty("/srv".into());
        let told = store.to_string();
        let failure = Failure::from(hub::Error::internal(store));
        assert_eq!((failure.code(), failure.text()), (73, Some(format!("luytred: {told}"))));
    }

    #[test]
    fn the_machines_operator_is_told_the_cause() {
        let error =
            hub::Error::new(Reason::DataCorrupt, "the log is damaged").with_source("record 7: checksum");
        assert_eq!(
            Failure::from(error).text().unwrap(),
            "luytred: the log is damaged\n  because: record 7: checksum"
        );
    }
}
