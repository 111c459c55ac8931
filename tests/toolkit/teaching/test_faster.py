"""A faster way of asking a teacher: checked against pictures made alone, refused where it fails."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from tests.conftest import picture
from toolkit.core.errors import UserError
from toolkit.teachers.api import Made, Request
from toolkit.teaching.faster import Faster, psnr

REQUESTS = [Request(picture(i, 64, 64), picture(9, 64, 64), "s", "", i) for i in range(3)]


class Plain:
    """Gives the content back, off by so many levels when asked in the faster way."""

    def __init__(self, off: int = 0, failure: str = ""):
        self.identity = {"procedure": "plain"}
        self.off, self.failure = off, failure
        self.is_compiled, self.calls = False, 0

    def compile(self) -> None:
        self.is_compiled = True

    def make(self, request: Request, settings: Any) -> Made:
        assert not self.is_compiled, "pictures made alone are those of the slow way"
        return Made(np.clip(request.content, 40, 200))

    def make_many(self, requests: Sequence[Request], settings: Any) -> list[Made]:
        self.calls += 1
        if self.failure and self.is_compiled:
            raise RuntimeError(self.failure)
        return [Made(np.clip(one.content, 40, 200) + np.uint8(self.off)) for one in requests]


def test_it_is_told_how_far_the_first_ones_are(capsys: pytest.CaptureFixture[str]) -> None:
    """A difference of one level everywhere is 20 log10(255) dB."""
    teacher = Plain(off=1)
    faster = Faster(teacher, compiled=True)
    assert len(faster.make_many(REQUESTS, None)) == 3
    assert capsys.readouterr().err == (
        "compiled and 3 at a time: at least 48.1 dB from pictures made alone\n"
    )
    made = faster.make(REQUESTS[1], None)
    np.testing.assert_array_equal(made.pixels, np.clip(REQUESTS[1].content, 40, 200) + 1)
    assert teacher.calls == 2
    assert capsys.readouterr().err == ""


def test_what_is_too_far_is_refused() -> None:
    with pytest.raises(UserError, match=r"3 at a time, pictures are 22\.1 dB .* leave --batch_s"):
        Faster(Plain(off=20), compiled=False).make_many(REQUESTS, None)
    with pytest.raises(UserError, match=r"compiled, pictures are .* leave --compile or --batch"):
        Faster(Plain(off=20), compiled=True).make(REQUESTS[0], None)


def test_a_compiler_that_fails_is_one_line() -> None:
    teacher = Plain(failure="no C++ compiler\nin any folder")
    with pytest.raises(UserError, match=r"--compile failed \(no C\+\+ compiler\): leave it away"):
        Faster(teacher, compiled=True).make(REQUESTS[0], None)


def test_psnr() -> None:
    black = np.zeros((8, 8, 3), np.uint8)
    assert psnr(black, black) == float("inf")
    assert psnr(black, black + 255) == 0
    assert psnr(black, black + 16) == pytest.approx(20 * np.log10(255 / 16))
