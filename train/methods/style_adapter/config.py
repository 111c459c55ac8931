"""Settings of the method; without torch, so that flags are checked before it is loaded."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal

from toolkit.core.checks import at_least
from toolkit.core.errors import UserError
from train.methods import pipelines
from train.methods.needs import DataFacts, Feature, Needs

BACKBONE_SIZE = "2.4 GB, without its text encoder"
"""Of the usual backbone, for people."""
_PARTS = ("transformer", "vae", "text_encoder", "scheduler")


@dataclass(frozen=True)
class NetConfig:
    """Sizes of the network that is trained as a whole, where there is no backbone.

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
class AdapterConfig:
    """What is trained beside a frozen backbone.

    layers: the last K blocks see the style, 0 for all. tokens: style tokens. gate: γ of each
    layer's tanh(γ) at the start. source: of the tokens, CLIP's embedding of the whole style
    picture, or the patches that a resampler reads. purification: how the content is taken out of
    the tokens. content_source: what stands for the content there: its picture, its caption, or
    what sets the style picture apart from the style's other pictures. style_schedule: of the
    style's strength while noise becomes a picture: piecewise is low until begin and rises in a
    straight line to 1 at end, cosine rises all the way. low: the strength at first. begin: share of
    the denoising at which piecewise begins to rise. end: share at which it has reached 1.
    """

    layers: int = 4
    tokens: int = 4
    gate: float = 0.1
    source: Literal["embedding", "patches"] = "embedding"
    purification: Literal["none", "projection", "gated"] = "gated"
    content_source: Literal["content_picture", "caption", "style_mean"] = "content_picture"
    style_schedule: Literal["none", "piecewise", "cosine"] = "none"
    low: float = 0.0
    begin: float = 0.2
    end: float = 0.6

    def __post_init__(self) -> None:
        at_least(0, layers=self.layers)
        at_least(1, tokens=self.tokens)
        if not 0 < self.gate < 1:
            raise UserError(
                f"--adapter.gate={self.gate}: takes a number above 0, below 1; at 0 keys and "
                "values would have no gradient"
            )
        if not 0 <= self.low <= 1:
            raise UserError(f"--adapter.low={self.low}: takes a number from 0 to 1")
        if not 0 <= self.begin < self.end <= 1:
            raise UserError("--adapter.begin, --adapter.end: take 0 ≤ begin < end ≤ 1")


@dataclass(frozen=True)
class DropoutConfig:
    """What samples are trained without, in one draw (IP-Adapter's training), for guidance.

    style: share that goes without style. text: without caption. both: without either.
    """

    style: float = 0.05
    text: float = 0.05
    both: float = 0.05

    def __post_init__(self) -> None:
        shares = (self.style, self.text, self.both)
        if min(shares) < 0 or sum(shares) > 1:
            raise UserError("--dropout: takes shares from 0, together at most 1")


@dataclass(frozen=True)
class SidecarConfig:
    """Names of the sidecars that hold what the frozen encoders make.

    latents: of targets, and for content_path=control of contents. clip: CLIP's embeddings of styles
    and contents. text: T5's tokens of captions. clip_text: CLIP's embeddings of captions, for
    content_source=caption.
    """

    latents: str = "latents"
    clip: str = "clip_image"
    text: str = "t5"
    clip_text: str = "clip_text"


