"""Packs raw pictures into shards with manifests.

Without arguments it makes the built-in sample data and packs it as the datasets `content`,
`wikiart`, `fill50k` and `teacher`; with a source it packs one dataset from your files.
"""

import os
import resource
import time
from pathlib import Path
from typing import Literal

from toolkit.core.command import run
from toolkit.core.errors import UserError
from toolkit.packing.dataset import PackResult, pack
from toolkit.packing.foreign import index_in_place
from toolkit.sources import open_source, source_kinds, source_options
from toolkit.sources.webdataset import WebDataset
from toolkit.store.ingest import parse_policy
from toolkit.store.layout import Layout

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
    limit: int | None = None,
    check: Literal["full", "headers"] = "full",
    reencode: str | None = None,
    raw: Path | None = None,
    **options: str,
) -> None:
    """Packs pictures into tar shards with Parquet manifests.

    Without SOURCE: makes the sample data and packs it as content, wikiart, fill50k and teacher.
    With SOURCE: packs --src as one dataset. An interrupted pack goes on where it stopped.
    SOURCE --help lists the options of a source.

    Args:
        source: the kind of raw data, for example folder; none for the sample data.
        src: where the raw data lies.
        name: the dataset's name; the last part of --src otherwise.
        shards: folder for the tars.
        manifests: folder for the manifests.
        samples_per_shard: inputs in one tar; 1000, and 64 for the sample data.
        jobs: processes; as many as there are cores otherwise.
        limit: pack only so many inputs, as NAME-rehearsal.
        check: full decodes every picture; headers only reads their headers and leaves phash empty.
        reencode: SIZE or SIZE:QUALITY: shrink each picture's shorter side to SIZE pixels and store
            it as JPEG of that quality, 95 otherwise.
        raw: also write the sample data as loose files below this folder.
    """
    layout, start = Layout(shards, manifests), time.monotonic()
    jobs = (os.cpu_count() or 1) if jobs is None else jobs
    if source in (None, "sample"):
        if src is not None:
            raise UserError(
                f"say what {src} holds: python -m toolkit.pack SOURCE --src={src}, "
                f"SOURCE one of {', '.join(source_kinds())}"
            )
        if name is not None or limit is not None or reencode is not None or check != "full":
            raise UserError("--name, --limit, --check and --reencode go with a SOURCE")
        size = SAMPLE_SAMPLES_PER_SHARD if samples_per_shard is None else samples_per_shard
        results = pack_sample(layout, jobs, size)
    else:
        if raw is not None:
            raise UserError("--raw goes with the sample data: leave SOURCE away")
        opened = open_source(source, {"src": src, **options})
        dataset = name or (_name_of(src) if src else source)
        size = SAMPLES_PER_SHARD if samples_per_shard is None else samples_per_shard
        foreign = opened if isinstance(opened, WebDataset) and not opened.repack else None
        if foreign and (limit is not None or samples_per_shard is not None):
            raise UserError("--limit and --samples_per_shard go with --repack: tars stay whole")
        if limit is not None:
            dataset += "-rehearsal"  # so that it touches nothing that is there
        policy = parse_policy(check, reencode)
        if foreign:
            results = [index_in_place(foreign, dataset, layout, jobs, policy)]
        else:
            results = [pack(opened, dataset, layout, size, jobs, limit, policy)]
    _print_table(results)
    _print_cost(sum(r.num_ok + r.num_failed for r in results), time.monotonic() - start)
    if raw is not None:
        from toolkit.packing.raw import write_raw

        print(f"{write_raw(layout, raw)} samples as loose files in {raw}")
    if not any(result.num_ok for result in results):
        raise UserError("no input could be packed: the table above names the causes")


def _name_of(src: Path) -> str:
    name = src.resolve().name.lower()
    return name.partition(".")[0] if src.is_file() else name


def pack_sample(layout: Layout, jobs: int, samples_per_shard: int) -> list[PackResult]:
    """Makes and packs the four sample datasets; `teacher` reads the first two from their shards."""
    from toolkit.sources.sample import PARTS, Sample

    return [pack(Sample(part, layout), part, layout, samples_per_shard, jobs) for part in PARTS]


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


def _source_options(positional: list[str]) -> tuple[str, dict[str, str]]:
    kind = positional[0] if positional else "sample"
    if kind == "sample":  # built in: takes its parts from nobody
        return f"SOURCE is one of {', '.join(k for k in source_kinds() if k != 'sample')}", {}
    return f"options of {kind}:", source_options(kind)


if __name__ == "__main__":
    run(main, "python -m toolkit.pack", fields=_source_options)
