"""The ArtGAN release's lists: which picture is of which style, genre and artist.

For each of the three there is a file of classes (`3 Art_Nouveau` a line) and lists of pictures
(`Folder/artist_title.jpg,3`; the artist lists have a header and two commas). The lists spell
accents wrongly: the UTF-8 of a name was read as Latin-1 and then put in lower case, which turns
`ö` into `ã¶`. Pictures on disk may be spelt like that, rightly, or wrongly in another way.
"""

import contextlib
import itertools
import unicodedata
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path

from toolkit.core.errors import UserError
from toolkit.core.spool import Spool
from toolkit.wikiart.found import artist_and_title

KINDS = ("style", "genre", "artist")
_ENCODINGS = ("latin-1", "cp1252", "cp437")  # cp437: what unzip takes names for


@dataclass(frozen=True)
class ListFiles:
    """Where the lists lie. classes: kind to the file of its classes; pictures: to its lists."""

    classes: dict[str, Path]
    pictures: dict[str, tuple[Path, ...]]


def find_lists(folder: Path) -> ListFiles | None:
    """The lists in `folder`, in folders Style, Genre and Artist or loose; None without any."""
    classes, pictures = {}, {}
    for kind in KINDS:
        for place in (folder / kind.capitalize(), folder):
            names = [path for path in sorted(place.glob(f"{kind}_*")) if path.is_file()]
            heads = [path for path in names if path.stem == f"{kind}_class"]
            lists = [path for path in names if path.stem in (f"{kind}_train", f"{kind}_val")]
            if heads and lists:
                classes[kind], pictures[kind] = heads[0], tuple(lists)
                break
    return ListFiles(classes, pictures) if classes else None


class Lists:
    """The lists, read into a Spool. Use it as a context manager, or call `close`.

    Raises UserError when a list cannot be read. Rows that say nothing are noted.
    """

    def __init__(self, files: ListFiles, notes: Counter[str]):
        self._spool = Spool()
        self._folders: dict[str, set[str]] = {}
        self._artists: dict[str, set[str]] = {}
        for kind in files.classes:
            self._read(kind, files, notes)

    def find(self, path: str) -> str | None:
        """`path` (its last two parts) as the lists spell it, or None where no list names it."""
        for spelling in _spellings(path):
            if found := self._spool.get("listed", _normal(spelling)):
                self._spool.add("seen", [(_normal(spelling), None)])
                return str(found[0])
        return None

    def classes(self, path: str, listed: str | None) -> dict[str, str]:
        """The classes of a picture by kind, where known.

        A picture that a list leaves out gets the style of its folder and the artist of its name,
        where all that the lists name under that folder or name are of one class: otherwise one
        artist would have two spellings.
        """
        known = {}
        for kind in KINDS if listed else ():
            if found := self._spool.get(kind, _normal(listed or "")):
                known[kind] = str(found[0])
        name = artist_and_title(listed or path)
        guesses = {
            "style": self._folders.get(path.partition("/")[0], set()),
            "artist": self._artists.get(name[0], set()) if name else set(),
        }
        return {k: next(iter(v)) for k, v in guesses.items() if len(v) == 1} | known

    def count_absent(self) -> int:
        """How many listed pictures `find` was never asked for. Call it last."""
        absent = itertools.groupby(self._spool.missing("listed", "seen"), key=itemgetter(0))
        return sum(1 for _ in absent)

    def close(self) -> None:
        """Removes the rows from the disk."""
        self._spool.close()

    def __enter__(self) -> "Lists":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _read(self, kind: str, files: ListFiles, notes: Counter[str]) -> None:
        names = dict(_classes(files.classes[kind]))
        for path, number in itertools.chain(*(_rows(x, notes) for x in files.pictures[kind])):
            name = names.get(number)
            if name is None:
                notes["list rows of no known class"] += 1
                continue
            self._spool.add("listed", [(_normal(path), path)])
            self._spool.add(kind, [(_normal(path), name)])
            if kind == "style":
                self._folders.setdefault(path.partition("/")[0], set()).add(name)
            halves = artist_and_title(path)
            if kind == "artist" and halves:
                self._artists.setdefault(halves[0], set()).add(name)


def _classes(path: Path) -> Iterator[tuple[str, str]]:
    for line in _lines(path):
        number, _, name = line.strip().partition(" ")
        if number.isdigit() and name:
            yield number, name.strip()


def _rows(path: Path, notes: Counter[str]) -> Iterator[tuple[str, str]]:
    """(path, class number) of each row; a header is passed over."""
    for index, line in enumerate(_lines(path)):
        picture, _, number = line.rpartition(",")
        if picture and number.strip().isdigit():
            yield picture.rstrip(","), number.strip()
        elif index and line.strip():
            notes["malformed list rows"] += 1


def _lines(path: Path) -> Iterator[str]:
    try:
        with open(path, encoding="utf-8-sig", errors="surrogateescape") as file:
            yield from (line.rstrip("\r\n") for line in file)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from None


def _normal(path: str) -> str:
    """One form for the ways in which Unicode writes an accent; ASCII stays as it is."""
    return unicodedata.normalize("NFKD", path)


def _spellings(path: str) -> Iterator[str]:
    """How the lists may spell a picture's path: as it is, then as encodings may have mangled it."""
    yield path
    if path.isascii():
        return
    folder, slash, name = unicodedata.normalize("NFC", path).rpartition("/")
    names = [name]
    for encoding in _ENCODINGS:
        with contextlib.suppress(UnicodeError):  # undoes what was done to it on its way here
            names.append(name.encode(encoding).decode("utf-8"))
    for repaired in names:
        yield folder + slash + repaired.lower()
        # does what was done to it when the lists were made
        mangled = repaired.encode("utf-8", "surrogateescape").decode("latin-1")
        yield folder + slash + mangled.lower()
