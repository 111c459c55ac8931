"""What a viewer asks for: search words, conditions on columns, an SQL expression, an order.

The page of the gallery understands the same conditions where it has no server behind it; a browser
test holds the two together.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from toolkit.core.errors import UserError
from toolkit.core.nearest import suggestion
from toolkit.inspection.columns import Column

_MAX_TEXT = 2000  # characters of anything typed
_COMPARED = {"at least": ">=", "at most": "<="}
OPERATORS = ("contains", "is", "is not", *_COMPARED, "missing", "present")


@dataclass(frozen=True)
class Condition:
    """One condition on a column; `missing` and `present` take no value."""

    column: str
    operator: str
    value: str = ""


@dataclass(frozen=True)
class View:
    """Which rows, in which order. search: words that all occur; where: an SQL expression over the
    columns; order: a column, or nothing for the stored order. Rows without a value come last."""

    search: str = ""
    conditions: tuple[Condition, ...] = ()
    where: str = ""
    order: str = ""
    descending: bool = False


def view_from(fields: Mapping[str, str]) -> View:
    """A view from the texts of a request. Raises UserError for what is none."""
    if any(len(text) > _MAX_TEXT for text in fields.values()):
        raise UserError(f"at most {_MAX_TEXT} characters")
    try:
        conditions = tuple(
            Condition(*(str(part) for part in parts))
            for parts in json.loads(fields.get("filters") or "[]")
        )
    except (ValueError, TypeError):
        raise UserError("filters must be a JSON list of [column, operator, value]") from None
    return View(
        " ".join(fields.get("search", "").split()),
        conditions,
        fields.get("where", "").strip(),
        fields.get("order", ""),
        fields.get("descending") == "1",
    )


def where_sql(view: View, columns: Mapping[str, Column]) -> tuple[str, list[Any]]:
    """SQL and the values of its question marks. Raises UserError for an unknown column or a value
    that is no number where one is meant."""
    parts: list[str] = ["true"]
    values: list[Any] = []
    for word in view.search.lower().split():
        parts.append("contains(_searched, ?)")
        values.append(word)
    for condition in view.conditions:
        part, value = _condition_sql(condition, _column(condition.column, columns))
        parts.append(part)
        values += value
    if view.where:
        parts.append(f"({view.where}\n)")
    return " AND ".join(parts), values


def order_sql(view: View, columns: Mapping[str, Column]) -> str:
    """SQL for the order of a view. Raises UserError for an unknown column."""
    if not view.order:
        return f"_id {'DESC' if view.descending else 'ASC'}"
    name = _column(view.order, columns).quoted
    return f"{name} {'DESC' if view.descending else 'ASC'} NULLS LAST, _id"


def _condition_sql(condition: Condition, column: Column) -> tuple[str, list[Any]]:
    name, operator, value = column.quoted, condition.operator, condition.value
    if operator == "missing":
        return f"{name} IS NULL", []
    if operator == "present":
        return f"{name} IS NOT NULL", []
    if operator == "contains":
        return f"contains(lower({name}::VARCHAR), ?)", [value.lower()]
    if operator not in OPERATORS:
        raise UserError(f"unknown operator {operator!r}: {suggestion(operator, OPERATORS)}")
    if column.kind != "number" and operator in _COMPARED:
        raise UserError(f"{column.name} is not a number: choose contains, is or is not")
    typed: Any = value
    if column.kind == "number":
        try:
            typed = float(value)
        except ValueError:
            raise UserError(f"{column.name} is a number, {value!r} is none") from None
        name = f"{name}::DOUBLE"
    elif column.kind == "truth":
        name = f"{name}::VARCHAR"
    if operator == "is":
        return f"{name} = ?", [typed]
    if operator == "is not":
        return f"{name} IS DISTINCT FROM ?", [typed]
    return f"{name} {_COMPARED[operator]} ?", [typed]


def _column(name: str, columns: Mapping[str, Column]) -> Column:
    if name not in columns:
        raise UserError(f"there is no column {name!r}: {suggestion(name, list(columns))}")
    return columns[name]
