"""Loss curves over each other as SVG, and below how far each is from the first."""

import html
import math

_WIDTH, _HEIGHT, _LEFT, _RIGHT = 900, 260, 70, 880
_COLOURS = ("#222", "#c33", "#36c", "#2a2", "#b70")


def chart(curves: dict[str, list[float]]) -> str:
    """Curves of equal length by name; the second panel is logarithmic, with relative differences
    from the first curve."""
    names = list(curves)
    first = curves[names[0]]
    panels = [_panel(list(curves.values()), 20, "loss")]
    off = [
        [math.log10(max(abs(x / y - 1), 1e-9)) for x, y in zip(curves[name], first, strict=True)]
        for name in names[1:]
    ]
    panels.append(_panel(off, 20 + _HEIGHT + 50, "log₁₀ of the relative difference", _COLOURS[1:]))
    top = 2 * (_HEIGHT + 50) + 10
    for number, name in enumerate(names):
        panels.append(
            f"<text x='{_LEFT + 165 * number}' y='{top + 10}' fill='{_COLOURS[number]}'>"
            f"{html.escape(name)}</text>"
        )
    style = "font-family='sans-serif' font-size='12'"
    head = f"<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {_WIDTH} {top + 30}' {style}>"
    return head + "<rect width='100%' height='100%' fill='#fff'/>" + "".join(panels) + "</svg>\n"


def _panel(
    curves: list[list[float]], top: float, label: str, colours: tuple[str, ...] = _COLOURS
) -> str:
    low, high = min(map(min, curves)), max(map(max, curves))
    scale = _HEIGHT / ((high - low) or 1)
    parts = [
        f"<text x='{_LEFT}' y='{top - 5}'>{label}</text>",
        f"<text x='5' y='{top + 10}'>{high:.3g}</text>",
        f"<text x='5' y='{top + _HEIGHT}'>{low:.3g}</text>",
        f"<rect x='{_LEFT}' y='{top}' width='{_RIGHT - _LEFT}' height='{_HEIGHT}' fill='none' "
        "stroke='#bbb'/>",
    ]
    for values, colour in zip(curves, colours, strict=False):
        step = (_RIGHT - _LEFT) / max(len(values) - 1, 1)
        points = " ".join(
            f"{_LEFT + step * n:.1f},{top + (high - value) * scale:.1f}"
            for n, value in enumerate(values)
        )
        parts.append(f"<polyline points='{points}' fill='none' stroke='{colour}'/>")
    return "".join(parts)
