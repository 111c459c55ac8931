"""`python -m toolkit`, `train` and `eval` list their commands."""

import ast

import pytest

from tests.conftest import ROOT, RunCommand
from toolkit.completing.commands import modules
from toolkit.core.rooms import commands


@pytest.mark.parametrize("room", ["toolkit", "train", "eval"])
def test_a_room_lists_what_can_be_started(room: str, run_command: RunCommand) -> None:
    done = run_command(room)
    assert done.returncode == 0, done.stderr
    listed = [line.split()[0] for line in done.stdout.splitlines() if line.startswith("  ")]
    assert listed == [name for name in modules() if name.startswith(f"{room}.")]
    for name, text in commands(ROOT / room).items():
        path = ROOT / (name.replace(".", "/") + ".py")
        path = path if path.exists() else path.with_suffix("") / "__main__.py"
        assert (ast.get_docstring(ast.parse(path.read_text())) or "").startswith(text)
        assert text in done.stdout


@pytest.mark.parametrize(
    ("room", "word", "said"),
    [("train", "stylise", "did you mean stylize?"), ("eval", "run", "python -m eval.run")],
)
def test_a_word_is_answered_with_the_command(
    room: str, word: str, said: str, run_command: RunCommand
) -> None:
    done = run_command(room, word)
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
