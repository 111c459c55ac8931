"""Circles as in Fill50K: geometry, colours and prompt fit together, names are CSS's."""

import ast
import csv
import re
from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from toolkit.painting.circles import COLOUR_NAMES, OUTLINE_PX, SIZE_PX, Circle, draw, rgb


def circle(seed: int) -> Circle:
    return draw(np.random.Generator(np.random.Philox(seed)))


@pytest.fixture(scope="module")
def circles() -> list[Circle]:
    return [circle(seed) for seed in range(60)]


def inside(found: Circle) -> bool:
    """Whether the whole disc lies in the picture."""
    disc = found.disc
    return not (disc[0].any() or disc[-1].any() or disc[:, 0].any() or disc[:, -1].any())


def test_the_generator_decides_everything() -> None:
    one, again, other = circle(5), circle(5), circle(6)
    np.testing.assert_array_equal(one.disc, again.disc)
    assert (one.colour, one.ground, one.prompt) == (again.colour, again.ground, again.prompt)
    assert (one.disc != other.disc).any()


def test_a_disc_is_round(circles: list[Circle]) -> None:
    """Its area is that of the circle with its greatest width, and it fills its hull."""
    whole = [found for found in circles if inside(found)]
    assert len(whole) >= 10
    for found in whole:
        rows, columns = np.nonzero(found.disc)
        radius = (np.ptp(rows) + 1) / 2
        assert np.ptp(columns) == np.ptp(rows)
        assert found.disc.sum() == pytest.approx(np.pi * (radius - 0.5) ** 2, rel=0.02)
        middle = rows.mean(), columns.mean()
        farthest = np.hypot(rows - middle[0], columns - middle[1]).max()
        assert farthest == pytest.approx(radius, abs=1)
        assert 40 <= radius <= 181


def test_some_circles_reach_over_the_border(circles: list[Circle]) -> None:
    assert any(not inside(found) for found in circles)
    assert all(found.disc.any() and not found.disc.all() for found in circles)


def test_the_outline_is_the_discs_rim(circles: list[Circle]) -> None:
    for found in circles[:15]:
        assert found.disc.shape == found.outline.shape == (SIZE_PX, SIZE_PX)
        assert not (found.outline & ~found.disc).any()
        # Distance of each disc pixel to the ground; beyond the picture the disc goes on.
        depth = ndimage.distance_transform_edt(np.pad(found.disc, 40, mode="edge"))
        depth = depth[40:-40, 40:-40]
        rim = found.disc.copy()
        rim[:30], rim[-30:], rim[:, :30], rim[:, -30:] = False, False, False, False
        assert found.outline[rim & (depth < OUTLINE_PX - 1)].all()
        assert not found.outline[rim & (depth > OUTLINE_PX + 2)].any()


def test_the_prompt_names_the_two_colours(circles: list[Circle]) -> None:
    for found in circles:
        match = re.fullmatch(r"(.+) circle with (.+) background", found.prompt)
        assert match is not None
        assert match[1] in COLOUR_NAMES
        assert match[2] in COLOUR_NAMES
        assert (found.colour, found.ground) == (rgb(match[1]), rgb(match[2]))
        assert found.colour != found.ground
    assert len({found.colour for found in circles}) > 20


def test_all_names_are_colours_and_no_two_are_the_same() -> None:
    assert len(set(COLOUR_NAMES)) == len(COLOUR_NAMES)
    assert len({rgb(name) for name in COLOUR_NAMES}) == len(COLOUR_NAMES)
    for name in COLOUR_NAMES:
        assert len(rgb(name)) == 3
        assert all(0 <= value <= 255 for value in rgb(name))


@pytest.mark.parametrize(
    ("name", "code"),
    [("rebecca purple", "663399"), ("light golden rod yellow", "fafad2"), ("black", "000000"),
     ("white", "ffffff"), ("dark slate gray", "2f4f4f"), ("chartreuse", "7fff00"),
     ("lime", "00ff00"), ("green", "008000"), ("papaya whip", "ffefd5")],
)  # fmt: skip
def test_css_colours(name: str, code: str) -> None:
    assert rgb(name) == tuple(bytes.fromhex(code))


def test_real_fill50k_calls_the_same_colours_by_the_same_names(shared_data: Path) -> None:
    with (shared_data / "fill50k" / "metadata.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    compared = 0
    for row in rows:
        match = re.fullmatch(r"(.+) circle with (.+) background", row["prompt"])
        assert match is not None
        for name, column in ((match[1], "circle_rgb"), (match[2], "background_rgb")):
            if name in COLOUR_NAMES:
                assert rgb(name) == ast.literal_eval(row[column])
                compared += 1
    assert compared > len(rows)
