"""Kinds of raw data, one file each: `toolkit/sources/<kind>.py` exports `open_source`."""

import importlib
import inspect
import pkgutil
from pathlib import Path
from typing import Any

from toolkit.core.coerce import coerce
from toolkit.core.command import argument_texts
from toolkit.core.errors import UserError
from toolkit.core.nearest import or_nearest, suggestion
from toolkit.core.records import Source


def source_kinds() -> list[str]:
    """Names of the kinds of raw data, found by file name."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def source_options(kind: str) -> dict[str, str]:
    """The options of one kind besides `src`, each with a line of help; none of an unknown kind."""
    if kind not in source_kinds():
        return {}
    factory = importlib.import_module(f"{__name__}.{kind}").open_source
    texts = argument_texts(factory)[1]
    names = [name for name in inspect.signature(factory).parameters if name != "src"]
    return {name: f"{f'--{name}':<18} {texts.get(name, '')}".rstrip() for name in names}


def open_source(kind: str, options: dict[str, Any]) -> Source:
    """Opens raw data of one kind. Raises UserError for an unknown kind or option."""
    if kind not in source_kinds() and Path(kind).is_dir():
        raise UserError(
            f"{kind} is a folder: say what it holds, as in "
            f"python -m toolkit.pack folder --src={kind}"
        )
    if kind not in source_kinds():
        raise UserError(f"unknown source {kind!r}: {suggestion(kind, source_kinds())}")
    factory = importlib.import_module(f"{__name__}.{kind}").open_source
    parameters = inspect.signature(factory).parameters
    for name in options:
        if name not in parameters:
            known = ", ".join(f"--{p}" for p in parameters)
            near = or_nearest(f"--{name}", [f"--{p}" for p in parameters])
            raise UserError(f"the source {kind} has no option --{name}; it takes {known}{near}")
    for name, parameter in parameters.items():
        if parameter.default is parameter.empty and options.get(name) is None:
            raise UserError(f"the source {kind} needs --{name}=…")
    converted = {
        name: coerce(value, parameters[name].annotation, f"--{name}")
        for name, value in options.items()
    }
    source: Source = factory(**converted)
    return source
