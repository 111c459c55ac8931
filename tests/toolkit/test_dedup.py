"""Copies found by the real command: of pictures made here, of real ones with known groups, and of
the works on WikiArt's lists."""

import csv
import json
import shutil
from collections import defaultdict
from itertools import combinations
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.conftest import Call, RunCommand, digests_of, encoded, picture, words_of
from toolkit.core.records import Link, Record
from toolkit.dedup import main
from toolkit.packing.dataset import pack
from toolkit.query import main as query
from toolkit.store.catalog import Catalog
from toolkit.store.images import decode_rgb
from toolkit.store.layout import Layout
from toolkit.store.manifest import read_manifest, write_manifest
from toolkit.store.selection import select


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path / "shards", tmp_path / "manifests")


def smooth(seed: int) -> np.ndarray:
    return picture(seed, 160, 120)


def smaller(pixels: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(pixels).resize((96, 72), Image.Resampling.BICUBIC))


@pytest.fixture(scope="module")
def origin(tmp_path_factory: pytest.TempPathFactory, run_command: RunCommand) -> Layout:
    """Two datasets: in `one` a picture of train has a small copy in test, and another two copies in
    train; `two` has a compressed copy of that, a mirrored one, flat pictures and lonely ones."""
    home = tmp_path_factory.mktemp("copies")
    layout = Layout(home / "shards", home / "manifests")
    pictures: dict[str, dict[str, tuple[str, np.ndarray]]] = {
        "one": {
            "sun": ("train", smooth(1)), "sun-small": ("test", smaller(smooth(1))),
            "moon": ("train", smooth(2)), "moon-small": ("train", smaller(smooth(2))),
            "alone": ("train", smooth(3)),
        },
        "two": {
            "moon-bad": ("train", squeezed(smooth(2), 30)),
            "mirrored": ("train", smooth(3)[:, ::-1]),
            "sun": ("val", squeezed(smooth(1), 85)), "other": ("val", smooth(5)),
            **{f"flat{n}": ("train", np.full((70, 70, 3), 90 + n, np.uint8)) for n in range(3)},
            **{f"haze{n}": ("train", haze(n)) for n in range(3)},
        },
    }  # fmt: skip
    for name, members in pictures.items():
        folder = home / "raw" / name
        folder.mkdir(parents=True)
        for stem, (_, pixels) in members.items():
            (folder / f"{stem}.png").write_bytes(encoded(np.ascontiguousarray(pixels), "PNG"))
        with open(folder / "metadata.csv", "w", newline="") as out:
            rows = [(f"{stem}.png", split) for stem, (split, _) in members.items()]
            csv.writer(out).writerows([("file_name", "split"), *rows])
        done = run_command("toolkit.pack", "folder", f"--src={folder}", f"--name={name}",
                           "--samples_per_shard=4", "--jobs=1", *words_of(layout))  # fmt: skip
        assert done.returncode == 0, done.stderr
    return layout


@pytest.fixture
def copies(origin: Layout, layout: Layout) -> Layout:
    """The same, in a layout that may grow."""
    shutil.copytree(origin.shards, layout.shards)
    shutil.copytree(origin.manifests, layout.manifests)
    return layout


def squeezed(pixels: np.ndarray, quality: int) -> np.ndarray:
    return decode_rgb(encoded(pixels, quality=quality))


def haze(number: int) -> np.ndarray:
    """Nearly one colour: a slope of a few levels, the same in all."""
    slope = np.linspace(100, 104, 80).round().astype(np.uint8)
    found = np.repeat(np.repeat(slope[None, :, None], 80, 0), 3, 2).copy()
    found[0, 0] = number
    return found


def rows_of(done: Any) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(done.stdout)
    return rows


def test_groups_over_datasets_and_splits(copies: Layout, run_command: RunCommand) -> None:
    tars = {path: data for path, data in digests_of(copies).items() if path.endswith(".tar")}
    done = run_command("toolkit.dedup", "--format=json", *words_of(copies))
    assert done.returncode == 0, done.stderr
    groups = defaultdict(dict)
    for row in rows_of(done):
        groups[row["dup_group"]][f"{row['dataset']}/{row['key']}"] = (row["split"], row["keep"])
    assert groups == {
        "one/sun-small": {"one/sun-small": ("test", True), "one/sun": ("train", False),
                          "two/sun": ("val", False)},
        "one/moon": {"one/moon": ("train", True), "one/moon-small": ("train", False),
                     "two/moon-bad": ("train", False)},
    }  # fmt: skip
    assert [row["distance"] <= 4 for row in rows_of(done)] == [True] * 6
    # every query knows it, and nothing was rewritten
    catalog = Catalog(copies)
    condition = catalog.condition("not keep")
    gone = catalog.rows(f"SELECT dataset || '/' || key FROM samples WHERE {condition} ORDER BY 1")
    assert [name for (name,) in gone] == [
        "one/moon-small", "one/sun", "two/moon-bad", "two/sun",
    ]  # fmt: skip
    assert len(select("main", "one", "keep", copies)) == 3
    assert tars == {p: data for p, data in digests_of(copies).items() if p.endswith(".tar")}


