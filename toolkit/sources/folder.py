"""Any tree of pictures: the class from the folder's name, captions from files beside them.

`<picture>.txt` holds one caption a line; `<picture>.json` an object whose keys may be caption,
captions, style, artist, genre, title, licence, categories and split; what else it holds is kept
in the manifest's `extra`. A picture's style is its parent folder's name (none at the top).
"""

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolkit.core.errors import UserError
from toolkit.core.records import Record, Ref
from toolkit.core.tree import stamp_of, walk_files
from toolkit.store.images import PICTURE_EXTENSIONS, is_picture, picture_extension
from toolkit.store.keys import readable
from toolkit.store.records_io import facts_of

_TEXT_FIELDS = ("style", "artist", "genre", "title", "licence", "split")


def open_source(src: Path) -> "Folder":
    """Opens a folder. Raises UserError when it is missing or holds no picture."""
    if not src.is_dir():
        raise UserError(f"there is no folder {src}: give an existing one with --src=DIR")
    folder = Folder(src)
    first = next(folder.index(), None)
    if first is None:
        known = ", ".join(sorted(PICTURE_EXTENSIONS))
        raise UserError(f"no pictures in {src}: expected files ending in {known}")
    return Folder(src, picture_extension(first.source_id) or "jpg")


@dataclass(frozen=True)
class Folder:
    """A tree of pictures. ext: the one picture extension that the whole dataset gets."""

    src: Path
    ext: str = "jpg"

    def index(self, notes: Counter[str] | None = None) -> Iterator[Ref]:
        """Pictures in the order of their paths."""
        for path in walk_files(self.src, is_picture, notes):
            picture = self.src / path
            beside = (picture.with_suffix(".txt"), picture.with_suffix(".json"))
            # a.png beside a.jpg: only pictures of the dataset's own extension go by their stem
            stem, _, literal = readable(path).rpartition(".")
            key = stem if literal == self.ext else ""
            yield Ref(readable(path), path, stamp_of(picture, *beside), key)

    def read(self, ref: Ref) -> Record:
        """The picture's bytes with its captions and facts."""
        path = self.src / (ref.locator or ref.source_id)
        facts = facts_of(path)
        parent = path.parent.name if path.parent != self.src else None
        texts = {name: _text(facts.pop(name, None)) for name in _TEXT_FIELDS}
        style = texts.pop("style") or parent
        captions = _texts(facts.pop("captions", None)) or _texts(facts.pop("caption", None))
        return Record(
            members={self.ext: path.read_bytes()},
            captions=captions or _lines(path),
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
        return {"kind": "folder", "src": self.src.resolve().name, "ext": self.ext}


def _lines(path: Path) -> tuple[str, ...]:
    captions = path.with_suffix(".txt")
    if not os.path.isfile(captions):  # False, too, where the name is too long
        return ()
    text = captions.read_text("utf-8-sig", errors="replace")
    return tuple(line.strip() for line in text.splitlines() if line.strip())


def _texts(value: Any) -> tuple[str, ...]:
    """One text, or a list of them, or nothing, as texts."""
    values = value if isinstance(value, list) else [value]
    return tuple(str(item) for item in values if item not in (None, ""))


def _text(value: Any) -> str | None:
    return None if value in (None, "") else str(value)
