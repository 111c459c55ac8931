"""The webdataset source: what it says of samples, compressed tars, what it refuses."""

import bz2
import gc
import gzip
import io
import json
import lzma
import pickle
import tarfile
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import webdataset

from toolkit.core.errors import UserError
from toolkit.packing.dataset import pack
from toolkit.sources.webdataset import WebDataset, open_source
from toolkit.store import untar
from toolkit.store.images import PictureError
from toolkit.store.layout import Layout
from toolkit.store.manifest import read_manifest

Files = Mapping[str, bytes]


def write_tar(path: Path, members: Files) -> Path:
    with tarfile.open(path, "w") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


@pytest.fixture
def jpeg(encode: Any, make_picture: Any) -> Callable[[int], bytes]:
    return lambda seed: encode(make_picture(seed))


def only(path: Path, repack: bool = False) -> Any:
    source = open_source(path, repack)
    (ref,) = source.index()
    return source.read(ref)


def test_facts_of_text_json_and_class(jpeg: Callable[[int], bytes], tmp_path: Path) -> None:
    facts = {
        "caption": "a cat", "url": "http://example.org/a", "license": "CC BY", "width": 512,
        "artist": "Anna", "style": "Cubism", "split": "val", "categories": ["cat"],
        "score": float("nan"), "key": "000000001", "status": "success",
    }  # fmt: skip
    members = {"a.cls": b"17", "a.jpg": jpeg(1), "a.json": json.dumps(facts).encode(),
               "a.txt": b"something else"}  # fmt: skip
    record = only(write_tar(tmp_path / "x.tar", members))
    assert record.captions == ("a cat",)
    assert (record.licence, record.artist, record.style) == ("CC BY", "Anna", "Cubism")
    assert (record.split, record.categories) == ("val", ("cat",))
    assert record.extra == {
        "url": "http://example.org/a", "width": 512, "cls": 17, "score": None,
        "key": "000000001", "status": "success",
    }  # fmt: skip
    assert record.members == {"jpg": members["a.jpg"]}


def test_a_text_alone_is_one_caption(jpeg: Callable[[int], bytes], tmp_path: Path) -> None:
    members = {"a.jpg": jpeg(1), "a.txt": "\ufeffzwei\nZeilen\n".encode()}
    assert only(write_tar(tmp_path / "x.tar", members)).captions == ("zwei\nZeilen",)
    members = {"a.jpg": jpeg(1), "a.json": b'[1, "b"]', "a.cls": b"cat\n"}
    record = only(write_tar(tmp_path / "x.tar", members))
    assert (record.captions, record.extra) == ((), {"json": [1, "b"], "cls": "cat"})


@pytest.mark.parametrize("data", [b"{", b"\xff", b"[" * 100_000, b"9" * 2_000_000])
def test_bad_json_costs_the_sample(
    data: bytes, jpeg: Callable[[int], bytes], tmp_path: Path
) -> None:
    path = write_tar(tmp_path / "x.tar", {"a.jpg": jpeg(1), "a.json": data})
    with pytest.raises(PictureError) as caught:
        only(path)
    assert caught.value.cause == "bad_metadata"


def test_the_other_members_are_copied(jpeg: Callable[[int], bytes], tmp_path: Path) -> None:
    members = {
        "a.png": jpeg(1), "a.npy": b"numbers", "a.mask.png": jpeg(2), "a.odd name": b"x",
        "b.jpg": jpeg(3), "c.jpg": jpeg(4), "c.png": jpeg(5),
    }  # fmt: skip
    source = open_source(write_tar(tmp_path / "x.tar", members), repack=True)
    a, b, c = (source.read(ref) for ref in source.index())
    assert a.members == {
        "png": members["a.png"], "npy": b"numbers", "mask.png": members["a.mask.png"],
    }  # fmt: skip
    assert a.extra == {"left_out": ["odd name"]}
    assert b.members == {"png": members["b.jpg"]}
    assert c.members == {"png": members["c.png"], "jpg": members["c.jpg"]}
    layout = Layout(tmp_path / "s", tmp_path / "m")
    assert pack(source, "copied", layout, 10).num_ok == 3


OPENERS = {"tgz": gzip.open, "tar.bz2": bz2.open, "txz": lzma.open}


@pytest.mark.parametrize("ending", OPENERS)
def test_compressed_tars_are_repacked(
    ending: str, jpeg: Callable[[int], bytes], tmp_path: Path
) -> None:
    plain = write_tar(tmp_path / "plain.tar", {"a.jpg": jpeg(1), "b.jpg": jpeg(2)})
    packed = tmp_path / f"packed.{ending}"
    with OPENERS[ending](packed, "wb") as file:
        file.write(plain.read_bytes())
    with pytest.raises(UserError, match="has no byte ranges: uncompress it, or add --repack"):
        open_source(packed)
    source = open_source(packed, repack=True)
    twin = pickle.loads(pickle.dumps(source))
    read = [twin.read(ref).members["jpg"] for ref in twin.index()]
    assert read == [jpeg(1), jpeg(2)]
    assert source.copies is not None
    folder = source.copies.folder
    assert len(list(folder.iterdir())) == 1
    del twin
    gc.collect()
    assert folder.is_dir()
    del source
    gc.collect()
    assert not folder.exists()


