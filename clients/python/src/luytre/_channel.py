"""Decides how the hub is reached: one channel over mutual TLS, made anew when the identity changes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import grpc
from google.protobuf.message import Message

from luytre import v1
from luytre._identity import Identity
from luytre.errors import Error, Misuse, ProtocolError, Unreachable, from_rpc

_LOG = logging.getLogger("luytre")
#: How often a stream that hears nothing looks whether the identity changed, in seconds.
_LOOK = 1.0
#: What still runs on a channel that was replaced has this long to end.
_GRACE = 60.0
_OPTIONS: tuple[tuple[str, int | str], ...] = (
    ("grpc.enable_http_proxy", 0),
    ("grpc.enable_retries", 0),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    ("grpc.min_reconnect_backoff_ms", 10_000),  # despite its name: how long one try may take
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.http2.lookahead_bytes", 1024 * 1024),
    ("grpc.max_receive_message_length", 32 * 1024 * 1024),
    ("grpc.primary_user_agent", "luytre-python"),
)

Req = TypeVar("Req", bound=Message)
Resp = TypeVar("Resp", bound=Message)


@dataclass(frozen=True)
class Method(Generic[Req, Resp]):
    """One call of the public contract."""

    path: str
    request: type[Req]
    response: type[Resp]


_EXCHANGE, _SUBSCRIPTION, _DIRECTORY, _HISTORY = (
    f"/luytre.v1.{name}Service" for name in ("Exchange", "Subscription", "Directory", "History")
)
WHO_AM_I = Method(f"{_DIRECTORY}/WhoAmI", v1.WhoAmIRequest, v1.WhoAmIResponse)
ORGANISATIONS = Method(
    f"{_DIRECTORY}/ListOrganisations", v1.ListOrganisationsRequest, v1.ListOrganisationsResponse
)
PUBLISH = Method(f"{_EXCHANGE}/PublishIndicators", v1.PublishIndicatorsRequest, v1.PublishIndicatorsResponse)
PUBLISH_STREAM = Method(
    f"{_EXCHANGE}/PublishStream", v1.PublishIndicatorsRequest, v1.PublishIndicatorsResponse
)
REVOKE = Method(f"{_EXCHANGE}/RevokeIndicator", v1.RevokeIndicatorRequest, v1.RevokeIndicatorResponse)
SIGHT = Method(f"{_EXCHANGE}/ReportSightings", v1.ReportSightingsRequest, v1.ReportSightingsResponse)
GET = Method(f"{_EXCHANGE}/GetIndicator", v1.GetIndicatorRequest, v1.GetIndicatorResponse)
LIST = Method(f"{_EXCHANGE}/ListIndicators", v1.ListIndicatorsRequest, v1.ListIndicatorsResponse)
VERSIONS = Method(
    f"{_HISTORY}/ListIndicatorVersions", v1.ListIndicatorVersionsRequest, v1.ListIndicatorVersionsResponse
)
OBSERVABLE = Method(f"{_HISTORY}/GetObservable", v1.GetObservableRequest, v1.GetObservableResponse)
LOOKUP = Method(f"{_EXCHANGE}/LookupObservables", v1.LookupObservablesRequest, v1.LookupObservablesResponse)
SUBSCRIBE = Method(f"{_SUBSCRIPTION}/Subscribe", v1.SubscribeRequest, v1.SubscribeResponse)
SUBSCRIPTIONS = Method(
    f"{_SUBSCRIPTION}/ListSubscriptions", v1.ListSubscriptionsRequest, v1.ListSubscriptionsResponse
)
DELETE_SUBSCRIPTION = Method(
    f"{_SUBSCRIPTION}/DeleteSubscription", v1.DeleteSubscriptionRequest, v1.DeleteSubscriptionResponse
)


class Renewed(Error):
    """The identity changed under a stream: open it again at once. Never leaves this client."""


class Channels:
    """The channel to the hub. A new one takes its place when the files of the identity change."""

    def __init__(self, hub: str, identity: Identity, server_name: str | None) -> None:
        host, _, port = hub.rpartition(":")
        if not host or not port.isdecimal() or "/" in host:
            raise Misuse(f"{hub!r} is not an address of a hub; write host:port, such as hub.example:7443")
        self.hub = hub
        self._identity = identity
        self._options = list(_OPTIONS)
        if server_name:
            self._options.append(("grpc.ssl_target_name_override", server_name))
        self._channel: grpc.aio.Channel | None = None
        self._closing: set[asyncio.Task[None]] = set()
        self._closed = False

    def current(self) -> grpc.aio.Channel:
        """Return the channel of the identity as it is on disk now."""
        if self._closed:
            raise Misuse("this client was closed")
        if self._identity.renew() and self._channel is not None:
            self._retire(self._channel)
            self._channel = None
        if self._channel is None:
            pem = self._identity.pem
            credentials = grpc.ssl_channel_credentials(pem.authorities, pem.key, pem.chain)
            self._channel = grpc.aio.secure_channel(f"dns:{self.hub}", credentials, options=self._options)
        return self._channel

    async def close(self) -> None:
        """Close it for good."""
        self._closed = True
        for task in self._closing:
            task.cancel()
        if self._channel is not None:
            await self._channel.close()

    def _retire(self, channel: grpc.aio.Channel) -> None:
        task = asyncio.get_running_loop().create_task(channel.close(grace=_GRACE))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def unary(self, method: Method[Req, Resp], request: Req, timeout: float) -> Resp:
        """Make one try of one call."""
        channel = self.current()
        call = channel.unary_unary(
            method.path,
            request_serializer=_to_bytes,
            response_deserializer=method.response.FromString,
        )
        try:
            answer: Resp = await call(request, timeout=timeout)
        except grpc.aio.AioRpcError as error:
            raise self.failure(error, channel) from None
        return answer

    def failure(self, error: grpc.aio.AioRpcError, channel: grpc.aio.Channel) -> Error:
        """Say what a call ended with: `Renewed` where it did not show what is on disk now.

        A certificate is replaced because it ends, so the hub may be the first to say so.
        """
        if self.current() is not channel:
            return Renewed("the identity was renewed")
        return from_rpc(error, self.hub)


class Stream(Generic[Req, Resp]):
    """One bidirectional call. A wait for the hub that is given up loses nothing.

    `stop` ends `requests`. gRPC goes on waiting for them when a call ends by itself: without it every
    stream that breaks would leave a task behind.
    """

    def __init__(
        self,
        channels: Channels,
        method: Method[Req, Resp],
        requests: AsyncIterator[Req],
        stop: Callable[[], None],
    ) -> None:
        self._channels = channels
        self._stop = stop
        self._channel = channels.current()
        self._call: Any = self._channel.stream_stream(
            method.path,
            request_serializer=_to_bytes,
            response_deserializer=method.response.FromString,
        )(self._once_let_in(requests))
        self._reading: asyncio.Task[Any] | None = None
        #: When to look next whether the identity changed.
        self._look = asyncio.get_running_loop().time() + _LOOK

    async def _once_let_in(self, requests: AsyncIterator[Req]) -> AsyncIterator[Req]:
        """Hold the requests back until the hub answers that the call is let in, which it does at once.

        gRPC loses the hub's reason where it writes to a call that the hub has refused: it says
        "Internal error from Core" of its own. What lets a call in has at least a date; a refusal is
        trailers alone (gRPC over HTTP/2, "Trailers-Only"), and its reason may be a moment behind.
        """
        if not await self._call.initial_metadata():
            await self._call.code()
            return
        async for request in requests:
            yield request

    async def hear(self, patience: float) -> Resp | None:
        """Wait for the next message; None at the end in good order.

        Raises `Renewed` where the identity changed, and what the call ended with.
        """
        loop = asyncio.get_running_loop()
        end = loop.time() + patience
        if loop.time() >= self._look:
            # A stream that is never quiet looks too.
            self._look = loop.time() + _LOOK
            if self._channels.current() is not self._channel:
                self.cancel()
                raise Renewed("the identity was renewed")
        if self._reading is None:
            self._reading = loop.create_task(self._call.read())
        while not self._reading.done():
            left = end - loop.time()
            if left <= 0:
                self.cancel()
                raise Unreachable(self._channels.hub, "the hub has fallen silent")
            await asyncio.wait({self._reading}, timeout=min(left, _LOOK))
            if not self._reading.done() and self._channels.current() is not self._channel:
                self.cancel()
                raise Renewed("the identity was renewed")
        reading, self._reading = self._reading, None
        if reading.cancelled() or reading.exception() is not None or reading.result() is grpc.aio.EOF:
            self._stop()
        try:
            heard = reading.result()
        except grpc.aio.AioRpcError as error:
            raise self._channels.failure(error, self._channel) from None
        except asyncio.CancelledError:
            # The call itself was cancelled, as by the end of a channel that was replaced.
            raise Unreachable(self._channels.hub, "the call was cancelled", cut=True) from None
        except grpc.aio.InternalError as error:
            raise ProtocolError(f"gRPC cannot go on: {error}") from None
        if heard is not grpc.aio.EOF:
            message: Resp = heard
            return message
        code = await self._call.code()
        if code is not grpc.StatusCode.OK:
            ended = grpc.aio.AioRpcError(
                code,
                await self._call.initial_metadata(),
                await self._call.trailing_metadata(),
                await self._call.details(),
            )
            raise self._channels.failure(ended, self._channel)
        return None

    def cancel(self) -> None:
        """End the call without manners."""
        self._call.cancel()
        self._stop()
        if self._reading is not None:
            # Its outcome is of no interest any more.
            self._reading.add_done_callback(lambda task: task.cancelled() or task.exception())
            self._reading = None


def _to_bytes(message: Message) -> bytes:
    return message.SerializeToString()
