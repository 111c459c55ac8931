"""Finds the parts of a project folder that was arranged before Tessera, and how to pack each.

data/coco/  data/wikiart/  data/teacher_out/  dataset_cocostuff/  dataset_fill50k/

Pair lists (data/pairs/) are no pictures and stay where they are.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolkit.core.errors import UserError
from toolkit.core.tree import walk_files
from toolkit.store.images import is_picture

COCO_DIGITS = 12  # COCO's pictures are named after their ids, padded to this many digits


@dataclass(frozen=True)
class Part:
    """One dataset to be packed: its name, the kind of its source and that source's options."""

    dataset: str
    kind: str
    options: dict[str, Any]


def find_parts(root: Path) -> list[Part]:
    """The parts that are there, in the order in which they refer to each other.

    Raises UserError when the folder is missing or holds none of them.
    """
    if not root.is_dir():
        raise UserError(f"there is no folder {root}: give an existing one with --root=DIR")
    parts = []
    for dataset, folder in (("cocostuff", "dataset_cocostuff"), ("coco", "data/coco")):
        if _has_pictures(root / folder):
            parts.append(Part(dataset, "coco", {"src": root / folder}))
    content = parts[0].dataset if parts else "coco"
    wikiart = root / "data" / "wikiart"
    if _has_pictures(wikiart) or any(wikiart.rglob("*.parquet")):
        parts.append(Part("wikiart", "wikiart", {"src": wikiart}))
    if (root / "dataset_fill50k" / "prompt.json").is_file():
        parts.append(Part("fill50k", "fill50k", {"src": root / "dataset_fill50k"}))
    if _has_pictures(root / "data" / "teacher_out"):
        options = {"src": root / "data" / "teacher_out", "content": content,
                   "content_digits": COCO_DIGITS}  # fmt: skip
        parts.append(Part("teacher", "teacher", options))
    if not parts:
        raise UserError(
            f"{root} holds none of data/coco, data/wikiart, data/teacher_out, dataset_cocostuff "
            "and dataset_fill50k with pictures: pack single folders with a SOURCE"
        )
    return parts


def _has_pictures(folder: Path) -> bool:
    return folder.is_dir() and next(walk_files(folder, is_picture), None) is not None