@dataclass(frozen=True)
class Config:
    """Settings of the method.

    trains: an adapter beside a frozen backbone, or a backbone itself, from captions. backbone:
    PixArt-alpha, by hub id, folder, or name of a folder under weights/; without one, a small
    network is trained as a whole, by `net`, `style_dropout` and `time_floor`. image_encoder: CLIP,
    likewise. stored: whether what the frozen encoders make of training samples is read from
    sidecars (toolkit.encode), or made while training. content_path: how the student sees the
    content: sdedit does not show it while training and begins at the noised content when it makes
    pictures; control adds a branch that reads the content's latents (after ControlNet and
    PixArt-δ). control_layers: blocks of that branch. objective: iddpm_vb is the backbone's own,
    error of the noise and variational bound of its variance; eps_mse the error alone.
    guidance: of pictures, where none is asked for, with a backbone; PixArt-alpha's without more.
    style_dropout: share of training samples that see no style. time_floor: see
    `train.parts.flow.velocity_loss`.
    image_size: pixels a side, of what is stored or else as given. embedding_dim: width of what CLIP
    gives of styles, decided by the data. proxy_dim: of contents, likewise. styles: whose means
    stand for what is style in them, for content_source=style_mean, likewise. encoders: who made
    what is stored, likewise.
    """

    trains: Literal["adapter", "backbone"] = "adapter"
    backbone: str = ""
    image_encoder: str = "laion/CLIP-ViT-H-14-laion2B-s32B-b79K"
    stored: bool = True
    content_path: Literal["sdedit", "control"] = "control"
    control_layers: int = 4
    objective: Literal["iddpm_vb", "eps_mse"] = "iddpm_vb"
    adapter: AdapterConfig = field(default_factory=AdapterConfig)
    dropout: DropoutConfig = field(default_factory=DropoutConfig)
    sidecars: SidecarConfig = field(default_factory=SidecarConfig)
    net: NetConfig = field(default_factory=NetConfig)
    guidance: float = 4.5
    style_dropout: float = 0.05
    time_floor: float = 0.2
    image_size: int = 0
    embedding_dim: int = 0
    proxy_dim: int = 0
    styles: tuple[str, ...] = ()
    encoders: str = ""

    def __post_init__(self) -> None:
        at_least(1, control_layers=self.control_layers)
        at_least(0, image_size=self.image_size, embedding_dim=self.embedding_dim)


@dataclass(frozen=True)
class Stylize:
    """How pictures are made. steps: of the solver; guidance: classifier-free guidance weight, away
    from neither style nor caption, 1 is none; style_scale: of the style, 0 is none, 1 as trained;
    strength: share of the noise that the content picture is begun at, 1 is nothing but noise; a
    network without a backbone knows only that."""

    steps: int = 10
    guidance: float = 1.0
    style_scale: float = 1.0
    strength: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.strength <= 1:
            raise UserError(f"--strength={self.strength}: takes a number above 0, at most 1")
        for name in ("guidance", "style_scale"):
            if getattr(self, name) < 0:
                raise UserError(f"--{name}={getattr(self, name)}: takes 0 or more")


def place_of(weights: str) -> str:
    """The folder of weights that come with this method, where that is their name; otherwise the
    name itself, a folder or a hub id."""
    return pipelines.place_of(weights, Path(__file__).parent / "weights")


def is_large(config: Config) -> bool:
    """Whether it has a backbone, of which one fills a GPU (source A, section 1)."""
    return bool(config.backbone)


def stylize(config: Config) -> Stylize:
    """What suits a network. Those with a backbone: PixArt-alpha's number of steps."""
    if not config.backbone:
        return Stylize()
    strength = 0.6 if config.content_path == "sdedit" else 1.0
    return Stylize(steps=20, guidance=config.guidance, strength=strength)


def pretrained(config: Config, used_by: str) -> Iterator[Any]:
    """The backbone's transformer, where it is one of the hub; what its encoders make is stored."""
    from toolkit.encoders.inventory import of_hub
    from toolkit.encoders.loading import Pretrained

    place = place_of(config.backbone)
    if place and not Path(place).is_dir():
        yield of_hub(used_by, Pretrained(f"{place}/transformer", BACKBONE_SIZE))


