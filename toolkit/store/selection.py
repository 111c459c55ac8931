"""A query compiled for training: one row per sample, with the place of each picture's bytes.

Joins (content, style and target of a triplet lie in different datasets) are settled here, so they
cost nothing while training. The result is a memory-mapped Arrow file, disposable: it is named after
the query and the data's fingerprints and made again whenever it is missing.
"""

import getpass
import hashlib
import json
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from toolkit.core.errors import UserError
from toolkit.core.files import atomic_path, make_folder
from toolkit.store.card import read_card, root_sha256
from toolkit.store.catalog import Catalog
from toolkit.store.images import PICTURE_EXTENSIONS
from toolkit.store.layout import Layout
from toolkit.store.manifest import to_json

FORMAT_VERSION = 3
ROLES = ("target", "content", "style")
_FACTS = ("key", "split", "caption", "style", "weight", "width", "height")


@dataclass(frozen=True)
class Selection:
    """The samples of one task.

    table: one row per sample: key, split, caption, style, weight, width, height, and per role its
        shard (an index into `shards`, -1 where the sample lacks the role), key, and offset and
        size in bytes.
    shards: paths of the tars.
    roles: the roles that at least one sample has.
    fingerprint: of the query and of the data it ran over; equal ones select equal bytes.
    num_dropped: samples left out because a linked sample is missing.
    lacking: the datasets that those were linked to.
    """

    name: str
    table: pa.Table
    shards: tuple[Path, ...]
    roles: tuple[str, ...]
    fingerprint: str
    num_dropped: int
    lacking: tuple[str, ...] = ()

    def __len__(self) -> int:
        return self.table.num_rows


def select(
    name: str,
    dataset: str,
    where: str | Sequence[str],
    layout: Layout,
    cache: Path | None = None,
) -> Selection:
    """Compiles the samples of `dataset` for which all of `where` hold.

    Roles are found from what a sample has: the target is the member `target.*` or else its first
    picture, the content is the member `source.*` or the sample linked as content, the style is the
    sample linked as style.

    Args:
        name: the task's name in the mix.
        dataset: the dataset that holds the targets.
        where: SQL over the manifest's columns; of several expressions each is checked by itself.
        layout: the data folders.
        cache: folder for compiled selections; beside the manifests, or where that cannot be
            written, in the folder for temporary files.

    Raises:
        UserError: bad SQL, unknown dataset, nothing selected, a shard that is gone.
    """
    catalog = Catalog(layout)
    if dataset not in catalog.datasets:
        packed = ", ".join(catalog.datasets)
        raise UserError(f"the task {name} needs the dataset {dataset!r}; packed are {packed}")
    texts = [where] if isinstance(where, str) else list(where)
    checked = [catalog.condition(text) for text in texts]
    condition = " AND ".join(f"({text}\n)" for text in checked)
    identity = _identity(layout, catalog.datasets, dataset, condition)
    folder = make_folder(cache or _default_cache(layout))
    path = folder / f"{name}-{identity[:16]}.arrow"
    if not _is_whole(path):
        _compile(catalog, dataset, condition, path)
    table = pa.ipc.open_file(pa.memory_map(str(path))).read_all()
    facts = json.loads(table.schema.metadata[b"tessera"])
    lacking = tuple(facts["lacking"])
    if not table.num_rows and lacking:
        raise UserError(
            f"the task {name} finds all its {facts['dropped']} samples of {dataset} linked to "
            f"samples of {' and '.join(lacking)} that are not there: pack {' and '.join(lacking)}"
        )
    if not table.num_rows:
        raise UserError(f"the task {name} selects no sample of {dataset} where {describe(texts)}")
    shards = tuple(layout.shards / part for part in facts["shards"])
    for shard in shards:
        if not shard.is_file():
            raise UserError(
                f"the shard {shard} is gone: python -m toolkit.verify lists what is missing, "
                "the command that packed it makes it again"
            )
    roles = tuple(facts["roles"])
    return Selection(name, table, shards, roles, identity, facts["dropped"], lacking)


def describe(texts: Sequence[str]) -> str:
    """Several conditions as one text for people; those that always hold are left out."""
    telling = [text for text in texts if text.strip() not in ("", "true")]
    return " and ".join(telling) or "true"


def _is_whole(path: Path) -> bool:
    try:
        pa.ipc.open_file(pa.memory_map(str(path)))
    except (OSError, pa.ArrowInvalid):
        return False
    return True


def _default_cache(layout: Layout) -> Path:
    if os.access(layout.manifests, os.W_OK):
        return layout.manifests / ".selections"
    return Path(tempfile.gettempdir()) / f"tessera-selections-{getpass.getuser()}"


def _identity(layout: Layout, datasets: list[str], dataset: str, condition: str) -> str:
    linked = [name for name in read_card(layout, dataset)["parents"] if name in datasets]
    used = {name: root_sha256(layout, name) for name in sorted({dataset, *linked})}
    text = to_json([FORMAT_VERSION, dataset, condition, used])
    return hashlib.sha256(text.encode()).hexdigest()


def _compile(catalog: Catalog, dataset: str, condition: str, path: Path) -> None:
    import pyarrow.compute as pc

    raw = catalog.table(_sql(dataset, condition))
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


def _sql(dataset: str, condition: str) -> str:
    """One row per sample with the place of each role's picture; `lost_in` names the dataset in
    which a linked sample is missing."""
    extensions = "|".join(PICTURE_EXTENSIONS)
    return f"""
    WITH main AS (
      SELECT *, members[1].offset AS place,
             {_link("content")} AS content_link, {_link("style")} AS style_link,
             {_pictures(extensions)} AS pictures
      FROM samples WHERE dataset = '{dataset}' AND status = 'ok' AND ({condition}
      )
    ), linked AS (
      SELECT dataset, key, dataset || '/' || shard || '.tar' AS path,
             {_pictures(extensions)}[1] AS picture
      FROM samples WHERE status = 'ok'
    ), found AS (
      SELECT main.*, main.dataset || '/' || main.shard || '.tar' AS own_path,
             c.path AS c_path, c.picture AS c_picture, s.path AS s_path, s.picture AS s_picture,
             coalesce(list_filter(pictures, lambda m: starts_with(m.ext, 'target.'))[1],
                      pictures[1]) AS target,
             list_filter(pictures, lambda m: starts_with(m.ext, 'source.'))[1] AS source
      FROM main
      LEFT JOIN linked c ON c.dataset = content_link.dataset AND c.key = content_link.key
      LEFT JOIN linked s ON s.dataset = style_link.dataset AND s.key = style_link.key
    )
    SELECT key, split, coalesce(caption, '') AS caption, style,
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
