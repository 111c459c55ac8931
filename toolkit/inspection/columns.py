"""The columns that a gallery shows, sorts and filters by: those of manifests and of sidecars."""

from dataclasses import dataclass
from typing import Literal

from toolkit.core.errors import UserError
from toolkit.core.log import warn
from toolkit.core.nearest import suggestion
from toolkit.store.attached import named_columns
from toolkit.store.catalog import Catalog
from toolkit.store.manifest import SCHEMA

Kind = Literal["text", "number", "truth"]
# places are shown as pictures; a perceptual hash says nothing to the eye
_NOT_SHOWN = {"members", "links", "phash", "shard"}
_LISTS = {
    "captions": "CASE WHEN len(captions) > 1 THEN array_to_string(captions, ' | ') END",
    "categories": "array_to_string(categories, ' | ')",
}


@dataclass(frozen=True)
class Column:
    """A column. name: as it is shown; sql: how the catalogue knows it; kind: of its values."""

    name: str
    sql: str
    kind: Kind

    @property
    def quoted(self) -> str:
        """The name as SQL."""
        return '"' + self.name.replace('"', '""') + '"'


def gallery_columns(catalog: Catalog, chosen: list[str] | None = None) -> list[Column]:
    """All columns that hold texts, numbers or truths; of those of sidecars only `chosen` ones if
    given. A sidecar that is stale is left out, and said.

    Raises:
        UserError: a chosen column that is not there.
    """
    columns = [
        Column(field.name, _LISTS.get(field.name, field.name), _kind(str(field.type)))
        for field in SCHEMA
        if field.name not in _NOT_SHOWN
    ]
    own = {column.name for column in columns}
    pairs = named_columns(catalog.layout, catalog.datasets)
    every = [column for _, column in pairs]
    names = {
        (column if every.count(column) == 1 and column not in own else f"{sidecar}.{column}"): (
            sidecar, column,
        )
        for sidecar, column in pairs
    }  # fmt: skip
    for name in chosen or ():
        if name not in names and name not in own:
            raise UserError(f"there is no column {name!r}: {suggestion(name, [*names, *own])}")
    for name, (sidecar, column) in names.items():
        if chosen is None or name in chosen:
            columns += _of_sidecar(catalog, name, sidecar, column)
    return columns


def _of_sidecar(catalog: Catalog, name: str, sidecar: str, column: str) -> list[Column]:
    sql = f'"{sidecar}"."{column}"'
    try:
        catalog.expression(sql, "columns")
        kind = catalog.rows(f"DESCRIBE SELECT {sql} FROM samples")[0][1]
    except UserError as error:
        warn(f"left out: {name}: {error}")
        return []
    simple = _kind(kind.lower())
    is_plain = not any(sign in kind for sign in ("[", "STRUCT", "MAP", "BLOB"))
    return [Column(name, sql, simple)] if is_plain else []


def _kind(of: str) -> Kind:
    if of.startswith("bool"):
        return "truth"
    is_number = of.startswith(("int", "uint", "float", "double", "halffloat", "bigint", "smallint",
                               "tinyint", "hugeint", "ubigint", "usmallint", "utinyint", "decimal",
                               "real"))  # fmt: skip
    return "number" if is_number else "text"
