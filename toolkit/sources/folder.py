"""Any tree of pictures: the class from the folder's name, captions from files beside them.

`<picture>.txt` holds one caption a line; `<picture>.json` an object whose keys may be caption,
captions, style, artist, genre, title, licence, categories and split; what else it holds is kept
in the manifest's `extra`. A picture's style is its parent folder's name (none at the top).
"""

import contextlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolkit.core.errors import UserError
from toolkit.core.records import Record, Ref
from toolkit.store.images import PICTURE_EXTENSIONS, PictureError, picture_extension
from toolkit.store.keys import make_key, readable

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

    def index(self) -> Iterator[Ref]:
        """Pictures by path, names sorted within each folder; symbolic links to folders are not
        followed, so a loop cannot trap the walk."""
        for folder, folders, names in os.walk(self.src):
            folders.sort()
            for name in sorted(names):
                if picture_extension(name) and not name.startswith(".") and _is_file(folder, name):
                    path = str((Path(folder) / name).relative_to(self.src))
                    yield Ref(readable(path), path, self._stamp(path))

    def read(self, ref: Ref) -> Record:
        """The picture's bytes with its captions and facts."""
        path = self.src / (ref.locator or ref.source_id)
        facts = _facts(path.with_suffix(".json"))
        parent = path.parent.name if path.parent != self.src else None
        texts = {name: _text(facts.pop(name, None)) for name in _TEXT_FIELDS}
        style = texts.pop("style") or parent
        captions = _texts(facts.pop("captions", None)) or _texts(facts.pop("caption", None))
        stem, _, literal = ref.source_id.rpartition(".")
        return Record(
            # a.png beside a.jpg: only pictures of the dataset's own extension go by their stem
            key=make_key(stem) if literal == self.ext else None,
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

    def _stamp(self, path: str) -> str:
        """Sizes and times of the picture and the files beside it: changes when one of them does."""
        picture = self.src / path
        parts = []
        for file in (picture, picture.with_suffix(".txt"), picture.with_suffix(".json")):
            with contextlib.suppress(OSError):
                facts = file.stat()
                parts.append(f"{file.suffix}:{facts.st_size}:{facts.st_mtime_ns}")
        return " ".join(parts)

    def describe(self) -> dict[str, Any]:
        """Kind and folder name; the place on this machine is left out on purpose."""
        return {"kind": "folder", "src": self.src.resolve().name, "ext": self.ext}


def _is_file(folder: str, name: str) -> bool:
    """A file or a broken link, which gets a row; no pipe or device, which would never end."""
    path = os.path.join(folder, name)
    return os.path.isfile(path) or not os.path.exists(path)


def _facts(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        facts = json.loads(path.read_text("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        raise PictureError("bad_metadata", f"{path.name} is not valid JSON: {error}") from None
    if not isinstance(facts, dict):
        raise PictureError("bad_metadata", f"{path.name} holds no JSON object")
    return facts


def _lines(path: Path) -> tuple[str, ...]:
    captions = path.with_suffix(".txt")
    if not captions.is_file():
        return ()
    text = captions.read_text("utf-8-sig", errors="replace")
    return tuple(line.strip() for line in text.splitlines() if line.strip())


def _texts(value: Any) -> tuple[str, ...]:
    """One text, or a list of them, or nothing, as texts."""
    values = value if isinstance(value, list) else [value]
    return tuple(str(item) for item in values if item not in (None, ""))


def _text(value: Any) -> str | None:
    return None if value in (None, "") else str(value)
