"""The script for zsh, from version 5.0 on."""

from collections.abc import Sequence
from pathlib import Path

from toolkit.completing.commands import Entry
from toolkit.completing.data import all_flags, quoted, shown, values_of


def script(entries: Sequence[Entry]) -> str:
    """What `~/.zshrc` takes."""
    roots = [entry for entry in entries if len(entry.words) == 1]
    return "\n".join([
        "# zsh completion of Tessera, made by python -m toolkit.completion zsh",
        _array("__tessera_modules", [entry.key for entry in roots]),
        _array("__tessera_described", [_pair(entry.key, entry.help) for entry in roots]),
        _array("__tessera_keys", [entry.key for entry in entries]),
        _function("__tessera_flags", [
            (entry.key, [_pair(shown(flag), flag.help) for flag in all_flags(entry)])
            for entry in entries
        ]),
        _function("__tessera_nexts", [
            (entry.key, [_pair(*one) for one in entry.nexts]) for entry in entries if entry.nexts
        ]),
        _values(entries),
        Path(__file__).with_name("tessera.zsh").read_text("utf-8"),
    ])  # fmt: skip


def _pair(word: str, text: str) -> str:
    """As `_describe` takes them: the word, a colon, its help. A colon of the word is escaped."""
    return f"{word.replace(':', chr(92) + ':')}:{text or word}"


def _array(name: str, values: Sequence[str]) -> str:
    return f"typeset -ga {name}=({' '.join(map(quoted, values))})"


def _function(name: str, rows: Sequence[tuple[str, Sequence[str]]]) -> str:
    """Sets __tessera_pairs to what belongs to a key."""
    lines = [f"{name}() {{", "    case $1 in"]
    lines += [
        f"        {quoted(key)}) __tessera_pairs=({' '.join(map(quoted, answer))}) ;;"
        for key, answer in rows
    ]
    return "\n".join([*lines, "        *) __tessera_pairs=() ;;", "    esac", "}"])


def _values(entries: Sequence[Entry]) -> str:
    lines = ["__tessera_values() {", "    case $1 in"]
    lines += [
        f"        {'|'.join(map(quoted, keys))}) __tessera_found={quoted(answer)} ;;"
        for answer, keys in values_of(entries)
    ]
    return "\n".join([*lines, "        *) __tessera_found= ;;", "    esac", "}"])
