"""Decides what a failure means: one class of exception for each reason that the hub gives.

`docs/errors.md` of the hub has a paragraph on each reason. Act on the class, never on the message.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import grpc
from google.rpc import error_details_pb2, status_pb2

_DETAILS = "grpc-status-details-bin"
# The words of gRPC's TLS library where it does not accept the hub's certificate.
_UNTRUSTED = ("CERTIFICATE_VERIFY_FAILED", "Hostname Verification Check failed", "Peer name")
# What gRPC makes of a TLS alert after the handshake, by which a hub refuses a certificate in TLS 1.3.
_UNACCEPTED = "TSI_DATA_CORRUPTED"


class Error(Exception):
    """Anything that goes wrong with this client."""


class IdentityError(Error):
    """A file of the identity, or of the hub's authorities, cannot be used."""


class ProtocolError(Error):
    """The hub broke the public contract; its release may not fit this client's."""


class Misuse(Error):
    """The client was used against its rules."""


class Untrusted(Error):
    """The hub's certificate is not one that this client accepts. Nothing was sent."""


class Unaccepted(Error):
    """The hub does not accept this client's certificate. The same one will be refused again."""


class Unanswered(Error):
    """No answer came in time. A write may have been stored all the same."""


class Unreachable(Error):
    """The connection failed, or broke before an answer came."""

    def __init__(self, hub: str, cause: str, *, cut: bool = False) -> None:
        if cut:
            text = (
                f"the hub at {hub} closed the connection without an answer ({cause}); if this repeats, ask "
                "its operator what its log says of it"
            )
        else:
            text = f"cannot reach the hub at {hub}: {cause}"
        super().__init__(text)
        #: Address of the hub.
        self.hub = hub
        #: What the connection ended with.
        self.cause = cause
        #: Whether the connection stood, and was then closed without an answer.
        self.cut = cut


@dataclass(frozen=True)
class FieldViolation:
    """One field at fault."""

    #: Path of the field, such as `indicators[3].marking.tlp`.
    field: str
    #: What is wrong with it.
    problem: str


@dataclass(frozen=True)
class Answer:
    """What the hub said when it refused."""

    #: The gRPC status code, such as 3 for INVALID_ARGUMENT.
    code: int
    #: The stable cause, such as `RESUME_TOKEN_EXPIRED`; empty if the hub gave none.
    reason: str
    #: For people; may change.
    message: str
    #: Which fields are wrong.
    fields: tuple[FieldViolation, ...] = ()
    #: Seconds after which the hub suggests to try again.
    retry_after: float | None = None
    #: Further facts, by name.
    metadata: Mapping[str, str] = field(default_factory=dict)
    #: What to quote to the hub's operator; may be empty.
    request_id: str = ""


class HubError(Error):
    """The hub answered, and refused. Its subclasses are the reasons of `docs/errors.md`."""

    #: The class of each reason.
    by_reason: ClassVar[dict[str, type[HubError]]] = {}

    def __init_subclass__(cls, reason: str) -> None:
        super().__init_subclass__()
        cls.by_reason[reason] = cls

    def __init__(self, answer: Answer) -> None:
        head = answer.reason or f"the hub answered with code {answer.code}"
        lines = [f"{head}: {answer.message}"]
        for violation in answer.fields:
            # Left out only where the message names the field with its problem.
            if not (violation.field in answer.message and violation.problem in answer.message):
                lines.append(f"{violation.field}: {violation.problem}")
        if answer.request_id:
            lines.append(f"request: {answer.request_id}")
        super().__init__("\n  ".join(lines))
        self.answer = answer

    @property
    def reason(self) -> str:
        """The stable cause."""
        return self.answer.reason

    @property
    def message(self) -> str:
        """The hub's own words."""
        return self.answer.message

    @property
    def fields(self) -> tuple[FieldViolation, ...]:
        """Which fields are wrong."""
        return self.answer.fields

    @property
    def retry_after(self) -> float | None:
        """Seconds after which the hub suggests to try again."""
        return self.answer.retry_after


class FieldInvalid(HubError, reason="FIELD_INVALID"):
    """A field is missing, out of its bounds, or not readable."""


