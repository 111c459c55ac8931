"""Watching a run: the loss on a fixed batch and a grid of pictures, always from the same seeds."""

from dataclasses import replace
from itertools import cycle, islice
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from toolkit.core.files import make_folder
from toolkit.core.keyed import key63
from toolkit.store.selection import Selection
from toolkit.stream.assemble import Assembler
from toolkit.stream.batch import Batch
from toolkit.stream.mix import Mix
from toolkit.stream.schedule import Want
from train.config import RunConfig
from train.log import RunLog
from train.loop import StepResult
from train.methods.api import Method, StylizeRequest
from train.numerics import Numerics
from train.runs import RunFolder
from train.speed import memory_bytes


class Watch:
    """Logs a run's steps, and now and then the held-out loss and a grid of pictures.

    Args:
        settings, folder, method, numerics: of the run.
        validation: the samples to watch.
        first: finished steps; at 0 the untrained state is looked at too.
    """

    def __init__(
        self,
        settings: RunConfig,
        folder: RunFolder,
        method: Method,
        numerics: Numerics,
        validation: Selection,
        first: int,
    ):
        self._config, self._total = settings.sample, settings.steps
        self._method, self._samples = method, make_folder(folder.samples)
        self._log = RunLog(folder.log, folder.path / "tensorboard", first, settings.wandb)
        size, seed, device = method.needs().size, settings.seed, settings.device
        held_out = fixed_batch(validation, self._config.eval_size, size, seed, "eval")
        pairs = fixed_batch(validation, self._config.num_pairs, size, seed, "grid")
        prompts = [text.strip() for text in self._config.sample_prompts.split(";") if text.strip()]
        if prompts:
            pairs = replace(pairs, captions=tuple(islice(cycle(prompts), len(pairs))))
        self.held_out, self._pairs = held_out.to(device), pairs.to(device)
        self._numerics = numerics
        if first == 0:
            self._look(0)

    def step(self, result: StepResult) -> None:
        """Logs one step."""
        self._log.write(
            result.step, loss=result.loss, lr=result.rate, grad_norm=result.grad_norm,
            wait_s=round(result.wait_s, 4), step_s=round(result.step_s, 4),
            memory_mb=round(memory_bytes() / 1e6, 1), substituted=result.num_substituted,
            **result.logs,
        )  # fmt: skip
        self._look(result.step)

    def close(self) -> None:
        """Flushes the log."""
        self._log.close()

    def _look(self, step: int) -> None:
        last = step == self._total
        if step % self._config.eval_every == 0 or last:
            with self._numerics.autocast():
                loss = batch_loss(self._method, self.held_out)
            self._log.write(step, eval_loss=loss)
        if step % self._config.sample_every == 0 or last:
            with self._numerics.autocast():
                grid = picture_grid(self._method, self._pairs, self._config.steps)
            save_picture(self._samples / f"step-{step:06d}.png", grid, zoom=2)
            self._log.picture(step, "content, style, target, output", grid)


def fixed_batch(selection: Selection, count: int, size: int, seed: int, purpose: str) -> Batch:
    """`count` samples of a selection, drawn once by key: the same whenever a run is watched."""
    name = selection.name
    mix = Mix({name: len(selection)}, {name: 1}, key63(purpose, seed))
    place = mix.at(np.arange(min(count, len(selection))))
    assembler = Assembler([selection], size)
    try:
        return assembler.assemble(
            [Want(0, int(r), int(s)) for r, s in zip(place.row, place.seed, strict=True)]
        )
    finally:
        assembler.close()


def request_for(
    batch: Batch, steps: int, guidance: float = 1, strength: float = 1
) -> StylizeRequest:
    """The stylisation that a batch of contents and styles asks for, noise from its seeds."""
    style = batch.images.get("style")
    content = batch.images["content"].floats()
    return StylizeRequest(
        content=content,
        style=None if style is None else style.floats(),
        has_style=torch.zeros(len(batch), dtype=torch.bool) if style is None else style.present,
        captions=batch.captions,
        seeds=batch.sample_seed,
        steps=steps,
        guidance=guidance,
        strength=strength,
    )


@torch.no_grad()
def batch_loss(method: Method, batch: Batch) -> float:
    """Mean loss of a fixed batch: its times and noise come from its seeds, so they are fixed."""
    method.module().eval()
    loss = method.training_loss(batch).per_sample.mean().item()
    method.module().train()
    return loss


def picture_grid(method: Method, batch: Batch, steps: int) -> np.ndarray:
    """uint8 [H,W,3]: one row per sample with content, style, target and the run's own picture."""
    method.module().eval()
    made = method.stylize(request_for(batch, steps)).cpu()
    method.module().train()
    columns = [images.floats() for images in batch.images.values()]
    order = [
        list(batch.images).index(r) for r in ("content", "style", "target") if r in batch.images
    ]
    rows = torch.cat([*(columns[i] for i in order), made], dim=3)
    return to_uint8(torch.cat(list(rows), dim=1))


def to_uint8(pixels: torch.Tensor) -> np.ndarray:
    """float [3,H,W] in [-1,1] to uint8 [H,W,3]."""
    values = ((pixels.float() + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
    return values.permute(1, 2, 0).cpu().numpy()


def save_picture(path: Path, pixels: np.ndarray, zoom: int = 1) -> None:
    """Writes uint8 [H,W,3] as PNG, each pixel enlarged to zoom × zoom."""
    image = Image.fromarray(pixels)
    size = (image.width * zoom, image.height * zoom)
    image.resize(size, Image.Resampling.NEAREST).save(path)
