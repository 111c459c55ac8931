"""Style sets of a few pictures each, as few-shot training and its competition hand them out.

<style>/images/<object name>.png    the pictures; the file's name says what is shown
<style>/prompt.json                 {"0": "Dolphin", …}: what is to be drawn in that style
<style>/tag.json                    optional: tags of each picture and of the style

Pictures that lie in the style's folder itself (as DreamBooth's subjects do) are taken too. There
may be any number of styles; the prompt lists are kept in the dataset's dataset.json.
"""

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from toolkit.core.errors import UserError
from toolkit.core.records import Record, Ref, Split
from toolkit.core.tree import stamp_of, walk_files
from toolkit.store.images import is_picture, picture_extension
from toolkit.store.keys import readable
from toolkit.store.records_io import read_object


def open_source(src: Path, split: Split | None = None) -> "Fewshot":
    """Opens style sets. Raises UserError when there is no folder, no picture, or a damaged list.

    Args:
        src: the folder of the style folders.
        split: train, val or test for all pictures; none otherwise, which counts as train.
    """
    if not src.is_dir():
        raise UserError(f"there is no folder {src}: give an existing one with --src=DIR")
    first = next(Fewshot(src, split).index(), None)
    if first is None:
        raise UserError(f"no pictures in {src}: expected STYLE/images/NAME.png in it")
    opened = Fewshot(src, split, picture_extension(first.source_id) or "png")
    opened.describe()  # so that a damaged list is found now
    return opened


@dataclass(frozen=True)
class Fewshot:
    """Small sets of pictures, one set a style. ext: the extension that the whole dataset gets."""

    src: Path
    split: Split | None
    ext: str = "png"

    def index(self, notes: Counter[str] | None = None) -> Iterator[Ref]:
        """Pictures in the order of their paths; styles with prompts but without a picture are
        noted."""
        notes = Counter() if notes is None else notes
        styles = set()
        for path in walk_files(self.src, is_picture, notes):
            style = _style(path)
            if not style:
                notes["pictures outside a style's folder"] += 1
                continue
            styles.add(readable(style))
            stamp = stamp_of(self.src / path, self.src / style / "tag.json")
            shown = readable(path).rpartition("/")[2].rpartition(".")[0]
            key = f"{style}/{shown}".replace("/", "_") if path.endswith(f".{self.ext}") else ""
            yield Ref(readable(path), path, stamp, key)
        empty = sum(name not in styles for name in self.prompts)
        if empty:
            notes["styles with prompts but without pictures"] += empty

    def read(self, ref: Ref) -> Record:
        """The picture, named after what it shows."""
        path = self.src / ref.locator
        style = _style(ref.locator)
        shown = re.sub(r"[_\s]+", " ", path.stem).strip()
        tags = _tags(self.src / style / "tag.json")
        own = tags.get("item", {}).get(path.stem) if isinstance(tags.get("item"), dict) else None
        extra = {"tags": own, "style_tags": tags.get("style")}
        return Record(
            members={self.ext: path.read_bytes()},
            # 00.jpg, 01.jpg … say nothing of what is shown
            captions=() if shown.isdigit() else (readable(shown),),
            title=None if shown.isdigit() else readable(shown),
            style=readable(style),
            split=self.split,
            extra={name: value for name, value in extra.items() if value},
        )

    def describe(self) -> dict[str, Any]:
        """Kind, folder, and each style's prompts. Raises UserError for a damaged prompt.json."""
        return {
            "kind": "fewshot",
            "src": self.src.resolve().name,
            "split": self.split,
            "ext": self.ext,
            "prompts": self.prompts,
        }

    @cached_property
    def prompts(self) -> dict[str, list[str]]:
        """The prompt list of every style that has one, in the order of its numbers."""
        found = {}
        for name in walk_files(self.src, lambda name: name == "prompt.json"):
            tree = read_object(self.src / name)
            numbers = sorted(tree, key=lambda number: (len(number), number))  # 2 before 10
            style = name.rpartition("/")[0]
            found[readable(style)] = [str(tree[number]) for number in numbers]
        return found


def _style(path: str) -> str:
    """The style's folder, relative to that of all sets: of 03/images/pen.png it is 03."""
    folder = path.rpartition("/")[0]
    return folder.removesuffix("images").rstrip("/") if f"/{folder}".endswith("/images") else folder


def _tags(path: Path) -> dict[str, Any]:
    return read_object(path) if path.is_file() else {}
