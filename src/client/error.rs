//! Decides what a failed call means to its caller: the stable cause, the
//! fields at fault, and whether trying again can help.

use std::collections::BTreeMap;
use std::error::Error as StdError;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use rustls::AlertDescription;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

/// Why a call of the client failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file of the identity or of the hub's authorities cannot be used.
    #[error("{}: {problem}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it and what would be right.
        problem: String,
    },
    /// Another process keeps the files of the identity.
    #[error(
        "{} is kept up to date by another process (luytre cert agent?); leave its renewal to that one",
        path.display()
    )]
    Busy {
        /// The file.
        path: PathBuf,
    },
    /// The hub's address or a setting cannot be used.
    #[error("{0}")]
    Settings(String),
    /// The connection failed, or broke before an answer came.
    #[error("{0}")]
    Transport(Broken),
    /// The hub's certificate is not one that this client accepts. Nothing was
    /// sent.
    #[error(
        "the hub at {hub} shows a certificate that is not accepted here: {cause}; check the authorities (--ca), the name (--server-name), and this machine's clock, or ask the hub's operator"
    )]
    Untrusted {
        /// Address of the hub.
        hub: String,
        /// The chain of causes, outermost first.
        cause: String,
    },
    /// The hub does not accept our certificate.
    #[error("the hub at {hub} does not accept this client's certificate: {}", why(*alert))]
    Unaccepted {
        /// Address of the hub.
        hub: String,
        /// What the hub said of it.
        alert: AlertDescription,
    },
    /// The hub answered, and refused.
    #[error("{0}")]
    Refused(Box<Refusal>),
    /// No answer came in time.
    #[error("the hub at {hub} did not answer within {} s{}; ask its operator whether it is overloaded, or allow more time", after.as_secs_f32(), because(last.as_deref()))]
    Timeout {
        /// Address of the hub.
        hub: String,
        /// How long the call waited.
        after: Duration,
        /// Why the last try failed, if one did.
        last: Option<String>,
    },
    /// The hub broke the public contract.
    #[error("the hub broke the protocol: {0}; its release may not fit this client's")]
    Protocol(String),
    /// What the hub shows of its audit does not go on from what it showed
    /// before, or is not signed by its key.
    #[error(
        "the hub's audit is not the one that was seen before: {0}; keep both checkpoints, and tell the hub's operator and whoever oversees it"
    )]
    History(String),
    /// The caller used the client against its rules.
    #[error("{0}")]
    Misuse(&'static str),
}

/// What to do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Advice {
    /// Try the same again, at the earliest after this span.
    Retry(Duration),
    /// Read the resource again, decide again, then call again.
    Reread,
    /// The token is of no more use: start again from an end of the log.
    Restart,
    /// The same call will fail the same way.
    Never,
}

/// A connection that failed before an answer came.
#[derive(Debug, Clone)]
pub struct Broken {
    /// Address of the hub.
    pub hub: String,
    /// The chain of causes, outermost first.
    pub cause: String,
    /// Whether the connection stood, and was then closed without an answer.
    pub after_handshake: bool,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.after_handshake {
            write!(
                f,
                "the hub at {} closed the connection without an answer ({}); if this repeats, ask its operator what its log says of it",
                self.hub, self.cause
            )
        } else {
            write!(f, "cannot reach the hub at {}: {}", self.hub, self.cause)
        }
    }
}

/// An answer of the hub that refuses the call.
#[derive(Debug, Clone)]
pub struct Refusal {
    /// The gRPC status code.
    pub code: Code,
    /// The stable cause from `google.rpc.ErrorInfo`, such as
    /// `RESUME_TOKEN_EXPIRED`; empty if the hub gave none.
    pub reason: String,
    /// What the hub says, for people.
    pub message: String,
    /// What is wrong with which field.
    pub fields: Vec<FieldViolation>,
    /// After how long the hub suggests to try again.
    pub retry_after: Option<Duration>,
    /// Further facts of the error, by name.
    pub metadata: BTreeMap<String, String>,
    /// What to quote to the hub's operator; may be empty.
    pub request_id: String,
}

/// One field at fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldViolation {
    /// Path of the field, such as `indicators[3].marking.tlp`.
    pub field: String,
    /// What is wrong with it.
    pub problem: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.reason.is_empty() {
            write!(f, "the hub answered {:?}: {}", self.code, self.message)?;
        } else {
            write!(f, "{}: {}", self.reason, self.message)?;
        }
        // A field is left out only if the message names it with its problem.
        let told = |v: &FieldViolation| self.message.contains(&v.field) && self.message.contains(&v.problem);
        for violation in self.fields.iter().filter(|v| !told(v)) {
            write!(f, "\n  {}: {}", violation.field, violation.problem)?;
        }
        if !self.request_id.is_empty() {
            write!(f, "\n  request: {}", self.request_id)?;
        }
        Ok(())
    }
}

