"""What a source hands to the packer."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

Split = Literal["train", "val", "test"]


@dataclass(frozen=True)
class Ref:
    """One raw input, not yet read.

    source_id: what the input is called where it comes from (a path, an id); unique in a source.
    locator: whatever `read` needs to find it; small and picklable, it crosses process borders.
    stamp: changes when the input's content does (size and time, say); empty where it cannot change.
    key: the sample's key where the source knows a good one; made from the source id otherwise.
    """

    source_id: str
    locator: Any = None
    stamp: str = ""
    key: str = ""


@dataclass(frozen=True)
class Link:
    """A sample of another dataset that this one was made from or belongs to."""

    role: str
    dataset: str
    key: str


@dataclass(frozen=True)
class Record:
    """One raw input, read: bytes and what is known of it; unknown texts are None.

    members: extension to bytes; the first picture is the primary one, which width, height, format
        and the hashes of the manifest row describe.
    captions: all captions, the first of which becomes the `caption` column.
    split_artist_disjoint: a second split, in which no artist is on two sides.
    links: samples of other datasets (role, dataset, key).
    protocol, protocol_exact, attempt, parent, grade, weight: of a generated picture, see
        manifests/README.md.
    refused: cause and text, where the picture is known to be no good: it gets a row and no bytes.
    extra: anything else, kept as JSON.
    """

    members: Mapping[str, bytes]
    captions: tuple[str, ...] = ()
    style: str | None = None
    artist: str | None = None
    genre: str | None = None
    title: str | None = None
    licence: str | None = None
    categories: tuple[str, ...] = ()
    split: str | None = None
    split_artist_disjoint: str | None = None
    links: tuple[Link, ...] = ()
    protocol: str | None = None
    protocol_exact: bool | None = None
    attempt: int | None = None
    parent: str | None = None
    grade: str | None = None
    weight: float = 1.0
    refused: tuple[str, str] | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)


class Reader(Protocol):
    """Whatever inputs are read from."""

    def read(self, ref: Ref) -> Record:
        """The bytes and the facts of one input."""
        ...


class Source(Reader, Protocol):
    """One kind of raw data. `index` gives every input in a stable order, `read` one of them.

    `read` is a pure function of the ref, so any process may call it for any ref. It raises
    `toolkit.store.images.PictureError` or OSError for an input that cannot be used; the packer
    turns that into a manifest row.
    """

    def index(self, notes: Counter[str] | None = None) -> Iterator[Ref]:
        """All inputs, in an order that depends on nothing but the data. notes: where given, told
        what was found besides them, such as annotations without a picture: words and counts."""
        ...

    def describe(self) -> dict[str, Any]:
        """How the source was opened, without machine paths: part of the pack's fingerprint."""
        ...
