"""What a stream will cost before it runs: requests, bytes, and how well it is shuffled."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice, pairwise

from toolkit.store.selection import Selection
from toolkit.stream.coalesce import coalesce
from toolkit.stream.lookup import Lookup
from toolkit.stream.schedule import Schedule, Step

MAX_BATCHES = 256  # that are looked at


@dataclass(frozen=True)
class Cost:
    """The cost of a stream, averaged over batches of its beginning.

    requests: reads a batch. request_bytes: of one read. used: the part of the bytes read that
    belongs to pictures. shards: tars that a batch reads from. distance: mean distance of samples
    that follow one another in a source, as a part of what a full shuffle has; 1 is a full shuffle,
    near 0 the stored order.
    """

    block: int
    requests: float
    request_bytes: float
    used: float
    shards: float
    distance: float


def cost_of(
    selections: Sequence[Selection],
    mix: Mapping[str, int],
    batch_size: int,
    seed: int,
    block: int,
    roles: Iterable[str] | None = None,
) -> Cost:
    """Plans batches as a loader would, and counts. Raises UserError as `Schedule` does."""
    schedule = Schedule(selections, mix, batch_size, seed, block=block)
    lookup = Lookup(schedule.selections, roles)
    steps = list(islice(chain.from_iterable(schedule.chunks(0)), MAX_BATCHES))
    num_reads = num_bytes = num_used = num_shards = 0
    for step in steps:
        samples = lookup.samples(step.wants)
        reads = coalesce((p, i) for i, s in enumerate(samples) for p in s.pieces.values())
        num_reads += len(reads)
        num_bytes += sum(read.size for read in reads)
        places = {piece[:3] for read in reads for piece, _ in read.pieces}
        num_used += sum(size for _, _, size in places)
        num_shards += len({read.path for read in reads})
    return Cost(
        block=block,
        requests=num_reads / len(steps),
        request_bytes=num_bytes / max(1, num_reads),
        used=num_used / max(1, num_bytes),
        shards=num_shards / len(steps),
        distance=_distance(schedule, steps),
    )


def _distance(schedule: Schedule, steps: Sequence[Step]) -> float:
    """Weighted by how often a source occurs; two random rows of n are n / 3 apart."""
    found = []
    for source, selection in enumerate(schedule.selections):
        rows = [want.row for step in steps for want in step.wants if want.source == source]
        full = max(1.0, len(selection) / 3)
        apart = [abs(b - a) / full for a, b in pairwise(rows)]
        found += [statistics.fmean(apart)] * len(rows) if apart else []
    return statistics.fmean(found) if found else 1.0
