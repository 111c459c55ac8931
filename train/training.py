"""One training from its settings to its end: data, method, optimiser, ranks and loop, wired
together."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from toolkit.core.config import to_toml
from toolkit.core.files import write_atomic
from toolkit.core.log import warn
from toolkit.encoders.device import usable_device
from toolkit.encoders.loading import weights_hash
from toolkit.store.layout import Layout
from train.averages import Averages
from train.config import RunConfig, check_config
from train.data import (
    Data,
    describe_loader,
    facts_of_data,
    open_data,
    open_loader,
    samples_per_epoch,
)
from train.identity import facts_of
from train.log import check_wandb
from train.methods import next_command, style_counts, stylize_flags
from train.methods.api import Asks, Loads, Method
from train.numerics import (
    Numerics,
    compile_checked,
    determinism,
    enable_gradient_checkpointing,
    open_numerics,
    place,
)
from train.optim import build_optimizer, rate_at, regrouped, with_rates
from train.parallel import spread
from train.prompts import has_prompts
from train.ranks import Ranks
from train.resume import begun, calibrate, go_on, how_to_resume, restored
from train.runs import RunFolder, build_method, needs_of, settled
from train.session import Parts, Session
from train.settings import Resume, fresh_config, stored_config, with_epochs
from train.speed import Rehearsal
from train.watch import Watch

_FEW_SAMPLES = 5  # of a style, which is then hardly learned


@dataclass(frozen=True)
class Training:
    """What is trained, on what, where and by whom."""

    settings: RunConfig
    folder: RunFolder
    data: Data
    layout: Layout
    ranks: Ranks


def settle(
    folder: RunFolder,
    method: str,
    config: str,
    changes: dict[str, str],
    resume: bool,
    force: bool,
) -> RunConfig:
    """The configuration, checked, but for what the data decide. Raises UserError."""
    if resume:
        settings = stored_config(folder, method, changes, force)
    else:
        settings = fresh_config(method, config, changes)
    check_config(settings)
    return settings


def open_settled(settings: RunConfig, layout: Layout, is_old: bool) -> tuple[RunConfig, Data]:
    """The configuration with what the data decide, unless it has that already, and the data. Raises
    UserError."""
    needs = needs_of(settings)
    data = open_data(settings.data, needs, layout)
    print(*data.notes, sep="\n", end="\n" if data.notes else "")
    if is_old:
        return settings, data
    settings = with_epochs(settings, samples_per_epoch(data, settings, needs))
    return settled(settings, facts_of_data(data)), data


@dataclass(frozen=True)
class Built:
    """The method, where it computes, its number formats, and what is trained of it, at which
    rates."""

    method: Method
    numerics: Numerics
    groups: list[dict[str, Any]]


def build(settings: RunConfig, ranks: Ranks) -> Built:
    """Builds the method. Raises UserError where device or settings do not do for it."""
    usable_device(settings.device)
    if settings.wandb:
        check_wandb()
    method: Method = build_method(settings)
    numerics = open_numerics(settings)
    groups = with_rates(settings.optim, method.param_groups())
    if settings.optim.gradient_checkpointing:
        enable_gradient_checkpointing(method.module())
    in_pieces = ranks.world > 1 and settings.ranks.parallel == "fsdp"  # whole, it may not fit
    where = "cpu" if in_pieces else settings.device
    weights = place(method.module(), settings, numerics, where).items()
    counts = ", ".join(f"{count / 1e6:.2f} million {kind}" for kind, count in weights)
    print(
        f"{settings.method}: weights: {counts}; arithmetic in {numerics.precision} on "
        f"{settings.device}"
    )
    return Built(method, numerics, groups)


def train_run(
    training: Training,
    built: Built,
    how: Resume | None,
    at_first_step: Callable[[], None] | None,
    limit: int | None,
) -> None:
    """Trains to the end, or to a signal. how: the run resumes; None for a new one; at_first_step:
    called when everything before has gone well."""
    settings, folder, ranks = training.settings, training.folder, training.ranks
    method, numerics = built.method, built.numerics
    began = time.monotonic()
    own = weights_hash([method.module()], without=method.trainable_state())
    frozen = {"weights": own, **(method.asked() if isinstance(method, Asks) else {})}
    averages = Averages(settings.ema, folder.averages, settings.steps, ranks.is_first)
    with _open_stream(training, method) as loader:
        facts = facts_of(settings, loader.state_dict(), frozen)
        ranks.refuse_differing(facts)
        with _telling_what_is_loaded(method):
            if how is None:
                start = begun(settings, method, training.data)
            else:
                start = restored(folder, settings, method, training.data, facts, how)
        parallel = spread(method, settings, ranks)
        groups = regrouped(built.groups, method.param_groups())
        parts = Parts(method, numerics, build_optimizer(settings.optim, groups), parallel)
        if start.is_blank:
            _calibrate(training, method, loader)
        go_on(start, settings, parts, averages, loader, how)
        _keep_settings(training, is_old=how is not None)
        _announce(training)
        if start.step == 0 and settings.sample.sample_every:
            print("before the first step: the loss and pictures of some samples", flush=True)
        rehearsal = Rehearsal()
        with rehearsal.timed("look"):
            watch = Watch(settings, folder, method, numerics, training.data, start.step, parallel)
        if settings.compile:
            print(compile_checked(method, watch.held_out, numerics))
        session = Session(
            settings, folder, parts, facts, averages, watch, loader, start.step, rehearsal, limit
        )
        if at_first_step:
            at_first_step()
        session.train()
    if session.early_exit:
        _leave(training, session)
    if not ranks.is_first:
        return
    if limit is not None:
        print(rehearsal.forecast(settings, folder.checkpoints, limit))
        return
    done = session.done - start.step
    print(f"{done} steps in {time.monotonic() - began:.0f} s; run: {folder.path}")
    if watch.columns:
        print(f"pictures: {folder.samples}, columns: {watch.columns}")
    _say_what_is_next(training)


@contextmanager
def _open_stream(training: Training, method: Method) -> Iterator[Any]:
    """This rank's batches; whole ones for a method that has to see those."""
    settings, ranks = training.settings, training.ranks
    which = (0, 1) if method.sees_whole_batches else (ranks.rank, ranks.world)
    needs = needs_of(settings)
    with open_loader(settings, training.data, needs, training.layout, *which) as loader:
        print(*describe_loader(loader), sep="\n")
        yield loader


