"""Two versions of a dataset compared by the real command."""

import csv
import json
import shutil
from pathlib import Path

import pytest

from tests.conftest import Call, encoded, picture
from toolkit.inspect import diff
from toolkit.pack import main as pack
from toolkit.store.layout import Layout


@pytest.fixture
def versions(tmp_path: Path, call: Call) -> tuple[Layout, Path]:
    """A dataset, and where the manifests of its first version lie. In the second a picture is
    another, one is gone, one is new, one has another caption, and shards are cut otherwise."""
    layout, raw = Layout(tmp_path / "shards", tmp_path / "manifests"), tmp_path / "raw"
    raw.mkdir()
    for number in range(8):
        (raw / f"p{number}.png").write_bytes(encoded(picture(number), "PNG"))
        (raw / f"p{number}.txt").write_text(f"picture {number}\n")
    words = ("folder", f"--src={raw}", "--jobs=1", layout)
    assert call(pack, *words, "--samples_per_shard=3").code == 0
    shutil.copytree(layout.manifests, tmp_path / "old")
    (raw / "p2.png").write_bytes(encoded(picture(20), "PNG"))
    (raw / "p4.png").unlink()
    (raw / "p9.png").write_bytes(encoded(picture(9), "PNG"))
    (raw / "p6.txt").write_text("it is blue\n")
    assert call(pack, *words, "--samples_per_shard=5", "--overwrite").code == 0
    return layout, tmp_path / "old"


def test_what_was_added_removed_and_changed(versions: tuple[Layout, Path], call: Call) -> None:
    layout, old = versions
    told = call(diff, "raw", f"--first_manifests={old}", layout)
    assert told.code == 0
    assert told.out.startswith("5 samples are the same, 2 changed, 1 added, 1 removed\n")
    lines = {tuple(line.split()) for line in told.out.splitlines()}
    assert {("caption", "1"), ("captions", "1"), ("phash", "1"), ("sha256", "1")} <= lines
    found = json.loads(call(diff, "raw", f"--first_manifests={old}", layout, "--format=json").out)
    assert found == [
        {"key": "p2", "what": "changed", "columns": "phash, sha256"},
        {"key": "p4", "what": "removed", "columns": ""},
        {"key": "p6", "what": "changed", "columns": "caption, captions"},
        {"key": "p9", "what": "added", "columns": ""},
    ]
    told = call(diff, "raw", f"--first_manifests={old}", layout, "--format=csv").out
    assert [row["key"] for row in csv.DictReader(told.splitlines())] == ["p2", "p4", "p6", "p9"]


def test_what_is_the_same(versions: tuple[Layout, Path], call: Call) -> None:
    layout, _ = versions
    told = call(diff, "raw", "raw", layout)
    assert told.out == "8 samples are the same, 0 changed, 0 added, 0 removed\n"


def test_what_cannot_be_compared_is_refused(versions: tuple[Layout, Path], call: Call) -> None:
    layout, old = versions
    assert "compare raw with what? write a second" in call(diff, "raw", layout).refusal()
    assert "there is no dataset 'row'" in call(diff, "row", "raw", layout).refusal()
    gone = call(diff, "raw", f"--first_manifests={old / 'gone'}", layout).refusal()
    assert "gone" in gone
