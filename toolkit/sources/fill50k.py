"""Fill50K as its makers hand it out: `prompt.json` in JSON Lines beside `source/` and `target/`.

Each line names a source (a white outline), a target (a filled circle) and the prompt that gives the
two colours (Zhang et al. 2023, arXiv 2302.05543, and its tutorial on training).
"""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from toolkit.core.errors import UserError
from toolkit.core.keyed import key64
from toolkit.core.records import Record, Ref, Split
from toolkit.core.spool import Spool
from toolkit.core.tree import stamp_of, walk_files
from toolkit.store.images import PictureError, is_picture
from toolkit.store.keys import readable
from toolkit.store.records_io import lines

_HALVES = ("target", "source")


def open_source(src: Path, split: Split | None = None) -> "Fill50k":
    """Opens Fill50K. Raises UserError when the folder or its prompt.json is missing or empty.

    Args:
        src: the folder that holds prompt.json, source/ and target/.
        split: train, val or test for all pairs; none otherwise, which counts as train.
    """
    path = src / "prompt.json"
    if not path.is_file():
        raise UserError(f"there is no {path}: --src is the folder that holds prompt.json")
    if next(lines(path), None) is None:
        raise UserError(f"{path} is empty: it holds one JSON object a line")
    return Fill50k(src, split)


@dataclass(frozen=True)
class Fill50k:
    """Pairs of an outline and a filled circle."""

    src: Path
    split: Split | None

    def index(self, notes: Counter[str] | None = None) -> Iterator[Ref]:
        """One pair per line, in the order of the file; pictures that no line names are noted."""
        notes = Counter() if notes is None else notes
        with Spool() as spool:
            for number, line in lines(self.src / "prompt.json"):
                yield self._ref(number, line, spool)
            found = walk_files(self.src, is_picture)
            spool.add("files", ((path, None) for path in found))
            unnamed = sum(1 for _ in spool.missing("files", "named"))
        if unnamed:
            notes["pictures that prompt.json does not name"] += unnamed

    def _ref(self, number: int, line: Any, spool: Spool) -> Ref:
        if isinstance(line, ValueError):
            return Ref(f"prompt.json line {number}", {"error": f"not valid JSON: {line}"})
        try:
            paths = {half: _inside(line[half]) for half in _HALVES}
            prompt = str(line["prompt"])
        except (KeyError, TypeError, ValueError) as error:
            return Ref(f"prompt.json line {number}", {"error": f"{type(error).__name__}: {error}"})
        spool.add("named", ((path, None) for path in paths.values()))
        stem = PurePosixPath(paths["target"]).stem
        stamp = stamp_of(*(self.src / path for path in paths.values()))
        return Ref(
            source_id=readable(paths["target"]),
            locator={**paths, "prompt": readable(prompt)},
            stamp=f"{stamp} {key64('fill50k', json.dumps(line, sort_keys=True)):x}",
            key=f"{int(stem):06d}" if stem.isascii() and stem.isdigit() else stem,
        )

    def read(self, ref: Ref) -> Record:
        """Both halves of a pair."""
        facts = ref.locator
        if "error" in facts:
            raise PictureError("bad_metadata", facts["error"])
        return Record(
            members={f"{half}.png": (self.src / facts[half]).read_bytes() for half in _HALVES},
            captions=(facts["prompt"],),
            split=self.split,
            extra={"source": facts["source"], "target": facts["target"]},
        )

    def describe(self) -> dict[str, Any]:
        """Kind, folder and split."""
        return {"kind": "fill50k", "src": self.src.resolve().name, "split": self.split}


def _inside(text: str) -> str:
    """A path of prompt.json, with slashes. Raises ValueError when it leaves the folder."""
    path = PurePosixPath(text.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts:
        raise ValueError(f"{text} leads out of the folder")
    return str(path)
