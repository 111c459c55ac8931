"""Queries the manifests with SQL: which samples are there, how many, of what kind.

python -m toolkit.query "style='Impressionism'"
python -m toolkit.query "status='failed'" --columns=source_id,cause,error
python -m toolkit.query --group_by=dataset,style --columns="count(*) as n, avg(width)"
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from toolkit.core.command import run
from toolkit.core.errors import UserError, one_line
from toolkit.core.log import warn
from toolkit.core.show import show
from toolkit.store.catalog import Catalog, print_gaps, without_rehearsals
from toolkit.store.mirror import open_layout

DEFAULT_COLUMNS = "dataset, key, split, style, artist, width, height, caption"
FAILURE_COLUMNS = "dataset, key, source_id, status, cause, error"


def main(
    where: str = "true",
    *,
    columns: str | None = None,
    group_by: str | None = None,
    order_by: str | None = None,
    limit: int | None = None,
    count: bool = False,
    format: Literal["table", "json", "csv", "keys"] = "table",
    out: Path | None = None,
    datasets: tuple[str, ...] | None = None,
    shards: Path = Path("shards"),
    manifests: Path = Path("manifests"),
) -> None:
    """Lists the samples for which an SQL expression holds; failed inputs have rows too.

    The columns are explained in manifests/README.md; unless the expression looks at `status`,
    `cause` or `error`, only usable samples (status='ok') are listed.

    Args:
        where: an SQL expression over the columns, for example "style='Cubism' and width > 500".
        columns: what to show, comma-separated expressions, each with an optional `as name`.
        group_by: columns to group by; columns are then aggregates such as count(*).
        order_by: expressions to sort by, each with an optional `desc` and `nulls last`.
        limit: at most so many rows; 20 for a table, all otherwise.
        count: print only how many rows match.
        format: table, json, csv, or keys (dataset/key, one a line).
        out: write the rows to this Parquet file instead of printing them.
        datasets: only these datasets; all but rehearsals otherwise.
        shards: folder or URL of the tars.
        manifests: folder or URL of the manifests.
    """
    if out is not None and (format != "table" or out.suffix != ".parquet"):
        raise UserError(
            f"--out={out} writes Parquet: name it NAME.parquet and leave --format away; for other "
            "forms write --format=csv > FILE"
        )
    layout = open_layout(shards, manifests)
    catalog = Catalog(layout, list(datasets) if datasets else without_rehearsals(layout))
    print_gaps(catalog)
    condition, all_inputs = catalog.usable(where)
    if count:
        number = catalog.rows(f"SELECT count(*) FROM samples WHERE {condition}")[0][0]
        print(number)
        if not number:
            _print_hints(catalog, condition)
        return
    if format == "keys":
        columns, group_by = "dataset || '/' || key", None
    default = FAILURE_COLUMNS if all_inputs else DEFAULT_COLUMNS
    sql = _select(catalog, condition, columns, group_by, order_by, default)
    if limit is not None and limit < 0:
        raise UserError(f"--limit={limit}: takes a whole number from 0")
    total = None
    if limit is None and format == "table" and out is None:
        total, limit = catalog.rows(f"SELECT count(*) FROM ({sql})")[0][0], 20
    table = catalog.table(sql if limit is None else f"{sql} LIMIT {limit}")
    if not table.num_rows:
        _print_hints(catalog, condition)
    if out is not None:
        _write(table, out)
        print(f"{table.num_rows} rows written to {out}")
        return
    if format == "keys":
        print("".join(f"{value}\n" for value in table.column(0).to_pylist()), end="")
        return
    rows = list(zip(*(column.to_pylist() for column in table.columns), strict=True))
    show(table.column_names, rows, format)
    if format == "table" and not rows:
        print("0 rows")
    if total is not None and total > len(rows):
        print(f"… {total - len(rows)} more rows: --limit={total} shows all {total}")


def _print_hints(catalog: Catalog, condition: str) -> None:
    for hint in catalog.misspelt(condition):
        warn(hint)


def _select(
    catalog: Catalog,
    condition: str,
    columns: str | None,
    group_by: str | None,
    order_by: str | None,
    default: str,
) -> str:
    parts = split_list(group_by or "")
    groups = [f"{catalog.expression(part, 'group_by')}\n" for part in parts]
    wanted = split_list(columns or ("count(*) as count" if groups else default))
    # what is grouped by stands first anyway
    shown = [_column(catalog, part, bool(groups)) for part in wanted if part not in parts]
    sql = f"SELECT {', '.join([*groups, *shown])} FROM samples WHERE {condition}"
    if groups:
        sql += f" GROUP BY {', '.join(groups)}"
    order = [_order(catalog, part, bool(groups)) for part in split_list(order_by or "")]
    return f"{sql} ORDER BY {', '.join(order or groups or ['dataset', 'shard', 'key'])}"


def _column(catalog: Catalog, text: str, grouped: bool) -> str:
    named = re.fullmatch(r"(.*?)\s+as\s+(\w+)", text, re.IGNORECASE | re.DOTALL)
    body, name = (named[1], named[2]) if named else (text, "")
    if re.fullmatch(r"\w+\.\w+", text):  # of a sidecar, which DuckDB would show without its name
        name = text
    alias = f' AS "{name}"' if name else ""
    return f"{catalog.expression(body, 'columns', grouped)}\n{alias}"


def _order(catalog: Catalog, text: str, grouped: bool) -> str:
    ending = r"(.*?)((?:\s+(?:asc|desc))?(?:\s+nulls\s+(?:first|last))?)"
    named = re.fullmatch(ending, text, re.IGNORECASE | re.DOTALL)
    body, direction = (named[1], named[2]) if named else (text, "")
    return f"{catalog.expression(body, 'order_by', grouped)}\n{direction}"


def split_list(text: str) -> list[str]:
    """Splits at commas that stand outside brackets and quotes."""
    parts, depth, quote, start = [], 0, "", 0
    for i, char in enumerate(text):
        if quote:
            quote = "" if char == quote else quote
        elif char in "'\"":
            quote = char
        elif char in "([{":
            depth += 1
        elif char in ")]}":
            depth -= 1
        elif char == "," and depth == 0:
            parts.append(text[start:i])
            start = i + 1
    return [part.strip() for part in [*parts, text[start:]] if part.strip()]


def _write(table: object, out: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from toolkit.core.files import atomic_path, make_folder

    make_folder(out.parent)
    try:
        with atomic_path(out) as temporary:
            pq.write_table(table, temporary)
    except (pa.ArrowNotImplementedError, pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise UserError(
            f"Parquet cannot hold one of these columns ({one_line(error, 80)}): "
            'convert it, as in --columns="cast(x as varchar) as x"'
        ) from None


def _values(_: list[str], __: Mapping[str, str]) -> dict[str, list[str]]:
    from toolkit.store.manifest import SCHEMA

    return dict.fromkeys(("columns", "group_by", "order_by"), SCHEMA.names)


if __name__ == "__main__":
    run(main, "python -m toolkit.query", values=_values)
