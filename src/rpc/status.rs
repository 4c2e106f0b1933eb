//! Decides how an error looks on the wire: one gRPC code per kind, and details
//! with exactly one `ErrorInfo`.

use std::error::Error as _;
use std::fmt::Write as _;

use prost_types::Any;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, FieldViolation, StatusExt as _, pb};

use crate::hub::Rejection;
use crate::hub::error::{Error, Exceeded, Kind, Reason};
use crate::model::Invalid;

/// The domain of every `ErrorInfo`: reasons are unique within it.
pub const DOMAIN: &str = "luytre";

/// Most bytes of field violations in one status. Clients built on the C core
/// refuse metadata beyond 8 KiB, in which the details stand in base64.
const MAX_VIOLATION_BYTES: usize = 3_000;
/// Longest description of one violation, in bytes.
const MAX_DESCRIPTION_BYTES: usize = 512;
/// Longest message, in bytes; percent-encoding may triple it.
const MAX_MESSAGE_BYTES: usize = 512;

/// The code of each class of error.
#[must_use]
pub const fn code(kind: Kind) -> Code {
    match kind {
        Kind::Invalid => Code::InvalidArgument,
        Kind::Unauthenticated => Code::Unauthenticated,
        Kind::Denied => Code::PermissionDenied,
        Kind::Absent => Code::NotFound,
        Kind::Exists => Code::AlreadyExists,
        Kind::Stale | Kind::Displaced => Code::Aborted,
        Kind::State => Code::FailedPrecondition,
        Kind::Expired => Code::OutOfRange,
        Kind::Limited => Code::ResourceExhausted,
        Kind::ReadOnly | Kind::Draining => Code::Unavailable,
        Kind::Timeout => Code::DeadlineExceeded,
        Kind::Corrupt => Code::DataLoss,
        Kind::Internal => Code::Internal,
    }
}

/// An error as the caller receives it; what else it knows goes to the log, in
/// the span of the call.
#[must_use]
pub fn status(error: Error) -> Status {
    log(&error);
    let Error { reason, public, fields, retry_after, exceeded, source: _ } = error;
    let mut details = details(reason, &fields);
    if let Some(after) = retry_after {
        details.set_retry_info(Some(after));
    }
    if let Some(Exceeded { subject, limit, most }) = exceeded {
        details.add_quota_failure_violation(subject, format!("{limit}: {most}"));
    }
    Status::with_error_details(code(reason.kind()), cut(&public, MAX_MESSAGE_BYTES), details)
}

/// A refused input as the caller receives it.
#[must_use]
pub fn invalid(invalid: Invalid) -> Status {
    status(invalid.into())
}

/// Why the item of a batch that stands `at` was refused, for the body of the
/// response.
#[must_use]
pub fn rejection(at: impl std::fmt::Display, rejection: Rejection) -> tonic_types::Status {
    let Rejection { reason, field, problem } = rejection;
    let info =
        pb::ErrorInfo { reason: reason.as_str().to_owned(), domain: DOMAIN.to_owned(), ..Default::default() };
    let mut details = vec![any("google.rpc.ErrorInfo", &info)];
    if reason.kind() == Kind::Invalid {
        let Invalid { field, .. } = Invalid::new(field, "").under(at);
        let refused =
            pb::BadRequest { field_violations: vec![violation(field, &problem, reason.as_str()).into()] };
        details.push(any("google.rpc.BadRequest", &refused));
    }
    tonic_types::Status { code: code(reason.kind()) as i32, message: problem, details }
}

fn any(name: &str, message: &impl prost::Message) -> Any {
    Any { type_url: format!("type.googleapis.com/{name}"), value: message.encode_to_vec() }
}

fn details(reason: Reason, fields: &[Invalid]) -> ErrorDetails {
    let mut violations = Vec::new();
    let mut bytes = 0_usize;
    for invalid in fields {
        let violation = violation(invalid.field.clone(), &invalid.problem, invalid.reason.as_str());
        bytes += violation.field.len() + violation.description.len() + violation.reason.len() + 8;
        if bytes > MAX_VIOLATION_BYTES && !violations.is_empty() {
            break;
        }
        violations.push(violation);
    }
    let mut details = ErrorDetails::new();
    let mut metadata = std::collections::HashMap::new();
    if violations.len() < fields.len() {
        metadata.insert("violationCount".to_owned(), fields.len().to_string());
    }
    details.set_error_info(reason.as_str(), DOMAIN, metadata);
    if !violations.is_empty() {
        details.set_bad_request(violations);
    }
    details
}

