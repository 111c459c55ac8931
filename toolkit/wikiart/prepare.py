"""Lays WikiArt out as loose files with a table, as scripts that read folders expect it.

raw/               what the paintings were taken from, or a link to it
images/<id>.jpg    the paintings
meta.csv           id,path,artist,style,genre; empty where unknown; the path starts at the folder
splits/            train.txt, val.txt and test.txt with one id a line
"""

import contextlib
import csv
import os
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Literal, Protocol, TextIO, get_args

from toolkit.core.files import TEMPORARY_SUFFIX, atomic_path, make_folder
from toolkit.core.records import Ref, Source, Split
from toolkit.store.images import PictureError, picture_extension
from toolkit.store.keys import make_key, readable

COLUMNS = ("id", "path", "artist", "style", "genre", "title")


class Paintings(Source, Protocol):
    """A source that knows where its pictures lie. The locators of its refs are mappings with
    artist, style, genre and `splits`, the first of which is the one to use."""

    @property
    def src(self) -> Path:
        """The folder of the raw data."""
        ...

    def file_of(self, ref: Ref) -> Path | None:
        """The input's own file; None where it lies in a file with others."""
        ...


def prepare(
    source: Paintings,
    folder: Path,
    mode: Literal["symlink", "copy"],
    notes: Counter[str] | None = None,
) -> int:
    """Writes the layout below `folder`; returns the number of paintings in the table.

    The table and the lists of splits are whole or as they were before. An id is the key that the
    painting has in a packed dataset.

    Args:
        source: the paintings.
        folder: made if need be; what is there under the same names is replaced.
        mode: symlink links to pictures that are files, and to the raw data; copy copies the
            pictures. Pictures inside Parquet files are written out in both.
        notes: told what the source found, and how many paintings cannot be read and are left out.

    Raises:
        UserError: a folder or file that cannot be written.
    """
    notes = Counter() if notes is None else notes
    raw, images, splits = (make_folder(folder / name) for name in ("raw", "images", "splits"))
    origin = source.src.resolve()
    if mode == "symlink" and not origin.is_relative_to(raw.resolve()):
        _put(raw / (origin.name or "data"), lambda temporary: temporary.symlink_to(origin))
    count = 0
    with contextlib.ExitStack() as stack:
        table = csv.writer(_new_file(stack, folder / "meta.csv"), lineterminator="\n")
        table.writerow(COLUMNS)
        lists = {name: _new_file(stack, splits / f"{name}.txt") for name in get_args(Split)}
        for ref in source.index(notes):
            key, facts = make_key(ref.key or ref.source_id), ref.locator
            try:
                path = _put_picture(source, ref, images, key, mode)
            except (PictureError, FileNotFoundError):
                notes["paintings that cannot be read"] += 1
                continue
            texts = [facts[name] or "" for name in COLUMNS[2:]]
            table.writerow([key, path.relative_to(folder).as_posix(), *map(readable, texts)])
            lists[facts["splits"][0]].write(f"{key}\n")
            count += 1
    if left := sum(1 for _ in images.iterdir()) - count:
        notes["files in images/ that meta.csv does not name"] += left
    return count


def _put_picture(source: Paintings, ref: Ref, images: Path, key: str, mode: str) -> Path:
    origin = source.file_of(ref)
    if origin is None:
        ext, data = next(iter(source.read(ref).members.items()))
        return _put(images / f"{key}.{ext}", lambda temporary: temporary.write_bytes(data))
    origin = origin.resolve(strict=True)
    path = images / f"{key}.{picture_extension(ref.locator['file'])}"
    if mode == "copy":
        return _put(path, lambda temporary: shutil.copyfile(origin, temporary))
    return _put(path, lambda temporary: temporary.symlink_to(origin))


def _put(path: Path, make: Callable[[Path], object]) -> Path:
    """Puts what `make` makes at `path`, in place of what is there; returns `path`.

    Without waiting for the disk, as `atomic_path` does: there are tens of thousands of pictures.
    """
    temporary = path.with_name(f".{path.name}{TEMPORARY_SUFFIX}")
    temporary.unlink(missing_ok=True)
    make(temporary)
    os.replace(temporary, path)
    return path


def _new_file(stack: contextlib.ExitStack, path: Path) -> TextIO:
    temporary = stack.enter_context(atomic_path(path))
    # closed before `atomic_path` renames it, since a stack unwinds backwards
    return stack.enter_context(open(temporary, "w", encoding="utf-8", newline=""))
