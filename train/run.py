"""Trains a method.

    python -m train.run                                  style_adapter, smoke preset, sample data
    python -m train.run style_adapter --where="style='Cubism'" --optim.lr=5e-4 --name=cubism
    python -m train.run --name=cubism --resume

The only place that wires data, method, optimiser and loop together.
"""

import contextlib
import sys
import time
from pathlib import Path
from typing import Any

from toolkit.core.command import run
from toolkit.core.config import describe, to_toml
from toolkit.core.errors import UserError
from toolkit.core.files import held, make_folder, write_atomic
from toolkit.store.layout import Layout
from toolkit.store.mirror import open_layout


def main(
    method: str = "style_adapter",
    *,
    config: str = "smoke",
    where: str | None = None,
    mix: str | None = None,
    steps: int | None = None,
    epochs: float | None = None,
    seed: int | None = None,
    threads: int | None = None,
    device: str | None = None,
    resume: bool = False,
    force: bool = False,
    no_restore_optimizer: bool = False,
    overwrite: bool = False,
    name: str | None = None,
    runs: Path = Path("runs"),
    shards: Path = Path("shards"),
    manifests: Path = Path("manifests"),
    **overrides: str,
) -> None:
    """Trains a method on packed data and writes runs/NAME.

    Any field of the configuration is a flag: --optim.lr=3e-4, --data.workers=0.

    Args:
        method: the method; a folder under train/methods.
        config: a preset of the method, or a TOML file such as a run's config.toml.
        where: SQL condition on the main task's samples, for example "style='Cubism'".
        mix: tasks and their weights, for example main:3,fill50k:1.
        steps: optimiser steps.
        epochs: instead of steps, how often to go through the main task.
        seed: of weights, order, noise and everything else.
        threads: intra-op threads; results are bit-identical at a fixed number.
        device: cpu, cuda, cuda:1 …
        resume: go on from the run's last checkpoint, as if it had never stopped; refused where
            anything differs that decides the weights.
        force: with --resume, accept what differs, and say what.
        no_restore_optimizer: with --resume, begin with an optimiser without memory.
        overwrite: delete an existing run of this name first.
        name: the run's name; METHOD-PRESET otherwise.
        runs: folder of all runs.
        shards: folder or URL of the tars.
        manifests: folder or URL of the manifests.
    """
    from train.methods import check_method
    from train.runs import RunFolder, check_run_name, claim, refuse_existing
    from train.settings import Resume

    check_method(method)
    layout = open_layout(shards, manifests)
    folder = RunFolder(runs / check_run_name(name or f"{method}-{Path(config).stem}"))
    changes = dict(overrides)
    named = {
        "data.where": where, "data.mix": mix, "steps": steps, "seed": seed, "threads": threads,
        "device": device,
    }  # fmt: skip
    changes |= {key: str(value) for key, value in named.items() if value is not None}
    if resume and (overwrite or epochs is not None):
        raise UserError("--resume goes on as it was: leave --overwrite and --epochs away")
    if not resume and (force or no_restore_optimizer):
        raise UserError("--force and --no_restore_optimizer go with --resume")
    busy = f"another process is training the run {folder.path}: wait for it"
    if not resume:
        refuse_existing(folder, overwrite)
    with contextlib.ExitStack() as stack:
        there = folder.path.is_dir()
        if there:  # before anything slow
            stack.enter_context(held(folder.path, busy))
        settings, selections, validation = _prepare(
            folder, method, config, changes, epochs, resume, force, layout
        )
        built = _build(settings, selections[0])
        if not there:
            stack.enter_context(held(make_folder(folder.path), busy))
        if not resume:
            claim(folder, overwrite)
            write_atomic(folder.config, to_toml(settings))
        how = Resume(force, not no_restore_optimizer) if resume else None
        _train(settings, built, folder, selections, validation, layout, how)


def _prepare(
    folder: Any,
    method: str,
    config: str,
    changes: dict[str, str],
    epochs: float | None,
    resume: bool,
    force: bool,
    layout: Layout,
) -> tuple[Any, list[Any], Any]:
    """Configuration, selections of the mix, and the selection to validate on."""
    from train.config import check_config
    from train.data import select_data
    from train.settings import fresh_config, stored_config, with_epochs

    if resume:
        settings = stored_config(folder, method, changes, force)
    else:
        settings = fresh_config(method, config, changes)
    check_config(settings)
    selections, validation = select_data(settings.data, layout)
    if epochs is not None:
        settings = with_epochs(settings, epochs, len(selections[0]))
    return settings, selections, validation


