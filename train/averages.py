"""Averages of a run's weights, tracked on the CPU and copied to files now and then.

runs/<name>/ema/step-000100.safetensors    each length's average after that step
"""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import torch

from toolkit.core.errors import UserError, one_line
from toolkit.core.files import atomic_path, make_folder
from train.config import EmaConfig
from train.parts.power_ema import PowerEma, Profile, combination, gamma_of
from train.state import write_safetensors


class Averages:
    """Tracks the averages that a configuration asks for; none by default.

    Args:
        config: lengths and intervals.
        folder: of the copies.
        total: steps of the run; the last one is copied too.
        is_first: whether this rank keeps them; the others only help to put weights together.
    """

    def __init__(self, config: EmaConfig, folder: Path, total: int, is_first: bool = True):
        self._is_first = is_first
        self._config, self._folder, self._total = config, folder, total
        self._tracked = PowerEma(config.sigma_rels)

    def step(self, step: int, weights: Callable[[], Mapping[str, torch.Tensor]]) -> None:
        """Lets the weights after a step enter, and copies the averages when it is time."""
        if not self._config.sigma_rels:
            return
        is_last = step == self._total
        if step % self._config.update_every == 0 or is_last:
            found = weights()
            if self._is_first:
                self._tracked.update(found, step)
        if not self._is_first:
            return
        if step % self._config.snapshot_every == 0 or is_last:
            self._save(step)

    def state(self) -> dict[str, torch.Tensor]:
        """For a checkpoint: the averages, and the step of the last update; empty without any."""
        if not self._config.sigma_rels or not self._is_first:
            return {}
        return {**self._tracked.state(), "time": torch.tensor(self._tracked.time)}

    def load_state(self, state: Mapping[str, torch.Tensor]) -> None:
        """Puts `state` back."""
        if self._config.sigma_rels and state:
            averages = {name: tensor for name, tensor in state.items() if name != "time"}
            self._tracked.load_state(averages, int(state["time"]))

    def _save(self, step: int) -> None:
        facts = {"time": self._tracked.time, "sigma_rels": self._config.sigma_rels}
        path = make_folder(self._folder) / f"step-{step:06d}.safetensors"
        with atomic_path(path) as temporary:
            write_safetensors(temporary, self._tracked.state(), {"tessera": json.dumps(facts)})


def reconstruct(
    folder: Path, sigma_rel: float, step: int | None = None
) -> tuple[dict[str, torch.Tensor], int]:
    """The average of another length, from a folder of copies; read a tensor at a time.

    Args:
        folder: of the copies.
        sigma_rel: the length, above 0 and below 0.28.
        step: at which training counts as ended; that of the last copy otherwise.

    Returns:
        (weights, step)

    Raises:
        UserError: no copies up to that step, a copy that is damaged, an impossible length.
    """
    from safetensors import SafetensorError, safe_open

    try:
        gamma = gamma_of(sigma_rel)
    except ValueError as error:
        raise UserError(f"--{error}") from None
    paths = {int(p.stem[5:]): p for p in folder.glob("step-*.safetensors") if p.stem[5:].isdigit()}
    used = sorted(number for number in paths if step is None or number <= step)
    if not used:
        until = "" if step is None else f" up to step {step}"
        raise UserError(
            f"{folder} has no averages{until}: train with --ema.sigma_rels=0.05,0.10 to track them"
        )
    sums: dict[str, torch.Tensor] = {}
    try:
        places = [place for number in used for place in _profiles(paths[number])]
        wanted = Profile(gamma, places[-1][0].time)
        shares = combination([profile for profile, *_ in places], wanted)
        for share, (_, path, prefix) in zip(shares, places, strict=True):
            with safe_open(path, "pt") as file:
                for key in file.keys():  # noqa: SIM118 - no mapping
                    if key.startswith(prefix):
                        part = file.get_tensor(key).double() * float(share)
                        name = key.removeprefix(prefix)
                        sums[name] = sums[name] + part if name in sums else part
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"the averages in {folder} are damaged: {one_line(error)}") from None
    return {name: tensor.float() for name, tensor in sums.items()}, used[-1]


def _profiles(path: Path) -> list[tuple[Profile, Path, str]]:
    """Each average in a copy: its profile, and what the names of its tensors begin with."""
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        facts = json.loads(file.metadata()["tessera"])
    return [
        (Profile(gamma_of(sigma), facts["time"]), path, f"{number}.")
        for number, sigma in enumerate(facts["sigma_rels"])
    ]
