"""The loss of a denoising network at a random step of each sample."""

from collections.abc import Callable, Sequence
from typing import Literal

import torch

from train.methods.api import LossOut
from train.parts.diffusion import Diffusion
from train.parts.noise import normal, uniform

Objective = Literal["iddpm_vb", "eps_mse"]
Network = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""(noisy latents [N,C,h,w], steps [N]) to the network's output, [N,C or 2C,h,w]."""


def diffusion_loss(
    diffusion: Diffusion,
    network: Network,
    latents: torch.Tensor,
    generators: Sequence[torch.Generator],
    objective: Objective,
) -> LossOut:
    """Squared error of what the network predicts, and, for iddpm_vb, the variational bound of its
    variance, in bits per dimension: the objective that PixArt-alpha was trained with.

    Args:
        diffusion: the backbone's.
        network: of these conditions.
        latents: of the pictures, [N,C,h,w].
        generators: one a sample; steps are drawn from 0 to T − 1, all alike, and then the noise.
        objective: which of the two.
    """
    steps = diffusion.num_steps
    t = (uniform(generators, latents.device) * steps).long().clamp(max=steps - 1)
    noise = normal(generators, latents.shape[1:], latents.device)
    x = diffusion.noised(latents, noise, t)
    predicted, *variance = network(x, t).float().split(latents.shape[1], 1)
    error = (predicted - diffusion.target(latents, noise, t)).square().flatten(1).mean(1)
    if objective == "eps_mse":
        return LossOut(error, {})
    bound = diffusion.variational_bound(predicted, variance[0], latents, x, t)
    return LossOut(error + bound, {"mse": error.detach(), "vb": bound.detach()})
