"""The folder of a run: what lies where, and how a finished run is opened again.

runs/<name>/config.toml                    the resolved configuration; repeats the run
runs/<name>/checkpoints/step-000100/       weights.safetensors optimizer.safetensors state.json
runs/<name>/log.jsonl  tensorboard/        the loss and everything else that was logged
runs/<name>/samples/step-000100.png        content, style, target, output
runs/<name>/scores/  report.html           what eval.run and eval.report write
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolkit.core.config import load_toml, resolve
from toolkit.core.errors import UserError
from train.config import RunConfig
from train.methods import default_method_config, load_method


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


def open_run(path: Path) -> RunFolder:
    """A run that exists. Raises UserError otherwise."""
    folder = RunFolder(path)
    if not folder.config.is_file():
        known = sorted(p.parent.name for p in path.parent.glob("*/config.toml"))
        hint = f"runs there: {', '.join(known)}" if known else "train one: python -m train.run"
        raise UserError(f"there is no run in {path}; {hint}")
    return folder


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
