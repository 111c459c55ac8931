"""The teacher of source A: SDXL base, image to image, the style by IP-Adapter.

Podell et al. 2023, "SDXL"; Ye et al. 2023, "IP-Adapter". What it computes is diffusers' own
`StableDiffusionXLImg2ImgPipeline` (`sdxl_pipeline.py`); this file holds what can be said of it
without loading it.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from toolkit.core.errors import UserError

SOURCES: Mapping[str, str] = {
    "base": "stabilityai/stable-diffusion-xl-base-1.0",
    "ip_adapter": "h94/IP-Adapter",
}
"""Hub ids of the parts; `--weights.base=DIR` takes them from a folder of the same layout."""

MULTIPLE = 8
"""Of pixels, that a picture's sides are."""
_STRENGTHS, _SCALES, _LESS_GUIDANCE = (0.85, 0.70), (0.8, 0.6), 0.3
_LEAST_STEPS = 5

Scale = float
Blocks = Literal["all", "style", "style_and_layout"]


@dataclass(frozen=True)
class Settings:
    """Everything that decides a picture besides its pair, its seed and the weights.

    style_fit: crop, squash or pad: how a painting that is not square becomes CLIP's square. steps:
    of the whole schedule, of which img2img walks int(steps · strength); strength: above 0, at most
    1; guidance_scale: 1 is no guidance; sampler: ddim, or euler, which makes bad pictures here;
    ip_adapter_scale: 0 to 1; ip_adapter_blocks: all, style or style_and_layout (Wang et al. 2024,
    "InstantStyle"); ip_adapter: file of the adapter in its repository, with its folder;
    image_encoder: folder of CLIP's image tower there; negative_prompt: what guidance leads away
    from; original_size, target_size: SDXL's micro-conditioning in pixels, 0 for the picture's own;
    precision: fp16, bf16 or fp32, of all but the autoencoder; vae_precision: auto (fp32 where fp16
    overflows), or fp32.
    """

    style_fit: Literal["crop", "squash", "pad"] = "crop"
    steps: int = 25
    strength: float = 0.45
    guidance_scale: float = 3.8
    sampler: Literal["ddim", "euler"] = "ddim"
    ip_adapter_scale: float = 0.30
    ip_adapter_blocks: Blocks = "all"
    ip_adapter: str = "sdxl_models/ip-adapter_sdxl.safetensors"
    image_encoder: str = "sdxl_models/image_encoder"
    negative_prompt: str = ""
    original_size: int = 0
    target_size: int = 0
    precision: Literal["fp16", "bf16", "fp32"] = "fp16"
    vae_precision: Literal["auto", "fp32"] = "auto"

    def __post_init__(self) -> None:
        limits = {
            "steps": (1, 1000), "guidance_scale": (0, 100),
            "ip_adapter_scale": (0, 1), "original_size": (0, 8192), "target_size": (0, 8192),
        }  # fmt: skip
        for name, (low, high) in limits.items():
            if not low <= getattr(self, name) <= high:
                raise UserError(f"{name}={getattr(self, name)}: takes {low} to {high}")
        if not 0 < self.strength <= 1:
            raise UserError(f"strength={self.strength}: takes more than 0, at most 1")
        if self.num_steps < 1:
            raise UserError(
                f"steps={self.steps} at strength={self.strength} leaves no step to walk"
            )

    @property
    def num_steps(self) -> int:
        """UNet steps that are walked (diffusers: int(steps · strength), at most steps)."""
        return min(int(self.steps * self.strength), self.steps)


def gentler(settings: Settings, history: Sequence[Sequence[str]]) -> Settings | None:
    """What to try after attempts were refused, by source A, section 4.3: less strength first, then
    less of the adapter, less guidance along with either. Numbers that were none call for precision
    first; a style's picture showing through for less of the adapter first. None when all was tried.

    Args:
        settings: of the first attempt.
        history: the causes of each attempt so far.
    """
    strength = scale = 0
    precise = settings.precision == "fp32"
    for causes in history:
        if "nan" in causes and not precise:
            precise = True
        elif ("leak" in causes and scale < len(_SCALES)) or strength == len(_STRENGTHS):
            scale += 1
        else:
            strength += 1
    if scale > len(_SCALES):
        return None
    found = dataclasses.replace(
        settings,
        strength=_lowered(settings.strength, _STRENGTHS, strength),
        ip_adapter_scale=_lowered(settings.ip_adapter_scale, _SCALES, scale),
        guidance_scale=max(
            1.0, round(settings.guidance_scale - _LESS_GUIDANCE * (strength + scale), 6)
        ),
        precision="fp32" if precise else settings.precision,
        vae_precision="fp32" if precise else settings.vae_precision,
    )
    if found.num_steps < min(
        _LEAST_STEPS, settings.num_steps
    ):  # nothing of the style would be left
        found = dataclasses.replace(
            found, strength=min(settings.strength, _LEAST_STEPS / found.steps)
        )
    return found


def _lowered(value: float, factors: tuple[float, ...], number: int) -> float:
    return round(value * factors[number - 1], 6) if number else value


def warnings(settings: Settings) -> list[str]:
    """What a person should know before days of work, a line each."""
    if settings.sampler == "euler":
        return ["sampler=euler makes bad pictures in img2img with IP-Adapter: ddim does not"]
    return []


def sentence(settings: Settings, size: int, seeds: Sequence[int]) -> str:
    """For a paper."""
    blocks = (
        ""
        if settings.ip_adapter_blocks == "all"
        else f" in its {settings.ip_adapter_blocks} blocks"
    )
    return (
        f"Teacher targets are generated by SDXL base with IP-Adapter ({settings.ip_adapter}) under "
        f"a fixed protocol ({size}, {settings.steps} steps, "
        f"CFG={settings.guidance_scale}, strength={settings.strength}, "
        f"ip_scale={settings.ip_adapter_scale}{blocks}, {settings.sampler.upper()}, "
        f"seeds {{{', '.join(map(str, seeds))}}})."
    )


def pretrained() -> Sequence[Any]:
    """The parts, as they are downloaded."""
    from toolkit.teachers.sdxl_pipeline import PRETRAINED

    return PRETRAINED


def open_teacher(settings: Settings, weights: Mapping[str, str], device: str) -> Any:
    """Loads it. weights: folders or hub ids of the parts in `SOURCES` that are not to come from
    there. Raises UserError where they cannot be loaded."""
    from toolkit.teachers.sdxl_pipeline import open_pipeline

    return open_pipeline(settings, {**SOURCES, **weights}, device)
