"""What each preset takes of memory, before anything is loaded: one table.

    python -m train.plan
    python -m train.plan pixel_sdxl --vram=80GB --device=cuda

`python -m train.run METHOD --config=… --plan` says more of one configuration.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from toolkit.core import command
from toolkit.core.errors import UserError
from toolkit.core.log import warn
from toolkit.core.progress import Progress
from toolkit.core.show import show

_COLUMNS = ("method", "preset", "device", "batch", "weights", "step", "held out", "pictures",
            "most", "host")  # fmt: skip


def plan(
    method: str = "",
    *,
    vram: str | None = None,
    device: str | None = None,
    format: Literal["table", "json", "csv"] = "table",
) -> None:
    """Tells the memory that each preset takes, in GB: of weights; the most in a training step and
    in a look at the held-out loss and at pictures, weights and all; of this process on the host.

    Args:
        method: of this method alone; of all otherwise.
        vram: memory of the card, as 24GB: what has to be added to each preset for it to fit, which
            takes minutes.
        device: cpu or cuda; with --vram cuda otherwise, and the presets' own without.
        format: table, json or csv.
    """
    from train.methods import check_method, method_names
    from train.planning.proposal import bytes_in

    memory = bytes_in(vram) if vram else 0
    device = device or ("cuda" if vram else None)
    methods = [check_method(method)] if method else method_names()
    presets = [
        (name, path.stem)
        for name in methods
        for path in sorted((Path(__file__).parent / "methods" / name / "presets").glob("*.toml"))
    ]
    rows, unknown = [], []
    with Progress(len(presets), "plan", "presets") as progress:
        for name, preset in presets:
            try:
                rows.append(_row(name, preset, memory, device))
            except UserError as error:
                unknown.append(f"{name}, {preset}: {error}")
            progress.advance(note=f"{name}, {preset}")
    show([*_COLUMNS, *([f"for {vram}"] if vram else [])], rows, format)
    for line in unknown:
        warn(f"not planned: {line}")


def _row(method: str, preset: str, memory: int, device: str | None) -> list[Any]:
    from train.planning.forecast import forecast
    from train.planning.proposal import propose
    from train.settings import fresh_config

    settings = fresh_config(method, preset, {"device": device} if device else {})
    found = forecast(settings)
    peaks = found.peaks
    counts = (peaks.weights, peaks.step, peaks.held_out, peaks.pictures, peaks.peak, found.host)
    row: list[Any] = [method, preset, found.device, settings.data.batch_size]
    row += ["–" if count is None else round(count / 1e9, 2) for count in counts]
    if memory:
        proposal = propose(settings, memory, found)
        row.append(" ".join(proposal.flags) or "fits" if proposal.fits else "does not fit")
    return row


def _values(_: list[str], __: Mapping[str, str]) -> dict[str, list[str]]:
    from train.methods import method_names

    return {"method": method_names()}


if __name__ == "__main__":
    command.run(plan, "python -m train.plan", values=_values)
