"""The rows that a gallery shows, in a DuckDB file of its own: filtered, sorted, a page at a time.

Queries over manifests join sidecars and read Parquet anew each time; a viewer asks the same rows
again and again, so they are written down once. A view is the list of its rows' numbers, so any of
its pages costs the same. The file is disposable.
"""

import threading
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.core.errors import UserError, one_line
from toolkit.core.progress import Progress
from toolkit.inspection.columns import Column
from toolkit.inspection.views import View, order_sql, where_sql
from toolkit.store.catalog import Catalog, explain
from toolkit.store.expressions import check_expression

MEMORY_LIMIT = "512MB"
_SEARCHED = ("key", "title", "captions", "style", "artist", "genre", "source_id")
_NOT_SHOWN = ("shard", "members", "links", "phash")  # where pictures lie, and for expressions
_AT_ONCE = 20_000  # rows written at once
_KEPT_VIEWS = 8
_MOST_VALUES = 200  # of a text column, to choose from


@dataclass(frozen=True)
class Found:
    """The rows of a view. ids: int32 [number of rows], in order."""

    ids: np.ndarray

    def page(self, page: int, size: int) -> np.ndarray:
        """The ids of a page, counted from 0; empty behind the last one."""
        return self.ids[page * size : (page + 1) * size]


class Table:
    """Rows, numbered from 0, of all `columns`. May be asked by several threads.

    Args:
        file: where to write; must not exist.
        catalog: what the rows come from.
        condition: a checked condition.
        columns: what is kept of each row.
        limit: at most so many rows; None for all.

    Raises:
        UserError: no space left, a column that is not there.
    """

    def __init__(
        self,
        file: Path,
        catalog: Catalog,
        condition: str,
        columns: list[Column],
        limit: int | None = None,
    ):
        import duckdb

        self.columns = columns
        self.names = {column.name: column for column in columns}
        self._lock = threading.Lock()
        self._views: OrderedDict[View, Found] = OrderedDict()
        self._con = duckdb.connect(str(file))
        for setting in (f"memory_limit='{MEMORY_LIMIT}'", "enable_progress_bar=false"):
            self._con.execute(f"SET {setting}")
        try:
            self.count = self._fill(catalog, condition, limit)
        except duckdb.Error as error:
            raise UserError(f"the rows cannot be written to {file}: {one_line(error)}") from None
        self._con.execute("SET enable_external_access=false")
        self._con.execute("SET lock_configuration=true")

    def _fill(self, catalog: Catalog, condition: str, limit: int | None) -> int:
        total = catalog.rows(f"SELECT count(*) FROM samples WHERE {condition}")[0][0]
        total = total if limit is None else min(total, limit)
        shown = ", ".join(f"{column.sql} AS {column.quoted}" for column in self.columns)
        searched = ", ".join(
            "array_to_string(captions, ' ')" if name == "captions" else name for name in _SEARCHED
        )
        kept = f"{', '.join(_NOT_SHOWN)}, {shown}"
        sql = (
            f"SELECT {kept}, lower(concat_ws(' ', {searched})) AS _searched "
            f"FROM samples WHERE {condition}"
        )
        sql += "" if limit is None else f" LIMIT {limit}"
        count = 0
        with Progress(total, "rows", "row") as progress:
            for batch in catalog.batches(sql, _AT_ONCE):
                self._con.register("batch", batch)
                rows = f"SELECT (row_number() OVER () - 1 + {count})::INTEGER AS _id, * FROM batch"
                verb = "INSERT INTO rows" if count else "CREATE OR REPLACE TABLE rows AS"
                self._con.execute(f"{verb} {rows}")
                self._con.unregister("batch")
                count += batch.num_rows
                progress.advance(batch.num_rows)
        return count

    def view(self, view: View) -> Found:
        """The rows that a view shows, in its order. Raises UserError for one that cannot be."""
        with self._lock:
            if view in self._views:
                self._views.move_to_end(view)
                return self._views[view]
        if view.where:
            check_expression(self._con.cursor(), view.where, "where")
        where, values = where_sql(view, self.names)
        order = order_sql(view, self.names)
        answer = self._ask(f"SELECT _id FROM rows WHERE {where} ORDER BY {order}", values)
        found = Found(answer.fetchnumpy()["_id"].astype(np.int32))
        with self._lock:
            self._views[view] = found
            while len(self._views) > _KEPT_VIEWS:
                self._views.popitem(last=False)
        return found

    def rows(self, ids: np.ndarray) -> list[dict[str, Any]]:
        """All columns of some rows, in the order of their numbers given."""
        wanted = [int(i) for i in ids]
        answer = self._ask("SELECT * EXCLUDE (_searched) FROM rows WHERE _id IN (SELECT unnest(?))",
                           [wanted])  # fmt: skip
        names = [column[0] for column in answer.description]
        rows = (dict(zip(names, row, strict=True)) for row in answer.fetchall())
        found = {row["_id"]: row for row in rows}
        return [found[i] for i in wanted]

    def summary(self) -> list[dict[str, Any]]:
        """What a filter can ask for: each column's name, kind, and its range or frequent values;
        columns that no row has a value in are left out."""
        found = []
        for column in self.columns:
            about = self._about(column)
            if about is not None:
                found.append({"name": column.name, "kind": column.kind, **about})
        return found

    def _about(self, column: Column) -> dict[str, Any] | None:
        name = column.quoted
        if column.kind == "number":
            sql = f"SELECT min({name}), max({name}) FROM rows WHERE isfinite({name}::DOUBLE)"
            low, high = self._ask(sql, []).fetchone()
            return None if low is None else {"low": float(low), "high": float(high)}
        sql = (
            f"SELECT {name}::VARCHAR, count(*) FROM rows WHERE {name} IS NOT NULL GROUP BY 1 "
            f"ORDER BY 2 DESC, 1 LIMIT {_MOST_VALUES + 1}"
        )
        values = self._ask(sql, []).fetchall()
        if not values:
            return None
        return {"values": [] if len(values) > _MOST_VALUES else [list(pair) for pair in values]}

    def _ask(self, sql: str, values: list[Any]) -> Any:
        """Runs SQL in a cursor of this thread. Raises UserError in DuckDB's words."""
        import duckdb

        try:
            return self._con.cursor().execute(sql, values)
        except duckdb.Error as error:
            raise UserError(explain(error, more_columns=list(self.names))) from None

    def close(self) -> None:
        """Lets the file go."""
        self._con.close()
