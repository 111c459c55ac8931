"""Any tree of pictures: the class from the folder's name, captions from files beside them.

`<picture>.txt` holds one caption a line; `<picture>.json` an object whose keys may be caption (or
text), captions, style, artist, genre, title, licence, categories and split; what else it holds is
kept in the manifest's `extra`. A table for all of them, metadata.csv or metadata.jsonl as Hugging
Face's ImageFolder has it, gives the same facts by the column file_name (or path). What lies beside
a picture counts before the table. A picture's style is its parent folder's name (none at the top).
"""

import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolkit.core.errors import UserError
from toolkit.core.keyed import key64
from toolkit.core.records import Record, Ref
from toolkit.core.spool import Spool
from toolkit.core.tree import stamp_of, walk_files
from toolkit.store.images import PICTURE_EXTENSIONS, is_picture, picture_extension
from toolkit.store.keys import readable
from toolkit.store.records_io import facts_of, records

_TABLES = ("metadata.csv", "metadata.jsonl")
_FILE_COLUMNS = ("file_name", "path")
_TEXT_FIELDS = ("style", "artist", "genre", "title", "licence", "split")


def open_source(src: Path, metadata: Path | None = None) -> "Folder":
    """Opens a folder. Raises UserError when it is missing or holds no picture, or for a table that
    names no files.

    Args:
        src: the folder.
        metadata: a table of facts, .csv, .jsonl or .json, whose column file_name or path names
            files below src; metadata.csv or metadata.jsonl in src otherwise.
    """
    if not src.is_dir():
        raise UserError(f"there is no folder {src}: give an existing one with --src=DIR")
    first = next(walk_files(src, is_picture), None)
    if first is None:
        known = ", ".join(sorted(PICTURE_EXTENSIONS))
        raise UserError(f"no pictures in {src}: expected files ending in {known}")
    table = metadata or next((src / name for name in _TABLES if (src / name).is_file()), None)
    if table is not None and not _file_of(next(records(table), {})):
        raise UserError(f"{table} has no row with file_name or path: it names files below {src}")
    return Folder(src, table, picture_extension(first) or "jpg")


@dataclass(frozen=True)
class Folder:
    """A tree of pictures. metadata: a table of facts; ext: the one picture extension that the
    whole dataset gets."""

    src: Path
    metadata: Path | None = None
    ext: str = "jpg"

    def index(self, notes: Counter[str] | None = None) -> Iterator[Ref]:
        """Pictures in the order of their paths; rows of the table without a picture are noted."""
        if self.metadata is None:
            for path in walk_files(self.src, is_picture, notes):
                yield self._ref(path, {})
            return
        notes = Counter() if notes is None else notes
        with Spool() as spool:
            for row in records(self.metadata):
                facts = {k: v for k, v in row.items() if k and v not in (None, "")}
                spool.add("facts", [(_file_of(row), facts)])
            for path in walk_files(self.src, is_picture, notes):
                spool.add("pictures", [(path, None)])
                found = spool.get("facts", path)
                yield self._ref(path, found[-1] if found else {})
            unmatched = sum(1 for _ in spool.missing("facts", "pictures"))
        if unmatched:
            notes[f"rows of {self.metadata.name} without a picture"] += unmatched

    def _ref(self, path: str, facts: dict[str, Any]) -> Ref:
        bare = os.path.splitext(self.src / path)[0]
        stamps = {ending: stamp_of(bare + ending) for ending in (".txt", ".json")}
        beside = [ending for ending, found in stamps.items() if found]
        stamp = " ".join(filter(None, [stamp_of(self.src / path), *stamps.values()]))
        if facts:
            facts = {name: facts[name] for name in facts if name not in _FILE_COLUMNS}
            stamp = f"{stamp} {key64('folder', json.dumps(facts, sort_keys=True)):x}"
        # a.png beside a.jpg: only pictures of the dataset's own extension go by their stem
        stem, _, literal = readable(path).rpartition(".")
        key = stem if literal == self.ext else ""
        return Ref(readable(path), [path, facts, beside], stamp, key)

    def read(self, ref: Ref) -> Record:
        """The picture's bytes with its captions and facts."""
        path, listed, endings = self.src / ref.locator[0], dict(ref.locator[1]), ref.locator[2]
        beside = facts_of(path) if ".json" in endings else {}
        lines = _lines(path.with_suffix(".txt")) if ".txt" in endings else ()
        told = [_captions(beside), lines, _captions(listed)]
        facts = {**listed, **beside}
        parent = path.parent.name if path.parent != self.src else None
        texts = {name: _text(facts.pop(name, None)) for name in _TEXT_FIELDS}
        style = texts.pop("style") or parent
        return Record(
            members={self.ext: path.read_bytes()},
            captions=next(filter(None, told), ()),
            categories=_texts(facts.pop("categories", None)),
            style=style,
            artist=texts["artist"],
            genre=texts["genre"],
            title=texts["title"],
            licence=texts["licence"],
            split=texts["split"],
            extra=facts,
        )

    def describe(self) -> dict[str, Any]:
        """Kind and folder name; the place on this machine is left out on purpose."""
        described = {"kind": "folder", "src": self.src.resolve().name, "ext": self.ext}
        return described | ({"metadata": self.metadata.name} if self.metadata else {})


def _file_of(row: Mapping[str, Any]) -> str:
    named = next((str(row[name]) for name in _FILE_COLUMNS if row.get(name)), "")
    return named.replace("\\", "/").removeprefix("./")


def _captions(facts: dict[str, Any]) -> tuple[str, ...]:
    """Takes the captions out of the facts."""
    told = [_texts(facts.pop(name, None)) for name in ("captions", "caption", "text")]
    return next(filter(None, told), ())


def _lines(path: Path) -> tuple[str, ...]:
    text = path.read_text("utf-8-sig", errors="replace")
    return tuple(line.strip() for line in text.splitlines() if line.strip())


def _texts(value: Any) -> tuple[str, ...]:
    """One text, or a list of them, or nothing, as texts."""
    values = value if isinstance(value, list) else [value]
    return tuple(str(item) for item in values if item not in (None, ""))


def _text(value: Any) -> str | None:
    return None if value in (None, "") else str(value)
