//! Decides what a status without details means: tonic and its services make
//! some of their own, and each leaves with one of our reasons.

use http::HeaderMap;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt as _};
use uuid::Uuid;

use crate::hub::error::{Error, Reason};
use crate::model::invalid;
use crate::rpc::status;

/// How a call ended, for logs and metrics.
pub(in crate::rpc) type Outcome = &'static str;

/// A call that went well.
pub(in crate::rpc) const OK: Outcome = "OK";
/// A call whose client went away before its end.
pub(in crate::rpc) const ABANDONED: Outcome = "ABANDONED";

/// Gives the status in `headers` (a response's, or its trailers) exactly one
/// `ErrorInfo` and the number of the call; none, or OK, is left as it is.
/// Returns how the call ended, or `None` without a status.
pub(in crate::rpc) fn finish(headers: &mut HeaderMap, call: Uuid) -> Option<Outcome> {
    let found = Status::from_header_map(headers)?;
    if found.code() == Code::Ok {
        return Some(OK);
    }
    let (finished, reason) = complete(&found, call);
    for name in [Status::GRPC_STATUS, Status::GRPC_MESSAGE, Status::GRPC_STATUS_DETAILS] {
        headers.remove(name);
    }
    if finished.add_header(headers).is_err() {
        // A text that no header can hold: the code alone still tells.
        headers.insert(Status::GRPC_STATUS, (finished.code() as i32).into());
    }
    Some(reason)
}

/// How a call ended, by the headers of its response; without a status in them it went well, as far
/// as the handler can tell.
pub(in crate::rpc) fn outcome(headers: &HeaderMap) -> Outcome {
    match Status::from_header_map(headers) {
        Some(found) if found.code() != Code::Ok => reason(&found).as_str(),
        _ => OK,
    }
}

/// The reason that a status says or stands for.
pub(in crate::rpc) fn reason(found: &Status) -> Reason {
    let said = found.get_details_error_info().map(|info| info.reason);
    let ours = said.and_then(|said| Reason::ALL.into_iter().find(|reason| reason.as_str() == said));
    ours.or_else(|| cause(found)).unwrap_or(Reason::InternalError)
}

fn complete(found: &Status, call: Uuid) -> (Status, Outcome) {
    let mut details = found.get_error_details();
    let ours =
        details.error_info().and_then(|info| Reason::ALL.into_iter().find(|r| r.as_str() == info.reason));
    let (code, message, reason) = if let Some(reason) = ours {
        (found.code(), found.message().to_owned(), reason)
    } else {
        let error = own_fault(found).unwrap_or_else(|| Error::internal(found.message().to_owned()));
        let made = status::status(error);
        let reason = cause(found).unwrap_or(Reason::InternalError);
        details = made.get_error_details();
        // No method, or no such encoding: gRPC gives both this code.
        let code = if found.code() == Code::Unimplemented { Code::Unimplemented } else { made.code() };
        (code, made.message().to_owned(), reason)
    };
    add_request(&mut details, call);
    (Status::with_error_details(code, message, details), reason.as_str())
}

fn add_request(details: &mut ErrorDetails, call: Uuid) {
    details.set_request_info(call.hyphenated().to_string(), "");
}

/// The error that a status of tonic's own stands for; `None` if it is about
/// the transport or a fault, and says nothing to the caller.
pub(in crate::rpc) fn own_fault(found: &Status) -> Option<Error> {
    if let Some(info) = found.get_details_error_info() {
        let reason = Reason::ALL.into_iter().find(|r| r.as_str() == info.reason)?;
        let retry_after = found.get_details_retry_info().and_then(|info| info.retry_delay);
        return Some(Error { retry_after, ..Error::new(reason, found.message()) });
    }
    let public = match cause(found)? {
        Reason::RequestTooLarge => {
            "a message holds more than the limit; send at most 1,000 items and 4 MiB at once, and in each item no more than its fields allow"
        }
        Reason::Input(_) => {
            "the message is not valid protobuf of this method's request; build it from the published contract"
        }
        Reason::MethodUnknown => {
            "there is no such method, or its messages came in an encoding this hub does not read; send them uncompressed"
        }
        Reason::DeadlineExceeded => "the call took longer than its deadline",
        Reason::RateLimited => "too much at once; wait and try again",
        Reason::NotFound => return Some(Error::absent()),
        _ => return None,
    };
    Some(Error::new(cause(found)?, public))
}

