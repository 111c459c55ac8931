"""WikiArt as `prepare` lays it out, or any folder with a table of its pictures.

meta.csv (or metadata.csv, or another file on request) has the columns id and path, and may have
artist, style, genre, title, caption and licence; splits/train.txt, val.txt and test.txt, where they
are, hold one id a line and decide the split.
"""

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from toolkit.core.errors import UserError
from toolkit.core.keyed import key64
from toolkit.core.spool import Spool
from toolkit.core.tree import stamp_of
from toolkit.store.images import is_picture
from toolkit.store.keys import readable
from toolkit.store.records_io import records
from toolkit.wikiart.found import Found, artist_and_title, spaced
from toolkit.wikiart.splits import TENTHS

TABLES = ("meta.csv", "metadata.csv")
_PLACE = ("id", "path")
_FACTS = ("style", "artist", "genre", "title", "caption", "licence")


def find_table(src: Path) -> Path | None:
    """The table of a folder, where it has one. Other programs have a metadata.csv, too: one without
    id and path is not meant."""
    for table in (src / name for name in TABLES if (src / name).is_file()):
        if table.name == "meta.csv" or _has_place(next(records(table), {})):
            return table
    return None


def _has_place(row: dict[str, str]) -> bool:
    return all(row.get(name) for name in _PLACE)


def check_table(table: Path) -> str:
    """The path in the table's first row. Raises UserError when it is empty or lacks columns."""
    first = next(records(table), None)
    if first is None or not _has_place(first):
        raise UserError(f"{table} has no row with id and path: it lists one painting a row")
    return str(first["path"])


def paintings(src: Path, table: Path, notes: Counter[str]) -> Iterator[Found]:
    """The table's rows in its order, under their ids. Rows without id or path are noted, and
    pictures that lie beside listed ones without being listed."""
    folders: set[str] = set()
    with Spool() as spool:
        for row in records(table, notes):
            name, path = (str(row.get(column) or "").strip() for column in _PLACE)
            if not name or not path:
                notes[f"rows of {table.name} without id or path"] += 1
                continue
            path = path.replace("\\", "/").removeprefix("./")
            spool.add("named", [(path, None)])
            folders.add(path.rpartition("/")[0])
            yield _found(src, name, path, row)
        spool.add("beside", ((path, None) for path in _beside(src, folders)))
        unnamed = sum(1 for _ in spool.missing("beside", "named"))
    if unnamed:
        notes[f"pictures that {table.name} does not name"] += unnamed


def _beside(src: Path, folders: set[str]) -> Iterator[str]:
    """The pictures of the folders that hold listed ones; other folders, such as raw/ of a prepared
    tree, hold what is listed under another path."""
    for folder in sorted(folders):
        if (src / folder).is_dir():
            names = (entry.name for entry in os.scandir(src / folder) if entry.is_file())
            inside = f"{folder}/" if folder else ""
            yield from (inside + x for x in names if is_picture(x) and not x.startswith("."))


def _found(src: Path, name: str, path: str, row: dict[str, str]) -> Found:
    facts = {fact: (row.get(fact) or "").strip() or None for fact in _FACTS}
    named = artist_and_title(path)
    facts["title"] = facts["title"] or (spaced(named[1]) if named else None)
    return Found(
        source_id=readable(name),
        file=path,
        row=None,
        stamp=f"{stamp_of(src / path)} {key64('meta', *map(str, facts.values())):x}",
        key=readable(name),
        group=(facts["artist"] or "").casefold(),
        work=readable(name).casefold(),
        **facts,
    )


def note_splits(spool: Spool, src: Path) -> None:
    """Adds the splits of splits/*.txt as recorded ones."""
    for split in TENTHS:
        path = src / "splits" / f"{split}.txt"
        if path.is_file():
            with open(path, encoding="utf-8", errors="surrogateescape") as file:
                ids = (line.strip() for line in file)
                spool.add("recorded", ((readable(name), [split, None]) for name in ids if name))
