"""Decides what a program can ask of the hub, for asyncio."""

from __future__ import annotations

import asyncio
import os
import uuid
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Sequence
from datetime import datetime
from typing import TypeVar

from luytre import v1
from luytre._channel import (
    DELETE_SUBSCRIPTION,
    GET,
    LIST,
    LOOKUP,
    OBSERVABLE,
    ORGANISATIONS,
    PUBLISH,
    PUBLISH_STREAM,
    REVOKE,
    SIGHT,
    SUBSCRIPTIONS,
    VERSIONS,
    WHO_AM_I,
    Channels,
    Method,
    Renewed,
    Req,
    Resp,
)
from luytre._identity import Identity
from luytre._pipeline import Pipeline
from luytre._retry import CALL, Backoff, Tries
from luytre._set import Change, IndicatorSet
from luytre._subscribe import Options, Subscription
from luytre.errors import (
    Error,
    HubError,
    Misuse,
    NotFound,
    ProtocolError,
    ResumeTokenExpired,
    StoreReadOnly,
    Unanswered,
    from_status,
)
from luytre.model import Found, Start, Verdict, match, observable, timestamp

__all__ = ["Client", "Lookup", "Publisher", "Subscription"]

T = TypeVar("T")

#: Most items of one request.
MAX_ITEMS = 1_000
#: Most bytes of drafts or values in one batch: below the 4 MiB of the contract, with room for framing.
_BATCH_BYTES = 3 * 1024 * 1024
#: Values in one look-up; fewer where they are as long as rules.
_LOOKUP_BATCH = 400
_LOOKUP_WINDOW = 4


class Publisher:
    """A stream of drafts. When it breaks, what was not answered is sent again under its request ids.

    So nothing is lost, and nothing is published twice. Drafts with a masked source go into batches of
    their own, as the hub demands.
    """

    def __init__(
        self, channels: Channels, timeout: float, batch: int, window: int, on_behalf_of: str
    ) -> None:
        self._pipeline = Pipeline(
            channels,
            PUBLISH_STREAM,
            window,
            timeout,
            (lambda request: len(request.indicators), lambda answer: len(answer.results)),
        )
        self._batch = min(max(batch, 1), MAX_ITEMS)
        self._on_behalf_of = on_behalf_of
        self._gathered: list[v1.IndicatorDraft] = []
        self._bytes = 0
        self._answered = 0

    async def push(self, drafts: Iterable[v1.IndicatorDraft]) -> list[Verdict]:
        """Add drafts; wait only while the window is full. Return verdicts that came meanwhile."""
        ready: list[Verdict] = []
        for draft in drafts:
            size = draft.ByteSize() + 8
            if self._gathered and (
                self._bytes + size > _BATCH_BYTES or _is_masked(draft) != _is_masked(self._gathered[0])
            ):
                ready += await self._send()
            self._gathered.append(draft)
            self._bytes += size
            if len(self._gathered) >= self._batch:
                ready += await self._send()
        return ready

    async def flush(self) -> list[Verdict]:
        """Send what is gathered, and wait for every verdict that is due."""
        ready = await self._send() if self._gathered else []
        while not self._pipeline.is_empty:
            ready += await self._receive()
        return ready

    async def finish(self) -> list[Verdict]:
        """As `flush`, then end the stream in good order."""
        ready = await self.flush()
        await self._pipeline.end()
        return ready

    def cancel(self) -> None:
        """End it at once: drafts without a verdict may or may not be published."""
        self._pipeline.cancel()

    async def _send(self) -> list[Verdict]:
        ready = await self._receive() if self._pipeline.is_full else []
        gathered, self._gathered, self._bytes = self._gathered, [], 0
        self._pipeline.send(
            v1.PublishIndicatorsRequest(
                request_id=str(uuid.uuid4()), indicators=gathered, on_behalf_of=self._on_behalf_of
            )
        )
        return ready

    async def _receive(self) -> list[Verdict]:
        request, answer = await self._pipeline.receive()
        verdicts = _verdicts(request.indicators, answer.results, self._answered)
        self._answered += len(verdicts)
        return verdicts


