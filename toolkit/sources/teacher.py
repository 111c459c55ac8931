"""Pictures that a teacher made before: `{content_id}_{style_id}_seed{seed}.png` with their facts.

The facts (steps, cfg, strength, seed, sampler …) stand in a JSON object beside each picture, under
the same name, or in one table for all: meta.csv, meta.jsonl or meta.json with a column that names
the picture. The content id ends at the first underscore, unless the facts give `content_id` and
`style_id`.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from toolkit.core.errors import UserError
from toolkit.core.keyed import key64
from toolkit.core.records import Link, Record, Ref, Split
from toolkit.core.spool import Spool
from toolkit.core.tree import stamp_of, walk_files
from toolkit.store.images import PictureError, is_picture, picture_extension
from toolkit.store.keys import make_key, readable
from toolkit.store.records_io import facts_of, records

_NAME = re.compile(r"(?P<content_id>[^_]+)_(?P<style_id>.+)_seed(?P<seed>\d+)")
_NAME_COLUMNS = ("name", "file", "file_name", "filename", "path", "image", "output", "key", "id")
_TABLES = ("meta.csv", "meta.jsonl", "meta.json")


def open_source(
    src: Path,
    meta: Path | None = None,
    content: str = "content",
    style: str = "wikiart",
    content_digits: int = 0,
    protocol: str = "imported",
    split: Split | None = None,
) -> "Teacher":
    """Opens a teacher's pictures. Raises UserError when the folder or a table is missing or empty.

    Args:
        src: the folder of the pictures.
        meta: a table of facts, .csv, .jsonl or .json; meta.csv, meta.jsonl or meta.json in src
            otherwise, besides NAME.json beside each picture.
        content: the dataset of the content pictures, which each target is linked to.
        style: the dataset of the style pictures.
        content_digits: pad numeric content ids with zeros to so many digits: 12 where COCO's
            pictures are packed by their file names and the ids here are plain numbers.
        protocol: name of the way in which the pictures were made.
        split: train, val or test for all pictures; none otherwise, which counts as train.
    """
    if not src.is_dir():
        raise UserError(f"there is no folder {src}: give an existing one with --src=DIR")
    table = meta or next((src / name for name in _TABLES if (src / name).is_file()), None)
    if table is not None and next(records(table), None) is None:
        raise UserError(f"{table} holds no record: it is a table with one row a picture")
    first = next(walk_files(src, is_picture), None)
    if first is None:
        raise UserError(f"no pictures in {src}: expected CONTENT_STYLE_seedN.png")
    ext = picture_extension(first) or "png"
    return Teacher(src, table, content, style, content_digits, protocol, split, ext)


@dataclass(frozen=True)
class Teacher:
    """A teacher's pictures, linked to what they were made from. ext: the dataset's extension."""

    src: Path
    meta: Path | None
    content: str
    style: str
    content_digits: int
    protocol: str
    split: Split | None
    ext: str = "png"

    def index(self, notes: Counter[str] | None = None) -> Iterator[Ref]:
        """Pictures in the order of their paths; facts without a picture are noted."""
        notes = Counter() if notes is None else notes
        with Spool() as spool:
            for record in records(self.meta, notes) if self.meta else ():
                name = next((str(record[c]) for c in _NAME_COLUMNS if record.get(c)), "")
                stem = PurePosixPath(name.replace("\\", "/")).name
                stem = stem.rpartition(".")[0] if is_picture(stem) else stem
                spool.add("facts", [(stem, record)])
            for path in walk_files(self.src, is_picture, notes):
                stem = PurePosixPath(path).stem
                spool.add("pictures", [(stem, None)])
                facts = {k: v for found in spool.get("facts", stem) for k, v in found.items() if k}
                yield self._ref(path, facts)
            unmatched = sum(1 for _ in spool.missing("facts", "pictures"))
        if unmatched:
            notes["facts without a picture"] += unmatched

    def _ref(self, path: str, facts: dict[str, Any]) -> Ref:
        picture = self.src / path
        beside = stamp_of(picture, picture.with_suffix(".json"))
        stamp = f"{beside} {key64('teacher', json.dumps(facts, sort_keys=True)):x}"
        stem, _, ext = readable(path).rpartition(".")
        return Ref(readable(path), [path, facts], stamp, stem if ext == self.ext else "")

    def read(self, ref: Ref) -> Record:
        """The picture, its facts, and links to its two halves."""
        path, facts = self.src / ref.locator[0], dict(ref.locator[1])
        facts |= facts_of(path)
        named = _NAME.fullmatch(path.stem)
        ids = {name: facts.get(name) or (named[name] if named else None) for name in
               ("content_id", "style_id", "seed")}  # fmt: skip
        if not ids["content_id"] or not ids["style_id"]:
            what = "the name is not CONTENT_STYLE_seedN and no facts give content_id and style_id"
            raise PictureError("bad_name", what)
        content = str(ids["content_id"])
        if content.isdecimal():
            content = content.zfill(self.content_digits)
        prompt = facts.pop("prompt", None) or facts.pop("caption", None)
        return Record(
            members={self.ext: path.read_bytes()},
            captions=(str(prompt),) if prompt else (),
            split=self.split,
            links=(
                Link("content", self.content, make_key(content)),
                Link("style", self.style, make_key(str(ids["style_id"]))),
            ),
            protocol=str(facts.pop("protocol", None) or self.protocol),
            extra={"teacher": {**facts, "seed": _number(ids["seed"])}},
        )

    def describe(self) -> dict[str, Any]:
        """Kind, folder, table by name, linked datasets."""
        return {
            "kind": "teacher",
            "src": self.src.resolve().name,
            "meta": self.meta.name if self.meta else None,
            "content": self.content,
            "style": self.style,
            "content_digits": self.content_digits,
            "protocol": self.protocol,
            "split": self.split,
            "ext": self.ext,
        }


def _number(value: Any) -> Any:
    return int(value) if isinstance(value, str) and value.isdecimal() else value
