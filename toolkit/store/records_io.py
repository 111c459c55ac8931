"""Reads JSON and CSV: large files entry by entry, in little memory (ijson, which wraps yajl)."""

import csv
import json
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from toolkit.core.errors import UserError, one_line
from toolkit.store.images import PictureError


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


def read_object(path: Path) -> dict[str, Any]:
    """A small file that holds one JSON object. Raises UserError when it holds none."""
    try:
        tree = json.loads(path.read_text("utf-8-sig"))
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise not_json(path, error) from None
    if not isinstance(tree, dict):
        raise UserError(f"{path} holds no JSON object")
    return tree


def facts_of(picture: Path) -> dict[str, Any]:
    """The JSON object that lies beside a picture, under its name; empty where there is none.

    Raises PictureError `bad_metadata` when it is damaged: that costs this one input.
    """
    path = picture.with_suffix(".json")
    try:
        # os.path: a name that is too long with the other ending is no error, there is none
        return read_object(path) if os.path.isfile(path) else {}
    except UserError as error:
        raise PictureError("bad_metadata", str(error).replace(str(path), path.name)) from None


def items(path: Path, name: str) -> Iterator[dict[str, Any]]:
    """The objects of the list `name` of the file's top object, or, where `name` is empty, of the
    list that the file is; other things in it are passed over.

    Raises UserError when the file is not JSON.
    """
    import ijson

    try:
        with open(path, "rb") as file:
            for item in ijson.items(file, f"{name}.item".lstrip("."), use_float=True):
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


def lines(path: Path) -> Iterator[tuple[int, Any]]:
    """The numbers (from 1) and values of a JSON Lines file; ValueError stands for a line that is
    not JSON. Empty lines are passed over. Raises UserError when the file cannot be read."""
    try:
        with open(path, encoding="utf-8-sig", errors="surrogateescape") as file:
            for number, line in enumerate(file, 1):
                if line.strip():
                    try:
                        yield number, json.loads(line)
                    except (ValueError, RecursionError) as error:
                        yield number, ValueError(one_line(error, 120))
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from None


def records(path: Path, notes: Counter[str] | None = None) -> Iterator[dict[str, Any]]:
    """The records of a table: .csv with a header, .jsonl, or .json with a list of objects or with
    one object a name, which becomes the record's `name`. What is no record is passed over and
    noted, and so are rows of a CSV with missing or surplus fields, which are taken as they are.

    Raises UserError when the file cannot be read as what its name says.
    """
    notes = Counter() if notes is None else notes
    if path.suffix == ".csv":
        try:
            with open(path, encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
                for row in csv.DictReader(file, restkey="", strict=True):
                    if "" in row or None in row.values():
                        notes[f"rows of {path.name} with missing or surplus fields"] += 1
                    yield row
        except (OSError, csv.Error) as error:
            raise UserError(f"cannot read {path}: {error}") from None
    elif path.suffix == ".jsonl":
        for _, value in lines(path):
            if isinstance(value, dict):
                yield value
            else:
                notes[f"lines of {path.name} that are no JSON object"] += 1
    elif _first_character(path) == "[":
        yield from items(path, "")
    else:
        for name, value in members(path):
            if isinstance(value, dict):
                yield {"name": name, **value}


def _first_character(path: Path) -> str:
    try:
        with open(path, encoding="utf-8-sig", errors="replace") as file:
            return file.read(1000).lstrip()[:1]
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from None
