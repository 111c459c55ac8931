"""What is sent elsewhere: the files of a folder, the card last; and what came of it."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from toolkit.core.errors import UserError
from toolkit.exporting.place import RECORD, files_below

CARD = "README.md"


@dataclass(frozen=True)
class Local:
    """One file to send. name: from the folder on; size: in bytes."""

    name: str
    path: Path
    size: int


@dataclass(frozen=True)
class Pushed:
    """What came of it. num_there: files that were there with the same bytes; num_others: those
    there that are not in the folder."""

    to: str
    num_sent: int
    bytes_sent: int
    num_there: int
    num_others: int


def local_files(folder: Path) -> list[Local]:
    """The files of a folder without hidden ones, in order; the record of an export and the card
    stand last, so that whoever sees them finds the rest. Raises UserError."""
    if not folder.is_dir():
        raise UserError(f"there is no folder {folder}: python -m toolkit.export writes one")
    place = folder.resolve()
    if place.name.startswith(".") and place.name.endswith(".partial"):
        raise UserError(f"{folder} is an export that is not finished: go on with it first")
    found = list(_listed(place))
    if not found:
        raise UserError(f"there is nothing to send in {folder}")
    return sorted(found, key=lambda x: (x.name == CARD, x.name == RECORD, x.name))


def _listed(place: Path) -> Iterator[Local]:
    paths = list(files_below(place))
    if paths and (place / RECORD).is_file():
        paths.append(place / RECORD)
    for path in paths:
        yield Local(path.relative_to(place).as_posix(), path, path.stat().st_size)
