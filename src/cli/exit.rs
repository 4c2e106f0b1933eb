//! Decides how a command ends: one exit code for each class of failure, as
//! `sysexits.h` numbers them.

use std::io;

use tonic::Code;

use crate::client;
use crate::pki::{directory, issue};

use super::pki;

/// All is well.
pub(super) const OK: u8 = 0;
const USAGE: u8 = 64;
const DATA: u8 = 65;
const NO_INPUT: u8 = 66;
const SOFTWARE: u8 = 70;
const CANNOT_CREATE: u8 = 73;
const IO: u8 = 74;
const TRY_LATER: u8 = 75;
const NO_PERMISSION: u8 = 77;
const CONFIGURATION: u8 = 78;
/// Past those of `sysexits.h`.
const NOT_YET: u8 = 79;

/// Why a command did not do all that it was asked.
#[derive(Debug)]
pub(super) enum Failure {
    /// The arguments are wrong.
    Usage(String),
    /// The profile is wrong.
    Configuration(String),
    /// An input file is not there, or a resource is not.
    NoInput(String),
    /// Some items were refused; the report is printed already.
    SomeRefused,
    /// A recall has not been acknowledged by all, or nobody can know; that is
    /// printed already.
    NotYetAcknowledged,
    /// What was to be verified is not sound.
    Unsound(String),
    /// The command was interrupted before it was done.
    Interrupted(String),
    /// The certificate has ended.
    Lapsed(String),
    /// Another process holds what this one needs.
    Busy(String),
    /// Reading or writing failed.
    Io(String),
    /// A certificate could not be made, issued or revoked.
    Pki(pki::Error),
    /// The reader of our output went away, as `head` does.
    NobodyReads,
    /// The hub, or the way to it.
    Client(client::Error),
}

impl Failure {
    /// What to tell; `None`: nothing is left to say.
    pub(super) fn text(&self) -> Option<String> {
        match self {
            // Rendered by clap, or by us in its manner.
            Self::Usage(text) => Some(text.trim_end().to_owned()),
            Self::Unsound(text)
            | Self::Configuration(text)
            | Self::NoInput(text)
            | Self::Interrupted(text)
            | Self::Lapsed(text)
            | Self::Busy(text)
            | Self::Io(text) => Some(format!("luytre: {text}")),
            Self::Pki(pki::Error::Talk(error)) if error.kind() == io::ErrorKind::BrokenPipe => None,
            Self::Pki(error) => Some(format!("luytre: {error}")),
            Self::Client(error) => Some(format!("luytre: {error}{}", advice(error))),
            Self::SomeRefused | Self::NotYetAcknowledged | Self::NobodyReads => None,
        }
    }

    /// Whether the command was turned away before it could do anything.
    pub(super) fn is_at_the_door(&self) -> bool {
        matches!(self.code(), USAGE | NO_PERMISSION | CONFIGURATION)
    }

    /// The exit code.
    pub(super) fn code(&self) -> u8 {
        match self {
            Self::NobodyReads => OK,
            Self::Usage(_) => USAGE,
            Self::SomeRefused | Self::Unsound(_) => DATA,
            Self::NotYetAcknowledged => NOT_YET,
            Self::Pki(error) => of_pki(error),
            Self::NoInput(_) => NO_INPUT,
            Self::Io(_) => IO,
            Self::Interrupted(_) | Self::Busy(_) => TRY_LATER,
            Self::Configuration(_) => CONFIGURATION,
            Self::Lapsed(_) => NO_PERMISSION,
            Self::Client(error) => match error {
                client::Error::File { .. } | client::Error::Settings(_) => CONFIGURATION,
                client::Error::Transport(_) | client::Error::Timeout { .. } | client::Error::Busy { .. } => {
                    TRY_LATER
                }
                client::Error::Untrusted { .. } | client::Error::Unaccepted { .. } => NO_PERMISSION,
                client::Error::Protocol(_) | client::Error::Misuse(_) => SOFTWARE,
                client::Error::History(_) => DATA,
                client::Error::Refused(refusal) => of_status(refusal.code),
            },
        }
    }
}

