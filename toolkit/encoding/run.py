"""Encodes shard after shard and writes their sidecars; what is there already stays."""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import torch

from toolkit.core.errors import UserError
from toolkit.core.files import held, make_folder
from toolkit.core.memory import LIMIT, MemoryWatch, watched
from toolkit.core.progress import Progress
from toolkit.encoders.device import memory_of
from toolkit.encoding.inputs import (
    AHEAD,
    Inputs,
    Item,
    Pace,
    PictureReader,
    ahead,
    batches,
    caption_of,
    pictures_of,
)
from toolkit.encoding.plan import ShardTask, refuse_other, shards_of, tasks
from toolkit.encoding.views import Views
from toolkit.store.catalog import Catalog
from toolkit.store.sidecar import sidecar_path
from toolkit.store.tensors import (
    FLIPPED,
    Encoded,
    Recipe,
    Tensor,
    recipe_path,
    tensors_path,
    write_empty,
    write_recipe,
    write_tensors,
)

Encode = Callable[[Any], list[dict[str, np.ndarray]]]


@dataclass(frozen=True)
class Job:
    """What is to be encoded. name: of the sidecar; condition: checked SQL; encode: a batch to one
    dictionary of arrays for each of its items; reads: picture or caption; size, fit: of pictures;
    workers: threads that decode; rank, world: this process among all that share the work;
    overwrite: whether a sidecar that was made in another way is replaced; empty: what the empty
    caption is encoded as, by output; memory_limit: share of memory above which there is pressure;
    device: the encoder's, whose memory counts too; views: what is cut out of pictures besides.
    """

    name: str
    recipe: Recipe
    condition: str
    reads: str
    encode: Encode
    batch_size: int
    size: int = 0
    fit: Any = "crop"
    workers: int = 2
    rank: int = 0
    world: int = 1
    overwrite: bool = False
    empty: Mapping[str, np.ndarray] = field(default_factory=dict)
    memory_limit: float = LIMIT
    device: str = "cpu"
    views: Views = Views()  # noqa: RUF009 - frozen


@dataclass
class Summary:
    """What came of it. num_encoded: samples; num_kept: those that were there; causes: of those that
    could not be encoded."""

    num_encoded: int = 0
    num_kept: int = 0
    num_shards: int = 0
    causes: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0


def encode(catalog: Catalog, job: Job) -> Summary:
    """Writes the sidecar of each shard in which the condition holds somewhere.

    Raises UserError: nothing to encode, a sidecar of that name made in another way, another process
    at work, a shard that is damaged or cannot be read.
    """
    layout, summary = catalog.layout, Summary()
    shards = shards_of(catalog, job.condition)
    datasets = sorted({dataset for dataset, _, _ in shards})
    if not job.overwrite:  # before anything is written
        refuse_other(layout, datasets, job.name, job.recipe)
    mine = shards[job.rank :: job.world]
    start = time.monotonic()
    with ExitStack() as stack:
        for dataset in datasets:
            folder = make_folder(recipe_path(layout, dataset, job.name).parent)
            lock = folder / f".encode-{job.rank}.lock"
            lock.touch()
            stack.enter_context(held(lock, f"another process encodes {job.name} of {dataset}"))
        if not job.overwrite:  # again: another process may have written it meanwhile
            refuse_other(layout, datasets, job.name, job.recipe)
        for dataset in datasets:
            write_recipe(layout, dataset, job.name, job.recipe)
            write_empty(layout, dataset, job.name, job.empty)
        progress = stack.enter_context(
            Progress(sum(count for *_, count in mine), f"encode {job.name}", "samples")
        )

        def todo() -> Iterator[ShardTask]:
            for task in tasks(catalog, job.condition, mine, job.name, job.recipe.sha256):
                if isinstance(task, int):
                    summary.num_kept += task
                    progress.advance(task)
                else:
                    yield task

        for task, inputs in groupby(inputs_of(catalog, job, todo()), lambda made: made.task):
            remove_leftovers(layout, task, job.name)
            samples = encoded_samples(task, inputs, job)
            samples = counted(samples, task, summary, progress)
            write_tensors(layout, task.dataset, task.stem, job.name, job.recipe.sha256, samples)
            summary.num_shards += 1
    summary.seconds = time.monotonic() - start
    return summary


def encoded_samples(task: ShardTask, inputs: Iterator[Inputs], job: Job) -> Iterator[Encoded]:
    """One for each row of the shard's manifest, from batches of what is wanted of it."""
    views = job.views.count
    items_of = partial(pictures_of, num_views=views) if job.reads == "picture" else caption_of
    results = (
        (item, tensors, made.problems.get(item.key))
        for made in inputs
        for item, tensors in zip(made.items, job.encode(made.values), strict=True)
    )
    for row in task.rows:
        if row["status"] != "ok" or row["key"] not in task.wanted:
            yield Encoded(row["key"])
            continue
        found = [next(results) for _ in items_of(row)]
        pictures = tuple(dict.fromkeys(item.picture for item, *_ in found))
        made = ((name, a) for _, arrays, _ in found for name, a in arrays.items())
        problem = next((p for _, _, p in found if p), None) or not_finite(made)
        if problem:
            yield Encoded(row["key"], pictures, (), *problem)
            continue
        tensors = [
            _tensor(item, name, a) for item, arrays, _ in found for name, a in arrays.items()
        ]
        yield Encoded(row["key"], pictures, tuple(tensors))


