"""Statistics for the eye: bars of characters, and a page with tables and bars as SVG."""

import html
from typing import Any

from toolkit.inspection.statistics import Table

_BAR = 40  # characters of the longest bar
_WIDTH, _ROW, _LEFT = 640, 20, 150  # pixels
_STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 90rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; display: block; overflow-x: auto; }
td, th { padding: .2rem .9rem .2rem 0; text-align: left; font-variant-numeric: tabular-nums; }
td.number { text-align: right; }
tr + tr td { border-top: 1px solid #8884; }
svg { max-width: 100%; } svg text { font: 12px system-ui, sans-serif; fill: currentColor; }
rect { fill: #2d7d5a; }
"""


def with_bars(table: Table) -> tuple[list[str], list[list[Any]]]:
    """Names and rows of a histogram with a column of bars."""
    most = max((row[-1] for row in table.rows), default=0)
    rows = [[*row, "█" * round(_BAR * row[-1] / most) if most else ""] for row in table.rows]
    return [*table.names, ""], rows


def page(title: str, tables: list[Table]) -> str:
    """An HTML document without any outside file; histograms are drawn."""
    parts = [
        f"<h2>{html.escape(table.title)}</h2>{_svg(table) if table.is_histogram else _html(table)}"
        for table in tables
        if table.rows
    ]
    return (
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>"
        f"<title>{html.escape(title)}</title><style>{_STYLE}</style></head>"
        f"<body><h1>{html.escape(title)}</h1>{''.join(parts)}</body></html>\n"
    )


def _html(table: Table) -> str:
    head = "".join(f"<th>{html.escape(name)}</th>" for name in table.names)
    rows = ("<tr>" + "".join(map(_cell, row)) + "</tr>" for row in table.rows)
    return f"<table><tr>{head}</tr>{''.join(rows)}</table>"


def _svg(table: Table) -> str:
    most = max(row[-1] for row in table.rows) or 1
    height = _ROW * len(table.rows)
    parts = []
    for number, (start, end, count) in enumerate(table.rows):
        top = number * _ROW
        length = (_WIDTH - _LEFT - 80) * count / most
        parts.append(
            f"<text x='{_LEFT - 8}' y='{top + 14}' text-anchor='end'>{_bin(start, end)}</text>"
            f"<rect x='{_LEFT}' y='{top + 3}' width='{length:.1f}' height='{_ROW - 6}'/>"
            f"<text x='{_LEFT + length + 6:.1f}' y='{top + 14}'>{count:,}</text>"
        )
    label = html.escape(table.title)
    return (
        f"<svg viewBox='0 0 {_WIDTH} {height}' width='{_WIDTH}' height='{height}' role='img' "
        f"aria-label='{label}'>{''.join(parts)}</svg>"
    )


def _bin(start: float | None, end: float | None) -> str:
    if start is None:
        return f"below {end:g}"
    return f"{start:g} and more" if end is None else f"{start:g} to {end:g}"


def _cell(value: Any) -> str:
    kind = " class='number'" if isinstance(value, (int, float)) else ""
    return f"<td{kind}>{html.escape(_text(value))}</td>"


def _text(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:,}" if isinstance(value, (int, float)) else str(value)
