"""Resolves a configuration: dataclass defaults, then a TOML file, then dotted flags.

Strict: an unknown name is refused with the nearest known one, and every value is converted to the
type of its field. A configuration is a tree of frozen dataclasses; the resolved tree is stored as
TOML beside what it produced and repeats it.
"""

import dataclasses
import json
import re
import textwrap
import tomllib
import typing
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from toolkit.core.coerce import coerce
from toolkit.core.errors import UserError, one_line
from toolkit.core.nearest import suggestion

T = TypeVar("T")
_FLAG_WIDTH = 42


def load_toml(path: Path) -> dict[str, Any]:
    """Reads a TOML file. Raises UserError when it is missing or is not TOML."""
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise UserError(f"cannot read the config {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not valid TOML: {one_line(error)}") from None


def load_layers(path: Path, find: Callable[[str], Path]) -> list[tuple[Path, dict[str, Any]]]:
    """A TOML file and those that it is like, the one that all begin with first.

    Args:
        path: of the file; with like = "NAME" it says only what differs from another.
        find: the path of what a name stands for. PATH.toml is first looked for beside the file
            that names it.

    Raises:
        UserError: a file that is missing or no TOML, one that is like itself, or what `find`
            raises.
    """
    layers: list[tuple[Path, dict[str, Any]]] = []
    while True:
        if any(path.resolve() == earlier.resolve() for earlier, _ in layers):
            raise UserError(f"{path} is like itself: its `like` leads back to it")
        tree = load_toml(path)
        like = tree.pop("like", None)
        layers.insert(0, (path, tree))
        if like is None:
            return layers
        if not isinstance(like, str):
            raise UserError(f'{path}: write like = "NAME", of a preset or file')
        near = path.parent / like
        path = near if like.endswith(".toml") and near.is_file() else find(like)


def resolve(base: T, tree: Mapping[str, Any], origin: str = "config", group: str = "") -> T:
    """Returns `base` with the values of the nested mapping `tree` put in.

    Args:
        base: an instance of a frozen dataclass; its fields may be dataclasses themselves.
        tree: nested names and values, as TOML gives them.
        origin: where the values come from, for error messages.
        group: dotted name of `base` with a dot behind it, where it is a part of a larger tree.

    Raises:
        UserError: an unknown name (with the nearest one), or a value of the wrong type.
    """
    hints = typing.get_type_hints(type(base))
    changes: dict[str, Any] = {}
    for name, value in tree.items():
        place = f"{group}{name}"
        if name not in hints:
            raise UserError(f"unknown name {place} in {origin}: {suggestion(name, hints, 0.4)}")
        current = getattr(base, name)
        if dataclasses.is_dataclass(current):
            if not isinstance(value, Mapping):
                raise UserError(f"{place} in {origin} is a group: set {place}.FIELD=VALUE")
            changes[name] = resolve(current, value, origin, f"{place}.")
        elif isinstance(value, Mapping):
            raise UserError(f"{place} in {origin} is one value, not a group")
        else:
            changes[name] = coerce(value, hints[name], place)
    return dataclasses.replace(base, **changes)  # type: ignore[type-var]


def nest(dotted: Mapping[str, Any]) -> dict[str, Any]:
    """Turns {"optim.lr": 1} into {"optim": {"lr": 1}}."""
    tree: dict[str, Any] = {}
    for name, value in dotted.items():
        *groups, leaf = name.split(".")
        node = tree
        for group in groups:
            node = node.setdefault(group, {})
            if not isinstance(node, dict):
                raise UserError(f"--{name}: {group} is given as a value too")
        node[leaf] = value
    return tree


def to_toml(config: Any) -> str:
    """Writes a dataclass tree as TOML text that `load_toml` and `resolve` read back.

    None has no TOML form and is left out: it must be the field's default.
    """
    return "".join(_toml_lines(dataclasses.asdict(config), ()))


def _toml_lines(tree: Mapping[str, Any], path: tuple[str, ...]) -> list[str]:
    plain = {k: v for k, v in tree.items() if not isinstance(v, Mapping) and v is not None}
    lines = [f"{key} = {_toml_value(value)}\n" for key, value in plain.items()]
    if path and lines:
        lines.insert(0, f"\n[{'.'.join(path)}]\n")
    for key, value in tree.items():
        if isinstance(value, Mapping):
            lines += _toml_lines(value, (*path, key))
    return lines


def _toml_value(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_toml_value, value)) + "]"
    if isinstance(value, float):
        return repr(value)
    # JSON text is valid TOML for str, bool and int, if no character is written as two halves.
    text = json.dumps(str(value) if isinstance(value, Path) else value, ensure_ascii=False)
    return text.replace("\x7f", "\\u007f")


def describe(config: Any, prefix: str = "") -> dict[str, str]:
    """Dotted name of each field, and its flag, value and text: what `--help` lists."""
    lines: dict[str, str] = {}
    texts, hints = field_texts(config), typing.get_type_hints(type(config))
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            lines |= describe(value, f"{prefix}{field.name}.")
        else:
            shown = f"--{prefix}{field.name}={_shown(value)}"
            text = _with_choices(texts.get(field.name, ""), hints[field.name])
            lines[f"{prefix}{field.name}"] = _aligned(shown, text)
    return lines


def field_texts(config: Any) -> dict[str, str]:
    """What the docstring of a dataclass says of its fields: `name: text.` or `one, other: text.`"""
    doc = " ".join((type(config).__doc__ or "").split())
    names = "|".join(re.escape(field.name) for field in dataclasses.fields(config))
    starts = list(re.finditer(rf"(?:^|(?<=[.;] ))((?:{names})(?:, (?:{names}))*): ", doc))
    ends = [*(start.start() for start in starts[1:]), len(doc)][: len(starts)]
    found: dict[str, str] = {}
    for start, end in zip(starts, ends, strict=True):
        text = doc[start.end() : end].strip().rstrip(".;")
        found |= dict.fromkeys(start[1].split(", "), text)
    return found


def _with_choices(text: str, hint: Any) -> str:
    """A field's text, and the values that it takes where that does not name them."""
    if typing.get_origin(hint) is not typing.Literal:
        return text
    choices = [str(choice) for choice in typing.get_args(hint)]
    if all(re.search(rf"\b{re.escape(choice)}\b", text) for choice in choices):
        return text
    return "; ".join(filter(None, [text, f"one of {', '.join(choices)}"]))


def _shown(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _aligned(flag: str, text: str) -> str:
    """A flag and its text beside it, in lines of at most 100 columns."""
    left = f"{flag:<{_FLAG_WIDTH}} "
    wrapped = textwrap.wrap(text, 98 - len(left) if len(left) <= _FLAG_WIDTH + 1 else 60)
    rest = "\n".join(f"{'':<{_FLAG_WIDTH + 3}}{line}" for line in wrapped[1:])
    return "\n".join(filter(None, [f"{left}{wrapped[0] if wrapped else ''}".rstrip(), rest]))