class Lookup:
    """A bulk look-up that survives broken connections; its memory is bounded by a few batches."""

    def __init__(self, channels: Channels, timeout: float, wide: bool) -> None:
        self._scope = v1.LOOKUP_SCOPE_WIDE if wide else v1.LOOKUP_SCOPE_EXACT
        self._pipeline = Pipeline(
            channels,
            LOOKUP,
            _LOOKUP_WINDOW,
            timeout,
            (lambda request: len(request.observables), lambda answer: len(answer.results)),
        )
        self._gathered: list[v1.Observable] = []
        self._bytes = 0

    async def push(self, values: Iterable[str | v1.Observable]) -> list[Found]:
        """Add values. Return results for earlier ones."""
        ready: list[Found] = []
        for value in values:
            asked = observable(value) if isinstance(value, str) else value
            size = asked.ByteSize() + 8
            if self._gathered and self._bytes + size > _BATCH_BYTES:
                ready += await self._send()
            self._gathered.append(asked)
            self._bytes += size
            if len(self._gathered) >= _LOOKUP_BATCH:
                ready += await self._send()
        return ready

    async def finish(self) -> list[Found]:
        """Send what is gathered, wait for every result that is due, and end the stream."""
        ready = await self._send() if self._gathered else []
        while not self._pipeline.is_empty:
            ready += await self._receive()
        await self._pipeline.end()
        return ready

    def cancel(self) -> None:
        """End it at once."""
        self._pipeline.cancel()

    async def _send(self) -> list[Found]:
        ready = await self._receive() if self._pipeline.is_full else []
        gathered, self._gathered, self._bytes = self._gathered, [], 0
        self._pipeline.send(v1.LookupObservablesRequest(observables=gathered, scope=self._scope))
        return ready

    async def _receive(self) -> list[Found]:
        request, answer = await self._pipeline.receive()
        return [
            Found(value, tuple(map(match, result.matches)), result.truncated, _rejection(result))
            for value, result in zip(request.observables, answer.results, strict=True)
        ]


