"""The store answers with the same bits, and sets do not depend on the order they are named in."""

import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from eval.feature_store import FeatureStore
from toolkit.core.errors import UserError


def filled(path: Path | None, count: int = 700) -> tuple[FeatureStore, np.ndarray]:
    features = np.random.default_rng(0).normal(3, 1, (count, 6)).astype(np.float32)
    store = FeatureStore(path)
    for number in np.random.default_rng(1).permutation(count):
        store.keep_features("net", f"{number:04}", (features[number], features[number] * 2))
    return store, features


def test_features_and_scores_come_back_as_they_were(tmp_path: Path) -> None:
    path = tmp_path / "a" / "features.sqlite"
    store, features = filled(path)
    store.keep_score("lpips", "a", "b", 0.1)
    store.keep_score("lpips", "a", "b", 0.2)
    store.close()
    again = FeatureStore(path)
    found = again.features("net", "0007")
    assert found is not None
    assert np.array_equal(found[0], features[7])
    assert np.array_equal(found[1], features[7] * 2)
    assert again.features("other", "0007") is None
    assert again.score("lpips", "a", "b") == 0.2
    assert again.score("lpips", "b", "a") is None
    shaped = np.arange(6, dtype=np.float32).reshape(1, 2, 3)
    again.keep_features("net", "shaped", (shaped,))
    assert np.array_equal(again.features("net", "shaped")[0], shaped)


def test_a_set_is_the_same_to_the_bit_in_any_order() -> None:
    store, features = filled(None)
    names = [f"{number:04}" for number in range(len(features))]
    forwards, backwards = (store.set_of("net", 0, n) for n in (names, names[::-1]))
    a, b = forwards.moments(), backwards.moments()
    assert np.array_equal(a.mean, b.mean)
    assert np.array_equal(a.scatter, b.scatter)
    np.testing.assert_allclose(a.covariance, np.cov(features.astype(float).T), rtol=1e-10)
    parts = np.concatenate(list(backwards.blocks(99)))
    assert np.array_equal(parts, features)
    assert (forwards.count, forwards.dim) == (700, 6)


def test_what_is_named_twice_counts_twice_and_what_is_absent_is_an_error() -> None:
    store, features = filled(None, 4)
    twice = store.set_of("net", 1, ["0001", "0003", "0001"])
    assert np.array_equal(twice.slice(0, 3), 2 * features[[1, 1, 3]])
    with pytest.raises(LookupError, match="not in the store"):
        store.set_of("net", 0, ["0001", "absent"]).moments()
    assert store.set_of("net", 0, []).count == 0


def test_a_damaged_file_says_so(tmp_path: Path) -> None:
    path = tmp_path / "features.sqlite"
    path.write_bytes(b"no database at all, but long enough to look like one" * 100)
    with pytest.raises(UserError, match="delete it"):
        FeatureStore(path)


def test_what_a_killed_program_had_written_is_there(tmp_path: Path) -> None:
    """Killed without a word: what was committed stays, the rest is lost, the file is whole."""
    path = tmp_path / "features.sqlite"
    code = (
        "import os, numpy as np; from pathlib import Path\n"
        "from eval.feature_store import FeatureStore\n"
        f"store = FeatureStore(Path({str(path)!r}))\n"
        "for n in range(1000):\n"
        "    store.keep_features('net', str(n), (np.ones(8, np.float32),))\n"
        "os.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False)
    assert done.returncode == -9
    store = FeatureStore(path)
    there = sum(store.features("net", str(n)) is not None for n in range(1000))
    assert 700 <= there < 1000
    with sqlite3.connect(path) as con:
        assert con.execute("PRAGMA integrity_check").fetchone() == ("ok",)