impl Refusal {
    /// Reads what the hub put into a status.
    #[must_use]
    pub fn from_status(status: &Status) -> Self {
        Self::new(status.code(), status.message(), status.get_error_details())
    }

    /// Reads the verdict on one item of a batch.
    #[must_use]
    pub fn from_item(status: &tonic_types::Status) -> Self {
        use tonic_types::RpcStatusExt as _;
        Self::new(Code::from_i32(status.code), &status.message, status.get_error_details())
    }

    fn new(code: Code, message: &str, details: tonic_types::ErrorDetails) -> Self {
        let info = details.error_info();
        Self {
            code,
            reason: info.map(|info| info.reason.clone()).unwrap_or_default(),
            message: message.to_owned(),
            fields: details
                .bad_request()
                .map(|bad| &bad.field_violations)
                .into_iter()
                .flatten()
                .map(|v| FieldViolation { field: v.field.clone(), problem: v.description.clone() })
                .collect(),
            retry_after: details.retry_info().and_then(|retry| retry.retry_delay),
            metadata: info.map(|info| info.metadata.clone().into_iter().collect()).unwrap_or_default(),
            request_id: details.request_info().map(|r| r.request_id.clone()).unwrap_or_default(),
        }
    }
}

impl Error {
    /// Sorts a status into the hub's own answer and a broken connection. Only
    /// a status made on this side has a source.
    pub(crate) fn from_status(status: &Status, hub: &str) -> Self {
        let Some(source) = status.source() else {
            return Self::Refused(Box::new(Refusal::from_status(status)));
        };
        let hub = hub.to_owned();
        match distrust(source) {
            Some(Distrust::Ours) => Self::Untrusted { hub, cause: chain(source) },
            Some(Distrust::Theirs(alert)) => Self::Unaccepted { hub, alert },
            None => Self::Transport(Broken {
                hub,
                cause: chain(source),
                after_handshake: status.code() != Code::Unavailable,
            }),
        }
    }

    /// The hub's refusal, if this is one.
    #[must_use]
    pub fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Refused(refusal) => Some(refusal),
            _ => None,
        }
    }

    /// The stable cause that the hub gave; empty if it gave none.
    #[must_use]
    pub fn reason(&self) -> &str {
        self.refusal().map_or("", |refusal| &refusal.reason)
    }

    /// What to do about it.
    #[must_use]
    pub fn advice(&self) -> Advice {
        match self {
            Self::Transport(_) | Self::Timeout { .. } => Advice::Retry(Duration::ZERO),
            Self::Refused(refusal) => match refusal.code {
                Code::Unavailable | Code::ResourceExhausted => {
                    Advice::Retry(refusal.retry_after.unwrap_or_default())
                }
                Code::Aborted => Advice::Reread,
                Code::OutOfRange => Advice::Restart,
                _ => Advice::Never,
            },
            Self::File { .. }
            | Self::Busy { .. }
            | Self::Settings(_)
            | Self::Untrusted { .. }
            | Self::Unaccepted { .. }
            | Self::Protocol(_)
            | Self::History(_)
            | Self::Misuse(_) => Advice::Never,
        }
    }
}

/// The last failure as a part of a sentence.
fn because(last: Option<&str>) -> String {
    last.map_or_else(String::new, |last| format!("; the last try failed: {last}"))
}

/// Whose certificate was refused when a connection failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Distrust {
    /// We refused the hub's.
    Ours,
    /// The hub refused ours, with this alert.
    Theirs(AlertDescription),
}

