"""The built-in sample data: counts, splits, links, and that it is what it says it is."""

import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy._core import _multiarray_umath as numpy_core
from PIL import Image, ImageColor

from toolkit.core.errors import UserError
from toolkit.painting import styles
from toolkit.painting.photographs import PHOTOGRAPHS
from toolkit.sources.sample import PARTS, Sample, open_source
from toolkit.store.layout import Layout
from toolkit.store.manifest import read_manifest
from toolkit.store.samples import SampleReader

ROOT = Path(__file__).resolve().parents[3]
HELD_OUT = {p.name for p in PHOTOGRAPHS if p.held_out}
Digests = Callable[[Layout], dict[str, str]]

# Packs a few inputs of each part and prints the hashes of the tars and manifests.
FEW = """
import hashlib, sys
from pathlib import Path
from toolkit.packing.plan import plan
from toolkit.packing.shard import fingerprint, make_shard
from toolkit.sources.sample import Sample
from toolkit.store.images import decode_rgb
from toolkit.store.ingest import Policy
from toolkit.store.layout import Layout
from toolkit.store.samples import SampleReader
from toolkit.teachers import statistics

folder = Path(sys.argv[1])
layout = Layout(folder / "s", folder / "m")
chosen = {
    "content": {"astronaut-00", "galaxies-01", "cameraman-07", "chelsea-05"},
    "wikiart": {f"{s}-003" for s in
                ("impressionism", "pointillism", "cubism", "ukiyo_e", "northern_renaissance")},
    "fill50k": {"000000", "000009", "000077"},
}
for part, names in chosen.items():
    source = Sample(part, layout)
    refs = [ref for ref in source.index() if ref.source_id in names]
    assert len(refs) == len(names), part
    for place in (layout.shards, layout.manifests):
        (place / part).mkdir(parents=True)
    inputs = list(plan(refs))
    identity = fingerprint(part, source.describe(), inputs)
    make_shard(source, part, 0, inputs, layout, identity, Policy())
pixels = statistics.transfer(
    decode_rgb(SampleReader(layout, "content").picture("astronaut-00")),
    decode_rgb(SampleReader(layout, "wikiart").picture("cubism-003")), 7, statistics.Settings(),
)
print("teacher", hashlib.sha256(pixels.tobytes()).hexdigest())
for path in sorted(folder.rglob("*.*")):
    print(path.relative_to(folder), hashlib.sha256(path.read_bytes()).hexdigest())
"""


def rows_of(layout: Layout, dataset: str) -> list[dict[str, Any]]:
    return [row for path in layout.manifests_of(dataset) for row in read_manifest(path)]


def slow_cpu() -> dict[str, str]:
    """An environment in which numpy and the C library do without the newer vector units."""
    features = [name for name in numpy_core.__cpu_dispatch__ if numpy_core.__cpu_features__[name]]
    return {
        "NPY_DISABLE_CPU_FEATURES": " ".join(features),
        "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX2,-FMA",
    }


def test_a_few_samples_have_the_same_bytes_without_vector_units(tmp_path: Path) -> None:
    printed = []
    for number, settings in enumerate(({}, slow_cpu())):
        folder = tmp_path / str(number)
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", FEW, str(folder)],
            env={**os.environ, "PYTHONPATH": str(ROOT), **settings},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        printed.append(done.stdout)
    assert len(printed[0].splitlines()) == 7
    assert printed[0] == printed[1]


