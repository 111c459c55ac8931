"""What quality control catches of damaged pictures, and how many a second it looks at.

    OMP_NUM_THREADS=1 python -m bench.quality --photos=DIR --paintings=DIR

Photographs and paintings are stylised and damaged on purpose (`damages.py`). Limits are fitted to
one half of them, by photograph and by painting, and measured on the other; the committed table of
`toolkit/teachers/grading.py` is measured on that other half too. Speed is that of one core,
decoding left out, beside the same measures written down plainly with scipy.
"""

import json
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.damages import APART, DAMAGED, HONEST, STRONG, Recipe
from bench.timing import machine
from toolkit.core.command import run
from toolkit.core.errors import UserError
from toolkit.core.progress import Progress
from toolkit.measures.quality import compare, features
from toolkit.store.images import decode_rgb, is_picture
from toolkit.teachers.calibration import (
    GOOD,
    Caught,
    Labelled,
    caught,
    fit_limits,
    precision_and_recall,
)
from toolkit.teachers.grading import Limits, default_limits, measures_of
from toolkit.teaching.fit import fitted


def main(
    *, photos: Path, paintings: Path, size: int = 512, contents: int = 80, seed: int = 0
) -> None:
    """Measures quality control on pictures made from real ones.

    Args:
        photos: folder of photographs, searched through.
        paintings: folder of paintings.
        size: side in pixels.
        contents: photographs that are taken, half of them to fit.
        seed: of everything that is drawn.
    """
    rng = np.random.default_rng(seed)
    found, styles = _pictures(photos, size), _pictures(paintings, size)
    if min(len(found), len(styles)) < 4:
        raise UserError(f"{photos} and {paintings} must hold at least four pictures each")
    found = [found[i] for i in rng.permutation(len(found))[:contents]]
    halves = []
    for half in (0, 1):
        halves.append(_labelled(found[half::2], styles[half::2], rng, ("to fit", "held out")[half]))
    fit, held_out = halves
    fitted_limits, table = fit_limits([s for s in fit if s.label != "apart"]), default_limits()
    result = {
        "size_px": size, "photographs": len(found), "paintings": len(styles),
        "fitted": {cause: [limit.fair, limit.refused] for cause, limit in fitted_limits.items()},
        "held out, fitted limits": _report(held_out, fitted_limits),
        "held out, the table's limits": _report(held_out, table),
        "speed": _speed(found[:20], styles[:20], rng),
    }  # fmt: skip
    text = json.dumps({**machine(), **result}, indent=1)
    print(text)
    path = Path(__file__).parent / "results" / "quality.json"
    path.write_text(text + "\n", encoding="utf-8")


def _pictures(folder: Path, size: int) -> list[np.ndarray]:
    paths = sorted(p for p in folder.rglob("*") if is_picture(p.name))
    return [fitted(decode_rgb(path.read_bytes()), size, size) for path in paths]


def _labelled(
    contents: Sequence[np.ndarray],
    styles: Sequence[np.ndarray],
    rng: np.random.Generator,
    label: str,
) -> list[Labelled]:
    """Every recipe on every content, each time with another painting and another content beside."""
    recipes = [(GOOD, kind, recipe) for kind, recipe in HONEST.items()]
    recipes += [(cause, k, r) for cause, group in DAMAGED.items() for k, r in group.items()]
    recipes += [("apart", kind, recipe) for kind, recipe in {**STRONG, **APART}.items()]
    of_styles = [features(style) for style in styles]
    samples: list[Labelled] = []
    with Progress(len(contents) * len(recipes), label, "pictures") as progress:
        for number, content in enumerate(contents):
            of_content = features(content)
            other = contents[(number + 1 + int(rng.integers(len(contents) - 1))) % len(contents)]
            for cause, kind, recipe in recipes:
                chosen = int(rng.integers(len(styles)))
                picture = _made(recipe, content, styles[chosen], other, rng)
                measures = measures_of(compare(features(picture), of_content, of_styles[chosen]))
                samples.append(Labelled(cause, measures, kind=kind))
                progress.advance()
    return samples


def _made(recipe: Recipe, *args: Any) -> np.ndarray:
    return np.ascontiguousarray(recipe(*args))


def _report(samples: Sequence[Labelled], limits: dict[str, Limits]) -> dict[str, Any]:
    judged = [s for s in samples if s.label != "apart"]
    precision, recall = precision_and_recall(judged, limits)
    of_labels = caught(judged, limits)
    good = of_labels.pop(GOOD)
    apart = caught([s for s in samples if s.label == "apart"], limits, "kind")
    honest = caught([s for s in samples if s.label == GOOD], limits, "kind")

    def shares(found: dict[str, Caught]) -> dict[str, Any]:
        return {k: [round(c.refused / c.count, 3), dict(c.causes)] for k, c in found.items()}

    return {
        "precision": round(precision, 4), "recall": round(recall, 4),
        "good refused": round(good.refused / good.count, 4),
        "good second class": round(good.second / good.count, 4),
        "caught": shares(of_labels),
        "good, refused by kind": shares(honest),
        "apart, refused": shares(apart),
    }  # fmt: skip


def _speed(
    contents: Sequence[np.ndarray], styles: Sequence[np.ndarray], rng: np.random.Generator
) -> dict[str, Any]:
    """Pictures a second: of pictures whose content and style were looked at before, of which
    neither was, and of the plain measures."""
    made = [_made(HONEST["textured"], c, s, c, rng) for c, s in zip(contents, styles, strict=False)]
    known = [(features(c), features(s)) for c, s in zip(contents, styles, strict=False)]

    def warm() -> None:
        for picture, (content, style) in zip(made, known, strict=True):
            measures_of(compare(features(picture), content, style))

    def cold() -> None:
        for picture, content, style in zip(made, contents, styles, strict=False):
            measures_of(compare(features(picture), features(content), features(style)))

    def plain() -> None:
        from bench.plain_quality import plain_measures

        for picture, content, style in zip(made, contents, styles, strict=False):
            plain_measures(picture, content, style)

    rates: dict[str, list[float]] = {"known": [], "nothing known": [], "plain": []}
    for _ in range(5):
        for name, work in (("known", warm), ("nothing known", cold), ("plain", plain)):
            rates[name].append(len(made) / _seconds(work))
    return {name: [round(min(r), 1), round(float(np.median(r)), 1), round(max(r), 1)]
            for name, r in rates.items()}  # fmt: skip


def _seconds(work: Callable[[], None]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


if __name__ == "__main__":
    run(main, "python -m bench.quality")
