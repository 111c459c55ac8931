"""What commands say on stderr beside their result: notes, warnings, errors and progress.

How is said by `--log=MODE` and `--quiet` of every command, or by the environment variable
TESSERA_LOG, which processes that a command starts inherit:

    colour   colours and a progress bar: the usual one on a terminal
    plain    lines without either: the usual one elsewhere
    json     one JSON object a line
    quiet    errors and warnings alone

Results, which go to stdout, are the same in all of them, but for colours on a terminal.
"""

import contextlib
import datetime
import json
import os
import re
import sys
import warnings
from collections.abc import Iterator
from typing import Any, Literal, TextIO

from toolkit.core.errors import UserError
from toolkit.core.nearest import choices

Mode = Literal["quiet", "plain", "colour", "json"]
Colour = Literal["red", "yellow", "green", "dim"]
VARIABLE = "TESSERA_LOG"
MODES: tuple[Mode, ...] = ("quiet", "plain", "colour", "json")
_CODES = {"red": "31;1", "yellow": "33", "green": "32", "dim": "2"}


def check_mode(text: str, where: str) -> Mode:
    """The mode that a text names. Raises UserError. where: what the user wrote before it."""
    wanted = "colour" if text == "color" else text
    for known in MODES:
        if wanted == known:
            return known
    raise UserError(f"{where}={text}: {choices(text, MODES)}")


def mode() -> Mode:
    """How this process speaks."""
    if asked := os.environ.get(VARIABLE, ""):
        return check_mode(asked, VARIABLE)
    return "colour" if sys.stderr.isatty() else "plain"


def asked_mode(args: list[str]) -> Mode | None:
    """How the flags that every command takes, which are taken out of `args`, want it to speak.
    Raises UserError."""
    found: Mode | None = None
    for arg in [arg for arg in args if re.match(r"--(quiet$|log(=|$))", arg)]:
        place = args.index(arg)
        args.remove(arg)
        if arg == "--quiet":
            found = "quiet"
            continue
        text = arg.partition("=")[2]
        if arg == "--log":
            text = args.pop(place) if place < len(args) else ""
        found = check_mode(text, "--log")
    return found


@contextlib.contextmanager
def speaking(asked: Mode | None) -> Iterator[None]:
    """Inside, this process and those that it starts speak as asked for; as before where None. In
    JSON what libraries warn of is a line like others. Raises UserError for a TESSERA_LOG that is no
    mode."""
    before = os.environ.get(VARIABLE)
    if asked:
        os.environ[VARIABLE] = asked
    elif before:
        check_mode(before, VARIABLE)
    try:
        with warnings.catch_warnings() if mode() == "json" else contextlib.nullcontext():
            if mode() == "json":
                warnings.showwarning = _told_as_json
            yield
    finally:
        if before is not None:
            os.environ[VARIABLE] = before
        elif asked:
            os.environ.pop(VARIABLE, None)


def note(text: str, **facts: Any) -> None:
    """Tells what is done, or done otherwise than one may think. facts: more names and values for
    programs, which only JSON has."""
    if mode() != "quiet":
        _say("note", text, text, None, facts)


def hint(text: str) -> None:
    """Tells where a result lies, or what may follow it: secondary."""
    if mode() != "quiet":
        _say("note", text, text, "dim", {})


def warn(text: str) -> None:
    """Tells what makes a result doubtful or incomplete."""
    _say("warning", text, text, "yellow", {})


def error(text: str, exit_code: int) -> None:
    """Tells why the program ends. exit_code: what it leaves with."""
    _say("error", text, f"{paint('error:', 'red', sys.stderr)} {text}", None,
         {"exit_code": exit_code})  # fmt: skip


def progress(label: str, line: str, **facts: Any) -> None:
    """Tells where long work stands. label: what is done; line: all of it for people."""
    if mode() != "quiet":
        _say("progress", label, line, None, facts)


def shows_bars() -> bool:
    """Whether progress is a bar that is drawn again and again."""
    return mode() == "colour" and sys.stderr.isatty()


def paint(text: str, colour: Colour, stream: TextIO) -> str:
    """The text in a colour, where the stream takes colours: a terminal, and stderr whatever it is
    with --log=colour. NO_COLOR turns off what --log=colour did not turn on."""
    if not _takes_colours(stream):
        return text
    return f"\x1b[{_CODES[colour]}m{text}\x1b[0m"


def _takes_colours(stream: TextIO) -> bool:
    if asked := os.environ.get(VARIABLE, ""):
        is_wanted = check_mode(asked, VARIABLE) == "colour"
        return is_wanted and (stream is sys.stderr or stream.isatty())
    is_off = os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return stream.isatty() and not is_off


def _say(level: str, message: str, line: str, colour: Colour | None, facts: dict[str, Any]) -> None:
    if mode() == "json":
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
        told = {"time": now, "level": level, "message": message.strip(), **facts}
        print(json.dumps(told, ensure_ascii=False, default=str), file=sys.stderr, flush=True)
        return
    shown = paint(line, colour, sys.stderr) if colour else line
    print(shown, file=sys.stderr, flush=True)


def _told_as_json(
    message: Warning | str, category: type[Warning], filename: str, lineno: int,
    file: TextIO | None = None, line: str | None = None,
) -> None:  # fmt: skip
    _say("warning", f"{category.__name__}: {message}", "", None, {"file": f"{filename}:{lineno}"})
