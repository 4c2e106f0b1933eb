"""Decides how the indicators of a subscription are kept on disk, together with the token they belong to."""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from luytre import v1
from luytre.errors import Misuse
from luytre.model import Delivery, Event, Recalls, StateBegin, StateEnd

_FORMAT = b"1"
_SCHEMA = """
CREATE TABLE IF NOT EXISTS live (name TEXT PRIMARY KEY, version INTEGER NOT NULL, body BLOB NOT NULL)
    WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS fresh (name TEXT PRIMARY KEY, version INTEGER NOT NULL, body BLOB NOT NULL)
    WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS place (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
"""


@dataclass(frozen=True)
class Change:
    """What a delivery changed in a set."""

    what: Literal["added", "changed", "removed"]
    #: As it is now; of a removed one, as it was.
    indicator: v1.Indicator


class IndicatorSet:
    """The indicators that hold, in a file of SQLite.

    What a delivery changes and its token are one transaction: after a crash the file holds the set at one
    token, never half a delivery, and the next run goes on there. A scan of the current state gathers
    beside the set in use, and replaces it as a whole at its end.

    One process writes; any number may read the file at the same time. Several threads may use one object.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._lock = threading.RLock()
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._db.execute("PRAGMA journal_mode = WAL")
        # The token must not be on disk without what it stands for, nor be lost with the power.
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.executescript(_SCHEMA)
        held = self._get("format")
        if held is None:
            self._put("format", _FORMAT)
        elif held != _FORMAT:
            raise Misuse(f"{os.fspath(path)} was written by another release of this client; use another file")

    def __enter__(self) -> IndicatorSet:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            self._db.close()

    def __len__(self) -> int:
        with self._lock:
            count: int = self._db.execute("SELECT count(*) FROM live").fetchone()[0]
            return count

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self.get(name) is not None

    def __iter__(self) -> Iterator[v1.Indicator]:
        """Walk over the indicators by name, in steps: changes meanwhile may or may not show."""
        last = ""
        while True:
            with self._lock:
                rows = self._db.execute(
                    "SELECT name, body FROM live WHERE name > ? ORDER BY name LIMIT 1000", (last,)
                ).fetchall()
            if not rows:
                return
            last = rows[-1][0]
            for _, body in rows:
                yield v1.Indicator.FromString(body)

    def get(self, name: str) -> v1.Indicator | None:
        """Return the indicator of a resource name, if it is in the set."""
        with self._lock:
            row = self._db.execute("SELECT body FROM live WHERE name = ?", (name,)).fetchone()
        return v1.Indicator.FromString(row[0]) if row else None

    @property
    def token(self) -> bytes | None:
        """The token that the set belongs to; None: it was never filled."""
        with self._lock:
            return self._get("token")

    @property
    def is_complete(self) -> bool:
        """Whether a whole state has been received at least once."""
        with self._lock:
            return self._get("complete") is not None

    def bind(self, wanted: v1.IndicatorFilter) -> None:
        """Note the filter of a new set; raise if the set was made with another."""
        mark = wanted.SerializeToString(deterministic=True)
        with self._transaction():
            held = self._get("filter")
            if held is None:
                self._put("filter", mark)
            elif held != mark:
                raise Misuse("this set was made with another filter; use another file")

    def forget_token(self) -> None:
        """Begin with the current state again; what is held stays in use until it is complete."""
        with self._transaction():
            self._db.execute("DELETE FROM place WHERE key IN ('token', 'scan')")
            self._db.execute("DELETE FROM fresh")

    def apply(self, delivery: Delivery) -> list[Change]:
        """Take in a delivery with its token, on disk as a whole or not at all; return what changed."""
        with self._transaction():
            if isinstance(delivery, Recalls):
                names = [event.indicator.name for event in delivery.events if event.indicator is not None]
                self._db.executemany("DELETE FROM fresh WHERE name = ?", ((name,) for name in names))
                return [change for name in names for change in self._remove(name)]
            if isinstance(delivery, StateBegin):
                self._db.execute("DELETE FROM fresh")
                self._put("scan", b"1")
                changes: list[Change] = []
            elif isinstance(delivery, StateEnd):
                changes = self._replace()
            elif self._get("scan") is not None:
                for event in delivery.events:
                    self._gather(event)
                changes = []
            else:
                changes = [change for event in delivery.events for change in self._happen(event)]
            self._put("token", delivery.token)
            return changes

    def _gather(self, event: Event) -> None:
        indicator = event.indicator
        if indicator is None:
            return
        if event.kind.ends:
            self._db.execute("DELETE FROM fresh WHERE name = ?", (indicator.name,))
            return
        self._db.execute(
            "INSERT INTO fresh VALUES (?, ?, ?) ON CONFLICT (name) DO UPDATE SET version = excluded.version, "
            "body = excluded.body WHERE excluded.version > version",
            (indicator.name, indicator.version, indicator.SerializeToString()),
        )

    def _replace(self) -> list[Change]:
        changes = [
            Change("changed" if held else "added", v1.Indicator.FromString(body))
            for body, held in self._db.execute(
                "SELECT fresh.body, live.name IS NOT NULL FROM fresh LEFT JOIN live USING (name) "
                "WHERE live.name IS NULL OR live.body <> fresh.body"
            )
        ]
        changes += [
            Change("removed", v1.Indicator.FromString(body))
            for (body,) in self._db.execute(
                "SELECT body FROM live WHERE NOT EXISTS (SELECT 1 FROM fresh WHERE fresh.name = live.name)"
            )
        ]
        self._db.execute("DELETE FROM live")
        self._db.execute("INSERT INTO live SELECT * FROM fresh")
        self._db.execute("DELETE FROM fresh")
        self._db.execute("DELETE FROM place WHERE key = 'scan'")
        self._put("complete", b"1")
        return changes

    def _happen(self, event: Event) -> list[Change]:
        indicator = event.indicator
        if indicator is None:
            return []
        row = self._db.execute("SELECT version, body FROM live WHERE name = ?", (indicator.name,)).fetchone()
        # The log after a scan tells again of what was in it: it must not bring an older version back.
        # What is withdrawn comes without a version.
        if row and indicator.version and indicator.version < row[0]:
            return []
        if event.kind.ends:
            return self._remove(indicator.name)
        body = indicator.SerializeToString()
        if row and row[1] == body:
            return []
        self._db.execute(
            "INSERT OR REPLACE INTO live VALUES (?, ?, ?)", (indicator.name, indicator.version, body)
        )
        return [Change("changed" if row else "added", indicator)]

    def _remove(self, name: str) -> list[Change]:
        row = self._db.execute("SELECT body FROM live WHERE name = ?", (name,)).fetchone()
        self._db.execute("DELETE FROM live WHERE name = ?", (name,))
        return [Change("removed", v1.Indicator.FromString(row[0]))] if row else []

    def _get(self, key: str) -> bytes | None:
        row = self._db.execute("SELECT value FROM place WHERE key = ?", (key,)).fetchone()
        return bytes(row[0]) if row else None

    def _put(self, key: str, value: bytes) -> None:
        self._db.execute("INSERT OR REPLACE INTO place VALUES (?, ?)", (key, value))

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                self._db.execute("ROLLBACK")
                raise
            self._db.execute("COMMIT")
