"""Settings of the method; without torch, so that flags are checked before it is loaded."""

from dataclasses import dataclass, field, fields

from toolkit.core.checks import at_least
from toolkit.core.errors import UserError
from train.methods.needs import Needs


@dataclass(frozen=True)
class NetConfig:
    """Sizes of the network.

    image_size: pixels a side. haar_levels: the latent has 3·4^levels channels and is 2^levels times
    smaller. patch_size: latent pixels a side of a token. num_layers: blocks. num_heads, head_dim:
    of the attention. text_dim: of the embedded caption. word_buckets: rows that words are hashed
    to. style_dim: of the style tokens. style_layers: the last so many blocks see the style. gate:
    initial γ of their gates. head_width: channels of the convolutions that make the output.
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

    def __post_init__(self) -> None:
        at_least(1, **{f.name: getattr(self, f.name) for f in fields(self) if f.type is int})
        if self.style_layers > self.num_layers:
            raise UserError(
                f"style_layers={self.style_layers}: there are only num_layers={self.num_layers}"
            )
        multiple = self.patch_size * 2**self.haar_levels
        if self.image_size % multiple:
            raise UserError(
                f"image_size={self.image_size}: takes a multiple of {multiple}, "
                "patch_size·2^haar_levels"
            )


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
