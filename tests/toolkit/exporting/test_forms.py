"""Each form, opened by the program that it is written for, and packed again."""

import csv
import hashlib
import io
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT, Call, Outcome, words_of
from toolkit.pack import _source_options
from toolkit.pack import main as pack_command
from toolkit.store.layout import Layout
from toolkit.store.manifest import read_manifest
from toolkit.store.samples import SampleReader

Export = Callable[..., Outcome]
Rows = dict[tuple[str, str], dict[str, Any]]

HUGGING_FACE = """
import hashlib, io, json, sys
import datasets
for args, kwargs in json.loads(sys.argv[1]):
    found = datasets.load_dataset(*args, **kwargs)
    told = {}
    for split, rows in found.items():
        plain = rows
        names = [n for n, f in rows.features.items() if isinstance(f, datasets.Image)]
        for name in names:
            rows = rows.cast_column(name, datasets.Image(decode=False))
        told[split] = []
        for place, row in enumerate(rows):
            for name in names:
                if row[name]:
                    data = row[name]["bytes"] or open(row[name]["path"], "rb").read()
                    row[name] = [hashlib.sha256(data).hexdigest(), plain[place][name].size]
            told[split].append(row)
    print(json.dumps(told))
"""


def rows_of(layout: Layout, *datasets: str) -> Rows:
    return {
        (row["dataset"], row["key"]): row
        for name in datasets or layout.datasets()
        for path in layout.manifests_of(name)
        for row in read_manifest(path)
    }


def pictures_of(row: dict[str, Any]) -> list[str]:
    """sha256 of a row's own pictures."""
    return [m["sha256"] for m in row["members"] if m["ext"].endswith(("jpg", "png"))]


def linked_sha256(rows: Rows, row: dict[str, Any], role: str) -> str:
    (link,) = (x for x in row["links"] if x["role"] == role)
    return str(rows[link["dataset"], link["key"]]["sha256"])


@pytest.fixture
def packed(call: Call, tmp_path: Path) -> Callable[..., Layout]:
    """`packed("folder", src, "name", *flags)`: packed again, in a layout of its own."""
    layout = Layout(tmp_path / "again" / "shards", tmp_path / "again" / "manifests")

    def start(kind: str, src: Path, name: str, *flags: str) -> Layout:
        done = call(
            pack_command, kind, f"--src={src}", f"--name={name}", "--jobs=1", layout, *flags,
            fields=_source_options,
        )  # fmt: skip
        assert done.code == 0, done.err
        return layout

    return start


