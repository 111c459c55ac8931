"""LoRAs made smaller, put together, or added to the weights that they belong to."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from toolkit.core.errors import UserError
from train.lora.weights import Lora, LoraLayer


def resized(lora: Lora, rank: int) -> tuple[Lora, float]:
    """The nearest LoRA of a smaller rank (Eckart & Young 1936), with the same α/r in each layer,
    and how much of its changes is kept: a share of their squared norms. Layers of no larger rank
    stay.

    Raises UserError for a rank below 1.
    """
    if rank < 1:
        raise UserError(f"--rank={rank}: takes 1 or more")
    kept = whole = 0.0
    layers: dict[str, dict[str, LoraLayer]] = {}
    for component, path, layer in lora:
        found, squares = _resized(layer, rank)
        layers.setdefault(component, {})[path] = found
        kept += float(squares[:rank].sum())
        whole += float(squares.sum())
    return Lora(layers, lora.about), kept / whole if whole else 1.0


def _resized(layer: LoraLayer, rank: int) -> tuple[LoraLayer, torch.Tensor]:
    """… and the squared singular values of α/r·B·A, found on r × r matrices."""
    up, down = layer.up.double().flatten(1), layer.down.double().flatten(1)
    scale = layer.alpha / layer.rank
    left, left_small = torch.linalg.qr(up)
    right, right_small = torch.linalg.qr(down.T)
    u, s, v = torch.linalg.svd(left_small @ right_small.T)
    squares = (s * scale).square()
    if rank >= layer.rank:
        return layer, squares
    root = s[:rank].sqrt()
    new_up = (left @ u[:, :rank] * root).reshape(len(up), rank, *layer.up.shape[2:])
    new_down = ((right @ v[:rank].T * root).T).reshape(rank, *layer.down.shape[1:])
    found = LoraLayer(new_down.to(layer.down), new_up.to(layer.up), scale * rank)
    return found, squares


def merged(loras: Sequence[Lora], weights: Sequence[float]) -> Lora:
    """One LoRA that changes a model as all of them do together, each times its weight: exactly, by
    a rank that is the sum of theirs. Raises UserError where they are of other models."""
    sides: dict[tuple[str, str], list[tuple[torch.Tensor, torch.Tensor]]] = {}
    for lora, weight in zip(loras, weights, strict=True):
        for component, path, layer in lora:
            up = layer.up.float() * (weight * layer.alpha / layer.rank)
            sides.setdefault((component, path), []).append((layer.down.float(), up))
    layers: dict[str, dict[str, LoraLayer]] = {}
    for (component, path), found in sides.items():
        downs, ups = zip(*found, strict=True)
        if len({(d.shape[1:], u.shape[0]) for d, u in found}) > 1:
            raise UserError(f"{path} has other sizes in one LoRA than in another: other models")
        down, up = torch.cat(downs), torch.cat(ups, dim=1)
        layers.setdefault(component, {})[path] = LoraLayer(down, up, float(len(down)))
    return Lora(layers)


def add_to(modules: Mapping[str, Any], lora: Lora, scale: float = 1.0) -> int:
    """Adds scale·(α/r)·B·A to the weights of models; returns how many weights were changed.

    Args:
        modules: models of diffusers and transformers by component.
        lora: what is added.
        scale: its strength.

    Raises UserError: a component or module that is not there, or of another size.
    """
    count = 0
    named = {component: dict(model.named_modules()) for component, model in modules.items()}
    for component, path, layer in lora:
        if component not in named:
            raise UserError(f"the LoRA changes the {component}, which this model has not")
        weight = weight_of(named[component], component, path)
        delta = layer.delta()
        if delta.shape != weight.shape:
            raise UserError(
                f"the LoRA is of another model: {component}.{path} changes {list(delta.shape)}, "
                f"the model has {list(weight.shape)}"
            )
        with torch.no_grad():
            weight += (scale * delta).to(weight)
        count += weight.numel()
    return count


def weight_of(names: Mapping[str, Any], component: str, path: str) -> torch.Tensor:
    """The weight of a module by the path that a `Lora` knows it by. names: the model's modules.
    Raises UserError."""
    found = names.get(path, names.get(f"text_model.{path}"))
    if found is None:
        raise UserError(f"the LoRA is of another model: it changes {component}.{path}")
    weight: torch.Tensor = found.weight
    return weight
