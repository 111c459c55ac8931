"""Writes packed datasets back as loose files, in the layouts in which such data is handed around.

content/<key>.jpg, <key>.txt             pictures with one caption a line
coco/<split>2017/<key>.jpg               the same as COCO has them, with
coco/annotations/captions_<split>2017.json
wikiart/<Style>/<artist>_<title>.jpg     as WikiArt folders are arranged
fill50k/prompt.json, source/, target/    Fill50K's own layout, JSON Lines
teacher/<content>_<style>_seed<n>.jpg    with one JSON file of parameters beside each
"""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from toolkit.core.files import make_folder
from toolkit.store.layout import Layout
from toolkit.store.manifest import read_manifest
from toolkit.store.samples import read_member

Member = Callable[[str], bytes]


def write_raw(layout: Layout, folder: Path) -> int:
    """Writes the four sample datasets below `folder`; returns the number of samples.

    Raises UserError when the folder cannot be written.
    """
    writers = {
        "content": _content,
        "wikiart": _painting,
        "fill50k": _circle,
        "teacher": _target,
    }
    count = 0
    for dataset, write in writers.items():
        root = make_folder(folder / dataset)
        for path in layout.manifests_of(dataset):
            for row in read_manifest(path):
                places = {member["ext"]: member for member in row["members"]}

                def member(ext: str, row: Any = row, places: Any = places) -> bytes:
                    return read_member(layout, row, places[ext])

                write(root, row, member)
                count += 1
    _write_coco(layout, folder / "coco")
    return count


def _write_coco(layout: Layout, root: Path) -> None:
    """The dataset `content` in COCO's own structure."""
    parts: dict[str, dict[str, list[dict[str, Any]]]] = {}
    annotations = make_folder(root / "annotations")
    rows = (row for path in layout.manifests_of("content") for row in read_manifest(path))
    for number, row in enumerate(rows, 1):
        part = f"{row['split'] or 'train'}2017"
        name = f"{row['key']}.jpg"
        found = parts.setdefault(part, {"images": [], "annotations": []})
        found["images"].append({"id": number, "file_name": name, "width": row["width"],
                                "height": row["height"]})  # fmt: skip
        found["annotations"] += [
            {"id": 100 * number + place, "image_id": number, "caption": text}
            for place, text in enumerate(row["captions"])
        ]
        data = read_member(layout, row, row["members"][0])
        (make_folder(root / part) / name).write_bytes(data)
    for part, found in parts.items():
        (annotations / f"captions_{part}.json").write_text(json.dumps(found), "utf-8")


def _content(root: Path, row: dict[str, Any], member: Member) -> None:
    (root / f"{row['key']}.jpg").write_bytes(member("jpg"))
    (root / f"{row['key']}.txt").write_text("\n".join(row["captions"]) + "\n", "utf-8")


def _painting(root: Path, row: dict[str, Any], member: Member) -> None:
    number = row["key"].rpartition("-")[2]
    name = f"{_slug(row['artist'])}_{_slug(row['title'])}-{number}.jpg"
    make_folder(root / row["style"])
    (root / row["style"] / name).write_bytes(member("jpg"))


def _circle(root: Path, row: dict[str, Any], member: Member) -> None:
    facts = json.loads(row["extra"])
    record = {name: facts[name] for name in ("source", "target", "prompt")}
    for half in ("source", "target"):
        path = root / facts[half]
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(member(f"{half}.png"))
    first = not (root / "prompt.json").exists() or row["key"] == "000000"
    with open(root / "prompt.json", "w" if first else "a", encoding="utf-8") as file:
        file.write(json.dumps(record) + "\n")


def _target(root: Path, row: dict[str, Any], member: Member) -> None:
    links = {link["role"]: link["key"] for link in row["links"]}
    facts = {**links, "protocol": row["protocol"], **json.loads(row["extra"])["teacher"]}
    (root / f"{row['key']}.jpg").write_bytes(member("jpg"))
    (root / f"{row['key']}.json").write_text(json.dumps(facts, sort_keys=True) + "\n", "utf-8")


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
