"""Reads large JSON files entry by entry, in little memory (ijson, which wraps the yajl parser)."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from toolkit.core.errors import UserError, one_line


def check_object(path: Path) -> None:
    """Raises UserError unless the file begins as a JSON object."""
    import ijson

    try:
        with open(path, "rb") as file:
            first = next(iter(ijson.basic_parse(file)), ("", None))
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from None
    except ijson.JSONError as error:
        raise not_json(path, error) from None
    if first[0] != "start_map":
        raise UserError(f"{path} holds no JSON object at its top")


def items(path: Path, name: str) -> Iterator[dict[str, Any]]:
    """The objects of the list `name` of the file's top object; other things in it are passed over.

    Raises UserError when the file is not JSON.
    """
    import ijson

    try:
        with open(path, "rb") as file:
            for item in ijson.items(file, f"{name}.item", use_float=True):
                if isinstance(item, dict):
                    yield item
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from None
    except ijson.JSONError as error:
        raise not_json(path, error) from None


def members(path: Path) -> Iterator[tuple[str, Any]]:
    """The names and values of the file's top object. Raises UserError when the file is not JSON."""
    import ijson

    try:
        with open(path, "rb") as file:
            yield from ijson.kvitems(file, "", use_float=True)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from None
    except ijson.JSONError as error:
        raise not_json(path, error) from None


def not_json(path: Path, error: Exception) -> UserError:
    """What to tell of a file that is not JSON."""
    return UserError(f"{path} is not valid JSON: {one_line(error, 120)}")