/// The reason behind a code of tonic's own. A message that cannot be decoded
/// comes as INTERNAL, as gRPC prescribes, and is told by its text.
fn cause(found: &Status) -> Option<Reason> {
    const MALFORMED: [&str; 5] = [
        "failed to decode Protobuf message",
        "Missing request message",
        "Unexpected EOF decoding stream",
        "protocol error: received message with",
        "buffer underflow",
    ];
    match found.code() {
        Code::OutOfRange => Some(Reason::RequestTooLarge),
        Code::InvalidArgument => Some(Reason::Input(invalid::Reason::FieldInvalid)),
        Code::Internal if MALFORMED.iter().any(|text| found.message().starts_with(text)) => {
            Some(Reason::Input(invalid::Reason::FieldInvalid))
        }
        Code::Unimplemented => Some(Reason::MethodUnknown),
        Code::DeadlineExceeded => Some(Reason::DeadlineExceeded),
        Code::ResourceExhausted => Some(Reason::RateLimited),
        Code::NotFound => Some(Reason::NotFound),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALL: Uuid = Uuid::from_u128(7);

    fn finished(status: &Status) -> (Status, Outcome) {
        let mut headers = HeaderMap::new();
        status.add_header(&mut headers).unwrap();
        let outcome = finish(&mut headers, CALL).unwrap();
        (Status::from_header_map(&headers).unwrap(), outcome)
    }

    #[test]
    fn every_code_of_tonics_own_leaves_with_one_error_info_and_the_call() {
        for code in (1..=16).map(Code::from_i32) {
            let (status, outcome) = finished(&Status::new(code, "something"));
            let details = status.get_error_details_vec();
            let infos =
                details.iter().filter(|d| matches!(d, tonic_types::ErrorDetail::ErrorInfo(_))).count();
            assert_eq!(infos, 1, "{code:?}");
            let details = status.get_error_details();
            assert_eq!(details.error_info().unwrap().reason, outcome, "{code:?}");
            assert_eq!(details.request_info().unwrap().request_id, CALL.to_string(), "{code:?}");
        }
    }

    #[test]
    fn tonics_own_errors_are_told_by_our_reasons() {
        for (found, reason, code) in [
            (
                Status::out_of_range("Error, decoded message length too large"),
                Reason::RequestTooLarge,
                Code::InvalidArgument,
            ),
            (
                Status::internal("failed to decode Protobuf message: x"),
                Reason::Input(invalid::Reason::FieldInvalid),
                Code::InvalidArgument,
            ),
            (
                Status::internal("Missing request message."),
                Reason::Input(invalid::Reason::FieldInvalid),
                Code::InvalidArgument,
            ),
            (Status::unimplemented(""), Reason::MethodUnknown, Code::Unimplemented),
            (Status::internal("anything else"), Reason::InternalError, Code::Internal),
            (Status::unknown("a panic, perhaps"), Reason::InternalError, Code::Internal),
        ] {
            let (status, outcome) = finished(&found);
            assert_eq!((outcome, status.code()), (reason.as_str(), code), "{found:?}");
        }
    }

    #[test]
    fn our_own_errors_keep_their_code_text_and_details() {
        let mut error = Error::from(crate::model::Invalid::new("page_size", "must not be negative"));
        error.retry_after = Some(std::time::Duration::from_secs(3));
        let ours = status::status(error);
        let (status, outcome) = finished(&ours);
        assert_eq!(
            (status.code(), status.message(), outcome),
            (ours.code(), ours.message(), "FIELD_INVALID")
        );
        let details = status.get_error_details();
        assert_eq!(details.bad_request().unwrap().field_violations[0].field, "page_size");
        assert!(details.retry_info().is_some());
        let again = own_fault(&ours).unwrap();
        assert_eq!(
            (again.reason, again.retry_after),
            (Reason::Input(invalid::Reason::FieldInvalid), Some(std::time::Duration::from_secs(3)))
        );
    }

    #[test]
    fn what_a_fault_says_stays_with_the_hub() {
        let (status, _) = finished(&Status::internal("key 7 of /var/lib/luytre"));
        assert!(!format!("{status:?}").contains("/var/lib"));
    }

    #[test]
    fn a_call_that_went_well_is_left_alone() {
        let mut headers = HeaderMap::new();
        assert_eq!(finish(&mut headers, CALL), None);
        Status::ok("").add_header(&mut headers).unwrap();
        let before = headers.clone();
        assert_eq!(finish(&mut headers, CALL), Some(OK));
        assert_eq!(headers, before);
    }
}
