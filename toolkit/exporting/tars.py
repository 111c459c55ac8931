"""Samples as members of plain tars."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from toolkit.core.files import atomic_path
from toolkit.exporting.api import Sample
from toolkit.exporting.chosen import FACTS
from toolkit.store.images import picture_extension
from toolkit.store.manifest import to_json
from toolkit.store.tar import Member, ShardWriter

MAX_SAMPLES = 1000  # of a tar
_COMPUTED = ("phash", "sha256", "source_id", "extra", "weight")


def members_of(sample: Sample) -> dict[str, bytes]:
    """A sample's members as they are stored, with those that it lacks: what it is linked to, the
    columns that were asked for; and texts where the tar was somebody else's."""
    members = dict(sample.members)
    for linked in sample.linked:
        ext = picture_extension(linked.ext) or linked.ext
        members.setdefault(f"{linked.role}.{ext}", linked.data)
    members.setdefault("txt", (sample.row["caption"] or "").encode())
    members.setdefault("json", to_json(_told(sample.row)).encode())
    if asked := {name: value for name, value in sample.row.items() if name not in FACTS}:
        members["columns.json"] = to_json(asked).encode()
    return members


def write_tar(
    path: Path, samples: Iterator[tuple[Sample, dict[str, bytes]]]
) -> list[tuple[Sample, list[Member]]]:
    """Writes samples with their members to a tar; returns where each member lies."""
    places = []
    with atomic_path(path) as temporary, ShardWriter(temporary) as tar:
        for sample, members in samples:
            written = tar.write(sample.row["key"], members)
            places.append((Sample(sample.row, {}), written))
    return places


def _told(row: Any) -> dict[str, Any]:
    """What a packed sample's own .json says, from its row."""
    names = [name for name in FACTS if name not in _COMPUTED]
    return {name: row[name] for name in names if row[name] not in (None, [], "")}