/// Whether TLS refused a certificate, somewhere among the causes. The same one
/// would be refused again.
pub(super) fn distrust(error: &(dyn StdError + 'static)) -> Option<Distrust> {
    let refuses = |error: &(dyn StdError + 'static)| match error.downcast_ref()? {
        rustls::Error::InvalidCertificate(_) => Some(Distrust::Ours),
        rustls::Error::AlertReceived(alert) if is_about_a_certificate(*alert) => {
            Some(Distrust::Theirs(*alert))
        }
        _ => None,
    };
    std::iter::successors(Some(error), |&error| error.source()).take(16).find_map(|error| {
        // An I/O error holds its cause without naming it as its source.
        let held = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        refuses(error).or_else(|| held.and_then(|held| refuses(held)))
    })
}

const fn is_about_a_certificate(alert: AlertDescription) -> bool {
    matches!(
        alert,
        AlertDescription::CertificateRevoked
            | AlertDescription::CertificateExpired
            | AlertDescription::UnknownCA
            | AlertDescription::BadCertificate
            | AlertDescription::UnsupportedCertificate
            | AlertDescription::CertificateUnknown
            | AlertDescription::CertificateRequired
            | AlertDescription::DecryptError
            | AlertDescription::AccessDenied
            | AlertDescription::NoCertificate
    )
}

/// What an alert says of our certificate, and what to do.
const fn why(alert: AlertDescription) -> &'static str {
    match alert {
        AlertDescription::CertificateRevoked => {
            "it was revoked. Trying again does not help: ask the hub's operator for a new certificate with a new key, and put both in the place of the old ones (--cert, --key)"
        }
        AlertDescription::CertificateExpired => {
            "it has expired, or is not valid yet; `luytre pki show` tells. Put a renewed one in its place (--cert, --key), or set the clocks right"
        }
        // A wrong signature is of an authority that has only the name of a trusted one.
        AlertDescription::UnknownCA | AlertDescription::DecryptError => {
            "no authority that the hub trusts has signed it, or the revocation list of the authority has run out; ask the hub's operator"
        }
        _ => {
            "it is not one for clients of this hub; `luytre pki show` tells what it is, and the hub's operator issues the right one"
        }
    }
}

/// Why a stream broke, in one line.
pub(super) fn cause(status: &Status) -> String {
    status.source().map_or_else(|| status.message().to_owned(), chain)
}

/// The causes of an error in one line, without the repeats that wrappers make.
pub(super) fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut parts: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next.filter(|_| parts.len() < 8) {
        let text = error.to_string();
        if !parts.iter().any(|part| part.contains(&text)) {
            parts.push(text);
        }
        next = error.source();
    }
    parts.join(": ")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tonic_types::ErrorDetails;

    use super::*;

    #[test]
    fn an_answer_of_the_hub_keeps_its_reason_fields_and_delay() {
        let mut details =
            ErrorDetails::with_error_info("RATE_LIMITED", "hub", [("limit".to_owned(), "9".to_owned())]);
        details.add_bad_request_violation("filter.kinds", "too many");
        details.set_retry_info(Some(Duration::from_secs(3)));
        let status = Status::with_error_details(Code::ResourceExhausted, "slow down", details);

        let error = Error::from_status(&status, "hub:1");

        assert_eq!(error.reason(), "RATE_LIMITED");
        assert_eq!(error.advice(), Advice::Retry(Duration::from_secs(3)));
        let refusal = error.refusal().unwrap();
        assert_eq!(
            refusal.fields,
            [FieldViolation { field: "filter.kinds".into(), problem: "too many".into() }]
        );
        assert_eq!(refusal.metadata["limit"], "9");
    }

    #[test]
    fn a_refusal_names_the_field_even_if_its_message_tells_the_problem() {
        let mut details = ErrorDetails::with_error_info("FIELD_INVALID", "hub", []);
        details.add_bad_request_violation("sightings[0].note", "too long");
        let status = Status::with_error_details(Code::InvalidArgument, "too long", details);
        let text = Error::from_status(&status, "hub:1").to_string();
        assert!(text.contains("sightings[0].note: too long"), "{text}");
    }

    #[test]
    fn a_status_with_a_source_is_a_broken_connection() {
        let mut status = Status::unknown("transport error");
        status.set_source(Arc::new(std::io::Error::other("reset")));
        let error = Error::from_status(&status, "hub:1");
        assert!(
            matches!(&error, Error::Transport(broken) if broken.after_handshake && broken.cause == "reset")
        );
    }

    #[test]
    fn a_certificate_that_the_hub_refuses_is_told_with_what_helps() {
        for (alert, helps) in [
            (AlertDescription::CertificateRevoked, "revoked. Trying again does not help"),
            (AlertDescription::CertificateExpired, "renewed"),
            (AlertDescription::UnknownCA, "authority"),
            (AlertDescription::AccessDenied, "luytre pki show"),
        ] {
            let refused = rustls::Error::AlertReceived(alert);
            let mut status = Status::unavailable("connect");
            status.set_source(Arc::new(std::io::Error::new(std::io::ErrorKind::InvalidData, refused)));
            let error = Error::from_status(&status, "hub:1");
            assert!(error.to_string().contains(helps), "{error}");
            assert_eq!(error.advice(), Advice::Never);
        }
        let passing = rustls::Error::AlertReceived(AlertDescription::InternalError);
        assert_eq!(distrust(&passing), None);
    }

    #[test]
    fn an_expired_token_advises_to_restart() {
        let status = Status::out_of_range("gone");
        assert_eq!(Error::from_status(&status, "hub:1").advice(), Advice::Restart);
    }
}