class MarkingRequired(HubError, reason="MARKING_REQUIRED"):
    """An indicator came without a TLP label."""


class MarkingUnsupported(HubError, reason="MARKING_UNSUPPORTED"):
    """The marking is sound, but this hub cannot honour it."""


class OrganisationUnknown(HubError, reason="ORGANISATION_UNKNOWN"):
    """A name stands for no organisation that takes part."""


class GroupUnknown(HubError, reason="GROUP_UNKNOWN"):
    """A marking names a group that the roster does not know."""


class PersonUnknown(HubError, reason="PERSON_UNKNOWN"):
    """A marking names a person whom the roster does not know."""


class DuplicateRequestId(HubError, reason="DUPLICATE_REQUEST_ID"):
    """The request id was used before with other content."""


class RequestTooLarge(HubError, reason="REQUEST_TOO_LARGE"):
    """A request, or one of its items, is larger than the hub takes."""


class SourcesMixed(HubError, reason="SOURCES_MIXED"):
    """A request holds items with a masked source beside open ones."""


class StateSecretSuspected(HubError, reason="STATE_SECRET_SUSPECTED"):
    """A text reads as marked with a level of state secrecy: it must not be sent through a hub."""


class ResumeTokenInvalid(HubError, reason="RESUME_TOKEN_INVALID"):
    """The token is of another caller, subscription or filter, or was altered."""


class PageTokenInvalid(HubError, reason="PAGE_TOKEN_INVALID"):
    """The page token belongs to another list, or was altered."""


class CertificateRevoked(HubError, reason="CERTIFICATE_REVOKED"):
    """The certificate was revoked."""


class CertificateExpired(HubError, reason="CERTIFICATE_EXPIRED"):
    """The certificate expired while the connection was open."""


class CertificateSuperseded(HubError, reason="CERTIFICATE_SUPERSEDED"):
    """A newer certificate of this system is in use."""


class EnrolmentTokenInvalid(HubError, reason="ENROLMENT_TOKEN_INVALID"):
    """The hub does not take this one-time token."""


class RenewalTooEarly(HubError, reason="RENEWAL_TOO_EARLY"):
    """The certificate is too young to be renewed, or was renewed a moment ago."""


class KeyReused(HubError, reason="KEY_REUSED"):
    """The hub has certified this key before."""


class CertificateForeign(HubError, reason="CERTIFICATE_FOREIGN"):
    """The hub's own authorities did not issue the certificate."""


class RotationBlocked(HubError, reason="ROTATION_BLOCKED"):
    """Something stands in the way of a step of a rotation."""


class SignerUnavailable(HubError, reason="SIGNER_UNAVAILABLE"):
    """Whoever signs certificates does not answer, or there is nobody."""


class IndexBehind(HubError, reason="INDEX_BEHIND"):
    """The hub is still indexing what was published before; ask again in a moment."""


class PrincipalUnknown(HubError, reason="PRINCIPAL_UNKNOWN"):
    """The roster does not know the organisation that the certificate names."""


class OrganisationInactive(HubError, reason="ORGANISATION_INACTIVE"):
    """The caller's organisation does not take part today."""


class RoleInsufficient(HubError, reason="ROLE_INSUFFICIENT"):
    """None of the caller's roles may call this method."""


class DelegationMissing(HubError, reason="DELEGATION_MISSING"):
    """The caller's organisation does not act for the one named in `on_behalf_of`."""


class SecondPersonRequired(HubError, reason="SECOND_PERSON_REQUIRED"):
    """Whoever proposed a change of the roster cannot approve it."""


class MethodUnknown(HubError, reason="METHOD_UNKNOWN"):
    """The hub serves no such method."""


class NotFound(HubError, reason="NOT_FOUND"):
    """There is no such resource, or the caller may not see it."""


class IndicatorRevoked(HubError, reason="INDICATOR_REVOKED"):
    """The caller's organisation revoked the value before."""


class IdentityConflict(HubError, reason="IDENTITY_CONFLICT"):
    """The hashes of a file belong to two indicators already."""


class RepublicationWithoutLeave(HubError, reason="REPUBLICATION_WITHOUT_LEAVE"):
    """The owner has given no leave to take the indicator further."""


