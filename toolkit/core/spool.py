"""Rows on disk, found by key and walked in order: for whatever is too much for a list or a dict.

A temporary SQLite file that disappears with the object. Memory stays at a few megabytes whatever
the number of rows.
"""

import json
import sqlite3
import tempfile
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Any

from toolkit.core.errors import UserError

_CACHE_KIB = 4096
_BATCH = 1000


class Spool:
    """Named tables of (key, value); values are JSON. Rows of the same key keep their order.

    Write first, then read. Use it as a context manager, or leave it to the garbage collector.
    """

    def __init__(self) -> None:
        # An empty name makes SQLite open an unnamed temporary file, which goes with the connection.
        self._con = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._con.execute(f"PRAGMA cache_size=-{_CACHE_KIB}")
        self._con.execute("PRAGMA temp_store=FILE")
        self._con.execute("CREATE TABLE rows(name TEXT, key BLOB, value TEXT)")
        self._con.execute("BEGIN")
        self._indexed = False

    def add(self, name: str, rows: Iterable[tuple[str, Any]]) -> None:
        """Appends rows to the table `name`. Raises UserError when the disk is full."""
        prepared = ((name, _blob(key), json.dumps(value)) for key, value in rows)
        try:
            self._con.executemany("INSERT INTO rows VALUES (?, ?, ?)", prepared)
        except sqlite3.OperationalError as error:
            raise _no_space(error) from None

    def walk(self, name: str) -> Iterator[tuple[str, Any]]:
        """All rows of a table, by key (code point order), then as they were added."""
        self._finish()
        cursor = self._con.execute(
            "SELECT key, value FROM rows WHERE name = ? ORDER BY key, rowid", (name,)
        )
        while part := cursor.fetchmany(_BATCH):
            yield from ((_text(key), json.loads(value)) for key, value in part)

    def get(self, name: str, key: str) -> list[Any]:
        """The values of one key, as they were added."""
        self._finish()
        found = self._con.execute(
            "SELECT value FROM rows WHERE name = ? AND key = ? ORDER BY rowid", (name, _blob(key))
        )
        return [json.loads(value) for (value,) in found]

    def missing(self, name: str, other: str) -> Iterator[tuple[str, Any]]:
        """Rows of the table `name`, in order, whose key the table `other` does not have."""
        self._finish()
        cursor = self._con.execute(
            "SELECT key, value FROM rows AS a WHERE name = ? AND NOT EXISTS "
            "(SELECT 1 FROM rows AS b WHERE b.name = ? AND b.key = a.key) ORDER BY key, rowid",
            (name, other),
        )
        while part := cursor.fetchmany(_BATCH):
            yield from ((_text(key), json.loads(value)) for key, value in part)

    def repeated(self, name: str, limit: int = 10) -> list[tuple[str, list[Any]]]:
        """Keys that stand more than once in a table, with their values; at most `limit` keys."""
        self._finish()
        keys = self._con.execute(
            "SELECT key FROM rows WHERE name = ? GROUP BY key HAVING count(*) > 1 "
            "ORDER BY key LIMIT ?",
            (name, limit),
        ).fetchall()
        return [(_text(key), self.get(name, _text(key))) for (key,) in keys]

    def close(self) -> None:
        """Removes the rows from the disk."""
        self._con.close()

    def _finish(self) -> None:
        if not self._indexed:
            try:
                self._con.execute("CREATE INDEX by_key ON rows(name, key)")
            except sqlite3.OperationalError as error:
                raise _no_space(error) from None
            self._indexed = True

    def __enter__(self) -> "Spool":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class SeenKeys:
    """A set of keys on disk. Use it as a context manager."""

    def __init__(self) -> None:
        self._con = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        self._con.execute(f"PRAGMA cache_size=-{_CACHE_KIB}")
        self._con.execute("CREATE TABLE seen(key BLOB PRIMARY KEY) WITHOUT ROWID")
        self._con.execute("BEGIN")

    def add(self, key: str) -> bool:
        """Adds a key; False when it was there. Raises UserError when the disk is full."""
        try:
            done = self._con.execute("INSERT OR IGNORE INTO seen VALUES (?)", (_blob(key),))
        except sqlite3.OperationalError as error:
            raise _no_space(error) from None
        return done.rowcount == 1

    def __enter__(self) -> "SeenKeys":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._con.close()


def _blob(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")  # file names need not be UTF-8


def _text(blob: bytes) -> str:
    return blob.decode("utf-8", "surrogateescape")


def _no_space(error: sqlite3.OperationalError) -> UserError:
    return UserError(
        f"cannot keep the index in {tempfile.gettempdir()} ({error}): "
        "free some space there or set TMPDIR to another folder"
    )
