"""Trains a method.

    python -m train.run                                  style_adapter, smoke preset, sample data
    python -m train.run style_adapter --where="style='Cubism'" --optim.lr=5e-4 --name=cubism
    python -m train.run --name=cubism --resume

The only place that wires data, method, optimiser and loop together.
"""

import contextlib
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from toolkit.core.command import run
from toolkit.core.config import describe, to_toml
from toolkit.core.errors import UserError
from toolkit.core.files import held, make_folder, write_atomic
from toolkit.store.layout import Layout
from toolkit.store.mirror import open_layout

_FEW_SAMPLES = 5  # of a style, which is then hardly learned


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
    limit: int | None = None,
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
        limit: do only so many steps, keep nothing, and say what the whole run will take.
        name: the run's name; METHOD-PRESET otherwise.
        runs: folder of all runs.
        shards: folder or URL of the tars.
        manifests: folder or URL of the manifests.
    """
    from train.methods import check_method
    from train.runs import RunFolder, alone, check_run_name, claimed, refuse_existing
    from train.settings import SHORT, Resume

    check_method(method)
    layout = open_layout(shards, manifests)
    run_name = check_run_name(name or f"{method}-{Path(config).stem}")
    folder = RunFolder(runs / run_name)
    changes = dict(overrides)
    named = {
        "where": where, "mix": mix, "steps": steps, "epochs": epochs, "seed": seed,
        "threads": threads, "device": device,
    }  # fmt: skip
    changes |= {SHORT.get(k, k): str(value) for k, value in named.items() if value is not None}
    if resume and (overwrite or epochs is not None):
        raise UserError("--resume goes on as it was: leave --overwrite and --epochs away")
    if steps is not None and epochs is not None:
        raise UserError("--steps and --epochs both say how long: keep one")
    if steps is not None:
        changes["epochs"] = "0"  # those of a preset
    if limit is not None and limit < 1:
        raise UserError(f"--limit={limit}: takes 1 or more")
    if limit is not None and (resume or overwrite):
        raise UserError("--limit keeps nothing: leave --resume and --overwrite away")
    if not resume and (force or no_restore_optimizer):
        raise UserError("--force and --no_restore_optimizer go with --resume")
    busy = f"another process is training the run {folder.path}: wait for it"
    if not resume and limit is None:
        refuse_existing(folder, overwrite)
    with contextlib.ExitStack() as stack:
        if limit is not None:
            rehearsed = stack.enter_context(tempfile.TemporaryDirectory(prefix="tessera-"))
            folder = RunFolder(Path(rehearsed) / run_name)
        there = folder.path.is_dir()
        if there:  # before anything slow
            stack.enter_context(held(folder.path, busy))
        settings, data = _prepare(folder, method, config, changes, resume, force, layout)
        stack.enter_context(alone(settings))
        built = _build(settings)
        if not there:
            stack.enter_context(held(make_folder(folder.path), busy))
        how = Resume(force, not no_restore_optimizer) if resume else None
        begun = None
        if not resume:
            _refuse_own(settings.init_from, folder.path)
            begun = stack.enter_context(claimed(folder, overwrite))
            write_atomic(folder.config, to_toml(settings))
        _train(settings, built, folder, data, layout, how, begun, limit)


def _refuse_own(init_from: str, run: Path) -> None:
    if init_from and Path(init_from).resolve().is_relative_to(run.resolve()):
        raise UserError(
            f"--init_from={init_from} lies in the run that --overwrite deletes: choose another "
            "--name"
        )


def _prepare(
    folder: Any,
    method: str,
    config: str,
    changes: dict[str, str],
    resume: bool,
    force: bool,
    layout: Layout,
) -> tuple[Any, Any]:
    """The configuration, with what the data decide, and the data."""
    from train.config import check_config
    from train.data import facts_of_data, open_data, samples_per_epoch
    from train.runs import needs_of, settled
    from train.settings import fresh_config, stored_config, with_epochs

    if resume:
        settings = stored_config(folder, method, changes, force)
    else:
        settings = fresh_config(method, config, changes)
    check_config(settings)
    data = open_data(settings.data, needs_of(settings), layout)
    print(*data.notes, sep="\n", end="\n" if data.notes else "")
    if resume:
        return settings, data
    settings = with_epochs(settings, samples_per_epoch(data, settings, needs_of(settings)))
    return settled(settings, facts_of_data(data)), data


def _build(settings: Any) -> Any:
    """The method, its number formats and its optimiser. Raises UserError where device or settings
    do not do for it."""
    from toolkit.encoders.device import usable_device
    from train.log import check_wandb
    from train.numerics import enable_gradient_checkpointing, open_numerics, place
    from train.optim import build_optimizer, with_rates
    from train.runs import build_method
    from train.session import Parts

    usable_device(settings.device)
    if settings.wandb:
        check_wandb()
    method = build_method(settings)
    numerics, groups = open_numerics(settings), with_rates(settings.optim, method.param_groups())
    if settings.optim.gradient_checkpointing:
        enable_gradient_checkpointing(method.module())
    weights = place(method.module(), settings, numerics).items()
    counts = ", ".join(f"{count / 1e6:.2f} million {kind}" for kind, count in weights)
    print(
        f"{settings.method}: weights: {counts}; arithmetic in {numerics.precision} on "
        f"{settings.device}"
    )
    return Parts(method, numerics, build_optimizer(settings.optim, groups))


def _train(
    settings: Any, parts: Any, folder: Any, data: Any, layout: Layout, how: Any,
    begun: Any, limit: int | None,
) -> None:  # fmt: skip
    """Trains to the end, or to a signal. how: the run resumes; None for a new one, then begun is
    called before its first step."""
    from toolkit.encoders.loading import weights_hash
    from train.averages import Averages
    from train.data import open_loader
    from train.identity import facts_of
    from train.methods.api import Asks, Loads
    from train.numerics import compile_checked
    from train.resume import begin, restore
    from train.runs import needs_of
    from train.session import Session
    from train.speed import Rehearsal
    from train.watch import Watch

    method, began = parts.method, time.monotonic()
    own = weights_hash([method.module()], without=method.trainable_state())
    frozen = {"weights": own, **(method.asked() if isinstance(method, Asks) else {})}
    averages = Averages(settings.ema, folder.averages, settings.steps)
    with open_loader(settings, data, needs_of(settings), layout) as loader:
        facts = facts_of(settings, loader.state_dict(), frozen)
        loaded = method.loaded() if isinstance(method, Loads) else []
        print(*loaded, sep="\n", end="\n" if loaded else "")
        if how is None:
            first = begin(settings, method, loader, data)
        else:
            first = restore(folder, settings, parts, averages, loader, data, facts, how)
            write_atomic(folder.config, to_toml(settings))  # what --force changed, among it
        for line in method.loaded()[len(loaded) :] if isinstance(method, Loads) else ():
            print(line)
        _announce(settings, data.selections)
        if first == 0 and settings.sample.sample_every:
            print("before the first step: the loss and pictures of some samples", flush=True)
        rehearsal = Rehearsal()
        with rehearsal.timed("look"):
            watch = Watch(settings, folder, method, parts.numerics, data, first)
        if settings.compile:
            print(compile_checked(method, watch.held_out, parts.numerics))
        session = Session(
            settings, folder, parts, facts, averages, watch, loader, first, rehearsal, limit
        )
        if begun:
            begun()
        session.train()
    if session.early_exit:
        _leave(settings, folder, session)
    if limit is not None:
        print(rehearsal.forecast(settings, folder.checkpoints, limit))
        return
    print(f"{session.done - first} steps in {time.monotonic() - began:.0f} s; run: {folder.path}")
    if watch.columns:
        print(f"pictures: {folder.samples}, columns: {watch.columns}")
    _say_what_is_next(settings, folder, data, layout)


def _say_what_is_next(settings: Any, folder: Any, data: Any, layout: Layout) -> None:
    from train.methods import next_command

    if settings.ema.sigma_rels:
        sigma = max(settings.ema.sigma_rels)
        print(f"averaged weights: python -m train.ema --run={folder.path} --sigma_rel={sigma:g}")
    following = next_command(settings.method, settings.method_config, str(folder.path))
    drawing = f"python -m train.stylize --run={folder.path}"
    print(f"next: {following or drawing + _how_to_draw(settings, data, layout)}")


def _how_to_draw(settings: Any, data: Any, layout: Layout) -> str:
    """Flags without which train.stylize does not know what to make."""
    from train.methods import stylize_flags
    from train.prompts import has_prompts
    from train.runs import needs_of

    flags = stylize_flags(settings.method, settings.method_config)
    inputs = needs_of(settings).inputs
    if inputs and data.validation[0] is data.selections[0]:  # nothing is held out to work on
        flags += " --content=FILE" + " --style=FILE" * ("style" in inputs)
    if not inputs and not has_prompts(data.selections, layout, settings.data.main):
        flags += " --caption=TEXT"
    return flags


def _leave(settings: Any, folder: Any, session: Any) -> None:
    from train.resume import how_to_resume

    why = "interrupted"
    if session.shortage:
        why = f"stopped: {session.shortage}; free some memory, or allow more with --memory_limit="
    print(f"{why}: {how_to_resume(settings, folder)}", file=sys.stderr)
    raise SystemExit(session.early_exit)


def _announce(settings: Any, selections: list[Any]) -> None:
    from train.methods import style_counts
    from train.numerics import determinism
    from train.optim import rate_at

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


def _fields(positional: list[str], flags: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """The configuration's fields, the method's own included, as its preset sets them."""
    from train.settings import fresh_config

    method = positional[0] if positional else "style_adapter"
    config = flags.get("config", "smoke")
    if config.endswith(".json"):  # another program's, which says aloud what it leaves out
        config = "smoke"
    title = f"fields of {method}, --config={config} (--group.field=value):"
    return title, describe(fresh_config(method, config, {}))


if __name__ == "__main__":
    run(main, "python -m train.run", fields=_fields)
