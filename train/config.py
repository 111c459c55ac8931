"""The configuration of a run. Every field can be set by a preset or as --group.field=value."""

from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any, Literal

from toolkit.core.errors import UserError
from toolkit.stream.augment import Augment
from toolkit.stream.names import StylePartner

Precision = Literal["auto", "fp32", "bf16", "fp16"]


@dataclass(frozen=True)
class BucketConfig:
    """Batches of one shape each, near the pictures' own (`toolkit.stream.buckets`).

    multiple: sides are multiples of so many pixels; 0 is squares of one size instead. size: no
    shape has more than size² pixels; the method's own otherwise. least: pictures that would have
    fewer than least² are left out.
    """

    multiple: int = 0
    size: int = 0
    least: int = 0


@dataclass(frozen=True)
class DataConfig:
    """What is streamed.

    mix: whole-number weights of tasks; `main` is the dataset named by `main`, any other task is
    the dataset of its own name. main: dataset of the main task. where: SQL condition on main, or
    on the first task without one. split: value of the column `split` to train on. val_split: the
    one to validate on. batch_size: samples of a step. crop: center, or random squares.
    least_scale, most_scale: smallest and largest side of a random square, as parts of the picture's
    shorter side. flip: share of samples that are mirrored. caption_dropout: share of samples
    without their caption. style_partner: the style picture that a sample is shown: the linked one,
    or one drawn from style_pool. style_pool: the dataset to draw from.
    buckets: shapes of the batches, squares of one size by default.
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
    most_scale: float = 1.0
    flip: float = 0.0
    caption_dropout: float = 0.0
    style_partner: StylePartner = "same_picture"
    style_pool: str = "wikiart"
    buckets: BucketConfig = field(default_factory=BucketConfig)
    shuffle_block: int = 1
    workers: int = 2
    prefetch: int = 1
    max_bytes: int = 1 << 30
    max_failures: int = 100


@dataclass(frozen=True)
class OptimConfig:
    """AdamW (Loshchilov & Hutter 2019) with linear warm-up.

    optimizer: adamw, or adamw8bit, which keeps its state in 8 bits (bitsandbytes). lr: peak
    learning rate. group_lr: peaks of the method's groups of weights, as gates:1e-2,vectors:0; a
    group at 0 is frozen. weight_decay: decoupled. beta1, beta2: decay of the moments. eps: added
    to their root. warmup_steps: of the linear rise to the peak. schedule: what follows the
    warm-up: constant, or cosine down to 0. clip_grad_norm: largest gradient norm, 0 for no limit.
    gradient_accumulation_steps: parts in which a batch is worked through, for less memory;
    data.batch_size is the whole batch. 0: one, and twice as many whenever memory does not suffice.
    gradient_checkpointing: recomputes activations instead of keeping them.
    """

    optimizer: Literal["adamw", "adamw8bit"] = "adamw"
    lr: float = 1e-3
    group_lr: str = ""
    weight_decay: float = 0.01
    beta1: float = 0.9
    beta2: float = 0.99
    eps: float = 1e-8
    warmup_steps: int = 20
    schedule: Literal["constant", "cosine"] = "cosine"
    clip_grad_norm: float = 1.0
    gradient_accumulation_steps: int = 1
    gradient_checkpointing: bool = False


@dataclass(frozen=True)
class CheckpointConfig:
    """save_interval: steps between checkpoints. save_epochs: instead, epochs of the main task.
    keep: how many of the last ones stay. keep_every: one is written at each multiple of so many
    steps and stays as well, 0 for none."""

    save_interval: int = 50
    save_epochs: float = 0.0
    keep: int = 2
    keep_every: int = 0


@dataclass(frozen=True)
class EmaConfig:
    """Averages of the weights (Karras et al. 2024), kept on the CPU; see python -m train.ema.

    sigma_rels: their lengths relative to the training, as 0.05,0.10; none by default. update_every:
    steps between two updates. snapshot_every: steps between two copies, from which an average of
    any length can be put together afterwards.
    """

    sigma_rels: tuple[float, ...] = ()
    update_every: int = 1
    snapshot_every: int = 100


@dataclass(frozen=True)
class SampleConfig:
    """Watching the run. sample_every: steps between picture grids, 0 for none. num_pairs: rows of a
    grid, from the validation split. sample_prompts: their captions instead of their own, with ;
    between two, given to the rows in turn. steps: solver steps. eval_every: steps between
    evaluations of the loss on a fixed batch. eval_size: validation samples in it."""

    sample_every: int = 100
    num_pairs: int = 6
    sample_prompts: str = ""
    steps: int = 8
    eval_every: int = 50
    eval_size: int = 16


@dataclass(frozen=True)
class RanksConfig:
    """Several processes that train one run, as torchrun starts them; see train/ranks.py.

    backend: what carries gradients; auto is nccl between GPUs and gloo between CPUs. parallel: ddp
    keeps all weights on each rank; fsdp a piece of each, for backbones that do not fit. timeout_s:
    seconds after which a rank that does not answer counts as gone.
    """

    backend: Literal["auto", "nccl", "gloo"] = "auto"
    parallel: Literal["ddp", "fsdp"] = "ddp"
    timeout_s: float = 600.0


@dataclass(frozen=True)
class RunConfig:
    """One run. method: its name. steps: of the optimiser. epochs: instead, how often to go through
    the main task. seed: of weights, order and noise. threads: intra-op threads; bit-identity holds
    at a fixed number of them, so the number is part of the configuration. device: cpu, cuda, cuda:1
    …. precision: of the arithmetic; auto is fp32 on a CPU, bf16 or else fp16 on a GPU.
    deterministic: bit-identity on a GPU too. compile: torch.compile, once its loss was found to be
    the same. channels_last: memory layout of convolutions. tf32: faster float32 products on a GPU.
    init_from: weights to begin with: a run, a checkpoint or a .safetensors file. initial_steps:
    steps that count as done before the first; rate, data and numbering go on from there.
    memory_limit: share of the machine's, the control group's or the GPU's memory above which the
    run does less at once, waits, and in the end stops with a checkpoint; 1 for never. wandb: log to
    Weights & Biases too. method_config: the fields of the method itself."""

    method: str = "style_adapter"
    steps: int = 300
    epochs: float = 0.0
    seed: int = 0
    threads: int = 2
    device: str = "cpu"
    precision: Precision = "auto"
    deterministic: bool = False
    compile: bool = False
    channels_last: bool = False
    tf32: bool = False
    init_from: str = ""
    initial_steps: int = 0
    memory_limit: float = 0.85
    wandb: bool = False
    data: DataConfig = field(default_factory=DataConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)
    ema: EmaConfig = field(default_factory=EmaConfig)
    sample: SampleConfig = field(default_factory=SampleConfig)
    ranks: RanksConfig = field(default_factory=RanksConfig)
    method_config: Any = None


def augment_of(data: DataConfig) -> Augment:
    """What is done to samples. Raises UserError for a setting out of range."""
    return Augment(data.crop, data.least_scale, data.flip, data.caption_dropout, data.most_scale)


_LEAST = {
    "steps": 1, "epochs": 0, "initial_steps": 0, "threads": 1,
    "data.batch_size": 1, "data.workers": 0, "data.buckets.multiple": 0,
    "data.buckets.size": 0, "data.buckets.least": 0,
    "data.prefetch": 0, "data.shuffle_block": 1, "data.max_bytes": 1, "data.max_failures": 0,
    "optim.warmup_steps": 0, "optim.clip_grad_norm": 0, "optim.weight_decay": 0,
    "optim.gradient_accumulation_steps": 0,
    "ema.update_every": 1, "ema.snapshot_every": 1,
    "checkpoint.save_interval": 1, "checkpoint.save_epochs": 0,
    "checkpoint.keep": 1, "checkpoint.keep_every": 0,
    "sample.sample_every": 0, "sample.num_pairs": 1, "sample.steps": 1,
    "sample.eval_every": 1, "sample.eval_size": 1,
}  # fmt: skip


def check_config(config: RunConfig) -> None:
    """Raises UserError for a setting that cannot work, before anything is loaded."""
    for name, least in _LEAST.items():
        value = attrgetter(name)(config)
        if value < least:
            raise UserError(f"--{name}={value}: takes {least} or more")
    data = config.data
    augment_of(data)  # checks its own ranges
    if config.initial_steps >= config.steps:
        raise UserError(
            f"--initial_steps={config.initial_steps}: --steps={config.steps} counts those too, so "
            "nothing is left"
        )
    if not all(0 < sigma < 0.28 for sigma in config.ema.sigma_rels):
        raise UserError("--ema.sigma_rels: takes numbers above 0 and below 0.28")
    if not 0 < config.memory_limit <= 1:
        raise UserError(
            f"--memory_limit={config.memory_limit}: takes a share above 0, or 1 for no limit"
        )
    if config.ranks.timeout_s <= 0:
        raise UserError(f"--ranks.timeout_s={config.ranks.timeout_s}: takes seconds above 0")
    if config.optim.lr <= 0:
        raise UserError(f"--optim.lr={config.optim.lr}: takes a number above 0")
    if config.optim.gradient_accumulation_steps > data.batch_size:
        raise UserError(
            f"--optim.gradient_accumulation_steps={config.optim.gradient_accumulation_steps}: "
            f"--data.batch_size={data.batch_size} cannot be parted so often"
        )