def encode_pictures(encoder: Any, outputs: Sequence[str], dtype: str, flip: bool) -> Encode:
    """A function for `Job.encode` of uint8 [N,3,S,S]. flip: encodes mirrored pictures as well."""

    def encode_batch(values: np.ndarray) -> list[dict[str, np.ndarray]]:
        pixels = torch.from_numpy(values)
        found = _chosen(encoder.encode(pixels), outputs)
        if flip:
            mirrored = _chosen(encoder.encode(pixels.flip(-1)), outputs)
            found |= {name + FLIPPED: values for name, values in mirrored.items()}
        arrays = {name: stored(values, dtype) for name, values in found.items()}
        return [{name: a[i] for name, a in arrays.items()} for i in range(len(pixels))]

    return encode_batch


def encode_captions(encoder: Any, outputs: Sequence[str], dtype: str) -> Encode:
    """A function for `Job.encode` of texts."""

    def encode_batch(texts: Sequence[str]) -> list[dict[str, np.ndarray]]:
        found = _chosen(encoder.encode(texts), outputs)
        return [
            {name: stored(values[i], dtype) for name, values in found.items()}
            for i in range(len(texts))
        ]

    return encode_batch


def stored(values: torch.Tensor, dtype: str) -> np.ndarray:
    """A tensor as it is stored: whole numbers as they are, others as `dtype`. Raises UserError for
    a value that does not fit."""
    if not values.is_floating_point():
        return values.cpu().numpy()
    full = values.cpu().numpy()
    with np.errstate(over="ignore"):
        found = full.astype(dtype)
    if (np.isinf(found) & np.isfinite(full)).any():
        raise UserError(f"a value is too large for {dtype}: store --dtype=float32")
    return found


def inputs_of(catalog: Catalog, job: Job, todo: Iterator[ShardTask]) -> Iterator[Inputs]:
    """Batches of what is to be encoded, made ahead by the job's threads. Raises OutOfMemory where
    memory stays short."""
    found = batches(todo, job.reads, job.batch_size, job.views.count)
    pace = Pace(AHEAD + job.workers)
    if job.reads == "caption":
        made: Iterator[Inputs] = (Inputs(task, items) for task, items in found)
    else:
        reader = PictureReader(catalog.layout, job.size, job.fit, job.views)
        calls = (partial(reader.read, task, items) for task, items in found)
        made = ahead(calls, job.workers, pace)
    watch = MemoryWatch(job.memory_limit, more=partial(memory_of, torch.device(job.device)))
    return watched(
        made, watch, pace.lower,
        "free some, or allow more with --memory_limit=; the same command goes on after the last "
        "whole shard",
    )  # fmt: skip


def counted(
    samples: Iterator[Encoded], task: ShardTask, summary: Summary, progress: Progress
) -> Iterator[Encoded]:
    """The samples, counted on their way."""
    for sample in samples:
        if sample.cause:
            summary.causes[sample.cause] += 1
        if sample.tensors:
            summary.num_encoded += 1
        if sample.tensors or sample.cause:
            progress.advance()
        yield sample


def _tensor(item: Item, output: str, values: np.ndarray) -> Tensor:
    if item.view:
        plain = output.removesuffix(FLIPPED)
        output = f"{plain}_view{item.view}{output[len(plain) :]}"
    ext = f"{item.prefix}.{output}" if item.prefix else output
    return Tensor(output, item.picture, ext, values)


def not_finite(found: Iterable[tuple[str, np.ndarray]]) -> tuple[str, str] | None:
    """Cause and text of the first of named arrays that holds infinities or NaN."""
    for name, values in found:
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            return "not_finite", f"{name} holds values that are not finite"
    return None


def _chosen(found: dict[str, Any], outputs: Sequence[str]) -> dict[str, Any]:
    return {name: found[name] for name in outputs}


def remove_leftovers(layout: Any, task: ShardTask, name: str) -> None:
    """Temporary files of a process that was killed; a shard is one process's own."""
    paths: tuple[Path, ...] = (
        tensors_path(layout, task.dataset, task.stem, name),
        sidecar_path(layout, task.dataset, task.stem, name),
    )
    for path in paths:
        make_folder(path.parent)
        for leftover in path.parent.glob(f".{path.name}.*.tmp"):
            leftover.unlink(missing_ok=True)