fn violation(field: String, problem: &str, reason: &str) -> FieldViolation {
    FieldViolation {
        field,
        description: cut(problem, MAX_DESCRIPTION_BYTES).to_owned(),
        reason: reason.to_owned(),
        localized_message: None,
    }
}

/// The longest prefix of whole characters within `max` bytes.
fn cut(text: &str, max: usize) -> &str {
    text.get(..text.floor_char_boundary(max)).unwrap_or_default()
}

fn log(error: &Error) {
    let Some(source) = error.source() else { return };
    let mut chain = source.to_string();
    let mut next = source.source();
    while let Some(cause) = next {
        // Writing to a string cannot fail.
        let _ = write!(chain, ": {cause}");
        next = cause.source();
    }
    match error.kind() {
        Kind::Internal | Kind::Corrupt | Kind::ReadOnly => {
            tracing::error!(reason = error.reason.as_str(), cause = %chain, "call failed");
        }
        _ => tracing::debug!(reason = error.reason.as_str(), cause = %chain, "call refused"),
    }
}

#[cfg(test)]
mod tests {
    use tonic_types::RpcStatusExt as _;

    use super::*;
    use crate::model::invalid;

    #[test]
    fn every_status_has_one_error_info_and_the_code_of_its_kind() {
        for reason in Reason::ALL {
            let status = status(Error::new(reason, "what to do"));
            assert_eq!(status.code(), code(reason.kind()), "{reason:?}");
            let infos: Vec<_> = status
                .get_error_details_vec()
                .into_iter()
                .filter_map(
                    |d| if let tonic_types::ErrorDetail::ErrorInfo(info) = d { Some(info) } else { None },
                )
                .collect();
            assert_eq!(infos.len(), 1, "{reason:?}");
            assert_eq!((infos[0].reason.as_str(), infos[0].domain.as_str()), (reason.as_str(), DOMAIN));
        }
    }

    #[test]
    fn every_kind_has_a_code_that_is_an_error() {
        for kind in Kind::ALL {
            assert_ne!(code(kind), Code::Ok, "{kind:?}");
            assert_ne!(code(kind), Code::Unknown, "{kind:?}");
        }
    }

    #[test]
    fn every_reason_has_one_paragraph_in_the_documentation() {
        let page = include_str!("../../docs/errors.md");
        for reason in Reason::ALL {
            let heading = format!("### {}", reason.as_str());
            assert_eq!(page.lines().filter(|line| *line == heading).count(), 1, "{heading}");
        }
        let headings = page.lines().filter(|line| line.starts_with("### ")).count();
        assert_eq!(headings, Reason::ALL.len(), "a paragraph for each reason and for nothing else");
    }

    #[test]
    fn many_violations_are_cut_to_the_first_and_a_count() {
        let fields =
            (0..500).map(|i| Invalid::new(format!("indicators[{i}].labels"), "ộ".repeat(400))).collect();
        let status = status(Error {
            fields,
            ..Error::new(Reason::Input(invalid::Reason::FieldInvalid), "ộ".repeat(4_000))
        });
        assert!(status.details().len() < 6 * 1024 * 3 / 4, "{} bytes", status.details().len());
        assert!(status.message().len() <= MAX_MESSAGE_BYTES);
        let details = status.get_error_details();
        assert_eq!(details.error_info().unwrap().metadata["violationCount"], "500");
        assert_eq!(details.bad_request().unwrap().field_violations[0].field, "indicators[0].labels");
    }

    #[test]
    fn the_cause_of_a_fault_stays_with_the_hub() {
        let status = status(Error::internal("disk sda1 on host hub-2 is on fire"));
        assert!(!format!("{status:?}").contains("sda1"));
    }

    #[test]
    fn a_rejected_item_says_which_field_and_why() {
        let refused = Rejection {
            reason: Reason::Input(invalid::Reason::FieldInvalid),
            field: "confidence".into(),
            problem: "0 to 100".into(),
        };
        let rejected = rejection("indicators[3]", refused);
        let details = rejected.get_error_details();
        assert_eq!(rejected.code, Code::InvalidArgument as i32);
        assert_eq!(details.error_info().unwrap().reason, "FIELD_INVALID");
        assert_eq!(details.bad_request().unwrap().field_violations[0].field, "indicators[3].confidence");
    }
}
