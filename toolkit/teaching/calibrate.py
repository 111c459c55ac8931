"""Limits fitted to labelled pictures of one's own: a table names them, half of the contents fit."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from toolkit.core.errors import UserError
from toolkit.core.files import write_atomic
from toolkit.core.keyed import key64
from toolkit.core.progress import Progress
from toolkit.measures.quality import compare, features
from toolkit.store.images import PictureError, decode_rgb
from toolkit.store.records_io import records
from toolkit.teachers.calibration import Labelled
from toolkit.teachers.grading import CHECKS, Limits, measures_of
from toolkit.teaching.fit import fitted


def read_labelled(table: Path) -> tuple[list[Labelled], list[Labelled]]:
    """The pictures of a table, measured: those to fit to, and those held out.

    The table, .csv or .jsonl, names `picture`, `content`, `style` (paths, relative to the table)
    and `label`: `good`, or the fault. The half of a picture is that of its content's path, so that
    what is measured was made of photographs that were not fitted to.

    Raises UserError for a table without those columns, and for a picture that cannot be read.
    """
    halves: tuple[list[Labelled], list[Labelled]] = ([], [])
    with Progress(None, "measure", "pictures") as progress:
        for row in records(table):
            names = [row.get(name) for name in ("picture", "content", "style", "label")]
            if not all(names):
                raise UserError(
                    f"{table}: every row names picture, content, style and label, unlike {row}"
                )
            picture, content, style, label = (str(name) for name in names)
            pixels = _pixels(table, picture)
            height, width = pixels.shape[:2]
            others = [features(fitted(_pixels(table, p), height, width)) for p in (content, style)]
            measures = measures_of(compare(features(pixels), *others))
            halves[key64("calibrate", content) & 1].append(Labelled(label, measures, kind=label))
            progress.advance()
    if not halves[0] or not halves[1]:
        raise UserError(f"{table} names too few contents: half of them fit, half are held out")
    return halves


def write_limits(path: Path, limits: Mapping[str, Limits]) -> None:
    """The limits as TOML that `load_limits` reads."""
    lines = ["# Limits of quality control: fair ends class A, refused ends class B.\n"]
    for check in CHECKS:
        limit = limits[check.cause]
        lines.append(
            f"\n[{check.cause}]  # {'higher' if check.is_high_bad else 'lower'} is worse\n"
        )
        lines.append(f"fair = {limit.fair}\n")
        if limit.refused is not None:
            lines.append(f"refused = {limit.refused}\n")
    write_atomic(path, "".join(lines))


def table_of(samples: Sequence[Labelled], limits: Mapping[str, Limits]) -> list[str]:
    """What the limits make of the pictures, a line a label."""
    from toolkit.teachers.calibration import GOOD, caught, precision_and_recall

    found = caught(samples, limits)
    lines = [f"{'label':<16} {'pictures':>8} {'refused':>8} {'class B':>8}  first cause"]
    for label in sorted(found, key=lambda name: (name != GOOD, name)):
        c = found[label]
        causes = ", ".join(f"{name} {n}" for name, n in sorted(c.causes.items()))
        shares = f"{c.refused / c.count:>8.3f} {c.second / c.count:>8.3f}"
        lines.append(f"{label:<16} {c.count:>8} {shares}  {causes}")
    if len(found) == (GOOD in found):
        return [
            *lines,
            "nothing here is labelled with a fault, so precision and recall say nothing",
        ]
    precision, recall = precision_and_recall(samples, limits)
    return [*lines, f"of refusing: precision {precision:.3f}, recall {recall:.3f}"]


def unfitted(samples: Sequence[Labelled]) -> list[str]:
    """What there was too little of to fit to, and which labels no check is for, a line each."""
    from toolkit.teachers.calibration import GOOD, LEAST_FAULTY, LEAST_GOOD

    counts = Counter(sample.label for sample in samples)
    causes = [check.cause for check in CHECKS]
    lines = []
    if counts[GOOD] < LEAST_GOOD:
        lines.append(
            f"no limit was fitted: of {GOOD} pictures, {counts[GOOD]} are too few, {LEAST_GOOD} do"
        )
    elif few := [f"{c} ({counts[c]})" for c in causes if 0 < counts[c] < LEAST_FAULTY]:
        lines.append(f"too few to fit to, {LEAST_FAULTY} do: {', '.join(few)}")
    if odd := sorted(set(counts) - {GOOD, *causes}):
        lines.append(
            f"no check is for {', '.join(odd)}: counted as faulty; checks: {', '.join(causes)}"
        )
    return lines


def _pixels(table: Path, name: str) -> np.ndarray:
    path = table.parent / name
    try:
        pixels = decode_rgb(path.read_bytes())
    except (OSError, PictureError) as error:
        raise UserError(f"{table} names {path}, which cannot be read: {error}") from None
    if min(pixels.shape[:2]) < 64:
        raise UserError(f"{path} has {pixels.shape[1]}×{pixels.shape[0]} pixels: 64 or more a side")
    return pixels
