"""The competition's recipe, from pictures to the score, as far as it goes without weights."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT, encoded, picture
from tests.twins import stable_diffusion

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

MAKE = ["make", "-f", str(ROOT / "train/methods/dreambooth_lora/recipe.mk"), "CONFIG=smoke",
        "BACKBONE=sd", "CARDS=cpu", "EACH=1", f"PYTHON={sys.executable}",
        "MORE=--threads=1 --steps=4 --sample_every=0"]  # fmt: skip


def test_it_ends_with_what_the_score_needs(tmp_path: Path) -> None:
    stable_diffusion(tmp_path / "sd")
    for style in ("00", "01", "02"):
        images = tmp_path / "styles" / style / "images"
        images.mkdir(parents=True)
        for number, name in enumerate(("ball", "bird", "cup")):
            pixels = picture(10 * int(style) + number, 40, 40)
            (images / f"{name}.png").write_bytes(encoded(pixels, "PNG"))
        (images.parent / "prompt.json").write_text(json.dumps({"0": "Phone", "1": "Wallet"}))
    own = {**os.environ, "PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1"}
    words = [*MAKE, "SRC=styles", "STYLES=2"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, env=own, check=False)
    assert "error: dinov2: facebook/dinov2-base is missing" in done.stderr, done.stderr
    assert done.returncode
    for style in ("00", "01"):
        assert (tmp_path / f"runs/jdiff-{style}/report.html").is_file()
        files = sorted(p.name for p in (tmp_path / "outputs" / "jdiff" / style).iterdir())
        assert files == ["Phone.png", "Wallet.png"]
    assert not (tmp_path / "runs/jdiff-02").exists()
    assert "jdiff-01  dreambooth_lora         2" in done.stdout


def test_without_pictures_it_says_what_it_needs(tmp_path: Path) -> None:
    done = subprocess.run(MAKE, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "error: name the folder of the styles, SRC=DIR" in done.stderr
    assert not any(tmp_path.iterdir())