class Client:
    """The hub, for one identity. Use it within one event loop, and `close` it.

    The PEM files may be replaced while it runs: streams move over to the new certificate by themselves,
    a subscription from its last token.
    """

    def __init__(
        self,
        hub: str,
        *,
        ca: str | os.PathLike[str],
        cert: str | os.PathLike[str],
        key: str | os.PathLike[str],
        server_name: str | None = None,
        timeout: float = 30.0,
        backoff: Backoff = CALL,
    ) -> None:
        """Prepare a client; it connects with the first call.

        `hub` is host:port. `timeout` bounds a call in seconds, its retries included, and the wait for the
        first answer on a stream. `server_name` is the name in the hub's certificate, if not the host.
        """
        self._channels = Channels(hub, Identity(ca, cert, key), server_name)
        self._timeout = timeout
        self._backoff = backoff

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connection."""
        await self._channels.close()

    async def whoami(self) -> v1.WhoAmIResponse:
        """Return what the hub makes of this client's certificate."""
        return await self._call(WHO_AM_I, v1.WhoAmIRequest())

    async def organisations(self, *, include_inactive: bool = False) -> AsyncIterator[v1.Organisation]:
        """Walk over the organisations, by slug."""
        asked = v1.ListOrganisationsRequest(page_size=MAX_ITEMS, include_inactive=include_inactive)
        while True:
            page = await self._call(ORGANISATIONS, asked)
            for organisation in page.organisations:
                yield organisation
            if not _turn(asked, page.next_page_token):
                return

    async def publish(
        self, drafts: Sequence[v1.IndicatorDraft], *, on_behalf_of: str = "", request_id: str | None = None
    ) -> list[Verdict]:
        """Publish up to 1,000 indicators: one verdict each, sent after they are durable.

        `request_id`, a UUID, lets a program that was interrupted repeat the same call; by itself this
        client draws one, and keeps it over its retries.
        """
        _bounded(drafts, "publish_stream")
        request = v1.PublishIndicatorsRequest(
            request_id=request_id or str(uuid.uuid4()), indicators=drafts, on_behalf_of=on_behalf_of
        )
        answer = await self._call(PUBLISH, request)
        _count(len(drafts), len(answer.results))
        return _verdicts(drafts, answer.results, 0)

    def publisher(self, *, batch: int = 500, window: int = 8, on_behalf_of: str = "") -> Publisher:
        """Return a stream for publishing without pause: `window` batches may be on their way at once."""
        return Publisher(self._channels, self._timeout, batch, window, on_behalf_of)

    async def publish_stream(
        self,
        drafts: Iterable[v1.IndicatorDraft] | AsyncIterable[v1.IndicatorDraft],
        *,
        batch: int = 500,
        window: int = 8,
        on_behalf_of: str = "",
    ) -> AsyncIterator[Verdict]:
        """Publish any number of drafts: one verdict each, in their order, while they are still read."""
        stream = self.publisher(batch=batch, window=window, on_behalf_of=on_behalf_of)
        try:
            async for draft in _each(drafts):
                for verdict in await stream.push((draft,)):
                    yield verdict
            for verdict in await stream.finish():
                yield verdict
        finally:
            stream.cancel()

    async def revoke(
        self,
        name: str,
        reason: v1.RevocationReason,
        *,
        note: str = "",
        etag: str = "",
        on_behalf_of: str = "",
    ) -> v1.Indicator:
        """Take back an indicator, for good. `etag`: the decimal text of the version last seen."""
        request = v1.RevokeIndicatorRequest(
            request_id=str(uuid.uuid4()),
            name=name,
            revocation=v1.Revocation(reason=reason, note=note),
            etag=etag,
            on_behalf_of=on_behalf_of,
        )
        return (await self._call(REVOKE, request)).indicator

    async def report_sightings(self, sightings: Sequence[v1.Sighting]) -> list[str | HubError]:
        """Record up to 1,000 sightings: for each its resource name, or why it was refused."""
        _bounded(sightings, "report_sightings several times")
        request = v1.ReportSightingsRequest(request_id=str(uuid.uuid4()), sightings=sightings)
        answer = await self._call(SIGHT, request)
        _count(len(sightings), len(answer.results))
        return [_rejection(result) or result.recorded for result in answer.results]

    async def get(self, name: str, *, as_of: datetime | None = None) -> v1.GetIndicatorResponse:
        """Return one indicator, its newest sightings and, to its owner, collisions.

        `as_of`: as it stood at that moment, if the caller could see it then and can today.
        """
        moment = None if as_of is None else timestamp(as_of)
        return await self._call(GET, v1.GetIndicatorRequest(name=name, as_of=moment))

    async def versions(self, name: str) -> AsyncIterator[v1.IndicatorVersion]:
        """Walk over the versions of an indicator, newest first, each with what it changed."""
        asked = v1.ListIndicatorVersionsRequest(name=name)
        while True:
            page = await self._call(VERSIONS, asked)
            for version in page.versions:
                yield version
            if not _turn(asked, page.next_page_token):
                return

    async def observable(self, value: str | v1.Observable) -> v1.GetObservableResponse:
        """Return all that the caller may see of one value."""
        asked = observable(value) if isinstance(value, str) else value
        return await self._call(OBSERVABLE, v1.GetObservableRequest(observable=asked))

    async def list(self, filter: v1.IndicatorFilter | None = None) -> AsyncIterator[v1.Indicator]:  # noqa: A002
        """Walk over the indicators that the filter wants, newest version first."""
        asked = v1.ListIndicatorsRequest(filter=filter, page_size=500)
        while True:
            page = await self._call(LIST, asked)
            for indicator in page.indicators:
                yield indicator
            if not _turn(asked, page.next_page_token):
                return

    def lookups(self, *, wide: bool = False) -> Lookup:
        """Return a bulk look-up of exact values, or, `wide`, also of what contains them."""
        return Lookup(self._channels, self._timeout, wide)

    async def lookup(
        self,
        values: Iterable[str | v1.Observable] | AsyncIterable[str | v1.Observable],
        *,
        wide: bool = False,
    ) -> AsyncIterator[Found]:
        """Look up any number of values, in their order.

        `wide` finds also what contains a value: the networks that hold an address, the domains above a
        name, the host of a URL. `Match.relation` tells how each match is about the value.
        """
        stream = self.lookups(wide=wide)
        try:
            async for value in _each(values):
                for found in await stream.push((value,)):
                    yield found
            for found in await stream.finish():
                yield found
        finally:
            stream.cancel()

    def subscribe(
        self,
        start: bytes | datetime | Start = Start.CURSOR,
        *,
        filter: v1.IndicatorFilter | None = None,  # noqa: A002
        name: str = "",
        sightings: bool = False,
        notices: bool = False,
        window: int = 4_096,
    ) -> Subscription:
        """Return a source of deliveries, from a token, a moment or a position on.

        `name`, `organisations/{you}/subscriptions/{name}`, has the hub keep the place: `start` may then be
        left out once it has one.
        """
        wanted = filter if filter is not None else v1.IndicatorFilter()
        return Subscription(self._channels, Options(start, wanted, name, sightings, notices, window))

    async def follow(
        self,
        kept: IndicatorSet,
        filter: v1.IndicatorFilter | None = None,  # noqa: A002
    ) -> AsyncIterator[Sequence[Change]]:
        """Keep a set on disk equal to what the hub holds; yield what changed after it is on disk.

        An empty set begins with the current state. Where its token is too old for the hub, it begins
        there again, and stays in use meanwhile.
        """
        wanted = filter if filter is not None else v1.IndicatorFilter()
        kept.bind(wanted)
        while True:
            try:
                async with self.subscribe(kept.token or Start.CURRENT_STATE, filter=wanted) as subscription:
                    async for delivery in subscription:
                        changes = await asyncio.to_thread(kept.apply, delivery)
                        await subscription.confirm(delivery)
                        if changes:
                            yield changes
            except ResumeTokenExpired:
                kept.forget_token()

    async def subscriptions(self) -> AsyncIterator[v1.Subscription]:
        """Walk over the named subscriptions of this identity."""
        asked = v1.ListSubscriptionsRequest(page_size=MAX_ITEMS)
        while True:
            page = await self._call(SUBSCRIPTIONS, asked)
            for subscription in page.subscriptions:
                yield subscription
            if not _turn(asked, page.next_page_token):
                return

    async def delete_subscription(self, name: str) -> None:
        """Delete a named subscription and its cursor; a stream of it ends."""
        tries = Tries(self._backoff, 1)
        try:
            await self._call(DELETE_SUBSCRIPTION, v1.DeleteSubscriptionRequest(name=name), tries)
        except NotFound:
            # The try whose answer was lost has deleted it.
            if not tries.repeated:
                raise

    async def _call(self, method: Method[Req, Resp], request: Req, tries: Tries | None = None) -> Resp:
        loop = asyncio.get_running_loop()
        end = loop.time() + self._timeout
        tries = tries or Tries(self._backoff, 1)
        while True:
            try:
                return await self._channels.unary(method, request, max(end - loop.time(), 0.001))
            except Renewed:
                continue
            except StoreReadOnly:
                # It takes minutes: longer than somebody waits for a call.
                raise
            except Error as error:
                delay = tries.after(error)
                if loop.time() + delay >= end:
                    raise Unanswered(
                        f"the hub at {self._channels.hub} did not answer within {self._timeout:g} s; the "
                        f"last try failed: {error}"
                    ) from error
            await asyncio.sleep(delay)


