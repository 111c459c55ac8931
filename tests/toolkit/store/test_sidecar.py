"""Columns added later: in the manifest's order, null where unknown, refused when stale."""

import json
import math
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from toolkit.core.errors import UserError
from toolkit.packing.dataset import pack
from toolkit.sources.folder import open_source
from toolkit.store.layout import Layout
from toolkit.store.manifest import read_manifest
from toolkit.store.sidecar import read_columns, sidecar_path, write_columns

STEM = "tiny-000001"


def keys_of(layout: Layout) -> list[str]:
    return [row["key"] for row in read_manifest(layout.manifest_named("tiny", STEM))]


def test_columns_stand_in_the_order_of_the_manifest(tiny_layout: Layout) -> None:
    keys = keys_of(tiny_layout)
    values = {keys[2]: {"b": 2.0}, keys[0]: {"a": 0.5, "b": math.inf}, "stranger": {"a": 9.0}}
    write_columns(tiny_layout, "tiny", STEM, "scores", values)
    table = read_columns(tiny_layout, "tiny", STEM, "scores")
    assert table.column("key").to_pylist() == keys
    assert table.column("a").to_pylist() == [0.5, None, None, None]
    assert table.column("b").to_pylist() == [math.inf, None, 2.0, None]
    path = tiny_layout.manifests / "tiny" / "sidecars" / "scores" / f"{STEM}.parquet"
    assert sidecar_path(tiny_layout, "tiny", STEM, "scores") == path
    assert pq.read_table(path).num_rows == 4
    assert tiny_layout.sidecars("tiny") == [path.parent]


def test_a_sidecar_leaves_the_dataset_as_it_was(tiny_layout: Layout) -> None:
    files = list(tiny_layout.manifests.rglob("*.parquet"))
    before = {p: p.read_bytes() for p in files}
    write_columns(tiny_layout, "tiny", STEM, "scores", {})
    assert {p: p.read_bytes() for p in files} == before
    assert tiny_layout.datasets() == ["tiny"]
    assert len(tiny_layout.manifests_of("tiny")) == 3


def test_a_missing_sidecar_is_named(tiny_layout: Layout) -> None:
    with pytest.raises(UserError, match="there is no sidecar scores of tiny"):
        read_columns(tiny_layout, "tiny", STEM, "scores")


def test_a_sidecar_of_another_tar_is_refused(tiny_layout: Layout, tiny_pictures: Path) -> None:
    write_columns(tiny_layout, "tiny", STEM, "scores", {keys_of(tiny_layout)[0]: {"a": 1.0}})
    json_file = tiny_pictures / "sketch" / "p0.json"
    json_file.write_text(json.dumps({"artist": "somebody else"}), "utf-8")
    for index in range(3):
        tiny_layout.manifest("tiny", index).unlink()  # so that the shards are made again
    pack(open_source(tiny_pictures), "tiny", tiny_layout, 4, overwrite=True)
    with pytest.raises(UserError, match="is stale, its shard was packed anew"):
        read_columns(tiny_layout, "tiny", STEM, "scores")
