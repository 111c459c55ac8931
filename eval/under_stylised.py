"""Pictures that a model left as photographs: those that look like their style neither as much as
real pictures of it do, nor much more than the content did.

Prompts that most styles fail on are the ones to look at: a model may have no way from a modern
thing to an old style.
"""

from collections import Counter
from dataclasses import dataclass

import numpy as np

from eval.features.api import Extractor
from eval.looking import Looker, View, by_threads
from eval.roster import Item, Picture, Roster
from toolkit.measures.stylization import StyleLook

LEAST_MOVED = 0.25
_MOST_REFERENCES = 200  # of each style
_SHOWN = 24


@dataclass(frozen=True)
class Found:
    """A picture that is not stylised enough. distance: from its style, in spreads; farthest: of a
    real picture of the style; moved: share of the way from the content, None without one."""

    key: str
    prompt: str
    style: str
    distance: float
    farthest: float
    moved: float | None


@dataclass(frozen=True)
class UnderStylised:
    """looked_at: pictures with a style; found: the worst of those that are not stylised enough;
    count: of all; prompts: how many of the pictures of a prompt (or content) they are, and of how
    many, most first."""

    looked_at: int
    count: int
    found: list[Found]
    prompts: list[tuple[str, int, int]]


def under_stylised(
    roster: Roster, looker: Looker, extractor: Extractor, limit: int
) -> UnderStylised:
    """Looks at the first `limit` pictures of a roster."""
    styles = _styles(roster, looker, extractor)

    def look(item: Item) -> tuple[Item, Found | None]:
        return item, _judged(item, styles, looker, extractor)

    found: list[Found] = []
    count, failed, asked = 0, Counter[str](), Counter[str]()
    wanted = (item for item in roster.items() if item.number < limit and _style(item) in styles)
    for item, bad in by_threads(look, wanted):
        asked[_prompt(item)] += 1
        if bad is None:
            continue
        count += 1
        failed[bad.prompt] += 1
        found = sorted([*found, bad], key=lambda f: -f.distance / f.farthest)[:_SHOWN]
    prompts = [(prompt, number, asked[prompt]) for prompt, number in failed.items()]
    prompts.sort(key=lambda row: (-row[1] / row[2], -row[1], row[0]))
    return UnderStylised(sum(asked.values()), count, found, prompts[:_SHOWN])


def _styles(roster: Roster, looker: Looker, extractor: Extractor) -> dict[str, StyleLook]:
    """Where the references of each style lie; styles with one alone cannot be judged by."""
    pictures: dict[str, list[Picture]] = {}
    for picture in roster.all_references("style"):
        own = pictures.setdefault(picture.style or picture.key, [])
        if len(own) < _MOST_REFERENCES:
            own.append(picture)
    found = {}
    for style, references in pictures.items():
        if len(references) < 2:
            continue
        views = [View(picture) for picture in references]
        looks = by_threads(lambda view: looker.features(view, extractor)[0], views)
        found[style] = StyleLook.of(np.stack(list(looks)).astype(np.float64))
    return found


def _judged(
    item: Item, styles: dict[str, StyleLook], looker: Looker, extractor: Extractor
) -> Found | None:
    style = styles[_style(item)]
    own = looker.features(View(item.picture), extractor)[0]
    distance, moved = style.distance(own), None
    if contents := item.refs.get("content", ()):
        size = (item.width, item.height)
        moved = style.moved(own, looker.features(View(contents[0], size), extractor)[0])
    if distance <= style.farthest or (moved is not None and moved >= LEAST_MOVED):
        return None
    return Found(
        item.picture.key, _prompt(item), _style(item), distance, style.farthest, moved
    )  # fmt: skip


def _style(item: Item) -> str:
    references = item.refs.get("style", ())
    return item.style or (references[0].style or references[0].key if references else "")


def _prompt(item: Item) -> str:
    contents = item.refs.get("content", ())
    return item.caption or (contents[0].key if contents else item.picture.key)
