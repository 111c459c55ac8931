"""Reads LoRAs of any of the formats that are about: diffusers' (of three ages), peft's, kohya's.

kohya's names are put right by diffusers, which knows those of SD 1, SD 2 and SDXL.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

from toolkit.core.errors import UserError, one_line
from train.lora.weights import COMPONENTS, Lora, LoraLayer, without_prefix

FILE = "pytorch_lora_weights.safetensors"  # diffusers' name
_METADATA = "lora_adapter_metadata"  # diffusers' place for ranks and alphas
_KOHYA = ("lora_unet_", "lora_te_", "lora_te1_", "lora_te2_")
_OTHERS = {
    "hada_": "LoHa", "lokr_": "LoKr", "dora_scale": "DoRA", "lora_magnitude_vector": "DoRA",
    "lora_mid": "a LoRA in Tucker form", "oft_": "OFT",
}  # fmt: skip
_NAME = re.compile(
    r"(?P<path>.+?)"
    r"(?:\.lora_(?P<letter>[AB])(?:\.[A-Za-z]\w*)?|(?:_lora|\.lora|\.lora_linear_layer)\.(?P<word>down|up))"
    r"\.weight$"
)
_TEXT = {"to_q": "q_proj", "to_k": "k_proj", "to_v": "v_proj", "to_out": "out_proj"}
_SDXL = SimpleNamespace(layers_per_block=2)


def read_lora(place: Path) -> Lora:
    """A LoRA of a file, or of a folder with diffusers' file in it.

    Raises UserError: no such file; one that holds no LoRA, or one of another kind (LoHa, LoKr,
    DoRA).
    """
    path = place / FILE if place.is_dir() else place
    state, about = _load(path)
    for part, kind in _OTHERS.items():
        if any(part in name for name in state):
            raise UserError(f"{path} is {kind}, no plain LoRA: it cannot be read")
    alphas = {name: state.pop(name) for name in list(state) if name.endswith(".alpha")}
    known = {name.removesuffix(".alpha"): float(value) for name, value in alphas.items()}
    if any(name.startswith(_KOHYA) for name in state):
        state, known = _from_kohya(path, state, known)
    pairs = _paired(path, state)
    told = _told(about)
    layers: dict[str, dict[str, LoraLayer]] = {}
    for (component, module), sides in pairs.items():
        if sides.keys() != {"down", "up"}:
            raise UserError(f"{path}: {module} has only one of its two matrices")
        alpha = known.get(f"{component}.{module}", known.get(module))
        if alpha is None:
            alpha = told.get(component, _Told()).alpha(module, len(sides["down"]))
        layers.setdefault(component, {})[module] = LoraLayer(sides["down"], sides["up"], alpha)
    kept = {name: text for name, text in about.items() if name not in (_METADATA, "format")}
    return Lora({part: dict(sorted(layers[part].items())) for part in COMPONENTS if part in layers},
                kept)  # fmt: skip


def _load(path: Path) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return state, dict(file.metadata() or {})
    except FileNotFoundError:
        raise UserError(f"there is no file {path}") from None
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path} holds no LoRA: {one_line(error)[:120]}") from None


def _from_kohya(
    path: Path, state: Mapping[str, torch.Tensor], alphas: Mapping[str, float]
) -> tuple[dict[str, torch.Tensor], dict[str, float]]:
    """The same by diffusers' names, and α by module with its component."""
    from diffusers import StableDiffusionXLPipeline

    given: dict[str, Any] = dict(state)
    given |= {f"{name}.alpha": torch.tensor(value) for name, value in alphas.items()}
    try:
        found, network_alphas = StableDiffusionXLPipeline.lora_state_dict(given, unet_config=_SDXL)
    except (ValueError, KeyError) as error:
        raise UserError(
            f"{path} holds layers that are not known: {one_line(error)[:120]}"
        ) from None
    known = {}
    for name, value in (network_alphas or {}).items():
        plain = name.removesuffix(".alpha")
        if not plain.endswith(".weight"):
            plain += ".lora.down.weight"
        component, module, _ = _parted(plain) or ("", "", "")
        known[f"{component}.{module}"] = float(value)
    return found, known


def _paired(
    path: Path, state: Mapping[str, torch.Tensor]
) -> dict[tuple[str, str], dict[str, torch.Tensor]]:
    found: dict[tuple[str, str], dict[str, torch.Tensor]] = {}
    for name, tensor in state.items():
        parted = _parted(name)
        if parted is None:
            raise UserError(f"{path} holds no LoRA: {name} is none of its matrices")
        component, module, side = parted
        found.setdefault((component, module), {})[side] = tensor
    if not found:
        raise UserError(f"{path} holds no LoRA: it is empty")
    return found


def _parted(name: str) -> tuple[str, str, str] | None:
    """(component, path of the module, down or up) of a tensor's name; None where it is not of a
    LoRA."""
    match = _NAME.match(name.replace(".processor.", ".").removeprefix("base_model.model."))
    if match is None:
        return None
    side = match["word"] or {"A": "down", "B": "up"}[match["letter"]]
    component, _, module = match["path"].partition(".")
    if component not in COMPONENTS:  # files of a UNet alone
        component, module = "unet", match["path"]
    head, _, last = module.rpartition(".")
    if component != "unet":
        return component, without_prefix(f"{head}.{_TEXT.get(last, last)}".lstrip(".")), side
    return component, f"{module}.0" if last == "to_out" else module, side


class _Told:
    """What diffusers' metadata say of one component: α, and that of some modules."""

    def __init__(self, usual: float | None = None, some: Mapping[str, float] | None = None):
        self._usual, self._some = usual, some or {}

    def alpha(self, module: str, rank: int) -> float:
        """Of a module; its rank where nothing is said, as all programs take it."""
        for pattern, value in self._some.items():
            if re.match(rf"(.*\.)?({pattern})$", module):  # as peft compares them
                return float(value)
        return float(rank if self._usual is None else self._usual)


def _told(about: Mapping[str, str]) -> dict[str, _Told]:
    try:
        tree = json.loads(about.get(_METADATA, "{}"))
    except ValueError:
        return {}
    found = {}
    for component in COMPONENTS:
        some = tree.get(f"{component}.alpha_pattern") or {}
        if f"{component}.lora_alpha" in tree or some:
            found[component] = _Told(tree.get(f"{component}.lora_alpha"), some)
    return found
