"""Pictures of a run: independent of their batch, made anew when weights or settings change."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from toolkit.core.config import load_toml, resolve
from toolkit.packing.dataset import pack
from toolkit.store.images import decode_rgb
from toolkit.store.layout import Layout
from toolkit.store.manifest import read_manifest
from toolkit.store.samples import SampleReader
from toolkit.store.selection import Selection, select
from train.methods import config_module, preset_path
from train.methods.api import Method
from train.pictures import StylizedSource, StylizeSettings
from train.runs import build_method, default_config


@pytest.fixture(scope="module")
def method() -> Method:
    smoke = load_toml(preset_path("style_adapter", "smoke"))
    made = build_method(resolve(default_config("style_adapter"), smoke, "smoke"))
    made.module().eval()
    return made


@pytest.fixture(scope="module")
def selection(sample_data: Layout, tmp_path_factory) -> Selection:
    where = "split = 'val' and key < 'chelsea-01'"
    return select("stylize", "teacher", where, sample_data, tmp_path_factory.mktemp("cache"))


def chosen(steps: int, **others: int) -> StylizeSettings:
    module = config_module("style_adapter")
    return StylizeSettings(module.Stylize(steps), module.needs(module.Config()), **others)


def packed(
    method: Method, selection: Selection, root: Path, settings: StylizeSettings, **identity: str
) -> tuple[list[np.ndarray], int]:
    """The pictures, and how many were made rather than kept."""
    layout = Layout(root / "shards", root / "manifests")
    source = StylizedSource(method, settings, {"run": "r", **identity}, selection, "teacher")
    pack(source, "out", layout, samples_per_shard=4)
    rows = [row for path in layout.manifests_of("out") for row in read_manifest(path)]
    assert [row["key"] for row in rows] == selection.table.column("key").to_pylist()
    reader = SampleReader(layout, "out")
    return [decode_rgb(reader.picture(row["key"])).astype(int) for row in rows], len(source.spent_s)


def test_batches_change_nothing_and_seeds_do(
    method: Method, selection: Selection, tmp_path: Path
) -> None:
    settings = chosen(2, batch_size=3)
    first, made = packed(method, selection, tmp_path / "a", settings)
    assert made >= len(first) == len(selection)
    other, _ = packed(
        method, selection, tmp_path / "b", dataclasses.replace(settings, batch_size=16)
    )
    assert max(np.abs(a - b).max() for a, b in zip(first, other, strict=True)) <= 1
    seeded, _ = packed(method, selection, tmp_path / "c", dataclasses.replace(settings, seed=1))
    assert all(np.abs(a - b).max() > 8 for a, b in zip(first, seeded, strict=True))


def test_the_same_again_makes_nothing_and_other_weights_make_all(
    method: Method, selection: Selection, tmp_path: Path
) -> None:
    settings = chosen(1)
    _, made = packed(method, selection, tmp_path, settings, weights="a")
    assert made
    _, again = packed(method, selection, tmp_path, settings, weights="a")
    assert again == 0
    _, changed = packed(method, selection, tmp_path, settings, weights="b")
    assert changed == made
