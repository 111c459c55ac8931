"""An adapter beside a frozen backbone by the real commands: trained, resumed, drawn with, exported,
and opened by another program."""

import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import load_file

from tests.conftest import ROOT, words_of
from tests.fork_server import fork_server
from toolkit.painting.photographs import load
from toolkit.store.images import encode_jpeg
from toolkit.store.layout import Layout
from train.methods.style_adapter.pipeline import StyleAdapterPipeline

README = (ROOT / "README.md").read_text("utf-8")
(SCRIPT,) = (
    block
    for block in re.findall(r"^```python\n(.*?)^```$", README, re.M | re.S)
    if "StyleAdapterPipeline" in block
)


@pytest.fixture(scope="module")
def words(pixart_weights: dict[str, str], sample_data: Layout) -> list[str]:
    """Of train.run, with what a twin of PixArt needs."""
    return [
        "style_adapter", "--config=smoke", *words_of(sample_data), "--stored=false",
        "--method_config.image_size=64",
        *(f"--{name}={place}" for name, place in pixart_weights.items()),
        "--control_layers=2", "--layers=2", "--steps=4", "--batch_size=4", "--num_pairs=2",
        "--eval_size=4", "--sample.steps=2", "--save_interval=2", "--threads=1",
    ]  # fmt: skip


@pytest.fixture(scope="module")
def trained(words: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    runs = tmp_path_factory.mktemp("runs")
    done = fork_server().run("train.run", [*words, "--name=whole", f"--runs={runs}"])
    assert done.returncode == 0, done.stderr
    assert "frozen fp32" in done.stdout
    return runs / "whole"


def test_what_is_kept_is_what_was_trained(trained: Path) -> None:
    state = load_file(trained / "checkpoints" / "step-000004" / "weights.safetensors")
    assert not any(name.startswith("transformer.") and ".processor." not in name for name in state)
    assert any(name.startswith("control.") for name in state)
    log = [json.loads(line) for line in (trained / "log.jsonl").read_text().splitlines()]
    steps = [row for row in log if "lr" in row]
    assert len(steps) == 4
    for task in ("main", "fill50k"):
        for row in (row for row in steps if f"loss/{task}" in row):
            parts = row[f"mse/{task}"] + row[f"vb/{task}"]
            assert abs(parts - row[f"loss/{task}"]) < 1e-4
            assert row[f"vb/{task}"] > 0


def test_killed_between_two_checkpoints_it_ends_with_the_same_bits(
    trained: Path, words: list[str], tmp_path: Path
) -> None:
    """Here by stopping at the second step, from where the same run goes on."""
    done = fork_server().run("train.run", [*words, "--name=part", f"--runs={tmp_path}"])
    assert done.returncode == 0, done.stderr
    import shutil

    shutil.rmtree(tmp_path / "part" / "checkpoints" / "step-000004")
    done = fork_server().run(
        "train.run",
        [*words[:1], "--name=part", f"--runs={tmp_path}", "--resume", *words[2:4]],
    )
    assert done.returncode == 0, done.stderr
    one, other = (
        hashlib.sha256((f / "checkpoints/step-000004/weights.safetensors").read_bytes()).hexdigest()
        for f in (trained, tmp_path / "part")
    )
    assert one == other


def test_exported_it_makes_the_same_picture_in_every_process(trained: Path, tmp_path: Path) -> None:
    done = fork_server().run("train.export", [f"--run={trained}", f"--out={tmp_path / 'adapter'}"])
    assert done.returncode == 0, done.stderr
    assert "README.md, config.json, style_adapter.safetensors" in done.stdout
    card = (tmp_path / "adapter" / "README.md").read_text()
    assert "library_name: tessera" in card
    assert "step: 4" in card
    again = [f"--run={trained}", f"--out={tmp_path / 'adapter'}"]
    (tmp_path / "adapter" / "mine.txt").write_text("mine")
    refused = fork_server().run("train.export", again)
    assert refused.returncode == 2
    assert refused.stderr.endswith("name another --out, or write there by --overwrite\n")
    done = fork_server().run("train.export", [*again, "--overwrite"])
    assert done.stdout.endswith("adapter: README.md, config.json, style_adapter.safetensors\n")
    assert (tmp_path / "adapter" / "mine.txt").read_text() == "mine"
    (tmp_path / "cat.jpg").write_bytes(encode_jpeg(load("chelsea")))
    (tmp_path / "wave.jpg").write_bytes(encode_jpeg(load("coffee")))
    (tmp_path / "script.py").write_text(SCRIPT)
    plain = subprocess.run(
        [sys.executable, "script.py"], cwd=tmp_path, capture_output=True, text=True,
        env={"PYTHONPATH": str(ROOT), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1",
             "PATH": "/usr/bin:/bin"}, check=False,
    )  # fmt: skip
    assert plain.returncode == 0, plain.stderr
    made = [p.read_bytes() for p in sorted(tmp_path.glob("cat-wave-*.png"))]
    for path in tmp_path.glob("cat-wave-*.png"):
        path.unlink()
    again = fork_server().run("script", [], tmp_path)
    assert again.returncode == 0, again.stderr
    assert made == [p.read_bytes() for p in sorted(tmp_path.glob("cat-wave-*.png"))]
    assert len(set(made)) == 3  # a picture for each strength of the style
    drawn = fork_server().run(
        "train.stylize",
        [f"--run={trained}", f"--content={tmp_path / 'cat.jpg'}",
         f"--style={tmp_path / 'wave.jpg'}", "--caption=a cat", "--steps=3", "--strength=0.7",
         "--style_scale=0.5", "--guidance=2", f"--out={tmp_path / 'drawn.png'}"],
    )  # fmt: skip
    assert drawn.returncode == 0, drawn.stderr
    assert (tmp_path / "drawn.png").stat().st_size > 1000


def test_the_preset_whose_backbone_comes_along(sample_data: Layout, tmp_path: Path) -> None:
    """README's own commands, with fewer steps."""
    data = words_of(sample_data)
    for name in ("chelsea", "coffee"):
        (tmp_path / f"{name}.jpg").write_bytes(encode_jpeg(load(name)))
    short = ["--steps=2", "--num_pairs=2", "--eval_size=4", "--sample.steps=2", "--threads=1"]
    run = tmp_path / "runs" / "style_adapter-tiny"
    drawn = [f"--content={tmp_path}/chelsea.jpg", f"--style={tmp_path}/coffee.jpg",
             "--style_scale=0.8"]  # fmt: skip
    for module, words in (
        ("train.run", ["style_adapter", "--config=tiny", f"--runs={run.parent}", *short, *data]),
        ("train.stylize", [f"--run={run}", *drawn, f"--out={tmp_path / 'drawn.png'}"]),
        ("train.export", [f"--run={run}", f"--out={tmp_path / 'adapter'}"]),
    ):
        done = fork_server().run(module, words)
        assert done.returncode == 0, done.stderr
    pipeline = StyleAdapterPipeline.from_pretrained(tmp_path / "adapter")
    content, style = (Image.open(tmp_path / f"{name}.jpg") for name in ("chelsea", "coffee"))
    (picture,) = pipeline(content, style, style_scale=0.8)
    drawn_by_command = np.asarray(Image.open(tmp_path / "drawn.png"), int)
    assert np.abs(np.asarray(picture, int) - drawn_by_command).max() <= 2  # sums in another order
