"""Circles as in Fill50K: geometry, colours and prompt fit together, names are CSS's."""

import ast
import csv
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from toolkit.painting.circles import COLOUR_NAMES, OUTLINE_PX, RADIUS_PX, SIZE_PX, Circle, draw, rgb


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
        assert RADIUS_PX[0] <= radius <= RADIUS_PX[1] + 1


def test_some_circles_reach_over_the_border(circles: list[Circle]) -> None:
    assert any(not inside(found) for found in circles)
    assert all(found.disc.any() and not found.disc.all() for found in circles)


def test_the_outline_lies_astride_the_discs_rim(circles: list[Circle]) -> None:
    for found in circles[:15]:
        assert found.disc.shape == found.outline.shape == (SIZE_PX, SIZE_PX)
        # Distance of each pixel to the other side; beyond the picture the disc goes on.
        padded = np.pad(found.disc, 40, mode="edge")
        depth = ndimage.distance_transform_edt(padded) + ndimage.distance_transform_edt(~padded)
        depth = depth[40:-40, 40:-40]
        amid = np.zeros_like(found.disc)
        amid[30:-30, 30:-30] = True
        assert found.outline[amid & (depth < OUTLINE_PX / 2 - 0.5)].all()
        assert not found.outline[amid & (depth > OUTLINE_PX / 2 + 1.5)].any()


def test_the_outlines_are_those_of_real_fill50k(circles: list[Circle], shared_data: Path) -> None:
    """Mean width of the outline and share of the disc, by area: both are near the real ones."""

    def measure(outline: np.ndarray, disc: np.ndarray) -> tuple[float, float]:
        rim = np.count_nonzero(disc & ~ndimage.binary_erosion(disc, border_value=1))
        return np.count_nonzero(outline) / rim, disc.mean()

    real = []
    for path in sorted((shared_data / "fill50k" / "source").glob("*.png"))[:60]:
        target = np.asarray(Image.open(path.parent.parent / "target" / path.name).convert("RGB"))
        # where the ground is depends on the circle: the outline's outer side tells
        outline = np.asarray(Image.open(path).convert("L")) > 127
        ground = target[~ndimage.binary_dilation(ndimage.binary_fill_holes(outline), iterations=3)]
        disc = (target != np.median(ground, axis=0)).any(axis=2)
        real.append(measure(outline, disc))
    own = [measure(found.outline, found.disc) for found in circles]
    assert np.mean(own, axis=0) == pytest.approx(np.mean(real, axis=0), rel=0.2)


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
    twins = {("aqua", "cyan"), ("fuchsia", "magenta")}  # as CSS has them
    assert len({rgb(name) for name in COLOUR_NAMES}) == len(COLOUR_NAMES) - len(twins)
    assert all(rgb(one) == rgb(other) for one, other in twins)
    for name in COLOUR_NAMES:
        assert len(rgb(name)) == 3
        assert all(0 <= value <= 255 for value in rgb(name))


@pytest.mark.parametrize(
    ("name", "code"),
    [("corn silk", "fff8dc"), ("light golden rod yellow", "fafad2"), ("black", "000000"),
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
            assert name in COLOUR_NAMES
            assert rgb(name) == ast.literal_eval(row[column])
            compared += 1
    assert compared == 2 * len(rows) > 100