def _calibrate(training: Training, method: Method, loader: Any) -> None:
    """On whole batches, so that ranks change nothing."""
    settings = training.settings
    if training.ranks.world == 1 or method.sees_whole_batches:
        calibrate(method, loader)
        return
    with open_loader(settings, training.data, needs_of(settings), training.layout) as whole:
        calibrate(method, whole)


@contextmanager
def _telling_what_is_loaded(method: Method) -> Iterator[None]:
    before = method.loaded() if isinstance(method, Loads) else []
    print(*before, sep="\n", end="\n" if before else "")
    yield
    for line in method.loaded()[len(before) :] if isinstance(method, Loads) else ():
        print(line)


def _keep_settings(training: Training, is_old: bool) -> None:
    """Of a run that resumes: --force may have changed some."""
    if is_old and training.ranks.is_first:
        write_atomic(training.folder.config, to_toml(training.settings))


def _say_what_is_next(training: Training) -> None:
    settings, folder = training.settings, training.folder
    if settings.ema.sigma_rels:
        sigma = max(settings.ema.sigma_rels)
        print(f"averaged weights: python -m train.ema --run={folder.path} --sigma_rel={sigma:g}")
    following = next_command(settings.method, settings.method_config, str(folder.path))
    drawing = f"python -m train.stylize --run={folder.path}"
    print(f"next: {following or drawing + _how_to_draw(training)}")


def _how_to_draw(training: Training) -> str:
    """Flags without which train.stylize does not know what to make."""
    settings, data = training.settings, training.data
    flags = stylize_flags(settings.method, settings.method_config)
    inputs = needs_of(settings).inputs
    if inputs and data.validation[0] is data.selections[0]:  # nothing is held out to work on
        flags += " --content=FILE" + " --style=FILE" * ("style" in inputs)
    if not inputs and not has_prompts(data.selections, training.layout, settings.data.main):
        flags += " --caption=TEXT"
    return flags


def _leave(training: Training, session: Session) -> None:
    why = "interrupted"
    if shortages := list(filter(None, training.ranks.each(session.shortage))):
        why = f"stopped: {shortages[0]}; free some memory, or allow more with --memory_limit="
    if training.ranks.is_first:
        advice = how_to_resume(training.settings, training.folder, training.ranks.world)
        warn(f"{why}: {advice}")
    raise SystemExit(session.early_exit)


def _announce(training: Training) -> None:
    settings, selections = training.settings, training.data.selections
    if training.ranks.world > 1:
        print(*training.ranks.describe(settings), sep="\n")
    sizes = ", ".join(f"{s.name} {len(s)}" for s in selections)
    print(f"samples: {sizes}; mix {settings.data.mix}")
    counts = style_counts(settings.method, settings.method_config, selections)
    if counts:
        print("styles: " + ", ".join(f"{style} {count}" for style, count in counts.items()))
    if few := [style for style, count in counts.items() if count < _FEW_SAMPLES]:
        print(
            f"fewer than {_FEW_SAMPLES} samples: {', '.join(few)}; --labels=task makes each task "
            "one style"
        )
    print(f"determinism: {determinism(settings)}")
    how = settings.optim
    if how.warmup_steps >= settings.steps > 1:
        highest = max(rate_at(how, step, settings.steps) for step in range(settings.steps))
        print(
            f"the warm-up of {how.warmup_steps} steps outlasts the run: the rate goes up to "
            f"{highest:.3g} of {how.lr:.3g}, see --warmup_steps"
        )
