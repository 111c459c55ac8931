"""The frame around everything that writes sidecars of tensors: what is there already stays, the
rest is made shard by shard."""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field

import numpy as np

from toolkit.core.files import held, make_folder
from toolkit.core.progress import Progress
from toolkit.encoding.plan import ShardTask, refuse_other, shards_of, tasks
from toolkit.store.catalog import Catalog
from toolkit.store.layout import Layout
from toolkit.store.recipe import Recipe, recipe_path, write_recipe
from toolkit.store.sidecar import sidecar_path
from toolkit.store.tensors import Encoded, tensors_path, write_empty, write_tensors


@dataclass(frozen=True)
class Wanted:
    """Which sidecars are to be there. name: of the sidecar; recipe: how it is made; condition:
    checked SQL; rank, world: this process among all that share the work; overwrite: whether a
    sidecar that was made in another way is replaced; empty: what the empty caption is encoded as,
    by output."""

    name: str
    recipe: Recipe
    condition: str
    rank: int = 0
    world: int = 1
    overwrite: bool = False
    empty: Mapping[str, np.ndarray] = field(default_factory=dict)


@dataclass
class Summary:
    """What came of it. num_encoded: samples; num_kept: those that were there; causes: of those that
    could not be encoded."""

    num_encoded: int = 0
    num_kept: int = 0
    num_shards: int = 0
    causes: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0


Make = Callable[[Iterator[ShardTask]], Iterator[tuple[ShardTask, Iterator[Encoded]]]]


def write_sidecars(catalog: Catalog, wanted: Wanted, make: Make, verb: str = "encode") -> Summary:
    """Writes the sidecar of each shard in which the condition holds somewhere.

    Args:
        make: of the shards that are still to be done, each one's samples in the order of its
            manifest; the samples of a shard are consumed before the next shard is asked for.
        verb: what it is called while it goes on.

    Raises UserError: nothing to do, a sidecar of that name made in another way, another process at
    work, and what `make` raises.
    """
    layout, name, summary = catalog.layout, wanted.name, Summary()
    shards = shards_of(catalog, wanted.condition)
    datasets = sorted({dataset for dataset, *_ in shards})
    if not wanted.overwrite:  # before anything is written
        refuse_other(layout, datasets, name, wanted.recipe)
    mine = shards[wanted.rank :: wanted.world]
    start = time.monotonic()
    with ExitStack() as stack:
        for dataset in datasets:
            folder = make_folder(recipe_path(layout, dataset, name).parent)
            lock = folder / f".encode-{wanted.rank}.lock"
            lock.touch()
            stack.enter_context(held(lock, f"another process encodes {name} of {dataset}"))
        if not wanted.overwrite:  # again: another process may have written it meanwhile
            refuse_other(layout, datasets, name, wanted.recipe)
        for dataset in datasets:
            write_recipe(layout, dataset, name, wanted.recipe)
            write_empty(layout, dataset, name, wanted.empty)
        progress = stack.enter_context(
            Progress(sum(count for *_, count in mine), f"{verb} {name}", "samples")
        )

        def todo() -> Iterator[ShardTask]:
            for task in tasks(catalog, wanted.condition, mine, name, wanted.recipe.sha256):
                if isinstance(task, int):
                    summary.num_kept += task
                    progress.advance(task)
                else:
                    yield task

        for task, samples in make(todo()):
            _remove_leftovers(layout, task, name)
            seen = _counted(samples, summary, progress)
            write_tensors(layout, task.dataset, task.stem, name, wanted.recipe.sha256, seen)
            summary.num_shards += 1
    summary.seconds = time.monotonic() - start
    return summary


def not_finite(found: Iterable[tuple[str, np.ndarray]]) -> tuple[str, str] | None:
    """Cause and text of the first of named arrays that holds infinities or NaN."""
    for name, values in found:
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            return "not_finite", f"{name} holds values that are not finite"
    return None


def _counted(samples: Iterator[Encoded], summary: Summary, progress: Progress) -> Iterator[Encoded]:
    """The samples, counted on their way."""
    for sample in samples:
        if sample.cause:
            summary.causes[sample.cause] += 1
        if sample.tensors:
            summary.num_encoded += 1
        if sample.tensors or sample.cause:
            progress.advance()
        yield sample


def _remove_leftovers(layout: Layout, task: ShardTask, name: str) -> None:
    """Temporary files of a process that was killed; a shard is one process's own."""
    for path in (
        tensors_path(layout, task.dataset, task.stem, name),
        sidecar_path(layout, task.dataset, task.stem, name),
    ):
        make_folder(path.parent)
        for leftover in path.parent.glob(f".{path.name}.*.tmp"):
            leftover.unlink(missing_ok=True)
