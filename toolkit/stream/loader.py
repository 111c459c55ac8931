"""An exact and resumable stream of batches, endless or up to a position.

Position p of the stream holds the same sample, with the same seed, whatever the number of threads,
of processes and of ranks.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

import numpy as np

from toolkit.core.checks import at_least
from toolkit.core.errors import UserError
from toolkit.core.places import is_remote
from toolkit.store.selection import Selection
from toolkit.stream.assemble import Assembler
from toolkit.stream.augment import Augment
from toolkit.stream.bucket_mix import BucketMix
from toolkit.stream.buckets import Buckets
from toolkit.stream.coalesce import MAX_READ_BYTES
from toolkit.stream.features import FeatureReader
from toolkit.stream.partners import Partners
from toolkit.stream.processes import Made, Transform, in_processes, transformed
from toolkit.stream.remote import MAX_AHEAD_BYTES
from toolkit.stream.schedule import Schedule, Want
from toolkit.stream.threads import inline, threaded

_MAX_LISTED = 20


class Loader:
    """Batches of a weighted mix of selections: a plain iterable, with the state of a
    `torchdata.stateful_dataloader`.

    Args:
        selections: the sources, named.
        mix: whole-number weight of each source by name.
        batch_size: samples in a global batch, over all ranks.
        size: pixels a side of the pictures; without `roles` it has no effect.
        seed: of the order and of everything random about samples.
        workers: decoding threads; 0 decodes in the caller's thread.
        prefetch: batches that are decoded ahead; without workers it has no effect.
        processes: worker processes instead of threads, for a `transform` in Python; over remote
            shards it has to be one that pickle takes.
        transform: what becomes of a batch before the loader hands it out; where there are
            processes, it runs there.
        roles: the roles to read; all that the selections have otherwise.
        features: what is read beside pictures, or in their place.
        partners: draws other style pictures than the linked ones.
        augment: how pictures are cut and flipped, and captions dropped.
        rank, world, stop, block, epochs, buckets: as for `Schedule`; with buckets, `size` has no
            effect. After the end, samples have weight 0.
        max_bytes: a cap on the bytes in flight; fewer batches are decoded ahead where it needs to.
        max_failures: samples that do not decode, after which the stream stops.

    Raises:
        UserError: as `Schedule` does; a cap that a single batch exceeds; iterating anew after the
            stop was reached.
    """

    def __init__(
        self,
        selections: Sequence[Selection],
        mix: Mapping[str, int],
        batch_size: int,
        size: int,
        seed: int,
        workers: int = 2,
        prefetch: int = 1,
        *,
        processes: int = 0,
        transform: Transform | None = None,
        roles: Sequence[str] | None = None,
        features: Sequence[FeatureReader] = (),
        partners: Partners | None = None,
        augment: Augment = Augment(),  # noqa: B008 - frozen
        rank: int = 0,
        world: int = 1,
        stop: int | None = None,
        block: int = 1,
        epochs: int | None = None,
        buckets: Buckets | None = None,
        max_bytes: int = 1 << 30,
        max_failures: int = 100,
    ):
        at_least(1, size=size)
        at_least(0, workers=workers, prefetch=prefetch, processes=processes)
        at_least(0, max_bytes=max_bytes, max_failures=max_failures)
        if not isinstance(augment, Augment):
            raise UserError(f"augment={augment!r}: takes an Augment, as Augment('random')")
        more = {"size": buckets.size if buckets else size, "augment": asdict(augment)}
        more |= {"partners": partners.identity} if partners else {}
        more |= {"features": {f.name: dict(f.identity) for f in features}} if features else {}
        self._schedule = Schedule(
            selections, mix, batch_size, seed, rank, world, stop, block, more, epochs, buckets
        )
        self._build = partial(
            Assembler, self._schedule.selections, buckets.size if buckets else size, roles, augment,
            partners, features, self._schedule.indices,
        )  # fmt: skip
        self._assembler = self._build()
        self.workers, self.processes, self.batch_size = workers, processes, batch_size
        self.prefetch = self._capped(prefetch, max_bytes) if workers or processes else 0
        self.failures: list[str] = []
        self._transform, self._max_failures, self._position = transform, max_failures, 0
        self._has_ended = False

    @property
    def left_out(self) -> dict[str, int]:
        """Samples of each source that are too small for any bucket."""
        schedule = self._schedule
        return {
            selection.name: index.num_left_out
            for selection, index in zip(schedule.selections, schedule.indices, strict=False)
        }

    @property
    def max_bytes_in_flight(self) -> int:
        """Bytes that may exist at once: the batch in use and the next one, those decoded ahead, and
        what is being read for them."""
        makers = max(1, self.processes)
        batches = 2 + makers * (self.prefetch + 1)
        return batches * self._batch_bytes() + self._reading_bytes()

    def __iter__(self) -> Iterator[Any]:
        if self._has_ended:  # whoever loops over epochs must not train on nothing
            raise UserError(
                f"the stream has ended at its stop, position {self._schedule.stop}: for more, "
                "open the loader with a later one"
            )
        for made in self._made():
            self._position = made.position
            if made.failures:
                self._count(made.failures)
            yield made.value
        self._has_ended = True

    def __len__(self) -> int:
        """Batches from position 0 to the end; TypeError where there is none."""
        if self._schedule.stop is None:
            raise TypeError("an endless stream has no length: open the loader with a stop")
        return math.ceil(self._schedule.stop / self.batch_size)

    def slow_down(self) -> bool:
        """Halves threads or processes and lets nothing be decoded ahead, for iterators made from
        now on; the batches stay the same. False where nothing is left to lower."""
        if not self.prefetch and max(self.workers, self.processes) <= 1:
            return False
        self.prefetch = 0
        self.workers, self.processes = (-(-n // 2) for n in (self.workers, self.processes))
        return True

    def state_dict(self) -> dict[str, Any]:
        """Where the stream stands: JSON values, taken between two batches."""
        return self._schedule.cursor(self._position)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Goes on where `state` was taken. Raises UserError when data or order differ."""
        self._position, self._has_ended = self._schedule.position_of(state), False

    def close(self) -> None:
        """Closes the shards."""
        self._assembler.close()

    def keys(self, first: int, count: int) -> list[tuple[str, str]]:
        """(task, key) of `count` positions from `first`, without reading any picture; with buckets,
        of those that hold a sample."""
        mix, positions = self._schedule.mix, np.arange(first, first + count)
        if isinstance(mix, BucketMix):
            start = positions // self.batch_size * self.batch_size
            positions = positions[positions - start < mix.lengths(start)]
            place, _ = mix.at(positions)
        else:
            place = mix.at(positions)
        wants = list(map(Want, place.source.tolist(), place.row.tolist(), place.seed.tolist()))
        samples = self._assembler.lookup.samples(wants)
        return [(mix.names[w.source], s.key) for w, s in zip(wants, samples, strict=True)]

    def _made(self) -> Iterator[Made]:
        start, schedule = self._position, self._schedule
        if self.processes:
            context = "spawn" if self._is_remote else None  # its threads do not survive a fork
            return in_processes(
                self._build,
                schedule,
                start,
                self._transform,
                self.processes,
                self.prefetch,
                context,
            )
        if self.workers:
            batches = threaded(self._assembler, schedule, start, self.workers, self.prefetch)
        else:
            batches = inline(self._assembler, schedule, start, 1)
        return transformed(batches, self._transform)

    def _count(self, failures: tuple[str, ...]) -> None:
        self.failures = list(dict.fromkeys([*self.failures, *failures]))  # each sample once
        if len(self.failures) > self._max_failures:
            listed = self.failures
            more = f" and {len(listed) - _MAX_LISTED} more" if len(listed) > _MAX_LISTED else ""
            raise UserError(
                f"{len(self.failures)} samples did not decode, more than "
                f"max_failures={self._max_failures}: {'; '.join(listed[:_MAX_LISTED])}{more}"
            )

    def _batch_bytes(self) -> int:
        pictures = len(self._assembler.roles) * self._assembler.size**2 * 3
        tensors = sum(feature.largest() for feature in self._assembler.features)
        return max(1, self._schedule.samples_per_step * (pictures + tensors))

    def _reading_bytes(self) -> int:
        """Each thread works on a picture, and on a read of which others may still be due."""
        features = self._assembler.features
        largest = max(self._assembler.lookup.largest(), *(f.largest() for f in features), 0)
        makers = max(1, self.workers, self.processes)
        ahead = MAX_AHEAD_BYTES * max(1, self.processes) if self._is_remote else 0
        return makers * (largest + max(largest, MAX_READ_BYTES)) + ahead

    @property
    def _is_remote(self) -> bool:
        return any(is_remote(s.layout.shards) for s in self._schedule.selections)

    def _capped(self, prefetch: int, max_bytes: int) -> int:
        makers = max(1, self.processes)
        room = (max_bytes - self._reading_bytes()) // self._batch_bytes() - 2
        if room < makers:
            least = (2 + makers) * self._batch_bytes() + self._reading_bytes()
            raise UserError(
                f"the least that can be in flight is {least / 1e6:.0f} MB, more than "
                f"max_bytes={max_bytes}: take smaller batches or a larger cap"
            )
        return min(prefetch, room // makers - 1)
