"""WikiArt laid out as loose files: table, splits, links and copies, from both layouts."""

import csv
import io
import subprocess
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from toolkit.core.errors import UserError
from toolkit.packing.dataset import pack
from toolkit.sources.wikiart import open_source
from toolkit.store.layout import Layout
from toolkit.store.manifest import read_manifest
from toolkit.wikiart.prepare import prepare

NAMES = [f"{style}/jan-{who}_w-{i}.jpg" for who in "ab" for i in range(12)
         for style in ("Cubism", "Pop_Art")]  # fmt: skip


@pytest.fixture
def picture(encode: Callable[..., bytes], make_picture: Callable[..., np.ndarray]) -> bytes:
    return encode(make_picture(5))


@pytest.fixture
def tree(tmp_path: Path, picture: bytes) -> Path:
    for name in NAMES:
        (tmp_path / "tree" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "tree" / name).write_bytes(picture)
    return tmp_path / "tree"


def table(folder: Path) -> list[dict[str, str]]:
    with open(folder / "meta.csv", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def splits(folder: Path) -> dict[str, list[str]]:
    return {path.stem: path.read_text().splitlines() for path in (folder / "splits").iterdir()}


def test_links_to_pictures(tree: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert prepare(open_source(tree), out, "symlink") == len(NAMES)
    assert {path.name for path in out.iterdir()} == {"raw", "images", "meta.csv", "splits"}
    rows = table(out)
    assert list(rows[0]) == ["id", "path", "artist", "style", "genre", "title"]
    assert len({row["id"] for row in rows}) == len(NAMES)
    for row in rows:
        target = (out / row["path"]).resolve()
        style, name = target.relative_to(tree.resolve()).parts
        assert (row["style"], row["artist"]) == (style, name.partition("_")[0].replace("-", " "))
        assert row["genre"] == ""
        assert (out / row["path"]).is_symlink()
    assert (out / "raw" / "tree").resolve() == tree.resolve()


def test_ids_and_splits_are_those_of_the_packed_dataset(tree: Path, tmp_path: Path) -> None:
    out, layout = tmp_path / "out", Layout(tmp_path / "s", tmp_path / "m")
    prepare(open_source(tree), out, "copy")
    pack(open_source(tree), "x", layout, 100)
    packed = [row for path in layout.manifests_of("x") for row in read_manifest(path)]
    by_split = {name: sorted(ids) for name, ids in splits(out).items()}
    assert set(by_split) == {"train", "val", "test"}
    assert all(by_split.values())
    for name, ids in by_split.items():
        assert ids == sorted(row["key"] for row in packed if row["split"] == name)


def test_copies_stay_when_the_original_goes(tree: Path, tmp_path: Path, picture: bytes) -> None:
    out = tmp_path / "out"
    prepare(open_source(tree), out, "symlink")
    prepare(open_source(tree), out, "copy")  # takes the place of the links
    for path in tree.rglob("*.jpg"):
        path.write_bytes(b"")
    assert {(out / row["path"]).read_bytes() for row in table(out)} == {picture}
    assert not list(out.rglob(".*"))


def test_pictures_in_parquet_are_written_out(tmp_path: Path, picture: bytes) -> None:
    rows = [
        {"bytes": picture, "path": ""},
        {"bytes": None, "path": ""},
        {"bytes": b"x", "path": ""},
    ]
    src = tmp_path / "out" / "raw" / "hub"
    src.mkdir(parents=True)
    texts = ['a "quoted", one', "b", "c\nd"]
    pq.write_table(pa.table({"image": rows, "artist": texts}), src / "a.parquet")
    notes: Counter[str] = Counter()
    assert prepare(open_source(src), tmp_path / "out", "symlink", notes) == 2
    assert notes == {"paintings that cannot be read": 1}
    found = table(tmp_path / "out")
    assert [(row["id"], row["artist"]) for row in found] == [
        ("a-000000", texts[0]), ("a-000002", texts[2]),
    ]  # fmt: skip
    assert (tmp_path / "out" / found[0]["path"]).read_bytes() == picture
    assert [path.name for path in (tmp_path / "out" / "raw").iterdir()] == ["hub"]


def test_a_failure_leaves_the_table_as_it_was(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    prepare(open_source(tree), out, "copy")
    before = (out / "meta.csv").read_bytes()

    def full(*args: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("toolkit.wikiart.prepare.shutil.copyfile", full)
    with pytest.raises((UserError, OSError), match="No space left"):
        prepare(open_source(tree), out, "copy")
    assert (out / "meta.csv").read_bytes() == before


def test_the_command(
    tree: Path, tmp_path: Path, run_command: Callable[..., "subprocess.CompletedProcess[str]"]
) -> None:
    done = run_command(
        "toolkit.wikiart_layout", f"--src={tree}", "--output-dir=out", "--mode=copy", cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{len(NAMES)} paintings in out\n"
    row = table(tmp_path / "out")[0]
    with Image.open(io.BytesIO((tmp_path / "out" / row["path"]).read_bytes())) as image:
        assert image.size == (48, 48)
    wrong = run_command("toolkit.wikiart_layout", "--output-dir=out", cwd=tmp_path)
    assert wrong.returncode == 2
    assert wrong.stderr.startswith("error: give the paintings with --src=DIR")
    helped = run_command("toolkit.wikiart_layout", "--help", cwd=tmp_path)
    assert "--keep_splits" in helped.stdout
