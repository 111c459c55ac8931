"""Deterministic steps along a checkpoint's schedule, to the noise of a picture and from it.

Song et al. 2021, "Denoising Diffusion Implicit Models" (arXiv 2010.02502), Eq. 12 with σ = 0, and
its inversion, through diffusers.
"""

import inspect
from collections.abc import Mapping
from typing import Any

import torch

from train.methods.schedule import Predict


def steps_of(config: Mapping[str, Any], steps: int, first: int, device: Any) -> Any:
    """Timesteps int64 that are walked downwards, without the first `first`."""
    return _opened("DDIMScheduler", config, steps, device).timesteps[first:]


def walk(
    predict: Predict, config: Mapping[str, Any], x: torch.Tensor, steps: int, first: int = 0
) -> torch.Tensor:
    """Latents [N,C,h,w] from x, as noisy as the step number `first` of `steps` takes it."""
    scheduler = _opened("DDIMScheduler", config, steps, x.device)
    for t in scheduler.timesteps[first:]:
        x = scheduler.step(predict(x, t.expand(len(x))), t, x, return_dict=False)[0]
    return x


def invert(
    predict: Predict, config: Mapping[str, Any], x: torch.Tensor, steps: int, first: int = 0
) -> torch.Tensor:
    """The noise that `walk` makes these latents from, nearly: as noisy as it takes at `first`."""
    last = steps_of(config, steps, first, x.device)[0]
    scheduler = _opened("DDIMInverseScheduler", config, steps, x.device)
    for t in scheduler.timesteps:
        if t > last:
            break
        x = scheduler.step(predict(x, t.expand(len(x))), t, x, return_dict=False)[0]
    return x


def noised(
    config: Mapping[str, Any], x: torch.Tensor, noise: torch.Tensor, steps: int, first: int
) -> torch.Tensor:
    """Latents with as much noise as the step number `first` takes."""
    scheduler = _opened("DDIMScheduler", config, steps, x.device)
    found: torch.Tensor = scheduler.add_noise(x, noise, scheduler.timesteps[first : first + 1])
    return found


def _opened(name: str, config: Mapping[str, Any], steps: int, device: Any) -> Any:
    import diffusers

    build = getattr(diffusers, name)
    # steps that both ways share; nothing is clipped, or the way back would be another
    wanted = {**config, "timestep_spacing": "leading", "clip_sample": False, "thresholding": False}
    known = inspect.signature(build.__init__).parameters
    scheduler: Any = build(**{key: value for key, value in wanted.items() if key in known})
    scheduler.set_timesteps(steps, device=device)
    return scheduler
