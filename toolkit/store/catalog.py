"""All manifests as one DuckDB table that `where` expressions run over."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from toolkit.core.errors import UserError, one_line
from toolkit.core.log import warn
from toolkit.core.nearest import nearest, or_nearest
from toolkit.store.attached import Attached, find_attached, joined, sidecar_columns
from toolkit.store.card import read_card
from toolkit.store.expressions import check_expression, columns_of
from toolkit.store.layout import Layout

MEMORY_LIMIT = "512MB"
REHEARSAL = "-rehearsal"  # ends the name of a dataset that holds the first inputs of another
_FEW_VALUES = ("dataset", "split", "status", "cause", "style", "artist", "genre", "protocol")


class Catalog:
    """A locked DuckDB connection over the manifests of a layout.

    The table `samples` holds one row per input. The connection can read the manifests folder and
    nothing else, and its configuration cannot be changed any more.

    Raises:
        UserError: nothing is packed, or a dataset is unknown.
    """

    def __init__(self, layout: Layout, datasets: list[str] | None = None):
        import duckdb

        self.layout = layout
        self.datasets = self._choose(datasets)
        folder = layout.manifests.resolve()  # once: there may be thousands of files
        self.con = duckdb.connect()
        self.con.execute(f"SET memory_limit='{MEMORY_LIMIT}'")
        # in a notebook and under `python -c` it is on, and goes to the output
        self.con.execute("SET enable_progress_bar=false")
        self.con.execute(f"SET allowed_directories=[{_quote(folder)}]")
        self.con.execute("SET enable_external_access=false")
        self._place = Layout(layout.shards, folder)
        self.attached: dict[str, Attached] = {}
        self._show_samples()
        self.con.execute("SET lock_configuration=true")

    def _choose(self, datasets: list[str] | None) -> list[str]:
        known = self.layout.datasets()
        for name in datasets or ():
            if name not in known:
                raise UserError(no_dataset(name, known))
        return list(dict.fromkeys(datasets or known))

    def expression(self, text: str, what: str, aggregates: bool = False) -> str:
        """Returns `text` if it is one harmless expression. Raises UserError.

        Where it names columns of sidecars, these are columns of `samples` from then on.
        """
        checked = check_expression(self.con, text, what, aggregates)
        names = self.columns_of(checked)
        found = find_attached(self._place, self.datasets, names, self.attached)
        if found:
            self.attached |= {attached.name: attached for attached in found}
            self._show_samples()
        return checked

    def condition(self, text: str) -> str:
        """Returns `text` if it is one harmless condition; `true` if it is empty. Raises
        UserError."""
        checked = self.expression(text.strip() or "true", "where")
        kind = self.rows(f"DESCRIBE SELECT ({checked}\n) FROM samples")[0][1]
        if kind != "BOOLEAN":
            raise UserError(f"where must be a condition, as in width > 500; {text!r} is {kind}")
        return checked

    def usable(self, where: str) -> tuple[str, bool]:
        """The checked condition, and whether it looks at failed inputs too: they are part of the
        manifest, but appear only when they are asked for."""
        checked = self.condition(where)
        asked = not {"status", "cause", "error"}.isdisjoint(self.columns_of(checked))
        return f"({checked}\n)" if asked else f"({checked}\n) AND status = 'ok'", asked

    def files_of(self, datasets: Sequence[str]) -> str:
        """SQL for the rows of some datasets only, of all columns, as they lie in the manifests."""
        files = [path for name in datasets for path in self._place.manifests_of(name)]
        return joined(f"read_parquet([{', '.join(map(_quote, files))}])", self.attached)

    def file_of(self, dataset: str, stem: str) -> str:
        """SQL for the rows of one shard, of all columns."""
        file = _quote(self._place.manifest_named(dataset, stem))
        return joined(f"read_parquet([{file}])", self.attached)

    def places(self, datasets: Sequence[str], keys: Sequence[str]) -> list[dict[str, Any]]:
        """Where samples lie: dataset, key, shard and members of those that are packed. The keys are
        written out, so that only the parts of manifests are read that may hold them."""
        if not datasets or not keys:
            return []
        found: list[dict[str, Any]] = self.table(
            f"SELECT dataset, key, shard, members FROM {self.files_of(datasets)} "
            f"WHERE status = 'ok' AND key IN ({', '.join(map(_quote, keys))})"
        ).to_pylist()
        return found

    def columns_of(self, text: str) -> frozenset[str]:
        """Names of the columns that a checked expression reads."""
        return columns_of(self.con, text)

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """Runs SQL whose expressions have been checked. Raises UserError naming the column."""
        return self._guard(sql).fetchall()

    def table(self, sql: str) -> Any:
        """Runs SQL whose expressions have been checked; returns a pyarrow Table."""
        import duckdb

        try:
            return self.con.sql(sql).to_arrow_table()
        except duckdb.Error as error:
            raise UserError(self._explained(error)) from None

    def batches(self, sql: str, rows: int) -> Iterator[Any]:
        """As `table`, of so many rows at a time, in their order; one without rows where there are
        none."""
        import duckdb
        import pyarrow as pa

        try:
            reader = self.con.sql(sql).to_arrow_reader(rows)
            is_empty = True
            for batch in reader:
                is_empty = False
                yield pa.Table.from_batches([batch])
            if is_empty:
                yield reader.schema.empty_table()
        except duckdb.Error as error:
            raise UserError(self._explained(error)) from None

    def _explained(self, error: Exception) -> str:
        return explain(error, self.datasets, sidecar_columns(self._place, self.datasets))

    def _show_samples(self) -> None:
        rows = self.files_of(self.datasets)
        self._guard(f"CREATE OR REPLACE TEMP VIEW samples AS SELECT * FROM {rows}")

    def _guard(self, sql: str) -> Any:
        import duckdb

        try:
            return self.con.execute(sql)
        except duckdb.Error as error:
            raise UserError(self._explained(error)) from None

    def gaps(self) -> list[str]:
        """What is missing of the datasets, a line each: a pack that did not finish, manifests that
        are gone. Rows that should be there are not."""
        found = []
        for name in self.datasets:
            number = len(self.layout.manifests_of(name))
            try:
                expected = len(read_card(self.layout, name)["shards"])
            except (UserError, LookupError, TypeError):
                found.append(f"{name} is not finished: rows may be missing, pack it to its end")
                continue
            if number != expected:
                found.append(
                    f"{name} has {number} of {expected} manifests: "
                    f"python -m toolkit.verify --repair_manifest {name} rebuilds them"
                )
        return found

    def misspelt(self, condition: str) -> list[str]:
        """A hint for each `column = 'text'` of a condition whose text no row has."""
        hints = []
        for column, text in re.findall(r"(\w+)\s*=\s*'((?:[^']|'')*)'", condition):
            if column.lower() not in _FEW_VALUES:
                continue
            found = self.rows(f"SELECT DISTINCT {column} FROM samples WHERE {column} IS NOT NULL")
            known = {str(value).casefold(): str(value) for (value,) in found}
            wanted = text.replace("''", "'")
            if column.lower() == "dataset" and wanted in self.layout.datasets():
                if wanted not in self.datasets:
                    hints.append(f"{wanted} was left out: name it with --datasets={wanted}")
                continue
            if column.lower() == "dataset" and (self.layout.shards / wanted / ".staged").is_dir():
                hints.append(f"{wanted} is not finished: python -m toolkit.teach goes on with it")
                continue
            near = nearest(wanted, known.values())
            if wanted not in known.values() and near:
                hints.append(f"no row has {column} {wanted!r}: did you mean {near!r}?")
        return hints


def no_dataset(name: str, known: Sequence[str]) -> str:
    """What to tell of a dataset that is not there; a path to one is near its name."""
    hint = or_nearest(Path(name).name, known)
    return f"there is no dataset {name!r}: packed are {', '.join(known)}{hint}"


def print_gaps(catalog: Catalog) -> None:
    """Prints what is missing of the datasets on stderr."""
    for gap in catalog.gaps():
        warn(gap)


def without_rehearsals(layout: Layout) -> list[str]:
    """The datasets without those that `pack --limit` made, whose samples another one holds too;
    unless there are only such."""
    names = layout.datasets()
    return [name for name in names if not name.endswith(REHEARSAL)] or names


def explain(
    error: Exception, datasets: Sequence[str] = (), more_columns: Sequence[str] = ()
) -> str:
    """DuckDB's complaint as one line, with the nearest column where one is unknown. more_columns:
    those of sidecars."""
    from toolkit.store.manifest import SCHEMA

    text = str(error).split("\n\n", maxsplit=1)[0]
    damaged = re.search(r"'([^']+\.parquet)'", text)
    if damaged:
        dataset = Path(damaged[1]).parent.name
        return (
            f"{damaged[1]} is damaged or gone: "
            f"python -m toolkit.verify --repair_manifest {dataset} rebuilds it from its tar"
        )
    unknown = re.search(r'Referenced column "([^"]+)"', text)
    if unknown and unknown[1] in datasets:
        return f"{unknown[1]} is a dataset, not a column: write dataset='{unknown[1]}'"
    if unknown:
        near = nearest(unknown[1], [*SCHEMA.names, *more_columns])
        quotes = f"a text is written '{unknown[1]}'; columns are {', '.join(SCHEMA.names)}"
        hint = f"did you mean {near}?" if near else quotes
        return f"there is no column {unknown[1]!r}: {hint}"
    return one_line(text)


def _quote(text: str | Path) -> str:
    return "'" + str(text).replace("'", "''") + "'"
