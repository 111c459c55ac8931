"""What a form of export is given, and what it has to do."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from toolkit.store.images import picture_extension
from toolkit.store.layout import Layout

Reads = Literal["members", "pictures", "nothing"]


@dataclass(frozen=True)
class Linked:
    """A picture that a sample was made from. role: content, style …, the second one of a role
    role_2; ext: of its member, as jpg; data: its bytes."""

    role: str
    dataset: str
    key: str
    ext: str
    data: bytes


@dataclass(frozen=True)
class Picture:
    """One picture of a sample, as tables name it. name: image for the primary one, source_image for
    the member source.png, content_image for what is linked as content; ext: as jpg; of: the sample
    that it was linked from, as DATASET.KEY, empty for the sample's own."""

    name: str
    ext: str
    data: bytes
    of: str = ""


@dataclass(frozen=True)
class Sample:
    """One sample with its bytes. row: the columns of `About.schema`; members: extension to bytes,
    in stored order, those that the form reads; linked: in the order of the row's links."""

    row: Mapping[str, Any]
    members: Mapping[str, bytes]
    linked: tuple[Linked, ...] = ()

    def pictures(self) -> list[Picture]:
        """All pictures, the primary one first."""
        found: list[Picture] = []
        for ext, data in self.members.items():
            if kind := picture_extension(ext):
                name = picture_name(ext) if found else "image"
                found.append(Picture(name, kind, data))
        for x in self.linked:
            ext = picture_extension(x.ext) or x.ext
            found.append(Picture(f"{x.role}_image", ext, x.data, f"{x.dataset}.{x.key}"))
        return found


def picture_name(ext: str) -> str:
    """What tables call a further picture member: `source.png` is source_image."""
    return f"{ext.rpartition('.')[0] or ext}_image"


@dataclass(frozen=True)
class About:
    """One export. out: the folder to fill, which nobody sees before it is whole; name: its own;
    where: the query; schema: of the rows, a pyarrow Schema; pictures: names of the pictures that
    some sample has; columns: names of `schema` that are not null or empty in every row; lacking:
    those of them that are so in some; has_splits: whether a row names a split; max_bytes: of a
    file; chosen: what the query chose (`toolkit.exporting.chosen.Chosen`)."""

    chosen: Any
    layout: Layout
    out: Path
    name: str
    where: str
    datasets: tuple[str, ...]
    schema: Any
    pictures: tuple[str, ...]
    columns: tuple[str, ...]
    lacking: frozenset[str]
    has_splits: bool
    max_bytes: int
    with_links: bool

    def file_stem(self, row: Mapping[str, Any]) -> str:
        """A file name without extension for a sample, no other sample's: its key, behind its
        dataset where there are several."""
        own = str(row["key"])
        return own if len(self.datasets) == 1 else f"{row['dataset']}.{own}"


@dataclass(frozen=True)
class Part:
    """The unit of writing, of journal and of resuming: consecutive samples of one split of one
    dataset. number: in its split, from 0; own: in its split and dataset, from 0; notes: a file
    that the form may write for its `finish`; num_samples: that it should have, damaged ones too."""

    split: str
    dataset: str
    number: int
    own: int
    notes: Path
    num_samples: int


@dataclass(frozen=True)
class Written:
    """A finished part. num_samples: that it holds; num_bytes: of their files."""

    part: Part
    num_samples: int
    num_bytes: int


class Form(Protocol):
    """One form of export. reads: which members its samples come with; max_samples: of a part."""

    @property
    def reads(self) -> Reads:
        """What is read of each sample: all members, pictures, nothing."""
        ...

    @property
    def max_samples(self) -> int:
        """Of one part."""
        ...

    def write(self, part: Part, samples: Iterator[Sample]) -> list[Path]:
        """Writes a part, the same samples to the same bytes, and returns its files, all of them
        below `About.out`. A part that was interrupted is written again."""
        ...

    def finish(self, written: Sequence[Written]) -> None:
        """Writes what spans all parts, after the last one."""
        ...
