"""Settings of the method; without torch, so that flags are checked before it is loaded."""

from dataclasses import dataclass, field

from train.methods.needs import Needs


@dataclass(frozen=True)
class NetConfig:
    """Sizes of the network.

    image_size: pixels a side. haar_levels: the latent has 3·4^levels channels and is 2^levels times
    smaller. style_layers: the last so many blocks see the style. gate: initial γ of their gates.
    """

    image_size: int = 64
    haar_levels: int = 2
    patch_size: int = 2
    num_layers: int = 6
    num_heads: int = 4
    head_dim: int = 48
    text_dim: int = 64
    word_buckets: int = 4096
    style_dim: int = 128
    style_layers: int = 4
    gate: float = 0.1
    head_width: int = 96


@dataclass(frozen=True)
class Config:
    """Settings of the method.

    style_dropout: share of training samples that see no style, for classifier-free guidance.
    time_floor: see `train.parts.flow.velocity_loss`.
    """

    net: NetConfig = field(default_factory=NetConfig)
    style_dropout: float = 0.05
    time_floor: float = 0.2


@dataclass(frozen=True)
class Stylize:
    """How pictures are made. steps: of the solver; guidance: classifier-free guidance weight, 1 is
    none; strength: of the style, 0 is none, 1 as trained."""

    steps: int = 10
    guidance: float = 1.0
    strength: float = 1.0


def needs(config: Config) -> Needs:
    """Triplets of target, content and style."""
    return Needs(("target", "content", "style"), config.net.image_size)
