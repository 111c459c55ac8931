"""The SQL behind a selection, and the Arrow file that its rows are kept in."""

import json
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from toolkit.core.files import atomic_path
from toolkit.store.catalog import Catalog
from toolkit.store.images import PICTURE_EXTENSIONS

ROLES = ("target", "content", "style")
_FACTS = ("key", "split", "caption", "style", "artist", "weight", "width", "height")


def compile_table(
    catalog: Catalog, dataset: str, linked: Sequence[str], condition: str, path: Path
) -> None:
    """Writes the samples of `dataset` for which a checked condition holds, as an Arrow file.

    linked: the datasets that its samples are linked to.

    Raises UserError: bad SQL.
    """
    import pyarrow.compute as pc

    raw = catalog.table(_sql(dataset, linked, condition))
    lost = raw.column("lost_in")
    kept = raw.filter(lost.is_null())
    paths = [kept.column(f"{role}_path").combine_chunks() for role in ROLES]
    shards = pc.unique(pa.concat_arrays(paths).drop_null())
    columns = {name: kept.column(name) for name in _FACTS}
    for role, role_paths in zip(ROLES, paths, strict=True):
        # no nulls: the numbers can then be read from the mapped file as they stand
        columns[f"{role}_shard"] = pc.index_in(role_paths, value_set=shards).fill_null(-1)
        columns[f"{role}_key"] = kept.column(f"{role}_key")
        for field in ("offset", "size"):
            columns[f"{role}_{field}"] = kept.column(f"{role}_{field}").fill_null(0)
    facts = {
        "shards": shards.to_pylist(),
        "roles": [r for r, p in zip(ROLES, paths, strict=True) if p.null_count < len(p)],
        "dropped": raw.num_rows - kept.num_rows,
        "lacking": sorted(name for name in pc.unique(lost).to_pylist() if name is not None),
    }
    table = pa.table(columns).replace_schema_metadata({"tessera": json.dumps(facts)})
    with atomic_path(path) as temporary, pa.ipc.new_file(str(temporary), table.schema) as writer:
        writer.write_table(table.combine_chunks())


def _sql(dataset: str, linked: Sequence[str], condition: str) -> str:
    """One row per sample with the place of each role's picture; `lost_in` names the dataset in
    which a linked sample is missing."""
    extensions = "|".join(PICTURE_EXTENSIONS)
    others = ", ".join(f"'{name}'" for name in linked) or "NULL"  # names are plain words
    return f"""
    WITH main AS (
      SELECT *, members[1].offset AS place,
             {_link("content")} AS content_link, {_link("style")} AS style_link,
             {_pictures(extensions)} AS pictures
      FROM samples WHERE dataset = '{dataset}' AND status = 'ok' AND ({condition}
      )
    ), linked AS (
      SELECT dataset, key, style, artist, dataset || '/' || shard || '.tar' AS path,
             {_pictures(extensions)}[1] AS picture
      FROM samples WHERE status = 'ok' AND dataset IN ({others})
    ), found AS (
      SELECT main.*, main.dataset || '/' || main.shard || '.tar' AS own_path,
             c.path AS c_path, c.picture AS c_picture, s.path AS s_path, s.picture AS s_picture,
             s.style AS s_style, s.artist AS s_artist,
             coalesce(list_filter(pictures, lambda m: starts_with(m.ext, 'target.'))[1],
                      pictures[1]) AS target,
             list_filter(pictures, lambda m: starts_with(m.ext, 'source.'))[1] AS source
      FROM main
      LEFT JOIN linked c ON c.dataset = content_link.dataset AND c.key = content_link.key
      LEFT JOIN linked s ON s.dataset = style_link.dataset AND s.key = style_link.key
    )
    SELECT key, split, coalesce(caption, '') AS caption,
           coalesce(style, s_style) AS style, coalesce(artist, s_artist) AS artist,
           coalesce(weight, 1)::FLOAT AS weight, width, height,
           CASE WHEN target IS NULL THEN dataset
                WHEN content_link IS NOT NULL AND c_path IS NULL THEN content_link.dataset
                WHEN style_link IS NOT NULL AND s_path IS NULL THEN style_link.dataset
           END AS lost_in,
           own_path AS target_path, key AS target_key,
           target.offset AS target_offset, target.size AS target_size,
           CASE WHEN source IS NULL THEN c_path ELSE own_path END AS content_path,
           CASE WHEN source IS NULL THEN content_link.key ELSE key END AS content_key,
           coalesce(source, c_picture).offset AS content_offset,
           coalesce(source, c_picture).size AS content_size,
           s_path AS style_path, style_link.key AS style_key,
           s_picture.offset AS style_offset, s_picture.size AS style_size
    FROM found ORDER BY shard, place
    """


def _link(role: str) -> str:
    return f"list_filter(links, lambda l: l.role = '{role}')[1]"


def _pictures(extensions: str) -> str:
    return f"list_filter(members, lambda m: regexp_matches(m.ext, '(^|\\.)({extensions})$'))"
