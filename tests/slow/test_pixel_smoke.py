"""`smoke` of pixel_sdxl at full length: captions draw the eight photographs that were learnt."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import ROOT
from toolkit.store.layout import Layout
from toolkit.store.manifest import read_manifest
from toolkit.store.samples import SampleReader
from toolkit.stream.decode import decode_cut

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2400)]


def run(folder: Path, module: str, *words: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", module, *words], cwd=folder, capture_output=True, text=True,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def photographs(layout: Layout, keys: list[str]) -> dict[str, np.ndarray]:
    """By caption, uint8 [64,64,3]."""
    reader = SampleReader(layout, "content")
    rows = [row for path in layout.manifests_of("content") for row in read_manifest(path)]
    found = {}
    for row in (row for row in rows if row["key"] in keys):
        found[row["caption"]] = np.empty((64, 64, 3), np.uint8)
        decode_cut(reader.picture(row["key"]), found[row["caption"]])
    return found


def test_captions_draw_the_photographs_that_they_are_of(tmp_path: Path) -> None:
    run(tmp_path, "toolkit.pack")
    run(tmp_path, "train.run", "pixel_sdxl", "--config=smoke", "--sample_every=0", "--name=eight")
    config = (ROOT / "train/methods/pixel_sdxl/presets/smoke.toml").read_text()
    keys = config.split("key in (")[1].split(")")[0].replace("'", "").split(", ")
    wanted = photographs(Layout(tmp_path / "shards", tmp_path / "manifests"), keys)
    assert len(wanted) == 8
    for number, caption in enumerate(wanted):
        out = tmp_path / f"{number}.png"
        run(
            tmp_path, "train.sample", "--run=runs/eight", f"--prompt={caption}",
            f"--seed={number}", f"--out={out}",
        )  # fmt: skip
        drawn = np.asarray(Image.open(out)).astype(float)
        errors = {text: ((drawn - other) ** 2).mean() for text, other in wanted.items()}
        assert min(errors, key=lambda text: errors[text]) == caption
        assert 10 * np.log10(255**2 / errors[caption]) > 18, caption
