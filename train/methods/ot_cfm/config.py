"""Settings of the method; without torch, so that flags are checked before it is loaded."""

import json
from dataclasses import dataclass, field, replace
from shlex import quote
from typing import Any, Literal

from toolkit.core.checks import at_least
from toolkit.core.errors import UserError
from train.methods.needs import INVERT, DataFacts, Feature, Needs
from train.methods.ot_cfm.foreign import from_json

__all__ = ["Config", "NetConfig", "Stylize", "from_json", "needs", "settle"]


@dataclass(frozen=True)
class NetConfig:
    """Sizes of the network.

    hidden_dim: channels inside. num_layers: blocks. style_dim, time_dim: of the embeddings.
    kernel_size: of the depthwise convolutions. expansion: of the channels inside a block. grn:
    global response normalisation (Woo et al. 2023), for twice the memory. channels: of the
    latents; the data decide it.
    """

    hidden_dim: int = 384
    num_layers: int = 12
    style_dim: int = 512
    time_dim: int = 512
    kernel_size: int = 7
    expansion: int = 4
    grn: bool = False
    channels: int = 0

    def __post_init__(self) -> None:
        sizes = ("hidden_dim", "num_layers", "style_dim", "time_dim", "kernel_size", "expansion")
        at_least(1, **{name: getattr(self, name) for name in sizes})
        if self.kernel_size % 2 == 0:
            raise UserError(f"kernel_size={self.kernel_size}: takes an odd number")


@dataclass(frozen=True)
class Config:
    """Settings of the method.

    sidecar: of the latents. made_by: flags of the command that makes it, for a message where it is
    missing and for a plan before it is there. weights: of the encoder that made them, a folder or a
    hub id, for pictures; its own default otherwise. labels: what a sample's label is, the style
    that its manifest names (of the one called as its task where it names none) or the task that it
    comes from. styles: labels, in the order of their numbers; all that the data have otherwise.
    label_drop: share of samples that are trained without label, for guidance. coupling: of noise
    and data; independent pairs them as they come, ot_exact and ot_hungarian by optimal transport
    within the batch, c2ot within each style of it. time: how times are drawn. calibration: samples
    that decide how latents are standardised. noise_sidecar: each latent's own noise, of
    train.invert, in the place of drawn noise (reflow). size, encoder: of the latents; the data
    decide them.
    """

    net: NetConfig = field(default_factory=NetConfig)
    sidecar: str = "latents"
    weights: str = ""
    made_by: str = "--encoder=autoencoder_kl --target_size=512"
    labels: Literal["style", "task"] = "style"
    styles: tuple[str, ...] = ()
    label_drop: float = 0.15
    coupling: Literal["independent", "ot_exact", "ot_hungarian", "c2ot"] = "independent"
    time: Literal["uniform", "logit_normal"] = "uniform"
    calibration: int = 512
    noise_sidecar: str = ""
    size: int = 0
    encoder: str = ""

    def __post_init__(self) -> None:
        at_least(1, calibration=self.calibration)
        if not 0 <= self.label_drop <= 1:
            raise UserError(f"--label_drop={self.label_drop}: takes a share from 0 to 1")


@dataclass(frozen=True)
class Stylize:
    """How pictures are translated: backwards to noise under the source style, without guidance, and
    forwards under the target style.

    steps: of the solver, each way. guidance: weight of the way forwards, 1 for none. solver: of
    the differential equation; fireflow is of second order at one evaluation a step. source_style:
    name or number of the style that the picture is of; otherwise its own, or what is left where
    there are two. target_style: name or number of the style that it is to be of; otherwise what is
    left where there are two. tolerance: of the relative error of a round trip; above 0 the
    cheapest solver that keeps it is taken, whatever `solver` and `steps` say. guidance_rule: plain
    classifier-free guidance, or CFG-Zero* (zero_star). guidance_interval: times at which there is
    guidance, 0 is noise, 1 the picture. depth: how far back, 1 is to the noise. clamp: largest
    standardised latent that the network is shown, 0 for no limit. noise_adain: how far
    each channel of the noise is brought to mean 0 and deviation 1, from 0 to 1: more style, less
    structure.
    """

    steps: int = 20
    guidance: float = 2.0
    solver: Literal["euler", "midpoint", "heun", "rk4", "fireflow"] = "midpoint"
    source_style: str = ""
    target_style: str = ""
    tolerance: float = 0.0
    guidance_rule: Literal["plain", "zero_star"] = "plain"
    guidance_interval: tuple[float, ...] = (0.0, 1.0)
    depth: float = 1.0
    clamp: float = 0.0
    noise_adain: float = 0.0

    def __post_init__(self) -> None:
        at_least(1, steps=self.steps)
        interval = self.guidance_interval
        if len(interval) != 2 or not 0 <= interval[0] <= interval[1] <= 1:
            raise UserError("--guidance_interval: takes two times from 0 to 1, as 0.1,1")
        if not 0 < self.depth <= 1:
            raise UserError(f"--depth={self.depth}: takes a number above 0, at most 1")
        if not 0 <= self.noise_adain <= 1:
            raise UserError(f"--noise_adain={self.noise_adain}: takes a number from 0 to 1")
        if self.noise_adain and self.depth < 1:
            raise UserError("--noise_adain changes noise, which --depth below 1 does not reach")
        for name in ("guidance", "tolerance", "clamp"):
            if getattr(self, name) < 0:
                raise UserError(f"--{name}={getattr(self, name)}: takes 0 or more")

    @property
    def plain(self) -> "Stylize":
        """Without what keeps the way forwards from being the way back."""
        return replace(self, guidance=1.0, noise_adain=0.0)


