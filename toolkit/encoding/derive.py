"""Sidecars that are computed from other sidecars, tensor by tensor."""

import io
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from toolkit.core.errors import UserError
from toolkit.core.files import held, make_folder
from toolkit.core.progress import Progress
from toolkit.encoding.inputs import pictures_of
from toolkit.encoding.plan import ShardTask, refuse_other, shards_of, tasks
from toolkit.encoding.run import Summary, counted, not_finite, remove_leftovers
from toolkit.store.catalog import Catalog
from toolkit.store.tensors import (
    Encoded,
    Recipe,
    Tensor,
    read_recipe,
    read_rows,
    recipe_path,
    tensors_path,
    write_recipe,
    write_tensors,
)
from toolkit.stream.reader import RangeReader

Transform = Callable[[np.ndarray, str, Sequence[dict[str, Any]]], np.ndarray]


def derive(
    catalog: Catalog,
    condition: str,
    source: str,
    name: str,
    recipe: Recipe,
    transform: Transform,
    batch_size: int,
    overwrite: bool = False,
) -> Summary:
    """Writes the sidecar `name` of the samples for which a checked condition holds.

    What is there stays, shard by shard, so a process that was killed is simply started again.

    Args:
        source: the sidecar that it is computed from; samples that it has nothing of have nothing
            here.
        recipe: how; its settings are those of the source where tensors are to be found by the same
            cuts and flips.
        transform: of [N,…] stored tensors, given with their dataset and each one's row of the
            manifest (key, style, members …); batches never cross a shard.
        batch_size: N, at most.
        overwrite: whether a sidecar made in another way is replaced.

    Raises UserError: nothing to do, no source, a sidecar of that name made in another way.
    """
    layout, summary = catalog.layout, Summary()
    if name == source:
        raise UserError(f"--sidecar={name} is what it would be computed from: choose another name")
    shards = shards_of(catalog, condition)
    datasets = sorted({dataset for dataset, *_ in shards})
    sources = {dataset: read_recipe(layout, dataset, source) for dataset in datasets}
    if not overwrite:
        refuse_other(layout, datasets, name, recipe)
    reader = RangeReader()
    for dataset in datasets:
        folder = make_folder(recipe_path(layout, dataset, name).parent)
        (folder / ".encode-0.lock").touch()
    with Progress(sum(count for *_, count in shards), f"write {name}", "samples") as progress:
        for task in tasks(catalog, condition, shards, name, recipe.sha256):
            if isinstance(task, int):
                summary.num_kept += task
                progress.advance(task)
                continue
            folder = recipe_path(layout, task.dataset, name).parent
            busy = f"another process writes {name} of {task.dataset}"
            with held(folder / ".encode-0.lock", busy):
                write_recipe(layout, task.dataset, name, recipe)
                remove_leftovers(layout, task, name)
                stored = _Stored(catalog, task, source, sources[task.dataset], reader)
                samples = counted(
                    _derived(task, stored, transform, batch_size), task, summary, progress
                )
                write_tensors(layout, task.dataset, task.stem, name, recipe.sha256, samples)
            summary.num_shards += 1
    reader.close()
    return summary


class _Stored:
    """The source's tensors of one shard."""

    def __init__(
        self, catalog: Catalog, task: ShardTask, source: str, recipe: Recipe, reader: RangeReader
    ):
        layout = catalog.layout
        rows = read_rows(layout, task.dataset, task.stem, source, recipe.sha256).to_pylist()
        self._rows = {row["key"]: row for row in rows}
        self._tar, self._reader = tensors_path(layout, task.dataset, task.stem, source), reader

    def of(self, key: str) -> list[tuple[str, int, np.ndarray]]:
        """(output, picture, values) of each tensor of a sample."""
        found = self._rows[key]["tensors"] or ()
        return [(t["output"], t["picture"], self._values(t)) for t in found]

    def lacking(self, key: str) -> Encoded:
        """What stands for a sample that the source has no tensor of."""
        row = self._rows[key]
        return Encoded(key, tuple(row["pictures"] or ()), (), row["cause"], row["error"])

    def _values(self, tensor: dict[str, Any]) -> np.ndarray:
        data = self._reader.read(str(self._tar), tensor["offset"], tensor["size"])
        try:
            found: np.ndarray = np.load(io.BytesIO(data), allow_pickle=False)
        except (ValueError, EOFError):
            raise UserError(
                f"{self._tar} is damaged: python -m toolkit.verify tells what to do"
            ) from None
        return found


def _derived(
    task: ShardTask, stored: _Stored, transform: Transform, batch_size: int
) -> Iterator[Encoded]:
    """One for each row of the manifest, in its order."""
    rows: list[dict[str, Any]] = []
    waiting: list[tuple[dict[str, Any], str, int, np.ndarray]] = []

    def ready() -> Iterator[Encoded]:
        made: list[np.ndarray] = []
        for start in range(0, len(waiting), batch_size):
            some = waiting[start : start + batch_size]
            values = np.stack([array for *_, array in some])
            made += list(transform(values, task.dataset, [row for row, *_ in some]))
        found: dict[str, list[Tensor]] = {}
        for (row, output, picture, _), values in zip(waiting, made, strict=True):
            prefix = next(item.prefix for item in pictures_of(row) if item.picture == picture)
            ext = f"{prefix}.{output}" if prefix else output
            found.setdefault(row["key"], []).append(Tensor(output, picture, ext, values))
        for row in rows:
            key = row["key"]
            if key in found:
                yield _encoded(key, tuple(found[key]))
            else:
                yield stored.lacking(key) if key in task.wanted else Encoded(key)
        rows.clear()
        waiting.clear()

    for row in task.rows:
        rows.append(row)
        if row["status"] == "ok" and row["key"] in task.wanted:
            waiting += [(row, *tensor) for tensor in stored.of(row["key"])]
        if len(waiting) >= batch_size:
            yield from ready()
    yield from ready()


def _encoded(key: str, tensors: tuple[Tensor, ...]) -> Encoded:
    pictures = tuple(dict.fromkeys(tensor.picture for tensor in tensors))
    problem = not_finite((tensor.output, tensor.values) for tensor in tensors)
    return Encoded(key, pictures, (), *problem) if problem else Encoded(key, pictures, tensors)
