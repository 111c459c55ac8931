"""Which pictures a page shows, and rows of them beside what they were made from."""

from collections import Counter
from collections.abc import Sequence

from eval.feature_store import FeatureStore
from eval.looking import Looker, View
from eval.page import figure
from eval.roster import ROLES, Item, Roster
from toolkit.core.keyed import key64
from toolkit.store.layout import Layout

_SHOWN_PX = 192
_NAMES = {
    "content": "content (before)", "style": "style reference", "target": "the teacher's target",
}  # fmt: skip


class Shown:
    """Pictures of a roster beside what they were made from."""

    def __init__(self, roster: Roster, layout: Layout):
        self.roster, self._looker = roster, Looker(layout, FeatureStore())

    def spread(self, count: int) -> str:
        """Rows of the references and the picture, spread over styles."""
        items = spread(list(lightly(self.roster)), count)
        there = [_NAMES[role] for role in ROLES if any(role in item.refs for item in items)]
        return (
            f"<p>From left to right: {', '.join([*there, 'the picture (after)'])}.</p>"
            + "".join(self.row(item, self.roster.dataset) for item in items)
        )

    def row(self, item: Item, text: str) -> str:
        """One row of pictures; text: under the last one."""
        return in_a_row([*self.references(item), self.picture(item, text)])

    def references(self, item: Item) -> list[str]:
        """What a picture was made from, of its size."""
        size = (item.width, item.height)
        return [
            figure(self._looker.pixels(View(item.refs[role][0], size)), _caption(item, role),
                   _SHOWN_PX)
            for role in ROLES
            if role in item.refs
        ]  # fmt: skip

    def picture(self, item: Item, text: str) -> str:
        """The picture itself; text: under it."""
        return figure(self._looker.pixels(View(item.picture)), text, _SHOWN_PX)


def in_a_row(figures: Sequence[str]) -> str:
    """Figures beside one another."""
    return f"<div class='row'>{''.join(figures)}</div>"


def lightly(roster: Roster) -> list[Item]:
    """Items to choose from: all of a few, and of many those that come first by lot."""
    numbers = sorted(range(len(roster)), key=lambda n: key64("shown", n))[:2000]
    return [roster.item(number) for number in sorted(numbers)]


def spread(items: list[Item], count: int) -> list[Item]:
    """Pictures that show as much as possible: of the styles shown least so far the subject shown
    least, then the least shown picture of it, then the least shown reference."""
    styles: Counter[str] = Counter()
    contents: Counter[str] = Counter()
    chosen: list[Item] = []
    left = list(items)
    while left and len(chosen) < count:
        item = min(
            left,
            key=lambda i: (
                styles[i.style or ""], contents[_subject(i)], contents[i.cluster("content")],
                styles[i.cluster("style")],
            ),
        )  # fmt: skip
        left.remove(item)
        chosen.append(item)
        styles.update({item.style or "", item.cluster("style")})
        contents.update({_subject(item), item.cluster("content")})
    return chosen


def _subject(item: Item) -> str:
    """The content's key without its last part: crops of one photograph count as one subject."""
    return item.cluster("content").rpartition("-")[0]


def _caption(item: Item, role: str) -> str:
    if role == "target":
        return "teacher"
    reference = item.refs[role][0]
    if role == "content":
        return reference.key
    more = f" and {len(item.refs[role]) - 1} more" if len(item.refs[role]) > 1 else ""
    return f"{item.style or reference.style or 'style'}: {reference.key}{more}"
