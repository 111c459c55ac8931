"""What may be typed behind `python -m`: every command of this program, its flags and their values.

Commands are asked themselves, by `--help=json`: this package stands below most of them.
"""

import contextlib
import io
import json
import runpy
import sys
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOMS = ("toolkit", "train", "eval")
_LONGEST = 78  # characters of help
_DATASETS = frozenset({"dataset", "datasets", "main", "data.main", "contents", "styles", "pool"})
_RUNS = frozenset({"run", "init_from"})


@dataclass(frozen=True)
class Flag:
    """values: those that are known; live: what is looked up while typing, datasets or runs, "" for
    nothing; takes_path: a file or folder; several: values with commas between them."""

    name: str
    help: str
    values: tuple[str, ...] = ()
    live: str = ""
    is_switch: bool = False
    takes_path: bool = False
    several: bool = False


@dataclass(frozen=True)
class Entry:
    """What may follow some words. words: module, and perhaps sub-command, method or source; nexts:
    words that may come next, with their help; positional: what may stand there besides."""

    words: tuple[str, ...]
    help: str
    nexts: tuple[tuple[str, str], ...]
    positional: tuple[Flag, ...]
    flags: tuple[Flag, ...]

    @property
    def key(self) -> str:
        """The words as one text."""
        return " ".join(self.words)


def modules() -> list[str]:
    """Commands, found by file: those that call `run` when they are started."""
    root = Path(__file__).resolve().parents[2]
    found = []
    for room in ROOMS:
        files = [*(root / room).glob("*.py"), *(root / room).glob("*/__main__.py")]
        for path in files:
            text = path.read_text("utf-8")
            if 'if __name__ == "__main__":' in text and "run(" in text:
                parts = path.relative_to(root).with_suffix("").parts
                found.append(".".join(part for part in parts if part != "__main__"))
    return sorted(found)


def entries() -> list[Entry]:
    """All of them, in the order of their words."""
    return sorted(
        (entry for module in modules() for entry in of_module(module)), key=lambda e: e.words
    )


def of_module(module: str) -> Iterator[Entry]:
    """A command, its sub-commands, and what it takes behind each value of its first argument that
    changes that, as a method does."""
    facts = described(module)
    yield from _parts((module,), facts)
    first = next((p for p in facts["parameters"] if p["positional"]), None)
    for value in first["values"] if first else ():
        theirs = described(module, value)
        if theirs["parameters"] != facts["parameters"]:
            yield from _parts((module, value), {**theirs, "commands": {}, "given": 1})


def described(module: str, *words: str) -> dict[str, Any]:
    """What a command says of itself."""
    before, out = sys.argv, io.StringIO()
    sys.argv = [module, *words, "--help=json"]
    try:
        with (
            contextlib.redirect_stdout(out), contextlib.suppress(SystemExit),
            warnings.catch_warnings(),
        ):  # fmt: skip
            # of a module that another command has imported before
            warnings.simplefilter("ignore", RuntimeWarning)
            runpy.run_module(module, run_name="__main__", alter_sys=True)
    finally:
        sys.argv = before
    found: dict[str, Any] = json.loads(out.getvalue())
    return found


def _parts(words: tuple[str, ...], facts: dict[str, Any]) -> Iterator[Entry]:
    commands = facts.get("commands", {})
    arguments = tuple(_flag(p, words) for p in facts["parameters"] if p["positional"])
    arguments = arguments[facts.get("given", 0) :]
    nexts = [(name, _short(part["summary"])) for name, part in commands.items()]
    if arguments:
        nexts += [(value, "") for value in arguments[0].values]
    flags = tuple(_flag(p, words) for p in facts["parameters"])
    yield Entry(words, _short(facts["summary"]), tuple(nexts), arguments, flags)
    for name, part in commands.items():
        yield from _parts((*words, name), {"parameters": [], **part})


def _flag(parameter: dict[str, Any], words: tuple[str, ...]) -> Flag:
    name = parameter["name"]
    live = "datasets" if name in _DATASETS else "runs" if name in _RUNS else ""
    if name in ("first", "second"):
        live = "names" if words[0].startswith("eval.") else "datasets"
    return Flag(
        name, _short(parameter["help"]), tuple(parameter["values"]), live,
        parameter["kind"] == "switch", parameter["kind"] == "path", parameter["several"],
    )  # fmt: skip


def _short(text: str) -> str:
    line = " ".join(text.split())
    sentence = line.split(". ")[0].rstrip(".")
    return sentence if len(sentence) <= _LONGEST else sentence[: _LONGEST - 1] + "…"
