"""The configuration of a run. Every field can be set by a preset or as --group.field=value."""

from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, Literal

from toolkit.core.errors import UserError
from toolkit.stream.augment import Augment
from toolkit.stream.names import StylePartner


@dataclass(frozen=True)
class DataConfig:
    """What is streamed.

    mix: whole-number weights of tasks; `main` is the dataset named by `main`, any other task is
    the dataset of its own name. where: SQL condition on main, or on the first task without one;
    split and val_split: the values of the column `split` to train on and to validate on. crop,
    least_scale, flip, caption_dropout: see toolkit/stream/augment.py. style_partner: the
    style picture that a sample is shown: the linked one, or one drawn from the dataset style_pool.
    shuffle_block: samples that stay together when they are shuffled, 1 for none. workers: decoding
    threads. prefetch: batches decoded ahead.
    max_bytes: a cap on the bytes in flight, for which fewer batches are decoded ahead.
    max_failures: samples that do not decode, after which the run stops.
    """

    mix: str = "main:3,fill50k:1"
    main: str = "teacher"
    where: str = "true"
    split: str = "train"
    val_split: str = "val"
    batch_size: int = 16
    crop: Literal["center", "random"] = "center"
    least_scale: float = 1.0
    flip: float = 0.0
    caption_dropout: float = 0.0
    style_partner: StylePartner = "same_picture"
    style_pool: str = "wikiart"
    shuffle_block: int = 1
    workers: int = 2
    prefetch: int = 1
    max_bytes: int = 1 << 30
    max_failures: int = 100


@dataclass(frozen=True)
class OptimConfig:
    """AdamW (Loshchilov & Hutter 2019) with linear warm-up.

    lr: peak learning rate. schedule: what follows the warm-up: constant, or cosine down to 0.
    clip_grad_norm: largest gradient norm, 0 for no limit.
    """

    lr: float = 1e-3
    weight_decay: float = 0.01
    beta1: float = 0.9
    beta2: float = 0.99
    eps: float = 1e-8
    warmup_steps: int = 20
    schedule: Literal["constant", "cosine"] = "cosine"
    clip_grad_norm: float = 1.0


@dataclass(frozen=True)
class CheckpointConfig:
    """save_interval: steps between checkpoints. keep: how many of the last ones stay."""

    save_interval: int = 50
    keep: int = 2


@dataclass(frozen=True)
class SampleConfig:
    """Watching the run. sample_every: steps between picture grids. num_pairs: rows of a grid, from
    the validation split. steps: solver steps. eval_every: steps between evaluations of the loss on
    the fixed batch of eval_size validation samples."""

    sample_every: int = 100
    num_pairs: int = 6
    steps: int = 8
    eval_every: int = 50
    eval_size: int = 16


@dataclass(frozen=True)
class RunConfig:
    """One run. threads: intra-op threads; bit-identity holds at a fixed number of them, so the
    number is part of the configuration. method_config: the fields of the method itself."""

    method: str = "style_adapter"
    steps: int = 300
    seed: int = 0
    threads: int = 2
    device: str = "cpu"
    data: DataConfig = field(default_factory=DataConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)
    sample: SampleConfig = field(default_factory=SampleConfig)
    method_config: Any = None


_LEAST = {
    "steps": 1, "threads": 1, "data.batch_size": 1, "data.workers": 0, "data.prefetch": 0,
    "data.shuffle_block": 1, "data.max_bytes": 1, "data.max_failures": 0,
    "optim.warmup_steps": 0, "optim.clip_grad_norm": 0, "optim.weight_decay": 0,
    "checkpoint.save_interval": 1, "checkpoint.keep": 1, "sample.sample_every": 1,
    "sample.num_pairs": 1, "sample.steps": 1, "sample.eval_every": 1, "sample.eval_size": 1,
}  # fmt: skip


def check_config(config: RunConfig) -> None:
    """Raises UserError for a setting that cannot work, before anything is loaded."""
    for name, least in _LEAST.items():
        value = attrgetter(name)(config)
        if value < least:
            raise UserError(f"--{name}={value}: takes {least} or more")
    data = config.data
    Augment(data.crop, data.least_scale, data.flip, data.caption_dropout)  # checks its own ranges
    if config.optim.lr <= 0:
        raise UserError(f"--optim.lr={config.optim.lr}: takes a number above 0")
