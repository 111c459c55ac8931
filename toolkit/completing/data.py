"""The parts of a script that only list: words, flags and values by what was typed before."""

from collections.abc import Callable, Iterable

from toolkit.completing.commands import Entry, Flag

Quote = Callable[[str], str]
EVERYWHERE = (
    Flag("help", "what the command does, and its flags", is_switch=True),
    Flag("quiet", "says errors and warnings alone", is_switch=True),
    Flag("log", "how notes and progress are told", ("quiet", "plain", "colour", "json")),
)
"""Flags of all commands."""


def quoted(text: str) -> str:
    """A word of bash and zsh."""
    return "'" + text.replace("'", "'\\''") + "'"


def shown(flag: Flag) -> str:
    """As it is typed, up to its value."""
    return f"--{flag.name}" + ("" if flag.is_switch else "=")


def all_flags(entry: Entry) -> tuple[Flag, ...]:
    """Of an entry and of all commands; none of its own where only a sub-command can follow."""
    return (*entry.flags, *EVERYWHERE)


def sources(flag: Flag) -> str:
    """What a script asks for values of a flag: `datasets`, `runs`, `names`, `path`, or the values
    themselves with spaces between them, after `=`."""
    if flag.live:
        return flag.live
    if flag.values:
        return "=" + " ".join(flag.values)
    return "path" if flag.takes_path else ""


def cases(rows: Iterable[tuple[str, str]]) -> list[tuple[str, list[str]]]:
    """Rows of key and answer, the keys of one answer together."""
    found: dict[str, list[str]] = {}
    for key, answer in rows:
        found.setdefault(answer, []).append(key)
    return [(answer, keys) for answer, keys in found.items() if answer]


def values_of(entries: Iterable[Entry]) -> list[tuple[str, list[str]]]:
    """Answers of `sources` with their keys, `WORDS:FLAG`, or `WORDS:0` of the first argument."""
    rows = []
    for entry in entries:
        rows += [(f"{entry.key}:{flag.name}", sources(flag)) for flag in all_flags(entry)]
        rows += [
            (f"{entry.key}:{number}", sources(flag)) for number, flag in enumerate(entry.positional)
        ]
    return cases(rows)