@pytest.fixture
def hugging_face(tmp_path: Path) -> Callable[..., list[dict[str, Any]]]:
    """What `datasets` finds, in a process of its own: rows by split of each call of load_dataset;
    pictures as their bytes' sha256 and the size that they decode to."""

    def start(*calls: tuple[list[str], dict[str, str]]) -> list[dict[str, Any]]:
        environment = {**os.environ, "HF_HOME": str(tmp_path / "hf"), "HF_HUB_OFFLINE": "1"}
        done = subprocess.run(
            [sys.executable, "-c", HUGGING_FACE, json.dumps(calls)],
            capture_output=True, text=True, check=False, env=environment,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    return start


def test_tars_come_back_as_they_were(
    mixed_origin: Layout, export: Export, packed: Callable[..., Layout], tmp_path: Path
) -> None:
    """Packed again under their names, every dataset's tars are byte for byte what they were, links,
    protocols, grades and splits included."""
    for name in mixed_origin.datasets():
        out = tmp_path / name
        done = export(mixed_origin, f"dataset='{name}'", "webdataset", out, "--with_links=false")
        assert done.code == 0, done.err
        again = packed("webdataset", out, name, "--repack")
    before, after = rows_of(mixed_origin), rows_of(again)
    assert before.keys() == after.keys()
    told = ("split", "style", "captions", "categories", "links", "licence", "protocol", "artist",
            "protocol_exact", "attempt", "grade", "weight", "width", "phash", "title")  # fmt: skip
    for identity, row in before.items():
        sha256 = {m["ext"]: m["sha256"] for m in row["members"]}
        assert {m["ext"]: m["sha256"] for m in after[identity]["members"]} == sha256
        assert {k: after[identity][k] for k in told} == {k: row[k] for k in told}


def test_tars_with_what_targets_were_made_from(
    mixed_origin: Layout, export: Export, packed: Callable[..., Layout], tmp_path: Path
) -> None:
    import webdataset

    assert export(mixed_origin, "true", "webdataset", tmp_path / "out").code == 0
    rows, seen = rows_of(mixed_origin), set()
    tars = sorted((tmp_path / "out").glob("*/*.tar"))
    assert {f"{tar.parent.name}/{tar.name}" for tar in tars} >= {
        "train/targets-000000.tar", "val/targets-000000.tar", "test/photos-000000.tar",
    }  # fmt: skip
    for sample in webdataset.WebDataset([str(t) for t in tars], shardshuffle=False):
        told = json.loads(sample["json"])
        row = rows[told["dataset"], told["key"]]
        seen.add((told["dataset"], told["key"]))
        assert sample["__url__"].split("/")[-2] == (row["split"] or "train")
        assert sample["txt"].decode() == (row["caption"] or "")
        for member in row["members"]:
            assert hashlib.sha256(sample[member["ext"]]).hexdigest() == member["sha256"]
        for role in ("content", "style") if told["dataset"] == "targets" else ():
            digest = hashlib.sha256(sample[f"{role}.jpg"]).hexdigest()
            assert digest == linked_sha256(rows, row, role)
    assert seen == set(rows)
    again = packed("webdataset", tmp_path / "out", "all", "--repack")
    digests = Counter(p for row in rows_of(again).values() for p in pictures_of(row))
    linked = [linked_sha256(rows, row, role) for (d, _), row in rows.items() if d == "targets"
              for role in ("content", "style")]  # fmt: skip
    assert digests == Counter([*(p for row in rows.values() for p in pictures_of(row)), *linked])


def test_a_repository_opens_in_datasets_and_duckdb(
    mixed_origin: Layout, export: Export, hugging_face: Any, tmp_path: Path
) -> None:
    import duckdb
    from huggingface_hub import DatasetCard

    out = tmp_path / "repository"
    assert export(mixed_origin, "true", "hub", out).code == 0
    assert export(mixed_origin, "true", "parquet", tmp_path / "parquet").code == 0
    default, facts, tables = hugging_face(
        ([str(out), "default"], {}), ([str(out), "metadata"], {}), ([str(tmp_path / "parquet")], {})
    )
    rows = rows_of(mixed_origin)
    named = {"train": (None, "train"), "validation": ("val",), "test": ("test",)}
    for found in (default, facts, tables):
        assert {split: len(found[split]) for split in found} == {
            public: sum(row["split"] in own for row in rows.values())
            for public, own in named.items()
        }
    for split in named:
        for picture, fact in zip(default[split], facts[split], strict=True):
            assert picture["json"] == fact["json"]
            row = rows[fact["json"]["dataset"], fact["json"]["key"]]
            assert all(fact["json"][k] == row[k] for k in ("captions", "style", "links", "extra"))
            for member in row["members"]:
                if member["ext"].endswith(("jpg", "png")):
                    assert picture[member["ext"]] == [
                        member["sha256"], [row["width"], row["height"]],
                    ]  # fmt: skip
            is_target = row["dataset"] == "targets"
            assert (picture["style.jpg"] is not None) == is_target
        for row in tables[split]:
            known = rows[row["dataset"], row["key"]]
            assert row["image"] == [known["sha256"], [known["width"], known["height"]]]
            assert {k: row[k] for k in ("caption", "style", "phash", "weight", "categories")} == {
                k: known[k] for k in ("caption", "style", "phash", "weight", "categories")
            }
            if row["dataset"] == "targets":
                assert row["content_image"][0] == linked_sha256(rows, known, "content")
            if row["dataset"] == "circles":
                assert row["source_image"][0] == pictures_of(known)[1]
    sql = duckdb.connect()
    assert (
        sql.execute(
            f"SELECT style, count(*) FROM '{tmp_path}/parquet/*.parquet' GROUP BY 1 ORDER BY 1"
        ).fetchall()
        == sql.execute(
            f"SELECT style, count(*) FROM '{out}/metadata/*.parquet' GROUP BY 1 ORDER BY 1"
        ).fetchall()
    )
    places = sql.execute(
        f"SELECT file, unnest(members, recursive := true) FROM '{out}/metadata/*.parquet'"
    ).fetchall()
    assert len(places) > 100
    for file, _, offset, size, digest in places:
        with open(out / file, "rb") as tar:
            tar.seek(offset)
            assert hashlib.sha256(tar.read(size)).hexdigest() == digest
    card = DatasetCard.load(out / "README.md")
    assert card.data.license == ["cc0-1.0", "other"]
    assert card.data.size_categories == ["n<1K"]
    for told in (
        "| CC0-1.0 | 3 |", "| not stated | ", "CC-BY-4.0 \\| by \\<somebody\\>",
        "test \\| set", "reinhard-1:abc", "made from `paintings`, `photos`", "assets/samples.jpg",
    ):  # fmt: skip
        assert told in card.text


def test_a_repository_is_packed_again(
    mixed_origin: Layout, export: Export, packed: Callable[..., Layout], tmp_path: Path
) -> None:
    assert export(mixed_origin, "dataset='targets'", "hub", tmp_path / "out").code == 0
    again = rows_of(packed("webdataset", tmp_path / "out" / "data", "targets", "--repack"))
    for identity, row in rows_of(mixed_origin, "targets").items():
        assert again[identity]["sha256"] == row["sha256"]
        told = ("split", "links", "grade", "weight", "captions", "protocol", "extra")
        assert {k: again[identity][k] for k in told} == {k: row[k] for k in told}


def test_a_sheet_shows_pictures(mixed_origin: Layout, export: Export, tmp_path: Path) -> None:
    from PIL import Image

    assert export(mixed_origin, "dataset='targets'", "hub", tmp_path / "out").code == 0
    sheet = Image.open(tmp_path / "out" / "assets" / "samples.jpg")
    assert sheet.size == (3 * 196 - 4, 3 * 196 - 4)  # content, style, target, three times
    assert len(set(sheet.convert("L").getdata())) > 50


def test_rows_come_in_groups_of_bounded_size(
    mixed_origin: Layout, export: Export, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pyarrow.parquet as pq

    from toolkit.exporting import tables

    monkeypatch.setattr(tables, "ROW_GROUP_BYTES", 8000)
    assert export(mixed_origin, "dataset='targets'", "parquet", tmp_path / "out").code == 0
    file = pq.ParquetFile(tmp_path / "out" / "train-000000.parquet")
    sizes = []
    for number in range(file.num_row_groups):
        rows = file.read_row_group(number, ["image", "content_image", "style_image"]).to_pylist()
        sizes.append(sum(len(x["bytes"]) for row in rows for x in row.values()))
    assert len(sizes) > 1
    assert max(sizes) <= 8000


def test_a_csv_holds_every_fact(mixed_origin: Layout, export: Export, tmp_path: Path) -> None:
    assert export(mixed_origin, "true", "csv", tmp_path / "out", "--name=all").code == 0
    data = (tmp_path / "out" / "all.csv").read_bytes()
    found = list(csv.DictReader(io.StringIO(data.decode(), newline="")))
    rows = rows_of(mixed_origin)
    assert len(found) == len(rows)
    for line in found:
        row = rows[line["dataset"], line["key"]]
        assert line["caption"] == (row["caption"] or "")
        assert json.loads(line["captions"]) == row["captions"]
        assert json.loads(line["links"]) == row["links"]
        assert line["style"] == (row["style"] or "")
        assert int(line["phash"]) == row["phash"]


def test_folders_open_in_datasets_and_are_packed_again(
    mixed_origin: Layout, export: Export, hugging_face: Any, packed: Callable[..., Layout],
    tmp_path: Path,
) -> None:  # fmt: skip
    out, every = tmp_path / "targets", tmp_path / "every"
    assert export(mixed_origin, "dataset='targets'", "folder", out).code == 0
    assert export(mixed_origin, "true", "folder", every).code == 0
    targets, found = hugging_face(
        (["imagefolder"], {"data_dir": str(out)}), (["imagefolder"], {"data_dir": str(every)})
    )
    rows = rows_of(mixed_origin)
    for line in (line for split in targets.values() for line in split):
        row = rows["targets", line["key"]]
        assert line["image"] == [row["sha256"], [row["width"], row["height"]]]
        for role in ("content", "style"):
            assert line[f"{role}_image"][0] == linked_sha256(rows, row, role)
        assert (line["captions"], line["style"]) == (row["captions"], row["style"])
    lines = [line for split in found.values() for line in split]
    assert {(x["dataset"], x["key"]): x["image"][0] for x in lines} == {
        identity: row["sha256"] for identity, row in rows.items()
    }
    public = {None: "train", "train": "train", "val": "validation", "test": "test"}
    expected = Counter(public[row["split"]] for row in rows.values())
    assert {split: len(x) for split, x in found.items()} == expected
    for folder, name in ((out, "targets"), (every, "every")):
        again = rows_of(packed("folder", folder, name), name)
        keys = [json.loads(row["extra"]) for row in again.values()]
        assert len(again) == len({(x["dataset"], x["key"]) for x in keys})
        for row, extra in zip(again.values(), keys, strict=True):
            known = rows[extra["dataset"], extra["key"]]
            assert row["sha256"] == known["sha256"]
            assert set(pictures_of(known)) <= set(pictures_of(row))
            for column in ("style", "captions", "artist", "licence", "categories", "title"):
                assert row[column] == known[column]
            assert row["split"] == (known["split"] or "train")
            if extra["dataset"] == "targets":
                digest = {m["ext"]: m["sha256"] for m in row["members"]}
                assert digest["content.jpg"] == linked_sha256(rows, known, "content")


def test_coco_opens_in_pycocotools_and_is_packed_again(
    mixed_origin: Layout, export: Export, packed: Callable[..., Layout], tmp_path: Path
) -> None:
    tools = pytest.importorskip("pycocotools.coco", reason="pycocotools is not installed")
    out = tmp_path / "coco"
    where = "dataset='photos' or dataset='targets'"
    assert export(mixed_origin, where, "coco", out).code == 0
    rows = rows_of(mixed_origin, "photos", "targets")
    seen = {}
    for split in ("train", "val", "test"):
        coco = tools.COCO(out / "annotations" / f"captions_{split}.json")
        for image in coco.loadImgs(coco.getImgIds()):
            row = rows[image["dataset"], image["key"]]
            seen[image["id"]] = row
            data = (out / "images" / split / image["file_name"]).read_bytes()
            assert hashlib.sha256(data).hexdigest() == row["sha256"]
            assert split == (row["split"] or "train")
            assert (image["width"], image["height"]) == (row["width"], row["height"])
            told = coco.loadAnns(coco.getAnnIds(image["id"]))
            assert [a["caption"] for a in told] == row["captions"]
            if row["dataset"] == "targets":
                data = (out / image["content_image"]).read_bytes()
                assert hashlib.sha256(data).hexdigest() == linked_sha256(rows_of(mixed_origin), row,
                                                                         "content")  # fmt: skip
    assert len(seen) == len(rows)
    kinds = tools.COCO(out / "annotations" / "instances_train.json")
    assert sorted(x["name"] for x in kinds.loadCats(kinds.getCatIds())) == ["cat", "straße"]
    again = rows_of(packed("coco", out / "images", "again"))
    assert len(again) == len(rows)
    by_hash = {row["sha256"]: row for row in rows.values()}
    for row in again.values():
        known = by_hash[row["sha256"]]
        assert [c.strip() for c in known["captions"]] == row["captions"]
        assert sorted(known["categories"]) == row["categories"]
        assert (row["split"], row["licence"]) == (known["split"] or "train", known["licence"])


@pytest.fixture
def home(tmp_path: Path) -> dict[str, str]:
    return {**os.environ, "HOME": str(tmp_path / "home"), "FIFTYONE_DO_NOT_TRACK": "true",
           "FIFTYONE_DATABASE_DIR": str(tmp_path / "database")}  # fmt: skip


FIFTYONE = """
import hashlib, json, sys
import fiftyone
found = fiftyone.Dataset.from_dir(sys.argv[1], dataset_type=fiftyone.types.FiftyOneDataset)
for sample in found:
    print("told", json.dumps({
        "key": sample.key, "dataset": sample.dataset_, "tags": sample.tags,
        "sha256": hashlib.sha256(open(sample.filepath, "rb").read()).hexdigest(),
        "style": sample.style and sample.style.label, "captions": list(sample.captions),
        "phash": sample.phash, "weight": sample.weight, "width": sample.metadata.width,
        "links": [dict(x) for x in sample.links], "grade": sample.grade,
    }))
"""


def peer(folder: str, program: str) -> str:
    """A program of an environment of its own; skips the test where that is absent."""
    path = ROOT / ".venv-peers" / folder / "bin" / program
    if not path.exists():
        pytest.skip(f"bench/README.md says how to make .venv-peers/{folder}")
    return str(path)


@pytest.mark.slow
def test_fiftyone_opens_it(
    mixed_origin: Layout, export: Export, home: dict[str, str], tmp_path: Path
) -> None:
    python = peer("fiftyone", "python")
    assert export(mixed_origin, "true", "fiftyone", tmp_path / "out").code == 0
    done = subprocess.run([python, "-c", FIFTYONE, str(tmp_path / "out")], env=home,
                          capture_output=True, text=True, check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr
    rows = rows_of(mixed_origin)
    told = [json.loads(x.partition(" ")[2]) for x in done.stdout.splitlines() if x[:5] == "told "]
    assert len(told) == len(rows)
    for sample in told:
        row = rows[sample["dataset"], sample["key"]]
        assert sample.pop("tags") == [row["split"] or "train"]
        assert sample == {name: row[name] for name in sample}


ENERGON = """
import sys
from megatron.energon import WorkerConfig, get_loader, get_train_dataset
found = get_train_dataset(
    sys.argv[1], batch_size=1, shuffle_buffer_size=None, max_samples_per_sequence=None,
    worker_config=WorkerConfig(rank=0, world_size=1, num_workers=0), repeat=False,
)
for batch in get_loader(found):
    print("told", batch.__key__[0], *batch.image.shape[1:], *batch.caption)
"""


@pytest.mark.slow
@pytest.mark.parametrize("form", ["webdataset", "hub"])
def test_energon_opens_the_tars(
    form: str, mixed_origin: Layout, export: Export, tmp_path: Path
) -> None:
    energon, python = peer("energon", "energon"), peer("energon", "python")
    assert export(mixed_origin, "dataset='targets'", form, tmp_path / "out").code == 0
    place = tmp_path / "out" / ("data" if form == "hub" else "")
    ready = subprocess.run(
        [energon, "prepare", str(place), "--non-interactive", "--split-parts", "train:train.*",
         "--sample-type", "CaptioningSample", "--field-map", '{"image": "jpg", "caption": "txt"}'],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ready.returncode == 0, ready.stderr
    done = subprocess.run([python, "-c", ENERGON, str(place)], capture_output=True, text=True,
                          check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = sorted(x for x in done.stdout.splitlines() if x.startswith("told "))
    rows = rows_of(mixed_origin, "targets")
    assert told == sorted(
        f"told {row['key']} 3 {row['height']} {row['width']} {row['caption']}"
        for row in rows.values()
        if row["split"] in (None, "train")
    )


def test_one_sample_reader_agrees(mixed_origin: Layout, export: Export, tmp_path: Path) -> None:
    """What lies in a folder is what `SampleReader` reads."""
    assert export(mixed_origin, "dataset='paintings'", "folder", tmp_path / "out").code == 0
    for line in (tmp_path / "out").rglob("metadata.jsonl"):
        for fact in map(json.loads, line.read_text("utf-8").splitlines()):
            data = (line.parent / fact["file_name"]).read_bytes()
            assert data == SampleReader(mixed_origin, "paintings").picture(fact["key"])


def test_it_reads_from_a_store(
    mixed: Layout, export: Export, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bench.s3 import s3_server

    assert export(mixed, "true", "webdataset", tmp_path / "here").code == 0
    with s3_server(mixed.shards.parent) as proxy:
        for name, value in {**proxy.environment, "TESSERA_CACHE": str(tmp_path / "c")}.items():
            monkeypatch.setenv(name, value)
        there = Layout("s3://data/shards", "s3://data/manifests")
        assert words_of(there)[0] == "--shards=s3://data/shards"
        done = export(there, "true", "webdataset", tmp_path / "there")
        assert done.code == 0, done.err
    for path in (tmp_path / "here").rglob("*.tar"):
        other = tmp_path / "there" / path.relative_to(tmp_path / "here")
        assert other.read_bytes() == path.read_bytes()
