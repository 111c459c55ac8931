"""Tiny twins of the pretrained models, saved once a run."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.twins import TWINS


@pytest.fixture(scope="session")
def twin(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """`twin("t5")`: what `--weights` names for a tiny T5."""
    root, known = tmp_path_factory.mktemp("twins"), dict[str, Path]()

    def save(name: str) -> Path:
        if name not in known:
            known[name] = TWINS[name](root / name)
        return known[name]

    return save
