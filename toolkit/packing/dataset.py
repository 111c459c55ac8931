"""Packs a source as a dataset: shards over processes, resumed by shard, then dataset.json."""

import hashlib
import itertools
import json
import multiprocessing
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import (
    FIRST_COMPLETED,
    Executor,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
    as_completed,
    wait,
)
from dataclasses import dataclass
from typing import Any

from toolkit.core.errors import UserError
from toolkit.core.files import make_folder, write_atomic
from toolkit.core.progress import Progress
from toolkit.core.records import Ref, Source
from toolkit.measures.hashes import VARIANT
from toolkit.packing.shard import ShardSummary, fingerprint, make_shard
from toolkit.store.keys import check_dataset_name
from toolkit.store.layout import Layout
from toolkit.store.manifest import (
    FINGERPRINT,
    SCHEMA_VERSION,
    SHARD_SHA256,
    manifest_metadata,
    read_manifest,
)


@dataclass(frozen=True)
class PackResult:
    """What came of a pack. num_reused: shards that were there already and unchanged."""

    dataset: str
    num_ok: int
    num_failed: int
    causes: dict[str, int]
    num_shards: int
    num_reused: int


def pack(
    source: Source,
    dataset: str,
    layout: Layout,
    samples_per_shard: int,
    jobs: int = 1,
    limit: int | None = None,
) -> PackResult:
    """Packs every input of `source` and writes the dataset's card.

    Shard k holds exactly the inputs [k·n, (k+1)·n), failures included, so any number of processes
    gives the same bytes. A finished shard with the same fingerprint is kept.

    Args:
        source: the raw data.
        dataset: the name; folders of this name are made in both data folders.
        layout: the data folders.
        samples_per_shard: n, at least 1.
        jobs: processes.
        limit: pack only the first inputs, for a rehearsal.

    Raises:
        UserError: an unusable name, a folder that cannot be written, no input at all.
    """
    check_dataset_name(dataset)
    if samples_per_shard < 1 or jobs < 1:
        raise UserError("samples_per_shard and jobs are at least 1")
    for folder in (layout.shards, layout.manifests):
        make_folder(folder / dataset)
    layout.card(dataset).unlink(missing_ok=True)  # written last: its absence says "unfinished"
    description = {**source.describe(), "samples_per_shard": samples_per_shard}
    work = _slices(itertools.islice(source.index(), limit), samples_per_shard)
    reused, summaries = 0, []
    with Progress(None, f"pack {dataset}", "samples") as progress:
        for summary, fresh in _make(source, dataset, layout, description, work, jobs):
            summaries.append(summary)
            reused += not fresh
            progress.advance(summary.num_ok + summary.num_failed)
    if not summaries:
        raise UserError(f"nothing to pack as {dataset}: the source has no input")
    _remove_surplus(layout, dataset, len(summaries))
    _write_card(layout, dataset, description)
    causes: Counter[str] = Counter()
    for summary in summaries:
        causes.update(summary.causes)
    return PackResult(
        dataset,
        sum(s.num_ok for s in summaries),
        sum(s.num_failed for s in summaries),
        dict(sorted(causes.items())),
        len(summaries),
        reused,
    )


def _slices(refs: Iterator[Ref], size: int) -> Iterator[tuple[int, list[Ref]]]:
    for index in itertools.count():
        part = list(itertools.islice(refs, size))
        if not part:
            return
        yield index, part


def _make(
    source: Source,
    dataset: str,
    layout: Layout,
    description: dict[str, Any],
    work: Iterator[tuple[int, list[Ref]]],
    jobs: int,
) -> Iterator[tuple[ShardSummary, bool]]:
    """Yields (summary, freshly made) of every shard; at most 2·jobs slices are in flight."""
    running: set[Future[ShardSummary]] = set()
    with _workers(jobs) as pool:
        for index, refs in work:
            identity = fingerprint(dataset, description, refs)
            done = _finished(layout, dataset, index, identity)
            if done is not None:
                yield done, False
                continue
            running.add(pool.submit(make_shard, source, dataset, index, refs, layout, identity))
            while len(running) >= 2 * jobs:
                ready, running = wait(running, return_when=FIRST_COMPLETED)
                yield from ((future.result(), True) for future in ready)
        yield from ((future.result(), True) for future in as_completed(running))


def _workers(jobs: int) -> Executor:
    if jobs == 1:
        return ThreadPoolExecutor(1)
    # spawn: a fork would copy the locks of the threads of libraries loaded by the parent
    return ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn"))


def _finished(layout: Layout, dataset: str, index: int, identity: str) -> ShardSummary | None:
    path = layout.manifest(dataset, index)
    if not path.exists() or not layout.tar(dataset, index).exists():
        return None
    try:
        metadata = manifest_metadata(path)
    except UserError:
        return None
    if metadata.get(FINGERPRINT) != identity.encode():
        return None
    rows = read_manifest(path)
    causes = Counter(row["cause"] for row in rows if row["status"] != "ok")
    return ShardSummary(index, len(rows) - causes.total(), causes.total(), dict(causes))


def _remove_surplus(layout: Layout, dataset: str, num_shards: int) -> None:
    """Removes shards behind the last one, left by an earlier pack of more inputs."""
    for path in layout.manifests_of(dataset)[num_shards:]:
        path.unlink()
        layout.tar_named(dataset, path.stem).unlink(missing_ok=True)


def _write_card(layout: Layout, dataset: str, description: dict[str, Any]) -> None:
    """dataset.json: derived from the manifests and written last."""
    shards, root = [], hashlib.sha256()
    status: Counter[str] = Counter()
    parents: set[str] = set()
    for path in layout.manifests_of(dataset):
        metadata = manifest_metadata(path)
        rows = read_manifest(path)
        status.update(row["status"] for row in rows)
        parents.update(link["dataset"] for row in rows for link in row["links"] or ())
        digest = metadata[SHARD_SHA256].decode()
        root.update(bytes.fromhex(digest))
        shards.append({"name": path.stem, "sha256": digest, "rows": len(rows)})
    card = {
        "schema_version": SCHEMA_VERSION,
        "dataset": dataset,
        "counts": {"rows": status.total(), **dict(sorted(status.items()))},
        "root_sha256": root.hexdigest(),
        "shards": shards,
        "made_by": description,
        "phash": VARIANT,
        "parents": sorted(parents),
    }
    write_atomic(layout.card(dataset), json.dumps(card, indent=1, sort_keys=True) + "\n")