def test_the_table_tells_leaks_and_flat_pictures(copies: Layout, call: Call) -> None:
    told = call(main, copies, "--dry_run").out
    lines = {tuple(line.split()) for line in told.splitlines()}
    assert ("one", "train", "4", "3", "2", "0") in lines
    assert ("one", "test", "1", "1", "0", "0") in lines
    assert ("two", "train", "8", "1", "1", "3") in lines
    assert ("two", "val", "2", "1", "1", "0") in lines
    assert "2 groups of 6 pictures" in told
    assert "3 pictures without a hash (of one grey" in told
    assert ("one/test", "one/train", "1", "one/sun-small") in lines
    assert ("one/train", "two/val", "1", "one/sun-small") in lines
    assert not copies.sidecars("one")  # --dry_run
    everything = call(main, copies, "--dry_run", "--flat=0").out
    assert "3 groups of 9 pictures" in everything  # the hazes too


def test_mirrored_copies_are_found_on_request(copies: Layout, call: Call) -> None:
    plain = json.loads(call(main, copies, "--dry_run", "--format=json").out)
    assert "one/alone" not in {row["dup_group"] for row in plain}
    told = call(main, copies, "--flipped", "--format=json", "--jobs=2")
    members = [row for row in json.loads(told.out) if row["dup_group"] == "one/alone"]
    assert [row["key"] for row in members] == ["alone", "mirrored"]
    assert members[1]["distance"] <= 4
    before = {p: p.stat().st_mtime_ns for p in copies.manifests.rglob("flipped/*.parquet")}
    assert len(before) == sum(len(copies.manifests_of(name)) for name in ("one", "two"))
    call(main, copies, "--flipped", "--dry_run")
    assert before == {p: p.stat().st_mtime_ns for p in copies.manifests.rglob("flipped/*.parquet")}


def test_rows_that_take_no_part_stay(copies: Layout, call: Call) -> None:
    told = call(main, copies, "key <> 'sun-small'", "--format=json")
    groups = {row["dup_group"] for row in json.loads(told.out)}
    assert groups == {"one/moon", "two/sun"}  # val speaks for its group now
    assert "sun-small" in kept(copies, "one")


def kept(layout: Layout, dataset: str) -> set[str]:
    """What a query finds that asks for `keep`."""
    catalog = Catalog(layout)
    condition = catalog.expression("keep", "where")
    rows = catalog.rows(f"SELECT key FROM samples WHERE dataset = '{dataset}' AND {condition}")
    return {key for (key,) in rows}


def test_a_later_search_over_a_part_leaves_other_answers_alone(copies: Layout, call: Call) -> None:
    assert call(main, copies).code == 0
    before = {name: kept(copies, name) for name in ("one", "two")}
    assert "moon-small" not in before["one"]
    assert "moon-bad" not in before["two"]
    for words in (["dataset='two' and split='val'"], ["--datasets=two"]):
        told = call(main, copies, *words)
        assert "written as sidecars" in told.err
        assert kept(copies, "one") == before["one"]
    assert "moon-bad" in kept(copies, "two")  # looked at anew, alone


def test_what_was_packed_later_is_kept(copies: Layout, call: Call, toy_source: Any) -> None:
    call(main, copies)
    pack(toy_source("late", {"x": Record({"png": encoded(smooth(1), "PNG")})}), "late", copies, 5)
    assert kept(copies, "late") == {"x"}
    assert call(query, copies, "dataset='late' and not keep", "--count").out == "0\n"
    assert len(select("late", "late", "keep", copies)) == 1


