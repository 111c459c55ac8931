"""Few-shot styles through the real commands: packed, trained, drawn, scored, exported."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.conftest import SHARED_DATA, encoded, picture
from tests.fork_server import fork_server
from tests.twins import stable_diffusion
from toolkit.store.layout import Layout
from toolkit.store.manifest import read_manifest

REAL = SHARED_DATA / "fewshot" / "jittor5_A"
PROMPTS = {"0": "Library", "1": "Ball of wool", "2": "Phone"}


def succeed(folder: Path, module: str, *flags: str) -> str:
    done = fork_server().run(module, list(flags), folder)
    assert done.returncode == 0, done.stderr
    return done.stdout


def write_style(folder: Path, seed: int, names: tuple[str, ...]) -> None:
    (folder / "images").mkdir(parents=True)
    for number, name in enumerate(names):
        pixels = picture(100 * seed + number, 40, 40)
        (folder / "images" / f"{name}.png").write_bytes(encoded(pixels, "PNG"))
    (folder / "prompt.json").write_text(json.dumps(PROMPTS))


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """styles/ and a backbone sd/ of random weights."""
    folder = tmp_path_factory.mktemp("fewshot")
    stable_diffusion(folder / "sd")
    write_style(folder / "styles" / "05", 5, ("ball", "bird", "red_house"))
    write_style(folder / "styles" / "09", 9, ("cat", "dog"))
    succeed(folder, "toolkit.pack", "fewshot", "--src=styles", "--name=fewshot")
    prior = ["--config=smoke", "--main=fewshot", "--steps=2", "--backbone=sd"]
    succeed(folder, "train.prior", *prior, "--each=2")
    return folder


TRAIN = ("dreambooth_lora", "--config=smoke", "--main=fewshot", "--mix=main:1,prior:1",
         "--backbone=sd", "--num_pairs=2", "--sample.steps=2", "--threads=1")  # fmt: skip


@pytest.fixture(scope="module")
def run(work: Path) -> Path:
    out = succeed(work, "train.run", *TRAIN, "--where=style='05'", "--name=five", "--steps=30",
                  "--lora.unet_alpha=8", "--lora.text_rank=2")  # fmt: skip
    assert out.splitlines()[-1] == "next: python -m train.stylize --run=runs/five"
    return work / "runs" / "five"


def rows_of(work: Path, dataset: str) -> list[dict[str, Any]]:
    layout = Layout(work / "shards", work / "manifests")
    return [row for path in layout.manifests_of(dataset) for row in read_manifest(path)]


def test_prior_pictures_are_of_what_the_style_shows_and_is_asked_for(work: Path) -> None:
    things = ["ball", "bird", "red house", *PROMPTS.values()]
    rows = rows_of(work, "prior")
    assert [row["caption"] for row in rows] == [thing for thing in things for _ in range(2)]
    assert len({row["sha256"] for row in rows}) == 12
    assert {row["style"] for row in rows} == {None}
    per = ["--scope=per_style", "--name=own", "--each=1", "--steps=1"]
    succeed(work, "train.prior", "--config=smoke", "--main=fewshot", "--backbone=sd", *per)
    assert [row["caption"] for row in rows_of(work, "own-09")] == ["cat", "dog", *PROMPTS.values()]
    other = ["--scope=per_style", "--name=own", "--each=1", "--steps=2"]
    told = succeed(work, "train.prior", "--config=smoke", "--main=fewshot", "--backbone=sd", *other)
    assert "own-05 was made anew, with another steps; --name=… keeps both" in told


def test_it_learns_and_draws_the_prompts_of_its_style(work: Path, run: Path) -> None:
    log = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    losses = [row["eval_loss"] for row in log if "eval_loss" in row]
    assert losses[-1] < losses[0]
    assert {name for row in log for name in row} >= {"loss/main", "loss/prior", "mse/prior"}
    drawn = ["--steps=3", "--guidance=3"]
    out = succeed(work, "train.stylize", f"--run={run}", *drawn, "--files=outputs")
    assert "3 files in outputs" in out
    assert sorted(p.name for p in (work / "outputs" / "05").iterdir()) == [
        "Ball of wool.png", "Library.png", "Phone.png",
    ]  # fmt: skip
    rows = rows_of(work, "five-out")
    assert [row["key"] for row in rows] == ["05_library", "05_ball_of_wool", "05_phone"]
    assert {row["style"] for row in rows} == {"05"}
    linked = [link["key"] for link in rows[0]["links"] if link["role"] == "style"]
    assert linked == ["05_ball", "05_bird", "05_red_house"]
    summary = succeed(work, "eval.run", f"--run={run}")
    assert "3 style the same" in summary  # what it is scored against is what it was trained on
    assert "missing: clip_score: clip: openai/clip-vit-base-patch32 is missing" in summary
    succeed(work, "eval.report", f"--run={run}")
    assert (run / "report.html").is_file()
    assert "3 pictures: 3 drawn from texts." in (run / "report.md").read_text()


def test_a_small_backbone_comes_along(work: Path) -> None:
    """The preset as it is: without its LoRA it draws the same after any training."""
    flags = ["dreambooth_lora", "--config=smoke", "--main=fewshot", "--where=style='05'",
             "--mix=main:1", "--num_pairs=1", "--sample.steps=1", "--eval_size=2",
             "--threads=1"]  # fmt: skip
    drawn: dict[tuple[int, int], np.ndarray] = {}
    for steps in (1, 3):
        succeed(work, "train.run", *flags, f"--steps={steps}", f"--name=tiny-{steps}")
        for scale in (0, 1):
            out = succeed(work, "train.stylize", f"--run=runs/tiny-{steps}", f"--scale={scale}",
                          "--caption=Phone", "--steps=2", "--init=noise")  # fmt: skip
            drawn[steps, scale] = np.asarray(Image.open(work / out.splitlines()[-1]))
    assert drawn[1, 0].shape == (64, 64, 3)
    assert np.array_equal(drawn[1, 0], drawn[3, 0])
    assert not np.array_equal(drawn[1, 1], drawn[3, 1])


def test_prompts_are_drawn_with_pictures_of_their_style(work: Path, run: Path) -> None:
    """Each prompt with one of them, always the same, which its row names."""
    flags = ["--steps=3", "--inject.layers=6", "--inject.gamma=0.3", "--name=injected"]
    out = succeed(work, "train.stylize", f"--run={run}", *flags)
    assert out.splitlines()[-1] == f"next: python -m eval.run --run={run} --name=injected"
    usual = (run / "stylize-five-out.json").read_bytes()  # what these took is kept apart
    assert (run / "stylize-injected.json").read_bytes() != usual
    succeed(work, "eval.run", f"--run={run}", "--name=injected")
    summary = json.loads((work / "runs/injected/scores/summary.json").read_text())
    assert (summary["dataset"], summary["pictures"]) == ("injected", 3)
    assert summary["cost"] == json.loads((run / "stylize-injected.json").read_text())
    succeed(work, "eval.report", "--name=injected")
    rows = rows_of(work, "injected")
    shown = [json.loads(row["extra"])["shown"] for row in rows]
    assert set(shown) <= {"05_ball", "05_bird", "05_red_house"}
    assert len(set(shown)) > 1
    succeed(work, "train.stylize", f"--run={run}", "--steps=3", "--name=plain")
    assert all(
        a["sha256"] != b["sha256"] for a, b in zip(rows, rows_of(work, "plain"), strict=True)
    )


def test_what_does_not_look_like_its_style_is_drawn_again(work: Path, run: Path) -> None:
    """Random weights draw nothing of the style: every picture is drawn three times more."""
    flags = ["--steps=2", "--fallback=true", "--name=again"]
    out = succeed(work, "train.stylize", f"--run={run}", *flags)
    assert "3 of 3 pictures were farther from their style's look" in out
    told = [json.loads(row["extra"]) for row in rows_of(work, "again")]
    assert [one["drawn_again"] for one in told] == [3, 3, 3]
    assert all(one["look"]["distance"] > one["look"]["farthest"] > 0 for one in told)
    again = succeed(work, "train.stylize", f"--run={run}", *flags[:2], "--name=once_more")
    assert again.count("drawn again") == 1
    hashes = [[row["sha256"] for row in rows_of(work, name)] for name in ("again", "once_more")]
    assert hashes[0] == hashes[1]


def test_what_is_drawn_follows_its_flags(work: Path, run: Path) -> None:
    def one(*flags: str) -> np.ndarray:
        out = succeed(work, "train.stylize", f"--run={run}", "--caption=Phone", "--steps=4", *flags)
        return np.asarray(Image.open(work / out.splitlines()[-1])).astype(int)

    usual = one()
    assert np.array_equal(one(), usual)
    others = [one(*flags) for flags in (
        ("--scale=0",), ("--init=noise",), ("--seed=1",), ("--guidance=1",), ("--negative=cat",),
        ("--init=content", f"--content={work / 'styles/09/images/cat.png'}"), ("--strength=0.5",),
        ("--strengths=Phone:0.5",),
        ("--inject.layers=6", f"--style={work / 'styles/05/images/ball.png'}"),
    )]  # fmt: skip
    assert not any(np.array_equal(found, usual) for found in others)
    for flags, says in (
        (["--style=a.png"], "is used where an option wants one"),
        (["--caption=x", "--target_style=09"], "the run knows 05"),
        (["--caption=x", "--init=content"], "give a picture with --content"),
        (["--caption=x", "--inject.layers=6"], "give a picture of the style with --style"),
        (["--caption=x", "--content=a.png"], "is used where an option wants one, as --init"),
        (["--caption=x", "--fallback=true"], "--fallback goes with many pictures"),
        (["--caption=x", "--strengths=Phone"], "takes TEXT:STRENGTH"),
        (["--prompts=none.txt"], "cannot read the prompts none.txt"),
        (["--out=a.png"], "--out goes with one picture"),
    ):
        done = fork_server().run("train.stylize", [f"--run={run}", *flags], work)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
        assert says in done.stderr


LOAD = """
import sys
import numpy, torch
from diffusers import DiffusionPipeline, DPMSolverMultistepScheduler
for number, words in enumerate(sys.argv[1:]):
    base, *lora = words.split()
    pipe = DiffusionPipeline.from_pretrained(base)
    if lora:
        pipe.load_lora_weights(lora[0], weight_name=lora[1])
    pipe.scheduler = DPMSolverMultistepScheduler.from_config(
        {**pipe.scheduler.config, "algorithm_type": "dpmsolver++"})
    latents = torch.randn(4, 16, 16, generator=torch.Generator().manual_seed(7))[None]
    found = pipe("an image of Phone in style_05", num_inference_steps=3, guidance_scale=4.0,
                 latents=latents, output_type="np").images[0]
    numpy.save(f"found-{number}.npy", found)
