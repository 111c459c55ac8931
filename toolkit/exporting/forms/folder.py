"""Pictures as files with a table beside them, as Hugging Face's ImageFolder has it.

`SPLIT/STYLE/KEY.ext`, and `SPLIT/metadata.jsonl` with `file_name` and the manifest's columns. What
a sample has besides lies in `SPLIT/further` and `SPLIT/linked`, named by columns such as
`content_image_file_name`, which become pictures too; where only some samples have it, by
`content_image_path`. `load_dataset("imagefolder", data_dir=DIR)` opens it, and
`python -m toolkit.pack folder --src=DIR` packs it again.
"""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from toolkit.core.files import atomic_path
from toolkit.exporting.api import About, Part, Reads, Sample, Written
from toolkit.exporting.files import PART, Note, Places, cells, notes_of, write_pictures
from toolkit.exporting.names import safe_name, safe_split


def open_form(about: About) -> "Folders":
    """The folders, for one export."""
    return Folders(about)


@dataclass(frozen=True)
class Folders:
    """A folder for each split, in it one for each style, and the table."""

    about: About
    reads: Reads = "pictures"
    max_samples: int = PART

    def write(self, part: Part, samples: Iterator[Sample]) -> list[Path]:
        """Writes the pictures of one part."""
        split = safe_split(part.split)
        return write_pictures(
            self.about, part, ((sample, self._places(split, sample)) for sample in samples)
        )

    def _places(self, split: str, sample: Sample) -> Places:
        style = sample.row["style"]
        own = f"{split}/{safe_name(style)}" if style else split
        return Places(own, f"{split}/further", f"{split}/linked")

    def finish(self, written: Sequence[Written]) -> None:
        """Writes the tables."""
        having: Counter[str] = Counter()
        total = 0
        for note in notes_of(written):
            having.update(note.files.keys())
            total += 1
        whole = {name for name, number in having.items() if number == total}
        for split in dict.fromkeys(w.part.split for w in written):
            own = [w for w in written if w.part.split == split]
            path = self.about.out / safe_split(split) / "metadata.jsonl"
            with (
                atomic_path(path) as temporary,
                open(temporary, "w", encoding="utf-8") as file,
            ):
                for note in notes_of(own):
                    line = self._line(note, split, list(having), whole)
                    file.write(json.dumps(line, ensure_ascii=False) + "\n")

    def _line(self, note: Note, split: str, names: list[str], whole: set[str]) -> dict[str, object]:
        inside = len(safe_split(split)) + 1
        line: dict[str, object] = {"file_name": note.files["image"][inside:]}
        for name in names:
            if name != "image":
                column = f"{name}_file_name" if name in whole else f"{name}_path"
                line[column] = note.files.get(name, "")[inside:]
        line |= cells(self.about, note.row)
        return {**line, "split": split}
