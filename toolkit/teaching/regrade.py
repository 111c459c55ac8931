"""Quality control of targets that are packed already: a sidecar of columns, shard by shard."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from toolkit.core.errors import UserError
from toolkit.core.progress import Progress
from toolkit.store.card import read_card
from toolkit.store.catalog import no_dataset
from toolkit.store.images import PictureError, decode_rgb, picture_extension
from toolkit.store.layout import Layout
from toolkit.store.manifest import read_manifest
from toolkit.store.samples import read_member
from toolkit.store.sidecar import write_columns
from toolkit.teachers.grading import Limits, grade
from toolkit.teaching.clip import ClipContent
from toolkit.teaching.fit import fitted
from toolkit.teaching.look import Looker
from toolkit.teaching.places import Places

SIDECAR = "quality"


@dataclass
class Graded:
    """What was found. grades, causes: how often; skipped: why targets could not be looked at."""

    grades: Counter[str] = field(default_factory=Counter)
    causes: Counter[str] = field(default_factory=Counter)
    skipped: Counter[str] = field(default_factory=Counter)


def regrade(
    layout: Layout, dataset: str, limits: Mapping[str, Limits], clip: ClipContent | None = None
) -> Graded:
    """Grades every target of a dataset against its linked content and style, one shard at a time,
    and writes the sidecar `quality` beside the manifests: grade, weight, cause and every measure.

    Raises UserError: an unknown dataset, or one without links to content and style.
    """
    known = layout.datasets()
    if dataset not in known:
        raise UserError(no_dataset(dataset, known))
    parents = [name for name in read_card(layout, dataset)["parents"] if name in known]
    if not parents:
        raise UserError(f"{dataset} is linked to no content and style: nothing to compare with")
    found = Graded()
    manifests = layout.manifests_of(dataset)
    with (
        Places(layout, parents) as places,
        Progress(None, f"grade {dataset}", "targets") as progress,
    ):
        looker = Looker(clip)
        for path in manifests:
            columns: dict[str, dict[str, Any]] = {}
            for row in _usable(read_manifest(path)):
                measured = partial(_measures, looker, layout, places, row)
                columns[row["key"]] = _columns(measured, limits, found)
                progress.advance()
            write_columns(layout, dataset, path.stem, SIDECAR, columns)
    return found


def _usable(rows: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    return (row for row in rows if row["status"] == "ok")


def _columns(
    measured: Callable[[], dict[str, float | None]], limits: Mapping[str, Limits], found: Graded
) -> dict[str, Any]:
    try:
        measures = measured()
    except (PictureError, UserError) as error:
        found.skipped[getattr(error, "cause", "content or style missing or damaged")] += 1
        return {"cause": str(error)}
    verdict = grade(measures, True, limits)
    found.grades[verdict.grade] += 1
    found.causes.update(verdict.causes[:1])
    told = {"grade": verdict.grade, "weight": verdict.weight}
    return {**told, "cause": ", ".join(verdict.causes or verdict.doubts) or None, **measures}


def _measures(
    looker: Looker, layout: Layout, places: Places, row: dict[str, Any]
) -> dict[str, float | None]:
    """Raises PictureError or UserError where a picture is missing or does not decode."""
    links = {link["role"]: (link["dataset"], link["key"]) for link in row["links"] or ()}
    if "content" not in links or "style" not in links:
        raise PictureError("no_links", "it is not linked to a content and a style")
    member = next(m for m in row["members"] if picture_extension(m["ext"]))
    picture = decode_rgb(read_member(layout, row, member))
    height, width = picture.shape[:2]
    if min(height, width) < 64:
        raise PictureError("too_small", f"{width}×{height} pixels: takes 64 or more")
    content, style = (
        (links[role], lambda role=role: fitted(places.pixels(*links[role]), height, width))
        for role in ("content", "style")
    )
    return looker.measures(picture, content, style)
