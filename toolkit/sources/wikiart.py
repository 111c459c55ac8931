"""WikiArt: paintings with style, artist and genre, in the layouts in which it is handed around.

* Parquet or Arrow files as the Hugging Face Hub has them (`huggan/wikiart`), one painting a row;
* folders `style/artist_title.jpg`;
* a prepared `meta.csv` beside `images/`, with or without `splits/`;
* the ArtGAN release: those folders with lists of styles, genres and artists
  (Tan et al. 2019, github.com/cs-chan/ArtGAN).

Every painting gets a split of its own making (`toolkit/wikiart/splits.py`), not that of the lists,
in which one work stands on both sides.
"""

import dataclasses
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolkit.core.errors import UserError
from toolkit.core.keyed import key64
from toolkit.core.records import Record, Ref
from toolkit.core.spool import Spool
from toolkit.core.tree import walk_files
from toolkit.store.images import (
    PICTURE_EXTENSIONS,
    PictureError,
    is_picture,
    open_picture,
    picture_extension,
)
from toolkit.wikiart import parquet, prepared, tree
from toolkit.wikiart.found import Found
from toolkit.wikiart.hub import download
from toolkit.wikiart.lists import ListFiles, find_lists
from toolkit.wikiart.splits import assign, note_recorded, note_work, recorded_files

_FACTS = ("style", "artist", "genre", "title", "licence")


def open_source(
    src: Path | None = None,
    hub_id: str | None = None,
    cache_dir: Path | None = None,
    lists: Path | None = None,
    table: Path | None = None,
    keep_splits: Path | None = None,
) -> "Wikiart":
    """Opens WikiArt. Raises UserError for a missing folder or one without paintings or lists.

    Args:
        src: a folder of Parquet or Arrow files, of folders style/artist_title.jpg, or of a table.
        hub_id: instead of src: download this dataset, for example huggan/wikiart, from HF_ENDPOINT.
        cache_dir: where to keep the download; below HF_HOME otherwise.
        lists: the folder with ArtGAN's Style, Genre and Artist; src itself or the one above it
            where they lie there.
        table: a CSV file with id and path (below src) of each painting, and artist, style, genre,
            title, caption, licence where known; meta.csv or metadata.csv in src otherwise.
        keep_splits: a Parquet file, or the folder of a dataset's manifests, whose splits stay.
    """
    if (src is None) == (hub_id is None):
        raise UserError("give the paintings with --src=DIR, or --hub_id=huggan/wikiart to get them")
    if src is not None and not src.is_dir():
        raise UserError(f"there is no folder {src}: give an existing one with --src=DIR")
    recorded = () if keep_splits is None else recorded_files(keep_splits)
    name = hub_id or (src.resolve().name if src else "")
    place = src if src is not None else download(hub_id or "", cache_dir)
    if table is not None and lists is not None:
        raise UserError("--lists and --table exclude each other: both tell the classes")
    table = table or (prepared.find_table(place) if lists is None else None)
    if table is not None:
        ext = picture_extension(prepared.check_table(table)) or "jpg"
        return Wikiart(place, name, "table", ext, None, recorded, table)
    first = next(walk_files(place, is_picture), None)
    root = _rows_of(place, has_pictures=first is not None)
    if root is not None:
        if lists is not None:
            raise UserError("--lists goes with folders of pictures: these files hold labels")
        for file in parquet.data_files(root):
            parquet.check_file(root / file)
        return Wikiart(root, name, "rows", _first_extension(root), None, recorded)
    if first is None:
        raise UserError(
            f"no paintings in {place}: expected Parquet or Arrow files, style/artist_title.jpg, or "
            "meta.csv; ArtGAN's lists go with --lists"
        )
    files = _lists_of(place, lists)
    return Wikiart(place, name, "tree", picture_extension(first) or "jpg", files, recorded)


