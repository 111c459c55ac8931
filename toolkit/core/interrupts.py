"""Ctrl-C where it does no harm: between two steps, and once.

Python raises KeyboardInterrupt after any bytecode of the main thread, also after the one that took
a lock of `concurrent.futures` and before the one that would give it back; whoever waits for that
lock then waits for ever.
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class OneInterrupt:
    """While it is entered, the first interrupt raises KeyboardInterrupt and further ones nothing,
    so that they cannot break the clean-up after the first. Does nothing outside of the main thread,
    where Python takes no handlers, and where interrupts are ignored already."""

    def __init__(self) -> None:
        self._is_held = False
        self._came = False

    @contextmanager
    def caught(self) -> Iterator["OneInterrupt"]:
        """Takes interrupts on; gives them back to whoever had them at the end."""
        before = signal.getsignal(signal.SIGINT)
        is_main = threading.current_thread() is threading.main_thread()
        if not is_main or before is signal.SIG_IGN:
            yield self
            return
        signal.signal(signal.SIGINT, self._note)
        try:
            yield self
        finally:
            signal.signal(signal.SIGINT, before)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Lets an interrupt wait for the end of the block, which has to be short."""
        self._is_held = True
        try:
            yield
        finally:
            self._is_held = False
        if self._came:
            raise KeyboardInterrupt

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self._came:
            return
        self._came = True
        if not self._is_held:
            raise KeyboardInterrupt
