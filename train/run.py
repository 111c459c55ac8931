"""Trains a method.

    python -m train.run                                  style_adapter, smoke preset, sample data
    python -m train.run style_adapter --where="style='Cubism'" --optim.lr=5e-4 --name=cubism
    python -m train.run --name=cubism --resume

The only place that wires data, method, optimiser and loop together.
"""

import contextlib
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
        resume: go on from the run's last checkpoint.
        overwrite: delete an existing run of this name first.
        name: the run's name; METHOD-PRESET otherwise.
        runs: folder of all runs.
        shards: folder of the tars.
        manifests: folder of the manifests.
    """
    from train.methods import check_method
    from train.runs import RunFolder, check_run_name, claim, refuse_existing

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
    busy = f"another process is training the run {folder.path}: wait for it"
    if not resume:
        refuse_existing(folder, overwrite)
    with contextlib.ExitStack() as stack:
        there = folder.path.is_dir()
        if there:  # before anything slow
            stack.enter_context(held(folder.path, busy))
        settings, selections, validation = _prepare(
            folder, method, config, changes, epochs, resume, layout
        )
        built = _build(settings, selections[0])
        if not there:
            stack.enter_context(held(make_folder(folder.path), busy))
        if not resume:
            claim(folder, overwrite)
            write_atomic(folder.config, to_toml(settings))
        _train(settings, built, folder, selections, validation, layout, resume)


def _prepare(
    folder: Any,
    method: str,
    config: str,
    changes: dict[str, str],
    epochs: float | None,
    resume: bool,
    layout: Layout,
) -> tuple[Any, list[Any], Any]:
    """Configuration, selections of the mix, and the selection to validate on."""
    from train.config import check_config
    from train.data import select_data
    from train.settings import fresh_config, stored_config, with_epochs

    if resume:
        settings = stored_config(folder, method, changes)
    else:
        settings = fresh_config(method, config, changes)
    check_config(settings)
    selections, validation = select_data(settings.data, layout)
    if epochs is not None:
        settings = with_epochs(settings, epochs, len(selections[0]))
    return settings, selections, validation


def _build(settings: Any, main: Any) -> Any:
    """The method on its device. Raises UserError where device or data do not do for it."""
    import torch

    from toolkit.encoders.device import usable_device
    from train.runs import build_method

    device = usable_device(settings.device)
    torch.set_num_threads(settings.threads)
    method = build_method(settings)
    lacking = [role for role in method.needs().roles if role not in main.roles]
    if lacking:
        raise UserError(
            f"{settings.method} needs {' and '.join(lacking)} pictures, the samples of "
            f"{settings.data.main} have none: train on a dataset linked to them, such as teacher"
        )
    method.module().to(device)
    return method


def _train(
    settings: Any,
    method: Any,
    folder: Any,
    selections: list[Any],
    validation: Any,
    layout: Layout,
    resume: bool,
) -> None:
    from train.data import open_loader
    from train.loop import StepResult, train
    from train.optim import build_optimizer
    from train.settings import fingerprint
    from train.state import TrainState, save_checkpoint
    from train.watch import Watch

    identity, saving = fingerprint(settings), settings.checkpoint
    optimizer = build_optimizer(settings.optim, method.param_groups())
    with open_loader(settings, selections, method.needs(), layout) as loader:
        first = 0
        if resume:
            first = _restore(settings, folder, method, optimizer, loader, identity)
        _announce(settings, method, selections)
        watch = Watch(settings, folder, method, validation, first)

        def after_step(result: StepResult) -> None:
            watch.step(result)
            if result.step % saving.save_interval == 0 or result.step == settings.steps:
                state = TrainState(settings.method, result.step, result.cursor, identity)
                weights = method.trainable_state()
                save_checkpoint(folder.checkpoints, state, weights, optimizer, saving.keep)

        start = time.monotonic()
        batches, steps = iter(loader), settings.steps
        try:
            train(method, optimizer, batches, settings.optim, first, steps, after_step)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(_how_to_resume(settings, folder)) from None
        watch.close()
    print(f"{settings.steps - first} steps in {time.monotonic() - start:.0f} s; run: {folder.path}")
    print(f"pictures: {folder.samples}; next: python -m train.stylize --run={folder.path}")


def _restore(
    settings: Any, folder: Any, method: Any, optimizer: Any, loader: Any, identity: str
) -> int:
    """Puts the last checkpoint back; returns the number of finished steps, 0 where the run was
    stopped before its first checkpoint."""
    from train.state import list_checkpoints, load_optimizer, load_weights, read_state

    found = list_checkpoints(folder.checkpoints)
    if not found:
        print(f"{folder.path} has no checkpoint yet: it begins anew, as it was configured")
        return 0
    checkpoint = found[-1]
    state = read_state(checkpoint, settings.method)
    if state.fingerprint != identity:
        raise UserError(f"the checkpoint {checkpoint} was made with another configuration")
    method.load_trainable_state(load_weights(checkpoint))
    load_optimizer(checkpoint, optimizer)
    loader.load_state_dict(state.cursor)
    print(f"resumed {folder.path} at step {state.step} of {settings.steps}")
    return state.step


def _how_to_resume(settings: Any, folder: Any) -> str:
    from train.state import list_checkpoints

    found = list_checkpoints(folder.checkpoints)
    where = found[-1].name if found else "the start, there is no checkpoint yet"
    where_runs = "" if folder.path.parent == Path("runs") else f" --runs={folder.path.parent}"
    return (
        f"python -m train.run {settings.method} --name={folder.path.name}{where_runs} --resume "
        f"goes on from {where}"
    )


def _announce(settings: Any, method: Any, selections: list[Any]) -> None:
    count = sum(p.numel() for p in method.module().parameters())
    sizes = ", ".join(f"{s.name} {len(s)}" for s in selections)
    print(
        f"{settings.method}: {count / 1e6:.2f} million parameters; samples: {sizes}; "
        f"mix {settings.data.mix}; bit-identical when repeated with {settings.threads} threads "
        f"on {settings.device}"
    )


def _fields(positional: list[str]) -> tuple[str, dict[str, str]]:
    """The configuration's fields, the method's own included, as its smoke preset sets them."""
    from train.settings import fresh_config

    method = positional[0] if positional else "style_adapter"
    title = f"fields of {method}, preset smoke (--group.field=value):"
    return title, describe(fresh_config(method, "smoke", {}))


if __name__ == "__main__":
    run(main, "python -m train.run", fields=_fields)
