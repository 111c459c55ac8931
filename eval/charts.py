"""Charts as SVG, for pages without any outside file."""

import html
from collections.abc import Sequence
from dataclasses import dataclass

_WIDTH, _ROW, _LEFT, _SIDE = 760, 22, 190, 420
_COLOURS = ("#b3261e", "#1c6b48", "#2d5d9f", "#8a5a00", "#6b3fa0", "#00707a", "#9a3d74", "#5f6b2d")


@dataclass(frozen=True)
class Bar:
    """A value with its interval, and values to be read beside it by name."""

    label: str
    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Point:
    """A point with its intervals on both axes."""

    label: str
    x: float
    y: float
    x_range: tuple[float, float]
    y_range: tuple[float, float]


def bars(rows: Sequence[Bar], label: str, marks: dict[str, float] | None = None) -> str:
    """Horizontal bars from 0 (or from the least below it), with intervals. marks: vertical lines
    by name. label: what is shown, for those who cannot see it."""
    marks = marks or {}
    ends = [v for bar in rows for v in (bar.value, bar.low, bar.high) if v is not None]
    low, high = min([0.0, *ends, *marks.values()]), max([0.0, *ends, *marks.values()])
    span = high - low or 1.0

    def place(value: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - 70) * (value - low) / span

    height = _ROW * len(rows) + 26
    parts = []
    for number, bar in enumerate(rows):
        top = _ROW * number + 6
        left, right = sorted((place(0), place(bar.value)))
        parts.append(
            f"<text x='{_LEFT - 8}' y='{top + 12}' text-anchor='end'>{html.escape(bar.label)}"
            f"</text><rect x='{left:.1f}' y='{top}' width='{right - left:.1f}' height='14' "
            f"fill='#9fb8d8'/><text x='{_WIDTH - 64}' y='{top + 12}'>{bar.value:.4g}</text>"
        )
        if bar.low is not None and bar.high is not None:
            parts.append(_line(place(bar.low), top + 7, place(bar.high), top + 7, "#22364f", 2))
    for number, (name, value) in enumerate(sorted(marks.items(), key=lambda mark: mark[1])):
        at, down = place(value), height - 6 + 13 * (number % 2)  # names side by side would touch
        parts.append(_line(at, 2, at, height - 20, "#b3261e", 1, "4 3"))
        parts.append(
            f"<text x='{at:.1f}' y='{down}' text-anchor='middle'>{html.escape(name)}</text>"
        )
    return _svg(_WIDTH, height + 13 * (len(marks) > 1), label, parts)


def differences(rows: Sequence[Bar], label: str) -> str:
    """Points with intervals on both sides of a line at 0. label: what is shown, for those who
    cannot see it."""
    ends = [abs(v) for row in rows for v in (row.value, row.low, row.high) if v is not None]
    farthest = max(ends, default=0.0) or 1.0
    middle, half = (_LEFT + _WIDTH - 70) / 2, (_WIDTH - 70 - _LEFT) / 2

    def place(value: float) -> float:
        return middle + half * value / farthest

    height = _ROW * len(rows) + 8
    parts = [_line(middle, 2, middle, height - 2, "#b3261e", 1, "4 3")]
    for number, row in enumerate(rows):
        down = _ROW * number + 12
        parts.append(
            f"<text x='{_LEFT - 8}' y='{down + 4}' text-anchor='end'>{html.escape(row.label)}"
            f"</text><circle cx='{place(row.value):.1f}' cy='{down}' r='4' fill='#22364f'/>"
            f"<text x='{_WIDTH - 64}' y='{down + 4}'>{row.value:+.3g}</text>"
        )
        if row.low is not None and row.high is not None:
            parts.append(_line(place(row.low), down, place(row.high), down, "#22364f", 2))
    return _svg(_WIDTH, height, label, parts)


def scatter(points: Sequence[Point], x_label: str, y_label: str) -> str:
    """Points with their intervals as crosses, named beside them."""
    if not points:
        return "<p>nothing to plot</p>"
    xs = [v for p in points for v in (*p.x_range, p.x)]
    ys = [v for p in points for v in (*p.y_range, p.y)]

    def scale(value: float, values: list[float], start: float, stop: float) -> float:
        low, high = min(values), max(values)
        return start + (stop - start) * ((value - low) / (high - low) if high > low else 0.5)

    left, right, top, bottom = 60.0, _WIDTH - 200.0, 14.0, _SIDE - 46.0
    parts = [
        _line(left, bottom, right, bottom, "#999", 1),
        _line(left, top, left, bottom, "#999", 1),
        f"<text x='{(left + right) / 2}' y='{_SIDE - 8}' text-anchor='middle'>"
        f"{html.escape(x_label)}</text>",
        f"<text x='14' y='{(top + bottom) / 2}' text-anchor='middle' "
        f"transform='rotate(-90 14 {(top + bottom) / 2})'>{html.escape(y_label)}</text>",
    ]
    for value, anchor in ((min(xs), "start"), (max(xs), "end")):
        at = scale(value, xs, left, right)
        parts.append(
            f"<text x='{at:.1f}' y='{bottom + 16}' text-anchor='{anchor}'>{value:.3g}</text>"
        )
    for value in (min(ys), max(ys)):
        at = scale(value, ys, bottom, top)
        parts.append(f"<text x='{left - 6}' y='{at + 4:.1f}' text-anchor='end'>{value:.3g}</text>")
    for number, point in enumerate(points):
        colour = _COLOURS[number % len(_COLOURS)]
        x, y = scale(point.x, xs, left, right), scale(point.y, ys, bottom, top)
        across = [scale(v, xs, left, right) for v in point.x_range]
        down = [scale(v, ys, bottom, top) for v in point.y_range]
        row = top + 16 * number
        parts += [
            _line(across[0], y, across[1], y, colour, 1.2),
            _line(x, down[0], x, down[1], colour, 1.2),
            f"<circle cx='{x:.1f}' cy='{y:.1f}' r='4' fill='{colour}'>"
            f"<title>{html.escape(point.label)}</title></circle>",
            f"<circle cx='{right + 20}' cy='{row}' r='4' fill='{colour}'/>"
            f"<text x='{right + 30}' y='{row + 4}'>{html.escape(point.label)}</text>",
        ]
    height = max(_SIDE, int(top + 16 * len(points) + 10))
    return _svg(_WIDTH, height, f"{y_label} against {x_label}", parts)


def _line(
    x1: float, y1: float, x2: float, y2: float, colour: str, width: float, dashes: str = ""
) -> str:
    dashed = f" stroke-dasharray='{dashes}'" if dashes else ""
    return (
        f"<line x1='{x1:.1f}' y1='{y1:.1f}' x2='{x2:.1f}' y2='{y2:.1f}' stroke='{colour}' "
        f"stroke-width='{width}'{dashed}/>"
    )


def _svg(width: int, height: int, label: str, parts: Sequence[str]) -> str:
    return (
        f"<svg viewBox='0 0 {width} {height}' role='img' aria-label='{html.escape(label)}'>"
        f"{''.join(parts)}</svg>"
    )
