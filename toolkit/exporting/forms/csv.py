"""One CSV of facts without pictures: the manifest's columns, lists and structs as JSON.

`NAME.csv` is UTF-8 with a header, its cells quoted where they have to be (RFC 4180). A text that a
spreadsheet would take for a formula stays as it is: change it there, not in the data.
"""

import csv
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from toolkit.core.files import atomic_path
from toolkit.exporting.api import About, Part, Reads, Sample, Written
from toolkit.exporting.names import safe_name, to_text


def open_form(about: About) -> "Facts":
    """The file, for one export."""
    return Facts(about)


@dataclass(frozen=True)
class Facts:
    """One file, put together from the notes of all parts."""

    about: About
    reads: Reads = "nothing"
    max_samples: int = 20_000

    def write(self, part: Part, samples: Iterator[Sample]) -> list[Path]:
        """Writes the lines of one part aside."""
        with (
            atomic_path(part.notes) as temporary,
            open(temporary, "w", encoding="utf-8", newline="") as file,
        ):
            writer = csv.writer(file)
            for sample in samples:
                writer.writerow([to_text(sample.row[name]) for name in self.about.schema.names])
        return [part.notes]

    def finish(self, written: Sequence[Written]) -> None:
        """Puts the file together."""
        path = self.about.out / f"{safe_name(self.about.name)}.csv"
        with atomic_path(path) as temporary, open(temporary, "wb") as file:
            file.write((",".join(self.about.schema.names) + "\r\n").encode())
            for w in written:
                with open(w.part.notes, "rb") as lines:
                    shutil.copyfileobj(lines, file)
