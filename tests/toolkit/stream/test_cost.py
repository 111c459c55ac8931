"""A plan foretells what a loader then does: its reads are counted, not computed again."""

from pathlib import Path
from typing import Any

import pytest

from toolkit.core.records import Record
from toolkit.packing.dataset import pack
from toolkit.store.layout import Layout
from toolkit.store.selection import Selection, select
from toolkit.stream.coalesce import Read
from toolkit.stream.cost import cost_of
from toolkit.stream.loader import Loader
from toolkit.stream.reader import RangeReader

MIX = {"main": 3, "fill50k": 1}


class Counting(RangeReader):
    """Counts what is read, and from how many tars at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[int] = []
        self.planned: list[list[Read]] = []

    def read(self, path: str, offset: int, size: int) -> bytes:
        self.sizes.append(size)
        return super().read(path, offset, size)

    def will_need(self, reads: Any) -> None:
        self.planned.append(list(reads))


@pytest.mark.parametrize("block", [1, 4])
def test_requests_and_bytes_are_those_of_the_loader(choose: Any, block: int) -> None:
    selections = [choose(name) for name in MIX]
    cost = cost_of(selections, MIX, 8, 3, block)
    batches = 256
    loader = Loader(selections, MIX, 8, 16, 3, workers=0, block=block, stop=8 * batches)
    reader = loader._assembler.reader = Counting()
    assert len(list(loader)) == batches
    loader.close()
    assert cost.requests == pytest.approx(len(reader.sizes) / batches)
    assert cost.request_bytes == pytest.approx(sum(reader.sizes) / len(reader.sizes))
    tars = [len({read.path for read in reads}) for reads in reader.planned]
    assert cost.shards == pytest.approx(sum(tars) / batches)
    assert 0.3 < cost.used <= 1


@pytest.fixture
def many(tmp_path: Path, toy_source: type, encode: Any, make_picture: Any) -> Selection:
    """400 samples of one picture, in four tars."""

    record = Record({"jpg": encode(make_picture(1))})
    layout = Layout(tmp_path / "s", tmp_path / "m")
    pack(toy_source("many", {f"k{i:03d}": record for i in range(400)}), "many", layout, 100)
    return select("many", "many", "true", layout, tmp_path / "cache")


def test_larger_blocks_take_fewer_requests_and_shuffle_less(
    many: Selection,
) -> None:
    costs = [cost_of([many], {"many": 1}, 16, 0, block) for block in (1, 8, 64)]
    shuffles = [cost.shuffle for cost in costs]
    assert 0.97 < shuffles[0] < 1.03
    assert shuffles == sorted(shuffles, reverse=True)
    # a batch holds two blocks of 8: of its 120 pairs, 56 lie in one block; the others are anywhere
    assert shuffles[1] == pytest.approx(64 / 120, abs=0.06)
    # all of one block of 64; of its 2,016 pairs, 276 are more than 40 rows apart
    assert shuffles[2] == pytest.approx(276 / 2016 / (1 - 0.19), abs=0.06)
    whole = cost_of([many], {"many": 1}, 16, 0, 400)  # a single block: a full shuffle again
    assert 0.97 < whole.shuffle < 1.03
    requests = [cost.requests for cost in costs]
    assert requests[1] < requests[0] / 3
    assert requests[2] <= requests[1]
    assert costs[0].shards > costs[2].shards
