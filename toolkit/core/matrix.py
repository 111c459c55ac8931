"""A matrix of trainings, as a TOML file says it: a baseline, and rows that differ from it.

method = "style_adapter"
config = "tiny"                  # a preset or a TOML file; "smoke" otherwise
vary = "one"                     # one axis at a time; "all" (usual): every combination
seeds = [0, 1, 2]                # each row is trained with each

[train]                          # flags of train.run, for all rows
steps = 600

[axes]                           # the first value of each is the baseline's
layers = [4, 2, 8, 0]
purification = ["gated", "none"]
mix = ["main:3,fill50k:1", "main:1"]

[rows.sdedit]                    # a row by its name, where several flags go together
content_path = "sdedit"

[stylize]                        # flags of train.stylize, for all rows
[eval]                           # flags of eval.run, for all rows
"""

import hashlib
import itertools
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolkit.core.config import load_toml
from toolkit.core.errors import UserError
from toolkit.core.nearest import suggestion

BASELINE = "baseline"
_KEYS = ("method", "config", "vary", "seeds", "train", "axes", "rows", "stylize", "eval")
_GIVEN = {  # flags that each command is given by whoever starts it
    "train": ("method", "config", "name", "runs", "shards", "manifests", "seed", "resume",
              "overwrite", "force", "limit", "no_restore_optimizer"),
    "stylize": ("run", "name", "limit", "content", "style", "out", "shards", "manifests"),
    "eval": ("run", "folder", "contents", "styles", "name", "limit", "shards", "manifests", "runs"),
}  # fmt: skip
_LONGEST = 59  # characters of a run's name

Flags = dict[str, str]


@dataclass(frozen=True)
class Resolved:
    """Flags of train.run by the whole names of their fields, and all fields that a run of them
    has."""

    flags: Flags
    fields: Flags


Resolver = Callable[[str, str, Flags], Resolved]
Checker = Callable[[str, Flags, Flags], None]


@dataclass(frozen=True)
class Row:
    """A row of the table. flags: of its training, by the whole names of their fields. differs: its
    fields that are not the baseline's."""

    name: str
    flags: Flags
    differs: Flags


@dataclass(frozen=True)
class Matrix:
    """Rows, the baseline first, each trained with each of `seeds`. stylize, evaluate: flags of the
    other two commands."""

    name: str
    method: str
    config: str
    seeds: tuple[int, ...]
    rows: tuple[Row, ...]
    stylize: Flags
    evaluate: Flags

    def run_name(self, row: Row, seed: int) -> str:
        """The name of a row's run with a seed; no two rows have the same."""
        tail = f"-s{seed}" if len(self.seeds) > 1 else ""
        plain = f"{self.name}-{_slug(row.name)}"
        others = [other for other in self.rows if _slug(other.name) == _slug(row.name)]
        if len(others) > 1 or len(plain + tail) > _LONGEST:
            digest = hashlib.sha256(repr(sorted(row.flags.items())).encode()).hexdigest()[:8]
            plain = f"{self.name}-{digest}"
        return plain + tail


def read_matrix(path: Path, name: str | None, resolve: Resolver, check: Checker) -> Matrix:
    """The matrix of a TOML file.

    Args:
        path: the file.
        name: of the matrix; the file's otherwise.
        resolve: from method, config and flags of train.run; raises UserError for what the method
            does not take.
        check: of the method and the flags of train.stylize and eval.run; raises UserError for what
            these do not take.

    Raises:
        UserError: a file that is no matrix, in one line that says what to write.
    """
    tree = load_toml(path)
    try:
        return _matrix(tree, path, _matrix_name(name or path.stem), resolve, check)
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def _matrix(
    tree: Mapping[str, Any], path: Path, name: str, resolve: Resolver, check: Checker
) -> Matrix:
    for key in tree:
        if key not in _KEYS:
            hint = suggestion(key, _KEYS, 0.5)
            raise UserError(f"unknown name {key}: {hint}")
    method, config = _text(tree, "method", None), _text(tree, "config", "smoke")
    if config.endswith(".toml") and (path.parent / config).is_file():
        config = str(path.parent / config)
    base = _flags(tree, "train")
    rows = _rows(tree, lambda flags: resolve(method, config, {**base, **flags}))
    if len(rows) == 1:
        raise UserError("nothing differs: write [axes] or [rows.NAME]")
    stylize, evaluate = _flags(tree, "stylize"), _flags(tree, "eval")
    check(method, stylize, evaluate)
    return Matrix(name, method, config, _seeds(tree), rows, stylize, evaluate)


