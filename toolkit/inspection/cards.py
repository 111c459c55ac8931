"""Rows of a table as the gallery's page takes them: JSON of fields and pictures."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from toolkit.inspection.columns import Column
from toolkit.inspection.pictures import Pictures
from toolkit.inspection.table import Table


def cards(table: Table, pictures: Pictures, ids: np.ndarray) -> list[dict[str, Any]]:
    """A card for each row: `dataset`, `key`, `fields` (columns that have a value, numbers that are
    none as texts) and `pictures` (label, dataset, key, ext, version)."""
    rows = table.rows(ids)
    found = []
    for row, shown in zip(rows, pictures.of_rows(rows), strict=True):
        found.append({
            "dataset": row["dataset"], "key": row["key"], "fields": _fields(row, table.columns),
            "pictures": [
                {"label": p.label, "dataset": p.dataset, "key": p.key, "ext": p.ext,
                 "version": p.version}
                for p in shown
            ],
        })  # fmt: skip
    return found


def _fields(row: dict[str, Any], columns: Sequence[Column]) -> dict[str, Any]:
    values = {column.name: row[column.name] for column in columns}
    return {
        name: str(value) if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in values.items()
        if value is not None and value != ""
    }
