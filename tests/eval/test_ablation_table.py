"""The table of an ablation: effects are found, noise of pictures and of seeds is called noise."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from eval.ablation_table import INSIDE_SEEDS, Entry, entries_of, merged, shared_metrics
from eval.paired import Cell

CONTENTS, STYLES = 12, 15
SINGLE = {"kind": "picture", "better": "higher", "fingerprint": "f", "value": 0.0}
METRICS = [{"name": "edges", **SINGLE}, {"name": "hist", **SINGLE, "better": "lower"}]


def cells(
    rng: np.random.Generator, effect: Sequence[float], noise: float = 0.1
) -> dict[Cell, np.ndarray]:
    """Scores of two metrics over a grid whose contents and styles differ far more than effects."""
    grid = np.random.default_rng(0).normal(size=(CONTENTS, STYLES, 1)) * 0.6
    return {
        (f"c{c}", f"s{s}", ""): grid[c, s] + np.array(effect) + rng.normal(size=2) * noise
        for c in range(CONTENTS)
        for s in range(STYLES)
    }


def summaries(rows: dict[str, list[dict[Cell, np.ndarray]]]) -> dict[str, list[dict[str, Any]]]:
    return {
        row: [
            {"metrics": [
                {**metric, "value": float(np.nanmean([v[n] for v in one.values()]))}
                for n, metric in enumerate(METRICS)
            ]}
            for one in several
        ]
        for row, several in rows.items()
    }  # fmt: skip


def table(rows: dict[str, list[dict[Cell, np.ndarray]]]) -> dict[tuple[str, str], Entry]:
    found = entries_of(rows, summaries(rows), METRICS, "base")
    return {(entry.row, entry.metric): entry for entry in found}


def test_effects_are_found_and_noise_is_not() -> None:
    rng = np.random.default_rng(1)
    found = table({
        "base": [cells(rng, (0, 0))], "same": [cells(rng, (0, 0))],
        "both": [cells(rng, (0.1, 0.1))],
    })  # fmt: skip
    assert {key: entry.verdict for key, entry in found.items()} == {
        ("base", "edges"): "", ("base", "hist"): "",
        ("same", "edges"): "inside noise", ("same", "hist"): "inside noise",
        ("both", "edges"): "better", ("both", "hist"): "worse",
    }  # fmt: skip
    edges = found["both", "edges"]
    assert edges.difference_low < 0.1 < edges.difference_high
    assert edges.pairs == CONTENTS * STYLES
    assert edges.value - found["base", "edges"].value == pytest.approx(edges.difference)
    assert edges.low < edges.value < edges.high
    # contents and styles are far apart, what one makes of the same ones is not
    assert edges.high - edges.low > 2 * (edges.difference_high - edges.difference_low)


def test_p_values_are_corrected_for_the_whole_table() -> None:
    """The same row alone, and among eleven others: Holm's factor is the number of comparisons."""
    rng = np.random.default_rng(2)
    base, weak = [cells(rng, (0, 0), 0.3)], [cells(rng, (0.17, 0), 0.3)]
    alone = table({"base": base, "weak": weak})
    others = {f"row{n}": [cells(rng, (0, 0), 0.3)] for n in range(11)}
    among = table({"base": base, "weak": weak, **others})
    few, many = alone["weak", "edges"], among["weak", "edges"]
    assert few.difference == many.difference
    assert min(entry.p for entry in among.values() if entry.p is not None) == many.p
    assert many.p == pytest.approx(min(1.0, few.p * 24 / 2))
    assert (few.verdict, many.verdict) == ("better", "inside noise")


def test_a_difference_that_another_seed_undoes_is_noise() -> None:
    """Training moves a run as a whole, which no resampling of pictures can know."""
    rng = np.random.default_rng(3)
    base = [cells(rng, (shift, 0)) for shift in (0.0, 0.1)]
    moved = [cells(rng, (shift, 0.3)) for shift in (0.05, 0.25)]
    found = table({"base": base, "moved": moved})
    assert found["moved", "edges"].difference_low > 0
    assert found["moved", "edges"].verdict == INSIDE_SEEDS
    assert found["moved", "hist"].verdict == "worse"
    assert len(found["moved", "hist"].seeds) == 2
    assert found["moved", "edges"].pairs == CONTENTS * STYLES


def test_seeds_are_averaged_pair_by_pair() -> None:
    nan = float("nan")
    a, b, c = ("c", "s", ""), ("d", "s", ""), ("e", "s", "")
    one = {a: np.array([1.0, 2.0]), b: np.array([nan, 1.0])}
    two = {a: np.array([3.0, nan]), c: np.array([nan, 5.0])}
    found = merged([one, two])
    np.testing.assert_array_equal(found[a], [2.0, 2.0])
    np.testing.assert_array_equal(found[b], [nan, 1.0])
    np.testing.assert_array_equal(found[c], [nan, 5.0])


def test_sets_are_shown_and_not_tested() -> None:
    rng = np.random.default_rng(4)
    rows = {"base": [cells(rng, (0, 0))], "other": [cells(rng, (0, 0))]}
    fid = {"name": "fid", "kind": "set", "better": "lower", "fingerprint": "f"}
    of_rows = summaries(rows)
    for value, several in zip((3.0, 2.0), of_rows.values(), strict=True):
        several[0]["metrics"].append({**fid, "value": value})
    found = {e.row: e for e in entries_of(rows, of_rows, [fid], "base") if e.metric == "fid"}
    assert (found["base"].value, found["other"].value) == (3.0, 2.0)
    assert (found["other"].low, found["other"].difference, found["other"].verdict) == (
        None,
        None,
        "",
    )


def test_without_the_baseline_nothing_is_compared() -> None:
    found = table({"other": [cells(np.random.default_rng(5), (0, 0))]})
    assert found["other", "edges"].difference is None
    assert found["other", "edges"].low < found["other", "edges"].high


def test_only_what_all_rows_measured_alike_is_compared() -> None:
    def of(name: str, **metrics: Any) -> dict[str, Any]:
        return {"name": name, "metrics": [{"name": k, **SINGLE, **v} for k, v in metrics.items()]}

    one = of("one", edges={}, fid={"value": None}, csd={"fingerprint": "a"}, gram={})
    two = of("two", edges={}, fid={}, csd={"fingerprint": "b"})
    shared, notes = shared_metrics([one, two])
    assert [metric["name"] for metric in shared] == ["edges"]
    assert notes == [
        "csd: left out, measured with other weights or settings by some rows",
        "fid: left out, one has no score",
        "gram: left out, two has no score",
    ]
