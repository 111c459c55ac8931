"""What a selection is compiled to: the SQL of its samples and of what they are linked to, and the
join of the two.

The join is Arrow's. DuckDB's gives rows in any order, and to sort a million takes it longer than
everything else; a plain scan keeps them as they lie in the tars.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from toolkit.store.catalog import Catalog
from toolkit.store.columns import growing
from toolkit.store.images import PICTURES_SQL

ROLES = ("target", "content", "style")
_FACTS = ("key", "split", "caption", "style", "artist", "weight", "width", "height")
_PLACE = ("shard", "key", "offset", "size")
_ROWS = 250_000  # samples at a time


def compile_table(
    catalog: Catalog, dataset: str, linked: Sequence[str], condition: str, path: Path
) -> None:
    """Writes the samples of `dataset` for which a checked condition holds, as an Arrow file.

    They pass through memory some at a time; what they are linked to stays there.

    linked: the datasets that its samples are linked to.

    Raises UserError: bad SQL.
    """
    shards = _Shards()
    others = _Others(_numbered(_others(catalog, linked), shards))
    dropped, lacking, protocols = 0, set[str](), set[str]()
    with growing(path) as columns:
        for main in catalog.batches(_main_sql(catalog, dataset, condition), _ROWS):
            raw, lost = _joined_rows(_numbered(main, shards), others, dataset)
            kept = raw.filter(pc.is_null(lost)) if lost.null_count < len(lost) else raw
            dropped += raw.num_rows - kept.num_rows
            lacking |= {name for name in pc.unique(lost).to_pylist() if name is not None}
            protocols |= {p for p in pc.unique(main["protocol"]).to_pylist() if p is not None}
            columns.append(_flat(kept, shards))
        facts = {
            "shards": shards.used_names(),
            "roles": [role for role in ROLES if shards.has_role[role]],
            "dropped": dropped, "lacking": sorted(lacking), "protocols": sorted(protocols),
        }  # fmt: skip
        renumbered = {f"{role}_shard": shards.renumbered for role in ROLES}
        columns.write(path, {"tessera": json.dumps(facts)}, renumbered)


class _Shards:
    """Numbers of shards: by path as they are met, and in the end without those that no kept sample
    lies in. has_role: whether a kept sample has a picture of each role."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self._is_used = np.zeros(0, bool)
        self.has_role = dict.fromkeys(ROLES, False)

    def numbers_of(self, paths: Any) -> pa.Array:
        """int32, of texts that repeat; null where one is."""
        coded = pc.dictionary_encode(paths)
        coded = coded.combine_chunks() if isinstance(coded, pa.ChunkedArray) else coded
        known = coded.dictionary.to_pylist()
        numbers = [self._numbers.setdefault(name, len(self._numbers)) for name in known]
        return pa.array(numbers, pa.int32()).take(coded.indices)

    def note(self, role: str, numbers: pa.Array) -> None:
        """Marks the shards of a role as used."""
        found = pc.unique(numbers.drop_null()).to_numpy()
        if len(self._is_used) < len(self._numbers):
            more = np.zeros(len(self._numbers) - len(self._is_used), bool)
            self._is_used = np.concatenate([self._is_used, more])
        self._is_used[found] = True
        self.has_role[role] |= len(found) > 0

    def used_names(self) -> list[str]:
        """Paths of those in use, in the order of their new numbers."""
        every = list(self._numbers)
        return [every[number] for number in np.flatnonzero(self._is_used)]

    def renumbered(self, numbers: np.ndarray) -> np.ndarray:
        """New numbers for old ones; −1 stays."""
        places = np.append(np.cumsum(self._is_used, dtype=np.int32) - 1, np.int32(-1))
        return places[numbers]


class _Others:
    """Samples that others are linked to, found by the hashes of their names."""

    def __init__(self, rows: pa.Table):
        hashes = rows["hash"].to_numpy()
        self.rows = rows.drop_columns(["hash"]).combine_chunks()
        self._order = np.argsort(hashes, kind="stable")
        self._sorted = hashes[self._order]

    def places_of(self, names: Any, hashes: Any) -> pa.Array:
        """The row of each name, null where there is none. hashes: of the names, as DuckDB has
        them."""
        if not len(self._sorted):
            return pa.nulls(len(names), pa.int64())
        wanted = hashes.fill_null(0).to_numpy()
        place = np.minimum(np.searchsorted(self._sorted, wanted), len(self._sorted) - 1)
        is_there = (self._sorted[place] == wanted) & names.is_valid().to_numpy()
        rows = pa.array(self._order[place], pa.int64(), mask=~is_there)
        same = pc.equal(self.rows["name"].take(rows), names)
        if pc.all(same).as_py() is False:  # two names of one hash
            return pc.index_in(names, value_set=self.rows["name"].combine_chunks()).cast(pa.int64())
        return rows


