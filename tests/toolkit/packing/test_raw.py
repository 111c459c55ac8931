"""The sample data as loose files: the layouts in which such data is handed around."""

import csv
import hashlib
import json
from pathlib import Path

import pytest
from PIL import Image

from tests.conftest import Call
from toolkit.core.errors import UserError
from toolkit.pack import main as pack
from toolkit.packing.raw import write_raw
from toolkit.store.layout import Layout
from toolkit.store.manifest import read_manifest


@pytest.fixture(scope="module")
def folder(sample_data: Layout, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("raw") / "new"
    assert write_raw(sample_data, out) == 1040
    return out


def hashes(files: list[Path]) -> set[str]:
    return {hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def packed(layout: Layout, dataset: str, ext: str) -> set[str]:
    return {m["sha256"] for path in layout.manifests_of(dataset) for row in read_manifest(path)
            for m in row["members"] if m["ext"] == ext}  # fmt: skip


def test_every_picture_is_written_as_it_was_packed(folder: Path, sample_data: Layout) -> None:
    for dataset, count in (("content", 100), ("wikiart", 140), ("teacher", 600)):
        files = list((folder / dataset).rglob("*.jpg"))
        assert len(files) == count
        assert hashes(files) == packed(sample_data, dataset, "jpg")


def test_paintings_lie_in_a_folder_of_their_style(folder: Path) -> None:
    styles = {path.name: len(list(path.iterdir())) for path in (folder / "wikiart").iterdir()}
    assert styles == dict.fromkeys(
        ("Cubism", "Impressionism", "Northern_Renaissance", "Pointillism", "Ukiyo_e"), 28
    )
    assert all(path.name.count("_") == 1 for path in (folder / "wikiart").rglob("*.jpg"))


def test_fill50k_has_its_own_layout(folder: Path, sample_data: Layout) -> None:
    lines = (folder / "fill50k" / "prompt.json").read_text("utf-8").splitlines()
    assert len(lines) == 200
    for number, line in enumerate(lines):
        record = json.loads(line)
        assert list(record) == ["source", "target", "prompt"]
        assert record["source"] == f"source/{number}.png"
        for half in ("source", "target"):
            with Image.open(folder / "fill50k" / record[half]) as image:
                assert image.size == (512, 512)
    for half in ("source", "target"):
        files = list((folder / "fill50k" / half).iterdir())
        assert hashes(files) == packed(sample_data, "fill50k", f"{half}.png")


def test_coco_is_read_as_what_the_photographs_were(
    folder: Path, sample_data: Layout, tmp_path: Path, call: Call
) -> None:
    layout = Layout(tmp_path / "s", tmp_path / "m")
    done = call(pack, "coco", f"--src={folder / 'coco'}", "--jobs=1", layout)
    assert done.code == 0, done.err

    def facts(where: Layout, dataset: str) -> list[tuple[str, str, list[str]]]:
        rows = (row for path in where.manifests_of(dataset) for row in read_manifest(path))
        return sorted((row["sha256"], row["split"], row["captions"]) for row in rows)

    assert facts(layout, "coco") == facts(sample_data, "content")


def test_real_fill50k_has_the_same_form(folder: Path, shared_data: Path) -> None:
    real = (shared_data / "fill50k" / "prompt.json").read_text("utf-8").splitlines()
    ours = (folder / "fill50k" / "prompt.json").read_text("utf-8").splitlines()
    assert list(json.loads(real[0])) == list(json.loads(ours[0]))
    with (shared_data / "fill50k" / "metadata.csv").open(encoding="utf-8") as file:
        row = next(csv.DictReader(file))
    assert row["source"] == json.loads(ours[0])["source"]


def test_captions_and_parameters_lie_beside(folder: Path) -> None:
    text = (folder / "content" / "chelsea-03.txt").read_text("utf-8")
    assert len(text.splitlines()) == 2
    path = next((folder / "teacher").glob("chelsea-03_cubism*.json"))
    facts = json.loads(path.read_text("utf-8"))
    assert path.stem == f"{facts['content']}_{facts['style']}_seed{facts['seed']}"
    assert facts["protocol"]


def test_writing_twice_changes_nothing(folder: Path, sample_data: Layout) -> None:
    before = hashes([p for p in folder.rglob("*") if p.is_file()])
    write_raw(sample_data, folder)
    assert hashes([p for p in folder.rglob("*") if p.is_file()]) == before


def test_a_folder_that_cannot_be_written_is_one_line(sample_data: Layout) -> None:
    with pytest.raises(UserError, match="cannot write to /proc/tessera"):
        write_raw(sample_data, Path("/proc/tessera"))
