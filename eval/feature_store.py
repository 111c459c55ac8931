"""Features and scores that were computed before, by what they are of: a file beside the manifests.

A feature belongs to the sha256 of a picture's bytes, the view that was taken of it, and the
fingerprint of an extractor; a score to two pictures and the fingerprint of a metric. So nothing is
computed twice, whatever dataset, run or evaluation asks, and an evaluation that was killed goes on.
The file may be deleted at any time.
"""

import json
import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from eval.features.api import Features
from eval.moments import Moments
from toolkit.core.errors import UserError
from toolkit.core.files import make_folder

_BLOCK = 512  # rows that moments are added up by
_PENDING = 256  # changes that are written together
_TABLES = (
    "CREATE TABLE IF NOT EXISTS features(extractor TEXT, picture TEXT, part INT, shape TEXT, "
    "data BLOB, PRIMARY KEY(extractor, picture, part))",
    "CREATE TABLE IF NOT EXISTS scores(metric TEXT, picture TEXT, reference TEXT, value REAL, "
    "PRIMARY KEY(metric, picture, reference)) WITHOUT ROWID",
    "CREATE TEMP TABLE named(picture TEXT)",
    "CREATE TEMP TABLE members(number INT, place INT, picture TEXT, PRIMARY KEY(number, place)) "
    "WITHOUT ROWID",
)
_ARRANGE = (
    "INSERT INTO temp.members SELECT ?, row_number() OVER (ORDER BY picture) - 1, picture "
    "FROM temp.named"
)
_MEMBERS = (
    "SELECT f.data FROM temp.members AS m CROSS JOIN features AS f ON f.extractor = ? "
    "AND f.picture = m.picture AND f.part = ? WHERE m.number = ? AND m.place >= ? AND m.place < ? "
    "ORDER BY m.place"
)


class FeatureStore:
    """What was computed before. Safe to use from several threads, and by several programs.

    path: the file, made if it is not there; of memory alone where None. Raises UserError for a
    damaged one.
    """

    def __init__(self, path: Path | None = None):
        self.path = path
        self._lock, self._pending, self._sets = threading.RLock(), 0, 0
        if path is not None:
            make_folder(path.parent)
        name = "" if path is None else str(path)
        self._con = sqlite3.connect(name, timeout=60, isolation_level=None, check_same_thread=False)
        try:
            for statement in (
                "PRAGMA journal_mode=WAL",
                "PRAGMA cache_size=-4096",
                "PRAGMA temp_store=FILE",
                *_TABLES,
            ):
                self._con.execute(statement)
        except sqlite3.DatabaseError as error:
            raise UserError(f"{path} is damaged ({error}): delete it") from None

    def features(self, extractor: str, picture: str) -> Features | None:
        """Those of a picture, if they are there; all of them."""
        found = self._ask(
            "SELECT shape, data FROM features WHERE extractor = ? AND picture = ? ORDER BY part",
            extractor, picture,
        )  # fmt: skip
        return tuple(_array(*row) for row in found) if found else None

    def keep_features(self, extractor: str, picture: str, features: Features) -> None:
        """Adds those of a picture."""
        rows = (
            (extractor, picture, part, json.dumps(values.shape), values.astype("<f4").tobytes())
            for part, values in enumerate(features)
        )
        self._tell("INSERT OR REPLACE INTO features VALUES (?, ?, ?, ?, ?)", list(rows))

    def score(self, metric: str, picture: str, reference: str) -> float | None:
        """That of a picture against a reference, if it is there."""
        found = self._ask(
            "SELECT value FROM scores WHERE metric = ? AND picture = ? AND reference = ?",
            metric, picture, reference,
        )  # fmt: skip
        return float(found[0][0]) if found else None

    def keep_score(self, metric: str, picture: str, reference: str, value: float) -> None:
        """Adds one."""
        row = (metric, picture, reference, value)
        self._tell("INSERT OR REPLACE INTO scores VALUES (?, ?, ?, ?)", [row])

    def set_of(self, extractor: str, part: int, pictures: Iterable[str]) -> "StoredSet":
        """The features of some pictures, which have to be there; one that is named twice counts
        twice."""
        with self._lock:
            self.flush()
            self._sets += 1
            number = self._sets
            rows = ((picture,) for picture in pictures)
            self._con.execute("DELETE FROM temp.named")
            self._con.executemany("INSERT INTO temp.named VALUES (?)", rows)
            count = self._con.execute(_ARRANGE, (number,)).rowcount

        def some(start: int, stop: int) -> list[bytes]:
            with self._lock:
                found = self._con.execute(_MEMBERS, (extractor, part, number, start, stop))
                return [data for (data,) in found]

        return StoredSet(some, count)

    def flush(self) -> None:
        """Writes what was added to the disk."""
        with self._lock:
            if self._pending:
                self._guarded("COMMIT")
                self._pending = 0

    def close(self) -> None:
        """Writes what was added, and closes the file."""
        self.flush()
        self._con.close()

    def _ask(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        with self._lock:
            return self._guarded(sql, values).fetchall()

    def _tell(self, sql: str, rows: list[tuple[Any, ...]]) -> None:
        with self._lock:
            if not self._pending:
                self._guarded("BEGIN IMMEDIATE")
            self._pending += len(rows)
            for row in rows:
                self._guarded(sql, row)
            if self._pending >= _PENDING:
                self.flush()

    def _guarded(self, sql: str, values: tuple[Any, ...] = ()) -> sqlite3.Cursor:
        try:
            return self._con.execute(sql, values)
        except sqlite3.OperationalError as error:
            raise UserError(
                f"the features in {self.path or 'a temporary file'} cannot be kept ({error}): free "
                "some space, or wait for the other evaluation"
            ) from None
        except sqlite3.DatabaseError as error:
            raise UserError(f"{self.path} is damaged ({error}): delete it") from None


class StoredSet:
    """Features of a set of pictures, in the order of their hashes: whatever order they were named
    or computed in, every result is the same, to the bit.

    count: pictures; dim: numbers of each. Raises LookupError for features that are not there.
    """

    def __init__(self, rows: Callable[[int, int], list[bytes]], count: int):
        self._rows, self.count = rows, count
        self.dim = self.slice(0, 1).shape[1] if count else 0

    def slice(self, start: int, stop: int) -> np.ndarray:
        """float32 [stop − start,dim]."""
        found = [np.frombuffer(data, "<f4") for data in self._rows(start, stop)]
        if len(found) != stop - start:
            raise LookupError(f"{stop - start - len(found)} features are not in the store")
        return np.stack(found)

    def blocks(self, size: int) -> Iterator[np.ndarray]:
        """float32 [size,dim] each, the last one with what is left."""
        for start in range(0, self.count, size):
            yield self.slice(start, min(start + size, self.count))

    def moments(self) -> Moments:
        """Mean and scatter."""
        total = Moments.none(self.dim)
        for block in self.blocks(_BLOCK):
            total += Moments.of(block)
        return total


def _array(shape: str, data: bytes) -> np.ndarray:
    return np.frombuffer(data, "<f4").reshape(json.loads(shape))
