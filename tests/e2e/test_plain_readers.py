"""Readers that know nothing of Tessera read every sample dataset, each in a process of its own."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from toolkit.store.layout import Layout
from toolkit.store.manifest import read_manifest

DATASETS = ("content", "wikiart", "fill50k", "teacher")

HUGGING_FACE = """
import json, sys
from datasets import load_dataset
for files in json.loads(sys.argv[1]):
    for row in load_dataset("webdataset", data_files=files, split="train", streaming=True):
        shapes = {name: value.size for name, value in row.items() if hasattr(value, "size")}
        print(json.dumps({"key": row["__key__"], "shapes": shapes, "txt": row["txt"],
                          "json": row["json"]["key"]}))
"""

WEBDATASET = """
import json, sys
import webdataset
for files in json.loads(sys.argv[1]):
    for row in webdataset.WebDataset(files, shardshuffle=False).decode("pil"):
        shapes = {name: value.size for name, value in row.items() if hasattr(value, "size")}
        print(json.dumps({"key": row["__key__"], "shapes": shapes, "txt": row["txt"],
                          "json": row["json"]["key"]}))
"""


@pytest.mark.parametrize("program", [HUGGING_FACE, WEBDATASET], ids=["datasets", "webdataset"])
def test_it_reads_all_samples(program: str, sample_data: Layout, tmp_path: Path) -> None:
    tars = [[str(p) for p in sorted((sample_data.shards / d).glob("*.tar"))] for d in DATASETS]
    environment = {**os.environ, "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "-c", program, json.dumps(tars)],
        capture_output=True, text=True, check=False, env=environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    manifests = [path for name in DATASETS for path in sample_data.manifests_of(name)]
    rows = [row for path in manifests for row in read_manifest(path)]
    assert [(f["key"], f["json"], f["txt"]) for f in found] == [
        (row["key"], row["key"], row["caption"]) for row in rows
    ]
    for item, row in zip(found, rows, strict=True):
        pictures: dict[str, Any] = item["shapes"]
        assert set(pictures) == {
            m["ext"] for m in row["members"] if m["ext"][-3:] in ("jpg", "png")
        }
        assert all(size == [row["width"], row["height"]] for size in pictures.values())
