"""Manifests rebuilt from tars: the same rows again, and nothing believed that is not sound."""

import json
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from toolkit.core.command import run
from toolkit.core.errors import UserError
from toolkit.core.records import Link, Record
from toolkit.packing.dataset import pack
from toolkit.packing.foreign import index_in_place
from toolkit.packing.repair import Repair, packed_names, repair
from toolkit.sources.folder import open_source as open_folder
from toolkit.sources.webdataset import open_source
from toolkit.store.check import check_card, check_shard
from toolkit.store.layout import Layout
from toolkit.store.manifest import read_manifest
from toolkit.store.samples import SampleReader
from toolkit.store.selection import select
from toolkit.verify import main

Digests = Callable[[Layout], dict[str, str]]
LOST = ("source_id", "extra")


def rows_of(layout: Layout, dataset: str) -> list[dict[str, Any]]:
    """What a tar can tell of a dataset: the rows of its samples without what only they knew."""
    return [
        {name: value for name, value in row.items() if name not in LOST}
        for path in layout.manifests_of(dataset)
        for row in read_manifest(path)
        if row["status"] == "ok"
    ]


def problems(layout: Layout, dataset: str) -> list[str]:
    found = [p for m in layout.manifests_of(dataset) for p in check_shard(layout, dataset, m)[1]]
    return [p.what for p in (*found, *check_card(layout, dataset))]


def test_every_dataset_comes_back_as_it_was(triplets: Layout) -> None:
    names = packed_names(triplets)
    assert names == ["circles", "paintings", "photos", "targets"]
    before = {name: rows_of(triplets, name) for name in names}
    chosen = select("a", "targets", "style = 'Cubism'", triplets).table
    shutil.rmtree(triplets.manifests)
    for name in names:
        done = repair(triplets, name)
        assert len(done.rebuilt) == len(list((triplets.shards / name).iterdir()))
        assert done.hopeless == ()
        assert rows_of(triplets, name) == before[name]
        assert problems(triplets, name) == []
        card = json.loads(triplets.card(name).read_text())
        assert card["made_by"] == {"kind": "repaired"}
    assert json.loads(triplets.card("targets").read_text())["parents"] == ["paintings", "photos"]
    assert select("a", "targets", "style = 'Cubism'", triplets).table.equals(chosen)


def test_the_sample_data_come_back_as_they_were(sample_data: Layout, tmp_path: Path) -> None:
    layout = Layout(sample_data.shards, tmp_path / "m")
    for name in packed_names(layout):
        assert not repair(layout, name).hopeless
        assert rows_of(layout, name) == rows_of(sample_data, name)


def test_odd_facts_come_back(
    tiny_layout: Layout, toy_source: type, encode: Any, make_picture: Any
) -> None:
    data = encode(make_picture(1))
    records = {
        "a": Record({"jpg": data}, captions=("", "zweite"), categories=("ä", "b")),
        "b": Record({"target.png": encode(make_picture(2), "PNG"), "x.npy": b"1"}, licence="CC0",
                    split="val", split_artist_disjoint="test", protocol="p", title="t", genre="g",
                    links=(Link("style", "tiny", "k"),)),
        "c": Record({"jpg": encode(np.full((20, 30, 3), 9, np.uint8))}, captions=("x\ny",)),
        "Bad name": Record({"jpg": encode(make_picture(3))}),
    }  # fmt: skip
    pack(toy_source("odd", records), "odd", tiny_layout, 3)
    before = rows_of(tiny_layout, "odd")
    shutil.rmtree(tiny_layout.manifests / "odd")
    assert repair(tiny_layout, "odd").rebuilt == ("odd-000000", "odd-000001")
    assert rows_of(tiny_layout, "odd") == before
    assert before[2]["phash"] is None


def test_sound_manifests_stay_byte_for_byte(tiny_layout: Layout, digests: Digests) -> None:
    before = digests(tiny_layout)
    assert repair(tiny_layout, "tiny") == Repair((), ())
    assert digests(tiny_layout) == before
    tiny_layout.manifest("tiny", 1).write_bytes(b"junk")
    assert repair(tiny_layout, "tiny") == Repair(("tiny-000001",), ())
    after = digests(tiny_layout)
    changed = {name for name in before if before[name] != after.get(name)}
    assert changed == {"manifests/tiny/tiny-000001.parquet", "manifests/tiny/dataset.json"}
    assert problems(tiny_layout, "tiny") == []
    assert read_manifest(tiny_layout.manifest("tiny", 0))[0]["source_id"].endswith(".jpg")


def test_failed_inputs_are_lost(
    tiny_layout: Layout, toy_source: type, encode: Any, make_picture: Any
) -> None:
    records = {"a": Record({"jpg": b"bad"}), "b": Record({"jpg": encode(make_picture(1))})}
    pack(toy_source("mixed", records), "mixed", tiny_layout, 5)
    tiny_layout.manifest("mixed", 0).unlink()
    repair(tiny_layout, "mixed")
    (row,) = read_manifest(tiny_layout.manifest("mixed", 0))
    assert (row["key"], row["source_id"], row["extra"]) == ("b", "b", None)


