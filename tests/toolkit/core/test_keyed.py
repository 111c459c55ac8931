"""Keyed random numbers: recorded values, no collisions between neighbours, plain uniform bits."""

import subprocess
import sys

import numpy as np
from scipy import stats

from toolkit.core.keyed import key63, key64


def test_the_values_are_the_recorded_ones() -> None:
    """They decide every order and every picture: a change would change all data."""
    assert key64() == 13020603013274838756
    assert key64("order", 0, "main") == 1189512771718877794
    assert key64("sample", 2026, "content", "chelsea", 3) == 17322380510976949176
    assert key64(-1) == 2977900922074609201
    assert key64("é") == 9870321019725871141


def test_parts_do_not_run_into_each_other() -> None:
    keys = [
        key64(), key64(""), key64("", ""), key64("ab", "c"), key64("a", "bc"), key64("abc"),
        key64("a", "b", "c"), key64(1), key64("1"), key64(1, 2), key64(12), key64("1", 2),
        key64("int:1"), key64("str:1"), key64("a\0b"), key64("a", "\0b"),
    ]  # fmt: skip
    assert len(set(keys)) == len(keys)


def test_equal_parts_give_equal_keys_in_another_process() -> None:
    program = "from toolkit.core.keyed import key64; print(key64('order', 7, 'main'))"
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={"PYTHONHASHSEED": "123", "PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(done.stdout) == key64("order", 7, "main")


def test_key63_is_key64_without_its_top_bit_and_fits_a_signed_number() -> None:
    for number in range(200):
        assert 0 <= key63("x", number) < 2**63
        assert key63("x", number) == key64("x", number) // 2


def test_every_bit_is_a_fair_coin() -> None:
    keys = np.array([key64("bits", number) for number in range(4000)], np.uint64)
    bits = (keys[:, None] >> np.arange(64, dtype=np.uint64)) & np.uint64(1)
    ones = bits.sum(axis=0)
    # 64 two-sided binomial tests with a family-wise level of 1e-6.
    smallest = min(stats.binomtest(int(count), 4000).pvalue for count in ones)
    assert smallest > 1e-6 / 64
    assert len(set(keys.tolist())) == 4000