def test_few_copies_are_kept(
    jpeg: Callable[[int], bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(untar, "MAX_COPIES", 2)
    for number in range(5):
        plain = write_tar(tmp_path / "plain", {f"{number}.jpg": jpeg(number)})
        (tmp_path / f"{number}.tgz").write_bytes(gzip.compress(plain.read_bytes()))
    source = open_source(tmp_path, repack=True)
    refs = list(source.index())
    assert [source.read(ref).members["jpg"] for ref in refs] == [jpeg(i) for i in range(5)]
    assert source.copies is not None
    assert len(list(source.copies.folder.iterdir())) == 2


@pytest.mark.parametrize("share", [0.3, 0.9])
def test_damaged_compression_is_refused(
    share: float, jpeg: Callable[[int], bytes], tmp_path: Path
) -> None:
    plain = write_tar(tmp_path / "plain", {f"{i}.jpg": jpeg(i) for i in range(9)})
    data = gzip.compress(plain.read_bytes())
    (tmp_path / "cut.tar.gz").write_bytes(data[: int(share * len(data))])
    with pytest.raises(UserError, match=r"cut\.tar\.gz: does not decompress \(gzip: "):
        open_source(tmp_path / "cut.tar.gz", repack=True)
    (tmp_path / "cut.tar.gz").write_bytes(b"\x28\xb5\x2f\xfd" + data)
    with pytest.raises(UserError, match=r"is compressed \(zstd\), which is not read here"):
        open_source(tmp_path / "cut.tar.gz", repack=True)


def test_refused_tars_are_named_and_the_others_go_on(
    jpeg: Callable[[int], bytes], tmp_path: Path
) -> None:
    write_tar(tmp_path / "b.tar", {"a.jpg": jpeg(1)})
    write_tar(tmp_path / "a.tar", {"a.txt": b"text"})
    (tmp_path / "c.tar").write_text("no tar")
    (tmp_path / "d.TAR.XZ").write_bytes(lzma.compress(b"x"))
    notes: Counter[str] = Counter()
    source = open_source(tmp_path)
    assert [ref.source_id for ref in source.index(notes)] == ["b.tar/a"]
    assert notes["refused tars"] == 3
    assert notes["refused: a.tar: holds no pictures: 1 .txt"] == 1
    assert sorted(note.split()[1] for note in notes if note.startswith("refused: ")) == [
        "a.tar:", "c.tar:", "d.TAR.XZ:",
    ]  # fmt: skip
    (tmp_path / "b.tar").unlink()
    with pytest.raises(UserError) as caught:
        open_source(tmp_path)
    assert str(caught.value).startswith(
        f"none of the 3 tars in {tmp_path} can be used: a.tar: holds no pictures: 1 .txt; c.tar: "
    )


def test_the_same_name_in_two_tars_gets_two_keys(
    jpeg: Callable[[int], bytes], tmp_path: Path
) -> None:
    for number in range(3):
        write_tar(tmp_path / f"{number}.tar", {"0.jpg": jpeg(number), "A.jpg": jpeg(9)})
    layout = Layout(tmp_path / "s", tmp_path / "m")
    assert pack(open_source(tmp_path, repack=True), "x", layout, 10).num_ok == 6
    keys = [row["key"] for row in read_manifest(layout.manifest("x", 0))]
    assert len(set(keys)) == 6
    assert keys[0] == "0"
    assert keys[2].startswith("1_tar_0-")


def test_repacked_real_tars_hold_what_webdataset_reads(shared_data: Path) -> None:
    folder = shared_data / "foreign_tars"
    source = open_source(folder, repack=True)
    got = {ref.source_id: source.read(ref).members["jpg"] for ref in source.index()}
    used = dict(source.tars())
    assert len(got) == 113
    assert len(used) == 5
    expected = {
        f"{name}/{sample['__key__']}": sample.get("jpg", sample.get("png"))
        for name, path in used.items()
        for sample in webdataset.WebDataset(str(path), shardshuffle=False)
    }
    assert got == expected


def test_the_description_tells_copies_from_indexes(
    jpeg: Callable[[int], bytes], tmp_path: Path
) -> None:
    path = write_tar(tmp_path / "x.tar", {"a.png": jpeg(1)})
    assert open_source(path).describe() == {"kind": "webdataset", "src": "x.tar"}
    assert open_source(path, repack=True).describe() == {
        "kind": "webdataset", "src": "x.tar", "repack": True, "ext": "png",
    }  # fmt: skip
    assert isinstance(open_source(path), WebDataset)