def needs(config: Config) -> Needs:
    """Latents; pictures only to translate them."""
    features = [Feature("latent", "target", config.sidecar, command=config.made_by)]
    if config.noise_sidecar:
        features.append(Feature("noise", "target", config.noise_sidecar, command=INVERT))
    return Needs((), config.size, tuple(features), inputs=("target",))


def label_of(config: Config, style: str | None, task: str) -> str:
    """The label of a sample of a style, or of none, from a task."""
    return task if config.labels == "task" else style or task


def example_flags(config: Config) -> str:
    """What `train.stylize` needs besides the run: which of several styles is wanted."""
    return f" --target_style={quote(config.styles[-1])}" if len(config.styles) > 2 else ""


def settle(config: Config, data: DataFacts) -> Config:
    """Fills in size, channels, encoder and styles. Raises UserError: fewer than two styles, named
    styles that no sample has, samples of a style that is not among those that are named."""
    import torch

    from toolkit.encoders.api import encoder_module, encoders

    latents = data.features["latent"]
    name = str(latents.encoder["encoder"])
    module: Any = encoder_module(name) if name in encoders() else None
    if not hasattr(module, "to_latents"):
        raise UserError(
            f"the sidecar {config.sidecar} was made by {name}, which makes no latents that can be "
            "decoded: choose another --sidecar, made by python -m toolkit.encode"
        )
    shape = (1, *latents.shape)
    channels = module.to_latents(latents.encoder, torch.zeros(shape)).shape[1]
    found = tuple(
        dict.fromkeys(
            label_of(config, style, task)
            for task, styles in data.styles.items()
            for style in sorted(styles, key=lambda name: name or "")
        )
    )
    for style in config.styles or found:
        if style not in found:
            raise UserError(f"--styles: no sample is of the style {style}; there are {found}")
    if left := [style for style in found if config.styles and style not in config.styles]:
        raise UserError(
            f"--styles leaves out {', '.join(left)}, which samples have: name all, or select fewer "
            "samples with --where"
        )
    styles = config.styles or found
    if len(styles) < 2:
        raise UserError(
            f"all samples are of one style, {styles[0]}: mix two datasets, as --mix=photos:1,"
            "paintings:1, or select samples of several styles"
        )
    _check_noise(config, data)
    size = int(latents.settings["size"])
    net = replace(config.net, channels=channels)
    encoder = json.dumps(dict(latents.encoder), sort_keys=True)
    return replace(config, net=net, styles=styles, size=size, encoder=encoder)


def _check_noise(config: Config, data: DataFacts) -> None:
    if not config.noise_sidecar:
        return
    noise, latents = data.features["noise"], data.features["latent"]
    cuts = [{**facts.settings, "dtype": None} for facts in (noise, latents)]
    of_these = noise.encoder.get("of") == latents.recipe
    if noise.encoder["encoder"] != "noise" or not of_these or cuts[0] != cuts[1]:
        raise UserError(
            f"--noise_sidecar={config.noise_sidecar}: not the noise of the latents in "
            f"{config.sidecar}: make it with python -m train.invert"
        )
    if config.coupling != "independent":
        raise UserError(
            f"--coupling={config.coupling} pairs noise that is drawn, but --noise_sidecar names "
            "each latent's own: leave one out"
        )
