"""Steps are slices of one order: by ranks, by workers, from any position, up to a stop."""

import itertools
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from toolkit.core.errors import UserError
from toolkit.stream.mix import Mix
from toolkit.stream.schedule import Schedule, Step, Want

SIZES, WEIGHTS = {"main": 70, "fill50k": 9}, {"main": 3, "fill50k": 1}


class Counted:
    """As much of a selection as an order needs."""

    def __init__(self, name: str, count: int):
        self.name, self._count, self.fingerprint = name, count, f"{name} {count}"

    def __len__(self) -> int:
        return self._count


def schedule(batch_size: int = 6, **more: Any) -> Schedule:
    selections: Any = [Counted(name, count) for name, count in SIZES.items()]
    return Schedule(selections, WEIGHTS, batch_size, 4, **more)


def steps(found: Schedule, count: int, position: int = 0, every: int = 1) -> list[Step]:
    every_step = itertools.chain.from_iterable(found.chunks(position, every))
    return list(itertools.islice(every_step, count))


def test_steps_are_runs_of_the_mix() -> None:
    place = Mix(SIZES, WEIGHTS, 4).at(np.arange(3000))
    expected = list(map(Want, place.source.tolist(), place.row.tolist(), place.seed.tolist()))
    found = steps(schedule(), 500)
    assert [want for step in found for want in step.wants] == expected
    assert [step.position for step in found] == list(range(6, 3006, 6))
    assert steps(schedule(), 40, position=600) == found[100:140]


@pytest.mark.parametrize("world", [1, 2, 4, 5])
def test_ranks_share_every_step(world: int) -> None:
    whole = steps(schedule(), 300)
    ranks = [steps(schedule(rank=rank, world=world), 300) for rank in range(world)]
    for step, parts in zip(whole, zip(*ranks, strict=True), strict=True):
        assert [want for part in parts for want in part.wants] == step.wants
        assert {part.position for part in parts} == {step.position}
        assert max(len(p.wants) for p in parts) - min(len(p.wants) for p in parts) <= 1


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_workers_take_the_steps_by_turns(workers: int) -> None:
    whole = steps(schedule(), 600)
    turns = [steps(schedule(), 600 // workers, 6 * w, workers) for w in range(workers)]
    assert [step for turn in zip(*turns, strict=True) for step in turn] == whole


@pytest.mark.parametrize("stop", [0, 1, 6, 7, 60, 61, 65, 312, 313, 317, 1332, 1333])
def test_the_end_is_the_same_for_all_ranks_and_padded(stop: int) -> None:
    """60, then 252, then 1,020 positions are planned at once by a single rank: the ends lie in, at
    and behind these chunks."""
    for world in (1, 4):
        ranks = [steps(schedule(rank=r, world=world, stop=stop), 999) for r in range(world)]
        assert {len(found) for found in ranks} == {-(-stop // 6)}
        wants = [want for turn in zip(*ranks, strict=True) for step in turn for want in step.wants]
        endless = [want for step in steps(schedule(), len(ranks[0])) for want in step.wants]
        assert [want.is_padding for want in wants] == [i >= stop for i in range(len(wants))]
        assert [want[:3] for want in wants] == [want[:3] for want in endless]


def test_with_four_ranks_at_batch_one_each_sees_every_task() -> None:
    for rank in range(4):
        found = steps(schedule(4, rank=rank, world=4), 400)
        tasks = [step.wants[0].source for step in found]
        assert 60 < tasks.count(1) < 140  # a quarter of 400, drawn by key: sd 8.7


def test_states_of_other_data_or_orders_are_refused() -> None:
    state = schedule().cursor(60)
    assert schedule(rank=1, world=2).position_of(state) == 60
    for name, value in (("seed", 5), ("block", 2), ("data", {}), ("weights", {"main": 1})):
        with pytest.raises(UserError, match=f"cannot resume the data stream: {name} was"):
            schedule().position_of({**state, name: value})
    for state in ({}, {"position": "x"}, {"position": None}, {"position": -5}):
        with pytest.raises(UserError, match="its state has no position"):
            schedule().position_of(state)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"batch_size": 0}, "batch_size=0: takes 1 or more"),
        ({"batch_size": 3, "world": 4}, "^batch_size=3: takes 4 or more, one a rank"),
        ({"rank": 2, "world": 2}, "rank 2 of 2: ranks count from 0 to 1"),
        ({"rank": 0, "world": 0}, "world=0: takes 1 or more"),
        ({"stop": -1}, "stop=-1: takes 0 or more"),
        ({"block": 0}, "^block=0: takes 1 or more"),
        ({"block": 1.5}, r"^block=1\.5: takes a whole number"),
    ],
)
def test_wrong_settings_are_one_line(wrong: dict[str, int], message: str) -> None:
    with pytest.raises(UserError, match=message):
        schedule(**wrong)


def test_a_mix_of_what_is_not_there_is_one_line() -> None:
    with pytest.raises(UserError, match="the mix takes other, and there are selections of main"):
        Schedule([SimpleNamespace(name="main")], {"other": 1}, 1, 0)  # type: ignore[list-item]
