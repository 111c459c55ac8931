"""Everything that decides a run's weights, as named facts: equal facts, equal bits.

A checkpoint carries the facts of the run that wrote it. A run that resumes compares them with its
own and tells each difference by name.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from toolkit.core.config import to_toml
from train.config import RunConfig
from train.settings import is_free

Facts = Mapping[str, str]


def facts_of(settings: RunConfig, cursor: Mapping[str, Any], frozen: Mapping[str, str]) -> Facts:
    """The facts of a run.

    Args:
        settings: its configuration.
        cursor: the state of its loader, at any position.
        frozen: hashes of weights that are not trained, by name.
    """
    facts = {name: text for name, text in _fields(settings) if not is_free(name)}
    facts |= {
        f"stream.{name}": json.dumps(value, sort_keys=True)
        for name, value in cursor.items()
        if name != "position"
    }
    facts["device"] = torch.device(settings.device).type
    facts["code"] = code_hash()
    facts["torch"] = torch.__version__
    return facts | {f"frozen {name}": digest for name, digest in frozen.items()}


def differences(before: Facts, now: Facts) -> list[str]:
    """What differs, a line each; hashes are shortened."""
    names = [*before, *(name for name in now if name not in before)]
    return [
        f"{name} was {_brief(before.get(name))}, is {_brief(now.get(name))}"
        for name in names
        if before.get(name) != now.get(name)
    ]


def code_hash() -> str:
    """Hash of the program: the sources of what streams and of what trains."""
    root = Path(__file__).resolve().parents[1]
    digest = hashlib.sha256()
    for package in ("toolkit/core", "toolkit/store", "toolkit/stream", "train"):
        for path in sorted((root / package).rglob("*.py")):
            digest.update(str(path.relative_to(root)).encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def _fields(settings: RunConfig) -> list[tuple[str, str]]:
    """Dotted name and text of every field."""
    found, group = [], ""
    for line in to_toml(settings).splitlines():
        if line.startswith("["):
            group = line.strip("[]") + "."
        elif line:
            name, _, text = line.partition(" = ")
            found.append((group + name, text))
    return found


def _brief(text: str | None) -> str:
    if text is None:
        return "not there"
    return text if len(text) <= 60 else f"{text[:24]}…"