def _rows(tree: Mapping[str, Any], resolve: Callable[[Flags], Resolved]) -> tuple[Row, ...]:
    axes = _axes(tree)
    first = {axis: values[0] for axis, values in axes.items()}
    vary = tree.get("vary", "all")
    if vary == "all":
        products = itertools.product(*axes.values())
        chosen = [dict(zip(axes, values, strict=True)) for values in products]
    elif vary == "one":
        others = [(axis, value) for axis, values in axes.items() for value in values[1:]]
        chosen = [first, *({**first, axis: value} for axis, value in others)]
    else:
        raise UserError(f'vary = {vary!r}: takes "all" or "one"')
    named = [(_row_name(flags, first), flags) for flags in chosen]
    for name, flags in _tables(tree, "rows").items():
        named.append((name, {**first, **_plain_flags(flags, f"rows.{name}")}))
    found: dict[str, Resolved] = {}
    for name, flags in named:
        resolved = resolve(flags)
        if name in found:
            raise UserError(f"two rows are called {name!r}: name one otherwise")
        for other, earlier in found.items():
            if earlier.fields == resolved.fields:
                raise UserError(f"the rows {other!r} and {name!r} are the same: leave one away")
        found[name] = resolved
    own = found[BASELINE].fields
    return tuple(
        Row(name, one.flags, {k: v for k, v in one.fields.items() if own.get(k) != v})
        for name, one in found.items()
    )


def _row_name(flags: Flags, first: Flags) -> str:
    """What differs from the baseline, by the last part of each flag's name."""
    parts = [
        f"{axis.rpartition('.')[2]}={value}"
        for axis, value in flags.items()
        if value != first[axis]
    ]
    return ", ".join(parts) or BASELINE


def _axes(tree: Mapping[str, Any]) -> dict[str, list[str]]:
    found = {}
    for axis, values in _dotted(_tables(tree, "axes")).items():
        if not isinstance(values, list) or not values:
            raise UserError(f"axes.{axis}: write a list of values, the baseline's first")
        texts = [_value(value, f"axes.{axis}") for value in values]
        if len(set(texts)) < len(texts):
            raise UserError(f"axes.{axis}: one of its values is there twice")
        _refuse_given("train", axis)
        found[axis] = texts
    return found


def _flags(tree: Mapping[str, Any], table: str) -> Flags:
    return _plain_flags(_tables(tree, table), table)


def _plain_flags(table: Mapping[str, Any], name: str) -> Flags:
    """Flags and their texts. Raises UserError."""
    command = name if name in _GIVEN else "train"
    found = {}
    for flag, value in _dotted(table).items():
        _refuse_given(command, flag)
        found[flag] = _value(value, f"{name}.{flag}")
    return found


def _refuse_given(command: str, flag: str) -> None:
    if flag in _GIVEN[command]:
        hint = "write seeds = […] above all tables" if flag == "seed" else "leave it away"
        raise UserError(f"the matrix sets --{flag} of {command} itself: {hint}")


def _dotted(table: Mapping[str, Any]) -> dict[str, Any]:
    """Groups of TOML as dotted names."""
    found: dict[str, Any] = {}
    for key, value in table.items():
        if isinstance(value, Mapping):
            found |= {f"{key}.{name}": inner for name, inner in _dotted(value).items()}
        else:
            found[key] = value
    return found


def _tables(tree: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    found = tree.get(key, {})
    if not isinstance(found, Mapping):
        raise UserError(f"{key} is a table: write [{key}]")
    if key == "rows" and not all(isinstance(row, Mapping) for row in found.values()):
        raise UserError("write each row as [rows.NAME] with its flags below")
    return found


def _value(value: Any, place: str) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return ",".join(_value(item, place) for item in value)
    if isinstance(value, (str, int, float)):
        return str(value)
    raise UserError(f"{place}: takes a text, a number, true or false")


def _text(tree: Mapping[str, Any], key: str, usual: str | None) -> str:
    value = tree.get(key, usual)
    if not isinstance(value, str):
        raise UserError(f'write {key} = "…"')
    return value


def _seeds(tree: Mapping[str, Any]) -> tuple[int, ...]:
    seeds = tree.get("seeds", [0])
    is_list = isinstance(seeds, list) and seeds and all(type(seed) is int for seed in seeds)
    if not is_list or len(set(seeds)) < len(seeds) or min(seeds) < 0:
        raise UserError("write seeds as a list of different numbers from 0, as [0, 1, 2]")
    return tuple(seeds)


def _matrix_name(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,29}", name):
        raise UserError(
            f"{name!r} cannot name a matrix: use letters, digits, _ and -, at most 30 characters"
        )
    return name


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
