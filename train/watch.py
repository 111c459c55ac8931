"""Watching a run: the loss on a fixed batch and a grid of pictures, always from the same seeds."""

from dataclasses import replace
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from toolkit.core.files import make_folder
from toolkit.core.keyed import key63
from toolkit.stream.assemble import Assembler
from toolkit.stream.batch import Batch
from toolkit.stream.mix import Mix, parse_mix
from toolkit.stream.schedule import Want
from train.config import RunConfig
from train.data import Data
from train.log import RunLog
from train.loop import StepResult
from train.methods import stylize_defaults
from train.methods.api import Method
from train.numerics import Numerics
from train.parallel import Alone
from train.runs import RunFolder, needs_of
from train.speed import memory_bytes


class Watch:
    """Logs a run's steps, and now and then the held-out loss and a grid of pictures.

    Args:
        settings, folder, method, numerics, data, parallel: of the run; all ranks look, the first
            one writes.
        first: finished steps; at 0 the untrained state is looked at too.
    """

    columns = ""  # names of those of the grids, once there is one

    def __init__(
        self,
        settings: RunConfig,
        folder: RunFolder,
        method: Method,
        numerics: Numerics,
        data: Data,
        first: int,
        parallel: Alone,
    ):
        self._config, self._total = settings.sample, settings.steps
        self._method, self._parallel, self._log = method, parallel, None
        if parallel.ranks.is_first:
            self._samples = make_folder(folder.samples)
            self._log = RunLog(folder.log, folder.path / "tensorboard", first, settings.wandb)
        needs, device = needs_of(settings), settings.device
        held_out = fixed_batch(data, settings, needs.roles, "eval", self._config.eval_size)
        self.held_out = held_out.to(device)
        self._pairs = _pairs(settings, data).to(device) if self._config.sample_every else None
        self._numerics = numerics
        usual = stylize_defaults(settings.method, settings.method_config)
        self._how = replace(usual, steps=self._config.steps)
        if first == 0:
            self._look(0)

    def step(self, result: StepResult) -> None:
        """Logs one step."""
        if self._log:
            self._log.write(
                result.step, loss=result.loss, lr=result.rate, grad_norm=result.grad_norm,
                wait_s=round(result.wait_s, 4), step_s=round(result.step_s, 4),
                memory_mb=round(memory_bytes() / 1e6, 1), substituted=result.num_substituted,
                **result.logs,
            )  # fmt: skip
        self._look(result.step)

    def close(self) -> None:
        """Flushes the log."""
        if self._log:
            self._log.close()

    def _look(self, step: int) -> None:
        last = step == self._total
        if step % self._config.eval_every == 0 or last:
            loss = self._parallel.look(self._held_out_loss)
            if self._log:
                self._log.write(step, **loss)
        if self._pairs is not None and (step % self._config.sample_every == 0 or last):
            self.columns, grid = self._parallel.look(self._grid)
            if self._log:
                save_picture(self._samples / f"step-{step:06d}.png", grid, zoom=2)
                self._log.picture(step, self.columns, grid)

    def _held_out_loss(self) -> dict[str, float]:
        with self._numerics.autocast():
            return batch_loss(self._method, self.held_out)

    def _grid(self) -> tuple[str, np.ndarray]:
        assert self._pairs is not None
        with self._numerics.autocast():
            return picture_grid(self._method, self._pairs, self._how)


def _pairs(settings: RunConfig, data: Data) -> Batch:
    """The samples of the main task whose pictures are shown."""
    how, needs = settings.sample, needs_of(settings)
    main = Data(data.selections, data.validation[:1], data.features)
    roles = tuple(dict.fromkeys((*needs.roles, *needs.inputs)))
    found = fixed_batch(main, settings, roles, "grid", how.num_pairs)
    prompts = [text.strip() for text in how.sample_prompts.split(";") if text.strip()]
    return replace(found, captions=tuple(islice(cycle(prompts), len(found)))) if prompts else found


def fixed_batch(
    data: Data, settings: RunConfig, roles: tuple[str, ...], purpose: str, count: int
) -> Batch:
    """`count` held-out samples in the mix of the run, drawn once by key: the same whenever a run is
    watched."""
    weights = parse_mix(settings.data.mix)
    mix = {selection.name: weights[selection.name] for selection in data.validation}
    sizes = {selection.name: len(selection) for selection in data.validation}
    size = max(needs_of(settings).size, 1)
    place = Mix(sizes, mix, key63(purpose, settings.seed)).at(
        np.arange(min(count, sum(sizes.values())))
    )
    assembler = Assembler(data.validation, size, roles, features=data.features)
    try:
        return assembler.assemble(
            [
                Want(int(source), int(row), int(seed))
                for source, row, seed in zip(place.source, place.row, place.seed, strict=True)
            ]
        )
    finally:
        assembler.close()


@torch.no_grad()
def batch_loss(method: Method, batch: Batch) -> dict[str, float]:
    """Mean loss of a fixed batch, `eval_loss`, and of each of its tasks, `eval_loss/task`: times
    and noise come from its seeds, so they are fixed."""
    method.module().eval()
    losses = method.training_loss(batch).per_sample.float().cpu()
    method.module().train()
    found = {"eval_loss": losses.mean().item()}
    task = batch.task.cpu()
    for index, name in enumerate(batch.tasks):
        if (task == index).any() and len(batch.tasks) > 1:
            found[f"eval_loss/{name}"] = losses[task == index].mean().item()
    return found


def picture_grid(method: Method, batch: Batch, how: Any) -> tuple[str, np.ndarray]:
    """Names of the columns, and uint8 [H,W,3]: a row for each sample."""
    method.module().eval()
    columns = method.columns(batch, how)
    method.module().train()
    rows = torch.cat([column.cpu() for column in columns.values()], dim=3)
    return ", ".join(columns), to_uint8(torch.cat(list(rows), dim=1))


def to_uint8(pixels: torch.Tensor) -> np.ndarray:
    """float [3,H,W] in [-1,1] to uint8 [H,W,3]."""
    values = ((pixels.float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
    return values.permute(1, 2, 0).cpu().numpy()


def save_picture(path: Path, pixels: np.ndarray, zoom: int = 1) -> None:
    """Writes uint8 [H,W,3] as PNG, each pixel enlarged to zoom × zoom."""
    image = Image.fromarray(pixels)
    size = (image.width * zoom, image.height * zoom)
    image.resize(size, Image.Resampling.NEAREST).save(path)
