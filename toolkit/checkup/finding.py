"""What was found of one thing, and what mends it."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from toolkit.core.errors import one_line
from toolkit.core.log import Colour

State = Literal["ok", "missing", "warning", "broken"]
COLOURS: dict[State, Colour] = {
    "ok": "green", "missing": "dim", "warning": "yellow", "broken": "red",
}  # fmt: skip


@dataclass(frozen=True)
class Finding:
    """part: of the check; what: was looked at; state: ok, missing (not needed for everything),
    warning (may trip somebody), broken (needed, and does not work); found: what it is; mend: the
    command, or the setting, that changes it, where it is not ok."""

    part: str
    what: str
    state: State
    found: str
    mend: str = ""

    def values(self) -> tuple[str, ...]:
        """Its fields, as `FIELDS` names them."""
        return (self.part, self.what, self.state, self.found, self.mend)


FIELDS = ("part", "what", "state", "found", "mend")


def guarded(part: str, look: Callable[[], Iterable[Finding]]) -> Iterator[Finding]:
    """What a look finds; one that fails itself is a finding too, so that the others go on."""
    try:
        yield from look()
    except Exception as error:  # a broken environment fails in any way
        yield Finding(part, part, "broken", f"{type(error).__name__}: {one_line(error, 160)}")
