"""Promises about failures."""

import grpc
import pytest
from google.protobuf.any_pb2 import Any
from google.protobuf.duration_pb2 import Duration
from google.rpc import error_details_pb2, status_pb2

from hub import REPOSITORY
from luytre import Backoff, HubError, errors
from luytre._retry import Outcome, Tries, classify


def refusal(code: grpc.StatusCode, reason: str, *details: object) -> HubError:
    info = error_details_pb2.ErrorInfo(reason=reason, domain="luytre", metadata={"limit": "9"})
    packed = []
    for detail in (info, *details):
        packed.append(Any())
        packed[-1].Pack(detail)
    return errors.from_status(status_pb2.Status(code=code.value[0], message="slow down", details=packed))


def broken(code: grpc.StatusCode, text: str) -> errors.Error:
    none = grpc.aio.Metadata()
    return errors.from_rpc(grpc.aio.AioRpcError(code, none, none, text), "hub:1")


def test_every_reason_of_the_contract_has_a_class() -> None:
    text = (REPOSITORY / "docs" / "errors.md").read_text(encoding="utf-8")
    documented = {line[4:] for line in text.splitlines() if line.startswith("### ")}
    assert set(HubError.by_reason) == documented


def test_a_refusal_keeps_all_that_the_hub_said() -> None:
    error = refusal(
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        "RATE_LIMITED",
        error_details_pb2.RetryInfo(retry_delay=Duration(seconds=3, nanos=500_000_000)),
        error_details_pb2.BadRequest(
            field_violations=[
                error_details_pb2.BadRequest.FieldViolation(field="filter.kinds", description="too many")
            ]
        ),
        error_details_pb2.RequestInfo(request_id="r-1"),
    )
    assert isinstance(error, errors.RateLimited)
    assert error.retry_after == 3.5
    assert error.answer.metadata == {"limit": "9"}
    assert str(error) == "RATE_LIMITED: slow down\n  filter.kinds: too many\n  request: r-1"


def test_a_reason_of_a_later_hub_is_still_a_refusal() -> None:
    error = refusal(grpc.StatusCode.FAILED_PRECONDITION, "SOMETHING_NEW")
    assert type(error) is HubError
    assert error.reason == "SOMETHING_NEW"


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (refusal(grpc.StatusCode.UNAVAILABLE, "DRAINING"), Outcome.AWAY),
        (broken(grpc.StatusCode.UNAVAILABLE, "failed to connect to all addresses"), Outcome.AWAY),
        (broken(grpc.StatusCode.UNAVAILABLE, "Socket closed"), Outcome.CUT),
        (refusal(grpc.StatusCode.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED"), Outcome.CUT),
        (broken(grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded"), Outcome.FINAL),
        (broken(grpc.StatusCode.UNAVAILABLE, "SSL: CERTIFICATE_VERIFY_FAILED"), Outcome.FINAL),
        (refusal(grpc.StatusCode.RESOURCE_EXHAUSTED, "RATE_LIMITED"), Outcome.FINAL),
        (refusal(grpc.StatusCode.INVALID_ARGUMENT, "FIELD_INVALID"), Outcome.FINAL),
        (refusal(grpc.StatusCode.ABORTED, "SUBSCRIPTION_DISPLACED"), Outcome.FINAL),
        (refusal(grpc.StatusCode.INTERNAL, "INTERNAL_ERROR"), Outcome.FINAL),
    ],
)
def test_only_what_may_come_out_differently_is_tried_again(error: errors.Error, outcome: Outcome) -> None:
    assert classify(error) is outcome


def test_pauses_double_up_to_the_longest_and_half_of_each_is_drawn() -> None:
    backoff = Backoff(first=0.1, longest=5.0)
    assert [backoff.delay(n, 1.0) for n in (0, 1, 2, 40)] == [0.1, 0.2, 0.4, 5.0]
    assert backoff.delay(2, 0.0) == 0.2


def test_a_connection_that_is_cut_every_time_ends_the_patience_without_end() -> None:
    tries = Tries(Backoff(tries=None), 2)
    cut = broken(grpc.StatusCode.UNAVAILABLE, "Socket closed")
    tries.after(cut)
    tries.after(cut)
    with pytest.raises(errors.Unreachable):
        tries.after(cut)
    tries.progress()
    tries.after(cut)


def test_the_hub_says_how_long_to_wait_at_least() -> None:
    wait = error_details_pb2.RetryInfo(retry_delay=Duration(seconds=7))
    tries = Tries(Backoff(), 1)
    assert tries.after(refusal(grpc.StatusCode.RESOURCE_EXHAUSTED, "RATE_LIMITED", wait)) == 7.0
    assert tries.after(refusal(grpc.StatusCode.UNAVAILABLE, "STORE_READ_ONLY")) == 60.0
