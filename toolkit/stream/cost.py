"""What a stream will cost before it runs: requests, bytes, and how well it is shuffled."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, combinations, islice

from toolkit.store.selection import Selection
from toolkit.stream.buckets import Buckets
from toolkit.stream.coalesce import coalesce
from toolkit.stream.lookup import Lookup
from toolkit.stream.schedule import Schedule, Step

MAX_BATCHES, MAX_COMPARED = 256, 64  # batches that are looked at, samples of one source in each


@dataclass(frozen=True)
class Cost:
    """The cost of a stream, averaged over batches of its beginning.

    requests: reads a batch. request_bytes: of one read. used: the part of the bytes read that
    belongs to pictures. shards: tars that a batch reads from. shuffle: how many
    pairs of a batch lie further apart in the stored order than a tenth of it; 1 is what a full
    shuffle has, 0 are batches of neighbours.
    """

    block: int
    requests: float
    request_bytes: float
    used: float
    shards: float
    shuffle: float


def cost_of(
    selections: Sequence[Selection],
    mix: Mapping[str, int],
    batch_size: int,
    seed: int,
    block: int,
    roles: Iterable[str] | None = None,
    buckets: Buckets | None = None,
) -> Cost:
    """Plans batches as a loader would, and counts. Raises UserError as `Schedule` does."""
    schedule = Schedule(selections, mix, batch_size, seed, block=block, buckets=buckets)
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
        shuffle=_shuffle(schedule, steps),
    )


def _shuffle(schedule: Schedule, steps: Sequence[Step]) -> float:
    """Pairs of a batch that are not near, as a part of what a full shuffle has."""
    apart = expected = 0.0
    for source, selection in enumerate(schedule.selections):
        size, near = len(selection), max(1, len(selection) // 10)
        # of all pairs of different rows, those at most `near` rows apart
        chance = min(1.0, (2 * near * size - near * (near + 1)) / max(1, size * (size - 1)))
        for step in steps:
            rows = [want.row for want in step.wants if want.source == source]
            found = [abs(a - b) > near for a, b in combinations(rows[:MAX_COMPARED], 2)]
            apart += sum(found)
            expected += len(found) * (1 - chance)
    return apart / expected if expected else 1.0
