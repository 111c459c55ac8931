"""Pictures made with the self-attention of a style picture (`train.parts.injection`), beside the
same pictures without, and beside the style picture, which is denoised from the noise that inversion
finds.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from train.methods.ddim import invert, noised, walk
from train.methods.dreambooth_lora.config import Inject
from train.methods.dreambooth_lora.network import StableDiffusion
from train.methods.prompt_words import Embedded
from train.parts.injection import Injection, attach, detach, with_statistics


@dataclass(frozen=True)
class Asked:
    """What is to be made of N pictures. text, without, of_style: what each is guided to, away from,
    and what the style picture is described by; sizes: as of the network; style: latents of the
    style pictures; noise: standard normal; begin: latents that are noised to begin with; content:
    latents whose own noise is begun at instead. All [N,…]. guidance: its weight; steps, first: as
    of `train.methods.ddim.walk`."""

    text: Embedded
    without: Embedded
    of_style: Embedded
    sizes: torch.Tensor
    style: torch.Tensor
    noise: torch.Tensor
    guidance: float
    steps: int
    first: int
    begin: torch.Tensor | None = None
    content: torch.Tensor | None = None


@torch.no_grad()
def injected(
    network: StableDiffusion, asked: Asked, how: Inject
) -> tuple[torch.Tensor, torch.Tensor]:
    """Latents of the pictures that are made, and of the plain ones."""
    count, schedule = len(asked.noise), network.schedule
    shared = Injection(how.gamma, how.temperature)

    def described(text: Embedded) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
        def predict(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
            return network(x, t, text, asked.sizes).float()

        return predict

    style = invert(described(asked.of_style), schedule, asked.style, asked.steps, asked.first)
    if asked.content is not None:
        plain = invert(described(asked.text), schedule, asked.content, asked.steps, asked.first)
    elif asked.begin is not None:
        plain = noised(schedule, asked.begin, asked.noise, asked.steps, asked.first)
    else:
        plain = asked.noise
    made = with_statistics(plain, style) if how.adain else plain
    towards, away = (
        Embedded.joined([asked.of_style, text, text]) for text in (asked.text, asked.without)
    )
    sizes = asked.sizes.repeat(3, 1)

    def predict(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = network(x, t, towards, sizes).float()
        if asked.guidance != 1:
            unguided = network(x, t, away, sizes).float()
            guided = unguided + asked.guidance * (found - unguided)
            found = torch.cat([found[:count], guided[count:]])  # the style as inversion saw it
        return found

    attach(network.unet, how.layers, shared)
    shared.is_on = True
    try:
        x = walk(predict, schedule, torch.cat([style, plain, made]), asked.steps, asked.first)
    finally:
        shared.is_on = False
        detach(network.unet)
    return x[2 * count :], x[count : 2 * count]
