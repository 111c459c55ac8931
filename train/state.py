"""Checkpoints: everything a run needs to go on as if nothing had happened.

A checkpoint is a folder of safetensors and JSON, written under another name and renamed when it is
whole. Nothing is ever unpickled. It lies between two steps, so of accumulated gradients there is
nothing to keep.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Container, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from toolkit.core.errors import UserError, one_line
from toolkit.core.files import sync_folder, usual_mode

FORMAT = 2


@dataclass(frozen=True)
class TrainState:
    """Where a run stands besides weights and optimiser.

    step: finished steps. cursor: the loader's state. facts: what decides the result, see
    `train.identity`. scaler: state of the loss scaler, empty without one. world: ranks that trained
    it, on which nothing but the order of additions depends.
    """

    method: str
    step: int
    cursor: Mapping[str, Any]
    facts: Mapping[str, str]
    scaler: Mapping[str, Any] = field(default_factory=dict)
    world: int = 1
    format: int = FORMAT


def save_checkpoint(
    folder: Path,
    state: TrainState,
    weights: Mapping[str, torch.Tensor],
    optimizer: Mapping[str, torch.Tensor],
    keep: int,
    keep_every: int = 0,
    averages: Mapping[str, torch.Tensor] | None = None,
) -> Path:
    """Writes `folder`/step-NNNNNN and removes earlier checkpoints but the last ones.

    Args:
        folder: of all checkpoints of the run.
        state, weights, optimizer: what to keep; the last one as `optimizer_tensors` has it.
        keep: how many stay.
        keep_every: those at multiples of so many steps stay as well; 0 for none.
        averages: state of the averages that are tracked.

    Raises:
        UserError: the disk is full or the folder cannot be written; the earlier checkpoints are
            then untouched.
    """
    final, files = folder / f"step-{state.step:06d}", {"weights": weights}
    files["optimizer"] = optimizer
    if averages:
        files["ema"] = averages
    _write(final, state, files)
    for old in list_checkpoints(folder)[: -max(keep, 1)]:
        if not keep_every or step_of(old) % keep_every:
            shutil.rmtree(old)
    return final


def save_weights(folder: Path, method: str, step: int, weights: Mapping[str, torch.Tensor]) -> None:
    """Writes a checkpoint of weights alone, for making pictures, not for resuming. Raises UserError
    when it cannot be written."""
    _write(folder, TrainState(method, step, {}, {}), {"weights": weights})


def _write(
    final: Path, state: TrainState, tensors: Mapping[str, Mapping[str, torch.Tensor]]
) -> None:
    from safetensors import SafetensorError

    folder = final.parent
    temporary = folder / f".{final.name}.{os.getpid()}.tmp"
    try:
        for leftover in folder.glob(".step-*.tmp"):  # of a process that was killed
            shutil.rmtree(leftover, ignore_errors=True)
        temporary.mkdir(parents=True)
        for name, values in tensors.items():
            write_safetensors(temporary / f"{name}.safetensors", values)
        files = {p.name: _sha256(p) for p in sorted(temporary.iterdir())}
        fields = {**asdict(state), "files": files}
        fields["sha256"] = _hash_of(fields)
        text = json.dumps(fields, indent=1, sort_keys=True)
        (temporary / "state.json").write_text(text + "\n", "utf-8")
        for path in temporary.iterdir():
            with open(path, "rb") as file:
                os.fsync(file.fileno())
        shutil.rmtree(final, ignore_errors=True)
        os.replace(temporary, final)
        sync_folder(folder)
    except (OSError, SafetensorError) as error:
        why = getattr(error, "strerror", None) or one_line(error)
        raise UserError(
            f"cannot write the checkpoint {final}: {why}; those before it are as they were: make "
            "room, then --resume"
        ) from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_safetensors(
    path: Path, tensors: Mapping[str, torch.Tensor], facts: Mapping[str, str] | None = None
) -> None:
    """Writes tensors of any device and memory layout; read back, they are contiguous.

    facts: go into the file's header; more than one entry would have no fixed order.
    """
    from safetensors.torch import save_file

    with usual_mode(path):
        save_file(_plain(tensors), path, dict(facts) if facts else None)


def step_of(checkpoint: Path) -> int:
    """The step in a checkpoint's name."""
    return int(checkpoint.name.rpartition("-")[2])


def list_checkpoints(folder: Path) -> list[Path]:
    """All whole checkpoints, oldest first."""
    found = [p for p in folder.glob("step-*") if (p / "state.json").is_file()]
    return sorted((p for p in found if p.name[5:].isdigit()), key=step_of)


