"""The script for fish, from version 3.0 on."""

from collections.abc import Sequence
from pathlib import Path

from toolkit.completing.commands import Entry
from toolkit.completing.data import all_flags, shown, values_of


def script(entries: Sequence[Entry]) -> str:
    """What `~/.config/fish/completions` or `config.fish` takes."""
    roots = [entry for entry in entries if len(entry.words) == 1]
    return "\n".join([
        "# fish completion of Tessera, made by python -m toolkit.completion fish",
        f"set -g __tessera_modules {' '.join(_quoted(entry.key) for entry in roots)}",
        f"set -g __tessera_keys {' '.join(_quoted(entry.key) for entry in entries)}",
        _lines("__tessera_described", [("", [(e.key, e.help) for e in roots])]),
        _lines("__tessera_flags", [
            (entry.key, [(shown(flag), flag.help) for flag in all_flags(entry)])
            for entry in entries
        ]),
        _lines("__tessera_nexts", [(e.key, list(e.nexts)) for e in entries if e.nexts]),
        _values(entries),
        Path(__file__).with_name("tessera.fish").read_text("utf-8"),
    ])  # fmt: skip


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _lines(name: str, rows: Sequence[tuple[str, Sequence[tuple[str, str]]]]) -> str:
    """A function that prints, for a key, words with their help behind a tab."""
    out = [f"function {name}", '    switch "$argv[1]"']
    for key, answers in rows:
        told = " ".join(_quoted(f"{word}\t{text}" if text else word) for word, text in answers)
        out += [f"        case {_quoted(key)}", f"            printf '%s\\n' {told}"]
    return "\n".join([*out, "    end", "end"])


def _values(entries: Sequence[Entry]) -> str:
    out = ["function __tessera_values", '    switch "$argv[1]"']
    for answer, keys in values_of(entries):
        out += [
            f"        case {' '.join(map(_quoted, keys))}",
            f"            echo {_quoted(answer)}",
        ]
    return "\n".join([*out, "    end", "end"])
