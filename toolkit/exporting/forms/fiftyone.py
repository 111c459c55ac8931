"""FiftyOne: `data/SPLIT/KEY.ext`, `samples.json` and `metadata.json`, as a FiftyOneDataset.

The split is a tag, the style a classification, all other columns are fields of their names (the
dataset is dataset_, since a sample of FiftyOne has a dataset); linked
and further pictures are fields with paths from the folder on. The layout is that of FiftyOne 0.23,
which later ones migrate when they open it:
`fiftyone.Dataset.from_dir(DIR, dataset_type=fiftyone.types.FiftyOneDataset)`.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolkit.core.files import atomic_path, write_atomic
from toolkit.exporting.api import About, Part, Reads, Sample, Written
from toolkit.exporting.files import PART, Note, Places, notes_of, write_pictures
from toolkit.exporting.names import safe_split

_VERSION = "0.23.0"
_FIELD = "fiftyone.core.fields."
_OWN = (
    "id", "filepath", "filename", "tags", "metadata", "created_at", "last_modified_at",
    "media_type", "dataset", "dataset_id", "in_dataset", "frames", "field_names",
)  # fmt: skip
_BESIDE = ("width", "height", "format")  # are its metadata


def open_form(about: About) -> "FiftyOne":
    """A dataset of FiftyOne, for one export."""
    return FiftyOne(about)


@dataclass(frozen=True)
class FiftyOne:
    """Pictures and two files."""

    about: About
    reads: Reads = "pictures"
    max_samples: int = PART

    def write(self, part: Part, samples: Iterator[Sample]) -> list[Path]:
        """Writes the pictures of one part."""
        split = safe_split(part.split)
        places = Places(f"data/{split}", f"further/{split}", "linked")
        return write_pictures(self.about, part, ((sample, places) for sample in samples))

    def finish(self, written: Sequence[Written]) -> None:
        """Writes fields and samples."""
        metadata = {
            "name": self.about.name, "version": _VERSION, "media_type": "image",
            "info": {"where": self.about.where}, "sample_fields": self._fields(),
        }  # fmt: skip
        write_atomic(self.about.out / "metadata.json", json.dumps(metadata, indent=1) + "\n")
        path = self.about.out / "samples.json"
        with atomic_path(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
            file.write('{"samples": [')
            number = 0
            for w in written:
                for note in notes_of([w]):
                    text = json.dumps(self._sample(note, w.part.split), ensure_ascii=False)
                    file.write(("," if number else "") + "\n" + text)
                    number += 1
            file.write("]}\n")

    def _columns(self) -> list[str]:
        left = ("style", *_BESIDE)
        return [name for name in self.about.schema.names if name not in left]

    def _fields(self) -> list[dict[str, Any]]:
        own = [
            _field("id", "ObjectIdField", db="_id"),
            _field("filepath", "StringField"),
            _field("tags", "ListField", "StringField"),
            _field("metadata", "EmbeddedDocumentField", doc="metadata.ImageMetadata"),
            _field("_media_type", "StringField"),
            _field("_rand", "FloatField"),
            _field("_dataset_id", "ObjectIdField"),
            _field("style", "EmbeddedDocumentField", doc="labels.Classification"),
        ]
        types = ((name, self.about.schema.field(name).type) for name in self._columns())
        facts = [_field(_safe(name), *_kind(kind)) for name, kind in types]
        pictures = [_field(name, "StringField") for name in self.about.pictures[1:]]
        return [*own, *facts, *pictures]

    def _sample(self, note: Note, split: str) -> dict[str, Any]:
        row = note.row
        digest = hashlib.sha256(f"{row['dataset']}/{row['key']}".encode()).hexdigest()
        label = {"_id": {"$oid": digest[24:48]}, "_cls": "Classification", "tags": [],
                 "label": row["style"]}  # fmt: skip
        metadata = {"_cls": "ImageMetadata", "width": row["width"], "height": row["height"],
                    "mime_type": f"image/{row['format']}" if row["format"] else None}  # fmt: skip
        return {
            "_id": {"$oid": digest[:24]}, "filepath": note.files["image"], "tags": [split],
            "_media_type": "image", "_rand": int(digest[48:60], 16) / 16**12, "metadata": metadata,
            "style": label if row["style"] is not None else None,
            **{_safe(name): _plain(row[name]) for name in self._columns()},
            **{name: note.files.get(name) for name in self.about.pictures[1:]},
        }  # fmt: skip


def _field(
    name: str, kind: str, sub: str | None = None, doc: str | None = None, db: str = ""
) -> dict[str, Any]:
    return {
        "name": name, "ftype": _FIELD + kind, "subfield": _FIELD + sub if sub else None,
        "embedded_doc_type": f"fiftyone.core.{doc}" if doc else None, "fields": [],
        "db_field": db or name, "description": None, "info": None, "read_only": False,
    }  # fmt: skip


def _kind(kind: Any) -> tuple[str, ...]:
    import pyarrow.types as pt

    if pt.is_list(kind):
        return ("ListField", "StringField") if pt.is_string(kind.value_type) else ("ListField",)
    if pt.is_boolean(kind):
        return ("BooleanField",)
    if pt.is_integer(kind):
        return ("IntField",)
    return ("FloatField",) if pt.is_floating(kind) else ("StringField",)


def _plain(value: Any) -> Any:
    """phash has 64 bits, which JSON's readers keep where it says so."""
    is_large = isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 1 << 31
    return {"$numberLong": str(value)} if is_large else value


def _safe(name: str) -> str:
    """A field's name: without dots, and none of FiftyOne's own."""
    name = name.replace(".", "_")
    return f"{name}_" if name in _OWN else name
