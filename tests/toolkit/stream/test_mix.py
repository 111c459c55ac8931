"""The mix: exact per window and in total, each sample once per epoch, a pure function."""

from collections import Counter

import numpy as np
import pytest
from scipy import stats

from toolkit.core.errors import UserError
from toolkit.stream.mix import Mix, Place, parse_mix

MIXES = [
    ({"main": 600, "fill50k": 180}, {"main": 3, "fill50k": 1}),
    ({"a": 11, "b": 7, "c": 1}, {"a": 5, "b": 2, "c": 1}),
    ({"only": 13}, {"only": 1}),
    ({"x": 4, "y": 9}, {"x": 1, "y": 1}),
]


def at(mix: Mix, first: int, count: int) -> Place:
    return mix.at(np.arange(first, first + count))


@pytest.mark.parametrize(("sizes", "weights"), MIXES, ids=["3:1", "5:2:1", "1", "1:1"])
class TestEveryMix:
    def test_each_aligned_window_holds_the_exact_ratio(
        self, sizes: dict[str, int], weights: dict[str, int]
    ) -> None:
        mix = Mix(sizes, weights, seed=3)
        assert mix.window == sum(weights.values())
        place = at(mix, 0, mix.window * 500)
        for window in place.source.reshape(500, mix.window):
            assert Counter(window.tolist()) == dict(enumerate(weights.values()))

    def test_each_sample_comes_once_per_epoch(
        self, sizes: dict[str, int], weights: dict[str, int]
    ) -> None:
        mix = Mix(sizes, weights, seed=3)
        windows = 4 * max(-(-sizes[n] // weights[n]) for n in weights)
        place = at(mix, 0, windows * mix.window)
        for number, name in enumerate(weights):
            rows = place.row[place.source == number]
            epochs = place.epoch[place.source == number]
            size = sizes[name]
            assert epochs.tolist() == [i // size for i in range(len(rows))]
            whole = len(rows) // size
            assert whole >= 2
            for epoch in range(whole):
                part = rows[epoch * size : (epoch + 1) * size]
                assert sorted(part.tolist()) == list(range(size))

    def test_one_by_one_equals_all_together(
        self, sizes: dict[str, int], weights: dict[str, int]
    ) -> None:
        mix = Mix(sizes, weights, seed=3)
        together = at(mix, 0, 100)
        backwards = [mix.at(np.array([p])) for p in range(99, -1, -1)][::-1]
        for name in ("source", "row", "epoch", "seed"):
            single = [getattr(place, name)[0] for place in backwards]
            assert getattr(together, name).tolist() == single

    def test_far_positions_need_no_history(
        self, sizes: dict[str, int], weights: dict[str, int]
    ) -> None:
        mix = Mix(sizes, weights, seed=3)
        far = 10**12 // mix.window * mix.window
        place = at(mix, far, mix.window)
        assert Counter(place.source.tolist()) == dict(enumerate(weights.values()))
        assert (place.row >= 0).all()
        assert (place.row < [list(sizes.values())[s] for s in place.source]).all()


def test_the_first_4000_positions_hold_exactly_3000_main_and_1000_fill50k() -> None:
    mix = Mix({"main": 480, "fill50k": 180}, {"main": 3, "fill50k": 1}, seed=0)
    place = at(mix, 0, 4000)
    names = Counter(mix.names[s] for s in place.source)
    assert names == {"main": 3000, "fill50k": 1000}


@pytest.mark.parametrize("block", [1, 64])
def test_three_to_one_over_a_million_positions(block: int) -> None:
    count, sizes = 1_000_000, {"main": 77_777, "fill50k": 50_000}
    mix = Mix(sizes, {"main": 3, "fill50k": 1}, seed=8, block=block)
    place = at(mix, 0, count)
    assert (place.source.reshape(-1, 4).sum(axis=1) == 1).all()  # in each aligned window
    assert Counter(place.source.tolist()) == {0: 750_000, 1: 250_000}
    for source, size in enumerate(sizes.values()):
        rows = place.row[place.source == source]
        epochs = len(rows) // size
        for rows_of_epoch in rows[: epochs * size].reshape(epochs, size):
            assert (np.sort(rows_of_epoch) == np.arange(size)).all()
        assert epochs == (9, 5)[source]
    assert len(np.unique(place.seed)) == count
    for rank in range(4):  # four ranks at batch 1
        assert abs(place.source[rank::4].mean() - 0.25) < 4 * (0.1875 / 250_000) ** 0.5


@pytest.mark.parametrize(("size", "epochs"), [(480, 1), (481, 1), (100, 7), (2, 1)])
def test_positions_of_epochs_hold_the_first_source_that_often(size: int, epochs: int) -> None:
    mix = Mix({"main": size, "fill50k": 180}, {"main": 3, "fill50k": 1}, seed=0)
    place = at(mix, 0, mix.positions(epochs))
    seen = np.bincount(place.row[place.source == 0], minlength=size)
    assert seen.min() == epochs
    assert epochs * size <= seen.sum() < epochs * size + 3  # the window is filled up
    assert Mix({"main": size}, {"main": 1}, seed=0).positions(epochs) == epochs * size


def test_which_slot_is_the_rare_one_is_drawn_anew_in_each_window() -> None:
    mix = Mix({"main": 480, "fill50k": 180}, {"main": 3, "fill50k": 1}, seed=0)
    slots = at(mix, 0, 4 * 4000).source.reshape(-1, 4).argmax(axis=1)
    assert stats.chisquare(np.bincount(slots, minlength=4)).pvalue > 1e-4
    # Nor does one window tell the next one's slot.
    pairs = np.bincount(4 * slots[:-1] + slots[1:], minlength=16)
    assert stats.chisquare(pairs).pvalue > 1e-4


@pytest.mark.parametrize("ranks", [2, 3, 4, 8])
def test_ranks_that_take_every_kth_position_see_both_tasks(ranks: int) -> None:
    mix = Mix({"main": 480, "fill50k": 180}, {"main": 3, "fill50k": 1}, seed=5)
    source = at(mix, 0, 4 * 8 * 300).source
    for rank in range(ranks):
        share = (source[rank::ranks] == 1).mean()
        assert 0.19 < share < 0.31


def test_other_seeds_give_other_orders_and_the_same_seed_the_same() -> None:
    sizes, weights = {"main": 100, "fill50k": 30}, {"main": 3, "fill50k": 1}
    orders = {}
    for seed in (0, 1, 2, 10**9):
        place = at(Mix(sizes, weights, seed), 0, 400)
        again = at(Mix(sizes, weights, seed), 0, 400)
        assert place.row.tolist() == again.row.tolist()
        assert place.seed.tolist() == again.seed.tolist()
        main = place.row[place.source == 0]
        orders[seed] = (tuple(place.source.tolist()), tuple(main.tolist()))
        assert len(set(place.seed.tolist())) == 400
    assert len({rows for _, rows in orders.values()}) == 4
    assert len({source for source, _ in orders.values()}) == 4


def test_epochs_are_shuffled_differently() -> None:
    rows = at(Mix({"only": 50}, {"only": 1}, seed=0), 0, 500).row.reshape(10, 50)
    assert len({tuple(row.tolist()) for row in rows}) == 10


def test_a_sources_order_does_not_depend_on_its_companions() -> None:
    alone = at(Mix({"main": 40}, {"main": 1}, seed=2), 0, 40)
    mixed = at(Mix({"main": 40, "x": 9}, {"main": 3, "x": 2}, seed=2), 0, 200)
    assert mixed.row[mixed.source == 0][:40].tolist() == alone.row.tolist()


def test_unusable_mixes_are_refused() -> None:
    with pytest.raises(UserError, match="the mix: a=0: takes 1 or more"):
        Mix({"a": 5}, {"a": 0}, 0)
    with pytest.raises(UserError, match="the mix takes a, but its selection holds no sample"):
        Mix({"a": 0}, {"a": 1}, 0)
    with pytest.raises(UserError, match="the mix is empty"):
        Mix({"a": 5}, {}, 0)


@pytest.mark.parametrize(
    ("text", "mix"),
    [
        ("main:3,fill50k:1", {"main": 3, "fill50k": 1}),
        (" main:3 , fill50k ", {"main": 3, "fill50k": 1}),
        ("a", {"a": 1}),
        ("b:2,a:1,", {"b": 2, "a": 1}),
    ],
)
def test_a_mix_as_text(text: str, mix: dict[str, int]) -> None:
    assert parse_mix(text) == mix
    assert list(parse_mix(text)) == list(mix)


@pytest.mark.parametrize(
    "text", ["", ",", ":3", "a:0", "a:-1", "a:1.5", "a:x", "a:1,a:2", "a:1:2", "a:²"]
)
def test_a_wrong_mix_as_text_is_one_line(text: str) -> None:
    with pytest.raises(UserError, match="mix"):
        parse_mix(text)


def test_main_comes_first_wherever_it_is_written() -> None:
    found = parse_mix("fill50k:1,main:3,prior:2")
    assert list(found.items()) == [("main", 3), ("fill50k", 1), ("prior", 2)]
