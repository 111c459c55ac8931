"""Weights of SDXL in single files, and of pixel SDXL, by their authors' names.

Both kinds have the U-Net under `model.diffusion_model.`; text encoders may stand beside it. Files
of training scripts (.pt, .pth, .ckpt) hold them in a dictionary `model`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from toolkit.core.errors import UserError
from toolkit.encoders.loading import state_of
from train.lora.sdxl_names import authors_name

UNET = "model.diffusion_model."
TEXT = {
    "text_encoder": "conditioner.embedders.0.transformer.",
    "text_encoder_2": "conditioner.embedders.1.model.",
}
_BODY = "body."

State = Mapping[str, torch.Tensor]


def read_checkpoint(path: Path) -> State:
    """The tensors of a file by name. Raises UserError."""
    state: Any = state_of(path)
    if isinstance(state.get("model"), dict):
        state = state["model"]
    found = {name: value for name, value in state.items() if isinstance(value, torch.Tensor)}
    if not any(name.startswith(UNET) for name in found):
        raise UserError(f"{path} holds no U-Net of SDXL: none of its names begins with {UNET}")
    return found


def authors_names(network: torch.nn.Module) -> dict[str, str]:
    """Of the weights of a `PixelUNet`, each with its own name."""
    return {
        authors_name(name.removeprefix(_BODY)) if name.startswith(_BODY) else name: name
        for name in network.state_dict()
    }


def load_unet(network: torch.nn.Module, state: State, path: Path) -> list[str]:
    """Puts a file's U-Net into a `PixelUNet`; returns what there is to tell, a line each.

    Raises UserError: the body is not all there, or of another size.
    """
    given = {name[len(UNET) :]: value for name, value in state.items() if name.startswith(UNET)}
    own = network.state_dict()
    names = authors_names(network)
    lacking = [name for name in names if name not in given]
    if body := [name for name in lacking if names[name].startswith(_BODY)]:
        raise UserError(f"{path} lacks {len(body)} weights of SDXL's body, among them {body[0]}")
    for name in names.keys() & given.keys():
        if given[name].shape != own[names[name]].shape:
            raise UserError(
                f"{path} is of another size: {name} is {list(given[name].shape)}, here "
                f"{list(own[names[name]].shape)}: see --base_resolution, --patch, --hidden"
            )
    network.load_state_dict(
        {names[name]: given[name] for name in names.keys() & given.keys()}, strict=False
    )
    return told(len(names) - len(lacking), given.keys() - names.keys(), lacking)


def told(loaded: int, dropped: Any, new: Any) -> list[str]:
    """What became of weights, by the first two parts of their names."""

    def brief(names: Any) -> str:
        return ", ".join(sorted({".".join(name.split(".")[:2]) for name in names}, key=_order))

    lines = [f"{loaded} weights loaded"]
    if dropped:
        lines.append(f"{len(dropped)} of SDXL's dropped: {brief(dropped)}")
    if new:
        lines.append(f"{len(new)} new: {brief({n.split('.')[0] for n in new})}")
    return lines


def text_states(state: State) -> dict[str, State]:
    """The text encoders of a file, by component, with transformers' names."""
    from diffusers.loaders.single_file_utils import convert_open_clip_checkpoint

    first, second = TEXT["text_encoder"], TEXT["text_encoder_2"]
    found: dict[str, State] = {}
    if one := {n[len(first) :]: v for n, v in state.items() if n.startswith(first)}:
        found["text_encoder"] = one
    if two := {n: v for n, v in state.items() if n.startswith(second)}:
        width = two[second + "token_embedding.weight"].shape[1]
        model: Any = type("Shape", (), {"config": type("Width", (), {"hidden_size": width})})
        found["text_encoder_2"] = convert_open_clip_checkpoint(model, two, prefix=second)
    return found


def _order(name: str) -> tuple[str, int]:
    kind, _, number = name.partition(".")
    return kind, int(number) if number.isdecimal() else -1
