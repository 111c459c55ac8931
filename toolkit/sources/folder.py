"""Any tree of pictures: the class from the folder's name, captions from files beside them.

`<picture>.txt` holds one caption a line; `<picture>.json` an object whose keys may be caption (or
text), captions, style, artist, genre, title, licence, categories and split; what else it holds is
kept in the manifest's `extra`. Tables metadata.csv or metadata.jsonl, in any folder, give the same
facts for the pictures that their column file_name (or path) names from there, as Hugging Face's
ImageFolder has it; further pictures of a sample, as NAME_image_file_name or NAME_image_path names
them, are its members NAME.ext and no samples of their own. What lies beside a picture counts before
a table.

A picture's style is its parent folder's name: none at the top, and none in a folder like train/ or
validation/ with a table in it, whose name is the split then.
"""

import json
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from toolkit.core.errors import UserError
from toolkit.core.keyed import key64
from toolkit.core.records import Record, Ref
from toolkit.core.spool import Spool
from toolkit.core.tree import stamp_of, walk_files
from toolkit.store.images import PICTURE_EXTENSIONS, is_picture, picture_extension
from toolkit.store.keys import readable
from toolkit.store.records_io import facts_of, records

CaptionFrom = Literal["files", "name", "folder"]
_TABLES = ("metadata.csv", "metadata.jsonl")
_FILE_COLUMNS = ("file_name", "path")
_TEXT_FIELDS = ("style", "artist", "genre", "title", "licence", "split")
_INSIDE = "_image_inside"  # of a fact: the file, from the source's folder on
_FURTHER = re.compile(r"([a-z0-9_-]{1,10})_image_(?:file_name|path)")
_SPLITS = {"train": "train", "training": "train", "val": "val", "valid": "val",
           "validation": "val", "dev": "val", "test": "test"}  # fmt: skip


def open_source(
    src: Path, metadata: Path | None = None, caption_from: CaptionFrom = "files"
) -> "Folder":
    """Opens a folder. Raises UserError when it is missing or holds no picture, or for a table that
    names no files.

    Args:
        src: the folder.
        metadata: one table of facts, .csv, .jsonl or .json, whose column file_name or path names
            files from src on; every metadata.csv and metadata.jsonl below src otherwise.
        caption_from: what is the caption of a picture that has none: nothing (files), its own name
            without a number at its end (name), or its folder's name (folder).
    """
    if not src.is_dir():
        raise UserError(f"there is no folder {src}: give an existing one with --src=DIR")
    first = next(walk_files(src, is_picture), None)
    if first is None:
        known = ", ".join(sorted(PICTURE_EXTENSIONS))
        raise UserError(f"no pictures in {src}: expected files ending in {known}")
    if metadata is not None and not _file_of(next(records(metadata), {})):
        raise UserError(f"{metadata} has no row with file_name or path: it names files below {src}")
    return Folder(src, metadata, picture_extension(first) or "jpg", caption_from)


