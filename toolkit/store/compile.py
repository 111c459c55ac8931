"""What a selection is compiled to: the SQL of its samples and of what they are linked to, and the
join of the two.

The join is Arrow's. DuckDB's gives rows in any order, and to sort a million takes it longer than
everything else; a plain scan keeps them as they lie in the tars.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from toolkit.core.files import atomic_path
from toolkit.store.catalog import Catalog
from toolkit.store.images import PICTURE_EXTENSIONS

ROLES = ("target", "content", "style")
_FACTS = ("key", "split", "caption", "style", "artist", "weight", "width", "height")
_PLACE = ("shard", "key", "offset", "size")
_EXTENSIONS = "|".join(PICTURE_EXTENSIONS)
_PICTURES = f"list_filter(members, lambda m: regexp_matches(m.ext, '(^|\\.)({_EXTENSIONS})$'))"


def compile_table(
    catalog: Catalog, dataset: str, linked: Sequence[str], condition: str, path: Path
) -> None:
    """Writes the samples of `dataset` for which a checked condition holds, as an Arrow file.

    linked: the datasets that its samples are linked to.

    Raises UserError: bad SQL.
    """
    main = catalog.table(_main_sql(catalog, dataset, condition))
    others = _others(catalog, linked)
    shards = pc.unique(pa.chunked_array(main["path"].chunks + others["path"].chunks, pa.string()))
    main, others = (_numbered(rows, shards) for rows in (main, others))
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
    raw = pa.table(columns)
    kept = raw.filter(pc.is_null(lost)) if lost.null_count < len(lost) else raw
    facts = {
        "dropped": raw.num_rows - kept.num_rows,
        "lacking": sorted(name for name in pc.unique(lost).to_pylist() if name is not None),
        "protocols": sorted(p for p in pc.unique(main["protocol"]).to_pylist() if p is not None),
    }
    _write(kept, shards, facts, path)


def _write(rows: pa.Table, shards: pa.Array, facts: Mapping[str, Any], path: Path) -> None:
    numbers = {role: rows.column(f"{role}_shard") for role in ROLES}
    used = pc.unique(pa.chunked_array([c for n in numbers.values() for c in n.chunks], pa.int32()))
    used = used.drop_null()
    columns = {name: rows.column(name) for name in _FACTS}
    for role in ROLES:
        # no nulls: the numbers can then be read from the mapped file as they stand
        columns[f"{role}_shard"] = pc.index_in(numbers[role], value_set=used).fill_null(-1)
        columns[f"{role}_key"] = rows.column(f"{role}_key")
        for field in ("offset", "size"):
            columns[f"{role}_{field}"] = rows.column(f"{role}_{field}").fill_null(0)
    facts = {
        "shards": shards.take(used).to_pylist(),
        "roles": [role for role, n in numbers.items() if n.null_count < len(n)],
        **facts,
    }
    table = pa.table(columns).replace_schema_metadata({"tessera": json.dumps(facts)})
    with atomic_path(path) as temporary, pa.ipc.new_file(str(temporary), table.schema) as writer:
        writer.write_table(table.combine_chunks())


def _numbered(rows: pa.Table, shards: pa.Array) -> pa.Table:
    """The rows with their shard's number in the place of its path."""
    numbers = pc.index_in(rows["path"], value_set=shards)
    return rows.drop_columns(["path"]).append_column("shard", numbers)


def _joined(main: pa.Table, others: pa.Table, role: str) -> dict[str, Any]:
    """For each sample the columns of what it is linked to in a role; null where it is not."""
    rows = pc.index_in(main[f"{role}_link"], value_set=others["name"].combine_chunks())
    return {name: others[name].take(rows) for name in (*_PLACE, "style", "artist")}


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
      SELECT *, {_link("content")} AS content, {_link("style")} AS styled, {_PICTURES} AS pictures
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
           styled.dataset || '/' || styled.key AS style_link
    FROM found
    """


def _others(catalog: Catalog, linked: Sequence[str]) -> pa.Table:
    """One row for each sample of the linked datasets: its name, place and facts."""
    rows = f"SELECT * FROM {catalog.files_of(linked)}" if linked else "SELECT * FROM samples"
    return catalog.table(f"""
    SELECT dataset || '/' || key AS name, dataset || '/' || shard || '.tar' AS path, key,
           {_PICTURES}[1].offset AS offset, {_PICTURES}[1].size AS size, style, artist
    FROM ({rows}) WHERE status = 'ok' AND {"true" if linked else "false"}
    """).combine_chunks()


def _link(role: str) -> str:
    return f"list_filter(links, lambda l: l.role = '{role}')[1]"
