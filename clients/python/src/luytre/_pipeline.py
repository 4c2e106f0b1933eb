"""Decides how batches are pipelined: a bounded window, answers in order, and after a break the rest again."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Generic

from luytre._channel import Channels, Method, Renewed, Req, Resp, Stream
from luytre._retry import STREAM, Tries, cause
from luytre.errors import Error, ProtocolError, Unanswered, Unreachable

_LOG = logging.getLogger("luytre")
#: Longest wait for the answer to the oldest batch before the stream counts as broken, in seconds.
_PATIENCE = 60.0
#: Cut connections in a row before a stream gives up.
CUTS = 4


class Pipeline(Generic[Req, Resp]):
    """A window over a stream that is opened again when it breaks."""

    def __init__(
        self,
        channels: Channels,
        method: Method[Req, Resp],
        window: int,
        deadline: float,
        counts: tuple[Callable[[Req], int], Callable[[Resp], int]],
    ) -> None:
        self._channels = channels
        self._method = method
        self._size = max(window, 1)
        self._unanswered: deque[Req] = deque()
        self._queue: asyncio.Queue[Req | None] = asyncio.Queue()
        self._live: Stream[Req, Resp] | None = None
        self._tries = Tries(STREAM, CUTS)
        self._deadline = deadline
        self._answered = False
        self._asked_in, self._told_in = counts

    @property
    def is_full(self) -> bool:
        """Whether an answer must come before the next batch goes out."""
        return len(self._unanswered) >= self._size

    @property
    def is_empty(self) -> bool:
        """Whether no answer is due."""
        return not self._unanswered

    def send(self, request: Req) -> None:
        """Send a batch. There must be room in the window."""
        self._unanswered.append(request)
        if self._live is not None:
            self._queue.put_nowait(request)

    async def receive(self) -> tuple[Req, Resp]:
        """Wait for the answer to the oldest batch, over as many streams as it takes."""
        # Until the hub first answers, nobody knows whether it is worth waiting for.
        loop = asyncio.get_running_loop()
        end = None if self._answered else loop.time() + self._deadline
        while True:
            try:
                answer = await self._hear(_PATIENCE if end is None else max(end - loop.time(), 0.1))
            except Renewed:
                self._live = None
                continue
            except Error as error:
                self._drop()
                delay = self._tries.after(error)
                if end is not None and loop.time() + delay > end:
                    raise Unanswered(
                        f"the hub at {self._channels.hub} did not answer within {self._deadline:g} s; the "
                        f"last try failed: {error}"
                    ) from error
                _LOG.warning("the stream broke (%s); opening it again in %.1f s", cause(error), delay)
                await asyncio.sleep(delay)
                continue
            self._tries.progress()
            self._answered = True
            request = self._unanswered.popleft()
            asked, told = self._asked_in(request), self._told_in(answer)
            if asked != told:
                raise ProtocolError(f"{told} results came for {asked} items")
            return request, answer

    async def end(self) -> None:
        """End the stream as both sides expect it. Every answer that was due is in hand."""
        if self._live is None:
            return
        self._queue.put_nowait(None)
        try:
            while await self._live.hear(self._deadline) is not None:
                pass
        except Error as error:
            _LOG.debug("the stream did not end in good order: %s", error)
        self._live = None

    def cancel(self) -> None:
        """End it without manners."""
        self._drop()

    def _drop(self) -> None:
        if self._live is not None:
            self._live.cancel()
            self._live = None

    async def _hear(self, patience: float) -> Resp:
        if self._live is None:
            # A queue of its own for each stream: the one before may still be read.
            self._queue = asyncio.Queue()
            for request in self._unanswered:
                self._queue.put_nowait(request)
            requests = _Requests(self._queue)
            self._live = Stream(self._channels, self._method, requests, requests.stop)
        answer = await self._live.hear(patience)
        if answer is None:
            raise Unreachable(self._channels.hub, "the hub ended the stream")
        return answer


class _Requests(AsyncIterator[Req]):
    """What is put into a queue, until None."""

    def __init__(self, queue: asyncio.Queue[Req | None]) -> None:
        self._queue = queue

    def stop(self) -> None:
        """End after what is in the queue."""
        self._queue.put_nowait(None)

    def __aiter__(self) -> AsyncIterator[Req]:
        return self

    async def __anext__(self) -> Req:
        request = await self._queue.get()
        if request is None:
            raise StopAsyncIteration
        return request
