"""Which pictures are drawn again, and which of their drawings is kept."""

import numpy as np
import pytest

from toolkit.measures.stylization import StyleLook
from train.falling_back import FallingBack


def picture(level: float, seed: int = 0) -> np.ndarray:
    """A noisy picture of a mean colour, uint8 [64,64,3]."""
    rng = np.random.default_rng(seed)
    return rng.normal(level, 12, (64, 64, 3)).clip(0, 255).astype(np.uint8)


def style(back: FallingBack, count: int = 6) -> StyleLook | None:
    return back.style("a", lambda: [picture(120 + n, n) for n in range(count)])


def test_what_looks_like_its_style_is_kept_as_it_is() -> None:
    back, asked = FallingBack(["one"]), []
    own = picture(123, 9)
    kept = back.keep(0, own, style(back), lambda way: asked.append(way) or own)
    assert kept is own
    assert asked == []
    assert back.drawn[0].tries == 0
    assert back.notes() == []


@pytest.mark.parametrize(
    ("levels", "kept", "tries"),
    [
        ((90, 122, 10), 122, 2),  # the second way does it, the third is not tried
        ((90, 60, 150), 150, 3),  # none does: the nearest of all
        ((20, 10, 5), 40, 3),  # none is nearer than the first picture was
    ],
)
def test_what_does_not_is_drawn_until_it_does(
    levels: tuple[int, ...], kept: int, tries: int
) -> None:
    back = FallingBack([0, 1, 2])
    found = back.keep(7, picture(40), style(back), lambda way: picture(levels[way]))
    assert abs(found.mean() - kept) < 3
    assert back.drawn[7].tries == tries
    assert back.drawn[7].is_of_the_style == (kept == 122)
    near = int(kept == 122)
    assert back.notes() == [
        "1 of 1 pictures were farther from their style's look than its own pictures are, and were "
        f"drawn again: {near} are as near now"
    ]


def test_a_style_of_one_picture_cannot_be_judged_by() -> None:
    back, own = FallingBack([0]), picture(40)
    assert style(back, 1) is None
    assert back.keep(0, own, None, lambda _: picture(120)) is own
    assert not back.drawn


def test_a_styles_pictures_are_looked_at_once() -> None:
    back, times = FallingBack([0]), []
    for _ in range(3):
        back.style("a", lambda: times.append(1) or [picture(1), picture(9)])
    assert len(times) == 1