@dataclass(frozen=True)
class Wikiart:
    """Paintings with their classes. name: what the data is called; layout: `rows` of Parquet or
    Arrow files, a `table`, or a `tree`; ext: the one picture extension that the dataset gets;
    recorded: files of splits that stay; table: that of the layout `table`."""

    src: Path
    name: str
    layout: str
    ext: str = "jpg"
    lists: ListFiles | None = None
    recorded: tuple[Path, ...] = ()
    table: Path | None = None

    def index(self, notes: Counter[str] | None = None) -> Iterator[Ref]:
        """Paintings in the order of their paths and rows, each with its splits.

        All are looked at before the first is given, since a split depends on how many an artist
        has; they wait on disk.
        """
        notes = Counter() if notes is None else notes
        with Spool() as spool, Spool() as chosen:
            note_recorded(spool, self.recorded)
            if self.table is not None:
                prepared.note_splits(spool, self.src)
            for number, found in enumerate(self._paintings(notes)):
                spool.add("paintings", [(f"{number:012d}", dataclasses.asdict(found))])
                note_work(spool, found.source_id, found.group, found.work)
            chosen.add("splits", ((name, splits) for name, *splits in assign(spool)))
            for _, row in spool.walk("paintings"):
                found = Found(**row)
                locator = {
                    "file": found.file,
                    "row": found.row,
                    **{name: row[name] for name in (*_FACTS, "caption")},
                    "splits": chosen.get("splits", found.source_id)[0],
                }
                stamp = f"{found.stamp} {key64('wikiart', json.dumps(locator)):x}"
                yield Ref(found.source_id, locator, stamp, found.key)

    def read(self, ref: Ref) -> Record:
        """The painting's bytes with its classes and splits."""
        facts = ref.locator
        path = self.src / facts["file"]
        row = facts["row"]
        split, split_artist_disjoint = facts["splits"]
        return Record(
            members={self.ext: path.read_bytes() if row is None else parquet.read_bytes(path, row)},
            captions=(facts["caption"],) if facts["caption"] else (),
            split=split,
            split_artist_disjoint=split_artist_disjoint,
            **{name: facts[name] for name in _FACTS},
        )

    def file_of(self, ref: Ref) -> Path | None:
        """The painting's own file; None where it lies in a file with others."""
        return self.src / ref.locator["file"] if ref.locator["row"] is None else None

    def describe(self) -> dict[str, Any]:
        """Kind, name and layout. Which splits were recorded is left out: what became of them is in
        the refs."""
        return {
            "kind": "wikiart",
            "src": self.name,
            "layout": self.layout,
            "lists": sorted(self.lists.classes) if self.lists else [],
            "ext": self.ext,
        }

    def _paintings(self, notes: Counter[str]) -> Iterator[Found]:
        if self.layout == "rows":
            return parquet.paintings(self.src, notes)
        if self.table is not None:
            return prepared.paintings(self.src, self.table, notes)
        return tree.paintings(self.src, self.ext, self.lists, notes)


def _rows_of(place: Path, has_pictures: bool) -> Path | None:
    """The folder whose files of rows are meant: that which holds them, so that ids are the same
    for the Hub's data/ and the folder above it; deeper ones only where there is no picture."""
    for root in (place, place / "data"):
        if any("/" not in file for file in parquet.data_files(root)):
            return root
    deeper = not has_pictures and next(parquet.data_files(place), None)
    return place if deeper else None


def _lists_of(place: Path, lists: Path | None) -> ListFiles | None:
    if lists is None:
        return find_lists(place) or find_lists(place.resolve().parent)
    files = find_lists(lists)
    if files is None:
        raise UserError(
            f"no lists in {lists}: expected Style/style_class.txt and Style/style_train.csv, "
            "or the same of Genre or Artist"
        )
    return files


def _first_extension(root: Path) -> str:
    """What the first picture is; a broken one tells nothing, and most are JPEG."""
    first = next(parquet.data_files(root))
    try:
        return PICTURE_EXTENSIONS[open_picture(parquet.read_bytes(root / first, 0)).format.lower()]
    except (PictureError, KeyError):
        return "jpg"
