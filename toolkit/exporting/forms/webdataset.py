"""Plain tars in the WebDataset convention: members byte for byte, linked pictures beside them.

`NAME-000000.tar`, of several datasets `DATASET-000000.tar`, in a folder for each split where there
are splits. A sample is named after its
key; what it is linked to is `KEY.content.jpg`, `KEY.style.jpg`; columns that were asked for are
`KEY.columns.json`. `python -m toolkit.pack webdataset --src=DIR --repack` packs them again.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from toolkit.exporting.api import About, Part, Reads, Sample, Written
from toolkit.exporting.names import safe_split
from toolkit.exporting.tars import MAX_SAMPLES, members_of, write_tar
from toolkit.store.keys import shard_stem


def open_form(about: About) -> "Tars":
    """Tars, for one export."""
    return Tars(about)


@dataclass(frozen=True)
class Tars:
    """A tar for each part."""

    about: About
    reads: Reads = "members"
    max_samples: int = MAX_SAMPLES

    def write(self, part: Part, samples: Iterator[Sample]) -> list[Path]:
        """Writes one tar."""
        folder = (
            self.about.out / safe_split(part.split) if self.about.has_splits else self.about.out
        )
        folder.mkdir(exist_ok=True)
        alone = len(self.about.datasets) == 1
        name = self.about.name if alone else part.dataset
        path = folder / f"{shard_stem(name, part.own)}.tar"
        write_tar(path, ((sample, members_of(sample)) for sample in samples))
        return [path]

    def finish(self, written: Sequence[Written]) -> None:
        """Nothing is left to do."""
