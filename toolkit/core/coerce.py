"""Turns the text of a flag or a TOML value into the type that an annotation asks for.

fire guesses types from the text (`--steps=abc` stays a string, `--name=007` loses its zeros), so
every value is converted here, against the annotation, before anything runs.
"""

import types
import typing
from pathlib import Path
from typing import Any

from toolkit.core.errors import UserError
from toolkit.core.nearest import choices
from toolkit.core.places import folder

TRUE, FALSE = frozenset({"true", "yes", "1", "on"}), frozenset({"false", "no", "0", "off"})


def coerce(value: Any, annotation: Any, name: str) -> Any:
    """Converts `value` (text, or a value read from TOML) to `annotation`.

    Supports bool, int, float, str, Path, Literal[...], tuple[T, ...] (text: comma-separated) and
    unions with None (text: `none` or empty). Raises UserError that begins with `name`, which is
    what the user wrote: `--steps` or `optim.lr`.
    """
    origin, args = typing.get_origin(annotation), typing.get_args(annotation)
    if annotation in (Any, None) or annotation is type(None):
        return value
    if origin in (typing.Union, types.UnionType):
        return _union(value, args, name)
    if origin is typing.Literal:
        if value in args:
            return value
        raise UserError(f"{name}={value!r}: {choices(str(value), args)}")
    if origin is tuple:
        items = value.split(",") if isinstance(value, str) else list(value)
        return tuple(coerce(_strip(item), args[0], name) for item in items if item != "")
    return _scalar(value, annotation, name)


def _union(value: Any, options: tuple[Any, ...], name: str) -> Any:
    if type(None) in options and (value is None or str(value).lower() in ("", "none")):
        return None
    options = tuple(option for option in options if option is not type(None))
    for option in options[:-1]:
        try:
            return coerce(value, option, name)
        except UserError:
            continue
    return coerce(value, options[-1], name)


def _scalar(value: Any, kind: Any, name: str) -> Any:
    text = str(value).strip()
    if kind is str or kind is Path:
        if isinstance(value, (dict, list)):
            raise UserError(f"{name} takes text, got {type(value).__name__}")
        return folder(str(value)) if kind is Path else str(value)
    if kind is bool:
        if isinstance(value, bool):
            return value
        if text.lower() in TRUE | FALSE:
            return text.lower() in TRUE
        raise UserError(f"{name}={text}: write true or false")
    if isinstance(value, bool):
        raise UserError(f"{name} takes a number, write {name}=NUMBER")
    if kind is int:
        try:
            return int(text.replace("_", ""))
        except ValueError:
            raise UserError(f"{name}={text}: takes a whole number, for example 100") from None
    if kind is float:
        try:
            return float(text)
        except ValueError:
            raise UserError(f"{name}={text}: takes a number, for example 0.5") from None
    raise TypeError(f"{name}: no conversion to {kind!r}")


def _strip(item: Any) -> Any:
    return item.strip() if isinstance(item, str) else item
