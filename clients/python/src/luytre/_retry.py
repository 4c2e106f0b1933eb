"""Decides what is tried again, and after how long."""

from __future__ import annotations

import enum
import random
from dataclasses import dataclass

import grpc

from luytre.errors import DeadlineExceeded, Error, HubError, StoreReadOnly, Unreachable

# Only an operator can mend a store that takes no writes.
_READ_ONLY_PAUSE = 60.0


@dataclass(frozen=True)
class Backoff:
    """How to wait between tries, in seconds."""

    #: The first delay, before jitter.
    first: float = 0.1
    #: The longest delay.
    longest: float = 10.0
    #: Tries in a row without progress before giving up; None: never give up on a hub that is away.
    tries: int | None = 15

    def delay(self, n: int, drawn: float) -> float:
        """Return the delay before try `n`, from 0 on: half fixed, half drawn.

        So clients that were cut off together do not return together.
        """
        full = min(self.first * 2.0 ** min(n, 31), self.longest)
        return full / 2 + full / 2 * drawn


#: For calls that someone waits for.
CALL = Backoff(longest=5.0, tries=7)
#: For streams: a restart of the hub takes a while.
STREAM = Backoff()
#: For subscribers that run for years.
FOREVER = Backoff(tries=None)


class Outcome(enum.Enum):
    """Whether a failed call may be tried again."""

    #: The hub is away, or asks to come back.
    AWAY = 1
    #: The connection broke without an answer. What the call itself brings about looks the same, so this
    #: is not tried without end.
    CUT = 2
    #: Trying again would end the same way.
    FINAL = 3


def classify(error: Error) -> Outcome:
    """Say which it is."""
    if isinstance(error, Unreachable):
        return Outcome.CUT if error.cut else Outcome.AWAY
    if isinstance(error, HubError):
        code = error.answer.code
        if code == grpc.StatusCode.UNAVAILABLE.value[0]:
            return Outcome.AWAY
        # Without a pause from the hub it is a limit that waiting does not lift.
        if code == grpc.StatusCode.RESOURCE_EXHAUSTED.value[0] and error.retry_after is not None:
            return Outcome.AWAY
        # The hub had waited long enough: the line was slow, and may be faster now.
        if isinstance(error, DeadlineExceeded):
            return Outcome.CUT
    return Outcome.FINAL


def cause(error: Error) -> str:
    """Say in a few words why a stream broke, for the log."""
    return error.cause if isinstance(error, Unreachable) else str(error).partition("\n")[0]


class Tries:
    """Tries of one call or stream since it last made progress."""

    def __init__(self, backoff: Backoff, cuts_allowed: int) -> None:
        self._backoff = backoff
        self._cuts_allowed = cuts_allowed
        self._made = 0
        self._cuts = 0
        #: Whether anything was tried again.
        self.repeated = False

    def progress(self) -> None:
        """Note that something came through."""
        self._made = self._cuts = 0

    def after(self, error: Error, drawn: float | None = None) -> float:
        """Return how long to wait before the next try, or raise the error if there is none."""
        outcome = classify(error)
        if outcome is Outcome.FINAL:
            raise error
        if outcome is Outcome.CUT:
            if self._cuts >= self._cuts_allowed:
                raise error
            self._cuts += 1
        else:
            self._cuts = 0
        if self._backoff.tries is not None and self._made >= self._backoff.tries:
            raise error
        # Jitter keeps no secret.
        delay = self._backoff.delay(self._made, random.random() if drawn is None else drawn)  # noqa: S311
        self._made += 1
        self.repeated = True
        if isinstance(error, HubError):
            delay = max(delay, error.retry_after or 0.0)
        if isinstance(error, StoreReadOnly):
            delay = max(delay, _READ_ONLY_PAUSE)
        return delay
