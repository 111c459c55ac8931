"""Training methods, one folder each: `train/methods/<name>/method.py` has `Method`."""

import importlib
import pkgutil
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType
from typing import Any

from toolkit.core.errors import UserError
from toolkit.core.nearest import or_nearest, suggestion


def method_names() -> list[str]:
    """Names of the methods, found by folder name."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__) if module.ispkg)


def check_method(name: str) -> str:
    """Returns `name`. Raises UserError for a method that does not exist."""
    if name not in method_names():
        raise UserError(f"unknown method {name!r}: {suggestion(name, method_names())}")
    return name


def load_method(name: str) -> ModuleType:
    """The module that holds a method's class `Method`. Raises UserError when unknown."""
    return importlib.import_module(f"{__name__}.{check_method(name)}.method")


def config_module(name: str) -> ModuleType:
    """A method's `config.py`, which loads nothing heavy: see `train.methods.needs`."""
    return importlib.import_module(f"{__name__}.{check_method(name)}.config")


def default_method_config(name: str) -> Any:
    """A method's own settings."""
    return config_module(name).Config()


def stylize_defaults(name: str, config: Any = None) -> Any:
    """How a method makes pictures unless it is told otherwise. config: its settings, on which that
    may depend."""
    module = config_module(name)
    chosen = getattr(module, "stylize", None)
    return module.Stylize() if chosen is None or config is None else chosen(config)


def fallbacks(name: str, how: Any) -> tuple[Any, ...]:
    """How a method draws what does not look like its style again, one after the other."""
    found = getattr(config_module(name), "fallbacks", None)
    return () if found is None else tuple(found(how))


def stylize_flags(name: str, config: Any) -> str:
    """What has to follow `train.stylize --run=…` for a run with this configuration."""
    flags = getattr(config_module(name), "example_flags", None)
    return str(flags(config)) if flags else ""


def next_command(name: str, config: Any, run: str) -> str:
    """What a finished run is followed by, where it is not pictures; "" otherwise."""
    found = getattr(config_module(name), "next_command", None)
    return str(found(config, run)) if found else ""


def style_counts(name: str, config: Any, selections: Iterable[Any]) -> dict[str, int]:
    """Samples of each style that a method tells apart, in the order of its numbers; empty where it
    tells none apart."""
    label_of = getattr(config_module(name), "label_of", None)
    if label_of is None:
        return {}
    counts = dict.fromkeys(config.styles, 0)
    for selection in selections:
        for found in selection.table.column("style").value_counts().to_pylist():
            counts[label_of(config, found["values"], selection.name)] += found["counts"]
    return counts


def preset_names(method: str) -> list[str]:
    """The presets of a method. Raises UserError for a method that does not exist."""
    folder = Path(__path__[0]) / check_method(method) / "presets"
    return sorted(path.stem for path in folder.glob("*.toml"))


def preset_path(method: str, preset: str) -> Path:
    """The TOML file of a method's preset. Raises UserError when there is none of that name."""
    folder = Path(__path__[0]) / check_method(method) / "presets"
    path = folder / f"{preset}.toml"
    if not path.is_file():
        known = preset_names(method)
        raise UserError(
            f"{method} has no preset {preset!r}: it has {', '.join(known)}; or give a FILE.toml"
            f"{or_nearest(preset, known)}"
        )
    return path
