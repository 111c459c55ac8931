"""Pictures as files of their own, and notes of what each sample is, for what ends in a table."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolkit.core.files import atomic_path
from toolkit.exporting.api import About, Part, Sample, Written
from toolkit.exporting.names import to_text

PART = 1000  # samples


@dataclass(frozen=True)
class Note:
    """What a sample left: its row, and its pictures' files by name, from the export's folder on."""

    row: dict[str, Any]
    files: dict[str, str]


@dataclass(frozen=True)
class Places:
    """Where the pictures of a part go, from the export's folder on. own: primary ones; further:
    others of the sample; linked: what it is linked to, each once however many link to it."""

    own: str
    further: str
    linked: str


def write_pictures(about: About, part: Part, given: Iterable[tuple[Sample, Places]]) -> list[Path]:
    """Writes the pictures of a part, and its notes; returns all files."""
    paths: dict[Path, None] = {}
    with atomic_path(part.notes) as temporary, open(temporary, "w", encoding="utf-8") as notes:
        for sample, places in given:
            files = {}
            stem = about.file_stem(sample.row)
            for x in sample.pictures():
                if x.name == "image":
                    name = f"{places.own}/{stem}.{x.ext}"
                elif x.of:
                    name = f"{places.linked}/{x.of}.{x.ext}"
                else:
                    further = x.name.removesuffix("_image")
                    name = f"{places.further}/{stem}.{further}.{x.ext}"
                path = about.out / name
                path.parent.mkdir(parents=True, exist_ok=True)
                if not x.of or not path.exists() or path.stat().st_size != len(x.data):
                    path.write_bytes(x.data)
                paths[path] = None
                files[x.name] = name
            note = {"row": dict(sample.row), "files": files}
            notes.write(json.dumps(note, ensure_ascii=False, default=str) + "\n")
    return [*paths, part.notes]


def notes_of(written: Sequence[Written]) -> Iterator[Note]:
    """The notes of parts, in order."""
    for w in written:
        with open(w.part.notes, encoding="utf-8") as file:
            for line in file:
                yield Note(**json.loads(line))


def cells(about: About, row: dict[str, Any]) -> dict[str, Any]:
    """A row as a line of a table whose columns have one type each, whatever readers infer it from:
    columns that no row has are left away, and what a row lacks is an empty text, or a list of one.
    Numbers that some rows lack are texts, and so are structs, as JSON."""
    import pyarrow.types as pt

    found = {}
    for name in about.columns:
        kind, value = about.schema.field(name).type, row[name]
        if pt.is_list(kind) and pt.is_string(kind.value_type):
            found[name] = value or [""]
        elif pt.is_boolean(kind) or pt.is_integer(kind) or pt.is_floating(kind):
            found[name] = to_text(value) if name in about.lacking else value
        else:
            found[name] = to_text(value or None)
    return found
