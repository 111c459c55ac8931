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
from typing import Any

import pyarrow as pa

from toolkit.core.errors import UserError
from toolkit.core.files import make_folder
from toolkit.core.nearest import or_nearest
from toolkit.store.attached import attached_sha256
from toolkit.store.card import read_card, root_sha256
from toolkit.store.catalog import Catalog
from toolkit.store.compile import compile_table
from toolkit.store.layout import Layout
from toolkit.store.manifest import to_json

FORMAT_VERSION = 6


@dataclass(frozen=True)
class Selection:
    """The samples of one task.

    table: one row per sample: key, split, caption, style, artist, weight, width, height, and per
        role its shard (an index into `shards`, -1 where the sample lacks the role), key, and offset
        and size in bytes.
    shards: paths of the tars.
    roles: the roles that at least one sample has.
    fingerprint: of the query and of the data it ran over; equal ones select equal bytes.
    num_dropped: samples left out because a linked sample is missing.
    lacking: the datasets that those were linked to.
    protocols: the ways in which its pictures were made, where they were generated.
    file: the compiled table. layout: the data folders.
    """

    name: str
    table: pa.Table
    shards: tuple[Path, ...]
    roles: tuple[str, ...]
    fingerprint: str
    num_dropped: int
    lacking: tuple[str, ...]
    protocols: tuple[str, ...]
    file: Path
    layout: Layout

    def __len__(self) -> int:
        return self.table.num_rows

    def __reduce__(self) -> tuple[Any, ...]:
        """Another process maps the file again instead of getting a copy of the table."""
        return open_selection, (self.name, self.file, self.layout, self.fingerprint)


def open_selection(name: str, file: Path, layout: Layout, fingerprint: str) -> Selection:
    """A compiled selection of samples that lie in `layout`, mapped into memory."""
    table = pa.ipc.open_file(pa.memory_map(str(file))).read_all()
    facts = json.loads(table.schema.metadata[b"tessera"])
    return Selection(
        name=name,
        table=table,
        shards=tuple(layout.shards / part for part in facts["shards"]),
        roles=tuple(facts["roles"]),
        fingerprint=fingerprint,
        num_dropped=facts["dropped"],
        lacking=tuple(facts["lacking"]),
        protocols=tuple(facts["protocols"]),
        file=file,
        layout=layout,
    )


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
        hint = ": name another with --main=, or --data.main= of a run" if name == "main" else ""
        hint += or_nearest(dataset, catalog.datasets)
        raise UserError(
            f"the task {name} needs the dataset {dataset!r}; packed are "
            f"{', '.join(catalog.datasets)}{hint}"
        )
    texts = [where] if isinstance(where, str) else list(where)
    checked = [catalog.condition(text) for text in texts]
    condition = " AND ".join(f"({text}\n)" for text in checked)
    linked = [p for p in read_card(layout, dataset)["parents"] if p in catalog.datasets]
    identity = _identity(catalog, linked, dataset, condition)
    folder = make_folder(cache or selections_folder(layout))
    path = folder / f"{name}-{identity[:16]}.arrow"
    if not _is_whole(path):
        compile_table(catalog, dataset, linked, condition, path)
    found = open_selection(name, path, layout, identity)
    if not len(found) and found.lacking:
        lacking = " and ".join(found.lacking)
        raise UserError(
            f"the task {name} finds all its {found.num_dropped} samples of {dataset} linked to "
            f"samples of {lacking} that are not there: pack {lacking}"
        )
    if not len(found):
        raise UserError("; ".join([
            f"the task {name} selects no sample of {dataset} where {describe(texts)}",
            *(hint for text in checked for hint in catalog.misspelt(text)),
        ]))  # fmt: skip
    for shard in found.shards:
        if not shard.is_file():
            raise UserError(
                f"the shard {shard} is gone: python -m toolkit.verify lists what is missing, "
                "the command that packed it makes it again"
            )
    return found


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


def selections_folder(layout: Layout) -> Path:
    """Where compiled selections are kept unless somebody says otherwise."""
    if os.access(layout.manifests, os.W_OK):
        return layout.manifests / ".selections"
    return Path(tempfile.gettempdir()) / f"tessera-selections-{getpass.getuser()}"


def _identity(catalog: Catalog, linked: list[str], dataset: str, condition: str) -> str:
    used = {name: root_sha256(catalog.layout, name) for name in sorted({dataset, *linked})}
    sidecars = attached_sha256(catalog.attached)
    text = to_json([FORMAT_VERSION, dataset, condition, used, *([sidecars] if sidecars else [])])
    return hashlib.sha256(text.encode()).hexdigest()
