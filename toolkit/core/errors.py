"""Errors that a user can cause and can mend.

A `UserError` carries one line that names the thing at fault and says what to do. Commands print
it on stderr and leave with exit code 2 (`toolkit.core.command`); every other exception is a bug of
the program and keeps its traceback.
"""


class UserError(Exception):
    """One line for the person at the keyboard: what is wrong and what to do about it."""

    exit_code = 2


class OutOfMemory(UserError):
    """Work that stopped in good order before memory ran out. What it did is kept."""

    exit_code = 75  # EX_TEMPFAIL: the same may succeed later


def one_line(text: object, limit: int = 300) -> str:
    """Squeezes white space of any message into one line of at most `limit` characters."""
    line = " ".join(str(text).split())
    return line if len(line) <= limit else line[: limit - 1] + "…"