def test_a_sound_manifest_is_not_given_up_for_a_changed_tar(
    tiny_layout: Layout, digests: Digests
) -> None:
    """A flipped byte that still decodes: only the manifest knows that it was another."""
    flip_pixel(tiny_layout)
    before = digests(tiny_layout)
    done = repair(tiny_layout, "tiny")
    assert done.rebuilt == ()
    ((stem, why),) = done.hopeless
    assert stem == "tiny-000001"
    assert "run the command that packed it again, or delete the manifest" in why
    assert digests(tiny_layout) == before


def test_a_repaired_dataset_may_be_packed_again(tiny_layout: Layout, tiny_pictures: Path) -> None:
    tiny_layout.manifest("tiny", 1).unlink()
    assert repair(tiny_layout, "tiny").rebuilt == ("tiny-000001",)
    made_by = json.loads(tiny_layout.card("tiny").read_text())["made_by"]
    assert (made_by["kind"], made_by["src"], made_by["repaired"]) == ("folder", "pictures", True)
    pack(open_folder(tiny_pictures), "tiny", tiny_layout, 4)
    assert "repaired" not in json.loads(tiny_layout.card("tiny").read_text())["made_by"]


def test_a_tar_that_was_replaced_by_a_sound_one_is_believed_without_its_manifest(
    tiny_layout: Layout,
) -> None:
    shutil.copy(tiny_layout.tar("tiny", 0), tiny_layout.tar("tiny", 2))
    assert repair(tiny_layout, "tiny").rebuilt == ()
    tiny_layout.manifest("tiny", 2).unlink()
    assert repair(tiny_layout, "tiny").rebuilt == ("tiny-000002",)
    first, last = (read_manifest(tiny_layout.manifest("tiny", i)) for i in (0, 2))
    assert [r["key"] for r in first] == [r["key"] for r in last]


def flip_caption(layout: Layout) -> None:
    row = read_manifest(layout.manifest("tiny", 1))[0]
    place = next(m for m in row["members"] if m["ext"] == "txt")["offset"]
    change_bytes(layout, place, b"X")


def flip_picture(layout: Layout) -> None:
    row = read_manifest(layout.manifest("tiny", 1))[0]
    change_bytes(layout, row["members"][0]["offset"], b"XXXX")


