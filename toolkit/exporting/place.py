"""Where an export is written: a folder beside its destination, which takes the place when it is
whole; a journal of what is done; and the record that a finished export keeps."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from toolkit.core.errors import UserError
from toolkit.core.files import held, make_folder, sync_folder, write_atomic
from toolkit.core.places import is_remote
from toolkit.store.layout import Layout

RECORD = ".tessera-export.json"  # hidden: readers of data pass it over
_JOURNAL = ".journal.jsonl"
NOTES = ".notes"


def check_out(out: Path, layout: Layout) -> Path:
    """Returns the destination. Raises UserError where no export can be."""
    if is_remote(out):
        raise UserError(
            f"--out={out}: an export is written to a folder first, and sent from there: "
            f"python -m toolkit.export push DIR --to={out}"
        )
    place = out.resolve()
    for folder in (layout.shards, layout.manifests):
        if is_remote(folder):
            continue
        data = folder.resolve()
        if place == data or data in place.parents or place in data.parents:
            raise UserError(
                f"--out={out}: {folder} holds packed data and nothing else: choose another folder"
            )
    if place.exists() and not place.is_dir():
        raise UserError(f"--out={out} is a file: name a folder")
    if os.path.ismount(place):
        raise UserError(f"--out={out} is where a disk is mounted: name a folder in it")
    return place


def read_record(folder: Path) -> dict[str, Any] | None:
    """The record of a finished export; None where there is none."""
    try:
        found = json.loads((folder / RECORD).read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def is_whole(folder: Path, record: dict[str, Any]) -> bool:
    """Whether the files of a finished export are still as many, and as large together."""
    return sizes_of(folder) == (record.get("num_files"), record.get("num_bytes"))


def sizes_of(folder: Path) -> tuple[int, int]:
    """Files below a folder, and their bytes, without the record and other programs' caches."""
    sizes = [path.stat().st_size for path in files_below(folder)]
    return len(sizes), sum(sizes)


def files_below(folder: Path) -> Iterator[Path]:
    """The files of an export, in order; hidden files at the top are none."""
    for path in sorted(folder.iterdir()):
        if path.name.startswith("."):
            continue
        if path.is_dir():
            yield from sorted(p for p in path.rglob("*") if p.is_file())
        elif path.is_file():
            yield path


def refuse_other(out: Path, identity: str, overwrite: bool) -> dict[str, Any] | None:
    """The record of the same export where it is there and whole. Raises UserError where other files
    are, or another export that is not to be replaced."""
    if not out.is_dir() or not any(out.iterdir()):
        return None
    record = read_record(out)
    if record is None:
        raise UserError(
            f"--out={out} holds other files, which no export touches: choose a new folder"
        )
    if overwrite:
        return None
    if record.get("identity") != identity:
        raise UserError(
            f"--out={out} holds another export ({record.get('form')} of {record.get('where')!r}, "
            "or of data that were packed anew since): choose a new folder, or give --overwrite"
        )
    if not is_whole(out, record):
        raise UserError(f"--out={out}: files of this export were changed or removed since: "
                        "--overwrite makes it anew")  # fmt: skip
    return record


class Staging:
    """The folder that an export grows in. num_kept: parts that an interrupted one left."""

    def __init__(self, out: Path, identity: str):
        self.out, self._identity = out, identity
        self.folder = out.with_name(f".{out.name}.partial")
        self.done: list[dict[str, Any]] = []

    @contextmanager
    def entered(self) -> Iterator["Staging"]:
        """Keeps other processes out, and takes up what an interrupted export left of the same.

        Raises UserError: another process is exporting there, or nothing can be written.
        """
        make_folder(self.out.parent)
        make_folder(self.folder)
        with held(self.folder, f"another process is exporting to {self.out}: wait for it"):
            self.done = self._taken_up()
            (self.folder / NOTES).mkdir(exist_ok=True)
            yield self

    def _taken_up(self) -> list[dict[str, Any]]:
        done = []
        try:
            lines = (self.folder / _JOURNAL).read_text("utf-8").splitlines()
            if json.loads(lines[0]) != {"identity": self._identity}:
                raise ValueError("another export")
            for line in lines[1:]:
                entry = json.loads(line)
                files = [(self.folder / name, size) for name, size in entry["files"]]
                if any(not p.is_file() or p.stat().st_size != size for p, size in files):
                    break  # the machine failed before they were on the disk
                done.append(entry)
        except (OSError, ValueError, LookupError, TypeError):
            for path in self.folder.iterdir():
                _remove(path)
            done = []
        self._write_journal(done)
        known = {self.folder / name for entry in done for name, _ in entry["files"]}
        for path in [p for p in self.folder.rglob("*") if p.is_file() and p not in known]:
            if path.name != _JOURNAL:  # begun, and never finished
                path.unlink()
        return done

    def _write_journal(self, done: list[dict[str, Any]]) -> None:
        entries = [{"identity": self._identity}, *done]
        text = "".join(json.dumps(entry, ensure_ascii=False) + "\n" for entry in entries)
        write_atomic(self.folder / _JOURNAL, text)

    def add(self, entry: dict[str, Any]) -> None:
        """Notes a finished part."""
        self.done.append(entry)
        with open(self.folder / _JOURNAL, "a", encoding="utf-8") as file:
            file.write(json.dumps(entry, ensure_ascii=False) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def remove(self) -> None:
        """Removes it."""
        _remove(self.folder)

    def publish(self, record: dict[str, Any]) -> dict[str, Any]:
        """Puts the finished export in its place; what was there goes only then. Returns the record
        as it is kept."""
        _remove(self.folder / _JOURNAL)
        _remove(self.folder / NOTES)
        num_files, num_bytes = sizes_of(self.folder)
        kept = {**record, "identity": self._identity, "num_files": num_files,
                "num_bytes": num_bytes}  # fmt: skip
        text = json.dumps(kept, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
        write_atomic(self.folder / RECORD, text)
        old = self.out.with_name(f".{self.out.name}.old")
        _remove(old)
        try:
            if self.out.is_dir() and any(self.out.iterdir()):
                os.rename(self.out, old)
            os.rename(self.folder, self.out)
        except OSError as error:
            raise UserError(f"cannot write {self.out}: {error.strerror or error}") from None
        sync_folder(self.out.parent)
        _remove(old)
        return kept


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
