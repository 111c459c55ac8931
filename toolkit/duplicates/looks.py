"""What a look at the pictures themselves tells: the hash of a mirrored one, and whether it is
flat."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import pyarrow as pa

from toolkit.core.interrupts import OneInterrupt
from toolkit.core.progress import Progress
from toolkit.measures.hashes import perceptual_hash
from toolkit.packing.workers import results, workers
from toolkit.store.images import PictureError, picture_extension, reduced_grey
from toolkit.store.layout import Layout
from toolkit.store.manifest import SHARD_SHA256, manifest_metadata, read_manifest
from toolkit.store.samples import read_member
from toolkit.store.sidecar import sidecar_path, write_columns

FLIPPED = "flipped"
"""Sidecar of the hashes of mirrored pictures, `phash_flipped`."""


def is_flat(grey: np.ndarray, least: float) -> bool:
    """Whether grey levels, uint8 [h,w], deviate by less than `least` of their range: then a hash
    says nothing of the picture."""
    return bool(grey.std() / 255 < least)


def flat_rows(layout: Layout, pictures: pa.Table, rows: np.ndarray, least: float) -> np.ndarray:
    """Which of some rows are flat pictures: bool [len(rows)]. pictures: with `dataset, shard,
    picture`."""
    chosen = pictures.select(["dataset", "shard", "picture"]).take(pa.array(rows)).to_pylist()

    def look(row: dict[str, object]) -> bool:
        try:
            return is_flat(reduced_grey(read_member(layout, row, row["picture"])), least)  # type: ignore[arg-type]
        except PictureError:  # was packed unseen
            return False

    with (
        Progress(len(chosen), "flat pictures", "pictures") as progress,
        ThreadPoolExecutor(os.cpu_count()) as pool,
    ):
        found = []
        for answer in pool.map(look, chosen):
            found.append(answer)
            progress.advance()
    return np.array(found, bool)


def hash_flipped(layout: Layout, datasets: Sequence[str], jobs: int) -> int:
    """Writes the sidecars of mirrored pictures that are not there yet or stale, one a shard.
    Returns the number of pictures that were looked at."""
    todo = [
        partial(_hash_shard, layout, dataset, path.stem)
        for dataset in datasets
        for path in layout.manifests_of(dataset)
        if not _is_current(layout, dataset, path.stem)
    ]
    if not todo:
        return 0
    calls: list[Callable[[], int]] = list(todo)
    count = 0
    with (
        Progress(len(calls), "mirrored pictures", "shards") as progress,
        OneInterrupt().caught() as interrupt,
        workers(min(jobs, len(calls))) as crew,
    ):
        for number in results(crew, iter(calls), 2 * jobs, interrupt):
            count += number
            progress.advance()
    return count


def _is_current(layout: Layout, dataset: str, stem: str) -> bool:
    path = sidecar_path(layout, dataset, stem, FLIPPED)
    if not path.is_file():
        return False
    made_from = manifest_metadata(path).get(SHARD_SHA256)
    return made_from == manifest_metadata(layout.manifest_named(dataset, stem))[SHARD_SHA256]


def _hash_shard(layout: Layout, dataset: str, stem: str) -> int:
    values = {}
    for row in read_manifest(layout.manifest_named(dataset, stem)):
        first = next((m for m in row["members"] or () if picture_extension(m["ext"])), None)
        if row["phash"] is None or first is None:
            continue
        grey = reduced_grey(read_member(layout, row, first))
        mirrored = np.ascontiguousarray(grey[:, ::-1])
        values[row["key"]] = {"phash_flipped": perceptual_hash(mirrored)}
    kinds = {"phash_flipped": pa.int64()}
    write_columns(layout, dataset, stem, FLIPPED, values, kinds)
    return len(values)
