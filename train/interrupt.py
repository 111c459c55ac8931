"""Ctrl-C and SIGTERM: the step is finished, a checkpoint written, and the run ends."""

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

from toolkit.core.log import warn

NAMES = {signal.SIGINT: "Ctrl-C", signal.SIGTERM: "SIGTERM"}


class Interrupts:
    """Notes the first signal while it is entered; a second one stops at once.

    `received` is the signal, None before one came. Outside of the main thread, where Python takes
    no handlers, nothing is noted. is_told: whether the user is told; of several processes that get
    the same signal, one tells.
    """

    def __init__(self, is_told: bool = True) -> None:
        self._is_told = is_told
        self.received: int | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "Interrupts":
        if threading.current_thread() is threading.main_thread():
            for number in NAMES:
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.received is not None:
            raise KeyboardInterrupt("--resume goes on from the last checkpoint")
        self.received = number
        if not self._is_told:
            return
        again = ", once more stops at once" if number == signal.SIGINT else ""
        warn(f"{NAMES[signal.Signals(number)]}: finishing this step, then a checkpoint{again}")


def exit_code(number: int) -> int:
    """What a program leaves with that a signal ended: 130 for Ctrl-C, 143 for SIGTERM."""
    return 128 + number
