"""What an extractor is: a picture, or a text, to numbers that metrics compare.

Each picture is looked at by itself, on one thread; several threads keep the cores busy
(`eval/looking.py`), and some networks look at several pictures together where that changes no bit
(`eval/together.py`). So neither the size of a batch nor the order of pictures can change a feature.
"""

import hashlib
import importlib
import json
import pkgutil
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from toolkit.core.errors import UserError
from toolkit.core.nearest import or_nearest

Features = tuple[np.ndarray, ...]
_NOT_EXTRACTORS = frozenset({"api", "inventory", "preprocess", "weights", "lpips_network"})


class MissingWeights(UserError):
    """Weights are not on this machine. what: whose; command: gets them; size: how much it is."""

    def __init__(self, what: str, command: str, size: str):
        super().__init__(f"{what} is missing ({size}); get it with: {command}")
        self.what, self.command, self.size = what, command, size


class CannotLook(Exception):
    """An extractor cannot do anything with a picture; the message says why."""


@dataclass(frozen=True)
class Extractor:
    """Features of pictures, and perhaps of texts.

    identity: all that decides the numbers, as JSON values: the network, the hash of its weights,
    and how pictures are resized. kept: whether features are small enough to be kept on disk.
    picture: of uint8 [H,W,3], RGB. text: of a text, to be compared with those of pictures. several:
    of pictures, where that is faster than one after the other.
    """

    identity: Mapping[str, Any]
    kept: bool
    picture: Callable[[np.ndarray], Features]
    text: Callable[[str], Features] | None = None
    several: Callable[[Sequence[np.ndarray]], list[Features]] | None = None

    @property
    def fingerprint(self) -> str:
        """A hash of the identity."""
        return fingerprint_of(self.identity)

    def look(self, pixels: np.ndarray) -> Features:
        """The features of a picture. Raises ValueError for anything but uint8 [H,W,3], CannotLook
        for a picture that the network cannot take."""
        return self.picture(checked(pixels))


def checked(pixels: np.ndarray) -> np.ndarray:
    """The picture, if it is one. Raises ValueError: floats in [0,1] or [-1,1] would give numbers
    that look right."""
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
        raise ValueError(
            f"a picture is uint8 [H,W,3] from 0 to 255, this is {pixels.dtype} {pixels.shape}"
        )
    return pixels


def fingerprint_of(identity: Mapping[str, Any]) -> str:
    """A hash of JSON values."""
    text = json.dumps(identity, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def extractor_names() -> list[str]:
    """Names of the extractors, found by file name."""
    import eval.features as folder

    found = (m.name for m in pkgutil.iter_modules(folder.__path__))
    return sorted(name for name in found if name not in _NOT_EXTRACTORS)


@dataclass
class Extractors:
    """Extractors by name, each opened once.

    weights: a folder, file or hub id by extractor, where it is not the usual one; device: as torch
    names it. Raises UserError for weights of something that is no extractor.
    """

    weights: Mapping[str, str] = field(default_factory=dict)
    device: str = "cpu"
    _opened: dict[str, Extractor | MissingWeights] = field(default_factory=dict)
    _lock: Any = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        for name in self.weights:
            if name not in extractor_names():
                known = extractor_names()
                raise UserError(
                    f"--weights={name}:…: there is no extractor {name!r}, only {', '.join(known)}"
                    f"{or_nearest(name, known)}"
                )

    def __getitem__(self, name: str) -> Extractor:
        """Raises MissingWeights."""
        with self._lock:
            if name not in self._opened:
                module = importlib.import_module(f"eval.features.{name}")
                try:
                    self._opened[name] = module.open_extractor(self.weights.get(name), self.device)
                except MissingWeights as error:
                    self._opened[name] = error
            found = self._opened[name]
        if isinstance(found, MissingWeights):
            raise found
        return found
