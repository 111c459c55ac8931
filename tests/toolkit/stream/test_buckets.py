"""Aspect buckets: which shape a picture gets, and that every batch has one, in an exact order."""

import itertools
from collections import Counter
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from toolkit.core.errors import UserError
from toolkit.stream.buckets import BucketIndex, Buckets
from toolkit.stream.schedule import Schedule, Step

SMALL = Buckets(8, 64, 32)
MIX = {"main": 3, "fill50k": 1}


class Sized:
    """As much of a selection as an order by shape needs."""

    def __init__(self, name: str, sizes: list[tuple[int, int]]):
        self.name, self.fingerprint, heights_widths = name, name, np.array(sizes)
        self.table = pa.table({"height": heights_widths[:, 0], "width": heights_widths[:, 1]})

    def __len__(self) -> int:
        return self.table.num_rows


def sizes_of(count: int, seed: int) -> list[tuple[int, int]]:
    """Some of them too small."""
    sides = np.random.default_rng(seed).integers(20, 200, (count, 2))
    return [(int(height), int(width)) for height, width in sides]


SOURCES: list[Any] = [Sized("main", sizes_of(97, 1)), Sized("fill50k", [(64, 64)] * 20)]


def schedule(batch_size: int = 5, **more: Any) -> Schedule:
    return Schedule(SOURCES, MIX, batch_size, 4, buckets=SMALL, **more)


def steps(found: Schedule, count: int, position: int = 0, every: int = 1) -> list[Step]:
    every_step = itertools.chain.from_iterable(found.chunks(position, every))
    return list(itertools.islice(every_step, count))


def shape(height: int, width: int, buckets: Buckets = Buckets()) -> tuple[int, ...]:  # noqa: B008
    return tuple(buckets.shapes(np.array([height]), np.array([width]))[0].tolist())


@pytest.mark.parametrize(
    ("picture", "bucket"),
    [
        ((1024, 1024), (1024, 1024)),
        ((1040, 1055), (1024, 1024)),  # rounded down, it is not too large
        ((3000, 4000), (864, 1152)),  # 886.8 × 1182.4 is ideal, and this is 3:4 as well
        ((2000, 3000), (832, 1248)),
        ((800, 1200), (800, 1184)),
        ((768, 768), (768, 768)),
        ((767, 2000), (640, 1632)),
        ((767, 790), (0, 0)),
        ((500, 4000), (352, 2880)),
        ((0, 0), (0, 0)),
        ((5000, 5000), (1024, 1024)),
        ((40, 100_000), (0, 0)),
    ],
)
def test_known_shapes(picture: tuple[int, int], bucket: tuple[int, int]) -> None:
    assert shape(*picture) == bucket


def test_shapes_are_what_was_promised() -> None:
    """Against trying all shapes beside the ideal one, picture by picture."""
    rng = np.random.default_rng(0)
    sides = np.concatenate([rng.integers(1, 6000, (3000, 2)), rng.integers(700, 1300, (2000, 2))])
    found = Buckets().shapes(sides[:, 0], sides[:, 1])
    for (height, width), (h, w) in zip(sides.tolist(), found.tolist(), strict=True):
        check_shape(height, width, (h, w))