def flip_pixel(layout: Layout) -> None:
    row = read_manifest(layout.manifest("tiny", 1))[0]
    picture = row["members"][0]
    change_bytes(layout, picture["offset"] + picture["size"] * 3 // 4, b"\x55")


def change_bytes(layout: Layout, place: int, by: bytes) -> None:
    path = layout.tar("tiny", 1)
    data = bytearray(path.read_bytes())
    data[place : place + len(by)] = by
    path.write_bytes(data)


def cut(layout: Layout) -> None:
    path = layout.tar("tiny", 1)
    path.write_bytes(path.read_bytes()[:-11_000])


def cut_end_mark(layout: Layout) -> None:
    path = layout.tar("tiny", 1)
    path.write_bytes(path.read_bytes().rstrip(b"\0").ljust(512, b"\0"))
    size = path.stat().st_size
    with open(path, "ab") as file:
        file.truncate(-(-size // 512) * 512)


def other_dataset(layout: Layout) -> None:
    pack_path = layout.shards / "other"
    pack_path.mkdir()
    shutil.copy(layout.tar("tiny", 0), layout.tar("other", 0))


def add_file(layout: Layout) -> None:
    with tarfile.open(layout.tar("tiny", 1), "a") as tar:
        tar.addfile(tarfile.TarInfo("README"))


@pytest.mark.parametrize(
    ("damage", "text"),
    [
        (flip_caption, "its .txt is not the caption in its .json"),
        (flip_picture, "no picture format begins with"),
        (cut, "it was cut short"),
        (cut_end_mark, "without an end mark"),
        (add_file, "members without a sample's name"),
    ],
)
def test_a_damaged_tar_is_not_believed(
    damage: Callable[[Layout], None], text: str, tiny_layout: Layout, digests: Digests
) -> None:
    damage(tiny_layout)
    tiny_layout.manifest("tiny", 1).unlink()  # as long as it is there, the tar is not asked
    before = digests(tiny_layout)
    ((stem, why),) = repair(tiny_layout, "tiny").hopeless
    assert stem == "tiny-000001"
    assert text in why
    assert digests(tiny_layout) == before


def test_tars_that_tessera_did_not_write_are_not_believed(
    tiny_layout: Layout, shared_data: Path
) -> None:
    other_dataset(tiny_layout)
    (tiny_layout.shards / "strange").mkdir()
    foreign = shared_data / "foreign_tars" / "clip-retrieval__image1.tar"
    shutil.copy(foreign, tiny_layout.tar("strange", 0))
    index_in_place(open_source(foreign), "linked", tiny_layout)
    assert repair(tiny_layout, "linked") == Repair((), ())
    tiny_layout.manifest("linked", 0).unlink()
    for name, text in (("other", "does not say that it is other/"), ("strange", "its .json"),
                       ("linked", "toolkit.pack webdataset again")):  # fmt: skip
        ((_, why),) = repair(tiny_layout, name).hopeless
        assert text in why
        assert not tiny_layout.manifests_of(name)


@pytest.mark.parametrize(
    "facts",
    [b"{", b"[]", b'{"key": "a"}', b'{"links": [3]}', b'{"captions": 3}', b'{"style": {"a": 1}}',
     b'{"links": [{"role": "r"}]}', b'{"categories": [1]}', b'{"title": "\\ud800"}'],
)  # fmt: skip
def test_json_of_another_shape_is_not_believed(
    facts: bytes, tiny_layout: Layout, encode: Any, make_picture: Any
) -> None:
    from toolkit.store.tar import ShardWriter

    if facts.startswith(b'{"') and b"key" not in facts:
        facts = facts.replace(b"{", b'{"key": "a", "dataset": "odd", ', 1)
    (tiny_layout.shards / "odd").mkdir()
    with ShardWriter(tiny_layout.tar("odd", 0)) as shard:
        shard.write("a", {"jpg": encode(make_picture(1)), "txt": b"", "json": facts})
    ((_, why),) = repair(tiny_layout, "odd").hopeless
    assert ".json" in why
    assert "\n" not in why


def test_unknown_and_empty_places_are_one_line(tiny_layout: Layout, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no tars of tinny"):
        repair(tiny_layout, "tinny")
    with pytest.raises(UserError, match="cannot name a dataset"):
        repair(tiny_layout, "../tiny")
    with pytest.raises(UserError, match="no tars in"):
        packed_names(Layout(tmp_path / "none", tmp_path / "none"))


def test_the_real_command(
    tiny_layout: Layout, tmp_path: Path, run_command: Any, digests: Digests
) -> None:
    picture = SampleReader(tiny_layout, "tiny").picture
    key = read_manifest(tiny_layout.manifest("tiny", 0))[0]["key"]
    before = picture(key)
    shutil.rmtree(tiny_layout.manifests)
    done = run_command("toolkit.verify", "--repair_manifest", "tiny", cwd=tmp_path)
    assert (done.returncode, "Traceback" in done.stderr) == (0, False)
    assert done.stdout.splitlines() == [
        *(f"tiny/tiny-00000{i}: manifest rebuilt" for i in range(3)),
        "tiny: failed inputs, extra and source ids of these shards are lost",
        "12 samples in 3 shards checked, 0 problems",
    ]
    assert picture(key) == before
    shown = run_command("toolkit.query", "style='cubism'", "--count", cwd=tmp_path)
    assert shown.stdout == "4\n"
    kept = digests(tiny_layout)
    again = run_command("toolkit.verify", "--repair_manifest", cwd=tmp_path)
    assert again.stdout == "12 samples in 3 shards checked, 0 problems\n"
    assert digests(tiny_layout) == kept


def test_what_is_hopeless_is_named(tiny_layout: Layout, capsys: pytest.CaptureFixture[str]) -> None:
    cut(tiny_layout)
    tiny_layout.manifest("tiny", 2).unlink()
    flags = [f"--shards={tiny_layout.shards}", f"--manifests={tiny_layout.manifests}"]
    with pytest.raises(SystemExit) as caught:
        run(main, "python -m toolkit.verify", ["--repair_manifest", *flags])
    assert caught.value.code == 2
    out = capsys.readouterr().out.splitlines()
    assert out[0].startswith("tiny/tiny-000001: not rebuilt: ")
    assert out[1] == "tiny/tiny-000002: manifest rebuilt"
    assert "tiny: dataset.json is missing: the pack did not finish" in out


@pytest.mark.slow
def test_two_hundred_damaged_tars_and_manifests(tiny_layout: Layout) -> None:
    rng = np.random.Generator(np.random.Philox(3))
    tar, manifest = tiny_layout.tar("tiny", 0), tiny_layout.manifest("tiny", 0)
    whole, listed = tar.read_bytes(), manifest.read_bytes()
    rebuilt = 0
    for turn in range(200):
        path, data = ((tar, bytearray(whole)), (manifest, bytearray(listed)))[turn % 2]
        tar.write_bytes(whole)
        manifest.write_bytes(listed)
        if turn % 5 == 0:
            del data[int(rng.integers(0, len(data))) :]
        else:
            for spot in rng.integers(0, len(data), size=1 + turn % 4):
                data[spot] ^= int(rng.integers(1, 256))
        path.write_bytes(data)
        done = repair(tiny_layout, "tiny")
        rebuilt += len(done.rebuilt)
        if not done.hopeless:
            assert check_shard(tiny_layout, "tiny", manifest)[1] == []
        if path == manifest:
            assert done.hopeless == ()
    assert rebuilt > 50
