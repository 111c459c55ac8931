"""One target: made, looked at, and made again in a gentler way while it is refused."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
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
    """Makes and grades the attempts at targets.

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

    def first(self, targets: Sequence[Target]) -> list[tuple[Attempt, bytes]]:
        """The first attempts at several targets, made together where the teacher can."""
        found: dict[int, tuple[Attempt, bytes]] = {}
        requests: dict[int, Request] = {}
        for number, target in enumerate(targets):
            try:
                requests[number] = self._request(target)
            except PictureError as error:
                found[number] = self._unreadable(error)
        settings = self._protocol.settings
        made = self._teacher.make_many(list(requests.values()), settings) if requests else []
        for (number, request), one in zip(requests.items(), made, strict=True):
            found[number] = self._judged(targets[number], request, one, settings, [])[:2]
        return [found[number] for number in range(len(targets))]

    def attempts(
        self, target: Target, before: Sequence[Attempt] = ()
    ) -> Iterator[tuple[Attempt, bytes]]:
        """The attempts that are still to be made, and their pictures' bytes, until one is good or
        nothing more is tried. before: those that were made already.

        A content or style that does not decode makes one refused attempt. Raises UserError where
        one is not there.
        """
        try:
            request = self._request(target)
        except PictureError as error:
            yield self._unreadable(error)
            return
        history = [attempt.causes for attempt in before]
        settings = self._next(history) if history else self._protocol.settings
        while settings is not None:
            made = self._teacher.make(request, settings)
            attempt, data, settings = self._judged(target, request, made, settings, history)
            history.append(attempt.causes)
            yield attempt, data

    def _request(self, target: Target) -> Request:
        """Raises PictureError where a picture cannot be used, UserError where it is not there."""
        content = self._places.pixels(target.content_dataset, target.content_key)
        style = self._places.pixels(target.style_dataset, target.style_key)
        if not self._protocol.size and min(content.shape[:2]) < 64:
            raise PictureError("too_small", "the content has less than 64 pixels a side")
        height, width = (self._protocol.size or side for side in content.shape[:2])
        content = fitted(content, height, width, self._protocol.content_fit)
        style_id = f"{target.style_dataset}/{target.style_key}"
        return Request(content, style, style_id, target.prompt or "", target.seed)

    def _unreadable(self, error: PictureError) -> tuple[Attempt, bytes]:
        asked = dataclasses.asdict(self._protocol.settings)
        return Attempt(1, asked, "R", (error.cause,), (), 0.0, {}, (str(error),), True, ""), b""

    def _judged(
        self,
        target: Target,
        request: Request,
        made: Made,
        settings: Any,
        history: Sequence[Sequence[str]],
    ) -> tuple[Attempt, bytes, Any]:
        """An attempt, its picture's bytes, and the settings of the next one, if there is one."""
        measures = self._measures(made.pixels, request, target) if made.is_finite else {}
        verdict = grade(measures, made.is_finite, self._limits)
        is_refused = verdict.grade == "R"
        following = self._next([*history, verdict.causes]) if is_refused else None
        attempt = Attempt(
            len(history) + 1, dataclasses.asdict(settings), verdict.grade, verdict.causes,
            verdict.doubts, verdict.weight, measures, made.notes, following is None,
            "" if is_refused else self._ext,
        )  # fmt: skip
        return attempt, b"" if is_refused else self._encoded(made.pixels), following

    def _next(self, history: Sequence[Sequence[str]]) -> Any:
        if len(history) >= self._max_attempts:
            return None
        return self._gentler(self._protocol.settings, history)

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
