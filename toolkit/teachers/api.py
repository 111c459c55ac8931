"""What a teacher is: a file of this folder with `Settings`, `open_teacher` and `gentler`.

`Settings` is a frozen dataclass of everything that decides a picture besides its pair and seed.
`gentler(settings, history)` says what to try after attempts were refused; `sentence(settings)`
describes them for a paper; `SOURCES` names the weights it takes, by part, and `pretrained()`, where
there are any, tells them as `toolkit.encoders.loading.Pretrained`; `MULTIPLE` is what the sides of
its pictures are multiples of.
"""

import importlib
import pkgutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from toolkit.core.errors import UserError
from toolkit.core.nearest import choices

_OTHER_FILES = ("api", "statistics", "protocol", "grading", "inventory", "sdxl_pipeline")


@dataclass(frozen=True)
class Request:
    """One picture that is wanted. content: uint8 [H,W,3], as large as the picture is to be; style:
    uint8 [h,w,3] of any size; style_id: equal for equal styles; prompt: the content's caption,
    empty where it has none; seed: of the noise."""

    content: np.ndarray
    style: np.ndarray
    style_id: str
    prompt: str
    seed: int


@dataclass(frozen=True)
class Made:
    """A picture: uint8 [H,W,3]. is_finite: whether every number before the conversion to bytes was
    one; the picture is black where not. notes: what was done besides, such as a second decoding."""

    pixels: np.ndarray
    is_finite: bool = True
    notes: tuple[str, ...] = ()


class Teacher(Protocol):
    """An opened teacher. identity: what it computes with, for the card: hashes of weights,
    precision; equal ones make equal pictures on one machine."""

    identity: Mapping[str, Any]

    def make(self, request: Request, settings: Any) -> Made:
        """One picture. settings: of the teacher's own class."""
        ...

    def make_many(self, requests: Sequence[Request], settings: Any) -> list[Made]:
        """Several at once, which may differ from those made alone in the last bits."""
        ...


def teacher_names() -> list[str]:
    """The teachers there are: files of this folder."""
    import toolkit.teachers as folder

    names = (module.name for module in pkgutil.iter_modules(folder.__path__))
    return sorted(name for name in names if name not in _OTHER_FILES)


def teacher_module(name: str) -> Any:
    """The module of a teacher. Raises UserError for an unknown one."""
    if name not in teacher_names():
        raise UserError(f"there is no teacher {name!r}: {choices(name, teacher_names())}")
    return importlib.import_module(f"toolkit.teachers.{name}")