def _joined_rows(main: pa.Table, others: _Others, dataset: str) -> tuple[pa.Table, Any]:
    """Samples with the places of all their pictures, and the dataset of what one lacks."""
    content, style = (_joined(main, others, role) for role in ("content", "style"))
    lost = _first(
        _where(pc.is_null(main["target_offset"]), pa.scalar(dataset)),
        _lost(main["content_link"], content["shard"]),
        _lost(main["style_link"], style["shard"]),
    )
    columns = {name: main[name] for name in _FACTS}
    for name in ("style", "artist"):
        columns[name] = _first(main[name], style[name])
    has_source = pc.is_valid(main["source_offset"])
    for name in _PLACE:
        target, source = (
            main[name if name in ("shard", "key") else f"{member}_{name}"]
            for member in ("target", "source")
        )
        columns[f"target_{name}"] = target
        columns[f"content_{name}"] = _first(_where(has_source, source), content[name])
        columns[f"style_{name}"] = style[name]
    return pa.table(columns), lost


def _flat(rows: pa.Table, shards: _Shards) -> dict[str, Any]:
    """The columns of the file; numbers without nulls, so that they can be read as they lie."""
    columns = {name: rows.column(name) for name in _FACTS}
    for role in ROLES:
        numbers = rows.column(f"{role}_shard").combine_chunks()
        shards.note(role, numbers)
        columns[f"{role}_shard"] = numbers.fill_null(-1)
        columns[f"{role}_key"] = rows.column(f"{role}_key")
        for field in ("offset", "size"):
            columns[f"{role}_{field}"] = rows.column(f"{role}_{field}").fill_null(0)
    return columns


def _numbered(rows: pa.Table, shards: _Shards) -> pa.Table:
    """The rows with their shard's number in the place of its path."""
    numbers = shards.numbers_of(rows["path"])
    return rows.drop_columns(["path"]).append_column("shard", numbers)


def _joined(main: pa.Table, others: _Others, role: str) -> dict[str, Any]:
    """For each sample the columns of what it is linked to in a role; null where it is not."""
    rows = others.places_of(main[f"{role}_link"], main[f"{role}_hash"])
    return {name: others.rows[name].take(rows) for name in (*_PLACE, "style", "artist")}


def _lost(links: Any, paths: Any) -> Any:
    """The dataset of each link that leads nowhere."""
    is_lost = pc.and_(pc.is_valid(links), pc.is_null(paths))
    if not pc.any(is_lost).as_py():
        return pa.nulls(len(links), pa.string())
    return pc.replace_substring_regex(_where(is_lost, links), "/.*$", "")


def _where(condition: Any, values: Any) -> Any:
    return pc.if_else(condition, values, pa.scalar(None, values.type))


def _first(*columns: Any) -> Any:
    return pc.coalesce(*columns)


def _main_sql(catalog: Catalog, dataset: str, condition: str) -> str:
    return f"""
    WITH chosen AS (
      SELECT *, {_link("content")} AS content, {_link("style")} AS styled,
             {PICTURES_SQL} AS pictures
      FROM {catalog.files_of([dataset])} AS samples WHERE status = 'ok' AND ({condition}
      )
    ), found AS (
      SELECT *, coalesce(list_filter(pictures, lambda m: starts_with(m.ext, 'target.'))[1],
                         pictures[1]) AS target,
             list_filter(pictures, lambda m: starts_with(m.ext, 'source.'))[1] AS source
      FROM chosen
    )
    SELECT key, split, protocol, coalesce(caption, '') AS caption, style, artist,
           coalesce(weight, 1)::FLOAT AS weight, width, height,
           dataset || '/' || shard || '.tar' AS path,
           target.offset AS target_offset, target.size AS target_size,
           source.offset AS source_offset, source.size AS source_size,
           content.dataset || '/' || content.key AS content_link,
           styled.dataset || '/' || styled.key AS style_link,
           hash(content_link) AS content_hash, hash(style_link) AS style_hash
    FROM found
    """


def _others(catalog: Catalog, linked: Sequence[str]) -> pa.Table:
    """One row for each sample of the linked datasets: its name, place and facts."""
    rows = f"SELECT * FROM {catalog.files_of(linked)}" if linked else "SELECT * FROM samples"
    return catalog.table(f"""
    SELECT dataset || '/' || key AS name, hash(name) AS hash,
           dataset || '/' || shard || '.tar' AS path, key,
           {PICTURES_SQL}[1].offset AS offset, {PICTURES_SQL}[1].size AS size, style, artist
    FROM ({rows}) WHERE status = 'ok' AND {"true" if linked else "false"}
    """).combine_chunks()


def _link(role: str) -> str:
    return f"list_filter(links, lambda l: l.role = '{role}')[1]"
