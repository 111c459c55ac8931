"""A dataset of pictures made from texts, as files by style and text."""

from collections import Counter
from pathlib import Path

from toolkit.core.files import make_folder, write_atomic
from toolkit.store.layout import Layout
from toolkit.store.manifest import read_manifest
from toolkit.store.samples import SampleReader


def write_files(layout: Layout, dataset: str, folder: Path) -> int:
    """Writes FOLDER/STYLE/TEXT.png, and TEXT-2.png where a text comes again; returns how many."""
    reader, seen, count = SampleReader(layout, dataset), Counter[Path](), 0
    for manifest in layout.manifests_of(dataset):
        for row in read_manifest(manifest, ["key", "status", "style", "caption"]):
            if row["status"] != "ok":
                continue
            place = folder / _safe(row["style"] or "") / _safe(row["caption"] or row["key"])
            seen[place] += 1
            tail = f"-{seen[place]}" if seen[place] > 1 else ""
            path = make_folder(place.parent) / f"{place.name}{tail}.png"
            write_atomic(path, reader.picture(row["key"]))
            count += 1
    return count


def _safe(text: str) -> str:
    """A text as one part of a path."""
    return text.replace("/", "_").replace("\x00", "").strip(". ")[:120] or "_"
