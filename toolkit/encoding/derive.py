"""Sidecars that are computed from other sidecars, tensor by tensor."""

import io
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from toolkit.core.errors import UserError
from toolkit.encoding.frame import Summary, Wanted, not_finite, write_sidecars
from toolkit.encoding.inputs import pictures_of
from toolkit.encoding.plan import ShardTask, shards_of
from toolkit.store.catalog import Catalog
from toolkit.store.recipe import Recipe, read_recipe
from toolkit.store.tensors import Encoded, Tensor, read_rows, tensors_path
from toolkit.stream.reader import RangeReader

Transform = Callable[[np.ndarray, str, Sequence[dict[str, Any]]], np.ndarray]


def derive(
    catalog: Catalog, source: str, wanted: Wanted, transform: Transform, batch_size: int
) -> Summary:
    """Writes the sidecars that are wanted.

    What is there stays, shard by shard, so a process that was killed is simply started again.

    Args:
        source: the sidecar that they are computed from; samples that it has nothing of have nothing
            here.
        wanted: the settings of its recipe are those of the source where tensors are to be found by
            the same cuts and flips.
        transform: of [N,…] stored tensors, given with their dataset and each one's row of the
            manifest (key, style, members …); batches never cross a shard.
        batch_size: N, at most.

    Raises UserError: nothing to do, no source, a sidecar of that name made in another way.
    """
    if wanted.name == source:
        raise UserError(f"--sidecar={source} is what it would be computed from: choose another")
    shards, reader = shards_of(catalog, wanted.condition), RangeReader()
    recipes = {name: read_recipe(catalog.layout, name, source) for name, *_ in shards}

    def make(todo: Iterator[ShardTask]) -> Iterator[tuple[ShardTask, Iterator[Encoded]]]:
        for task in todo:
            stored = _Stored(catalog, task, source, recipes[task.dataset], reader)
            yield task, _derived(task, stored, transform, batch_size)

    try:
        return write_sidecars(catalog, wanted, make, "write")
    finally:
        reader.close()


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