@dataclass(frozen=True)
class Folder:
    """A tree of pictures. metadata: the one table of facts, where it is not to be looked for; ext:
    the one picture extension that the whole dataset gets; caption_from: as of `open_source`."""

    src: Path
    metadata: Path | None = None
    ext: str = "jpg"
    caption_from: CaptionFrom = "files"

    def index(self, notes: Counter[str] | None = None) -> Iterator[Ref]:
        """Pictures in the order of their paths; rows of tables without a picture are noted, and
        tables that name no files."""
        notes = Counter() if notes is None else notes
        tables = dict(self._tables())
        splits = {folder: _SPLITS[x] for folder in tables
                  if (x := folder.rpartition("/")[2].lower()) in _SPLITS}  # fmt: skip
        with Spool() as spool:
            for folder, table in tables.items():
                _read_table(spool, folder, table, splits.get(folder), notes)
            for path in walk_files(self.src, is_picture, notes):
                folder = path.rpartition("/")[0]
                style = None if folder in splits else folder.rpartition("/")[2] or None
                found = spool.get("facts", path) if tables else []
                if not found and tables and spool.get("further", path):
                    continue
                if found:
                    spool.add("pictures", [(path, None)])
                yield self._ref(path, found[-1] if found else {}, style)
            unmatched = sum(1 for _ in spool.missing("facts", "pictures")) if tables else 0
        if unmatched:
            notes["rows of tables without a picture"] += unmatched

    def _tables(self) -> Iterator[tuple[str, Path]]:
        """Folders below src, and the table in each."""
        if self.metadata is not None:
            yield "", self.metadata
            return
        for name in walk_files(self.src, lambda name: name in _TABLES):
            yield name.rpartition("/")[0], self.src / name

    def _ref(self, path: str, facts: dict[str, Any], style: str | None) -> Ref:
        bare = os.path.splitext(self.src / path)[0]
        stamps = {ending: stamp_of(bare + ending) for ending in (".txt", ".json")}
        beside = [ending for ending, found in stamps.items() if found]
        stamp = " ".join(filter(None, [stamp_of(self.src / path), *stamps.values()]))
        for name in _further(facts).values():
            stamp = f"{stamp} {stamp_of(self.src / name)}"
        if facts:
            stamp = f"{stamp} {key64('folder', json.dumps(facts, sort_keys=True)):x}"
        # a.png beside a.jpg: only pictures of the dataset's own extension go by their stem
        stem, _, literal = readable(path).rpartition(".")
        key = stem if literal == self.ext else ""
        return Ref(readable(path), [path, facts, beside, style], stamp, key)

    def read(self, ref: Ref) -> Record:
        """The picture's bytes with its captions and facts."""
        name, listed, endings, folder = ref.locator
        path, listed = self.src / name, dict(listed)
        beside = facts_of(path) if ".json" in endings else {}
        lines = _lines(path.with_suffix(".txt")) if ".txt" in endings else ()
        told = [_captions(beside), lines, _captions(listed), self._named(name)]
        facts = {**listed, **beside}
        texts = {name: _text(facts.pop(name, None)) for name in _TEXT_FIELDS}
        split = texts["split"]
        members = {self.ext: path.read_bytes()}
        for ext, name in _further(facts).items():
            members[ext] = (self.src / name).read_bytes()
            facts.pop(f"{ext.partition('.')[0]}{_INSIDE}")
        return Record(
            members=members,
            captions=next(filter(None, told), ()),
            categories=_texts(facts.pop("categories", None)),
            style=texts["style"] or folder,
            artist=texts["artist"],
            genre=texts["genre"],
            title=texts["title"],
            licence=texts["licence"],
            split=_SPLITS.get((split or "").lower(), split),
            extra=facts,
        )

    def describe(self) -> dict[str, Any]:
        """Kind and folder name; the place on this machine is left out on purpose."""
        described = {"kind": "folder", "src": self.src.resolve().name, "ext": self.ext}
        described |= {"metadata": self.metadata.name} if self.metadata else {}
        is_usual = self.caption_from == "files"
        return described if is_usual else {**described, "caption_from": self.caption_from}

    def _named(self, path: str) -> tuple[str, ...]:
        """The caption that a picture's place says."""
        folder, _, file = readable(path).rpartition("/")
        text = {
            "files": "",
            "name": re.sub(r"[\s_-]*\(?\d+\)?$", "", file.rpartition(".")[0]),
            "folder": folder.rpartition("/")[2],
        }[self.caption_from]
        text = re.sub(r"[_\s]+", " ", text).strip()
        return (text,) if text else ()


def _read_table(
    spool: Spool, folder: str, table: Path, split: str | None, notes: Counter[str]
) -> None:
    """Adds a table's rows under the paths that they name; split: theirs where they tell none."""
    inside, named = (f"{folder}/" if folder else ""), 0
    for row in records(table, notes):
        if not (file := _file_of(row)):
            continue
        told = {k: v for k, v in row.items() if k and v not in (None, "")}
        facts = {k: v for k, v in told.items() if k not in _FILE_COLUMNS}
        for column, called in [(k, x[1]) for k in facts if (x := _FURTHER.fullmatch(k))]:
            name = inside + str(facts.pop(column)).replace("\\", "/").removeprefix("./")
            if is_picture(name) and ".." not in name.split("/"):
                facts[f"{called}{_INSIDE}"] = name
                spool.add("further", [(name, None)])
        spool.add("facts", [(inside + file, {**({"split": split} if split else {}), **facts})])
        named += 1
    if not named:
        notes[f"{inside}{table.name}: not used, no row has file_name or path"] += 1


def _further(facts: Mapping[str, Any]) -> dict[str, str]:
    """Further pictures of a sample: member extension to file."""
    return {
        f"{name.removesuffix(_INSIDE)}.{picture_extension(file)}": file
        for name, file in facts.items()
        if name.endswith(_INSIDE)
    }


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
