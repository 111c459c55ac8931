"""Settings of the method; without torch, so that flags are checked before it is loaded."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from toolkit.core.checks import at_least
from toolkit.core.errors import UserError
from train.methods import pipelines
from train.methods.needs import DataFacts, Needs

PATCH = {64: 16, 32: 32}
"""Pixels a side of a patch, by base_resolution: patches a side of 1,024 pixels."""
_PARTS = ("unet", "text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2")
_TEACHER = ("vae", "scheduler")


SIZE = "7 GB"
"""Of the usual backbone, for people."""


@dataclass(frozen=True)
class TagsConfig:
    """Captions that are lists of tags, as `1girl, solo, best quality, general`.

    shuffle: whether they stand in another order each time. dropout: each sample leaves out each tag
    with a probability of its own, drawn from 0 to this. least: so many stay at least. fixed: the
    last so many are never left out; a dataset's quality and rating by custom. keep: others that
    are never left out.
    """

    shuffle: bool = False
    dropout: float = 0.0
    least: int = 15
    fixed: int = 2
    keep: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        at_least(0, **{"tags.least": self.least, "tags.fixed": self.fixed})
        if not 0 <= self.dropout <= 1:
            raise UserError(f"--tags.dropout={self.dropout}: takes 0 to 1")


@dataclass(frozen=True)
class Config:
    """Settings of the method.

    backbone: an SDXL pipeline, by hub id, folder, or name of a folder under weights/. weights: a
    .safetensors of SDXL as its authors or ComfyUI write it, whose U-Net and text encoders take the
    place of the pipeline's. stage: what is trained: everything (full; with
    --optim.group_lr=sdxl_unet_body:0 only what reads and writes patches), or the patch encoder or
    decoder by the latent SDXL, one after the other. teacher_noise: what that teacher sees: the
    clean latent, as in the source, or one as noisy as what the encoder sees. base_resolution:
    patches a side of 1,024 pixels, 64 (patches of 16) or 32 (of 32). patch, hidden, blocks: other
    sizes than these have; 0 for theirs. bottleneck: numbers that a patch is first brought down to,
    0 for none; JiT's is 128. loss: squared error of the picture, or of the velocity, which is that
    over max(t, 0.05)². time: law of t, 1 being noise: a normal number of mean 0.8 and deviation 0.8
    in the logistic function, or uniform. noise_scale: deviation of the noise; JiT takes 4 for 1,024
    pixels. lpips_weight: of LPIPS (VGG) at half size, times 1 − t; lpips_weights: file of VGG-16,
    torchvision's otherwise. train_text: whether the text encoders are trained. text_device: where
    they are, beside the run's device; of several ranks cpu, if anything. guidance: the usual
    weight of guidance of pictures that are made. image_size: pixels a side of the largest square;
    1,024 otherwise.
    """

    backbone: str = "stabilityai/stable-diffusion-xl-base-1.0"
    weights: str = ""
    stage: Literal["full", "distil_encoder", "distil_decoder"] = "full"
    teacher_noise: Literal["clean", "matched"] = "clean"
    base_resolution: Literal[64, 32] = 64
    patch: int = 0
    hidden: int = 0
    blocks: int = 0
    bottleneck: int = 0
    loss: Literal["x0", "velocity"] = "velocity"
    time: Literal["logit_normal", "uniform"] = "logit_normal"
    noise_scale: float = 1.0
    lpips_weight: float = 0.0
    lpips_weights: str = ""
    train_text: bool = False
    text_device: str = ""
    tags: TagsConfig = field(default_factory=TagsConfig)
    guidance: float = 7.5
    image_size: int = 0

    def __post_init__(self) -> None:
        at_least(0, patch=self.patch, hidden=self.hidden, blocks=self.blocks,
                 bottleneck=self.bottleneck, image_size=self.image_size)  # fmt: skip
        if self.noise_scale <= 0:
            raise UserError(f"--noise_scale={self.noise_scale}: takes a number above 0")
        if self.lpips_weight < 0:
            raise UserError(f"--lpips_weight={self.lpips_weight}: takes 0 or more")
        if self.lpips_weight and self.stage != "full":
            raise UserError(f"--stage={self.stage}: takes no LPIPS, --lpips_weight=0")
        if self.train_text and self.text_device:
            raise UserError(
                "--train_text: text encoders on a device of their own are not trained, since their "
                "gradients would have to cross; leave --text_device away"
            )

    @property
    def pipeline(self) -> str:
        """Where the backbone is: a folder or a hub id."""
        return pipelines.place_of(self.backbone, Path(__file__).parent / "weights")

    @property
    def patch_size(self) -> int:
        """Pixels a side."""
        return self.patch or PATCH[self.base_resolution]


@dataclass(frozen=True)
class Stylize:
    """How pictures are made. steps: of Euler's method; guidance: classifier-free guidance weight of
    the predicted pictures, 1 is none; least, most: times at which it is in effect, 1 being noise;
    schedule: times at equal distances, or shifted towards noise by flow_shift, where 1 is linear;
    negative: a text that guidance leads away from; height, width: pixels, the run's own otherwise;
    init: what is noised to begin with: nothing (noise), or --content, for style transfer; strength:
    how far it is, 1 leaves nothing of it.
    """

    steps: int = 30
    guidance: float = 7.5
    least: float = 0.0
    most: float = 1.0
    schedule: Literal["linear", "flow_shift"] = "linear"
    flow_shift: float = 3.0
    negative: str = ""
    height: int = 0
    width: int = 0
    init: Literal["noise", "content"] = "noise"
    strength: float = 0.6

    def __post_init__(self) -> None:
        at_least(0, height=self.height, width=self.width)
        if self.guidance < 0:
            raise UserError(f"--guidance={self.guidance}: takes 0 or more")
        if not 0 <= self.least <= self.most <= 1:
            raise UserError(
                f"--least={self.least} --most={self.most}: take 0 to 1, the first no more than the "
                "second"
            )
        if self.flow_shift <= 0:
            raise UserError(f"--flow_shift={self.flow_shift}: takes a number above 0")
        if not 0 < self.strength <= 1:
            raise UserError(f"--strength={self.strength}: takes a number above 0, at most 1")

    @property
    def wants_content(self) -> bool:
        """Whether pictures are made with a content."""
        return self.init == "content"


def stylize(config: Config) -> Stylize:
    """How pictures are made unless something else is asked for."""
    return Stylize(guidance=config.guidance)


def next_command(config: Config, run: str) -> str:
    """The stage behind one that trains patches by a teacher."""
    stages = {"distil_encoder": " --stage=distil_decoder", "distil_decoder": ""}
    if config.stage not in stages:
        return ""
    return f"python -m train.run pixel_sdxl …{stages[config.stage]} --init_from={run}"


def is_large(config: Config) -> bool:
    """One of them fills a GPU."""
    return True


def pretrained(config: Config, used_by: str) -> Iterator[Any]:
    """The backbone, where it is one of the hub, and the network of a perceptual loss."""
    from toolkit.encoders.inventory import of_hub
    from train.methods.pixel_sdxl.perceptual import pretrained_trunk

    if not Path(config.pipeline).is_dir():
        yield of_hub(used_by, pipelines.pretrained(config.pipeline, SIZE))
    if config.lpips_weight and not config.lpips_weights:
        yield pretrained_trunk(used_by)


def needs(config: Config) -> Needs:
    """Pictures with captions, of any shape; pictures are made from texts."""
    parts = _PARTS if config.stage == "full" else _PARTS + _TEACHER
    pipelines.check_pipeline(config.pipeline, "SDXL", parts)
    if config.weights and not Path(config.weights).is_file():
        raise UserError(f"--weights={config.weights}: there is no such file")
    patch = config.patch_size
    return Needs(
        ("target",), config.image_size or 1024, inputs=(), takes=("content",), multiple=patch
    )


def settle(config: Config, data: DataFacts) -> Config:
    """Fills in the size. Raises UserError for one that is no multiple of the patch."""
    size = config.image_size or 1024
    if size % config.patch_size:
        raise UserError(f"--image_size={size}: takes a multiple of {config.patch_size}, the patch")
    return replace(config, image_size=size)
