"""Checks SQL expressions from the command line before they run.

DuckDB itself parses the text (`json_serialize_sql`) and only an allowed set of nodes passes:
columns, constants, operators and scalar functions (aggregates where a caller says so). Nothing
that names a file, a table or a sub-query gets through; the connection is locked besides
(`toolkit.store.catalog`).
"""

import json
from collections.abc import Iterator
from typing import Any

from toolkit.core.errors import UserError, one_line

_ALLOWED = frozenset(
    {"COLUMN_REF", "CONSTANT", "COMPARISON", "CONJUNCTION", "OPERATOR", "FUNCTION", "BETWEEN",
     "CASE", "CAST", "LAMBDA", "COLLATE", "TYPE"}
)  # fmt: skip
_FORBIDDEN = {
    "SUBQUERY": "a sub-query",
    "STAR": "a star",
    "WINDOW": "a window function",
    "PARAMETER": "a parameter",
    "DEFAULT": "DEFAULT",
}
_UNSAFE_FUNCTIONS = frozenset(
    {"getenv", "current_setting", "nextval", "currval", "sleep", "sleep_ms", "write_log"}
)
_UNSAFE_PREFIXES = ("pg_", "has_", "txid_", "inet_")


def check_expression(con: Any, text: str, what: str, aggregates: bool = False) -> str:
    """Returns `text` if it is exactly one harmless SQL expression.

    Put a line end behind it before anything else: it may end with a comment.

    Args:
        con: a DuckDB connection.
        text: the expression, for example `style='Cubism' and width > 500`.
        what: its name in error messages, for example `where`.
        aggregates: whether count, avg and the like may be used.

    Raises:
        UserError: it does not parse, or holds anything that is not allowed.
    """
    if _is_statement(con, text):
        raise UserError(f"{what} must be an SQL expression, not a statement: {text[:60]!r}")
    tree = _parse(con, f"SELECT {text}", what)
    if len(tree["statements"]) != 1:
        raise UserError(f"{what} must be one expression, it holds several statements")
    node = tree["statements"][0]["node"]
    extra = node.get("modifiers") or node.get("cte_map", {}).get("map") or node.get("qualify")
    is_plain = (
        node["type"] == "SELECT_NODE"
        and len(node["select_list"]) == 1
        and node["from_table"]["type"] == "EMPTY"
        and not node["where_clause"]
        and not node["group_expressions"]
        and not node["having"]
        and not node.get("sample")
    )
    if extra or not is_plain:
        raise UserError(f"{what} must be one expression over columns, as in style='Impressionism'")
    # Once more inside brackets: a comment or a stray bracket must not swallow what follows it.
    _parse(con, f"SELECT ({text}\n)", what)
    functions = _functions(con, aggregates)
    for kind, body in _nodes(node["select_list"]):
        if kind not in _ALLOWED:
            found = _FORBIDDEN.get(kind, kind.lower())
            raise UserError(f"{what} holds {found}: use columns, constants, operators, functions")
        if kind == "FUNCTION" and not body.get("is_operator"):
            name = str(body["function_name"]).lower()
            if name not in functions:
                hint = "" if aggregates else " (only functions of one row may be used here)"
                raise UserError(f"{what} may not use the function {name}{hint}")
    return text


def columns_of(con: Any, text: str) -> frozenset[str]:
    """Names of the columns that a checked expression reads."""
    nodes = _nodes(_parse(con, f"SELECT ({text}\n)", "expression"))
    names = [body["column_names"] for kind, body in nodes if kind == "COLUMN_REF"]
    return frozenset(part for parts in names for part in parts[:2])  # samples.key is key too


def _is_statement(con: Any, text: str) -> bool:
    """Whether the text by itself is a statement, such as COPY, ATTACH or SELECT."""
    answer = json.loads(con.execute("SELECT json_serialize_sql(?)", [text]).fetchall()[0][0])
    return not answer["error"] or answer.get("error_type") == "not implemented"


def _parse(con: Any, sql: str, what: str) -> dict[str, Any]:
    answer = con.execute("SELECT json_serialize_sql(?)", [sql]).fetchall()[0][0]
    tree: dict[str, Any] = json.loads(answer)
    if tree.get("error_type") == "not implemented":  # the parser took it, as more than SELECTs
        raise UserError(f"{what} must be one expression, it holds several statements")
    if tree["error"]:
        message = one_line(tree.get("error_message", "not an expression"))
        raise UserError(f"{what} is not a valid SQL expression: {message}")
    return tree


def _nodes(tree: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(tree, dict):
        if "class" in tree:
            yield tree["class"], tree
        for value in tree.values():
            yield from _nodes(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from _nodes(value)


def _functions(con: Any, aggregates: bool) -> frozenset[str]:
    kinds = ["scalar", "macro", *(["aggregate"] if aggregates else [])]
    rows = con.execute(
        "SELECT DISTINCT lower(function_name) FROM duckdb_functions() "
        "WHERE function_type IN (SELECT unnest(?)) AND internal",
        [kinds],
    ).fetchall()
    return frozenset(
        name
        for (name,) in rows
        if name not in _UNSAFE_FUNCTIONS and not name.startswith(_UNSAFE_PREFIXES)
    )
