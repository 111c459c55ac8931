"""The noise schedule of a checkpoint, through diffusers: never chosen here, always read."""

from collections.abc import Callable, Mapping
from typing import Any

import torch

from toolkit.encoders.loading import Pretrained, load
from train.parts.diffusion import Diffusion

Predict = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""(x [N,C,h,w], timesteps [N]) to what the network predicts, [N,C,h,w]."""


def load_schedule(pipeline: str, default: Pretrained) -> Mapping[str, Any]:
    """The configuration of a pipeline's scheduler, whatever class it is of. pipeline: hub id or
    folder. Raises UserError."""
    from diffusers import DPMSolverMultistepScheduler

    read = DPMSolverMultistepScheduler.load_config
    found: Mapping[str, Any] = load(read, f"{pipeline}/scheduler", default, flag="--backbone")
    return found


def diffusion_of(config: Mapping[str, Any]) -> Diffusion:
    """For training. config: of the checkpoint's scheduler, whatever its class, as diffusers stores
    it; its noise levels and prediction type are taken."""
    from diffusers import DDPMScheduler

    scheduler = DDPMScheduler.from_config(_stated(config))
    return Diffusion(scheduler.alphas_cumprod, scheduler.config.prediction_type)


def denoise(
    predict: Predict,
    config: Mapping[str, Any],
    noise: torch.Tensor,
    steps: int,
    begin: torch.Tensor | None = None,
    strength: float = 1.0,
) -> torch.Tensor:
    """Latents [N,C,h,w] from noise, with DPM-Solver++ (Lu et al. 2022, arXiv 2211.01095).

    Args:
        predict: the network, guidance and all.
        config: of the checkpoint's scheduler.
        noise: standard normal, of the shape of the latents.
        steps: of the whole schedule.
        begin: latents to begin at, noised as far as `strength` says; from 0, not at all, to 1,
            where nothing is left of them (SDEdit: Meng et al. 2021, arXiv 2108.01073).
        strength: share of the steps that is walked; at least one is.
    """
    from diffusers import DPMSolverMultistepScheduler

    scheduler: Any = DPMSolverMultistepScheduler.from_config(
        {**_stated(config), "algorithm_type": "dpmsolver++"}
    )
    scheduler.set_timesteps(steps, device=noise.device)
    first = 0
    x = noise * scheduler.init_noise_sigma
    if begin is not None and strength < 1:
        first = steps - min(max(int(steps * strength), 1), steps)
        x = scheduler.add_noise(begin, noise, scheduler.timesteps[first : first + 1])
    scheduler.set_begin_index(first)
    for t in scheduler.timesteps[first:]:
        found = predict(scheduler.scale_model_input(x, t), t.expand(len(x)))
        x = scheduler.step(found, t, x, return_dict=False)[0]
    return x


def _stated(config: Mapping[str, Any]) -> dict[str, Any]:
    """What is set, without diffusers' note of what was not, which would be set anew."""
    return {name: value for name, value in config.items() if not name.startswith("_")}
