"""Names of every kind: dots, spaces, other alphabets, 300 characters, ways out of the folder."""

import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from toolkit.pack import main as pack_command
from toolkit.store.keys import is_key
from toolkit.store.layout import Layout
from toolkit.store.manifest import read_manifest
from toolkit.verify import main as verify_command

Call = Callable[..., Any]

NAMES = (
    "a.b.c.jpg", "a b.jpg", "a%20b.jpg", "-leading.jpg", "--flag.jpg", "é.jpg", "e\u0301.jpg",
    "日本/北斎.jpg", "emoji \U0001f600.jpg", "new\nline.jpg", "quote'\".jpg", "tab\there.jpg",
    "UPPER.JPG", "upper.jpg", "x.JPEG", "semi;colon.jpg", "back\\slash.jpg",
    "n" * 251 + ".jpg", "/".join(["d" * 120] * 3) + "/deep.jpg", "trailing .jpg", "con.jpg",
)  # fmt: skip
LONG = "l" * 300 + ".jpg"
OUTSIDE = "../outside.jpg"


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path / "out" / "s", tmp_path / "out" / "m")


def rows_of(layout: Layout, dataset: str) -> dict[str, dict[str, Any]]:
    rows = [row for path in layout.manifests_of(dataset) for row in read_manifest(path)]
    return {row["source_id"]: row for row in rows}


def test_every_name_on_a_disk_becomes_a_sample(
    tmp_path: Path, layout: Layout, call: Call, make_picture: Any, encode: Any
) -> None:
    pictures = tmp_path / "odd"
    bodies = {}
    for number, name in enumerate(NAMES):
        path = pictures / name
        path.parent.mkdir(parents=True, exist_ok=True)
        bodies[name] = encode(make_picture(number))
        path.write_bytes(bodies[name])
    outcome = call(pack_command, "folder", f"--src={pictures}", layout)
    assert outcome.code == 0, outcome.err
    rows = rows_of(layout, "odd")
    assert set(rows) == set(NAMES)
    assert all(row["status"] == "ok" and is_key(row["key"]) for row in rows.values())
    assert len({row["key"] for row in rows.values()}) == len(NAMES)
    assert call(verify_command, layout).code == 0
    # plain readers see whole samples, each with the bytes of its own file
    for shard in layout.shards.rglob("*.tar"):
        with tarfile.open(shard, "r:") as tar:
            found = {m.name: tar.extractfile(m).read() for m in tar}  # type: ignore[union-attr]
    assert len(found) == 3 * len(NAMES)
    for name, row in rows.items():
        assert found[f"{row['key']}.jpg"] == bodies[name]


def as_fill50k(folder: Path, names: list[str]) -> list[str]:
    lines = [json.dumps({"source": name, "target": name, "prompt": "p"}) for name in names]
    (folder / "prompt.json").write_text("\n".join(lines))
    return ["fill50k"]


def as_tagged(folder: Path, names: list[str]) -> list[str]:
    entries = {name: {"tags": "a, b, good, general"} for name in names}
    (folder / "meta.json").write_text(json.dumps(entries))
    return ["tagged"]


def as_prepared_wikiart(folder: Path, names: list[str]) -> list[str]:
    lines = [f"{number},{name},artist,style,genre" for number, name in enumerate(names)]
    (folder / "meta.csv").write_text("\n".join(["id,path,artist,style,genre", *lines]) + "\n")
    return ["wikiart"]


@pytest.mark.parametrize("write", [as_fill50k, as_tagged, as_prepared_wikiart])
def test_a_listed_name_that_cannot_be_read_costs_its_own_row(
    write: Callable[[Path, list[str]], list[str]], tmp_path: Path, layout: Layout, call: Call,
    make_picture: Any, encode: Any,
) -> None:  # fmt: skip
    folder = tmp_path / "listed"
    folder.mkdir()
    (folder / "good.jpg").write_bytes(encode(make_picture(1)))
    (tmp_path / "outside.jpg").write_bytes(encode(make_picture(2)))
    (folder / "zero.jpg").write_bytes(b"")
    kind = write(folder, ["good.jpg", LONG, "zero.jpg", "absent.jpg", OUTSIDE])
    outcome = call(pack_command, *kind, f"--src={folder}", layout)
    assert outcome.code == 0, outcome.err
    rows = list(rows_of(layout, "listed").values())
    causes = sorted(row["cause"] or "ok" for row in rows)
    # the other two may name pictures anywhere: their paths are often absolute
    outside = "bad_metadata" if write is as_fill50k else "ok"
    assert causes == sorted(["ok", outside, "empty", "unreadable", "unreadable"])
    assert call(verify_command, layout).code == 0


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
@pytest.mark.parametrize("repack", [False, True])
def test_names_in_a_tar_are_only_names(
    form: int, repack: bool, tmp_path: Path, layout: Layout, call: Call, make_picture: Any,
    encode: Any, run_command: Any,
) -> None:  # fmt: skip
    names = [
        "../evil.jpg", "/etc/evil.jpg", "a/../../evil.jpg", LONG, "d/" * 150 + "x.jpg", "plain.jpg",
        "sp ace.jpg", "日本.jpg", "a.seg.jpg",
    ]  # fmt: skip
    src = tmp_path / "foreign.tar"
    with tarfile.open(src, "w", format=form) as tar:
        for number, name in enumerate(names):
            data = encode(make_picture(number))
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    before = list(tmp_path.rglob("*"))
    flags = ["--repack"] if repack else []
    done = run_command("toolkit.pack", "webdataset", f"--src={src}", "--name=f", *flags,
                       f"--shards={layout.shards}", f"--manifests={layout.manifests}")  # fmt: skip
    assert done.returncode == 0, done.stderr
    rows = rows_of(layout, "f")
    assert len(rows) == len(names)
    assert all(row["status"] == "ok" for row in rows.values())
    assert all(is_key(row["key"]) for row in rows.values())
    assert call(verify_command, layout).code == 0
    written = set(tmp_path.rglob("*")) - set(before)
    assert all(p.is_relative_to(tmp_path / "out") for p in written)
    for row in rows.values():
        with open(layout.tar_named("f", row["shard"]), "rb") as file:
            file.seek(row["members"][0]["offset"])
            assert file.read(2) == b"\xff\xd8"


def test_a_circle_of_links_is_counted_and_ends(
    tiny_pictures: Path, layout: Layout, call: Call
) -> None:
    (tiny_pictures / "cubism" / "again").symlink_to(tiny_pictures, target_is_directory=True)
    (tiny_pictures / "self.jpg").symlink_to("self.jpg")
    outcome = call(pack_command, "folder", f"--src={tiny_pictures}", layout)
    assert outcome.code == 0, outcome.err
    assert "symlink loops: 1" in outcome.out
    rows = rows_of(layout, "pictures")
    assert rows["self.jpg"]["cause"] == "unreadable"
    assert sum(row["status"] == "ok" for row in rows.values()) == 12


@pytest.mark.parametrize("kind", ["folder", "coco", "fill50k", "teacher", "webdataset", "wikiart"])
def test_a_source_of_300_characters_is_one_line(kind: str, layout: Layout, call: Call) -> None:
    assert "file name too long" in call(pack_command, kind, f"--src={LONG}", layout).refusal()
