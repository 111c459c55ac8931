"""train.ema on real runs: another length against direct tracking, and averages of files."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from tests.train.test_run import Train, fresh, last_weights, train
from train import stylize
from train.averages import Averages, reconstruct
from train.config import EmaConfig
from train.ema import main

__all__ = ["train"]  # a fixture


def walk(steps: int) -> list[dict[str, torch.Tensor]]:
    generator = torch.Generator().manual_seed(2)
    found, place = [], torch.zeros(50)
    for _ in range(steps):
        place = place + 0.02 * (1 - place) + 0.03 * torch.randn(50, generator=generator)
        found.append({"a": place.clone(), "b.c": place[:3] * 2})
    return found


def test_a_length_chosen_later_is_within_a_hundredth_of_tracking_it(tmp_path: Path) -> None:
    steps = walk(600)
    kept = Averages(EmaConfig((0.05, 0.10), snapshot_every=40), tmp_path / "two", len(steps))
    direct = Averages(EmaConfig((0.14,), snapshot_every=600), tmp_path / "one", len(steps))
    for number, weights in enumerate(steps, 1):
        kept.step(number, weights.copy)
        direct.step(number, weights.copy)
    found, last = reconstruct(tmp_path / "two", 0.14)
    expected = load_file(tmp_path / "one" / "step-000600.safetensors")
    assert last == 600
    for name, tensor in found.items():
        error = float((tensor - expected[f"0.{name}"]).norm() / tensor.norm())
        assert error < 0.01, (name, error)
    early, last = reconstruct(tmp_path / "two", 0.14, step=330)
    assert last == 320
    assert not torch.allclose(early["a"], found["a"], rtol=1e-2)


def test_the_command_makes_a_checkpoint_that_pictures_are_made_from(
    train: Train, tmp_path: Path, call: Callable[..., Any], sample_data: Any
) -> None:
    fresh(train, "run", "--sigma_rels=0.05,0.1", "--snapshot_every=1")
    run = f"--run={tmp_path / 'run'}"
    out = call(main, run, "--sigma_rel=0.2").out
    made = tmp_path / "run" / "averaged" / "step-000006-sigma-0.2"
    assert f"--checkpoint={made}" in out
    averaged = load_file(made / "weights.safetensors")
    assert averaged.keys() == last_weights(tmp_path / "run").keys()
    out = call(main, run, "--mu=0.5").out
    assert "checkpoints averaged: step-000002, step-000004, step-000006" in out
    parts = [
        load_file(tmp_path / "run" / "checkpoints" / f"step-00000{n}" / "weights.safetensors")
        for n in (2, 4, 6)
    ]
    found = load_file(tmp_path / "run" / "averaged" / "step-000006-mu-0.5" / "weights.safetensors")
    for name, tensor in found.items():
        expected = (parts[0][name] + 2 * parts[1][name] + 4 * parts[2][name]) / 7
        torch.testing.assert_close(tensor, expected)
    flags = [run, f"--checkpoint={made}", "--steps=1", "--limit=1"]
    made_of = call(stylize.main, *flags, sample_data, fields=stylize.options_of)
    assert made_of.code == 0, made_of.err


def test_files_made_elsewhere_are_averaged_in_their_formats(tmp_path: Path, call: Any) -> None:
    for number in range(2):
        tensors = {
            "w": torch.full((2, 2), float(number), dtype=torch.float16),
            "count": torch.tensor(number),
        }
        save_file(tensors, tmp_path / f"{number}.safetensors", {"format": "pt"})
    inputs = ",".join(str(tmp_path / f"{number}.safetensors") for number in range(2))
    done = call(main, f"--inputs={inputs}", "--mu=0.5", f"--out={tmp_path / 'mean.safetensors'}")
    assert done.code == 0, done.err
    found = load_file(tmp_path / "mean.safetensors")
    assert found["w"].dtype == torch.float16
    assert found["w"][0, 0].item() == pytest.approx(2 / 3, abs=1e-3)
    assert found["count"].item() == 1
    with safe_open(tmp_path / "mean.safetensors", "pt") as file:
        assert file.metadata() == {"format": "pt"}
    save_file({"v": torch.zeros(1)}, tmp_path / "1.safetensors")
    refused = call(main, f"--inputs={inputs}", "--mu=0.5", f"--out={tmp_path / 'x.safetensors'}")
    assert "weights of different networks: count is not in all" in refused.refusal()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ((), "give --sigma_rel, the length of an average, or --mu"),
        (("--mu=0.5",), "give --run or --inputs"),
        (("--mu=1.5", "--run=x"), "--mu=1.5: takes a number above 0, at most 1"),
        (("--mu=0.5", "--inputs=a"), "--inputs goes with --mu and --out"),
        (("--sigma_rel=0.1", "--run=nowhere"), "there is no run in nowhere"),
    ],
)
def test_what_cannot_be_averaged_is_one_line(
    flags: tuple[str, ...], message: str, call: Any
) -> None:
    assert message in call(main, *flags).refusal()


def test_a_run_without_averages_says_how_to_get_them(
    train: Train, tmp_path: Path, call: Any
) -> None:
    fresh(train)
    run = f"--run={tmp_path / 'run'}"
    refused = call(main, run, "--sigma_rel=0.1").refusal()
    assert "has no averages: train with --ema.sigma_rels=0.05,0.10 to track them" in refused
    assert (
        "--sigma_rel=0.4: takes a number above 0 and below 0.28"
        in call(main, run, "--sigma_rel=0.4").refusal()
    )
    (tmp_path / "run" / "ema").mkdir()
    (tmp_path / "run" / "ema" / "step-000002.safetensors").write_bytes(b"no tensors")
    assert "are damaged" in call(main, run, "--sigma_rel=0.1").refusal()
