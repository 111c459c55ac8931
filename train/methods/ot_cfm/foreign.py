"""Configurations of the system that this method was first written for: JSON with comments."""

import json
import re
from collections.abc import Mapping
from typing import Any

from toolkit.core.errors import UserError

_SAME = {
    "model.hidden_dim": "method_config.net.hidden_dim",
    "model.num_layers": "method_config.net.num_layers",
    "model.style_dim": "method_config.net.style_dim",
    "model.time_dim": "method_config.net.time_dim",
    "model.kernel_size": "method_config.net.kernel_size",
    "training.batch_size": "data.batch_size",
    "training.learning_rate": "optim.lr",
    "training.stage1_epochs": "epochs",
    "training.label_drop_prob": "method_config.label_drop",
    "training.num_workers": "data.workers",
}
_DATA = {"model.latent_channels", "model.num_styles", "data.num_classes"}
_FOLDERS = {"data.raw_data_root", "data.data_root", "checkpoint.save_dir"}


def from_json(text: str) -> tuple[dict[str, str], list[str]]:
    """Dotted names and texts of our fields, and a line for each of theirs that has none.

    Raises UserError: not such a file; a field that is unknown.
    """
    without = re.sub(r'("(?:\\.|[^"\\])*")|//[^\n]*', lambda found: found[1] or "", text)
    try:
        tree = json.loads(re.sub(r",(\s*[}\]])", r"\1", without))
        fields = dict(_flat(tree))
    except (ValueError, AttributeError) as error:
        raise UserError(f"it is no JSON with groups of fields: {error}") from None
    values, notes = {}, []
    for name, value in fields.items():
        if name in _SAME:
            values[_SAME[name]] = str(value)
        elif name == "training.use_amp":
            values["precision"] = "auto" if value else "fp32"
        elif name in _DATA:
            notes.append(f"{name}={value}: the data decide it")
        elif name in _FOLDERS:
            notes.append(f"{name}={value}: --shards, --manifests and --runs say where things lie")
        else:
            raise UserError(f"unknown field {name}: known are {', '.join(sorted(_SAME))}")
    return values, notes


def _flat(tree: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, Any]]:
    return [
        (f"{group}.{name}", value) for group, part in tree.items() for name, value in part.items()
    ]
