"""Where a run begins: at its start, from other weights, or from its own last checkpoint."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from toolkit.core.errors import UserError
from toolkit.core.nearest import nearest
from train.averages import Averages
from train.config import RunConfig
from train.data import Data, each_sample
from train.identity import Facts, differences
from train.methods.api import Imports, Method, Surveys
from train.runs import RunFolder, needs_of
from train.session import Parts
from train.settings import Resume
from train.state import (
    TrainState,
    chosen_checkpoint,
    latest_checkpoint,
    list_checkpoints,
    load_averages,
    load_optimizer,
    load_weights,
    read_state,
    read_weights,
)


@dataclass(frozen=True)
class Start:
    """Where a run begins. step: finished steps; checkpoint, state: what it goes on from, None for a
    new one; is_blank: whether the method is still to look at its first samples."""

    step: int
    checkpoint: Path | None = None
    state: TrainState | None = None
    is_blank: bool = False


def restored(
    folder: RunFolder, settings: RunConfig, method: Method, data: Data, facts: Facts, how: Resume
) -> Start:
    """Puts the last checkpoint's weights back; where the run was stopped before its first
    checkpoint, it begins.

    Raises UserError: the checkpoint is damaged, or made under other circumstances.
    """
    found = list_checkpoints(folder.checkpoints)
    if not found:
        print(f"{folder.path} has no checkpoint yet: it begins anew, as it was configured")
        return begun(settings, method, data)
    checkpoint = found[-1]
    for odd in sorted(folder.checkpoints.glob("step-*")):
        if odd not in found and odd.name > checkpoint.name:
            print(f"{odd} has no state.json and is passed over")
    optimizer = () if how.restore_optimizer else ("optimizer.safetensors",)
    state = read_state(checkpoint, settings.method, without=optimizer)
    differ = differences(state.facts, facts)
    if differ and not how.force:
        raise UserError(
            f"the checkpoint {checkpoint} was made otherwise, so going on would give other "
            f"weights: {'; '.join(differ)}: restore that, or accept it with --force"
        )
    if state.step > settings.steps:
        raise UserError(
            f"the checkpoint {checkpoint} is behind --steps={settings.steps} already: give more "
            "steps, or another --name"
        )
    for line in differ:
        print(f"accepted by --force: {line}")
    method.load_trainable_state(load_weights(checkpoint))
    print(f"resumed {folder.path} at step {state.step} of {settings.steps}")
    return Start(state.step, checkpoint, state)


def begun(settings: RunConfig, method: Method, data: Data) -> Start:
    """Begins a run, from the weights of `init_from` where it names some. Raises UserError when the
    weights do not fit."""
    if isinstance(method, Surveys):
        method.survey(each_sample(data, settings, needs_of(settings)))
    if not settings.init_from:
        return Start(settings.initial_steps, is_blank=True)
    path = Path(settings.init_from)
    if path.is_file() and isinstance(method, Imports):
        method.imported(path)
    else:
        method.load_trainable_state(_weights_of(settings))
    print(f"weights of {settings.init_from}; counting from step {settings.initial_steps}")
    return Start(settings.initial_steps)


def calibrate(method: Method, loader: Any) -> None:
    """Lets a method look at the first samples of a stream of whole batches."""
    batches = iter(loader)
    method.calibrate(batches)
    batches.close()


def go_on(
    start: Start, settings: RunConfig, parts: Parts, averages: Averages, loader: Any,
    how: Resume | None,
) -> None:  # fmt: skip
    """Puts back what a run needs besides weights, where it does not begin anew, and lets the loader
    go on behind what is done. Raises UserError where something does not fit."""
    checkpoint, state = start.checkpoint, start.state
    if checkpoint is None or state is None or how is None:
        _move(loader, {"position": start.step * settings.data.batch_size}, force=True)
        return
    if how.restore_optimizer:
        load_optimizer(checkpoint, parts.optimizer, parts.parallel.pieces)
        parts.numerics.scaler.load_state_dict(dict(state.scaler))
    else:
        print("the optimiser begins anew, as --no_restore_optimizer asks")
    averages.load_state(load_averages(checkpoint))
    world = parts.parallel.ranks.world
    if state.world != world:
        print(f"on {world} ranks, before on {state.world}: sums are made in another order")
    _move(loader, state.cursor, how.force)


def how_to_resume(settings: RunConfig, folder: RunFolder, world: int = 1) -> str:
    """The command that goes on with a run, and from where it will. world: ranks that it was on."""
    found = list_checkpoints(folder.checkpoints)
    where = found[-1].name if found else "the start, there is no checkpoint yet"
    where_runs = "" if folder.path.parent == Path("runs") else f" --runs={folder.path.parent}"
    starts = "python" if world == 1 else f"torchrun --nproc_per_node={world}"
    return (
        f"{starts} -m train.run {settings.method} --name={folder.path.name}{where_runs} --resume "
        f"goes on from {where}"
    )


def _move(loader: Any, cursor: Mapping[str, Any], force: bool) -> None:
    """Lets the loader go on at a state, or with force only at its position."""
    state = {**loader.state_dict(), "position": cursor["position"]} if force else cursor
    loader.load_state_dict(state)


def _near_run(path: Path) -> str:
    folder = path.parent if path.parent != Path() else Path("runs")
    found = nearest(path.name, [p.parent.name for p in folder.glob("*/checkpoints")])
    return f"; did you mean {folder / found}?" if found else ""


def _weights_of(settings: RunConfig) -> dict[str, torch.Tensor]:
    """The weights that `init_from` names: a file, a checkpoint, or a run's last one."""
    path = Path(settings.init_from)
    if path.is_file():
        return read_weights(path)
    if (path / "state.json").is_file():
        chosen = chosen_checkpoint(path.parent, path)
    elif (path / "checkpoints").is_dir():
        chosen = latest_checkpoint(path / "checkpoints")
    else:
        there = (Path("runs") / path / "checkpoints").is_dir()
        hint = f"; did you mean runs/{path}?" if there else _near_run(path)
        raise UserError(
            f"--init_from={path}: name the folder of a run or of a checkpoint, or a .safetensors "
            f"file{hint}"
        )
    read_state(chosen, settings.method)
    return load_weights(chosen)
