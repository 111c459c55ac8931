"""How far the competition's score would be from itself with other styles and pictures of the kind.

A bootstrap of styles, and of pictures within each drawn style, with all six terms and their product
computed anew. Drawing pictures again makes any Fréchet distance larger, for there are fewer
different ones; so the resamples are moved by what their mean is off the score itself.
"""

import numpy as np

from eval.competition_terms import Measured, Score
from eval.statistics import interval_of
from toolkit.core.keyed import key64

NUM_RESAMPLES = 1000


def intervals(measured: Measured) -> dict[str, tuple[float, float]]:
    """The 95% interval of each score of `Measured.scores`, by name.

    Of one style only pictures are resampled, so the interval says nothing of other styles.
    """
    scores = {name: result.score for name, (_, result) in measured.scores().items()}
    count = sum(len(rows) for rows in measured.rows.values())
    rng = np.random.Generator(np.random.Philox(key=key64("competition", count)))
    drawn: dict[str, list[float]] = {name: [] for name in scores}
    for _ in range(NUM_RESAMPLES):
        for name, (_, result) in _resampled(measured, rng).items():
            drawn[name].append(result.score)
    found = {}
    for name, score in scores.items():
        values = np.array(drawn[name])
        found[name] = interval_of(values - (values.mean() - score))
    return found


def _resampled(measured: Measured, rng: np.random.Generator) -> dict[str, Score]:
    """The scores of as many styles, drawn among them, each with pictures drawn among its own."""
    styles = measured.styles
    picked = [styles[number] for number in rng.integers(0, len(styles), len(styles))]
    drawn = _drawn(measured, picked, rng)
    last = _drawn(measured, [styles[-1]], rng)  # the one whose FID one of the copies takes
    return drawn.scores(last.fid(last.styles))


def _drawn(measured: Measured, styles: list[str], rng: np.random.Generator) -> Measured:
    rows, inception, references = {}, {}, {}
    for number, style in enumerate(styles):
        count = len(measured.rows[style])
        chosen = rng.integers(0, count, count)
        rows[str(number)] = measured.rows[style][chosen]
        inception[str(number)] = measured.inception[style][chosen]
        references[str(number)] = measured.of_references[style]
    return Measured(tuple(rows), {}, rows, inception, references)
