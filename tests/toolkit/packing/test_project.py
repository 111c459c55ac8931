"""A project folder that was arranged before: its parts are found, packed and linked."""

import json
from pathlib import Path
from typing import Any

import pytest

from toolkit.core.errors import UserError
from toolkit.packing.project import find_parts
from toolkit.store.layout import Layout
from toolkit.store.manifest import read_manifest


@pytest.fixture
def project(tmp_path: Path, encode: Any, make_picture: Any) -> Path:
    root = tmp_path / "project"
    places = {
        "dataset_cocostuff/train2017/000000000139.jpg": "JPEG",
        "data/wikiart/images/monet_1.jpg": "JPEG",
        "data/teacher_out/139_monet_1_seed0.png": "PNG",
        "dataset_fill50k/source/0.png": "PNG",
        "dataset_fill50k/target/0.png": "PNG",
    }
    for number, (place, form) in enumerate(places.items()):
        (root / place).parent.mkdir(parents=True, exist_ok=True)
        (root / place).write_bytes(encode(make_picture(number), form))
    line = {"source": "source/0.png", "target": "target/0.png", "prompt": "a circle"}
    (root / "dataset_fill50k" / "prompt.json").write_text(json.dumps(line) + "\n")
    meta = "id,path,artist,style,genre\nmonet_1,images/monet_1.jpg,Monet,Impressionism,\n"
    (root / "data" / "wikiart" / "meta.csv").write_text(meta)
    (root / "data" / "pairs").mkdir()
    return root


def test_all_parts_are_packed_and_linked(project: Path, run_command: Any, tmp_path: Path) -> None:
    done = run_command("toolkit.pack", f"--root={project}", "--jobs=1", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    layout = Layout(tmp_path / "shards", tmp_path / "manifests")
    assert layout.datasets() == ["cocostuff", "fill50k", "teacher", "wikiart"]
    (row,) = read_manifest(layout.manifest("teacher", 0))
    assert [(x["role"], x["dataset"], x["key"]) for x in row["links"]] == [
        ("content", "cocostuff", "000000000139"), ("style", "wikiart", "monet_1"),
    ]  # fmt: skip
    assert run_command("toolkit.verify", cwd=tmp_path).returncode == 0


def test_only_what_is_there_is_packed(project: Path, tmp_path: Path) -> None:
    (project / "data" / "coco").mkdir()
    found = [(part.dataset, part.kind) for part in find_parts(project)]
    assert found == [("cocostuff", "coco"), ("wikiart", "wikiart"), ("fill50k", "fill50k"),
                     ("teacher", "teacher")]  # fmt: skip
    (project / "dataset_cocostuff").rename(project / "data" / "coco" / "all")
    parts = {part.dataset: part.options for part in find_parts(project)}
    assert list(parts) == ["coco", "wikiart", "fill50k", "teacher"]
    assert parts["teacher"]["content"] == "coco"
    with pytest.raises(UserError, match="holds none of data/coco"):
        find_parts(tmp_path / "project" / "data" / "pairs")
    with pytest.raises(UserError, match="there is no folder"):
        find_parts(tmp_path / "nowhere")


def test_additions_keep_the_splits_of_a_packed_dataset(
    tmp_path: Path, run_command: Any, encode: Any, make_picture: Any
) -> None:
    folder = tmp_path / "art" / "Cubism"
    folder.mkdir(parents=True)

    def add(numbers: range) -> dict[str, str]:
        for number in numbers:
            path = folder / f"juan-gris_work-{number:02d}.jpg"
            path.write_bytes(encode(make_picture(number)))
        done = run_command("toolkit.pack", "wikiart", f"--src={folder.parent}", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        rows = read_manifest(tmp_path / "manifests" / "art" / "art-000000.parquet")
        return {row["source_id"]: row["split"] for row in rows}

    before = add(range(10, 30))
    after = add(range(10))
    assert len(after) == 30
    assert set(before.values()) == {"train", "val", "test"}
    assert {name: after[name] for name in before} == before
