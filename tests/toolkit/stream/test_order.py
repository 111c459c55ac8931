"""Keyed permutations: bijections for any size, different for different keys, plainly uniform."""

import numpy as np
import pytest
from scipy import stats

from toolkit.stream.order import mix64, permute, permute_blocks

SIZES = (1, 2, 3, 4, 5, 7, 8, 15, 16, 17, 100, 255, 256, 257, 1000, 4096, 5000)


def whole(n: int, key: int) -> np.ndarray:
    return permute(np.arange(n), n, np.full(n, key, np.uint64))


def test_the_mixer_is_splitmix64() -> None:
    """Steele, Lea & Flood's generator started at 1234567, as published with its reference code."""
    gamma = 0x9E3779B97F4A7C15
    states = np.array([(1234567 + i * gamma) % 2**64 for i in range(5)], np.uint64)
    assert mix64(states).tolist() == [
        6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431,
        16408922859458223821,
    ]  # fmt: skip


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize("key", [0, 1, 2**64 - 1, 0x123456789ABCDEF])
def test_every_size_is_permuted(n: int, key: int) -> None:
    assert sorted(whole(n, key).tolist()) == list(range(n))


def test_a_permutation_far_beyond_memory_stays_in_range_and_one_to_one() -> None:
    n = 10**15 + 37
    index = np.arange(0, n, n // 20_000, dtype=np.int64)
    image = permute(index, n, np.full(len(index), 5, np.uint64))
    assert image.min() >= 0
    assert image.max() < n
    assert len(np.unique(image)) == len(index)
    assert stats.kstest(image / n, "uniform").pvalue > 1e-4


def test_one_by_one_equals_all_together() -> None:
    for n in (7, 1000):
        keys = mix64(np.arange(n, dtype=np.uint64) % np.uint64(3))
        together = permute(np.arange(n), n, keys)
        single = [int(permute(np.array([i]), n, keys[i : i + 1])[0]) for i in range(n)]
        assert together.tolist() == single


def test_the_input_is_left_alone() -> None:
    index, keys = np.arange(100), np.full(100, 9, np.uint64)
    permute(index, 100, keys)
    assert index.tolist() == list(range(100))
    assert (keys == 9).all()


def test_different_keys_give_different_permutations() -> None:
    orders = {tuple(whole(50, key).tolist()) for key in range(500)}
    assert len(orders) == 500
    # Neighbouring keys agree in as many places as two random permutations do: one on average.
    agreements = [(whole(1000, key) == whole(1000, key + 1)).sum() for key in range(200)]
    assert 0.5 < np.mean(agreements) < 1.6


@pytest.mark.parametrize("n", [3, 7, 16, 30])
def test_every_place_is_equally_likely(n: int) -> None:
    keys = mix64(np.arange(3000, dtype=np.uint64))
    for start in (0, n // 2, n - 1):
        images = permute(np.full(3000, start), n, keys)
        assert stats.chisquare(np.bincount(images, minlength=n)).pvalue > 1e-4


def test_every_order_of_four_is_equally_likely() -> None:
    keys = mix64(np.arange(24 * 200, dtype=np.uint64))
    columns = [permute(np.full(len(keys), i), 4, keys) for i in range(4)]
    codes = sum(column * 4**i for i, column in enumerate(columns))
    counts = np.unique(codes, return_counts=True)[1]
    assert len(counts) == 24
    assert stats.chisquare(counts).pvalue > 1e-4


def test_neighbours_are_torn_apart() -> None:
    """Position and image are uncorrelated, and so are the images of neighbours."""
    images = np.concatenate([whole(1000, key) for key in range(20)]).astype(float)
    positions = np.tile(np.arange(1000.0), 20)
    assert abs(stats.spearmanr(positions, images).statistic) < 0.03
    assert abs(stats.spearmanr(images[:-1], images[1:]).statistic) < 0.03


def test_the_order_is_the_recorded_one() -> None:
    """Resuming an old run on a new version must go on with the same samples."""
    assert whole(12, 2026).tolist() == [6, 8, 2, 9, 7, 1, 10, 4, 0, 11, 5, 3]


# --- blocks


def in_blocks(n: int, block: int, key: int) -> np.ndarray:
    return permute_blocks(np.arange(n), n, block, np.full(n, key, np.uint64))


@pytest.mark.parametrize("n", [1, 2, 7, 16, 100, 1000])
@pytest.mark.parametrize("block", [1, 2, 3, 7, 16, 99, 5000])
def test_blocks_are_a_permutation_too(n: int, block: int) -> None:
    for key in range(20):
        assert sorted(in_blocks(n, block, key).tolist()) == list(range(n))


def test_blocks_stay_together_and_move_as_wholes() -> None:
    image = in_blocks(1000, 16, 3)
    runs = np.split(image // 16, np.flatnonzero(np.diff(image // 16)) + 1)
    assert len(runs) == 63  # 62 whole blocks and one of 8
    assert sorted(map(len, runs)) == [8] + [16] * 62
    order = [run[0] for run in runs]
    assert order != sorted(order)
    assert any(np.any(np.diff(image[:16]) < 0) for _ in range(1))  # shuffled inside


def test_the_short_block_may_stand_anywhere() -> None:
    places = {int(np.flatnonzero(in_blocks(10, 4, key) >= 8)[0]) for key in range(200)}
    assert places == {0, 4, 8}


def test_one_by_one_equals_all_together_in_blocks() -> None:
    keys = mix64(np.arange(100, dtype=np.uint64) % np.uint64(3))
    together = permute_blocks(np.arange(100), 100, 7, keys)
    single = [int(permute_blocks(np.array([i]), 100, 7, keys[i : i + 1])[0]) for i in range(100)]
    assert together.tolist() == single


def test_each_sample_is_equally_likely_to_come_first_in_blocks() -> None:
    n, count = 12, 6000
    keys = mix64(np.arange(count, dtype=np.uint64))
    first = permute_blocks(np.zeros(count, np.int64), n, 4, keys)
    assert stats.chisquare(np.bincount(first, minlength=n)).pvalue > 1e-4
