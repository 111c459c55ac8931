"""Manifests that lie in an object store, copied to this machine: DuckDB reads them here.

Each opening lists the store and copies what is new or has changed, so a mirror is never older than
the moment it was opened. Nothing is written back.
"""

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from toolkit.core.errors import UserError
from toolkit.core.files import make_folder, write_atomic
from toolkit.core.places import is_remote
from toolkit.store.layout import Layout
from toolkit.store.objects import Entry, Objects, open_objects, retried
from toolkit.store.range_cache import cache_folder

_AT_ONCE = 16
_INDEX = ".mirror.json"  # path to version of what was copied


def open_layout(shards: Path, manifests: Path) -> Layout:
    """The data folders for reading: remote manifests are copied here first, remote shards are read
    where they lie. Raises UserError as `mirror` does."""
    return Layout(shards, mirror(str(manifests)) if is_remote(manifests) else manifests)


def mirror(url: str, folder: Path | None = None) -> Path:
    """The folder that the manifests below a URL are copied to.

    Raises UserError: the store cannot be listed or read; nothing is there.
    """
    name = hashlib.sha256(url.rstrip("/").encode()).hexdigest()[:16]
    place = make_folder(folder or cache_folder() / "manifests" / name)
    objects = open_objects(url)
    entries = retried(lambda: list(objects.entries()), url)
    wanted = {entry.path: entry for entry in entries if _is_manifest(entry.path)}
    if not wanted:
        raise UserError(f"there are no manifests in {url}: name the folder that holds the datasets")
    there = _read_index(place)
    for path in set(there) - set(wanted):
        (place / path).unlink(missing_ok=True)
    new = [e for p, e in wanted.items() if there.get(p) != e.version or not (place / p).is_file()]
    # cards last: a dataset whose card is there is whole
    for group in (
        [e for e in new if not e.path.endswith(".json")],
        [e for e in new if e.path.endswith(".json")],
    ):
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            list(pool.map(partial(_copy, objects, place, url), group))
    write_atomic(place / _INDEX, json.dumps({p: e.version for p, e in wanted.items()}))
    return place


def _copy(objects: Objects, place: Path, url: str, entry: Entry) -> None:
    def read() -> bytes:
        data = objects.read(entry.path, 0, entry.size) if entry.size else b""
        if len(data) != entry.size:
            raise OSError(f"{len(data)} of {entry.size} bytes came")
        return data

    path = place / entry.path
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, retried(read, f"{url.rstrip('/')}/{entry.path}"))


def _is_manifest(path: str) -> bool:
    parts = path.split("/")
    return ".." not in parts and Path(path).suffix in (".parquet", ".json", ".npy")


def _read_index(place: Path) -> dict[str, str]:
    try:
        found = json.loads((place / _INDEX).read_text())
    except (OSError, ValueError):
        return {}
    return {str(path): str(version) for path, version in found.items()}