def _build(settings: Any, main: Any) -> tuple[Any, Any, Any]:
    """The method, its number formats and its optimiser. Raises UserError where device, data or
    settings do not do for it."""
    from toolkit.encoders.device import usable_device
    from train.numerics import enable_gradient_checkpointing, open_numerics, place
    from train.optim import build_optimizer, with_rates
    from train.runs import build_method

    usable_device(settings.device)
    method = build_method(settings)
    lacking = [role for role in method.needs().roles if role not in main.roles]
    if lacking:
        raise UserError(
            f"{settings.method} needs {' and '.join(lacking)} pictures, the samples of "
            f"{settings.data.main} have none: train on a dataset linked to them, such as teacher"
        )
    numerics, groups = open_numerics(settings), with_rates(settings.optim, method.param_groups())
    if settings.optim.gradient_checkpointing:
        enable_gradient_checkpointing(method.module())
    weights = place(method.module(), settings, numerics).items()
    counts = ", ".join(f"{count / 1e6:.2f} million {kind}" for kind, count in weights)
    print(
        f"{settings.method}: weights: {counts}; arithmetic in {numerics.precision} on "
        f"{settings.device}"
    )
    return method, numerics, build_optimizer(settings.optim, groups)


def _train(
    settings: Any, built: Any, folder: Any, selections: list[Any], validation: Any,
    layout: Layout, how: Any,
) -> None:  # fmt: skip
    """Trains to the end, or to a signal. how: the run resumes; None for a new one."""
    from train.averages import Averages
    from train.data import open_loader
    from train.guard import Feed, Guard
    from train.identity import facts_of, frozen_hash
    from train.interrupt import Interrupts
    from train.loop import StepResult, train
    from train.numerics import compile_checked
    from train.resume import begin, restore
    from train.state import TrainState, save_checkpoint
    from train.watch import Watch

    (method, numerics, optimizer), saving = built, settings.checkpoint
    frozen = frozen_hash(method.module(), method.trainable_state())
    averages = Averages(settings.ema, folder.averages, settings.steps)
    with open_loader(settings, selections, method.needs(), layout) as loader:
        facts = facts_of(settings, loader.state_dict(), frozen)
        if how is None:
            first = begin(settings, method, loader)
        else:
            first = restore(
                folder, settings, method, optimizer, numerics, averages, loader, facts, how
            )
            write_atomic(folder.config, to_toml(settings))  # what --force changed, among it
        _announce(settings, selections)
        watch = Watch(settings, folder, method, numerics, validation, first)
        if settings.compile:
            print(compile_checked(method, watch.held_out, numerics))
        feed = Feed(loader)
        guard = Guard(settings.memory_limit, feed, settings.device)
        interrupts, began, done, short = Interrupts(), time.monotonic(), first, ""

        def after_step(result: StepResult) -> bool:
            nonlocal done, short
            done, short = result.step, guard.stops()
            stopping = bool(interrupts.received or short)
            watch.step(result)
            trained = method.trainable_state()
            averages.step(done, trained)
            if stopping or done % saving.save_interval == 0 or done == settings.steps:
                scaler = numerics.scaler.state_dict()
                state = TrainState(settings.method, done, result.cursor, facts, scaler)
                save_checkpoint(
                    folder.checkpoints, state, trained, optimizer, saving.keep, saving.keep_every,
                    averages.state(),
                )  # fmt: skip
            return not stopping

        with interrupts:
            train(
                method, optimizer, feed, settings.optim, numerics, first, settings.steps,
                after_step,
            )  # fmt: skip
        watch.close()
    if done < settings.steps:
        _leave(settings, folder, interrupts.received, short)
    print(f"{done - first} steps in {time.monotonic() - began:.0f} s; run: {folder.path}")
    print(f"pictures: {folder.samples}; next: python -m train.stylize --run={folder.path}")


def _leave(settings: Any, folder: Any, number: int | None, short: str) -> None:
    """Ends the program before the run is over: with 130 for Ctrl-C, 143 for SIGTERM, 75 for want of
    memory."""
    from train.interrupt import NO_MEMORY, exit_code
    from train.resume import how_to_resume

    how = how_to_resume(settings, folder)
    if number:
        print(f"interrupted: {how}", file=sys.stderr)
        raise SystemExit(exit_code(number))
    print(
        f"stopped: {short}; free some memory, or allow more with --memory_limit=; {how}",
        file=sys.stderr,
    )
    raise SystemExit(NO_MEMORY)


def _announce(settings: Any, selections: list[Any]) -> None:
    from train.numerics import determinism

    sizes = ", ".join(f"{s.name} {len(s)}" for s in selections)
    print(f"samples: {sizes}; mix {settings.data.mix}")
    print(f"determinism: {determinism(settings)}")


def _fields(positional: list[str]) -> tuple[str, dict[str, str]]:
    """The configuration's fields, the method's own included, as its smoke preset sets them."""
    from train.settings import fresh_config

    method = positional[0] if positional else "style_adapter"
    title = f"fields of {method}, preset smoke (--group.field=value):"
    return title, describe(fresh_config(method, "smoke", {}))


if __name__ == "__main__":
    run(main, "python -m train.run", fields=_fields)
