"""A finished run, opened to make pictures with."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from train.config import RunConfig
from train.methods.api import Method
from train.runs import RunFolder


@dataclass(frozen=True)
class Trained:
    """method: with the checkpoint's weights, on the device of `settings`. identity: the run, step
    and sha256 of the weights. checkpoint: the folder that they are from."""

    folder: RunFolder
    settings: RunConfig
    method: Method
    identity: dict[str, Any]
    checkpoint: Path


def load_trained(folder: RunFolder, settings: RunConfig, checkpoint: Path | None = None) -> Trained:
    """Loads a checkpoint, the last one by default, by folder or name. Raises UserError."""
    import torch

    from toolkit.core.files import sha256_of
    from toolkit.encoders.device import usable_device
    from train.runs import build_method
    from train.state import chosen_checkpoint, latest_checkpoint, load_weights, read_state

    if checkpoint is None:
        chosen = latest_checkpoint(folder.checkpoints)
    else:
        chosen = chosen_checkpoint(folder.checkpoints, checkpoint)
    state = read_state(chosen, settings.method)
    device = usable_device(settings.device)
    torch.set_num_threads(settings.threads)
    method = build_method(settings)
    method.module().to(device)
    method.load_trainable_state(load_weights(chosen))
    method.module().eval()
    weights = sha256_of(chosen / "weights.safetensors")
    identity = {"run": folder.path.name, "step": state.step, "weights": weights}
    return Trained(folder, settings, method, identity, chosen)
