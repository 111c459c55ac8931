"""Generated pictures and what each is compared with, in a temporary file: whatever grows with the
data lies there, not in lists.
"""

import json
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow.parquet as pq

from toolkit.core.errors import UserError
from toolkit.core.keyed import key64
from toolkit.store.images import picture_extension
from toolkit.store.layout import Layout

ROLES = ("content", "style", "target")
COMPARED = 10  # pictures of a style, where a generated picture has no style reference of its own
_COLUMNS = [
    "key", "status", "cause", "split", "width", "height", "style", "caption", "members", "links",
    "phash",
]  # fmt: skip
_TABLES = (
    "CREATE TABLE pictures(id INTEGER PRIMARY KEY, dataset TEXT, key TEXT, shard TEXT, start INT, "
    "size INT, sha256 TEXT, phash INT, style TEXT, UNIQUE(dataset, key))",
    "CREATE TABLE items(number INTEGER PRIMARY KEY, shard TEXT, picture INT, width INT, "
    "height INT, caption TEXT, style TEXT, split TEXT, links TEXT)",
    "CREATE TABLE wanted(dataset TEXT, key TEXT, label TEXT, PRIMARY KEY(dataset, key)) "
    "WITHOUT ROWID",
)
_PICTURE = "dataset, key, shard, start, size, sha256, phash, style"
_OF_POOL = (
    "SELECT dataset, key, shard, start, size, sha256, phash, label FROM pictures "
    "NATURAL JOIN wanted WHERE label = ?"
)


@dataclass(frozen=True)
class Picture:
    """Where a stored picture lies. shard: its manifest's stem; start, size: bytes in that tar;
    sha256: of those; phash: its perceptual hash."""

    dataset: str
    key: str
    shard: str
    start: int
    size: int
    sha256: str
    phash: int | None
    style: str | None


@dataclass(frozen=True)
class Item:
    """A generated picture. number: its place among all; width, height: in pixels; refs: what it is
    compared with, by role, several for a style without a reference of its own."""

    number: int
    picture: Picture
    width: int
    height: int
    caption: str | None
    style: str | None
    split: str | None
    refs: Mapping[str, tuple[Picture, ...]] = field(default_factory=dict)

    def cluster(self, role: str) -> str:
        """Which other pictures it is alike to on one side: the reference's key, or the style where
        that has several."""
        found = self.refs.get(role, ())
        if len(found) == 1:
            return found[0].key
        return (self.style if role == "style" else None) or self.picture.key


