"""The interval of the competition's score, on made-up measurements whose truth can be drawn."""

import numpy as np
import pytest

from eval import competition_interval
from eval.competition_interval import intervals
from eval.competition_terms import COLUMNS, Measured

STYLES, PICTURES, FEATURES = 14, 5, 3
REFERENCES = np.random.default_rng(0).normal(size=(40, FEATURES))
MIDDLE = np.array([0.2, 0.4, 0.8, 0.7, 0.6, 0.7, 0.7])


def drawn(rng: np.random.Generator, styles: int = STYLES, between: float = 0.1) -> Measured:
    """Styles differ by `between`, pictures of one by a fifth of that."""
    rows, inception, references = {}, {}, {}
    for number in range(styles):
        own = MIDDLE + rng.normal(size=len(COLUMNS)) * between
        values = own + rng.normal(size=(PICTURES, len(COLUMNS))) * between / 5
        values[:, COLUMNS.index("clip_r")] = rng.random(PICTURES) < 0.8
        rows[f"{number:02}"] = np.clip(values, 0, 1)
        inception[f"{number:02}"] = rng.normal(size=(PICTURES, FEATURES)) + 0.5
        references[f"{number:02}"] = REFERENCES
    return Measured(tuple(rows), {}, rows, inception, references)


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(competition_interval, "NUM_RESAMPLES", 150)


def test_it_holds_what_such_sets_score_on_average() -> None:
    """95% of intervals would; resampling pictures alone, without styles, covers about half."""
    rng = np.random.default_rng(1)
    truth = np.mean([drawn(rng).scores()["corrected"][1].score for _ in range(400)])
    found = [intervals(drawn(rng))["corrected"] for _ in range(60)]
    assert np.mean([low <= truth <= high for low, high in found]) > 0.85
    centres = np.mean([(low + high) / 2 for low, high in found])
    assert centres == pytest.approx(truth, abs=0.01)


def test_it_is_of_every_score_and_the_same_each_time() -> None:
    measured = drawn(np.random.default_rng(2))
    found = intervals(measured)
    assert found.keys() == measured.scores().keys()
    for name, (_, result) in measured.scores().items():
        low, high = found[name]
        assert low < result.score < high
    assert found == intervals(measured)


def test_it_is_narrower_with_more_styles_and_wider_where_these_differ() -> None:
    def width(styles: int, between: float) -> float:
        low, high = intervals(drawn(np.random.default_rng(3), styles, between))["corrected"]
        return high - low

    assert width(50, 0.1) < 0.8 * width(10, 0.1)
    assert width(14, 0.05) < 0.8 * width(14, 0.15)


def test_of_one_style_pictures_alone_are_drawn() -> None:
    measured = drawn(np.random.default_rng(4), styles=1)
    found = intervals(measured)
    assert found["official, fid_last"] == pytest.approx(found["official, fid_pooled"], rel=0.2)
