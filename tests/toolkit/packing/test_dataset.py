"""Packing a source: which input stands where, what comes of bad ones, resuming, the card."""

import hashlib
import io
import json
import os
import tarfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import imagehash
import numpy as np
import pytest
from PIL import Image

from toolkit.core.errors import UserError
from toolkit.core.records import Link, Record, Ref
from toolkit.packing.dataset import pack
from toolkit.sources.folder import open_source
from toolkit.store.check import check_card, check_shard, find_orphans
from toolkit.store.images import PictureError
from toolkit.store.layout import Layout
from toolkit.store.manifest import SHARD_SHA256, manifest_metadata, read_manifest
from toolkit.store.samples import SampleReader

Digests = Callable[[Layout], dict[str, str]]
Encode = Callable[..., bytes]
MakePicture = Callable[..., np.ndarray]


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(tmp_path / "s", tmp_path / "m")


@pytest.fixture
def jpeg(encode: Encode, make_picture: MakePicture) -> Callable[[int], bytes]:
    return lambda seed: encode(make_picture(seed))


def rows_of(layout: Layout, dataset: str) -> list[list[dict[str, Any]]]:
    return [read_manifest(path) for path in layout.manifests_of(dataset)]


def card_of(layout: Layout, dataset: str) -> dict[str, Any]:
    return dict(json.loads(layout.card(dataset).read_text("utf-8")))


def assert_sound(layout: Layout, dataset: str) -> None:
    for path in layout.manifests_of(dataset):
        assert check_shard(layout, dataset, path)[1] == []
    assert find_orphans(layout, dataset) == []
    assert check_card(layout, dataset) == []


def test_shard_k_holds_the_kth_slice_failures_included(
    layout: Layout, toy_source: type, jpeg: Callable[[int], bytes]
) -> None:
    records = {f"in{i:02d}": Record({"jpg": b"bad" if i % 3 == 1 else jpeg(i)}) for i in range(11)}
    result = pack(toy_source("toy", records), "toy", layout, 4)
    assert (result.num_ok, result.num_failed, result.num_shards) == (7, 4, 3)
    assert result.causes == {"not_a_picture": 4}
    shards = rows_of(layout, "toy")
    assert [[row["source_id"] for row in rows] for rows in shards] == [
        [f"in{i:02d}" for i in part] for part in (range(4), range(4, 8), range(8, 11))
    ]
    for index, rows in enumerate(shards):
        with tarfile.open(layout.tar("toy", index)) as tar:
            stored = [name.partition(".")[0] for name in tar.getnames()[::3]]
        assert stored == [row["key"] for row in rows if row["status"] == "ok"]
        assert {row["shard"] for row in rows} == {f"toy-{index:06d}"}
    assert_sound(layout, "toy")


def test_a_row_says_all_that_is_known(
    layout: Layout, toy_source: type, encode: Encode, make_picture: MakePicture
) -> None:
    pixels = make_picture(5, 80, 64)
    record = Record(
        {"png": encode(pixels, "PNG")}, captions=("first", "second"), style="Cubism",
        artist="A", genre="g", title="t", licence="CC0", categories=("cat", "dog"), split="val",
        links=(Link("content", "photos", "p1"),), protocol="p/1", extra={"b": [1], "a": "é"},
    )  # fmt: skip
    pack(toy_source("toy", {"Dir/The Name.png": record}), "toy", layout, 4)
    (row,) = rows_of(layout, "toy")[0]
    members = row.pop("members")
    digest = hashlib.sha256(encode(pixels, "PNG")).hexdigest()
    assert next((m["ext"], m["size"]) for m in members) == ("png", len(encode(pixels, "PNG")))
    assert row == {
        "key": row["key"], "dataset": "toy", "split": "val", "split_artist_disjoint": None,
        "shard": "toy-000000", "status": "ok", "cause": None, "error": None, "width": 80,
        "height": 64, "format": "png", "style": "Cubism", "artist": "A", "genre": "g",
        "title": "t", "caption": "first", "captions": ["first", "second"],
        "categories": ["cat", "dog"], "source_id": "Dir/The Name.png", "licence": "CC0",
        "phash": row["phash"], "sha256": digest,
        "links": [{"role": "content", "dataset": "photos", "key": "p1"}], "protocol": "p/1",
        "protocol_exact": None, "attempt": None, "parent": None, "grade": None, "weight": 1.0,
        "extra": '{"a":"é","b":[1]}',
    }  # fmt: skip
    assert row["key"].startswith("dir_the_name_png-")
    reference = str(imagehash.phash(Image.fromarray(pixels).convert("L")))
    assert row["phash"] % 2**64 == int(reference, 16)


