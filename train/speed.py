"""How fast a run is: over its last steps for the progress bar, over all for a rehearsal."""

import resource
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import torch

from toolkit.core.memory import anonymous_bytes
from train.config import RunConfig
from train.state import latest_checkpoint

_RECENT, _TIMED = 20, 1000


class Speed:
    """Counts samples and seconds of the last steps."""

    def __init__(self) -> None:
        self._steps: deque[tuple[int, float, float]] = deque(maxlen=_RECENT)

    def note(self, num_samples: int, wait_s: float, step_s: float) -> str:
        """Adds a step; says samples per second, the share of time that was spent waiting for data,
        and memory."""
        self._steps.append((num_samples, wait_s, step_s))
        samples, waited, spent = map(sum, zip(*self._steps, strict=True))
        return (
            f"{samples / spent:.1f} samples/s, {waited / spent:.0%} waiting for data, "
            f"{memory_bytes() / 1e9:.2f} GB"
        )


def memory_bytes() -> int:
    """What this process holds: of the GPU where it uses one, of the host otherwise."""
    used = torch.cuda.memory_allocated() if torch.cuda.is_initialized() else 0
    return used or anonymous_bytes()


class Rehearsal:
    """Times the parts of a short run and says what the whole one will take."""

    def __init__(self) -> None:
        parts = ("step", "look", "checkpoint")  # of the last ones: a run goes on for millions
        self._seconds: dict[str, deque[float]] = {part: deque(maxlen=_TIMED) for part in parts}

    @contextmanager
    def timed(self, part: str) -> Iterator[None]:
        """Times a step, a look (held-out loss and pictures) or a checkpoint."""
        start = time.monotonic()
        yield
        self.add(part, time.monotonic() - start)

    def add(self, part: str, seconds: float) -> None:
        """Adds one that was timed elsewhere."""
        self._seconds[part].append(seconds)

    def forecast(self, settings: RunConfig, checkpoints: Path, count: int) -> str:
        """Seconds, memory and disk of the run that was rehearsed. checkpoints: their folder; count:
        of the steps that were done."""
        size = sum(p.stat().st_size for p in latest_checkpoint(checkpoints).iterdir())
        steps, saving = settings.steps - settings.initial_steps, settings.checkpoint
        per = {part: median(found) if found else 0.0 for part, found in self._seconds.items()}
        looks = steps / (settings.sample.sample_every or steps) + 2
        saves = steps / saving.save_interval + 1
        seconds = steps * per["step"] + looks * per["look"] + saves * per["checkpoint"]
        kept = saving.keep + (steps // saving.keep_every if saving.keep_every else 0)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        text = (
            f"a rehearsal of {count} steps, nothing is kept; all {steps}: about "
            f"{_duration(seconds)} ({per['step']:.3f} s a step, {per['look']:.1f} s a look at "
            f"pictures, {per['checkpoint']:.1f} s a checkpoint), "
            f"{settings.data.batch_size / per['step']:.1f} samples/s; host memory "
            f"{peak / 1e9:.2f} GB; checkpoints {size / 1e6:.1f} MB each, "
            f"{kept * size / 1e6:.0f} MB at most"
        )
        if torch.cuda.is_initialized():
            text += f"; GPU memory {torch.cuda.max_memory_reserved() / 1e9:.2f} GB"
        return text


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"
