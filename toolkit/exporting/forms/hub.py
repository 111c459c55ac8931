"""A dataset repository as the Hugging Face Hub has them: tars, Parquet of facts, a card.

`data/SPLIT-000000.tar` holds the samples in the WebDataset convention, each `.json` with the same
facts in the same order; `metadata/SPLIT-000000.parquet` the same facts, and where each member lies
in its tar; `README.md` is the card. `datasets` opens all configurations of a repository with one
reader, so its configuration `metadata` reads `metadata/SPLIT-000000.tar.gz`, where the facts stand
once more.
"""

import gzip
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolkit.core.files import atomic_path, write_atomic
from toolkit.exporting.api import About, Part, Reads, Sample, Written
from toolkit.exporting.card import card
from toolkit.exporting.contact import contact_sheet
from toolkit.exporting.names import safe_split
from toolkit.exporting.tables import write_table
from toolkit.exporting.tars import MAX_SAMPLES, members_of, write_tar
from toolkit.store.images import picture_extension
from toolkit.store.manifest import to_json
from toolkit.store.tar import Member

SHEET = "assets/samples.jpg"


def open_form(about: About) -> "Repository":
    """The repository, for one export."""
    return Repository(about)


@dataclass(frozen=True)
class Repository:
    """Two files of facts beside each tar."""

    about: About
    reads: Reads = "members"
    max_samples: int = MAX_SAMPLES

    def write(self, part: Part, samples: Iterator[Sample]) -> list[Path]:
        """Writes a tar, and what is in it."""
        stem = f"{safe_split(part.split)}-{part.number:06d}"
        data, facts = (self._folder(name) for name in ("data", "metadata"))
        tar = data / f"{stem}.tar"
        places = write_tar(tar, ((sample, self._members(sample)) for sample in samples))
        table = facts / f"{stem}.parquet"
        rows = (({**x.row, "file": f"data/{tar.name}", "members": list(map(vars, members))}, 0)
                for x, members in places)  # fmt: skip
        write_table(table, rows, self._schema())
        packed = facts / f"{stem}.tar.gz"
        _write_facts(packed, places)
        return [tar, table, packed]

    def finish(self, written: Sequence[Written]) -> None:
        """Writes the card and its pictures."""
        sheet = contact_sheet(self.about)
        if sheet is not None:
            write_atomic(self._folder("assets") / Path(SHEET).name, sheet)
        text = card(self.about, written, self._exts(), SHEET if sheet else None)
        write_atomic(self.about.out / "README.md", text)

    def _folder(self, name: str) -> Path:
        folder = self.about.out / name
        folder.mkdir(exist_ok=True)
        return folder

    def _members(self, sample: Sample) -> dict[str, bytes]:
        """Pictures, caption and facts; the facts have the same fields in every sample."""
        found = members_of(sample)
        members = {ext: data for ext, data in found.items() if picture_extension(ext)}
        return {**members, "txt": found["txt"], "json": to_json(sample.row).encode()}

    def _exts(self) -> list[str]:
        """Extensions of the pictures that samples may have."""
        found: dict[str, None] = {}
        for exts in self.about.chosen.exts:
            found |= {ext: None for ext in exts if picture_extension(ext)}
        if self.about.with_links:
            found |= dict.fromkeys(self.about.chosen.linked_exts())
        return list(found)

    def _schema(self) -> Any:
        import pyarrow as pa

        member = pa.struct([("ext", pa.string()), ("offset", pa.int64()), ("size", pa.int64()),
                            ("sha256", pa.string())])  # fmt: skip
        more = [pa.field("file", pa.string()), pa.field("members", pa.list_(member))]
        return pa.schema([*self.about.schema.remove_metadata(), *more])


def _write_facts(path: Path, places: list[tuple[Sample, list[Member]]]) -> None:
    """The facts alone as a tar, which gzip makes as small as they are."""
    with atomic_path(path) as temporary:
        plain = temporary.with_suffix(".plain")
        try:
            write_tar(plain, ((x, {"json": to_json(x.row).encode()}) for x, _ in places))
            with (
                open(plain, "rb") as tar,
                open(temporary, "wb") as file,
                gzip.GzipFile("", "wb", 6, file, mtime=0) as packed,
            ):
                shutil.copyfileobj(tar, packed)
        finally:
            plain.unlink(missing_ok=True)
