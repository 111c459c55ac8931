"""Reports are self-contained and escape what they show."""

import base64
import io
import re

import numpy as np
from PIL import Image

from eval.page import figure, line_plot, page, table


def test_pictures_are_inside_the_page() -> None:
    pixels = np.full((8, 8, 3), (200, 30, 30), np.uint8)
    text = figure(pixels, "<script>", size=32)
    data = re.search(r"base64,([^']+)'", text)[1]
    image = Image.open(io.BytesIO(base64.b64decode(data)))
    assert image.size == (32, 32)
    assert np.abs(np.asarray(image).astype(int)[16, 16] - (200, 30, 30)).max() < 8
    assert "<script>" not in text


def test_nothing_is_loaded_from_outside() -> None:
    text = page(
        "t", [("a", table(["h"], [["<b>"]])), ("b", line_plot({"x": [(0, 1.0), (5, 2.0)]}))]
    )
    assert not re.search(r"(src|href)\s*=\s*['\"]?(http|//|/)", text)
    assert "&lt;b&gt;" in text


def test_plot_maps_larger_values_higher_and_skips_what_a_logarithm_cannot_show() -> None:
    text = line_plot({"loss": [(0, 10.0), (1, 0.0), (2, float("nan")), (3, 1.0)]})
    points = re.search(r"points='([^']+)'", text)[1].split()
    assert len(points) == 2
    (x0, y0), (x1, y1) = (map(float, p.split(",")) for p in points)
    assert x0 < x1
    assert y0 < y1
    assert line_plot({"loss": []}) == "<p>nothing to plot</p>"