class RepublicationTooWide(HubError, reason="REPUBLICATION_TOO_WIDE"):
    """The owner's leave does not go as far as this marking."""


class GuardRefused(HubError, reason="GUARD_REFUSED"):
    """A list of the hub lets nobody publish the value."""


class IndicatorHeld(HubError, reason="INDICATOR_HELD"):
    """The unit that leads holds the indicator for a day, or did before."""


class EtagMismatch(HubError, reason="ETAG_MISMATCH"):
    """The indicator changed since the version that the etag names."""


class ResumeTokenExpired(HubError, reason="RESUME_TOKEN_EXPIRED"):
    """The token is older than what the hub keeps: start at the current state."""


class HistoryTruncated(HubError, reason="HISTORY_TRUNCATED"):
    """What is asked about is older than what the hub keeps: ask about a later moment, or begin anew."""


class SubscriptionDisplaced(HubError, reason="SUBSCRIPTION_DISPLACED"):
    """A newer stream opened the same named subscription."""


class RateLimited(HubError, reason="RATE_LIMITED"):
    """Too many requests, streams or items, or a limit of the organisation is reached."""


class StoreReadOnly(HubError, reason="STORE_READ_ONLY"):
    """The hub takes no writes until its operator mends it: wait for minutes."""


class Draining(HubError, reason="DRAINING"):
    """The hub is going down in good order."""


class DeadlineExceeded(HubError, reason="DEADLINE_EXCEEDED"):
    """The call took longer than the hub's limit. A write may have been stored all the same."""


class DataCorrupt(HubError, reason="DATA_CORRUPT"):
    """Stored data that the answer needs is damaged."""


class InternalError(HubError, reason="INTERNAL_ERROR"):
    """A fault of the hub, whose cause stands in its log."""


def from_status(status: status_pb2.Status) -> HubError:
    """Read the verdict on one item, or the details of a refused call."""
    reason, request_id, retry_after = "", "", None
    metadata: dict[str, str] = {}
    fields: list[FieldViolation] = []
    for detail in status.details:
        info = error_details_pb2.ErrorInfo()
        bad = error_details_pb2.BadRequest()
        retry = error_details_pb2.RetryInfo()
        request = error_details_pb2.RequestInfo()
        if detail.Unpack(info):
            reason, metadata = info.reason, dict(info.metadata)
        elif detail.Unpack(bad):
            fields += [FieldViolation(v.field, v.description) for v in bad.field_violations]
        elif detail.Unpack(retry):
            retry_after = retry.retry_delay.seconds + retry.retry_delay.nanos / 1e9
        elif detail.Unpack(request):
            request_id = request.request_id
    answer = Answer(status.code, reason, status.message, tuple(fields), retry_after, metadata, request_id)
    return HubError.by_reason.get(reason, HubError)(answer)


def from_rpc(error: grpc.aio.AioRpcError, hub: str) -> Error:
    """Sort a failed call into the hub's own answer and a broken connection."""
    for key, value in error.trailing_metadata() or ():
        if key == _DETAILS and isinstance(value, bytes):
            refusal = from_status(status_pb2.Status.FromString(value))
            if refusal.reason:
                return refusal
    code, text = error.code(), error.details() or ""
    if any(words in text for words in _UNTRUSTED):
        return Untrusted(
            f"the hub at {hub} shows a certificate that is not accepted here: {text}; check the authorities, "
            "the server name and this machine's clock, or ask the hub's operator"
        )
    if _UNACCEPTED in text:
        return Unaccepted(
            f"the hub at {hub} does not accept this client's certificate ({text}): check that it has not "
            "expired, was not revoked, and comes from this hub's authority (`luytre pki show`)"
        )
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return Unanswered(f"the hub at {hub} did not answer in time; ask its operator, or allow more time")
    local = (
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.UNKNOWN,
        grpc.StatusCode.INTERNAL,
    )
    if code in local:
        # Refused before a connection stood: the hub is away.
        away = code is grpc.StatusCode.UNAVAILABLE and "failed to connect" in text
        return Unreachable(hub, text or code.name.lower(), cut=not away)
    return HubError(Answer(int(code.value[0]), "", text))
