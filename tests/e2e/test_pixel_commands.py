"""SDXL on pixels through the real commands: three stages, shapes, a kill, pictures, export."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

from tests.conftest import ROOT, encoded, picture
from tests.fork_server import fork_server

SMALL = ("--config=smoke", "--main=tagged", "--where=true", "--threads=1", "--num_pairs=1",
         "--sample.steps=2", "--eval_size=4", "--data.batch_size=4", "--sample_every=0",
         "--tags.shuffle=true")  # fmt: skip


def succeed(folder: Path, module: str, *flags: str) -> str:
    done = fork_server().run(module, list(flags), folder)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tagged pictures of several shapes, one too small."""
    folder = tmp_path_factory.mktemp("pixels")
    (folder / "raw").mkdir()
    facts = {}
    for number in range(14):
        width, height = [(64, 64), (90, 50), (48, 80)][number % 3] if number else (20, 20)
        (folder / "raw" / f"p{number}.png").write_bytes(
            encoded(picture(number, width, height), "PNG")
        )
        tags = f"shape {number % 3}, red, blue, best quality, general"
        facts[f"p{number}.png"] = {"tags": tags, "image_size": [width, height]}
    (folder / "raw" / "meta.json").write_text(json.dumps(facts))
    succeed(folder, "toolkit.pack", "tagged", "--src=raw", "--name=tagged")
    return folder


@pytest.fixture(scope="module")
def stages(work: Path) -> dict[str, str]:
    """What each stage said: encoder, decoder, both, everything."""
    flags = {
        "encoder": ("--stage=distil_encoder", "--loss=x0"),
        "decoder": ("--stage=distil_decoder", "--loss=x0", "--init_from=runs/encoder"),
        "tune": ("--group_lr=sdxl_unet_body:0", "--init_from=runs/decoder"),
        "full": ("--group_lr=sdxl_unet_body:1e-4", "--init_from=runs/tune"),
    }
    return {
        name: succeed(work, "train.run", "pixel_sdxl", *SMALL, "--steps=4", f"--name={name}", *more)
        for name, more in flags.items()
    }


def weights(work: Path, run: str) -> dict[str, torch.Tensor]:
    place = sorted((work / "runs" / run / "checkpoints").iterdir())[-1]
    return load_file(place / "weights.safetensors")


