"""Walks a tree of files in a stable order, without a list of them in memory."""

import os
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from toolkit.core.spool import Spool


def walk_files(
    root: Path, wanted: Callable[[str], bool], notes: Counter[str] | None = None
) -> Iterator[str]:
    """Yields the paths of files below `root`, relative to it, in the order of their parts.

    Links to folders are followed, unless they lead back to a folder that they lie in. Broken links
    are yielded, since somebody expects a file there; pipes and devices are not.

    Args:
        root: an existing folder.
        wanted: told a file's name, says whether to yield it; hidden files and folders never are.
        notes: counts what was left out: `hidden files` that are wanted otherwise, `symlink loops`,
            `unreadable folders`.
    """
    notes = Counter() if notes is None else notes
    with Spool() as spool:
        pending: list[tuple[str, tuple[tuple[int, int], ...]]] = [("", ())]
        while pending:
            folder, above = pending.pop()
            place = root / folder
            inside = f"{folder}/" if folder else ""
            try:
                facts = place.stat()
                identity = (facts.st_dev, facts.st_ino)
                if identity in above:
                    notes["symlink loops"] += 1
                    continue
                for name, is_folder in _entries(place):
                    if name.startswith("."):
                        if not is_folder and wanted(name):
                            notes["hidden files"] += 1
                    elif is_folder:
                        pending.append((inside + name, (*above, identity)))
                    elif wanted(name):
                        # in the order of parts, not of characters
                        spool.add("files", [((inside + name).replace("/", "\0"), None)])
            except OSError:
                notes["unreadable folders"] += 1
        for key, _ in spool.walk("files"):
            yield key.replace("\0", "/")


def _entries(folder: Path) -> Iterator[tuple[str, bool]]:
    """Names in a folder that may matter, and whether they are folders."""
    with os.scandir(folder) as entries:
        for entry in entries:
            try:
                is_folder, is_file = entry.is_dir(), entry.is_file()
            except OSError:  # a link to itself
                is_folder, is_file = False, True
            if is_folder:
                yield entry.name, True
            elif is_file or (entry.is_symlink() and not os.path.exists(entry.path)):
                yield entry.name, False


def stamp_of(*paths: Path | str) -> str:
    """Sizes and times of files, of those that exist: changes when one of them does."""
    parts = []
    for path in paths:
        try:
            facts = os.stat(path)
        except OSError:
            continue
        suffix = os.path.splitext(path)[1]
        parts.append(f"{suffix}:{facts.st_size}:{facts.st_mtime_ns}")
    return " ".join(parts)
