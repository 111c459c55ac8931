"""A command as values: what its `--help` says, for programs (`--help=json`)."""

import inspect
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

Values = Callable[[list[str], Mapping[str, str]], Mapping[str, Iterable[str]]]
"""Of a command: called with positional arguments and flags, names of parameters and fields with the
values that are known for them besides those that their types tell."""


def described(
    function: Callable[..., None],
    texts: tuple[str, Mapping[str, str]],
    fields: Mapping[str, str],
    values: Mapping[str, Iterable[str]],
) -> dict[str, Any]:
    """A command: `summary`, and under `parameters` for each name, whether it is positional, its
    kind (switch, path, text), help, and the values that it takes where they are known.

    Args:
        function: the command.
        texts: its docstring's body, and the text of each parameter.
        fields: further flags, as `--help` lists them.
        values: known ones, by name.
    """
    body, of_parameters = texts
    hints = typing.get_type_hints(function)
    found = []
    for p in inspect.signature(function).parameters.values():
        if p.kind == p.VAR_KEYWORD:
            continue
        hint = _without_none(hints.get(p.name, str))
        found.append({
            "name": p.name.rstrip("_"),
            "positional": p.kind == p.POSITIONAL_OR_KEYWORD,
            "kind": "switch" if hint is bool else "path" if hint is Path else "text",
            "several": typing.get_origin(hint) is tuple,
            "help": of_parameters.get(p.name, ""),
            "values": [*map(str, values.get(p.name, ())), *_choices(hint)],
        })  # fmt: skip
    known = {one["name"] for one in found}
    for name, text in fields.items():
        if name not in known:
            found.append({
                "name": name, "positional": False, "kind": "text", "several": False,
                "help": _help_of(text), "values": [*map(str, values.get(name, ()))],
            })  # fmt: skip
    return {"summary": " ".join(body.split("\n\n")[0].split()), "parameters": found}


def choices_of(config: Any, prefix: str = "") -> dict[str, list[str]]:
    """The values of each field of a tree of dataclasses whose type names them, by dotted name."""
    import dataclasses

    found: dict[str, list[str]] = {}
    hints = typing.get_type_hints(type(config))
    for field in dataclasses.fields(config):
        value, hint = getattr(config, field.name), _without_none(hints[field.name])
        if dataclasses.is_dataclass(value):
            found |= choices_of(value, f"{prefix}{field.name}.")
        elif hint is bool:
            found[f"{prefix}{field.name}"] = ["true", "false"]
        elif known := _choices(hint):
            found[f"{prefix}{field.name}"] = known
    return found


def _choices(hint: Any) -> list[str]:
    if typing.get_origin(hint) is typing.Literal:
        return [str(choice) for choice in typing.get_args(hint)]
    if typing.get_origin(hint) is tuple:
        return _choices(typing.get_args(hint)[0])
    return []


def _without_none(hint: Any) -> Any:
    """The type of a value that may be None."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        kinds = [kind for kind in typing.get_args(hint) if kind is not type(None)]
        return kinds[0] if len(kinds) == 1 else hint
    return hint


def _help_of(text: str) -> str:
    """A line of help as `--optim.lr=0.001    peak learning rate` without the flag."""
    return " ".join(text.split()).partition(" ")[2].strip()
