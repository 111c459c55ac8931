"""What a query chose: how many samples of what, and the SQL that gives their rows."""

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from toolkit.core.errors import UserError
from toolkit.core.files import sha256_of
from toolkit.exporting.api import picture_name
from toolkit.store.attached import attached_sha256
from toolkit.store.card import root_sha256
from toolkit.store.catalog import Catalog
from toolkit.store.images import picture_extension
from toolkit.store.layout import Layout
from toolkit.store.manifest import SCHEMA

_INNER = ("shard", "status", "cause", "error", "members")  # say nothing outside
FACTS = tuple(name for name in SCHEMA.names if name not in _INNER)
SPLIT = "coalesce(split, 'train')"  # null counts as train
_BATCH_ROWS = 4000
_ORDER = ("train", "val", "test")


@dataclass(frozen=True)
class Chosen:
    """The samples of a query. counts: (dataset, split, style, samples), splits in their order;
    failed: inputs for which the condition holds and that were never packed, by cause; roles: of
    links, each with its number, as content or content_2; exts: of the members of each kind of
    sample; datasets, linked: names of those that samples, and what they are linked to, are of."""

    catalog: Catalog
    condition: str
    columns: Mapping[str, str]
    counts: tuple[tuple[str, str, str | None, int], ...]
    failed: dict[str, int]
    has_splits: bool
    roles: tuple[str, ...]
    exts: tuple[tuple[str, ...], ...]
    datasets: tuple[str, ...]
    linked: tuple[str, ...]

    @property
    def num_samples(self) -> int:
        """Of the query."""
        return sum(number for *_, number in self.counts)

    def groups(self) -> list[tuple[str, str]]:
        """(split, dataset) of what there is, in the order in which it is written."""
        splits = sorted({split for _, split, *_ in self.counts}, key=_place)
        there = {(split, dataset) for dataset, split, *_ in self.counts}
        return [(s, d) for s in splits for d in self.datasets if (s, d) in there]

    def pictures(self, with_links: bool) -> tuple[str, ...]:
        """Names of the pictures that some sample has, as tables call them."""
        names = {"image": None}
        for exts in self.exts:
            further = [ext for ext in exts if picture_extension(ext)][1:]
            names |= dict.fromkeys(map(picture_name, further))
        if with_links:
            names |= dict.fromkeys(f"{role}_image" for role in self.roles)
        return tuple(names)

    def schema(self) -> Any:
        """The rows' columns, a pyarrow Schema; `columns` behind those of manifests."""
        sql = f"SELECT {self._shown()} FROM samples LIMIT 0"
        return next(iter(self.catalog.batches(sql, 1))).schema

    def filled(self) -> tuple[tuple[str, ...], frozenset[str]]:
        """The columns that some row has, and of these the ones that some row lacks."""
        names = (*FACTS, *self.columns)
        kinds = {field.name: str(field.type) for field in self.schema()}
        counted = []
        for name in names:
            body = self.columns.get(name, name)
            is_list = kinds[name].startswith("list")
            counted.append(f"count({body}\n)" if not is_list else f"count_if(len({body}\n) > 0)")
        sql = f"SELECT count(*), {', '.join(counted)} FROM samples WHERE {self._holds()}"
        total, *found = self.catalog.rows(sql)[0]
        some = {name: number for name, number in zip(names, found, strict=True) if number}
        return tuple(some), frozenset(name for name, n in some.items() if n < total)

    def rows(self, split: str, dataset: str, skip: int, limit: int) -> Iterator[list[Any]]:
        """Rows of one split of one dataset in the order of shards and offsets, some at a time, with
        `shard` and `members` besides the columns of `schema`. skip, limit: rows."""
        quoted = split.replace("'", "''")
        sql = (
            f"SELECT {self._shown()}, shard AS _shard, members AS _members "
            f"FROM {self.catalog.files_of([dataset])} AS samples "
            f"WHERE {self._holds()} AND {SPLIT} = '{quoted}' LIMIT {limit} OFFSET {skip}"
        )
        for table in self.catalog.batches(sql, _BATCH_ROWS):
            yield table.to_pylist()

    def few(self, number: int) -> list[dict[str, Any]]:
        """Rows of some samples, the same ones each time."""
        sql = (
            "SELECT dataset, key, shard, members, links FROM samples "
            f"WHERE {self._holds()} ORDER BY sha256, dataset, key LIMIT {number}"
        )
        found: list[dict[str, Any]] = self.catalog.table(sql).to_pylist()
        return found

    def linked_exts(self) -> list[str]:
        """Extensions that linked pictures have as members: content.jpg."""
        known = set(self.catalog.layout.datasets())
        kinds: set[str] = set()
        for name in self.linked:
            if name in known:
                found = Catalog(self.catalog.layout, [name]).rows(
                    "SELECT DISTINCT unnest(members).ext FROM samples WHERE status = 'ok'"
                )
                kinds |= {kind for (ext,) in found if (kind := picture_extension(ext))}
        return [f"{role}.{kind}" for role in self.roles for kind in sorted(kinds)]

    def licences(self, with_links: bool) -> Counter[str | None]:
        """Pictures by licence; of what samples are linked to, all of those datasets."""
        sql = "SELECT licence, count(*) FROM samples WHERE {} GROUP BY 1"
        found: Counter[str | None] = Counter(dict(self.catalog.rows(sql.format(self._holds()))))
        known = set(self.catalog.layout.datasets())
        for name in self.linked if with_links else ():
            if name in known and name not in self.datasets:
                other = Catalog(self.catalog.layout, [name])
                found.update(dict(other.rows(sql.format("status = 'ok'"))))
        return found

    def protocols(self) -> list[tuple[str, int]]:
        """How many generated pictures were made by which protocol."""
        return [(str(name), number) for name, number in self.catalog.rows(
            f"SELECT protocol, count(*) FROM samples WHERE {self._holds()} "
            "AND protocol IS NOT NULL GROUP BY 1 ORDER BY 1"
        )]  # fmt: skip

    def sides(self) -> tuple[int, float, int]:
        """Least, median and largest shorter side, in pixels."""
        least, median, most = self.catalog.rows(
            "SELECT min(least(width, height)), median(least(width, height)), "
            f"max(least(width, height)) FROM samples WHERE {self._holds()}"
        )[0]
        return least or 0, median or 0, most or 0

    def identity(self, with_links: bool) -> str:
        """Hash of all that decides which samples these are, and their bytes."""
        layout, parts = self.catalog.layout, [self.condition, *map(str, self.columns.items())]
        for dataset in (*self.datasets, *(self.linked if with_links else ())):
            parts.append(f"{dataset} {_root(layout, dataset)}")
        parts.append(attached_sha256(self.catalog.attached))
        return hashlib.sha256("\0".join(parts).encode()).hexdigest()

    def _holds(self) -> str:
        return f"status = 'ok' AND ({self.condition}\n)"

    def _shown(self) -> str:
        asked = (f'{body}\n AS "{name}"' for name, body in self.columns.items())
        return ", ".join([*FACTS, *asked])


