"""Small HTML pieces: a page without any outside file, tables, pictures, line plots as SVG."""

import base64
import html
import io
import math
from collections.abc import Mapping, Sequence

import numpy as np

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #222; background: #fafaf8; margin: 2rem auto;
       max-width: 62rem; padding: 0 1rem; }
h1 { font-size: 1.6rem; } h2 { margin-top: 2.2rem; border-bottom: 1px solid #ddd; }
table { border-collapse: collapse; } td, th { padding: .25rem .8rem .25rem 0; text-align: left; }
th { font-weight: 600; color: #555; } tr + tr td { border-top: 1px solid #e5e5e0; }
td { font-variant-numeric: tabular-nums; }
.row { display: flex; flex-wrap: wrap; gap: .6rem; margin: .6rem 0; }
figure { margin: 0; width: 192px; } figure img { width: 192px; height: 192px; border-radius: 3px; }
figcaption { font-size: 12px; color: #666; overflow-wrap: anywhere; line-height: 1.25; }
.missing { color: #8a4b00; } pre { background: #f0f0ec; padding: 1rem; overflow-x: auto; }
svg text { font: 11px system-ui, sans-serif; fill: #555; }
"""
_COLOURS = ("#9aa5b1", "#b3261e", "#1c6b48", "#2d5d9f", "#8a5a00", "#6b3fa0")
_WIDTH, _HEIGHT, _MARGIN = 760, 260, 46


def page(title: str, parts: Sequence[tuple[str, str]]) -> str:
    """A whole HTML document of titled parts, whose bodies are HTML already."""
    body = "".join(f"<h2>{html.escape(name)}</h2>{text}" for name, text in parts)
    return (
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>"
        f"<title>{html.escape(title)}</title><style>{_STYLE}</style></head>"
        f"<body><h1>{html.escape(title)}</h1>{body}</body></html>\n"
    )


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """An HTML table of texts."""
    head = "".join(f"<th>{html.escape(name)}</th>" for name in heads)
    lines = (
        "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    return f"<table><tr>{head}</tr>{''.join(lines)}</table>"


def figure(pixels: np.ndarray, caption: str, size: int | None = None) -> str:
    """A picture inside the page: uint8 [H,W,3], enlarged smoothly to `size` pixels if given."""
    from PIL import Image

    image = Image.fromarray(pixels)
    if size is not None and size != image.width:
        image = image.resize((size, size), Image.Resampling.BICUBIC)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=90)
    data = base64.b64encode(buffer.getvalue()).decode()
    text = html.escape(caption)
    return (
        f"<figure><img alt='{text}' src='data:image/jpeg;base64,{data}'>"
        f"<figcaption>{text}</figcaption></figure>"
    )


def figures(pictures: Sequence[tuple[np.ndarray, str]]) -> str:
    """A row of pictures with their captions."""
    return f"<div class='row'>{''.join(figure(*picture) for picture in pictures)}</div>"


def line_plot(
    lines: Mapping[str, Sequence[tuple[float, float]]], unit: str = "steps", label: str = "loss"
) -> str:
    """An SVG plot of named lines over a logarithmic axis; values that are not above 0 are left
    out. unit: of the other axis; label: what is shown, for those who cannot see it."""
    kept = {
        name: [(x, y) for x, y in points if y > 0 and math.isfinite(y)]
        for name, points in lines.items()
    }
    flat = [point for points in kept.values() for point in points]
    if not flat:
        return "<p>nothing to plot</p>"
    right = max(x for x, _ in flat) or 1
    low, high = (math.log10(f(y for _, y in flat)) for f in (min, max))
    high = high if high > low else low + 1

    def place(x: float, y: float) -> str:
        across = _MARGIN + (_WIDTH - 2 * _MARGIN) * x / right
        down = _MARGIN / 2 + (_HEIGHT - 1.5 * _MARGIN) * (high - math.log10(y)) / (high - low)
        return f"{across:.1f},{down:.1f}"

    parts = []
    for step in range(5):
        value = 10 ** (low + (high - low) * step / 4)
        at = place(0, value).split(",")[1]
        parts.append(
            f"<line x1='{_MARGIN}' x2='{_WIDTH - _MARGIN}' y1='{at}' y2='{at}' stroke='#e5e5e0'/>"
            f"<text x='{_MARGIN - 6}' y='{at}' text-anchor='end' dy='4'>{value:.3g}</text>"
        )
    apart = min(240, (_WIDTH - 3 * _MARGIN) / len(kept))
    for index, (name, points) in enumerate(kept.items()):
        colour = _COLOURS[index % len(_COLOURS)]
        path = " ".join(place(x, y) for x, y in points)
        parts.append(
            f"<polyline fill='none' stroke='{colour}' stroke-width='1.6' points='{path}'/>"
            f"<text x='{_MARGIN + index * apart:.0f}' y='{_HEIGHT - 6}' style='fill:{colour}'>"
            f"{html.escape(name)}</text>"
        )
    parts.append(
        f"<text x='{_WIDTH - _MARGIN}' y='{_HEIGHT - 6}' text-anchor='end'>{right:g} {unit}</text>"
    )
    return (
        f"<svg viewBox='0 0 {_WIDTH} {_HEIGHT}' role='img' aria-label='{label}'>"
        f"{''.join(parts)}</svg>"
    )
