"""Sending a folder of files elsewhere: what is there already stays, and the card comes last."""

import re
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


def push_folder(folder: Path, to: str, public: bool, message: str, dry_run: bool) -> Pushed:
    """Sends the files of a folder that are not there yet.

    Raises UserError: a folder that cannot be sent, a place that nobody here knows, missing
    credentials, a server that refuses.
    """
    files = local_files(folder)
    scheme = to.partition("://")[0] if "://" in to else ""
    if scheme == "hf":
        from toolkit.exporting.push_hub import push_hub

        return push_hub(files, repository_of(to), public, message, dry_run)
    if scheme in ("s3", "s3a", "gs", "az", "azure", "abfs", "abfss"):
        from toolkit.exporting.push_store import push_store

        if public:
            raise UserError("--public goes with hf://: who reads a bucket is set in the store")
        return push_store(files, to.rstrip("/"), dry_run)
    raise UserError(
        f"--to={to}: write hf://datasets/USER/NAME, s3://BUCKET/PREFIX, gs://… or az://…"
    )


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


def repository_of(to: str) -> str:
    """USER/NAME of hf://datasets/USER/NAME. Raises UserError for anything else."""
    found = re.fullmatch(r"hf://datasets/([\w.-]+/[\w.-]+)/?", to)
    if not found:
        raise UserError(f"--to={to}: write hf://datasets/USER/NAME")
    return found[1]
