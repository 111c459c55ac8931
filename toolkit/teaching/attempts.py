"""What becomes of one target: what the teacher is asked, and what its answers are worth."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from toolkit.pairing.plan import Target
from toolkit.store.images import PictureError, encode_jpeg, encode_png
from toolkit.teachers.api import Made, Request, teacher_module
from toolkit.teachers.grading import Limits, grade
from toolkit.teachers.protocol import Protocol
from toolkit.teaching.clip import ClipContent
from toolkit.teaching.fit import fitted
from toolkit.teaching.look import Looker
from toolkit.teaching.places import Places
from toolkit.teaching.stage import Attempt


class Maker:
    """Asks the teacher, and grades what it gives. Everything but `make` is for one thread at a
    time; `make` for another.

    Args:
        places: where contents and styles lie.
        protocol: the way they are made.
        teacher: opened for that protocol.
        limits: of quality control.
        ext: png or jpg, of the pictures that are kept.
        max_attempts: at least 1.
        clip: measures content consistency, where its weights are there.
    """

    def __init__(
        self,
        places: Places,
        protocol: Protocol,
        teacher: Any,
        limits: Mapping[str, Limits],
        ext: Literal["png", "jpg"],
        max_attempts: int,
        clip: ClipContent | None = None,
    ):
        self._places, self._protocol, self._teacher = places, protocol, teacher
        self._limits, self._ext, self._max_attempts = limits, ext, max_attempts
        self._looker = Looker(clip)
        self._gentler = teacher_module(protocol.teacher).gentler

    def request(self, target: Target) -> Request | Attempt:
        """What the teacher is asked. Where the content or style does not decode: the only attempt,
        refused. Raises UserError where one is not there."""
        try:
            return self._request(target)
        except PictureError as error:
            asked = dataclasses.asdict(self._protocol.settings)
            causes, notes = (error.cause,), (str(error),)
            return Attempt(1, asked, "R", causes, (), 0.0, {}, notes, True, "")

    def make(self, requests: Sequence[Request], settings: Any) -> list[Made]:
        """Pictures, made together where the teacher can."""
        return list(self._teacher.make_many(requests, settings)) if requests else []

    def judged(
        self,
        target: Target,
        request: Request,
        made: Made,
        history: Sequence[Sequence[str]],
    ) -> tuple[Attempt, bytes]:
        """An attempt, made as `following(history)` says, and its picture's bytes, none where it is
        refused."""
        measures = self._measures(made.pixels, request, target) if made.is_finite else {}
        verdict = grade(measures, made.is_finite, self._limits)
        is_refused = verdict.grade == "R"
        is_last = not is_refused or self.following([*history, verdict.causes]) is None
        settings = dataclasses.asdict(self.following(history))
        attempt = Attempt(
            len(history) + 1, settings, verdict.grade, verdict.causes,
            verdict.doubts, verdict.weight, measures, made.notes, is_last,
            "" if is_refused else self._ext,
        )  # fmt: skip
        return attempt, b"" if is_refused else self._encoded(made.pixels)

    def following(self, history: Sequence[Sequence[str]]) -> Any:
        """The settings of the next attempt, None when nothing more is tried. history: the causes of
        those before."""
        if not history:
            return self._protocol.settings
        if len(history) >= self._max_attempts:
            return None
        return self._gentler(self._protocol.settings, history)

    def _request(self, target: Target) -> Request:
        content = self._places.pixels(target.content_dataset, target.content_key)
        style = self._places.pixels(target.style_dataset, target.style_key)
        if not self._protocol.size and min(content.shape[:2]) < 64:
            raise PictureError("too_small", "the content has less than 64 pixels a side")
        height, width = (self._protocol.size or side for side in content.shape[:2])
        content = fitted(content, height, width, self._protocol.content_fit)
        style_id = f"{target.style_dataset}/{target.style_key}"
        return Request(content, style, style_id, target.prompt or "", target.seed)

    def _measures(
        self, pixels: np.ndarray, request: Request, target: Target
    ) -> dict[str, float | None]:
        content, style = (
            (target.content_dataset, target.content_key),
            (target.style_dataset, target.style_key),
        )
        return self._looker.measures(
            pixels, (content, lambda: request.content),
            (style, lambda: fitted(request.style, *pixels.shape[:2])),
        )  # fmt: skip

    def _encoded(self, pixels: np.ndarray) -> bytes:
        return encode_png(pixels) if self._ext == "png" else encode_jpeg(pixels)
