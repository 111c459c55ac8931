"""Parquet files with the pictures in them, as Hugging Face's datasets has them, and all facts.

`SPLIT-000000.parquet`: a column `image`, one for each further picture (`source_image`, and what a
sample is linked to: `content_image`, `style_image`), and the manifest's columns.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolkit.exporting.api import About, Part, Reads, Sample, Written
from toolkit.exporting.names import safe_split
from toolkit.exporting.tables import features_metadata, picture_cells, picture_type, write_table


def open_form(about: About) -> "Tables":
    """Parquet files, for one export."""
    return Tables(about)


@dataclass(frozen=True)
class Tables:
    """A file for each part."""

    about: About
    reads: Reads = "pictures"
    max_samples: int = 20_000

    def write(self, part: Part, samples: Iterator[Sample]) -> list[Path]:
        """Writes one file."""
        path = self.about.out / f"{safe_split(part.split)}-{part.number:06d}.parquet"
        write_table(path, map(self._row, samples), self._schema())
        return [path]

    def finish(self, written: Sequence[Written]) -> None:
        """Nothing is left to do."""

    def _row(self, sample: Sample) -> tuple[dict[str, Any], int]:
        size = sum(len(x.data) for x in sample.pictures())
        return {**picture_cells(self.about, sample), **sample.row}, size

    def _schema(self) -> Any:
        import pyarrow as pa

        pictures = [pa.field(name, picture_type()) for name in self.about.pictures]
        metadata = features_metadata(self.about.pictures)
        return pa.schema([*pictures, *self.about.schema.remove_metadata()], metadata)