def check_shape(height: int, width: int, found: tuple[int, int]) -> None:
    floor = (height // 32 * 32, width // 32 * 32)
    if floor[0] * floor[1] < 768**2:
        assert found == (0, 0)
        return
    if floor[0] * floor[1] <= 1024**2:
        assert found == floor
        return
    scale = (1024**2 / (height * width)) ** 0.5
    near = [[int(side * scale // 32) * 32 + up for up in (0, 32)] for side in (height, width)]
    able = [
        (h, w) for h, w in itertools.product(*near)
        if h and w and h * w <= 1024**2 and h <= floor[0] and w <= floor[1]
    ]  # fmt: skip
    if not able:
        assert found == (0, 0)
        return
    assert found in able

    def apart(pair: tuple[int, int]) -> float:
        ratio = (pair[1] * height) / (pair[0] * width)
        return max(ratio, 1 / ratio)

    assert apart(found) <= min(map(apart, able)) * (1 + 1e-12)


def test_an_index_has_each_large_enough_row_once() -> None:
    index = BucketIndex(SOURCES[0], SMALL)
    sizes = sizes_of(97, 1)
    wanted = {row: shape(*size, SMALL) for row, size in enumerate(sizes)}
    assert index.num_left_out == sum(found == (0, 0) for found in wanted.values()) > 2
    assert len(index) == 97 - index.num_left_out
    seen = {}
    for bucket, (own, count) in enumerate(zip(index.shapes, index.counts, strict=True)):
        rows = index.rows(bucket, np.arange(count)).tolist()
        assert rows == sorted(rows)
        seen.update(dict.fromkeys(rows, own))
        following = [index.after(bucket, row) for row in rows]
        assert following == [*rows[1:], rows[0]]
    assert seen == {row: found for row, found in wanted.items() if found != (0, 0)}


@pytest.mark.parametrize("batch_size", [1, 4, 5, 64])
def test_each_epoch_shows_each_large_enough_picture_once(batch_size: int) -> None:
    found = schedule(batch_size)
    index = found.indices[0]
    each_epoch = int((-(-index.counts // batch_size)).sum())
    main = [s for s in steps(found, 8 * each_epoch) if s.wants[0].source == 0][: 3 * each_epoch]
    orders = []
    for epoch in range(3):
        part = main[epoch * each_epoch : (epoch + 1) * each_epoch]
        rows = [want.row for step in part for want in step.wants]
        assert len(rows) == len(set(rows)) == len(index)
        orders.append([tuple(want.row for want in step.wants) for step in part])
        assert all(len(step.wants) <= batch_size for step in part)
        short = sum(len(step.wants) < batch_size for step in part)
        assert short == sum(count % batch_size > 0 for count in index.counts.tolist())
    assert orders[0] != orders[1] != orders[2]
    if batch_size == 5:  # and the company changes, not only the order of batches
        assert set(map(frozenset, orders[0])) != set(map(frozenset, orders[1]))


def test_a_batch_is_of_one_source_and_shape_and_windows_are_exact() -> None:
    found = schedule()
    made = steps(found, 400)
    for step in made:
        assert len({(want.source, want.bucket) for want in step.wants}) == 1
        source, bucket = step.wants[0].source, step.wants[0].bucket
        own = found.indices[source].shapes[bucket]
        for want in step.wants:
            table = SOURCES[source].table
            size = (table["height"][want.row].as_py(), table["width"][want.row].as_py())
            assert shape(*size, SMALL) == own
    for start in range(0, 400, 4):
        window = Counter(step.wants[0].source for step in made[start : start + 4])
        assert window == {0: 3, 1: 1}
    seeds = [want.seed for step in made for want in step.wants]
    assert len(set(seeds)) == len(seeds)


@pytest.mark.parametrize("world", [1, 2, 3, 5])
def test_ranks_share_every_batch_short_ones_too(world: int) -> None:
    whole = steps(schedule(), 300)
    assert {len(step.wants) for step in whole} >= {1, 2, 5}
    ranks = [steps(schedule(rank=rank, world=world), 300) for rank in range(world)]
    for step, parts in zip(whole, zip(*ranks, strict=True), strict=True):
        real = [want for part in parts for want in part.wants if not want.is_padding]
        assert real == step.wants
        assert {part.position for part in parts} == {step.position}
        for part in parts:
            assert part.wants  # a rank without samples still takes part, with weight 0
            assert {want.bucket for want in part.wants} == {step.wants[0].bucket}
            assert all(want.is_padding for want in part.wants) or not any(
                want.is_padding for want in part.wants
            )
        sizes = [sum(not want.is_padding for want in part.wants) for part in parts]
        assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_workers_take_the_batches_by_turns_from_any_position(workers: int) -> None:
    whole = steps(schedule(), 240)
    turns = [steps(schedule(), 240 // workers, 5 * w, workers) for w in range(workers)]
    assert [step for turn in zip(*turns, strict=True) for step in turn] == whole
    for step in (1, 17, 100):
        assert steps(schedule(), 40, position=5 * step) == whole[step : step + 40]


@pytest.mark.parametrize("epochs", [1, 3])
def test_epochs_end_with_a_whole_window(epochs: int) -> None:
    found = schedule(epochs=epochs)
    made = steps(found, 10_000)
    assert len(made) % 4 == 0
    rows = Counter(want.row for step in made for want in step.wants if want.source == 0)
    assert min(rows.values()) >= epochs
    assert len(rows) == len(found.indices[0])
    assert not any(want.is_padding for step in made for want in step.wants)
    fewer = [step for step in made[:-4] if step.wants[0].source == 0]
    assert len(fewer) < epochs * int((-(-found.indices[0].counts // 5)).sum())


def test_blocks_keep_neighbours_of_a_shape_together() -> None:
    def near(found: Schedule) -> float:
        main = [step for step in steps(found, 300) if step.wants[0].source == 1]
        rows = [[want.row for want in step.wants] for step in main]
        return sum(abs(a - b) == 1 for row in rows for a, b in itertools.pairwise(row))

    assert near(schedule(block=5)) > near(schedule()) + 20


def test_states_know_the_shapes_and_the_size_of_batches() -> None:
    state = schedule().cursor(60)
    assert schedule(rank=1, world=2).position_of(state) == 60
    with pytest.raises(UserError, match="batch_size was 5 and is 4"):
        schedule(4).position_of({**state, "position": 60})
    other = Schedule(SOURCES, MIX, 5, 4, buckets=Buckets(8, 64, 40))
    with pytest.raises(UserError, match=r"buckets was .*32.* and is .*40"):
        other.position_of(state)
    with pytest.raises(UserError, match="buckets was"):
        Schedule(SOURCES, MIX, 5, 4).position_of(state)


def test_what_cannot_work_is_one_line() -> None:
    for wrong, message in (
        ({"multiple": 0}, "multiple=0: takes 1 or more"),
        ({"size": 16}, "buckets.size=16: takes 32 or more"),
        ({"least": 2000}, "buckets.least=2000: takes 0 to 1024"),
    ):
        with pytest.raises(UserError, match=message):
            Buckets(**wrong)
    tiny: Any = Sized("fill50k", [(16, 16)] * 3)
    with pytest.raises(UserError, match="none of its 3 pictures is large enough: lower"):
        Schedule([SOURCES[0], tiny], MIX, 5, 4, buckets=SMALL)
