"""From pictures and captions to what an encoder makes of them, shard after shard."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import Any

import numpy as np
import torch

from toolkit.core.errors import UserError
from toolkit.core.memory import LIMIT, MemoryWatch, watched
from toolkit.encoders.device import memory_of
from toolkit.encoding.frame import Summary, Wanted, not_finite, write_sidecars
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
from toolkit.encoding.plan import ShardTask
from toolkit.encoding.views import Views
from toolkit.store.catalog import Catalog
from toolkit.store.recipe import FLIPPED
from toolkit.store.tensors import Encoded, Tensor

Encode = Callable[[Any], list[dict[str, np.ndarray]]]


@dataclass(frozen=True)
class Job:
    """What is to be encoded, and how. wanted: the sidecars; reads: picture or caption; encode: a
    batch to one dictionary of arrays for each of its items; size, fit: of pictures; workers:
    threads that decode; memory_limit: share of memory above which there is pressure; device: the
    encoder's, whose memory counts too; views: what is cut out of pictures besides.
    """

    wanted: Wanted
    reads: str
    encode: Encode
    batch_size: int
    size: int = 0
    fit: Any = "crop"
    workers: int = 2
    memory_limit: float = LIMIT
    device: str = "cpu"
    views: Views = Views()  # noqa: RUF009 - frozen


def encode(catalog: Catalog, job: Job) -> Summary:
    """Writes the sidecar of each shard in which the condition holds somewhere.

    Raises UserError: nothing to encode, a sidecar of that name made in another way, another process
    at work, a shard that is damaged or cannot be read.
    """

    def make(todo: Iterator[ShardTask]) -> Iterator[tuple[ShardTask, Iterator[Encoded]]]:
        for task, inputs in groupby(inputs_of(catalog, job, todo), lambda made: made.task):
            yield task, encoded_samples(task, inputs, job)

    return write_sidecars(catalog, job.wanted, make)


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


def _tensor(item: Item, output: str, values: np.ndarray) -> Tensor:
    if item.view:
        plain = output.removesuffix(FLIPPED)
        output = f"{plain}_view{item.view}{output[len(plain) :]}"
    ext = f"{item.prefix}.{output}" if item.prefix else output
    return Tensor(output, item.picture, ext, values)


def _chosen(found: dict[str, Any], outputs: Sequence[str]) -> dict[str, Any]:
    return {name: found[name] for name in outputs}