def test_what_was_made_of_a_picture_is_no_copy_of_it(
    copies: Layout, call: Call, toy_source: Any
) -> None:
    """A target with its content's structure has its hash too, and so have all targets of one."""
    link, data = Link("content", "one", "alone"), encoded(smooth(3), "PNG")
    made = {f"t{n}": Record({"png": data}, links=(link,)) for n in range(3)}
    pack(toy_source("made", made), "made", copies, 5)
    told = call(main, copies)
    assert "3 pictures were made from others and took no part: --derived" in told.out
    assert kept(copies, "made") == {"t0", "t1", "t2"}
    assert "alone" in kept(copies, "one")
    call(main, copies, "--derived")
    assert len(kept(copies, "made") | kept(copies, "one") & {"alone"}) == 1


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("--distance=65", "--distance=65: takes 0 to 64 bits"),
        ("--flat=2", "--flat=2.0: takes a number from 0 to 1"),
        ("--jobs=0", "--jobs=0: takes 1 or more"),
        ("--same=nothing", "there is no column 'nothing'"),
        ("--datasets=three", "there is no dataset 'three'"),
    ],
)
def test_what_cannot_be_is_refused(copies: Layout, call: Call, word: str, said: str) -> None:
    assert said in call(main, copies, word).refusal()


def test_real_copies_in_their_known_groups(
    shared_data: Path, layout: Layout, tmp_path: Path, run_command: RunCommand, call: Call
) -> None:
    """Nothing is called a copy that is none; of the copies that are only another size or
    compression those are found that the list's own hash finds too. Crops and recoloured posters of
    the same work are other pictures to a hash of the whole."""
    near, raw = shared_data / "neardup", tmp_path / "raw"
    raw.mkdir()
    group_of, role_of = {}, {}
    with open(near / "neardup.csv", encoding="utf-8") as table:
        for row in csv.DictReader(table):
            path = near / row["path"]
            (raw / path.name).write_bytes(path.read_bytes())
            group_of[path.name], role_of[path.name] = row["group"], row
    for path in (shared_data / "paintings").glob("*.*g"):
        (raw / path.name).write_bytes(path.read_bytes())
    done = run_command("toolkit.pack", "folder", f"--src={raw}", "--name=near", *words_of(layout))
    assert done.returncode == 0, done.stderr
    names = {row["key"]: row["source_id"] for row in read_manifest(layout.manifest("near", 0))}
    found = defaultdict(list)
    for row in json.loads(call(main, layout, "--format=json").out):
        found[row["dup_group"]].append(names[row["key"]])
    pairs = {pair for group in found.values() for pair in combinations(sorted(group), 2)}
    assert pairs
    # precision 1: each pair is of one work
    assert all(group_of.get(a, a) == group_of.get(b, b) for a, b in pairs)
    plain = [
        name
        for name, row in role_of.items()
        if row["role"].startswith("other copy") and int(row["dhash_dist_to_ref"]) <= 4
    ]
    together = {name for group in found.values() if len(group) > 1 for name in group}
    assert len(plain) == 9
    assert set(plain) <= together  # recall 1 of what is only stored otherwise


def test_works_on_wikiarts_lists_that_stand_under_two_styles(
    shared_data: Path, layout: Layout, call: Call
) -> None:
    """Their files have one name in two folders. Hashes are drawn here, a copy's with three bits
    other; all of these groups are found by hash alone, and by name alone, and no other."""
    names = []
    for part in ("train", "val"):
        with open(
            shared_data / "wikiart_meta" / "Style" / f"style_{part}.csv", encoding="utf-8"
        ) as table:
            names += [(row[0], part) for row in csv.reader(table) if row]
    rng, hashes, seen, rows = Random(5), {}, defaultdict(list), []
    for number, (name, part) in enumerate(names):
        file = name.rpartition("/")[2]
        bits = hashes.setdefault(file, rng.getrandbits(64))
        if seen[file]:
            bits ^= sum(1 << bit for bit in rng.sample(range(64), 3))
        seen[file].append(name)
        rows.append({
            "key": f"{number:06}", "dataset": "wikiart", "status": "ok", "split": part,
            "source_id": name, "phash": bits - (1 << 64) if bits >> 63 else bits,
            "sha256": f"{number:064}", "width": 100, "height": 100, "weight": 1.0,
        })  # fmt: skip
    known = {frozenset(group) for group in seen.values() if len(group) > 1}
    for start in range(0, len(rows), 10_000):
        path = layout.manifest("wikiart", start // 10_000)
        path.parent.mkdir(parents=True, exist_ok=True)
        own = [{**row, "shard": path.stem} for row in rows[start : start + 10_000]]
        write_manifest(path, own, "f", "00")
    layout.shards.mkdir()
    by_key = {row["key"]: row["source_id"] for row in rows}
    file_name = "regexp_extract(source_id, '[^/]+$')"
    for words in (["--distance=3"], ["--distance=0", f"--same={file_name}"]):
        told = call(main, layout, "--flat=0", "--dry_run", "--format=csv", *words)
        found = defaultdict(set)
        for row in csv.DictReader(told.out.splitlines()):
            found[row["dup_group"]].add(by_key[row["key"]])
        assert set(map(frozenset, found.values())) == known
    assert len(known) == 1349
