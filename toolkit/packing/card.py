"""dataset.json: derived from the manifests, written last, and thereby the sign of a whole pack."""

import hashlib
import json
from collections import Counter
from typing import Any

from toolkit.core.errors import UserError
from toolkit.core.files import sha256_of, write_atomic
from toolkit.measures.hashes import VARIANT
from toolkit.store.layout import Layout
from toolkit.store.manifest import (
    SCHEMA_VERSION,
    SHARD_SHA256,
    manifest_metadata,
    read_manifest,
)

# What of a source's description tells facts of its samples: splits, captions, styles, links.
_TOLD_BY = ("annotations", "lists", "meta", "metadata", "prompts", "split")


def refuse_other_data(layout: Layout, dataset: str, made_by: dict[str, Any]) -> None:
    """Raises UserError when a finished dataset of this name was made from other raw data, or with
    an option that is left away now, as --metadata, so that what it told would be lost."""
    try:
        old = json.loads(layout.card(dataset).read_text("utf-8"))["made_by"]
        differs = [name for name in ("kind", "part", "src") if old.get(name) != made_by.get(name)]
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return
    if differs:
        origin = " ".join(str(old[name]) for name in ("kind", "part", "src") if name in old)
        raise UserError(
            f"the dataset {dataset} holds other data ({origin}): choose another --name, or give "
            "--overwrite to replace it"
        )
    if gone := [name for name in _TOLD_BY if old.get(name) and not made_by.get(name)]:
        lost = ", ".join(f"{name} {old[name]}" for name in gone)
        raise UserError(
            f"the dataset {dataset} was packed with {lost}, which is left away now: give it again "
            "as then, or --overwrite to do without"
        )


def write_card(
    layout: Layout, dataset: str, made_by: dict[str, Any], notes: dict[str, int]
) -> None:
    """Counts, hashes and origin of a dataset. made_by: the source's description. notes: what it
    found besides inputs.

    root_sha256 covers the hashes of all tars and manifests, in shard order.
    """
    shards, root = [], hashlib.sha256()
    status: Counter[str] = Counter()
    parents: set[str] = set()
    for path in layout.manifests_of(dataset):
        rows = read_manifest(path)
        status.update(row["status"] for row in rows)
        parents.update(link["dataset"] for row in rows for link in row["links"] or ())
        tar = manifest_metadata(path)[SHARD_SHA256].decode()
        manifest = sha256_of(path)
        root.update(bytes.fromhex(tar) + bytes.fromhex(manifest))
        shards.append(
            {"name": path.stem, "sha256": tar, "manifest_sha256": manifest, "rows": len(rows)}
        )
    card = {
        "schema_version": SCHEMA_VERSION,
        "dataset": dataset,
        "counts": {"rows": status.total(), **dict(sorted(status.items()))},
        "root_sha256": root.hexdigest(),
        "shards": shards,
        "made_by": made_by,
        "notes": notes,
        "phash": VARIANT,
        "parents": sorted(parents),
    }
    write_atomic(layout.card(dataset), json.dumps(card, indent=1, sort_keys=True) + "\n")