def needs(config: Config) -> Needs:
    """Triplets of target, content and style: their pictures, or what encoders made of them."""
    if not config.backbone:
        return Needs(("target", "content", "style"), config.net.image_size)
    pipelines.check_pipeline(place_of(config.backbone), "PixArt-alpha", _PARTS)
    if config.stored and config.trains == "adapter":
        return Needs((), config.image_size, tuple(_features(config)))
    if not config.image_size:
        raise UserError("--image_size=…: pixels a side, where nothing is stored that says it")
    if config.trains == "backbone":
        return Needs(("target",), config.image_size, inputs=("target",))
    return Needs(("target", "content", "style"), config.image_size)


def _features(config: Config) -> list[Feature]:
    names, adapter = config.sidecars, config.adapter
    output = "embedding" if adapter.source == "embedding" else "tokens"
    # without a branch that shows it the content, a sample without style learns from its own picture
    otherwise = "target" if config.content_path == "sdedit" else None
    size = f" --target_size={config.image_size}" if config.image_size else " --target_size=…"
    backbone, clip = place_of(config.backbone), f"--weights={place_of(config.image_encoder)}"
    latents = f"--encoder=autoencoder_kl --weights={backbone}/vae{size}"
    text = f"--encoder=t5 --weights={backbone}/text_encoder"
    pictured, told = f"--encoder=clip_image {clip}", f"--encoder=clip_text {clip}"
    if output == "tokens":
        pictured += " --outputs=embedding,tokens"
    found = [
        Feature("latent", "target", names.latents, command=latents),
        Feature("text", "target", names.text, command=text),
        Feature("style", "style", names.clip, output, pictured, otherwise),
    ]
    if config.content_path == "control":
        found.append(Feature("content", "content", names.latents, command=latents))
    if adapter.purification != "none" and adapter.content_source == "content_picture":
        found.append(Feature("proxy", "content", names.clip, "embedding", pictured))
    if adapter.purification != "none" and adapter.content_source == "caption":
        found.append(Feature("proxy", "target", names.clip_text, "embedding", told))
    return found


def settle(config: Config, data: DataFacts) -> Config:
    """Fills in size, width of the style's embedding, and who made what is stored. Raises UserError
    for sidecars of other encoders."""
    if not config.backbone or config.trains == "backbone":
        return config
    if not config.stored:
        from train.methods.style_adapter.encoders import Encoders

        widths, who = Encoders(config).facts()
        is_one = config.adapter.source == "embedding"
        return replace(
            _named(config, data), embedding_dim=widths[0 if is_one else 1], proxy_dim=widths[0],
            encoders=json.dumps(who, sort_keys=True),
        )  # fmt: skip
    made_by = {name: dict(f.encoder) for name, f in data.features.items()}
    expected = {"latent": "autoencoder_kl", "content": "autoencoder_kl", "text": "t5",
                "style": "clip_image"}  # fmt: skip
    for name, encoder in expected.items():
        if name in made_by and made_by[name]["encoder"] != encoder:
            raise UserError(
                f"the sidecar of {name} was made by {made_by[name]['encoder']}, not by {encoder}: "
                "choose another with --sidecars.…=NAME"
            )
    size = int(data.features["latent"].settings["size"])
    if config.image_size and config.image_size != size:
        raise UserError(
            f"--image_size={config.image_size}: the stored latents are of {size} pixels"
        )
    identities = json.dumps(made_by, sort_keys=True)
    dim = data.features["style"].shape[-1]
    proxy = data.features["proxy"].shape[-1] if "proxy" in data.features else dim
    return replace(
        _named(config, data), image_size=size, embedding_dim=dim, proxy_dim=proxy,
        encoders=identities,
    )  # fmt: skip


def _named(config: Config, data: DataFacts) -> Config:
    """With the styles that there are, where their means are asked for."""
    how = config.adapter
    if how.purification == "none" or how.content_source != "style_mean":
        return config
    if how.source == "patches":
        raise UserError("--adapter.content_source=style_mean goes with --adapter.source=embedding")
    named = {style for styles in data.styles.values() for style in styles if style}
    if not named:
        raise UserError("--adapter.content_source=style_mean: no sample names its style")
    return replace(config, styles=tuple(sorted(named)))