def changed(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> set[str]:
    return {n.split(".")[1] for n in one if not torch.equal(one[n], other[n])}


def test_each_stage_trains_its_part(work: Path, stages: dict[str, str]) -> None:
    states = {name: weights(work, name) for name in stages}
    assert changed(states["encoder"], states["decoder"]) == {"patch_decoder"}
    patches = {"patch_encoder", "patch_decoder"}
    assert changed(states["decoder"], states["tune"]) == patches
    assert changed(states["tune"], states["full"]) == {*patches, "body"}
    assert "U-Net of tiny: random weights" in stages["encoder"]
    assert "left out, smaller than any bucket: 1 of main" in stages["full"]
    *_, told = stages["encoder"].splitlines()
    assert told.endswith("train.run pixel_sdxl … --stage=distil_decoder --init_from=runs/encoder")
    assert stages["decoder"].endswith("train.run pixel_sdxl … --init_from=runs/decoder\n")


@pytest.mark.slow  # style_adapter is killed among the quick ones, by the same engine
def test_a_kill_changes_nothing(work: Path) -> None:
    """Batches of different shapes, with captions shuffled by their seeds."""
    flags = [*SMALL, "--steps=12", "--save_interval=3", "--buckets.size=64"]
    succeed(work, "train.run", "pixel_sdxl", *flags, "--name=whole")
    command = [sys.executable, "-m", "train.run", "pixel_sdxl", *flags, "--name=killed"]
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
    process = subprocess.Popen(command, cwd=work, env=environment, stderr=subprocess.DEVNULL,
                               stdout=subprocess.DEVNULL)  # fmt: skip
    folder = work / "runs" / "killed" / "checkpoints"
    while process.poll() is None and not list(folder.glob("step-*")):
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    succeed(work, "train.run", "pixel_sdxl", "--name=killed", "--resume")
    one, other = weights(work, "whole"), weights(work, "killed")
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
    fewer = ["pixel_sdxl", "--name=killed", "--resume", "--force", "--steps=6"]
    done = fork_server().run("train.run", fewer, work)
    assert done.returncode == 2
    assert "is behind --steps=6 already: give more steps" in done.stderr


def test_pictures_of_texts_and_of_photographs(work: Path, stages: dict[str, str]) -> None:
    run = ("--run=runs/full", "--steps=2")
    succeed(work, "train.stylize", *run, "--caption=a red circle", "--height=48", "--width=64",
            "--schedule=flow_shift", "--out=a.png")  # fmt: skip
    assert Image.open(work / "a.png").size == (64, 48)
    succeed(work, "train.stylize", *run, "--caption=red", "--init=content", "--strength=0.3",
            "--content=raw/p1.png", "--out=b.png")  # fmt: skip
    assert Image.open(work / "b.png").size == (84, 48)  # of 90 × 50, at no more than 64²
    succeed(work, "train.stylize", *run, "--caption=red", "--init=content", "--height=32",
            "--width=48", "--content=raw/p1.png", "--out=c.png")  # fmt: skip
    assert Image.open(work / "c.png").size == (48, 32)
    drawn = ["--prompt=a red circle", "--negative_prompt=blue", "--height=48", "--width=64",
             "--schedule=flow_shift"]  # fmt: skip
    succeed(work, "train.sample", *run, *drawn, "--out=d.png")
    succeed(work, "train.sample", *run, *drawn, "--precision=bf16", "--out=e.png")
    plain, exact, rough = (np.asarray(Image.open(work / f"{n}.png")).astype(int) for n in "ade")
    assert (plain != exact).any()  # the negative prompt leads away from another place
    assert 0 < np.abs(exact - rough).mean() < 6
    done = fork_server().run("train.sample", [*run, "--prompt=x", "--height=50"], work)
    assert done.returncode == 2
    assert done.stderr.strip() == "error: --height=50: takes a multiple of 4, the patch, as 48"


def test_exported_it_is_begun_with(work: Path, stages: dict[str, str]) -> None:
    told = succeed(work, "train.export", "--run=runs/full", "--out=out")
    assert "pixel_sdxl.safetensors" in told
    own = load_file(work / "out" / "pixel_sdxl.safetensors")
    assert "model.diffusion_model.middle_block.1.proj_in.weight" in own
    told = succeed(
        work, "train.run", "pixel_sdxl", *SMALL, "--steps=1", "--name=again",
        "--init_from=out/pixel_sdxl.safetensors", "--group_lr=sdxl_unet_body:0,patches:1e-9",
    )  # fmt: skip
    assert f"pixel_sdxl.safetensors: {len(own)} weights loaded" in told
    again: Any = weights(work, "again")
    full = weights(work, "full")
    assert all(torch.allclose(again[name], full[name], atol=1e-6) for name in full)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--buckets.multiple=6",), "the method takes multiples of 4"),
        (("--buckets.least=80",), "buckets.least=80: takes 0 to 64"),
        (("--train_text=true", "--text_device=cpu"), "text encoders on a device of their own"),
        (("--backbone=raw",), "holds no pipeline of SDXL, unet, text_encoder"),
        (("--lpips_weight=0.1", "--lpips_weights=none.pth"), "none.pth: there is no such file"),
        (("--lpips_weight=0.1", "--stage=distil_encoder"), "takes no LPIPS"),
        (("--init_from=raw/p1.png",), "raw/p1.png"),
    ],
)
def test_what_cannot_work_is_one_line(work: Path, flags: tuple[str, ...], message: str) -> None:
    done = fork_server().run("train.run", ["pixel_sdxl", *SMALL, "--name=none", *flags], work)
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) <= 2