class Roster:
    """The usable pictures of a dataset of outputs, with their references.

    Args:
        layout: where the data lie.
        dataset: of the generated pictures.
        pool: (dataset, key, style) of pictures that stand for a style, for outputs which name it
            and are linked to no picture of it.

    counts: pictures that cannot be scored, and links that lead nowhere, by reason. Raises UserError
    for a dataset without a usable picture.
    """

    def __init__(self, layout: Layout, dataset: str, pool: Iterable[tuple[str, str, str]] = ()):
        self.layout, self.dataset = layout, dataset
        self.counts: Counter[str] = Counter()
        self._con = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        for statement in ("PRAGMA cache_size=-4096", "PRAGMA temp_store=FILE", *_TABLES):
            self._con.execute(statement)
        self._con.execute("BEGIN")
        self._read_items()
        if not len(self):
            raise UserError(f"the dataset {dataset} holds no picture to score")
        self._want(pool)
        self._read_references()
        self._pools: dict[str, tuple[Picture, ...]] = {}

    def __len__(self) -> int:
        return int(self._one("SELECT count(*) FROM items"))

    def items(self, shard: str | None = None) -> Iterator[Item]:
        """In stored order; of one shard if named."""
        last = -1
        where = "number > ?" if shard is None else "number > ? AND shard = ?"
        given = () if shard is None else (shard,)
        while True:  # a few at a time, so that other questions can be asked in between
            rows = self._con.execute(
                f"SELECT * FROM items WHERE {where} ORDER BY number LIMIT 64", (last, *given)
            ).fetchall()
            if not rows:
                return
            for row in rows:
                yield self._item(row)
            last = rows[-1][0]

    def item(self, number: int) -> Item:
        """By its number."""
        row = self._con.execute("SELECT * FROM items WHERE number = ?", (number,)).fetchone()
        return self._item(row)

    def shards(self) -> list[str]:
        """Stems of the shards that hold pictures, in order."""
        found = self._con.execute("SELECT shard FROM items GROUP BY shard ORDER BY min(number)")
        return [shard for (shard,) in found]

    def pool(self, style: str | None) -> tuple[Picture, ...]:
        """The pictures that stand for a style: the first COMPARED of the pool, in a fixed order."""
        if style is None:
            return ()
        if style not in self._pools:
            rows = self._con.execute(_OF_POOL, (style,))
            found = sorted((Picture(*row) for row in rows), key=lambda p: key64("pool", p.key))
            self._pools[style] = tuple(found[:COMPARED])
        return self._pools[style]

    def all_references(self, role: str) -> Iterator[Picture]:
        """Each picture that some item is compared with in that role, once; of a style without
        references of its own, the whole pool."""
        seen: set[int] = set()
        whole: set[str | None] = set()  # styles whose pool was given out
        for item in self.items():
            found: Iterable[Picture] = item.refs.get(role, ())
            if role == "style" and not self._links(item.number, "style"):
                found = () if item.style in whole else self._whole_pool(item.style)
                whole.add(item.style)
            for picture in found:
                mark = key64(picture.dataset, picture.key)
                if mark not in seen:
                    seen.add(mark)
                    yield picture

    def _whole_pool(self, style: str | None) -> list[Picture]:
        rows = self._con.execute(_OF_POOL, (style,))
        return [Picture(*row) for row in rows.fetchall()]

    def _one(self, sql: str, *values: Any) -> Any:
        return self._con.execute(sql, values).fetchone()[0]

    def _links(self, number: int, role: str) -> list[tuple[str, str]]:
        links = json.loads(self._one("SELECT links FROM items WHERE number = ?", number))
        return [(dataset, key) for kind, dataset, key in links if kind == role]

    def _item(self, row: tuple[Any, ...]) -> Item:
        number, _, picture, width, height, caption, style, split, links = row
        refs: dict[str, tuple[Picture, ...]] = {}
        for role, dataset, key in json.loads(links):
            found = self._con.execute(
                f"SELECT {_PICTURE} FROM pictures WHERE dataset = ? AND key = ?", (dataset, key)
            ).fetchone()
            if found is not None:
                refs[role] = (*refs.get(role, ()), Picture(*found))
        if "style" not in refs and (pool := self.pool(style)):
            refs["style"] = pool
        own = self._con.execute(f"SELECT {_PICTURE} FROM pictures WHERE id = ?", (picture,))
        return Item(number, Picture(*own.fetchone()), width, height, caption, style, split, refs)

    def _want(self, pictures: Iterable[tuple[str, str, str | None]]) -> None:
        self._con.executemany(
            "INSERT INTO wanted VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET "
            "label = coalesce(excluded.label, label)",
            pictures,
        )

    def _read_items(self) -> None:
        number = 0
        for path in self.layout.manifests_of(self.dataset):
            for row in pq.ParquetFile(path).read(columns=_COLUMNS).to_pylist():
                if row["status"] != "ok":
                    self.counts[f"{row['status']}: {row['cause'] or 'no cause'}"] += 1
                    continue
                links = [(ln["role"], ln["dataset"], ln["key"]) for ln in row["links"] or ()]
                self._want((dataset, key, None) for _, dataset, key in links)
                picture = self._add(self.dataset, path.stem, row)
                if picture is None:
                    self.counts["no picture"] += 1
                    continue
                self._con.execute(
                    "INSERT INTO items VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    (
                        number, path.stem, picture, row["width"], row["height"], row["caption"],
                        row["style"], row["split"], json.dumps(links),
                    ),
                )  # fmt: skip
                number += 1

    def _add(self, dataset: str, stem: str, row: Mapping[str, Any]) -> int | None:
        first = next((m for m in row["members"] or () if picture_extension(m["ext"])), None)
        if first is None:
            return None
        done = self._con.execute(
            f"INSERT OR IGNORE INTO pictures({_PICTURE}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (
                dataset, row["key"], stem, first["offset"], first["size"], first["sha256"],
                row["phash"], row["style"],
            ),
        )  # fmt: skip
        return done.lastrowid

    def _read_references(self) -> None:
        """Rows of what is wanted, one shard after another."""
        datasets = self._con.execute("SELECT DISTINCT dataset FROM wanted").fetchall()
        for (dataset,) in datasets:
            for path in self.layout.manifests_of(dataset):
                for row in pq.ParquetFile(path).read(columns=_COLUMNS).to_pylist():
                    if row["status"] == "ok" and self._is_wanted(dataset, row["key"]):
                        self._add(dataset, path.stem, row)
        lost = self._one(
            "SELECT count(*) FROM wanted WHERE NOT EXISTS (SELECT 1 FROM pictures AS p "
            "WHERE p.dataset = wanted.dataset AND p.key = wanted.key)"
        )
        if lost:
            self.counts["links to pictures that are not there"] += lost

    def _is_wanted(self, dataset: str, key: str) -> bool:
        sql = "SELECT EXISTS(SELECT 1 FROM wanted WHERE dataset = ? AND key = ?)"
        return bool(self._one(sql, dataset, key))


def pool_of(
    layout: Layout, references: str, label: Mapping[str, Any] | None = None
) -> list[tuple[str, str, str]]:
    """Pictures that stand for a style: dataset, key, and which style.

    Args:
        layout: where they lie.
        references: SQL condition on them; none where it is empty.
        label: what a picture stands for where that is not its style: `tasks`, by dataset, for
            those without a style, or for all with `always`.

    Raises UserError.
    """
    if not references:
        return []
    from toolkit.store.catalog import Catalog, without_rehearsals

    catalog = Catalog(layout, without_rehearsals(layout))
    condition = catalog.condition(references)
    rows = catalog.rows(
        f"SELECT dataset, key, style FROM samples WHERE status = 'ok' AND ({condition}\n) "
        "ORDER BY dataset, key"
    )
    tasks: Mapping[str, str] = (label or {}).get("tasks", {})
    always = bool((label or {}).get("always"))
    found = (
        (ds, key, tasks.get(ds) if always else style or tasks.get(ds)) for ds, key, style in rows
    )
    return [(dataset, key, name) for dataset, key, name in found if name]
