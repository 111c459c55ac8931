"""Linked datasets with all that an export has to carry: splits, captions and styles in any script,
licences, categories, two pictures a sample, keys that two datasets share."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Call, Outcome, ToySource, copied, encoded, picture
from toolkit.core.records import Link, Record
from toolkit.export import COMMANDS
from toolkit.packing.dataset import pack
from toolkit.store.layout import Layout

STYLES = ("Art Nouveau (Modern)", "浮世絵 / ukiyo-e", "test | set")
SPLITS = (None, "train", "val", "test")
PER_SHARD = 5


def mixed_sources() -> list[ToySource]:
    photos = {
        f"a{i}": Record(
            {"jpg": encoded(picture(100 + i, 56, 40))},
            captions=(f'photo "{i}", näher\nbetrachtet', "=1+1"),
            licence=("CC0-1.0", "CC-BY-4.0 | by <somebody>", None)[i % 3],
            categories=("cat", "straße") if i % 2 else (), split=SPLITS[i % 4],
            extra={"note": "ü", "n": i},
        )
        for i in range(8)
    }  # fmt: skip
    paintings = {
        f"a{i}": Record(
            {"jpg": encoded(picture(200 + i, 64, 48))}, style=STYLES[i % 3], artist="Ō", title="x",
            split=SPLITS[i % 4],
        )
        for i in range(6)
    }  # fmt: skip
    targets = {
        f"t{i:02d}": Record(
            {"jpg": encoded(picture(300 + i))}, captions=(f"target {i}",), style=STYLES[i % 3],
            links=(Link("content", "photos", f"a{i % 8}"), Link("style", "paintings", f"a{i % 6}")),
            split=SPLITS[i % 4], protocol="reinhard-1:abc", protocol_exact=i % 2 == 0, attempt=1,
            grade="AB"[i % 2], weight=0.5 + i / 100, extra={"seed": i},
        )
        for i in range(13)
    }  # fmt: skip
    circles = {
        f"c{i}": Record(
            {"target.png": encoded(picture(400 + i), "PNG"),
             "source.png": encoded(picture(500 + i), "PNG")},
            captions=(f"circle {i}",), split="train",
        )
        for i in range(7)
    }  # fmt: skip
    parts = {"photos": photos, "paintings": paintings, "targets": targets, "circles": circles}
    return [ToySource(name, records) for name, records in parts.items()]


@pytest.fixture(scope="session")
def mixed_origin(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    """What `mixed` is copied from, for tests that only read."""
    folder = tmp_path_factory.mktemp("mixed")
    layout = Layout(folder / "shards", folder / "manifests")
    for source in mixed_sources():
        pack(source, source.name, layout, PER_SHARD)
    return layout


@pytest.fixture
def mixed(mixed_origin: Layout, tmp_path: Path) -> Layout:
    """Four linked datasets, free to change."""
    return copied(mixed_origin, tmp_path / "mixed")


@pytest.fixture
def export(call: Call) -> Callable[..., Outcome]:
    """`export(layout, where, form, out, *flags)`: the command, in this process."""

    def start(layout: Layout, where: str, form: str, out: Path, *flags: str) -> Outcome:
        return call(COMMANDS, where, f"--as={form}", f"--out={out}", layout, *flags)

    return start
