"""Which pretrained weights the presets of the methods take, see `toolkit.encoders.inventory`."""

import shlex
from collections.abc import Iterator
from typing import Any

from toolkit.core.errors import UserError
from toolkit.encoders.inventory import Weights, of_command
from train.methods import config_module, method_names, preset_names
from train.runs import needs_of
from train.settings import fresh_config


def wanted() -> list[Weights]:
    """Those of every preset: what a method begins with, and what its stored tensors are made by."""
    return [
        one
        for method in method_names()
        for preset in preset_names(method)
        for one in of_preset(method, preset)
    ]


def of_preset(method: str, preset: str) -> Iterator[Weights]:
    """Those of one preset; none that come along or that a flag has to name."""
    used_by = f"{method} --config={preset}"
    settings = fresh_config(method, preset, {})
    begins_with: Any = getattr(config_module(method), "pretrained", None)
    if begins_with is not None:
        yield from begins_with(settings.method_config, used_by)
    try:
        features = needs_of(settings).features
    except UserError:  # a preset whose backbone a flag names
        return
    for feature in features:
        if feature.command.startswith("--"):
            found = of_command(used_by, shlex.split(feature.command))
            if found is not None:
                yield found
