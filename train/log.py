"""The log of a run: JSON Lines for programs, TensorBoard for eyes, Weights & Biases on request."""

import importlib.util
import json
from pathlib import Path
from typing import Any

from toolkit.core.errors import UserError


class RunLog:
    """Appends records to log.jsonl and scalars to TensorBoard.

    Args:
        path: the JSONL file.
        tensorboard: folder of the event files.
        first_step: records of later steps, left by a run that died, are dropped, so that a resumed
            run's log reads as if nothing had happened.
        with_wandb: log to Weights & Biases too, under the name of the folder that `path` is in.
    """

    def __init__(self, path: Path, tensorboard: Path, first_step: int, with_wandb: bool = False):
        from torch.utils.tensorboard import SummaryWriter

        kept = []
        if first_step and path.exists():
            kept = [r for r in read_log(path) if r["step"] <= first_step]
        path.write_text("".join(map(_line, kept)), "utf-8")
        self._file = open(path, "a", encoding="utf-8")  # noqa: SIM115 - closed by close()
        self._board = SummaryWriter(str(tensorboard), purge_step=first_step + 1)
        self._wandb = _wandb_run(path.parent) if with_wandb else None

    def write(self, step: int, **values: Any) -> None:
        """Logs values of one step (1-based: after so many steps)."""
        self._file.write(_line({"step": step, **values}))
        self._file.flush()
        for name, value in values.items():
            if isinstance(value, (int, float)):
                self._board.add_scalar(name, value, step)
        if self._wandb:
            self._wandb.log(values, step=step)

    def picture(self, step: int, name: str, pixels: Any) -> None:
        """Adds a picture, uint8 [H,W,3], to TensorBoard."""
        self._board.add_image(name, pixels, step, dataformats="HWC")
        if self._wandb:
            import wandb

            self._wandb.log({name: wandb.Image(pixels)}, step=step)

    def close(self) -> None:
        """Flushes and closes both."""
        self._file.close()
        self._board.close()
        if self._wandb:
            self._wandb.finish()


def check_wandb() -> None:
    """Raises UserError where Weights & Biases is not installed."""
    if importlib.util.find_spec("wandb") is None:
        raise UserError("--wandb needs the package wandb: install it, or leave --wandb away")


def _wandb_run(folder: Path) -> Any:
    """A run of the same name; one that resumes goes on in its own."""
    import wandb

    name = folder.name
    return wandb.init(project="tessera", name=name, id=name, dir=str(folder), resume="allow")


def read_log(path: Path) -> list[dict[str, Any]]:
    """All records; a last line cut short by a crash is left out."""
    records = []
    for line in path.read_text("utf-8").splitlines():
        try:
            records.append(json.loads(line))
        except ValueError:
            continue
    return records


def _line(record: dict[str, Any]) -> str:
    return json.dumps(record, sort_keys=True) + "\n"
