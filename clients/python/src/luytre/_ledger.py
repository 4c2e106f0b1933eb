"""Decides how many events a subscriber may still be sent, and after which token it goes on."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from luytre.errors import Misuse, ProtocolError

#: Most deliveries that may wait to be confirmed; heartbeats among them hold no events.
MAX_UNCONFIRMED = 1_024


@dataclass
class _Handed:
    token: bytes
    events: int
    stream: int


class Ledger:
    """Credit, tokens and confirmations of one subscription, without any input or output."""

    def __init__(self, window: int, resume: bytes | None) -> None:
        self._window = max(window, 1)
        self._granted = 0
        self._unconfirmed = 0
        self._handed: deque[_Handed] = deque()
        self._stream = 0
        #: After this token the next stream goes on; None: where the caller said.
        self.resume = resume

    def open(self) -> int:
        """Note a new stream, which voids what was granted; return its first credit."""
        self._stream += 1
        self._granted = 0
        return self._grant()

    def replenish(self) -> int:
        """Return further credit to send; grants come in halves of the window, so that they are few."""
        return 0 if self._granted + self._unconfirmed > self._window // 2 else self._grant()

    def _grant(self) -> int:
        grant = max(self._window - self._granted - self._unconfirmed, 0)
        self._granted += grant
        return grant

    def is_confirmed(self) -> bool:
        """Whether everything that was handed out is confirmed."""
        return not self._handed

    def may_hand(self) -> None:
        """Raise if the caller has to confirm first, since it would wait for ever."""
        if (self._granted == 0 and self._unconfirmed > 0) or len(self._handed) >= MAX_UNCONFIRMED:
            raise Misuse("confirm the deliveries that are stored before asking for more")

    def hand(self, events: int, token: bytes) -> bool:
        """Note events and their token as handed out; False: an empty delivery with nothing new."""
        if events > self._granted:
            raise ProtocolError(f"{events} events came where {self._granted} were asked for")
        if events == 0 and token and token == self.resume:
            return False
        self.mark(token, events)
        self._granted -= events
        self._unconfirmed += events
        return True

    def mark(self, token: bytes, events: int = 0) -> None:
        """Note a token as handed out."""
        if not token:
            raise ProtocolError("a resume token is empty")
        self._handed.append(_Handed(token, events, self._stream))
        self.resume = token

    def confirm(self, token: bytes) -> bool:
        """Note that all up to the token is the caller's to keep; say whether the hub can be told.

        It cannot where the token came on an earlier stream: a later one covers it.
        """
        if all(handed.token != token for handed in self._handed):
            raise Misuse("only a token that was handed out, and was not confirmed yet, can be confirmed")
        tell = False
        while True:
            handed = self._handed.popleft()
            self._unconfirmed -= handed.events
            tell = tell or handed.stream == self._stream
            if handed.token == token:
                return tell
