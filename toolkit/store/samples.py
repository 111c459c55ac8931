"""One sample by its key: its manifest row and the bytes of its members, read by range."""

import functools
from pathlib import Path
from typing import Any

from toolkit.core.errors import UserError
from toolkit.core.nearest import nearest
from toolkit.core.places import is_remote
from toolkit.store.images import picture_extension
from toolkit.store.layout import Layout
from toolkit.store.manifest import read_manifest
from toolkit.store.objects import open_objects, retried

_MAX_COMPARED = 100_000  # keys; a second's work


class SampleReader:
    """Looks samples of one dataset up by key. Meant for single samples, not for training."""

    def __init__(self, layout: Layout, dataset: str):
        self.layout, self.dataset = layout, dataset

    def row(self, key: str) -> dict[str, Any]:
        """The manifest row. Raises UserError when there is no such sample."""
        paths = self.layout.manifests_of(self.dataset)
        # a manifest that was packed anew is read anew
        rows = _rows(tuple((path, path.stat().st_mtime_ns) for path in paths))
        if key not in rows:
            near = nearest(key, rows) if len(rows) <= _MAX_COMPARED else None
            hint = f": did you mean {near}?" if near else ""
            raise UserError(f"there is no sample {key!r} in the dataset {self.dataset}{hint}")
        return rows[key]

    def member(self, key: str, ext: str) -> bytes:
        """The bytes of one member, for example `jpg` or `source.png`."""
        row = self.row(key)
        members = row["members"] or ()
        for member in members:
            if member["ext"] == ext:
                return read_member(self.layout, row, member)
        known = ", ".join(member["ext"] for member in members) or "none"
        raise UserError(f"{self.dataset}/{key} has no member {ext}: it has {known}")

    def picture(self, key: str) -> bytes:
        """The bytes of the primary picture."""
        row = self.row(key)
        members = row["members"] or ()
        first = next((m for m in members if picture_extension(m["ext"])), None)
        if first is None:
            raise UserError(f"{self.dataset}/{key} holds no picture: {row['error']}")
        return read_member(self.layout, row, first)


def read_member(layout: Layout, row: dict[str, Any], member: dict[str, Any]) -> bytes:
    """Reads one member's bytes from the shard that `row` names."""
    path = layout.tar_named(row["dataset"], row["shard"])
    if is_remote(path):
        if not member["size"]:  # stores give no range without bytes
            return b""
        objects, offset, size = open_objects(str(path.parent)), member["offset"], member["size"]
        return retried(lambda: objects.read(path.name, offset, size), f"the shard {path}")
    try:
        with open(path, "rb") as file:
            file.seek(member["offset"])
            return file.read(member["size"])
    except OSError as error:
        raise UserError(
            f"the shard {path} cannot be read ({error.strerror}): "
            "the command that packed it makes it again"
        ) from None


@functools.lru_cache(maxsize=2)
def _rows(stamped: tuple[tuple[Path, int], ...]) -> dict[str, dict[str, Any]]:
    rows: dict[str, dict[str, Any]] = {}
    for path, _ in stamped:
        for row in read_manifest(path):
            if row["status"] == "ok" or row["key"] not in rows:
                rows[row["key"]] = row
    return rows
