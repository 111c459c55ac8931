"""Shows what streaming a selection will cost before a run.

python -m toolkit.plan "style='Impressionism'" --mix=main:3,fill50k:1 --batch_size=16
"""

import os
from pathlib import Path
from typing import Any, Literal

from toolkit.core import log
from toolkit.core.command import run
from toolkit.core.errors import UserError
from toolkit.core.show import show
from toolkit.store.mirror import open_layout

Format = Literal["table", "json", "csv"]
_TOLD = 8  # shapes


def main(
    where: str = "true",
    *,
    mix: str = "main:3,fill50k:1",
    main: str = "teacher",
    split: str = "train",
    batch_size: int = 16,
    seed: int = 0,
    block: tuple[int, ...] = (1, 8, 64, 512),
    roles: tuple[str, ...] = (),
    buckets: tuple[int, ...] = (),
    format: Format = "table",
    shards: Path = Path("shards"),
    manifests: Path = Path("manifests"),
) -> None:
    """Requests, bytes, memory and shuffle of a stream, for several sizes of shuffled blocks.

    The column shuffle is 1 where batches are drawn from everywhere, 0 where they are neighbours.

    Args:
        where: SQL condition on the samples of main, or of the first task without one.
        mix: tasks and their weights, as --data.mix of a run.
        main: the dataset of the task main.
        split: the samples of this split.
        batch_size: samples in a global batch.
        seed: of the order.
        block: samples that stay together when they are shuffled; several are compared. A
            block of more samples than a task has is a full shuffle of it.
        roles: the pictures that are read, target, content, style; all by default.
        buckets: multiple, size and least of batches of one shape each, as 32,1024,768; see
            --data.buckets of a run.
        format: table, json or csv.
        shards: folder or URL of the tars.
        manifests: folder or URL of the manifests.
    """
    from toolkit.stream.buckets import BucketIndex
    from toolkit.stream.cost import cost_of
    from toolkit.stream.lookup import Lookup
    from toolkit.stream.tasks import tasks_of

    if batch_size < 1:
        raise UserError(f"--batch_size={batch_size}: takes 1 or more")
    weights, selections = tasks_of(mix, main, where, split, open_layout(shards, manifests))
    shapes = _buckets(buckets)
    costs = [
        cost_of(selections, weights, batch_size, seed, size, roles or None, shapes)
        for size in block
    ]
    rows = [
        (
            cost.block, round(cost.requests, 1), round(cost.request_bytes / 1e3, 1),
            round(cost.requests * cost.request_bytes / 1e6, 2), f"{cost.used:.0%}",
            round(cost.shards, 1), round(cost.shuffle, 2),
        )
        for cost in costs
    ]  # fmt: skip
    names = ("block", "requests_per_batch", "kilobytes_per_request", "megabytes_per_batch", "used",
             "tars_per_batch", "shuffle")  # fmt: skip
    show(names, rows, format)
    lookup = Lookup(selections, roles or None)
    per_source = zip(selections, weights.values(), lookup.num_bytes(), strict=True)
    window, total = sum(weights.values()), 0
    note = print if format == "table" else log.note
    if format == "table":
        print()
    for selection, weight, size in per_source:
        total += size
        batches = len(selection) / (batch_size * weight / window)
        if shapes:
            index = BucketIndex(selection, shapes)
            batches = int((-(-index.counts // batch_size)).sum()) / (weight / window)
            note(_shapes_told(selection.name, index))
        note(
            f"{selection.name}: {len(selection)} samples, {size / 1e6:.1f} MB of pictures in "
            f"{len(selection.shards)} tars, an epoch in {batches:.1f} batches"
        )
    note(f"{total / 1e6:.1f} MB in all: {_fits(total)}")


def _buckets(given: tuple[int, ...]) -> Any:
    """Raises UserError for anything but three numbers in their ranges."""
    from toolkit.stream.buckets import Buckets

    if not given:
        return None
    if len(given) != 3:
        raise UserError(f"--buckets={','.join(map(str, given))}: takes multiple,size,least")
    return Buckets(*given)


def _shapes_told(name: str, index: Any) -> str:
    """The most frequent shapes of a source."""
    most = sorted(zip(index.counts.tolist(), index.shapes, strict=True), reverse=True)
    told = ", ".join(f"{width}×{height} ({count})" for count, (height, width) in most[:_TOLD])
    rest = f", and {len(most) - _TOLD} more" if len(most) > _TOLD else ""
    return f"shapes of {name}: {told or 'none'}{rest}; {index.num_left_out} samples are too small"


def _fits(total: int) -> str:
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for line in _lines("/proc/meminfo"):  # what the system can take back counts as free
        if line.startswith("MemAvailable:"):
            free = int(line.split()[1]) * 1024
    if total <= free:
        return f"they stay in memory after the first epoch ({free / 1e9:.1f} GB available)"
    return (
        f"more than the {free / 1e9:.1f} GB of memory available, so each epoch reads the disk: "
        "where that is slow, take larger blocks with train.run --data.shuffle_block"
    )


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []


if __name__ == "__main__":
    run(main, "python -m toolkit.plan")