"""


def test_exported_and_loaded_in_a_fresh_process_it_draws_the_same(work: Path, run: Path) -> None:
    """α is 8 of a rank of 16; the picture is the command's, from either file and baked in."""
    succeed(work, "train.export", f"--run={run}", "--out=exported")
    succeed(work, "train.lora", "bake", "exported", "--backbone=sd", "--out=baked")
    out = succeed(work, "train.stylize", f"--run={run}", "--caption=Phone", "--steps=3",
                  "--guidance=4", "--init=noise", "--seed=7")  # fmt: skip
    made = np.asarray(Image.open(work / out.splitlines()[-1])).astype(int)
    ways = ("sd exported pytorch_lora_weights.safetensors", "sd exported kohya.safetensors",
            "baked", "sd")  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", LOAD, *ways], cwd=work, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    *same, plain = (np.load(work / f"found-{number}.npy") for number in range(4))
    for found in same:
        assert np.abs((found * 255).round() - made).max() <= 1
        np.testing.assert_allclose(found, same[0], rtol=0, atol=1e-4)
    assert np.abs(plain - same[0]).max() > 1e-3


def test_loras_are_shown_resized_merged_and_begun_with(work: Path, run: Path) -> None:
    succeed(work, "train.export", f"--run={run}", "--out=again")
    told = succeed(work, "train.lora", "show", "again/kohya.safetensors")
    assert "modelspec.trigger_phrase: an image of … in style_05" in told
    flags = ["--rank=2", "--out=small.safetensors", "--to=kohya"]
    assert "are kept" in succeed(work, "train.lora", "resize", "again", *flags)
    flags = ["again", "--others=small.safetensors", "--weights=1,-1", "--rank=4",
             "--out=both.safetensors"]  # fmt: skip
    succeed(work, "train.lora", "merge", *flags)
    succeed(work, "train.lora", "convert", "both.safetensors", "--to=kohya", "--out=k.safetensors")
    begun = [*TRAIN, "--where=style='05'", "--name=on", "--steps=1", "--sample_every=0",
             "--lora.text_rank=2", "--init_from=again/kohya.safetensors"]  # fmt: skip
    succeed(work, "train.run", *begun)