async def _each(items: Iterable[T] | AsyncIterable[T]) -> AsyncIterator[T]:
    if isinstance(items, AsyncIterable):
        async for item in items:
            yield item
    else:
        for item in items:
            yield item


def _verdicts(
    drafts: Iterable[v1.IndicatorDraft], results: Iterable[v1.PublishResult], first: int
) -> list[Verdict]:
    return [
        Verdict(index, draft, result.published if result.HasField("published") else None, _rejection(result))
        for index, (draft, result) in enumerate(zip(drafts, results, strict=True), first)
    ]


def _is_masked(draft: v1.IndicatorDraft) -> bool:
    return draft.marking.caveats.masked_source


def _rejection(result: v1.PublishResult | v1.SightingResult | v1.LookupResult) -> HubError | None:
    return from_status(result.rejected) if result.HasField("rejected") else None


def _bounded(items: Sequence[object], instead: str) -> None:
    if not 1 <= len(items) <= MAX_ITEMS:
        raise Misuse(f"one request takes 1 to {MAX_ITEMS} items, not {len(items)}; use {instead} for more")


def _count(asked: int, answered: int) -> None:
    if asked != answered:
        raise ProtocolError(f"{answered} results came for {asked} items")


def _turn(
    asked: v1.ListIndicatorsRequest
    | v1.ListIndicatorVersionsRequest
    | v1.ListOrganisationsRequest
    | v1.ListSubscriptionsRequest,
    token: str,
) -> bool:
    """Turn to the next page; False at the end."""
    if token and token == asked.page_token:
        raise ProtocolError("the next page is the one that was asked for")
    asked.page_token = token
    return bool(token)