def test_the_members_beside_the_picture(
    layout: Layout, toy_source: type, jpeg: Callable[[int], bytes]
) -> None:
    record = Record({"jpg": jpeg(1), "cls": b"7"}, captions=("é", "b"), style="Cubism")
    pack(toy_source("toy", {"a": record, "b": Record({"jpg": jpeg(2)})}), "toy", layout, 4)
    with tarfile.open(layout.tar("toy", 0)) as tar:
        found = {}
        for info in tar:
            file = tar.extractfile(info)
            assert file is not None
            found[info.name] = file.read()
    assert list(found) == ["a.jpg", "a.cls", "a.txt", "a.json", "b.jpg", "b.txt", "b.json"]
    assert found["a.jpg"] == jpeg(1)
    assert found["a.cls"] == b"7"
    assert found["a.txt"].decode() == "é"
    assert found["b.txt"] == b""
    facts = json.loads(found["a.json"])
    assert facts["key"] == "a"
    assert facts["dataset"] == "toy"
    assert facts["captions"] == ["é", "b"]
    assert facts["style"] == "Cubism"


def test_bad_inputs_cost_a_row_with_the_cause(
    layout: Layout, toy_source: type, jpeg: Callable[[int], bytes]
) -> None:
    good = jpeg(1)
    records: dict[str, Record | Exception] = {
        "good.jpg": Record({"jpg": good}),
        "text.jpg": Record({"jpg": b"I am a text"}),
        "cut.jpg": Record({"jpg": good[: len(good) * 3 // 4]}),
        "zero.jpg": Record({"jpg": b""}),
        "good.png": Record({"jpg": good}),
        "words": Record({"txt": b"no picture here"}),
        "gone.jpg": FileNotFoundError(2, "No such file or directory"),
        "json.jpg": PictureError("bad_metadata", "json.json is\nnot valid"),
        "last.jpg": Record({"jpg": good}),
    }
    keys = {"good.jpg": "good", "good.png": "good"}
    result = pack(toy_source("toy", records, keys), "toy", layout, 100)
    (rows,) = rows_of(layout, "toy")
    assert [(row["source_id"], row["status"], row["cause"]) for row in rows] == [
        ("good.jpg", "ok", None),
        ("text.jpg", "failed", "not_a_picture"),
        ("cut.jpg", "failed", "truncated"),
        ("zero.jpg", "failed", "empty"),
        ("good.png", "failed", "duplicate_key"),
        ("words", "failed", "no_picture"),
        ("gone.jpg", "failed", "unreadable"),
        ("json.jpg", "failed", "bad_metadata"),
        ("last.jpg", "ok", None),
    ]
    for row in rows:
        if row["status"] == "failed":
            assert row["error"]
            assert "\n" not in row["error"]
            assert row["key"]
            assert not row["members"]
            assert row["width"] is None
    assert (result.num_ok, result.num_failed) == (2, 7)
    assert sum(result.causes.values()) == 7
    assert card_of(layout, "toy")["counts"] == {"rows": 9, "ok": 2, "failed": 7}
    assert_sound(layout, "toy")


def test_what_was_done_to_a_picture_is_recorded(
    layout: Layout, toy_source: type, encode: Encode, make_picture: MakePicture
) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    record = Record({"jpg": encode(make_picture(1, 64, 40), exif=exif)}, extra={"id": 1})
    pack(toy_source("toy", {"a": record}), "toy", layout, 4)
    ((row,),) = rows_of(layout, "toy")
    assert json.loads(row["extra"]) == {"id": 1, "changes": ["orientation"]}
    assert (row["width"], row["height"]) == (40, 64)
    stored = SampleReader(layout, "toy").picture("a")
    with Image.open(io.BytesIO(stored)) as image:
        assert image.size == (40, 64)
        assert image.getexif().get(0x0112, 1) == 1
    assert row["sha256"] == hashlib.sha256(stored).hexdigest()


def test_of_several_pictures_the_first_is_the_primary_one(
    layout: Layout, toy_source: type, encode: Encode, make_picture: MakePicture
) -> None:
    first, second = make_picture(1, 64, 40), make_picture(2, 80, 72)
    record = Record({"target.png": encode(first, "PNG"), "source.png": encode(second, "PNG")})
    pack(toy_source("toy", {"a": record}), "toy", layout, 4)
    ((row,),) = rows_of(layout, "toy")
    assert (row["width"], row["height"], row["format"]) == (64, 40, "png")
    assert row["sha256"] == hashlib.sha256(encode(first, "PNG")).hexdigest()
    reference = str(imagehash.phash(Image.fromarray(first).convert("L")))
    assert row["phash"] % 2**64 == int(reference, 16)


def test_the_same_input_gives_the_same_bytes(
    tiny_pictures: Path, tiny_layout: Layout, layout: Layout, digests: Digests
) -> None:
    result = pack(open_source(tiny_pictures), "tiny", layout, 4)
    assert (result.num_ok, result.num_reused) == (12, 0)
    assert digests(layout) == digests(tiny_layout)


def test_when_and_where_files_were_copied_does_not_matter(
    tiny_pictures: Path, tiny_layout: Layout, layout: Layout, digests: Digests
) -> None:
    for number, path in enumerate(sorted(tiny_pictures.rglob("*"))):
        os.utime(path, (10**9 + number, 10**9 + number))
    (tiny_pictures.parent / "elsewhere").mkdir()
    moved = tiny_pictures.rename(tiny_pictures.parent / "elsewhere" / "pictures")
    pack(open_source(moved), "tiny", layout, 4)
    assert digests(layout) == digests(tiny_layout)


def test_a_finished_pack_is_kept_as_it_is(
    tiny_pictures: Path, tiny_layout: Layout, digests: Digests
) -> None:
    before = digests(tiny_layout)
    inodes = {p: p.stat().st_ino for p in tiny_layout.shards.rglob("*.tar")}
    result = pack(open_source(tiny_pictures), "tiny", tiny_layout, 4)
    assert (result.num_ok, result.num_shards, result.num_reused) == (12, 3, 3)
    assert digests(tiny_layout) == before
    assert {p: p.stat().st_ino for p in tiny_layout.shards.rglob("*.tar")} == inodes


@pytest.mark.parametrize("loss", ["tar", "manifest", "damaged manifest", "card"])
def test_only_what_is_missing_is_made_again(
    loss: str, tiny_pictures: Path, tiny_layout: Layout, digests: Digests
) -> None:
    before = digests(tiny_layout)
    if loss == "tar":
        tiny_layout.tar("tiny", 1).unlink()
    elif loss == "manifest":
        tiny_layout.manifest("tiny", 1).unlink()
    elif loss == "damaged manifest":
        tiny_layout.manifest("tiny", 1).write_bytes(b"junk")
    else:
        tiny_layout.card("tiny").unlink()
    result = pack(open_source(tiny_pictures), "tiny", tiny_layout, 4)
    assert result.num_reused == (3 if loss == "card" else 2)
    assert digests(tiny_layout) == before


@pytest.mark.parametrize("size", [1, 5, 12, 1000])
def test_another_shard_size_leaves_nothing_of_the_old_one(
    size: int, tiny_pictures: Path, tiny_layout: Layout, layout: Layout, digests: Digests
) -> None:
    pack(open_source(tiny_pictures), "tiny", layout, size)
    result = pack(open_source(tiny_pictures), "tiny", tiny_layout, size, overwrite=True)
    assert result.num_reused == 0
    assert digests(tiny_layout) == digests(layout)
    assert_sound(tiny_layout, "tiny")


def test_fewer_inputs_remove_the_surplus_shards(tiny_pictures: Path, tiny_layout: Layout) -> None:
    for path in (tiny_pictures / "ukiyo").iterdir():
        path.unlink()
    result = pack(open_source(tiny_pictures), "tiny", tiny_layout, 4)
    assert (result.num_ok, result.num_shards, result.num_reused) == (8, 2, 2)
    assert sorted(p.name for p in tiny_layout.shards.rglob("*.tar")) == [
        "tiny-000000.tar", "tiny-000001.tar",
    ]  # fmt: skip
    assert len(tiny_layout.manifests_of("tiny")) == 2
    assert card_of(tiny_layout, "tiny")["counts"]["ok"] == 8
    assert_sound(tiny_layout, "tiny")


def test_an_added_input_changes_only_the_shards_behind_it(
    tiny_pictures: Path, tiny_layout: Layout, encode: Encode, make_picture: MakePicture
) -> None:
    (tiny_pictures / "ukiyo" / "p9.jpg").write_bytes(encode(make_picture(99)))
    result = pack(open_source(tiny_pictures), "tiny", tiny_layout, 4)
    assert (result.num_ok, result.num_shards, result.num_reused) == (13, 4, 3)
    assert_sound(tiny_layout, "tiny")


@dataclass(frozen=True)
class Failing:
    """Fails like a bug at one input, or is interrupted there, until it is told not to."""

    records: dict[str, Record]
    at: str
    error: BaseException
    tripped: list[str] = field(default_factory=list)

    def index(self, notes: Counter[str] | None = None) -> Iterator[Ref]:
        for source_id in self.records:
            yield Ref(source_id)

    def read(self, ref: Ref) -> Record:
        if ref.source_id == self.at and not self.tripped:
            self.tripped.append(ref.source_id)
            raise self.error
        return self.records[ref.source_id]

    def describe(self) -> dict[str, Any]:
        return {"kind": "toy", "name": "toy"}


@pytest.mark.parametrize("error", [RuntimeError("a bug"), UserError("no"), KeyboardInterrupt()])
def test_an_interrupted_pack_leaves_whole_shards_and_goes_on(
    error: BaseException,
    layout: Layout,
    tmp_path: Path,
    toy_source: type,
    jpeg: Callable[[int], bytes],
    digests: Digests,
) -> None:
    records = {f"in{i}": Record({"jpg": jpeg(i)}) for i in range(9)}
    other = Layout(tmp_path / "other" / "s", tmp_path / "other" / "m")
    pack(toy_source("toy", records), "toy", other, 3)
    source = Failing(records, "in4", error)
    with pytest.raises(type(error)):
        pack(source, "toy", layout, 3)
    left = digests(layout)
    assert left == {name: digest for name, digest in digests(other).items() if name in left}
    assert "shards/toy/toy-000000.tar" in left
    assert "shards/toy/toy-000001.tar" not in left
    assert "manifests/toy/dataset.json" not in left
    result = pack(source, "toy", layout, 3)
    assert result.num_reused >= 1
    assert digests(layout) == digests(other)


def test_an_unfinished_pack_over_a_finished_one_has_no_card(
    layout: Layout, jpeg: Callable[[int], bytes]
) -> None:
    records = {f"in{i}": Record({"jpg": jpeg(i)}) for i in range(4)}
    source = Failing(records, "in3", RuntimeError("a bug"), ["not yet"])
    pack(source, "toy", layout, 3)
    assert layout.card("toy").exists()
    source.tripped.clear()
    with pytest.raises(RuntimeError):
        pack(source, "toy", layout, 2)
    assert not layout.card("toy").exists()


def test_another_description_packs_anew(
    layout: Layout, toy_source: type, jpeg: Callable[[int], bytes]
) -> None:
    records = {f"in{i}": Record({"jpg": jpeg(i)}) for i in range(4)}
    for name, reused in (("one", 0), ("one", 2), ("other", 0)):
        assert pack(toy_source(name, records), "toy", layout, 2).num_reused == reused


def test_a_source_without_stamps_after_one_with_stamps_is_kept(
    tiny_pictures: Path, layout: Layout, toy_source: type, jpeg: Callable[[int], bytes]
) -> None:
    pack(open_source(tiny_pictures), "toy", layout, 4)
    source = toy_source("toy", {f"in{i}": Record({"jpg": jpeg(i)}) for i in range(12)})
    with pytest.raises(UserError, match="the dataset toy holds other data"):
        pack(source, "toy", layout, 4)
    layout.card("toy").unlink()  # as after an interrupted pack
    assert pack(source, "toy", layout, 4).num_reused == 0
    assert pack(source, "toy", layout, 4).num_reused == 3


def test_the_card_is_derived_from_the_files(triplets: Layout) -> None:
    for dataset, parents in (("photos", []), ("targets", ["paintings", "photos"])):
        card = card_of(triplets, dataset)
        tars = sorted((triplets.shards / dataset).glob("*.tar"))
        hashes = [hashlib.sha256(tar.read_bytes()).digest() for tar in tars]
        assert [shard["sha256"] for shard in card["shards"]] == [h.hex() for h in hashes]
        assert [shard["name"] for shard in card["shards"]] == [tar.stem for tar in tars]
        manifests = [p.read_bytes() for p in triplets.manifests_of(dataset)]
        root = hashlib.sha256()
        for tar_hash, manifest in zip(hashes, manifests, strict=True):
            root.update(tar_hash + hashlib.sha256(manifest).digest())
        assert card["root_sha256"] == root.hexdigest()
        assert card["parents"] == parents
        assert card["schema_version"] == 1
        assert sum(shard["rows"] for shard in card["shards"]) == card["counts"]["rows"]
        for path, digest in zip(triplets.manifests_of(dataset), hashes, strict=True):
            assert manifest_metadata(path)[SHARD_SHA256] == digest.hex().encode()


def test_no_machine_path_gets_into_the_files(tiny_layout: Layout, tmp_path: Path) -> None:
    for path in (*tiny_layout.manifests.rglob("*.[a-z]*"), *tiny_layout.shards.rglob("*.tar")):
        if path.is_file():
            assert tmp_path.name.encode() not in path.read_bytes()
            assert b"pytest" not in path.read_bytes()


def test_a_rehearsal_packs_only_the_first_inputs(
    layout: Layout, tiny_pictures: Path, tiny_layout: Layout
) -> None:
    result = pack(open_source(tiny_pictures), "tiny", layout, 4, limit=6)
    assert (result.num_ok, result.num_shards) == (6, 2)
    assert layout.tar("tiny", 0).read_bytes() == tiny_layout.tar("tiny", 0).read_bytes()


def test_wrong_settings_are_refused(layout: Layout, toy_source: type) -> None:
    source = toy_source("toy", {})
    with pytest.raises(UserError, match="cannot name a dataset"):
        pack(source, "../toy", layout, 4)
    for size, jobs in ((0, 1), (4, 0)):
        with pytest.raises(UserError, match="=0: takes 1 or more"):
            pack(source, "toy", layout, size, jobs)
    assert not layout.shards.exists()
    with pytest.raises(UserError, match="nothing to pack as toy"):
        pack(source, "toy", layout, 4)


@pytest.mark.parametrize("file", ["p1.jpg", "p1.txt"])
def test_a_changed_input_is_packed_anew(
    file: str, tiny_pictures: Path, tiny_layout: Layout, encode: Encode, make_picture: MakePicture
) -> None:
    path = tiny_pictures / "sketch" / file
    path.write_bytes(encode(make_picture(77)) if file == "p1.jpg" else b"a better caption")
    result = pack(open_source(tiny_pictures), "tiny", tiny_layout, 4)
    assert result.num_reused == 2


@pytest.mark.parametrize("damage", ["flip", "cut"])
def test_packing_again_mends_a_damaged_tar(
    damage: str, tiny_pictures: Path, tiny_layout: Layout, digests: Digests
) -> None:
    before = digests(tiny_layout)
    path = tiny_layout.tar("tiny", 1)
    data = path.read_bytes()
    path.write_bytes(data[:700] + b"?" + data[701:] if damage == "flip" else data[:2000])
    pack(open_source(tiny_pictures), "tiny", tiny_layout, 4)
    assert digests(tiny_layout) == before


def test_packing_again_removes_a_tar_without_a_manifest(
    tiny_pictures: Path, tiny_layout: Layout, digests: Digests
) -> None:
    before = digests(tiny_layout)
    tiny_layout.tar("tiny", 7).write_bytes(tiny_layout.tar("tiny", 1).read_bytes())
    pack(open_source(tiny_pictures), "tiny", tiny_layout, 4)
    assert digests(tiny_layout) == before


def test_a_key_is_unique_over_all_shards(
    layout: Layout, toy_source: type, jpeg: Callable[[int], bytes]
) -> None:
    keys = {"1.jpg": "a", "2.jpg": "b", "3.jpg": "a"}
    records = {name: Record({"jpg": jpeg(1)}) for name in keys}
    for size, jobs in ((2, 1), (1, 2), (3, 1)):
        result = pack(toy_source("toy", records, keys), "toy", layout, size, jobs)
        assert result.causes == {"duplicate_key": 1}
        rows = [row for part in rows_of(layout, "toy") for row in part]
        assert [(r["key"], r["status"]) for r in rows] == [
            ("a", "ok"), ("b", "ok"), ("a", "failed"),
        ]  # fmt: skip


@pytest.mark.parametrize("limit", [0, -1])
def test_a_refused_pack_leaves_the_finished_one_alone(
    limit: int, tiny_pictures: Path, tiny_layout: Layout, digests: Digests
) -> None:
    before = digests(tiny_layout)
    with pytest.raises(UserError):
        pack(open_source(tiny_pictures), "tiny", tiny_layout, 4, limit=limit)
    assert digests(tiny_layout) == before


@pytest.mark.parametrize("place", ["caption", "extra"])
def test_a_lone_surrogate_costs_one_input(
    place: str, layout: Layout, toy_source: type, jpeg: Callable[[int], bytes]
) -> None:
    bad = Record(
        {"jpg": jpeg(1)},
        captions=("\ud800",) if place == "caption" else (),
        extra={"x": "\ud800"} if place == "extra" else {},
    )
    result = pack(toy_source("toy", {"a": bad, "b": Record({"jpg": jpeg(2)})}), "toy", layout, 4)
    assert result.num_ok >= 1
