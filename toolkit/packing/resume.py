"""What an earlier pack left behind: which shards still hold, and what must go."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from toolkit.core.errors import UserError
from toolkit.core.files import sha256_of, write_atomic
from toolkit.packing.plan import Input
from toolkit.packing.shard import ShardSummary
from toolkit.store.layout import Layout
from toolkit.store.manifest import FINGERPRINT, SHARD_SHA256, manifest_metadata, read_manifest


def finished_shard(
    layout: Layout, dataset: str, index: int, identity: str, inputs: Sequence[Input]
) -> ShardSummary | None:
    """The summary of a shard that is there, whole, and made from just these inputs; else None."""
    path, tar = layout.manifest(dataset, index), layout.tar(dataset, index)
    if not path.exists() or not tar.exists():
        return None
    try:
        metadata, rows = manifest_metadata(path), read_manifest(path)
    except UserError:
        return None
    stamps = _stamps_path(layout, dataset, index)
    unchanged = not stamps.exists() or stamps.read_text("utf-8") == _stamps(inputs)
    if metadata.get(FINGERPRINT) != identity.encode() or not unchanged:
        return None
    if metadata.get(SHARD_SHA256) != sha256_of(tar).encode():
        return None
    causes = Counter(row["cause"] for row in rows if row["status"] != "ok")
    return ShardSummary(index, len(rows) - causes.total(), causes.total(), dict(causes))


def remember_inputs(layout: Layout, dataset: str, index: int, inputs: Sequence[Input]) -> None:
    """Notes sizes and times of a shard's inputs, so that a changed file is packed anew.

    They stand in a hidden file beside the manifest, not in it: manifests must not depend on when
    and where files were copied.
    """
    path = _stamps_path(layout, dataset, index)
    if any(item.ref.stamp for item in inputs):
        path.parent.mkdir(exist_ok=True)
        write_atomic(path, _stamps(inputs))
    else:
        path.unlink(missing_ok=True)


def origin_path(layout: Layout, dataset: str) -> Path:
    """The file that tells from which folder a dataset was packed last; hidden, since manifests must
    not depend on it."""
    return layout.manifests / dataset / ".inputs" / "origin"


def remove_surplus(layout: Layout, dataset: str, num_shards: int) -> None:
    """Removes what an earlier pack of more inputs, or a killed one, left behind the last shard."""
    wanted = {layout.manifest(dataset, index).stem for index in range(num_shards)}
    kinds = ((layout.manifests, "parquet"), (layout.shards, "tar"))
    for folder, ending in kinds:
        for path in (folder / dataset).glob(f"{dataset}-??????.{ending}"):
            if path.stem not in wanted:
                path.unlink()
    for path in (layout.manifests / dataset / ".inputs").glob("*.sha256"):
        if path.stem not in wanted:
            path.unlink()


def _stamps_path(layout: Layout, dataset: str, index: int) -> Path:
    path = layout.manifest(dataset, index)
    return path.parent / ".inputs" / f"{path.stem}.sha256"


def _stamps(inputs: Sequence[Input]) -> str:
    return hashlib.sha256("\n".join(item.ref.stamp for item in inputs).encode()).hexdigest()
