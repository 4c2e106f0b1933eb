"""Decides how a program without an event loop asks the hub: the same calls, which wait."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncIterator, Coroutine, Iterable, Iterator, Sequence
from datetime import datetime
from itertools import islice
from typing import Any, TypeVar

from luytre import aio, v1
from luytre._retry import CALL, Backoff
from luytre._set import Change, IndicatorSet
from luytre.errors import HubError
from luytre.model import Delivery, Found, Start, Verdict

__all__ = ["Client", "Subscription"]

T = TypeVar("T")
# Items that go over to the loop's thread at a time.
_CHUNK = 100


class _Loop:
    """One event loop in a thread of its own, for all blocking clients of the process."""

    _guard = threading.Lock()
    _shared: _Loop | None = None

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._pid = os.getpid()
        threading.Thread(target=self._loop.run_forever, name="luytre", daemon=True).start()

    @classmethod
    def shared(cls) -> _Loop:
        """Return the loop of this process; threads do not survive a fork."""
        with cls._guard:
            if cls._shared is None or cls._shared._pid != os.getpid():
                cls._shared = cls()
            return cls._shared

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Do the work there, and wait for it. What interrupts the wait ends the work."""
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def each(self, items: AsyncIterator[T]) -> Iterator[T]:
        """Walk over what comes."""
        try:
            while True:
                try:
                    yield self.run(_next(items))
                except StopAsyncIteration:
                    return
        finally:
            if hasattr(items, "aclose"):
                self.run(items.aclose())


class Subscription:
    """A source of deliveries that waits; see `luytre.aio.Subscription` for what it promises."""

    def __init__(self, loop: _Loop, inner: aio.Subscription) -> None:
        self._loop = loop
        self._inner = inner

    def __iter__(self) -> Subscription:
        return self

    def __next__(self) -> Delivery:
        return self._loop.run(self._inner.next())

    def __enter__(self) -> Subscription:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def confirm(self, delivery: Delivery | bytes) -> None:
        """Say that a delivery, or all up to a token, is stored."""
        self._loop.run(self._inner.confirm(delivery))

    def close(self) -> None:
        """End the stream; of a named subscription, once the last confirmation is durable."""
        self._loop.run(self._inner.close())


class Client:
    """The hub, for one identity; see `luytre.aio.Client` for what each call promises.

    Several threads may use one client; one publication, look-up or subscription belongs to one thread.
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
        """Prepare a client; it connects with the first call."""
        self._loop = _Loop.shared()
        self._hub = aio.Client(
            hub, ca=ca, cert=cert, key=key, server_name=server_name, timeout=timeout, backoff=backoff
        )

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._loop.run(self._hub.close())

    def whoami(self) -> v1.WhoAmIResponse:
        """Return what the hub makes of this client's certificate."""
        return self._loop.run(self._hub.whoami())

    def organisations(self, *, include_inactive: bool = False) -> Iterator[v1.Organisation]:
        """Walk over the organisations, by slug."""
        return self._loop.each(self._hub.organisations(include_inactive=include_inactive))

    def publish(
        self, drafts: Sequence[v1.IndicatorDraft], *, on_behalf_of: str = "", request_id: str | None = None
    ) -> list[Verdict]:
        """Publish up to 1,000 indicators: one verdict each, sent after they are durable."""
        return self._loop.run(self._hub.publish(drafts, on_behalf_of=on_behalf_of, request_id=request_id))

    def publish_stream(
        self,
        drafts: Iterable[v1.IndicatorDraft],
        *,
        batch: int = 500,
        window: int = 8,
        on_behalf_of: str = "",
    ) -> Iterator[Verdict]:
        """Publish any number of drafts: one verdict each, in their order, while they are still read."""
        stream = self._hub.publisher(batch=batch, window=window, on_behalf_of=on_behalf_of)
        try:
            for chunk in _chunks(drafts):
                yield from self._loop.run(stream.push(chunk))
            yield from self._loop.run(stream.finish())
        finally:
            self._loop.run(_cancel(stream))

    def revoke(
        self,
        name: str,
        reason: v1.RevocationReason,
        *,
        note: str = "",
        etag: str = "",
        on_behalf_of: str = "",
    ) -> v1.Indicator:
        """Take back an indicator, for good."""
        return self._loop.run(self._hub.revoke(name, reason, note=note, etag=etag, on_behalf_of=on_behalf_of))

    def report_sightings(self, sightings: Sequence[v1.Sighting]) -> list[str | HubError]:
        """Record up to 1,000 sightings: for each its resource name, or why it was refused."""
        return self._loop.run(self._hub.report_sightings(sightings))

    def get(self, name: str, *, as_of: datetime | None = None) -> v1.GetIndicatorResponse:
        """Return one indicator, its newest sightings and, to its owner, collisions; or those of a moment."""
        return self._loop.run(self._hub.get(name, as_of=as_of))

    def versions(self, name: str) -> Iterator[v1.IndicatorVersion]:
        """Walk over the versions of an indicator, newest first, each with what it changed."""
        return self._loop.each(self._hub.versions(name))

    def observable(self, value: str | v1.Observable) -> v1.GetObservableResponse:
        """Return all that the caller may see of one value."""
        return self._loop.run(self._hub.observable(value))

    def list(self, filter: v1.IndicatorFilter | None = None) -> Iterator[v1.Indicator]:  # noqa: A002
        """Walk over the indicators that the filter wants, newest version first."""
        return self._loop.each(self._hub.list(filter))

    def lookup(self, values: Iterable[str | v1.Observable], *, wide: bool = False) -> Iterator[Found]:
        """Look up any number of values, in their order; `wide`, also what contains them."""
        stream = self._hub.lookups(wide=wide)
        try:
            for chunk in _chunks(values):
                yield from self._loop.run(stream.push(chunk))
            yield from self._loop.run(stream.finish())
        finally:
            self._loop.run(_cancel(stream))

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
        """Return a source of deliveries, from a token, a moment or a position on."""
        inner = self._hub.subscribe(
            start, filter=filter, name=name, sightings=sightings, notices=notices, window=window
        )
        return Subscription(self._loop, inner)

    def follow(
        self,
        kept: IndicatorSet,
        filter: v1.IndicatorFilter | None = None,  # noqa: A002
    ) -> Iterator[Sequence[Change]]:
        """Keep a set on disk equal to what the hub holds; yield what changed after it is on disk."""
        return self._loop.each(self._hub.follow(kept, filter))

    def subscriptions(self) -> Iterator[v1.Subscription]:
        """Walk over the named subscriptions of this identity."""
        return self._loop.each(self._hub.subscriptions())

    def delete_subscription(self, name: str) -> None:
        """Delete a named subscription and its cursor; a stream of it ends."""
        self._loop.run(self._hub.delete_subscription(name))


async def _next(items: AsyncIterator[T]) -> T:
    return await items.__anext__()


async def _cancel(stream: aio.Publisher | aio.Lookup) -> None:
    stream.cancel()


def _chunks(items: Iterable[T]) -> Iterator[Sequence[T]]:
    left = iter(items)
    while chunk := tuple(islice(left, _CHUNK)):
        yield chunk
