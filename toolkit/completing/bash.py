"""The script for bash, from version 3.2 on."""

from collections.abc import Sequence
from pathlib import Path

from toolkit.completing.commands import Entry
from toolkit.completing.data import all_flags, cases, quoted, shown, values_of


def script(entries: Sequence[Entry]) -> str:
    """What `~/.bashrc` takes."""
    modules = " ".join(entry.key for entry in entries if len(entry.words) == 1)
    keys = "|".join(entry.key for entry in entries)
    flags = cases((entry.key, " ".join(map(shown, all_flags(entry)))) for entry in entries)
    nexts = cases((entry.key, " ".join(name for name, _ in entry.nexts)) for entry in entries)
    return "\n".join([
        "# bash completion of Tessera, made by python -m toolkit.completion bash",
        f"__tessera_modules={quoted(modules)}",
        f"__tessera_keys={quoted(f'|{keys}|')}",
        _function("__tessera_flags", flags),
        _function("__tessera_nexts", nexts),
        _function("__tessera_values", values_of(entries)),
        Path(__file__).with_name("tessera.bash").read_text("utf-8"),
    ])  # fmt: skip


def _function(name: str, rows: list[tuple[str, list[str]]]) -> str:
    """Sets __tessera_found to what belongs to a key; nothing for others."""
    lines = [f"{name}() {{", "    case $1 in"]
    lines += [
        f"        {'|'.join(map(quoted, keys))}) __tessera_found={quoted(answer)} ;;"
        for answer, keys in rows
    ]
    return "\n".join([*lines, "        *) __tessera_found= ;;", "    esac", "}"])
