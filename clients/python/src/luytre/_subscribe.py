"""Decides how a subscription outlives connections, hubs and certificates."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import datetime

from luytre import v1
from luytre._channel import SUBSCRIBE, Channels, Renewed, Stream
from luytre._ledger import Ledger
from luytre._pipeline import CUTS
from luytre._retry import FOREVER, Backoff, Tries, cause
from luytre.errors import Error, Misuse, Unanswered, Unreachable
from luytre.model import (
    Delivery,
    Event,
    Events,
    Recalls,
    Start,
    StateBegin,
    StateEnd,
    disclose,
    pair,
    timestamp,
)

_LOG = logging.getLogger("luytre")
#: Seconds between heartbeats until the hub says how many.
_HEARTBEAT = 30.0
#: Missed heartbeats before a stream counts as broken.
_MISSED = 3
#: Longest wait for the end of a stream, in seconds.
_FAREWELL = 5.0


@dataclass
class Options:
    """What is subscribed to, and how."""

    #: A token, a moment, or one of `Start`.
    start: bytes | datetime | Start
    #: Which indicators are wanted; empty: all.
    filter: v1.IndicatorFilter = field(default_factory=v1.IndicatorFilter)
    #: Resource name of a named subscription; empty: none.
    name: str = ""
    #: Also deliver sightings.
    sightings: bool = False
    #: Also deliver notices of collisions, republications and what lists hold back.
    notices: bool = False
    #: Most events on their way or unconfirmed: the bound of memory.
    window: int = 4_096
    #: Patience with a hub that is away.
    backoff: Backoff = FOREVER


class _Outbox(AsyncIterator[v1.SubscribeRequest]):
    """What is to be said on one stream: the opening, then the newest Ack and the sum of credit."""

    def __init__(self, first: v1.Open) -> None:
        self._open: v1.Open | None = first
        self._ack: bytes | None = None
        self._credit = 0
        self._ended = False
        self._news = asyncio.Event()

    def say(self, *, ack: bytes | None = None, credit: int = 0) -> None:
        self._ack = ack or self._ack
        self._credit += credit
        self._news.set()

    def end(self) -> None:
        self._ended = True
        self._news.set()

    def __aiter__(self) -> AsyncIterator[v1.SubscribeRequest]:
        return self

    async def __anext__(self) -> v1.SubscribeRequest:
        while True:
            if self._open is not None:
                first, self._open = self._open, None
                return v1.SubscribeRequest(open=first)
            if self._ack is not None:
                token, self._ack = self._ack, None
                return v1.SubscribeRequest(ack=v1.Ack(resume_token=token))
            if self._credit:
                credit, self._credit = self._credit, 0
                return v1.SubscribeRequest(credit=v1.Credit(events=min(credit, 1_000_000_000)))
            if self._ended:
                raise StopAsyncIteration
            self._news.clear()
            await self._news.wait()


class Subscription:
    """A source of deliveries that goes on exactly where it stopped, whatever breaks.

    Store the events **and** the token of a delivery, then `confirm` it. A program that dies between the
    two receives the delivery again when it starts from its stored token: at least once, never less.
    Within one run nothing comes twice, but for recalls, which come first after each break.
    """

    def __init__(self, channels: Channels, options: Options) -> None:
        self._channels = channels
        self._options = options
        self._ledger = Ledger(options.window, options.start if isinstance(options.start, bytes) else None)
        self._tries = Tries(options.backoff, CUTS)
        self._live: Stream[v1.SubscribeRequest, v1.SubscribeResponse] | None = None
        self._outbox: _Outbox | None = None
        self._patience = _HEARTBEAT * _MISSED
        #: An acknowledgement that the hub has not called durable yet.
        self._unstored: bytes | None = None

    def __aiter__(self) -> Subscription:
        return self

    async def __anext__(self) -> Delivery:
        return await self.next()

    async def __aenter__(self) -> Subscription:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def next(self) -> Delivery:
        """Wait for the next delivery, over as many streams as it takes.

        Raises `ResumeTokenExpired`, `ResumeTokenInvalid`, `SubscriptionDisplaced` and what else cannot be
        mended by connecting again.
        """
        while True:
            self._ledger.may_hand()
            try:
                delivery = self._take(await self._hear())
            except Renewed:
                self._live = None
                continue
            except Error as error:
                self._drop()
                delay = self._tries.after(error)
                _LOG.warning("the subscription broke (%s); opening it again in %.1f s", cause(error), delay)
                await asyncio.sleep(delay)
                continue
            if delivery is not None:
                return delivery

    async def confirm(self, delivery: Delivery | bytes) -> None:
        """Say that a delivery, or all up to a token, is stored.

        That makes room for more events, and moves the cursor of a named subscription.
        """
        if isinstance(delivery, Recalls):
            return
        token = delivery if isinstance(delivery, bytes) else delivery.token
        tell = self._ledger.confirm(token)
        if self._options.name:
            self._unstored = token
        if self._outbox is not None and self._live is not None:
            ack = token if tell and self._options.name else None
            self._outbox.say(ack=ack, credit=self._ledger.replenish())

    async def close(self) -> None:
        """End the stream; of a named subscription, once the last confirmation is durable."""
        live, outbox = self._live, self._outbox
        if live is None or outbox is None:
            return
        self._live = None
        if not self._options.name or self._unstored is None:
            live.cancel()
            return
        outbox.end()
        loop = asyncio.get_running_loop()
        end = loop.time() + _FAREWELL
        try:
            # The hub flushes acknowledgements before it ends a stream.
            while (heard := await live.hear(max(end - loop.time(), 0.0))) is not None:
                if heard.HasField("acked") and heard.acked.resume_token == self._unstored:
                    break
        except (Error, Renewed) as error:
            raise Unanswered(
                "the hub did not say that the last confirmation is stored; the next stream repeats what "
                "was not"
            ) from error
        finally:
            live.cancel()

    def _drop(self) -> None:
        if self._live is not None:
            self._live.cancel()
            self._live = None

    async def _hear(self) -> v1.SubscribeResponse:
        if self._live is None:
            self._outbox = _Outbox(self._open())
            self._patience = _HEARTBEAT * _MISSED
            self._live = Stream(self._channels, SUBSCRIBE, self._outbox, self._outbox.end)
        heard = await self._live.hear(self._patience)
        if heard is None:
            raise Unreachable(self._channels.hub, "the hub ended the stream")
        return heard

    def _open(self) -> v1.Open:
        made = v1.Open(
            subscription=self._options.name,
            filter=self._options.filter,
            initial_credit=self._ledger.open(),
            include_sightings=self._options.sightings,
            include_notices=self._options.notices,
        )
        start = self._ledger.resume or self._options.start
        if isinstance(start, bytes):
            made.resume_token = start
        elif isinstance(start, datetime):
            made.time.CopyFrom(timestamp(start))
        elif start is not Start.CURSOR:
            made.position = start.value
        elif not self._options.name:
            raise Misuse("only a named subscription has a cursor to start at")
        return made

    def _take(self, response: v1.SubscribeResponse) -> Delivery | None:
        """Say what a message means; None: nothing for the caller."""
        what = response.WhichOneof("message")
        if what not in ("opened", "draining"):
            # A hub that opens a stream and cuts it at once makes no progress.
            self._tries.progress()
        if what == "opened":
            self._opened(response.opened)
            return self._advance((), response.opened.resume_token)
        if what == "batch":
            batch = response.batch
            disclose(batch.events, batch.disclosures)
            return self._advance(pair(batch.events, batch.kinds), batch.resume_token)
        if what == "heartbeat":
            return self._advance((), response.heartbeat.resume_token)
        if what == "draining":
            self._drop()
            return self._advance((), response.draining.resume_token)
        if what == "state_begin":
            self._ledger.mark(response.state_begin.resume_token)
            return StateBegin(response.state_begin.resume_token)
        if what == "state_end":
            self._ledger.mark(response.state_end.resume_token)
            return StateEnd(response.state_end.resume_token)
        if what == "recalls":
            return Recalls(pair(response.recalls.events, response.recalls.kinds))
        if what == "acked" and response.acked.resume_token == self._unstored:
            self._unstored = None
        return None

    def _opened(self, opened: v1.Opened) -> None:
        self._patience = float(min(max(opened.heartbeat_seconds, 1), 3_600)) * _MISSED
        if self._unstored is not None and self._ledger.is_confirmed() and self._outbox is not None:
            # The stream before broke before it stored the last one.
            self._unstored = opened.resume_token
            self._outbox.say(ack=opened.resume_token)

    def _advance(self, events: tuple[Event, ...], token: bytes) -> Events | None:
        return Events(events, token) if self._ledger.hand(len(events), token) else None
