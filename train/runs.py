"""The folder of a run: what lies where, and how a finished run is opened again.

runs/<name>/config.toml                    the resolved configuration; repeats the run
runs/<name>/checkpoints/step-000100/       weights.safetensors optimizer.safetensors state.json
runs/<name>/ema/  averaged/                copies of tracked averages; what train.ema makes of them
runs/<name>/log.jsonl  tensorboard/        the loss and everything else that was logged
runs/<name>/samples/step-000100.png        content, style, target, output
runs/<name>/scores/  report.html           what eval.run and eval.report write
"""

import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from toolkit.core.config import load_toml, resolve
from toolkit.core.errors import UserError
from toolkit.core.files import make_folder
from toolkit.core.nearest import nearest
from train.config import RunConfig
from train.methods import config_module, default_method_config, load_method
from train.methods.needs import DataFacts, Needs


@dataclass(frozen=True)
class RunFolder:
    """Paths of one run."""

    path: Path

    @property
    def config(self) -> Path:
        """The resolved configuration."""
        return self.path / "config.toml"

    @property
    def checkpoints(self) -> Path:
        """Folder of checkpoints."""
        return self.path / "checkpoints"

    @property
    def averages(self) -> Path:
        """Folder of copies of averaged weights."""
        return self.path / "ema"

    @property
    def log(self) -> Path:
        """The log, one JSON object a line."""
        return self.path / "log.jsonl"

    @property
    def samples(self) -> Path:
        """Folder of sample grids."""
        return self.path / "samples"

    @property
    def scores(self) -> Path:
        """Folder of the evaluator's results."""
        return self.path / "scores"

    @property
    def dataset(self) -> str:
        """Name of the dataset of pictures that this run made."""
        return f"{self.path.name.lower()}-out"

    def cost_of(self, dataset: str) -> Path:
        """What the pictures of a dataset took to make, as JSON."""
        return self.path / f"stylize-{dataset}.json"


def check_run_name(name: str) -> str:
    """Returns `name`. Raises UserError when it cannot name a run and its dataset of pictures."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,58}", name):
        raise UserError(
            f"{name!r} cannot name a run: use letters, digits, _ and -, at most 59 characters"
        )
    return name


@contextmanager
def claimed(folder: RunFolder, overwrite: bool) -> Iterator[Callable[[], None]]:
    """The folder of a new run, empty; what was in it is deleted when the run has begun.

    Yields what to call then. An error before leaves everything as it was. Raises UserError.
    """
    refuse_existing(folder, overwrite)
    is_new = not folder.path.exists() or not any(folder.path.iterdir())
    aside = make_folder(folder.path) / ".before"
    if aside.is_dir() and not folder.checkpoints.is_dir():  # a start that was killed
        _put_back(aside)
    _remove(aside)
    before = list(folder.path.iterdir())
    aside.mkdir()
    for path in before:
        path.rename(aside / path.name)
    try:
        yield lambda: _remove(aside)
    except BaseException as error:
        if not aside.is_dir():
            raise
        _put_back(aside)
        if is_new:
            _remove(folder.path)
        if isinstance(error, KeyboardInterrupt):
            raise KeyboardInterrupt("before the first step; all is as it was before") from None
        raise


def _put_back(aside: Path) -> None:
    """What is aside takes the place of what lies beside it."""
    for path in aside.parent.iterdir():
        if path != aside:
            _remove(path)
    for path in aside.iterdir():
        path.rename(aside.parent / path.name)
    aside.rmdir()


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def refuse_existing(folder: RunFolder, overwrite: bool) -> None:
    """Raises UserError when a new run must not take its folder."""
    path = folder.path
    if path.exists() and not path.is_dir():
        raise UserError(f"{path} is a file, not the folder of a run: choose another --name")
    if not path.exists() or not any(path.iterdir()):
        return
    if not overwrite:
        raise UserError(f"the run {path} exists: add --resume, --overwrite, or another --name")
    if not folder.config.is_file():
        raise UserError(f"{path} is no run, so it is not overwritten: choose another --name")


def open_run(path: Path) -> RunFolder:
    """A run that exists. Raises UserError otherwise."""
    folder = RunFolder(path)
    if not folder.config.is_file() and RunFolder("runs" / path).config.is_file():
        raise UserError(f"there is no run in {path}: did you mean --run={'runs' / path}?")
    if not folder.config.is_file() and list(folder.checkpoints.glob("step-*")):
        raise UserError(f"{folder.config} is gone: put it back, it says what the run is")
    if not folder.config.is_file():
        known = sorted(p.parent.name for p in path.parent.glob("*/config.toml"))
        hint = f"runs there: {', '.join(known)}" if known else "train one: python -m train.run"
        raise UserError(f"there is no run in {path}; {hint}{_near_run(path, known)}")
    return folder


def _near_run(path: Path, known: list[str]) -> str:
    """The run of nearly that name beside it, or in runs/."""
    if found := nearest(path.name, known):
        return f"; did you mean --run={path.parent / found}?"
    there = sorted(p.parent.name for p in Path("runs").glob("*/config.toml"))
    found = nearest(path.name, there)
    return f"; did you mean --run={Path('runs') / found}?" if found else ""


def default_config(method: str) -> RunConfig:
    """The defaults of a run of `method`, the method's own included."""
    return RunConfig(method=method, method_config=default_method_config(method))


def load_config(path: Path) -> RunConfig:
    """Reads a resolved configuration. Raises UserError when it does not fit this program."""
    tree = load_toml(path)
    base = default_config(str(tree.get("method", RunConfig.method)))
    return resolve(base, tree, path.name)


def build_method(config: RunConfig) -> Any:
    """The method of a configuration, freshly initialised."""
    return load_method(config.method).Method(config.method_config, config.seed)


def alone(settings: RunConfig) -> AbstractContextManager[None]:
    """Inside, no other process of Tessera has a large model on the run's GPU, where the run has
    one. Raises UserError where another has."""
    is_large = getattr(config_module(settings.method), "is_large", None)
    if is_large is None or not is_large(settings.method_config):
        return nullcontext()
    from toolkit.encoders.alone import alone_on
    from toolkit.encoders.device import usable_device

    return alone_on(usable_device(settings.device), settings.method)


def needs_of(settings: RunConfig) -> Needs:
    """What the method of a run wants from the data."""
    found: Needs = config_module(settings.method).needs(settings.method_config)
    return found


def settled(settings: RunConfig, data: DataFacts) -> RunConfig:
    """The configuration with what the data decide. Raises UserError where they do not do."""
    settle = getattr(config_module(settings.method), "settle", None)
    if settle is None:
        return settings
    return replace(settings, method_config=settle(settings.method_config, data))
