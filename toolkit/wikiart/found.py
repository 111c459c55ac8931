"""One painting as a layout of WikiArt gives it, before it has a split."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Found:
    """A painting's place and what is known of it; unknown texts are None.

    source_id: unique in the source, and the same wherever the source lies.
    file: the file that holds it, relative to the source's folder.
    row: its row in a Parquet or Arrow file; None for a picture file.
    stamp: changes when the file does.
    key: the sample's key where the layout gives a good one.
    group: whose it is for the splits: one spelling for each artist, empty where unknown.
    work: what it shows for the splits: the copies of a work have the same one.
    """

    source_id: str
    file: str
    row: int | None
    stamp: str
    key: str
    style: str | None
    artist: str | None
    genre: str | None
    title: str | None
    caption: str | None
    licence: str | None
    group: str
    work: str


def artist_and_title(name: str) -> tuple[str, str] | None:
    """The two halves of a file name `artist_title.jpg`, as spelt; None for another name."""
    artist, _, title = name.rpartition("/")[2].rpartition(".")[0].partition("_")
    return (artist, title) if artist and title else None


def spaced(half: str) -> str:
    """`vincent-van-gogh` as `vincent van gogh`."""
    return half.replace("-", " ")