def choose(catalog: Catalog, condition: str, columns: Mapping[str, str]) -> Chosen:
    """Looks at what a checked condition holds for. columns: name to checked expression, besides
    those of manifests. Raises UserError where there is nothing."""
    holds = f"status = 'ok' AND ({condition}\n)"
    found = catalog.rows(
        f"SELECT dataset, {SPLIT}, style, count(*) FROM samples WHERE {holds} "
        "GROUP BY ALL ORDER BY ALL"
    )
    if not found:
        hints = catalog.misspelt(condition)
        raise UserError("; ".join(["no sample fits: there is nothing to export", *hints]))
    counts = sorted(found, key=lambda row: (_place(row[1]), row[0]))
    failed = catalog.rows(
        f"SELECT coalesce(cause, status), count(*) FROM samples WHERE status <> 'ok' "
        f"AND ({condition}\n) GROUP BY 1 ORDER BY 1"
    )
    has_splits = catalog.rows(f"SELECT count(split) FROM samples WHERE {holds}")[0][0] > 0
    exts = catalog.rows(
        f"SELECT DISTINCT list_transform(members, lambda m: m.ext) FROM samples WHERE {holds}"
    )
    roles = catalog.rows(
        f"SELECT DISTINCT list_transform(links, lambda l: l.role) FROM samples WHERE {holds}"
    )
    linked = catalog.rows(
        "SELECT DISTINCT l.dataset FROM (SELECT unnest(links) AS l FROM samples "
        f"WHERE {holds}) ORDER BY 1"
    )
    numbered = {name for (names,) in roles for name in numbered_roles(names or ())}
    datasets = [name for name in catalog.datasets if name in {row[0] for row in found}]
    return Chosen(
        catalog, condition, columns, tuple(counts), dict(failed), has_splits,
        tuple(sorted(numbered)), tuple(sorted(tuple(e or ()) for (e,) in exts)),
        tuple(sorted(datasets)), tuple(name for (name,) in linked),
    )  # fmt: skip


def numbered_roles(roles: Sequence[str]) -> list[str]:
    """content, content gives content, content_2; roles as far as they can name members."""
    seen: Counter[str] = Counter()
    names = []
    for role in roles:
        clean = "".join(c if c.isascii() and (c.isalnum() or c in "_-") else "_" for c in role)
        seen[clean.lower()] += 1
        number = seen[clean.lower()]
        names.append(clean.lower() if number == 1 else f"{clean.lower()}_{number}")
    return names


def rows_by_key(layout: Layout, dataset: str, keys: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Where samples lie that others are linked to: dataset, key, shard and members of those that
    are packed; none of a dataset that is not."""
    if not keys or dataset not in layout.datasets():
        return {}
    return {row["key"]: row for row in Catalog(layout, [dataset]).places([dataset], keys)}


def _place(split: str) -> tuple[int, str]:
    return (_ORDER.index(split) if split in _ORDER else len(_ORDER), split)


def _root(layout: Layout, dataset: str) -> str:
    """What tells two versions of a dataset apart; of one that is not finished, its manifests."""
    try:
        return root_sha256(layout, dataset)
    except UserError:
        found = [sha256_of(path) for path in layout.manifests_of(dataset)]
        return hashlib.sha256("".join(found).encode()).hexdigest()
