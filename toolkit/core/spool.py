"""Rows on disk, found by key and walked in order: for whatever is too much for a list or a dict.

A temporary SQLite file that disappears with the object. Memory stays at a few megabytes whatever
the number of rows.
"""

import json
import sqlite3
import tempfile
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Any, Self

from toolkit.core.errors import UserError

_CACHE_KIB = 4096


class _OnDisk:
    """A temporary database; a context manager that removes it."""

    def __init__(self, *tables: str) -> None:
        # An empty name makes SQLite open an unnamed temporary file, which goes with the connection.
        self._con = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        for statement in (f"PRAGMA cache_size=-{_CACHE_KIB}", "PRAGMA temp_store=FILE", *tables):
            self._con.execute(statement)
        self._con.execute("BEGIN")

    def close(self) -> None:
        """Removes what is there from the disk."""
        self._con.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class Spool(_OnDisk):
    """Named tables of (key, value); values are JSON. Rows of the same key keep their order.

    Write first, then read. Use it as a context manager, or leave it to the garbage collector.
    """

    def __init__(self) -> None:
        super().__init__("CREATE TABLE rows(name TEXT, key BLOB, value TEXT)")
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
        return self._rows("name = ?", name)

    def missing(self, name: str, other: str) -> Iterator[tuple[str, Any]]:
        """Rows of the table `name`, in order, whose key the table `other` does not have."""
        absent = "NOT EXISTS (SELECT 1 FROM rows AS b WHERE b.name = ? AND b.key = rows.key)"
        return self._rows(f"name = ? AND {absent}", name, other)

    def get(self, name: str, key: str) -> list[Any]:
        """The values of one key, as they were added."""
        self._finish()
        found = self._con.execute(
            "SELECT value FROM rows WHERE name = ? AND key = ? ORDER BY rowid", (name, _blob(key))
        )
        return [json.loads(value) for (value,) in found]

    def repeated(self, name: str, limit: int = 10) -> list[tuple[str, list[Any]]]:
        """Keys that stand more than once in a table, with their values; at most `limit` keys."""
        self._finish()
        keys = self._con.execute(
            "SELECT key FROM rows WHERE name = ? GROUP BY key HAVING count(*) > 1 "
            "ORDER BY key LIMIT ?",
            (name, limit),
        ).fetchall()
        return [(_text(key), self.get(name, _text(key))) for (key,) in keys]

    def _rows(self, condition: str, *values: str) -> Iterator[tuple[str, Any]]:
        self._finish()
        rows = self._con.execute(
            f"SELECT key, value FROM rows WHERE {condition} ORDER BY key, rowid", values
        )
        return ((_text(key), json.loads(value)) for key, value in rows)

    def _finish(self) -> None:
        if not self._indexed:
            try:
                self._con.execute("CREATE INDEX by_key ON rows(name, key)")
            except sqlite3.OperationalError as error:
                raise _no_space(error) from None
            self._indexed = True


class SeenKeys(_OnDisk):
    """A set of keys on disk. Use it as a context manager."""

    def __init__(self) -> None:
        super().__init__("CREATE TABLE seen(key BLOB PRIMARY KEY) WITHOUT ROWID")

    def add(self, key: str) -> bool:
        """Adds a key; False when it was there. Raises UserError when the disk is full."""
        try:
            done = self._con.execute("INSERT OR IGNORE INTO seen VALUES (?)", (_blob(key),))
        except sqlite3.OperationalError as error:
            raise _no_space(error) from None
        return done.rowcount == 1


def _blob(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")  # file names need not be UTF-8


def _text(blob: bytes) -> str:
    return blob.decode("utf-8", "surrogateescape")


def _no_space(error: sqlite3.OperationalError) -> UserError:
    return UserError(
        f"cannot keep the index in {tempfile.gettempdir()} ({error}): "
        "free some space there or set TMPDIR to another folder"
    )
