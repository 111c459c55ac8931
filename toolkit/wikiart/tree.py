"""WikiArt as a tree of folders: `style/artist_title.jpg`, with or without the ArtGAN lists."""

import unicodedata
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from toolkit.core.errors import UserError
from toolkit.core.tree import stamp_of, walk_files
from toolkit.store.images import is_picture
from toolkit.store.keys import readable
from toolkit.wikiart.found import Found, artist_and_title, spaced
from toolkit.wikiart.lists import ListFiles, Lists


def paintings(src: Path, ext: str, files: ListFiles | None, notes: Counter[str]) -> Iterator[Found]:
    """The pictures below `src` in the order of their paths.

    Listed pictures that are absent and pictures that no list names are noted. ext: pictures of this
    extension get their path as key.
    """
    if files is None:
        for path in walk_files(src, is_picture, notes):
            yield _found(src, path, ext, None, {})
        return
    found = 0
    with Lists(files, notes) as lists:
        for path in walk_files(src, is_picture, notes):
            place = "/".join(path.split("/")[-2:])
            listed = lists.find(place)
            if listed is None:
                notes["pictures that no list names"] += 1
            else:
                found += 1
            yield _found(src, path, ext, listed, lists.classes(place, listed))
        if not found:
            raise UserError(
                f"the lists name no picture of {src}: they go with ArtGAN's own folders, "
                "style/artist_title.jpg; leave --lists away"
            )
        if absent := lists.count_absent():
            notes["listed pictures that are absent"] += absent


def _found(src: Path, path: str, ext: str, listed: str | None, classes: dict[str, str]) -> Found:
    artist, title = artist_and_title(path) or (None, None)
    # the lists' spelling, so that the splits do not depend on how a disk spells accents
    known = listed or path
    group = (artist_and_title(known) or ("", ""))[0]
    stem, _, literal = path.rpartition(".")
    folder = path.rpartition("/")[0].rpartition("/")[2]
    return Found(
        source_id=readable(path),
        file=path,
        row=None,
        stamp=stamp_of(src / path),
        key=readable(stem) if literal == ext else "",
        style=classes.get("style") or folder or None,
        artist=classes.get("artist") or (spaced(artist) if artist else None),
        genre=classes.get("genre"),
        title=spaced(title) if title else None,
        caption=None,
        licence=None,
        group=_folded(group),
        work=_folded(known.rpartition("/")[2].rpartition(".")[0]),
    )


def _folded(text: str) -> str:
    return readable(unicodedata.normalize("NFKD", text).casefold())