@pytest.mark.skipif(not REAL.is_dir(), reason="the competition's pictures are not here")
def test_the_real_ten_pictures(work: Path, tmp_path: Path) -> None:
    """Ten pictures of 1024 pixels and 25 prompts, end to end to a scored report."""
    (tmp_path / "styles").mkdir()
    (tmp_path / "styles" / "03").symlink_to(REAL / "03")
    (tmp_path / "sd").symlink_to(work / "sd")
    succeed(tmp_path, "toolkit.pack", "fewshot", "--src=styles", "--name=fewshot")
    prior = ["--config=smoke", "--main=fewshot", "--steps=2", "--backbone=sd", "--each=1"]
    assert "35 pictures of 35 things" in succeed(tmp_path, "train.prior", *prior)
    succeed(tmp_path, "train.run", *TRAIN, "--where=style='03'", "--name=three", "--steps=30")
    log = [
        json.loads(line) for line in (tmp_path / "runs/three/log.jsonl").read_text().splitlines()
    ]
    losses = [row["eval_loss"] for row in log if "eval_loss" in row]
    assert losses[-1] < losses[0]
    out = succeed(tmp_path, "train.stylize", "--run=runs/three", "--steps=2")
    assert "25 pictures in the dataset three-out, 0 failed" in out
    summary = succeed(tmp_path, "eval.run", "--run=runs/three")
    assert "10 style the same" in summary
    assert "missing: fid, kid: inception" in summary
    succeed(tmp_path, "eval.report", "--run=runs/three")
