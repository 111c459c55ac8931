"""Packs raw pictures into shards with manifests.

Without arguments it makes the built-in sample data and packs it as the datasets `content`,
`wikiart`, `fill50k` and `teacher`; with a source it packs one dataset from your files.
"""

import os
import re
import resource
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from toolkit.core.command import run
from toolkit.core.errors import UserError
from toolkit.packing.dataset import pack
from toolkit.packing.foreign import index_in_place
from toolkit.packing.project import find_parts
from toolkit.packing.workers import Pool, workers
from toolkit.packing.write import PackResult
from toolkit.sources import open_source, source_kinds, source_options
from toolkit.sources.webdataset import WebDataset
from toolkit.store.catalog import REHEARSAL
from toolkit.store.ingest import Policy, parse_policy
from toolkit.store.layout import Layout, local_layout

SAMPLE_SAMPLES_PER_SHARD = 64
SAMPLES_PER_SHARD = 1000


def main(
    source: str | None = None,
    *,
    src: Path | None = None,
    name: str | None = None,
    shards: Path = Path("shards"),
    manifests: Path = Path("manifests"),
    samples_per_shard: int | None = None,
    jobs: int | None = None,
    engine: Literal["local", "ray"] = "local",
    limit: int | None = None,
    check: Literal["full", "headers"] = "full",
    reencode: str | None = None,
    root: Path | None = None,
    overwrite: bool = False,
    raw: Path | None = None,
    **options: str,
) -> None:
    """Packs pictures into tar shards with Parquet manifests.

    Without SOURCE: makes the sample data and packs it as content, wikiart, fill50k and teacher.
    With SOURCE: packs --src as one dataset. An interrupted pack goes on where it stopped.
    SOURCE --help lists the options of a source. With --root: packs a whole project folder.

    Args:
        source: the kind of raw data, for example folder; none for the sample data.
        src: where the raw data lies.
        name: the dataset's name; the last part of --src otherwise.
        shards: folder for the tars.
        manifests: folder for the manifests.
        samples_per_shard: inputs in one tar; 1000, and 64 for the sample data.
        jobs: processes; as many as there are cores otherwise.
        engine: local processes, or those of a Ray cluster whose machines see the same folders; the
            bytes are the same.
        limit: pack only so many inputs, as NAME-rehearsal.
        check: full decodes every picture; headers only reads their headers and leaves phash empty.
        reencode: SIZE or SIZE:QUALITY: shrink each picture's shorter side to SIZE pixels and store
            it as JPEG of that quality, 95 otherwise.
        root: instead of SOURCE: pack what is there of data/coco, data/wikiart, data/teacher_out,
            dataset_cocostuff and dataset_fill50k below this folder.
        overwrite: replace a dataset of the same name that was packed from other data.
        raw: also write the sample data as loose files below this folder.
    """
    layout, start = local_layout(shards, manifests), time.monotonic()
    policy, (jobs, pool) = parse_policy(check, reencode), _crew(engine, jobs)
    how = _How(jobs, samples_per_shard, limit, policy, overwrite, pool)
    try:
        results = _results(source, src, name, root, raw, options, layout, how)
    except KeyboardInterrupt:
        raise KeyboardInterrupt("the same command goes on where it stopped") from None
    _print_table(results)
    _print_cost(sum(r.num_ok + r.num_failed for r in results), time.monotonic() - start)
    if raw is not None:
        from toolkit.packing.raw import write_raw

        print(f"{write_raw(layout, raw)} samples as loose files in {raw}")
    if not any(result.num_ok for result in results):
        raise UserError("no input could be packed: the table above names the causes")


def _results(
    source: str | None,
    src: Path | None,
    name: str | None,
    root: Path | None,
    raw: Path | None,
    options: dict[str, str],
    layout: Layout,
    how: "_How",
) -> list[PackResult]:
    """Packs what the flags ask for."""
    if root is not None:
        if source is not None or src is not None or name is not None or options:
            raise UserError("--root finds everything by itself: leave SOURCE, --src, --name away")
        parts = find_parts(root)
        return [_pack_one(p.kind, p.options, p.dataset, layout, how) for p in parts]
    if source in (None, "sample"):
        if src is not None:
            raise UserError(
                f"say what {src} holds: python -m toolkit.pack SOURCE --src={src}, "
                f"SOURCE one of {', '.join(source_kinds())}"
            )
        if name is not None or how.limit is not None or how.policy != Policy() or how.overwrite:
            raise UserError("--name, --limit, --check, --reencode, --overwrite go with a SOURCE")
        size = how.samples_per_shard or SAMPLE_SAMPLES_PER_SHARD
        return pack_sample(layout, how.jobs, size, how.pool)
    if raw is not None:
        raise UserError("--raw goes with the sample data: leave SOURCE away")
    dataset = name or (_name_of(src) if src else source)
    given = options if src is None else {"src": src, **options}
    return [_pack_one(source, given, dataset, layout, how)]