def latest_checkpoint(folder: Path) -> Path:
    """The last whole checkpoint. Raises UserError when there is none."""
    found = list_checkpoints(folder)
    if not found:
        run = folder.parent
        raise UserError(
            f"the run {run} has no checkpoint yet: wait for its first, or, if it was stopped "
            f"before that, go on with python -m train.run --name={run.name} --resume"
        )
    return found[-1]


def chosen_checkpoint(folder: Path, name: Path) -> Path:
    """A checkpoint given as its path or as its name in `folder`. Raises UserError if it is none."""
    for path in (name, folder / name):
        if (path / "state.json").is_file():
            return path
    known = ", ".join(path.name for path in list_checkpoints(folder)) or "none"
    raise UserError(f"there is no checkpoint {name}; {folder} has {known}")


def read_state(checkpoint: Path, method: str, without: Container[str] = ()) -> TrainState:
    """The JSON part of a checkpoint, its files checked but those that are not wanted. Raises
    UserError when it is damaged or of another method."""
    try:
        fields = json.loads((checkpoint / "state.json").read_text("utf-8"))
        if not isinstance(fields, dict) or "format" not in fields:
            raise ValueError("state.json is not one")
        if fields["format"] != FORMAT:
            raise UserError(
                f"the checkpoint {checkpoint} is of format {fields['format']}, this program "
                f"reads {FORMAT}: train anew, or use the program that wrote it"
            )
        if fields.pop("sha256") != _hash_of(fields):
            raise ValueError("state.json was changed")
        files = fields.pop("files")
        state = TrainState(**fields)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise UserError(
            f"the checkpoint {checkpoint} is damaged ({one_line(error)}): {_instead(checkpoint)}"
        ) from None
    if state.method != method:
        raise UserError(
            f"the checkpoint {checkpoint} is of the method {state.method}, not {method}: "
            f"name one of {method}"
        )
    for name, digest in files.items():
        path = checkpoint / name
        if name not in without and (not path.is_file() or _sha256(path) != digest):
            raise UserError(f"{path} is missing or was changed: {_instead(checkpoint)}")
    return state


def _instead(damaged: Path) -> str:
    """What to do about a damaged checkpoint."""
    before = [p for p in list_checkpoints(damaged.parent) if step_of(p) < step_of(damaged)]
    if before:
        return f"delete {damaged}, and --resume goes on from {before[-1].name}"
    return "there is none before it, so restore it, or train anew with --overwrite"


def load_weights(checkpoint: Path) -> dict[str, torch.Tensor]:
    """The trained weights of a checkpoint. Raises UserError when the file is damaged."""
    return read_weights(checkpoint / "weights.safetensors")


def load_averages(checkpoint: Path) -> dict[str, torch.Tensor]:
    """The state of the averages in a checkpoint, empty where none were tracked."""
    path = checkpoint / "ema.safetensors"
    return read_weights(path) if path.is_file() else {}


def read_weights(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a safetensors file. Raises UserError when it is none."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise UserError(f"the weights in {path} are damaged: {one_line(error)}") from None


def load_optimizer(
    checkpoint: Path,
    optimizer: torch.optim.Optimizer,
    pieces: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] = lambda values, like: values,
) -> None:
    """Puts the optimiser's tensors back. pieces: what is kept of one, given the weight that it
    belongs to. Raises UserError when they do not fit."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors = load_file(checkpoint / "optimizer.safetensors")
    except (SafetensorError, OSError) as error:
        raise UserError(f"the optimiser in {checkpoint} is damaged: {one_line(error)}") from None
    state: dict[int, dict[str, torch.Tensor]] = {}
    for name, tensor in tensors.items():
        index, _, field = name.partition(".")
        state.setdefault(int(index), {})[field] = tensor
    full = optimizer.state_dict()
    count = sum(len(group["params"]) for group in full["param_groups"])
    if set(state) != set(range(count)):
        raise UserError(f"the optimiser in {checkpoint} belongs to another network")
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    for number, parameter in enumerate(parameters):
        for part in ("exp_avg", "exp_avg_sq"):
            shape = state[number].get(part, parameter).shape
            if shape != parameter.shape:
                raise UserError(
                    f"the optimiser in {checkpoint} belongs to another network: {part} of weight "
                    f"{number} is {list(shape)}, expected {list(parameter.shape)}"
                )
        state[number] = {name: pieces(value, parameter) for name, value in state[number].items()}
    optimizer.load_state_dict({"state": state, "param_groups": full["param_groups"]})


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, torch.Tensor]:
    """The tensors of an optimiser's state by number of weight and name."""
    state = optimizer.state_dict()["state"]
    return {
        f"{index}.{name}": torch.as_tensor(value)
        for index, fields in state.items()
        for name, value in fields.items()
    }


def _hash_of(fields: Mapping[str, Any]) -> str:
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _plain(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
