"""Progress of long work: a bar on a terminal, a plain line every few seconds otherwise, or what
`--log` asks for (`toolkit.core.log`)."""

import os
import sys
import time
from types import TracebackType
from typing import Any

from toolkit.core.log import progress, shows_bars

_WIDE = 130  # columns that hold a bar beside everything else
_NO_BAR = "{desc}: {n_fmt}/{total_fmt} [{elapsed}<{remaining}, {rate_fmt}{postfix}]"


class Progress:
    """Counts `total` units of work and shows where it stands, on stderr.

    Args:
        total: how many units there are; None when unknown.
        label: what is being done.
        unit: the name of one unit.
        every_s: seconds between two lines where there is no bar.
        done: units that were finished before, in an earlier run.
        is_shown: whether anything is; of several processes, one shows what all do.
    """

    def __init__(
        self,
        total: int | None,
        label: str,
        unit: str = "it",
        every_s: float = 10.0,
        done: int = 0,
        is_shown: bool = True,
    ):
        self._is_shown = is_shown
        self.total, self.label, self.unit, self.every_s = total, label, unit, every_s
        self.count, self.note = done, ""
        self._done = done
        self._start = self._last = time.monotonic()
        self._bar: Any = None

    def __enter__(self) -> "Progress":
        if self._is_shown and shows_bars():
            from tqdm import tqdm

            width = os.get_terminal_size(sys.stderr.fileno()).columns or 80  # some do not tell
            self._bar = tqdm(
                total=self.total, desc=self.label, unit=self.unit, initial=self._done, ncols=width,
                bar_format=None if width >= _WIDE or not self.total else _NO_BAR,
            )  # fmt: skip
        return self

    def advance(self, amount: int = 1, note: str = "") -> None:
        """Adds `amount` finished units; `note` is shown behind the figures."""
        self.count += amount
        self.note = note
        if self._bar is not None:
            if note:
                self._bar.set_postfix_str(note, refresh=False)
            self._bar.update(amount)
            return
        now = time.monotonic()
        if self._is_shown and now - self._last >= self.every_s:
            self._last = now
            self._tell(now)

    def _tell(self, now: float) -> None:
        facts: dict[str, Any] = {"done": self.count, "total": self.total, "unit": self.unit}
        if self.note:
            facts["note"] = self.note
        progress(self.label, self._line(now), **facts, rate=round(self._rate(now), 3))

    def _rate(self, now: float) -> float:
        """Units a second, of those that this process finished."""
        spent = now - self._start
        return (self.count - self._done) / spent if spent > 0 else 0.0

    def _line(self, now: float) -> str:
        rate = self._rate(now)
        line = f"{self.label}: {self.count}"
        if self.total:
            left = (self.total - self.count) / rate if rate else 0.0
            line += f"/{self.total} {self.unit}, {rate:.1f}/s, {left:.0f} s left"
        return f"{line} {self.note}".rstrip()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.close()
        elif self._is_shown and kind is None and self.count > self._done:
            self._tell(time.monotonic())
