"""One sample by its key: the row, and bytes that are those of the tar."""

import io
import tarfile
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from toolkit.core.errors import UserError
from toolkit.core.records import Record
from toolkit.packing.dataset import pack
from toolkit.store.layout import Layout
from toolkit.store.manifest import read_manifest, write_manifest
from toolkit.store.samples import SampleReader


def keys_of(layout: Layout, dataset: str) -> list[str]:
    return [row["key"] for path in layout.manifests_of(dataset) for row in read_manifest(path)]


def test_members_are_those_that_tarfile_finds(tiny_layout: Layout) -> None:
    reader = SampleReader(tiny_layout, "tiny")
    keys = keys_of(tiny_layout, "tiny")
    assert len(keys) == 12
    for key in keys:
        row = reader.row(key)
        with tarfile.open(tiny_layout.tar_named("tiny", row["shard"])) as tar:
            for ext in ("jpg", "txt", "json"):
                file = tar.extractfile(f"{key}.{ext}")
                assert file is not None
                assert reader.member(key, ext) == file.read()
        image = Image.open(io.BytesIO(reader.picture(key)))
        assert image.size == (row["width"], row["height"])


def test_the_first_picture_is_the_primary_one(triplets: Layout) -> None:
    reader = SampleReader(triplets, "circles")
    assert reader.picture("circle3") == reader.member("circle3", "target.png")
    assert reader.picture("circle3") != reader.member("circle3", "source.png")
    assert np.asarray(Image.open(io.BytesIO(reader.picture("circle3")))).shape == (48, 48, 3)


def test_what_is_not_there_is_named(tiny_layout: Layout) -> None:
    reader = SampleReader(tiny_layout, "tiny")
    key = keys_of(tiny_layout, "tiny")[0]
    with pytest.raises(UserError, match="no sample 'nobody' in the dataset tiny"):
        reader.row("nobody")
    with pytest.raises(UserError, match=f"did you mean {key}"):
        reader.row(f"{key}x")
    with pytest.raises(UserError, match="has no member png: it has jpg, txt, json"):
        reader.member(key, "png")
    tiny_layout.tar("tiny", 0).unlink()
    with pytest.raises(UserError, match=r"tiny-000000.tar cannot be read .*: the command that"):
        reader.picture(key)


def test_a_failed_input_holds_no_picture(tiny_layout: Layout, toy_source: type) -> None:
    source = toy_source("bad", {"bad": Record({"jpg": b"text"}), "worse": OSError(5, "gone")})
    pack(source, "bad", tiny_layout, 5)
    reader = SampleReader(tiny_layout, "bad")
    with pytest.raises(UserError, match="holds no picture: no picture format begins"):
        reader.picture("bad")
    assert reader.row("worse")["cause"] == "unreadable"


def test_a_duplicate_does_not_hide_the_sample_it_repeats(
    tiny_layout: Layout,
    toy_source: type,
    encode: Callable[..., bytes],
    make_picture: Callable[..., np.ndarray],
) -> None:
    good = Record({"jpg": encode(make_picture(1))})
    pack(
        toy_source("twice", {"a.jpg": good, "a.png": good}, {"a.jpg": "a", "a.png": "a"}),
        "twice",
        tiny_layout,
        5,
    )
    assert SampleReader(tiny_layout, "twice").row("a")["status"] == "ok"


def test_a_failed_row_does_not_hide_the_sample_of_the_same_key(tiny_layout: Layout) -> None:
    """The packer writes no such rows, but manifests of another making may hold them."""
    path = tiny_layout.manifest("tiny", 0)
    first, *rest = read_manifest(path)
    failed = {"key": first["key"], "dataset": "tiny", "shard": first["shard"], "status": "failed"}
    write_manifest(path, [failed, first, *rest, failed], "f", "00")
    assert SampleReader(tiny_layout, "tiny").row(first["key"])["status"] == "ok"
