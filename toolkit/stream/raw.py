"""Undecoded samples in the same exact order, as webdataset's dictionaries.

`Samples` is a source stage of a `webdataset.DataPipeline`: it takes the place of the shard list and
of the tar reader, and all stages that decode, augment and batch stay as they are.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from torch.utils.data import IterableDataset, get_worker_info

from toolkit.core.errors import UserError
from toolkit.store.images import format_extension
from toolkit.store.selection import Selection
from toolkit.stream.coalesce import coalesce
from toolkit.stream.lookup import Lookup
from toolkit.stream.partners import Partners
from toolkit.stream.reader import RangeReader
from toolkit.stream.rows import Sample
from toolkit.stream.schedule import Schedule, Want

_AHEAD = 32  # samples whose bytes the system is asked to fetch together


class Samples(IterableDataset[dict[str, Any]]):
    """One dictionary a sample: `jpg` (or what the target is), `content.jpg` and `style.jpg` where
    it has them, and `txt`, all as bytes; and `__key__`, `__url__`, `__task__`, `__seed__` and
    `__weight__`.

    Each rank takes every `world`-th position, and in worker processes each worker every W-th of
    these, so a DataLoader without batching gives the same order for any number of them. In a worker
    the state is that worker's own, as torchdata's StatefulDataLoader keeps it; it then goes on with
    the same number of workers only.

    Args:
        selections, mix, seed, rank, world, stop, block: as for `Schedule`, with one sample a rank
            in a batch; after `stop`, which is rounded up to whole batches, the weight is 0.
        roles, partners: as for `Lookup`.

    Raises:
        UserError: as `Schedule` does; while reading, a shard that is gone, or bytes that do not
            begin as a picture does.
    """

    def __init__(
        self,
        selections: Sequence[Selection],
        mix: Mapping[str, int],
        seed: int,
        *,
        roles: Sequence[str] | None = None,
        partners: Partners | None = None,
        rank: int = 0,
        world: int = 1,
        stop: int | None = None,
        block: int = 1,
    ):
        more = {"partners": partners.identity} if partners else {}
        self._schedule = Schedule(selections, mix, world, seed, rank, world, stop, block, more)
        self._lookup = Lookup(self._schedule.selections, roles, partners)
        self._position = 0

    def __iter__(self) -> Iterator[dict[str, Any]]:
        info = get_worker_info()
        number, count = (info.id, info.num_workers) if info else (0, 1)
        stride = self._schedule.batch_size
        first = self._position + number * stride
        reader = RangeReader()
        try:
            for steps in self._schedule.chunks(first, count):
                wants = [want for step in steps for want in step.wants]
                pairs = iter(zip(wants, self._lookup.samples(wants), strict=True))
                while group := list(islice(pairs, _AHEAD)):
                    reader.will_need(
                        coalesce((p, 0) for _, sample in group for p in sample.pieces.values())
                    )
                    for want, sample in group:
                        self._position += stride * count
                        yield self._dictionary(reader, want, sample)
        finally:
            reader.close()

    def state_dict(self) -> dict[str, Any]:
        """Where the stream stands: JSON values."""
        return self._schedule.cursor(self._position)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on where `state` was taken. Raises UserError when data or order differ."""
        self._position = self._schedule.position_of(state)

    def _dictionary(self, reader: RangeReader, want: Want, sample: Sample) -> dict[str, Any]:
        found: dict[str, Any] = {
            "__key__": sample.key,
            "__url__": next(iter(sample.pieces.values())).path,
            "__task__": self._lookup.rows[want.source].name,
            "__seed__": want.seed >> 1,
            "__weight__": 0.0 if want.is_padding else sample.weight,
        }
        for role, piece in sample.pieces.items():
            data = reader.read(piece.path, piece.offset, piece.size)
            extension = format_extension(data)
            if extension is None:
                raise UserError(
                    f"{piece.key} in the shard {piece.path} does not begin as a picture does: "
                    f"check it with python -m toolkit.verify {Path(piece.path).parent.name}"
                )
            found[extension if role == "target" else f"{role}.{extension}"] = data
        found["txt"] = sample.caption.encode()
        return found
