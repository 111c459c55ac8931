"""WikiArt as `prepare` lays it out, or any folder with the same table: meta.csv beside images/.

meta.csv has the columns id, path, artist, style and genre; splits/train.txt, val.txt and test.txt,
where they are, hold one id a line and decide the split.
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from toolkit.core.errors import UserError
from toolkit.core.keyed import key64
from toolkit.core.spool import Spool
from toolkit.core.tree import stamp_of
from toolkit.store.keys import readable
from toolkit.store.records_io import records
from toolkit.wikiart.found import Found, artist_and_title, spaced
from toolkit.wikiart.splits import TENTHS

TABLE = "meta.csv"
_COLUMNS = ("id", "path")


def check_table(src: Path) -> str:
    """The path in the table's first row. Raises UserError when it is empty or lacks columns."""
    first = next(records(src / TABLE), None)
    if first is None or not all(first.get(name) for name in _COLUMNS):
        raise UserError(f"{src / TABLE} has no row with id and path: it lists one painting a row")
    return str(first["path"])


def paintings(src: Path, notes: Counter[str]) -> Iterator[Found]:
    """The table's rows in its order, under their ids; rows without id or path are noted."""
    for row in records(src / TABLE):
        name, path = (str(row.get(column) or "").strip() for column in _COLUMNS)
        if not name or not path:
            notes[f"rows of {TABLE} without id or path"] += 1
            continue
        path = path.replace("\\", "/")
        artist = (row.get("artist") or "").strip() or None
        named = artist_and_title(path)
        facts = [artist, row.get("style") or None, row.get("genre") or None]
        yield Found(
            source_id=readable(name),
            file=path,
            row=None,
            stamp=f"{stamp_of(src / path)} {key64('meta', *map(str, facts)):x}",
            key=readable(name),
            style=facts[1],
            artist=artist,
            genre=facts[2],
            title=row.get("title") or (spaced(named[1]) if named else None),
            group=(artist or "").casefold(),
            work=readable(name).casefold(),
        )


def note_splits(spool: Spool, src: Path) -> None:
    """Adds the splits of splits/*.txt as recorded ones."""
    for split in TENTHS:
        path = src / "splits" / f"{split}.txt"
        if path.is_file():
            with open(path, encoding="utf-8", errors="surrogateescape") as file:
                ids = (line.strip() for line in file)
                spool.add("recorded", ((readable(name), [split, None]) for name in ids if name))
