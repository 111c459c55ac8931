"""Fits a small network to a stream: AdamW, one cycle of the learning rate, clipped gradients."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch

from toolkit.core.progress import Progress

Batch = tuple[torch.Tensor, tuple[str, ...]]
"""Pictures, float [N,3,S,S] in [-1,1], and their captions."""


@dataclass(frozen=True)
class Recipe:
    """name: of what is fitted; lr: the highest rate; beta2, weight_decay: of AdamW; rising: share
    of the steps in which the rate rises."""

    name: str
    steps: int
    lr: float
    beta2: float
    weight_decay: float
    rising: float


def fit(
    model: torch.nn.Module,
    stream: Iterator[Batch],
    loss_of: Callable[[torch.Tensor, tuple[str, ...]], torch.Tensor],
    recipe: Recipe,
) -> None:
    """Takes `recipe.steps` steps, each upon the next batch's loss, a scalar."""
    optimizer = torch.optim.AdamW(
        model.parameters(), recipe.lr, (0.9, recipe.beta2), weight_decay=recipe.weight_decay
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, recipe.lr, recipe.steps + 1, pct_start=recipe.rising
    )
    with Progress(recipe.steps, recipe.name, "steps") as progress:
        for _, (pixels, captions) in zip(range(recipe.steps), stream, strict=False):
            loss = loss_of(pixels, captions)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            progress.advance(note=f"loss {loss.item():.4f}")
