"""What a run will take of the device's memory and of the host's, told before anything is loaded."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch

from toolkit.core.memory import anonymous_bytes
from toolkit.stream.coalesce import MAX_READ_BYTES
from train.config import RunConfig
from train.methods.needs import DataFacts
from train.planning.dry_run import Peaks, dry_run
from train.planning.example import bytes_of
from train.planning.planned import planned

_UNKNOWN = (
    "what an allocator rounds up and leaves unused between tensors",
    "what libraries for convolutions and products take for themselves",
)


@dataclass(frozen=True)
class Forecast:
    """Bytes. device: its type; peaks: of its memory; host: the most of this process on the host,
    where a run on the CPU has all of it; unknown: what cannot be told before, a line each."""

    device: str
    peaks: Peaks
    host: int
    unknown: tuple[str, ...]

    @property
    def peak(self) -> int:
        """Of what `--vram` is compared with: the GPU's memory, or the host's of a run on it."""
        return self.host if self.device == "cpu" else self.peaks.peak

    def lines(self, flags: str = "") -> Iterator[str]:
        """For people. flags: what was added to the configuration."""
        peaks = self.peaks
        rows = {
            "weights": peaks.weights, "of these trained": peaks.trained,
            "state of the optimiser": peaks.state, "between two steps": peaks.resting,
            "a training step": peaks.step, "a look at the held-out loss": peaks.held_out,
            "a look at pictures": peaks.pictures, "the most of all": peaks.peak,
        }  # fmt: skip
        more = f" with {flags}" if flags else ""
        yield f"memory on {self.device}{more}, in GB:"
        for name, count in rows.items():
            yield f"  {name:<28}{'–' if count is None else f'{count / 1e9:8.2f}':>8}"
        yield f"  {'this process on the host':<28}{self.host / 1e9:8.2f}"
        yield "not known before: " + "; ".join(self.unknown)


def forecast(settings: RunConfig) -> Forecast:
    """The forecast of a configuration. Raises UserError for a model whose sizes are not known."""
    with planned(settings) as (config, facts):
        peaks = dry_run(config, facts)
    base = anonymous_bytes()  # of the program and its libraries, which are all loaded by now
    device = torch.device(settings.device).type
    unknown = [*_UNKNOWN, *peaks.unknown]
    if device == "cuda":
        unknown.append("the driver's context, half a GB or more")
    if settings.compile:
        unknown.append("what --compile keeps of activations: less than this")
    return Forecast(device, peaks, base + _host(settings, peaks, facts, device), tuple(unknown))


def _host(settings: RunConfig, peaks: Peaks, facts: DataFacts, device: str) -> int:
    """Bytes on the host besides the program: batches on their way, averages, and what is copied to
    write a checkpoint, or is loaded before it goes to a GPU."""
    how = settings.data
    batch = how.batch_size * bytes_of(facts, settings)
    ahead = how.prefetch + 1 if how.workers else 0
    flying = min((2 + ahead) * batch + how.workers * MAX_READ_BYTES, how.max_bytes)
    averages = len(settings.ema.sigma_rels) * peaks.trained
    saved = 3 * peaks.trained + averages
    if device == "cpu":
        return flying + averages + max(peaks.peak, peaks.resting + saved)
    return flying + max(2 * peaks.weights, averages + saved)


def with_optim(settings: RunConfig, **changes: object) -> RunConfig:
    """The configuration with other settings of the optimiser."""
    return replace(settings, optim=replace(settings.optim, **changes))  # type: ignore[arg-type]
