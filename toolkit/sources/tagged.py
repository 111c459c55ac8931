"""Pictures listed in metadata files of tags, as pixel-space training uses them.

The files map a picture's path to {"tags": "1girl, solo, …, best quality, general", "image_size":
[width, height]}. Paths are absolute or relative to --src; Windows paths are read as WSL mounts them
(`C:\\art\\a.png` is /mnt/c/art/a.png). The last two tags say quality and rating.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolkit.core.errors import UserError
from toolkit.core.keyed import key64
from toolkit.core.records import Record, Ref, Split
from toolkit.core.spool import Spool
from toolkit.core.tree import stamp_of
from toolkit.store.images import PictureError, picture_extension
from toolkit.store.keys import readable
from toolkit.store.records_io import check_object, members

NUM_KEPT_TAGS = 2


def open_source(
    src: Path, metadata: tuple[Path, ...] | None = None, split: Split | None = None
) -> "Tagged":
    """Opens tagged pictures. Raises UserError when a file is missing, damaged or empty.

    Args:
        src: the folder that relative paths start from; or one metadata file, whose folder it is.
        metadata: the metadata files, comma-separated; every *.json in src otherwise. Where two of
            them list the same picture, the later one counts.
        split: train, val or test for all pictures; none otherwise, which counts as train.
    """
    if src.is_file():
        metadata, src = metadata or (src,), src.parent
    if not src.is_dir():
        raise UserError(f"there is no folder {src}: give an existing one with --src=DIR")
    files = tuple(sorted(src.glob("*.json"))) if metadata is None else metadata
    if not files:
        raise UserError(f"no metadata in {src}: name the files with --metadata=FILE,FILE")
    for path in files:
        check_object(path)
    first = next(Tagged(src, files, split).index(), None)
    if first is None:
        names = ", ".join(path.name for path in files)
        raise UserError(f"no picture is listed in {names}: they map paths to tags and image_size")
    return Tagged(src, files, split, picture_extension(first.source_id) or "png")


@dataclass(frozen=True)
class Tagged:
    """Pictures listed in metadata files. ext: the extension that the whole dataset gets."""

    src: Path
    metadata: tuple[Path, ...]
    split: Split | None
    ext: str = "png"

    def index(self, notes: Counter[str] | None = None) -> Iterator[Ref]:
        """Listed pictures in the order of their paths; pictures listed twice are noted."""
        notes = Counter() if notes is None else notes
        with Spool() as spool:
            for file in self.metadata:
                spool.add("entries", ((path, entry) for path, entry in members(file)))
            previous: tuple[str, Any] | None = None
            for path, entry in spool.walk("entries"):
                if previous is not None and previous[0] != path:
                    yield self._ref(*previous)
                elif previous is not None:
                    notes["pictures listed twice"] += 1
                previous = path, entry
            if previous is not None:
                yield self._ref(*previous)

    def _ref(self, listed: str, entry: Any) -> Ref:
        stamp = f"{stamp_of(self._place(listed))} {key64('tagged', json.dumps(entry)):x}"
        stem, _, ext = readable(listed).replace("\\", "/").rpartition(".")
        return Ref(readable(listed), [listed, entry], stamp, stem if ext == self.ext else "")

    def read(self, ref: Ref) -> Record:
        """The picture with its tags: the text as its caption, each tag as a category."""
        listed, entry = ref.locator
        text = entry.get("tags") if isinstance(entry, dict) else None
        if not isinstance(text, str):
            raise PictureError("bad_metadata", 'its entry has no text "tags"')
        tags = [tag.strip() for tag in text.split(",") if tag.strip()]
        extra: dict[str, Any] = {"kept_tags": tags[-NUM_KEPT_TAGS:]}
        if "image_size" in entry:
            extra["declared_size"] = entry["image_size"]
        return Record(
            members={self.ext: self._place(listed).read_bytes()},
            captions=(", ".join(tags),) if tags else (),
            categories=tuple(tags),
            split=self.split,
            extra=extra,
        )

    def _place(self, listed: str) -> Path:
        """Where a listed picture lies on this machine."""
        windows = re.match(r"([A-Za-z]):[\\/]", listed)
        if windows:
            rest = listed[windows.end() :].replace("\\", "/")
            return Path(f"/mnt/{windows[1].lower()}/{rest}")
        return self.src / listed.replace("\\", "/")

    def describe(self) -> dict[str, Any]:
        """Kind, folder and metadata files by name."""
        return {
            "kind": "tagged",
            "src": self.src.resolve().name,
            "metadata": [path.name for path in self.metadata],
            "split": self.split,
            "ext": self.ext,
        }
