"""Prints rows: as an aligned table for people, as JSON or CSV for programs."""

import csv
import json
import shutil
import sys
from collections.abc import Sequence
from typing import Any

from toolkit.core.errors import UserError
from toolkit.core.log import paint
from toolkit.core.nearest import choices

FORMATS = ("table", "json", "csv")
MAX_CELL, MAX_LAST = 48, 200  # characters; nothing stands behind the last column


def show(names: Sequence[str], rows: Sequence[Sequence[Any]], form: str = "table") -> None:
    """Prints rows under their column names; `form` is table, json (one list) or csv."""
    if form == "json":
        records = [dict(zip(names, row, strict=True)) for row in rows]
        print(json.dumps(records, ensure_ascii=False, default=str, indent=1))
    elif form == "csv":
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(names)
        writer.writerows([_csv_cell(value) for value in row] for row in rows)
    elif form == "table":
        head, rule, *body = _table(names, rows)
        print("\n".join([paint(head, "dim", sys.stdout), paint(rule, "dim", sys.stdout), *body]))
    else:
        raise UserError(f"format={form}: {choices(form, FORMATS)}")


def _table(names: Sequence[str], rows: Sequence[Sequence[Any]]) -> list[str]:
    last = len(names) - 1
    cells = [
        [_cell(value, MAX_LAST if place == last else MAX_CELL) for place, value in enumerate(row)]
        for row in rows
    ]
    widths = [max(map(len, column)) for column in zip(names, *cells, strict=True)]
    right = (
        [
            all(isinstance(v, (int, float, type(None))) for v in column)
            for column in zip(*rows, strict=True)
        ]
        if rows
        else [False] * len(names)
    )
    limit = shutil.get_terminal_size((160, 24)).columns if sys.stdout.isatty() else 10_000
    lines = [names, ["-" * width for width in widths], *cells]
    return [
        "  ".join(
            text.rjust(width) if is_right else text.ljust(width)
            for text, width, is_right in zip(line, widths, right, strict=True)
        ).rstrip()[:limit]
        for line in lines
    ]


def _cell(value: Any, width: int) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.4g}"
    text = " ".join(_csv_cell(value).split())
    return text if len(text) <= width else text[: width - 1] + "…"


def _csv_cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, (list, dict)):
        return json.dumps(value, ensure_ascii=False, default=str)
    return str(value)
