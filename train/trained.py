"""A finished run, opened to make pictures with."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from train.config import Precision, RunConfig
from train.methods.api import Method
from train.runs import RunFolder


@dataclass(frozen=True)
class Trained:
    """method: with the checkpoint's weights, on the device of `settings`. identity: the run, step
    and sha256 of the weights. checkpoint: the folder that they are from. precision: fp32, bf16 or
    fp16, of the frozen weights and of the arithmetic that pictures are to be made in."""

    folder: RunFolder
    settings: RunConfig
    method: Method
    identity: dict[str, Any]
    checkpoint: Path
    precision: str


def load_trained(
    folder: RunFolder, settings: RunConfig, checkpoint: Path | None = None,
    precision: Precision = "fp32",
) -> Trained:  # fmt: skip
    """Loads a checkpoint, the last one by default, by folder or name. precision: as of a run.
    Raises UserError."""
    from toolkit.core.files import sha256_of
    from toolkit.encoders.device import usable_device
    from train.numerics import open_numerics, place
    from train.runs import build_method
    from train.state import chosen_checkpoint, latest_checkpoint, load_weights, read_state

    if checkpoint is None:
        chosen = latest_checkpoint(folder.checkpoints)
    else:
        chosen = chosen_checkpoint(folder.checkpoints, checkpoint)
    state = read_state(chosen, settings.method)
    usable_device(settings.device)
    numerics = open_numerics(replace(settings, precision=precision))
    method = build_method(settings)
    place(method.module(), settings, numerics)
    method.load_trainable_state(load_weights(chosen))
    method.module().eval()
    weights = sha256_of(chosen / "weights.safetensors")
    identity = {"run": folder.path.name, "step": state.step, "weights": weights}
    return Trained(folder, settings, method, identity, chosen, numerics.precision)