@dataclass(frozen=True)
class _How:
    """Flags that hold for every source."""

    jobs: int
    samples_per_shard: int | None
    limit: int | None
    policy: Policy
    overwrite: bool
    pool: Pool


def _crew(engine: str, jobs: int | None) -> tuple[int, Pool]:
    """How many shards are made at once, and by whom. Raises UserError without a cluster."""
    if engine == "local":
        return (os.cpu_count() or 1) if jobs is None else jobs, workers
    from toolkit.cluster.connection import connect, cores
    from toolkit.cluster.pool import on_ray

    return jobs or cores(connect()), on_ray


def _pack_one(
    kind: str, options: dict[str, Any], dataset: str, layout: Layout, how: _How
) -> PackResult:
    if "keep_splits" in source_options(kind) and layout.manifests_of(dataset):
        # additions to a packed dataset must move nobody
        options = {"keep_splits": layout.manifests / dataset, **options}
    opened = open_source(kind, options)
    if isinstance(opened, WebDataset) and not opened.repack:
        if how.limit is not None or how.samples_per_shard is not None:
            raise UserError("--limit and --samples_per_shard go with --repack: tars stay whole")
        return index_in_place(
            opened, dataset, layout, how.jobs, how.policy, how.overwrite, how.pool
        )
    if how.limit is not None:
        dataset += REHEARSAL  # so that it touches nothing that is there
    size = SAMPLES_PER_SHARD if how.samples_per_shard is None else how.samples_per_shard
    return pack(
        opened, dataset, layout, size, how.jobs, how.limit, how.policy, how.overwrite, how.pool
    )


def _name_of(src: Path) -> str:
    """The last part of a path as a dataset's name."""
    name = src.resolve().name.lower()
    name = name.partition(".")[0] if src.is_file() else name
    return re.sub(r"[^a-z0-9_-]+", "_", name).strip("_-")[:64] or "data"


def pack_sample(
    layout: Layout, jobs: int, samples_per_shard: int, pool: Pool = workers
) -> list[PackResult]:
    """Makes and packs the four sample datasets; `teacher` reads the first two from their shards."""
    from toolkit.sources.sample import PARTS, Sample

    return [
        pack(Sample(part, layout), part, layout, samples_per_shard, jobs, pool=pool)
        for part in PARTS
    ]


def _print_table(results: list[PackResult]) -> None:
    print(f"{'dataset':<16} {'packed':>8} {'failed':>8} {'shards':>8} {'kept':>6}")
    for r in results:
        print(
            f"{r.dataset:<16} {r.num_ok:>8} {r.num_failed:>8} {r.num_shards:>8} {r.num_reused:>6}"
        )
        for cause, count in r.causes.items():
            print(f"  failed, {cause}: {count}")
        for note, count in r.notes.items():
            print(f"  {note}: {count}")


def _print_cost(num_inputs: int, spent_s: float) -> None:
    """Time and memory, so that a rehearsal tells what the whole would take."""
    kinds = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    peak = max(resource.getrusage(kind).ru_maxrss for kind in kinds) * 1024
    print(
        f"{num_inputs} inputs in {spent_s:.1f} s, {num_inputs / spent_s:.1f} inputs/s; "
        f"largest process {peak / 1e6:.0f} MB"
    )


def _source_options(positional: list[str], _: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    kind = positional[0] if positional else "sample"
    if kind == "sample":  # built in: takes its parts from nobody
        return f"SOURCE is one of {', '.join(k for k in source_kinds() if k != 'sample')}", {}
    return f"options of {kind}:", source_options(kind)


def _values(_: list[str], __: Mapping[str, str]) -> dict[str, list[str]]:
    return {"source": source_kinds()}


if __name__ == "__main__":
    run(main, "python -m toolkit.pack", fields=_source_options, values=_values)
