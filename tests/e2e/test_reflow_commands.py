"""Reflow: a run's flow solved backwards for all its data, and a second run on the pairs."""

import io
import json
import shutil
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.conftest import words_of
from tests.e2e.test_ot_cfm_commands import SMALL
from toolkit.store.layout import Layout
from train import invert
from train import run as train_run
from train.data import facts_of_data, open_data, open_loader
from train.runs import RunFolder, build_method, load_config, needs_of, settled
from train.settings import fresh_config
from train.state import latest_checkpoint, load_weights

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def data(encoded_data: Layout, tmp_path_factory: pytest.TempPathFactory) -> Layout:
    """A copy, to which sidecars are added."""
    folder = tmp_path_factory.mktemp("reflow")
    for name in ("shards", "manifests"):
        shutil.copytree(getattr(encoded_data, name), folder / name, symlinks=True)
    return Layout(folder / "shards", folder / "manifests")


@pytest.fixture(scope="module")
def first(data: Layout, run_command: Any) -> Path:
    """A run, and the noise of its data."""
    folder = data.shards.parent
    flags = [flag for flag in SMALL if not flag.startswith("--coupling")]
    done = run_command(
        "train.run", "ot_cfm", *flags, "--name=first", *words_of(data), cwd=folder
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    done = run_command(
        "train.invert", "--run=runs/first", "--solver=rk4", "--steps=6", "--dtype=float32",
        *words_of(data), cwd=folder,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    last = latest_checkpoint(folder / "runs" / "first" / "checkpoints").name
    assert f"--noise_sidecar=noise --init_from=runs/first/checkpoints/{last} " in done.stdout
    return folder / "runs" / "first"


def stored(data: Layout, dataset: str, sidecar: str) -> dict[str, torch.Tensor]:
    found = {}
    for tar in sorted((data.shards / dataset / "sidecars" / sidecar).glob("*.tar")):
        with tarfile.open(tar) as file:
            for member in file:
                content = file.extractfile(member)
                assert content is not None
                found[member.name] = torch.from_numpy(np.load(io.BytesIO(content.read())))
    return found


def test_from_its_noise_each_latent_is_generated_again(first: Path, data: Layout) -> None:
    run = RunFolder(first)
    method = build_method(load_config(run.config))
    method.load_trainable_state(load_weights(latest_checkpoint(run.checkpoints)))
    styles = method.config.styles
    noise, latents = (stored(data, "content", name) for name in ("noise", "latents"))
    assert noise.keys() == latents.keys()
    names = list(noise)[:12]
    x, labels = method.standardised(
        torch.stack([latents[n] for n in names]), "content", [None] * 12
    )
    assert set(labels.tolist()) == {styles.index("content")}
    from train.methods.ot_cfm.config import Stylize

    how = Stylize(steps=6, solver="rk4", guidance=1.0)
    with torch.no_grad():
        again = method.translator.generate(torch.stack([noise[n] for n in names]), labels, how)
    assert ((again - x).norm() / x.norm()).item() < 1e-3


def test_the_second_run_learns_the_lines_between_the_pairs(first: Path, data: Layout) -> None:
    """Before its first step the network says 0, so the loss is the lines' mean squared length."""
    flags = {"method_config.noise_sidecar": "noise", "method_config.net.hidden_dim": "32",
             "method_config.net.num_layers": "1", "data.batch_size": "8"}  # fmt: skip
    settings = fresh_config("ot_cfm", "smoke", flags)
    chosen = open_data(settings.data, needs_of(settings), data)
    settings = settled(settings, facts_of_data(chosen))
    method = build_method(settings)
    with open_loader(settings, chosen, needs_of(settings), data) as loader:
        batch = next(iter(loader))
    noise, latents = ({} for _ in range(2))
    for dataset in ("content", "wikiart"):
        noise |= stored(data, dataset, "noise")
        latents |= stored(data, dataset, "latents")
    loss = method.training_loss(batch).per_sample
    for key, found in zip(batch.keys, loss, strict=True):
        name = f"{key}.latent.npy"
        x1, _ = method.standardised(latents[name][None], "content", [None])
        assert found.item() == pytest.approx((x1[0] - noise[name]).square().mean().item(), rel=1e-4)


def test_the_commands_run_and_what_is_there_stays(
    first: Path, data: Layout, run_command: Any
) -> None:
    folder = data.shards.parent
    last = latest_checkpoint(first / "checkpoints")
    again = run_command(
        "train.invert", "--run=runs/first", f"--checkpoint={last.name}", "--solver=rk4",
        "--steps=6", "--dtype=float32", *words_of(data), cwd=folder,
    )  # fmt: skip
    assert "noise: 0 samples in " in again.stdout
    assert f"--init_from=runs/first/checkpoints/{last.name} " in again.stdout
    flags = [flag for flag in SMALL if not flag.startswith("--coupling")]
    done = run_command(
        "train.run", "ot_cfm", *flags, "--name=second", "--noise_sidecar=noise",
        "--init_from=runs/first", *words_of(data), cwd=folder,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    losses = {
        name: [
            row["loss"]
            for row in map(json.loads, (folder / "runs" / name / "log.jsonl").open())
            if "loss" in row
        ]
        for name in ("first", "second")
    }
    assert losses["second"][0] < losses["first"][-1]  # its pairs are nearer than drawn noise


def test_noise_of_other_latents_and_a_coupling_are_refused(
    first: Path, data: Layout, call: Any, run_command: Any
) -> None:
    runs = f"--runs={first.parent}"
    words = ("dataset='content' or dataset='wikiart'", "--encoder=rgb", "--target_size=64",
             "--sidecar=pixels", *words_of(data))  # fmt: skip
    assert run_command("toolkit.encode", *words, cwd=data.shards.parent).returncode == 0
    for flags, text in (
        (["--noise_sidecar=latents"], "not the noise of the latents in latents: make it with"),
        (["--noise_sidecar=noise", "--sidecar=pixels"], "not the noise of the latents in pixels"),
        (["--noise_sidecar=noise", "--coupling=c2ot"], "but --noise_sidecar names each latent's"),
        (
            ["--noise_sidecar=lost"],
            "have no sidecar lost: make it with python -m train.invert --run=… --sidecar=lost",
        ),
    ):
        words = ("ot_cfm", *flags, "--name=third", runs)
        assert text in call(train_run.main, *words, data, fields=train_run._fields).refusal()
    assert "solver" in call(invert.main, f"--run={first}", "--solver=rk5").refusal()
