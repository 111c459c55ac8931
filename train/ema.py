"""Averaged weights, after training.

python -m train.ema --run=runs/NAME --sigma_rel=0.15          of another length than was tracked
python -m train.ema --run=runs/NAME --mu=0.9                  of the run's checkpoints
python -m train.ema --inputs=a.safetensors,b.safetensors --mu=0.9 --out=c.safetensors
"""

from functools import partial
from pathlib import Path
from typing import Any

from toolkit.core.command import run as run_command
from toolkit.core.errors import UserError


def main(
    *,
    run: Path | None = None,
    sigma_rel: float | None = None,
    step: int | None = None,
    mu: float | None = None,
    inputs: tuple[str, ...] = (),
    out: Path | None = None,
) -> None:
    """Writes averaged weights, of a length that is chosen now.

    --sigma_rel puts the average together from the copies that a run with --ema.sigma_rels kept
    (Karras et al. 2024). --mu weighs checkpoints geometrically, the last one most: the older of two
    neighbours counts mu times as much as the newer.

    Args:
        run: the run's folder.
        sigma_rel: length of the average relative to the training, above 0 and below 0.28.
        step: with --run, the step at which training counts as ended; its last otherwise.
        mu: above 0, at most 1, which is the plain mean.
        inputs: safetensors files instead of a run, the oldest first.
        out: the file or, for a run, the folder of a checkpoint for train.stylize --checkpoint=;
            runs/NAME/averaged/… otherwise.
    """
    if (sigma_rel is None) == (mu is None):
        raise UserError("give --sigma_rel, the length of an average, or --mu, for checkpoints")
    if (run is None) == (not inputs):
        raise UserError("give --run or --inputs")
    if mu is not None and not 0 < mu <= 1:
        raise UserError(f"--mu={mu}: takes a number above 0, at most 1")
    if inputs:
        if mu is None or out is None:
            raise UserError("--inputs goes with --mu and --out")
        _files([Path(text) for text in inputs], mu, out)
        return
    assert run is not None
    _run(run, sigma_rel, mu, step, out)


def _files(paths: list[Path], mu: float, out: Path) -> None:
    from toolkit.core.files import atomic_path
    from train.state import read_weights, write_safetensors

    if not out.parent.is_dir() or out.is_dir():
        raise UserError(f"--out={out}: name a file in a folder that exists")
    found = _average([partial(read_weights, path) for path in paths], mu)
    with atomic_path(out) as temporary:
        write_safetensors(temporary, found, _facts(paths[-1]))
    print(f"{out}: {len(paths)} files averaged, mu {mu}")


def _run(
    run: Path, sigma_rel: float | None, mu: float | None, step: int | None, out: Path | None
) -> None:
    from train.averages import reconstruct
    from train.methods import stylize_flags
    from train.runs import load_config, open_run
    from train.state import list_checkpoints, load_weights, read_state, save_weights, step_of

    folder = open_run(run)
    settings = load_config(folder.config)
    if sigma_rel is not None:
        weights, last = reconstruct(folder.averages, sigma_rel, step)
        name = f"step-{last:06d}-sigma-{sigma_rel:g}"
    else:
        assert mu is not None
        found = [p for p in list_checkpoints(folder.checkpoints) if not step or step_of(p) <= step]
        if not found:
            raise UserError(f"{folder.path} has no checkpoint to average")
        for path in found:
            read_state(path, settings.method)
        weights = _average([partial(load_weights, path) for path in found], mu)
        last, name = step_of(found[-1]), f"step-{step_of(found[-1]):06d}-mu-{mu:g}"
        print(f"checkpoints averaged: {', '.join(path.name for path in found)}")
    target = out or folder.path / "averaged" / name
    save_weights(target, settings.method, last, weights)
    flags = stylize_flags(settings.method, settings.method_config)
    print(f"{target}: python -m train.stylize --run={folder.path} --checkpoint={target}{flags}")


def _average(checkpoints: list[Any], mu: float) -> dict[str, Any]:
    from train.parts.geometric import geometric_average

    try:
        return geometric_average(checkpoints, mu)
    except ValueError as error:
        raise UserError(str(error)) from None


def _facts(path: Path) -> Any:
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        return file.metadata()


if __name__ == "__main__":
    run_command(main, "python -m train.ema")
