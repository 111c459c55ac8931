"""Pictures drawn in a terminal: two pixels a character, ▀ in one colour on another."""

from collections.abc import Mapping

import numpy as np

_LEVELS = np.array([0, 95, 135, 175, 215, 255])  # of the 6×6×6 cube of 256 colours


def drawn(pixels: np.ndarray, columns: int, rows: int, colours: int) -> str:
    """Lines of text that show uint8 [H,W,3] within so many characters.

    colours: 2**24, as most terminals show them, or 256.
    """
    from PIL import Image

    image = Image.fromarray(pixels)
    scale = min(columns / image.width, 2 * rows / image.height)
    width = max(1, int(image.width * scale))
    height = max(2, int(image.height * scale) // 2 * 2)
    small = np.asarray(image.resize((width, height), Image.Resampling.LANCZOS))
    lines = []
    for upper, lower in zip(small[::2], small[1::2], strict=True):
        cells = (
            f"\x1b[38;{_colour(top, colours)};48;{_colour(low, colours)}m▀"
            for top, low in zip(upper, lower, strict=True)
        )
        lines.append("".join(cells) + "\x1b[0m")
    return "\n".join(lines)


def colours_of(environment: Mapping[str, str]) -> int:
    """How many colours a terminal shows, from what it says of itself."""
    is_true = environment.get("COLORTERM", "") in ("truecolor", "24bit")
    is_known = environment.get("TERM", "").endswith(("direct", "kitty", "ghostty"))
    return 2**24 if is_true or is_known else 256


def _colour(rgb: np.ndarray, colours: int) -> str:
    if colours > 256:
        return f"2;{rgb[0]};{rgb[1]};{rgb[2]}"
    red, green, blue = (int(np.abs(_LEVELS - int(value)).argmin()) for value in rgb)
    return f"5;{16 + 36 * red + 6 * green + blue}"
