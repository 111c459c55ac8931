"""COCO and COCO-Stuff: pictures with their caption, instance and stuff annotations.

The files are COCO's own: an object with `images`, `annotations`, `licenses` and, for instances and
stuff, `categories` (Lin et al. 2014, arXiv 1405.0312; Caesar et al. 2018, arXiv 1612.03716). They
are read one entry at a time, so their size does not matter. A picture belongs to the image entries
of its file name, or else to those whose id is the number at the end of its name.
"""

import itertools
import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any

from toolkit.core.errors import UserError
from toolkit.core.keyed import key64
from toolkit.core.records import Record, Ref, Split
from toolkit.core.spool import Spool
from toolkit.core.tree import stamp_of, walk_files
from toolkit.store.images import is_picture, picture_extension
from toolkit.store.keys import readable
from toolkit.store.records_io import check_object, items


def open_source(
    src: Path,
    captions: tuple[Path, ...] | None = None,
    categories: tuple[Path, ...] | None = None,
    split: Split | None = None,
) -> "Coco":
    """Opens COCO pictures. Raises UserError for a missing folder or file, or one of another kind.

    Args:
        src: the folder of pictures, or the one above it, with `annotations/` beside the pictures.
        captions: annotation files, comma-separated; captions_*.json in src and src/annotations
            otherwise.
        categories: files with instance or stuff annotations; instances_*.json and stuff_*.json
            otherwise.
        split: train, val or test; otherwise from a folder's name such as train2017.
    """
    if not src.is_dir():
        raise UserError(f"there is no folder {src}: give an existing one with --src=DIR")
    captions = _find(src, "captions*.json") if captions is None else captions
    if categories is None:
        categories = (*_find(src, "instances*.json"), *_find(src, "stuff*.json"))
    for path in (*captions, *categories):
        check_object(path)
    first = next(walk_files(src, is_picture), None)
    if first is None:
        raise UserError(f"no pictures in {src}: --src is the folder of COCO's pictures")
    return Coco(src, captions, categories, split, picture_extension(first) or "jpg")


@dataclass(frozen=True)
class Coco:
    """Pictures and annotation files. ext: the one picture extension that the dataset gets."""

    src: Path
    captions: tuple[Path, ...]
    categories: tuple[Path, ...]
    split: Split | None
    ext: str = "jpg"

    def index(self, notes: Counter[str] | None = None) -> Iterator[Ref]:
        """Pictures in the order of their paths, each with its annotations; pictures without a
        caption and annotated images without a picture are noted."""
        notes = Counter() if notes is None else notes
        if not self.captions:
            notes["no captions_*.json was found: name it with --captions=FILE"] += 1
        with Spool() as spool:
            for number, path in enumerate((*self.captions, *self.categories)):
                _read_annotations(spool, path, str(number), notes)
            for path_text in walk_files(self.src, is_picture, notes):
                facts = _facts_of(spool, path_text)
                notes["pictures without a caption"] += not facts["captions"]
                stamp = f"{stamp_of(self.src / path_text)} {key64('coco', json.dumps(facts)):x}"
                key = Path(path_text).stem
                yield Ref(readable(path_text), {"path": path_text, **facts}, stamp, key)
            for kind in ("caption", "category"):
                images = itertools.groupby(spool.missing(kind, "seen"), key=itemgetter(0))
                notes[f"images with a {kind} but without a picture"] += sum(1 for _ in images)
        for note in [note for note, count in notes.items() if not count]:
            del notes[note]

    def read(self, ref: Ref) -> Record:
        """The picture's bytes with its captions and categories."""
        facts = ref.locator
        path = self.src / facts["path"]
        folder = re.match(r"(train|val|test)", path.parent.name)
        return Record(
            members={self.ext: path.read_bytes()},
            captions=tuple(facts["captions"]),
            categories=tuple(facts["categories"]),
            licence=facts["licence"],
            split=self.split or (folder[1] if folder else None),
            extra={} if facts["id"] is None else {"coco_id": facts["id"]},
        )

    def describe(self) -> dict[str, Any]:
        """Kind, folder and annotation files by name."""
        return {
            "kind": "coco",
            "src": self.src.resolve().name,
            "annotations": [path.name for path in (*self.captions, *self.categories)],
            "split": self.split,
            "ext": self.ext,
        }


def _find(src: Path, pattern: str) -> tuple[Path, ...]:
    for folder in (src, src / "annotations", src.parent / "annotations"):
        if found := sorted(folder.glob(pattern)):
            return tuple(found)
    return ()


def _read_annotations(spool: Spool, path: Path, scope: str, notes: Counter[str]) -> None:
    """Puts a file's images, captions and categories into the spool.

    Ids hold inside one file only, so keys are `scope:id`: two files may count from 1 each.
    """
    licences = {str(x.get("id")): _licence(x) for x in items(path, "licenses")}
    names = {str(x.get("id")): x.get("name") for x in items(path, "categories")}
    images = 0
    for image in items(path, "images"):
        images += 1
        if "id" not in image:
            notes["malformed image entries"] += 1
            continue
        key = f"{scope}:{image['id']}"
        facts = {"id": image["id"], "licence": licences.get(str(image.get("license"))), "key": key}
        spool.add("name", [(str(image.get("file_name", "")), facts)])
        spool.add("number", [(str(image["id"]), facts)])
    annotations = 0
    for entry in items(path, "annotations"):
        annotations += 1
        key = f"{scope}:{entry.get('image_id')}"
        if isinstance(entry.get("caption"), str):
            spool.add("caption", [(key, [str(entry.get("id")), entry["caption"].strip()])])
        elif names.get(str(entry.get("category_id"))):
            spool.add("category", [(key, names[str(entry["category_id"])])])
        else:
            notes["malformed annotations"] += 1
    if not images or not annotations:
        raise UserError(f"{path} has no images or no annotations: it is no COCO annotation file")


def _facts_of(spool: Spool, path: str) -> dict[str, Any]:
    """What all annotation files know of a picture."""
    name = path.rpartition("/")[2]
    number = re.search(r"(\d+)\.\w+$", name)
    images = (
        spool.get("name", path)
        or spool.get("name", name)
        or (spool.get("number", str(int(number[1]))) if number else [])
    )
    spool.add("seen", ((image["key"], None) for image in images))
    # an annotation that stands in two of the files counts once
    annotations = [tuple(pair) for image in images for pair in spool.get("caption", image["key"])]
    captions = [text for _, text in dict.fromkeys(annotations)]
    categories = {text for image in images for text in spool.get("category", image["key"])}
    return {
        "id": images[0]["id"] if images else None,
        "licence": next((image["licence"] for image in images if image["licence"]), None),
        "captions": captions,
        "categories": sorted(categories),
    }


def _licence(entry: dict[str, Any]) -> str | None:
    parts = [str(entry[name]) for name in ("name", "url") if entry.get(name)]
    return " ".join(parts) or None