@pytest.mark.slow
@pytest.mark.parametrize("variant", ["again", "two jobs", "numpy", "libc"])
def test_the_whole_sample_has_the_same_bytes_everywhere(
    variant: str, sample_data: Layout, tmp_path: Path, run_command: Any, digests: Digests
) -> None:
    settings = slow_cpu()
    kept = {"numpy": "NPY_DISABLE_CPU_FEATURES", "libc": "GLIBC_TUNABLES"}.get(variant)
    env = {kept: settings[kept]} if kept else {}
    layout = Layout(tmp_path / "s", tmp_path / "m")
    jobs = 2 if variant == "two jobs" else 1
    done = run_command(
        "toolkit.pack", f"--shards={layout.shards}", f"--manifests={layout.manifests}",
        f"--jobs={jobs}", cwd=tmp_path, env=env,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert digests(layout) == digests(sample_data)


def test_the_parts_have_their_counts_and_no_failures(sample_data: Layout) -> None:
    assert sample_data.datasets() == sorted(PARTS)
    counts = {}
    for part in PARTS:
        rows = rows_of(sample_data, part)
        assert {row["status"] for row in rows} == {"ok"}
        assert len({row["key"] for row in rows}) == len(rows)
        assert all(row["licence"] and row["captions"] for row in rows)
        counts[part] = (len(rows), sum(row["split"] == "val" for row in rows))
    assert counts == {
        "content": (100, 20), "wikiart": (140, 20), "fill50k": (200, 20), "teacher": (600, 120),
    }  # fmt: skip


def test_keys_are_the_ids_and_pictures_the_stated_size(sample_data: Layout) -> None:
    for part, size in (("content", 256), ("wikiart", 256), ("fill50k", 512), ("teacher", 256)):
        for row in rows_of(sample_data, part):
            assert row["key"] == row["source_id"]
            assert (row["width"], row["height"]) == (size, size)
            assert row["extra"] is None or "changes" not in json.loads(row["extra"])


def test_no_photograph_stands_on_both_sides_of_the_split(sample_data: Layout) -> None:
    for row in rows_of(sample_data, "content"):
        assert (row["split"] == "val") == (row["title"] in HELD_OUT)
    for row in rows_of(sample_data, "teacher"):
        content = row["links"][0]["key"]
        assert (row["split"] == "val") == (content.partition("-")[0] in HELD_OUT)


def test_paintings_are_labelled_as_rendered(sample_data: Layout) -> None:
    rows = rows_of(sample_data, "wikiart")
    by_style: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        by_style.setdefault(row["style"], []).append(row)
        assert "renderer" in row["artist"]
        assert row["title"].partition(",")[0] not in HELD_OUT
        assert row["key"].startswith(row["style"].lower())
    assert tuple(by_style) == styles.names()
    for found in by_style.values():
        assert [row["split"] for row in found] == ["train"] * 24 + ["val"] * 4
        # Each subject in each palette once in training: the style is not told by the subject.
        assert len({row["title"] for row in found[:24]}) == 24


def test_targets_link_to_samples_of_their_own_split(sample_data: Layout) -> None:
    split = {(part, row["key"]): row["split"] for part in PARTS[:2]
             for row in rows_of(sample_data, part)}  # fmt: skip
    style_of = {row["key"]: row["style"] for row in rows_of(sample_data, "wikiart")}
    caption_of = {row["key"]: row["captions"] for row in rows_of(sample_data, "content")}
    pairs = set()
    styles_of_content: dict[str, set[str]] = {}
    for row in rows_of(sample_data, "teacher"):
        content, style = row["links"]
        assert (content["role"], style["role"]) == ("content", "style")
        assert split[content["dataset"], content["key"]] == row["split"]
        assert split[style["dataset"], style["key"]] == row["split"]
        assert row["style"] == style_of[style["key"]]
        assert row["captions"] == caption_of[content["key"]]
        assert row["key"] == f"{content['key']}_{style['key']}_seed0"
        assert row["protocol"]
        pairs.add((content["key"], style["key"]))
        styles_of_content.setdefault(content["key"], set()).add(row["style"])
    assert len(pairs) == 600
    assert all(len(found) == 5 for found in styles_of_content.values())
    assert len(styles_of_content) == 100


def test_a_target_lies_between_its_content_and_its_style(sample_data: Layout) -> None:
    """Its layout is the content's, its colours are nearer to the style's than the content's are."""
    contents, paintings = SampleReader(sample_data, "content"), SampleReader(sample_data, "wikiart")
    targets = SampleReader(sample_data, "teacher")

    def pixels(data: bytes) -> np.ndarray:
        return np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).astype(float)

    nearer, alike = 0, []
    rows = rows_of(sample_data, "teacher")[::50]
    for row in rows:
        target = pixels(targets.picture(row["key"]))
        content = pixels(contents.picture(row["links"][0]["key"]))
        style = pixels(paintings.picture(row["links"][1]["key"]))
        means = [p.mean((0, 1)) for p in (target, content, style)]
        nearer += np.linalg.norm(means[0] - means[2]) < np.linalg.norm(means[1] - means[2])
        small = [p.mean(2).reshape(32, 8, 32, 8).mean((1, 3)).ravel() for p in (target, content)]
        alike.append(np.corrcoef(*small)[0, 1])
    assert nearer >= 0.8 * len(rows)
    assert np.median(alike) > 0.7


def test_circles_are_fill50k(sample_data: Layout) -> None:
    reader = SampleReader(sample_data, "fill50k")
    for row in rows_of(sample_data, "fill50k")[::17]:
        assert [m["ext"] for m in row["members"]] == ["target.png", "source.png", "txt", "json"]
        extra = json.loads(row["extra"])
        number = int(row["key"])
        assert extra == {
            "prompt": row["caption"], "source": f"source/{number}.png",
            "target": f"target/{number}.png",
        }  # fmt: skip
        circle, _, rest = row["caption"].partition(" circle with ")
        ground = rest.removesuffix(" background")
        target, source = (
            np.asarray(Image.open(io.BytesIO(reader.member(row["key"], ext))).convert("RGB"))
            for ext in ("target.png", "source.png")
        )
        inside = ImageColor.getrgb(circle.replace(" ", ""))
        outside = ImageColor.getrgb(ground.replace(" ", ""))
        is_inside, is_outside = ((target == colour).all(axis=2) for colour in (inside, outside))
        assert (is_inside ^ is_outside).all()
        assert is_inside.any()
        assert is_outside.any()
        assert set(np.unique(source).tolist()) == {0, 255}
        outline = source[..., 0] == 255
        # the outline lies astride the edge, so either colour is under half of it
        assert 0.3 < (target[outline] == inside).all(axis=1).mean() < 0.7


def test_the_sample_reads_as_a_plain_webdataset(sample_data: Layout) -> None:
    with tarfile.open(sample_data.tar("teacher", 0)) as tar:
        names = tar.getnames()
    assert len(names) == 64 * 3
    assert names[0].endswith("_seed0.jpg")
    data = sample_data.tar("teacher", 0).read_bytes()
    for row in read_manifest(sample_data.manifest("teacher", 0)):
        for member in row["members"]:
            body = data[member["offset"] : member["offset"] + member["size"]]
            assert hashlib.sha256(body).hexdigest() == member["sha256"]


def test_an_unknown_part_is_refused() -> None:
    with pytest.raises(UserError, match="has no part 'photos': choose one of content, wikiart"):
        open_source("photos")


def test_a_teacher_without_its_parents_says_so(tmp_path: Path) -> None:
    source = Sample("teacher", Layout(tmp_path, tmp_path))
    with pytest.raises(UserError, match=r"no sample .* in the dataset content"):
        source.read(next(source.index()))