fn of_pki(error: &pki::Error) -> u8 {
    use directory::Error as In;
    match error {
        pki::Error::Identity(_)
        | pki::Error::PassphraseMissing
        | pki::Error::Directory(
            In::Name
            | In::TrustDomain(_)
            | In::ForeignIdentity { .. }
            | In::NotIssued { .. }
            | In::Serial
            | In::Issue(issue::Error::DnsName { .. } | issue::Error::Nameless),
        ) => USAGE,
        pki::Error::Directory(In::Exists { .. }) => CANNOT_CREATE,
        pki::Error::Directory(In::NotInitialised { .. }) => NO_INPUT,
        pki::Error::Directory(In::File { source, .. }) | pki::Error::Read { source, .. }
            if source.kind() == io::ErrorKind::NotFound =>
        {
            NO_INPUT
        }
        pki::Error::Talk(error) if error.kind() == io::ErrorKind::BrokenPipe => OK,
        _ => DATA,
    }
}

const fn of_status(code: Code) -> u8 {
    match code {
        Code::InvalidArgument => USAGE,
        Code::Unauthenticated | Code::PermissionDenied => NO_PERMISSION,
        Code::NotFound => NO_INPUT,
        Code::AlreadyExists => CANNOT_CREATE,
        Code::FailedPrecondition | Code::OutOfRange => DATA,
        Code::Aborted
        | Code::ResourceExhausted
        | Code::Unavailable
        | Code::DeadlineExceeded
        | Code::Cancelled => TRY_LATER,
        _ => SOFTWARE,
    }
}

/// What helps, where the hub's text alone does not say it at this prompt.
fn advice(error: &client::Error) -> &'static str {
    match error.reason() {
        "RESUME_TOKEN_EXPIRED" => {
            "\n  Remove the state file, or with `luytre subscriptions delete` the name whose place the hub keeps, and start with --from current-state."
        }
        "RESUME_TOKEN_INVALID" => {
            "\n  A token is good only for the identity, the name and the filters it was made with. Use those again, or another --state file."
        }
        "SUBSCRIPTION_DISPLACED" => {
            "\n  Another process subscribed under the same name. Give each process its own --name."
        }
        "ETAG_MISMATCH" => {
            "\n  It changed meanwhile. Read it again (`luytre get`, `luytre roster export`), then decide again."
        }
        "ENROLMENT_TOKEN_INVALID" => {
            "\n  A token is good once, for a day or as its maker said, and only after a second operator approved it. Ask the hub's operator for another one if this one was used or has ended."
        }
        "CERTIFICATE_FOREIGN" => {
            "\n  The hub renews what its own authorities issued. Whoever issued this certificate renews it, or the hub's operator gives a token for `luytre cert enrol`."
        }
        "RENEWAL_TOO_EARLY" => {
            "\n  `luytre whoami` shows from when on it is renewed; `luytre cert agent` does it in time."
        }
        "ROTATION_BLOCKED" => "\n  The same command with --dry-run tells what stands in the way, and who.",
        "ROLE_INSUFFICIENT" => {
            "\n  `luytre whoami` shows the roles of this certificate; the hub's operator gives them."
        }
        _ => "",
    }
}

impl From<client::Error> for Failure {
    fn from(error: client::Error) -> Self {
        Self::Client(error)
    }
}

impl From<io::Error> for Failure {
    /// Of writing to stdout.
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            Self::NobodyReads
        } else {
            Self::Io(format!("cannot write the output: {error}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_that_went_away_ends_the_command_quietly() {
        let failure = Failure::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert_eq!((failure.code(), failure.text()), (0, None));
    }

    #[test]
    fn after_a_restore_the_one_advice_is_the_current_state() {
        let mut named = client::Refusal::from_item(&tonic_types::Status::default());
        named.reason = "RESUME_TOKEN_EXPIRED".to_owned();
        let told = Failure::from(client::Error::Refused(Box::new(named))).text().unwrap();
        assert!(told.contains("--from current-state") && !told.contains("earliest"), "{told}");
    }

    #[test]
    fn every_class_of_refusal_has_its_code() {
        for (code, exit) in [
            (Code::InvalidArgument, 64),
            (Code::FailedPrecondition, 65),
            (Code::OutOfRange, 65),
            (Code::NotFound, 66),
            (Code::Internal, 70),
            (Code::DataLoss, 70),
            (Code::AlreadyExists, 73),
            (Code::Aborted, 75),
            (Code::ResourceExhausted, 75),
            (Code::Unavailable, 75),
            (Code::DeadlineExceeded, 75),
            (Code::Unauthenticated, 77),
            (Code::PermissionDenied, 77),
        ] {
            assert_eq!(of_status(code), exit, "{code:?}");
        }
    }
}
