"""One sample's pictures: side by side as a PNG, and drawn in a terminal."""

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import Call
from toolkit.inspect import show
from toolkit.inspection.terminal import colours_of, drawn
from toolkit.store.images import decode_rgb
from toolkit.store.layout import Layout
from toolkit.store.samples import SampleReader

_CELL = re.compile(r"\x1b\[38;2;(\d+);(\d+);(\d+);48;2;(\d+);(\d+);(\d+)m▀")


def test_pictures_stand_side_by_side(looks: Layout, call: Call, tmp_path: Path) -> None:
    out = tmp_path / "new" / "strip.png"
    done = call({"show": show}, "show", "outputs/out04", f"--png={out}", looks)
    assert (done.code, done.err) == (0, "")
    strip = np.asarray(Image.open(out).convert("RGB"))
    wide = round(384 * 64 / 48)  # the painting's
    assert strip.shape == (384 + 18, 3 * 384 + wide + 3 * 8, 3)
    lefts = {
        ("photos", "photo4"): (0, 384), ("paintings", "painting0"): (392, wide),
        ("targets", "target04"): (400 + wide, 384), ("outputs", "out04"): (792 + wide, 384),
    }  # fmt: skip
    for (dataset, key), (left, width) in lefts.items():
        pixels = decode_rgb(SampleReader(looks, dataset).picture(key))
        shown = Image.fromarray(strip[:384, left : left + width])
        back = np.asarray(shown.resize(pixels.shape[1::-1], Image.Resampling.BOX), float)
        assert np.abs(back - pixels).mean() < 3
    assert strip[384:].min() < 30  # labels


def test_a_terminal_shows_two_pixels_a_character() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (6, 10, 3)).astype(np.uint8)
    lines = drawn(pixels, 10, 40, 2**24).split("\n")
    found = [[tuple(map(int, cell)) for cell in _CELL.findall(line)] for line in lines]
    assert np.array_equal(np.array(found).reshape(3, 10, 2, 3).transpose(0, 2, 1, 3),
                          pixels.reshape(3, 2, 10, 3))  # fmt: skip
    assert all(line.endswith("\x1b[0m") for line in lines)


def test_a_picture_fits_the_terminal_in_256_colours() -> None:
    red = np.zeros((300, 900, 3), np.uint8) + np.array([255, 0, 0], np.uint8)
    lines = drawn(red, 60, 5, 256).split("\n")
    assert len(lines) == 5
    assert [line.count("▀") for line in lines] == [30] * 5
    assert "\x1b[38;5;196;48;5;196m▀" in lines[0]  # xterm's pure red


@pytest.mark.parametrize(
    ("environment", "colours"),
    [({"COLORTERM": "truecolor"}, 2**24), ({"TERM": "xterm-kitty"}, 2**24),
     ({"TERM": "xterm-256color"}, 256), ({}, 256)],
)  # fmt: skip
def test_terminals_say_how_many_colours(environment: dict[str, str], colours: int) -> None:
    assert colours_of(environment) == colours


def test_show_draws(looks: Layout, call: Call) -> None:
    done = call({"show": show}, "show", "outputs/out04", "--draw", looks)
    assert "▀" in done.out
    assert done.out.startswith("key ")


def test_what_cannot_be_shown_is_one_line(
    looks: Layout, call: Call, tmp_path: Path, spoil: object
) -> None:
    png = f"--png={tmp_path / 'a.jpg'}"
    assert "name it NAME.png" in call({"show": show}, "show", "outputs/out04", png, looks).err
    spoil(looks, "photos", "photo4")  # type: ignore[operator]
    done = call({"show": show}, "show", "outputs/out04", f"--png={tmp_path / 'a.png'}", looks)
    assert done.code == 2
    assert "photos/photo4 does not decode" in done.err
    assert not (tmp_path / "a.png").exists()
