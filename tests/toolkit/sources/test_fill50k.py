"""Fill50K: one pair per line of prompt.json; what does not fit is a row or a note."""

import csv
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from toolkit.core.errors import UserError
from toolkit.packing.dataset import pack
from toolkit.sources.fill50k import open_source
from toolkit.store.layout import Layout
from toolkit.store.manifest import read_manifest
from toolkit.store.samples import SampleReader


@pytest.fixture
def pairs(tmp_path: Path, encode: Any, make_picture: Any) -> Path:
    """Three pairs, 0, 1 and 12."""
    folder = tmp_path / "fill50k"
    lines = []
    for number in (12, 0, 1):
        for half in ("source", "target"):
            (folder / half).mkdir(parents=True, exist_ok=True)
            data = encode(make_picture(number + (half == "source")), "PNG")
            (folder / half / f"{number}.png").write_bytes(data)
        lines.append({"source": f"source/{number}.png", "target": f"target/{number}.png",
                      "prompt": f"circle {number}"})  # fmt: skip
    (folder / "prompt.json").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder


def rows_of(pairs: Path, root: Path) -> tuple[list[dict[str, Any]], dict[str, int], Layout]:
    layout = Layout(root / "s", root / "m")
    result = pack(open_source(pairs), "fill50k", layout, 1000)
    return read_manifest(layout.manifest("fill50k", 0)), result.notes, layout


def test_pairs_keep_the_order_of_the_file(pairs: Path, tmp_path: Path) -> None:
    rows, notes, layout = rows_of(pairs, tmp_path)
    assert [(r["key"], r["source_id"], r["caption"]) for r in rows] == [
        ("000012", "target/12.png", "circle 12"),
        ("000000", "target/0.png", "circle 0"),
        ("000001", "target/1.png", "circle 1"),
    ]
    assert notes == {}
    reader = SampleReader(layout, "fill50k")
    for half in ("source", "target"):
        original = (pairs / half / "12.png").read_bytes()
        assert reader.member("000012", f"{half}.png") == original


def test_every_damaged_line_is_a_row_with_its_cause(pairs: Path, tmp_path: Path) -> None:
    (pairs / "source" / "1.png").unlink()
    (pairs / "target" / "99.png").write_bytes(b"nobody names it")
    (tmp_path / "secret.png").write_bytes((pairs / "target" / "0.png").read_bytes())
    with (pairs / "prompt.json").open("a") as file:
        file.write("not json\n\n")
        file.write('{"source": "source/0.png", "prompt": "no target"}\n')
        file.write('{"source": "../secret.png", "target": "target/0.png", "prompt": "out"}\n')
        file.write('["a", "list"]\n')
        file.write('{"source": "source/0.png", "target": "target/0.png", "prompt": "again"}\n')
    rows, notes, _ = rows_of(pairs, tmp_path)
    causes = {r["source_id"]: r["cause"] for r in rows if r["status"] != "ok"}
    assert causes == {
        "target/1.png": "unreadable",
        "prompt.json line 4": "bad_metadata",
        "prompt.json line 6": "bad_metadata",
        "prompt.json line 7": "bad_metadata",
        "prompt.json line 8": "bad_metadata",
        "target/0.png": "duplicate_key",
    }
    assert sum(r["status"] == "ok" for r in rows) == 2
    assert "leads out of the folder" in next(r["error"] for r in rows if "7" in r["source_id"])
    assert notes == {"pictures that prompt.json does not name": 1}


def test_windows_slashes_are_slashes(pairs: Path) -> None:
    path = pairs / "prompt.json"
    path.write_text(path.read_text().replace("source/", "source\\\\"))
    source = open_source(pairs)
    assert next(source.read(ref).extra["source"] for ref in source.index()) == "source/12.png"


def test_what_is_no_fill50k_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"there is no .*prompt\.json: --src is the folder"):
        open_source(tmp_path)
    (tmp_path / "prompt.json").write_text("\n \n")
    with pytest.raises(UserError, match="is empty"):
        open_source(tmp_path)


def test_real_pairs(shared_data: Path, tmp_path: Path) -> None:
    rows, notes, _ = rows_of(shared_data / "fill50k", tmp_path)
    with (shared_data / "fill50k" / "metadata.csv").open(encoding="utf-8") as file:
        prompts = {f"{int(r['id']):06d}": r["prompt"] for r in csv.DictReader(file)}
    assert Counter(row["status"] for row in rows) == {"ok": 200}
    assert {row["key"]: row["caption"] for row in rows} == prompts
    assert notes == {}
    assert all(row["width"] == row["height"] == 512 for row in rows)
