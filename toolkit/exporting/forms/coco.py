"""COCO: `images/SPLIT/KEY.ext` and `annotations/captions_SPLIT.json`, as COCO 2017 has it.

Images have ids from 1 in the order of the export; their entries say also key, dataset, style and
artist. Categories are in `annotations/instances_SPLIT.json`, without boxes, of which manifests know
none. A split without captions gets `image_info_SPLIT.json`. What samples are linked to lies in
`linked/`, further pictures in `further/`; the entries name them.
`python -m toolkit.pack coco --src=DIR/images` packs it again.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from toolkit.core.files import atomic_path
from toolkit.exporting.api import About, Part, Reads, Sample, Written
from toolkit.exporting.files import PART, Note, Places, notes_of, write_pictures
from toolkit.exporting.names import safe_split

_FACTS = ("key", "dataset", "style", "artist", "genre", "title", "source_id")


def open_form(about: About) -> "Coco":
    """Pictures and annotations, for one export."""
    return Coco(about)


@dataclass(frozen=True)
class Coco:
    """A folder of pictures and files of annotations for each split."""

    about: About
    reads: Reads = "pictures"
    max_samples: int = PART

    def write(self, part: Part, samples: Iterator[Sample]) -> list[Path]:
        """Writes the pictures of one part."""
        split = safe_split(part.split)
        places = Places(f"images/{split}", f"further/{split}", "linked")
        return write_pictures(self.about, part, ((sample, places) for sample in samples))

    def finish(self, written: Sequence[Written]) -> None:
        """Writes the annotations."""
        (self.about.out / "annotations").mkdir(exist_ok=True)
        licences, categories = _Numbers(), _Numbers()
        for note in notes_of(written):
            licences.of(note.row["licence"])
            for name in note.row["categories"] or ():
                categories.of(name)
        first = 1
        for split in dict.fromkeys(w.part.split for w in written):
            own = [w for w in written if w.part.split == split]
            self._write_split(safe_split(split), own, first, licences, categories)
            first += sum(w.num_samples for w in own)

    def _write_split(
        self, split: str, own: list[Written], first: int, licences: "_Numbers", kinds: "_Numbers"
    ) -> None:
        def numbered() -> Iterator[tuple[int, Note]]:
            return enumerate(notes_of(own), first)

        def images() -> Iterator[dict[str, Any]]:
            return (_image(number, note, licences) for number, note in numbered())

        has_captions = any(note.row["captions"] for note in notes_of(own))
        has_kinds = any(note.row["categories"] for note in notes_of(own))
        start = {
            "info": {"description": self.about.name, "version": "1.0"},
            "licenses": [{"id": n, "name": x, "url": ""} for x, n in licences.known.items()],
        }
        folder = self.about.out / "annotations"
        if has_captions or not has_kinds:
            name = "captions" if has_captions else "image_info"
            found = _counted(a for number, note in numbered() for a in _captions(number, note))
            lists = {"images": images(), **({"annotations": found} if has_captions else {})}
            _write(folder / f"{name}_{split}.json", start, lists)
        if has_kinds:
            listed = [{"id": n, "name": x, "supercategory": ""} for x, n in kinds.known.items()]
            found = _counted(a for number, note in numbered() for a in _kinds(number, note, kinds))
            lists = {"images": images(), "annotations": found}
            _write(folder / f"instances_{split}.json", {**start, "categories": listed}, lists)


class _Numbers:
    """Names and their ids, from 1."""

    def __init__(self) -> None:
        self.known: dict[str, int] = {}

    def of(self, name: str | None) -> int | None:
        return None if name is None else self.known.setdefault(name, len(self.known) + 1)


def _image(number: int, note: Note, licences: _Numbers) -> dict[str, Any]:
    row = note.row
    entry = {
        "id": number, "file_name": Path(note.files["image"]).name,
        "width": row["width"], "height": row["height"],
    }  # fmt: skip
    if row["licence"] is not None:
        entry["license"] = licences.of(row["licence"])
    entry |= {name: row[name] for name in _FACTS if row[name] is not None}
    entry |= {name: path for name, path in note.files.items() if name != "image"}
    return {**entry, **({"links": row["links"]} if row["links"] else {})}


def _counted(annotations: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    return ({"id": number, **annotation} for number, annotation in enumerate(annotations, 1))


def _captions(number: int, note: Note) -> Iterator[dict[str, Any]]:
    for caption in note.row["captions"] or ():
        yield {"image_id": number, "caption": caption}


def _kinds(number: int, note: Note, kinds: _Numbers) -> Iterator[dict[str, Any]]:
    for name in note.row["categories"] or ():
        yield {
            "image_id": number, "category_id": kinds.of(name),
            "bbox": [], "area": 0, "segmentation": [], "iscrowd": 0,
        }  # fmt: skip


def _write(path: Path, start: dict[str, Any], lists: Mapping[str, Iterable[Any]]) -> None:
    """A JSON object whose lists need not be in memory."""
    with atomic_path(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
        file.write(json.dumps(start, ensure_ascii=False)[:-1])
        for name, entries in lists.items():
            file.write(f',\n"{name}": [')
            _write_entries(file, entries)
            file.write("]")
        file.write("}\n")


def _write_entries(file: TextIO, entries: Iterable[Any]) -> None:
    for number, entry in enumerate(entries):
        file.write(("," if number else "") + "\n" + json.dumps(entry, ensure_ascii=False))
