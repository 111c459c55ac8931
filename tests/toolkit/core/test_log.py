"""What is said on stderr: in each mode, to a pipe and to a terminal, by real processes."""

import datetime
import json
import os
import pty
import subprocess
import sys
import termios
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.conftest import Call
from toolkit.core import log
from toolkit.core.errors import UserError
from toolkit.core.progress import Progress

ROOT = Path(__file__).resolve().parents[3]
PROGRAM = '''
"""A command.

python -m it
"""
import warnings
from typing import Literal
from toolkit.core import log
from toolkit.core.command import run
from toolkit.core.errors import UserError
from toolkit.core.progress import Progress
from toolkit.core.show import show

def main(*, fail: bool = False) -> None:
    """Says all that there is to say."""
    log.note("a note", number=3)
    log.warn("a warning")
    warnings.warn("of a library")
    with Progress(4, "work", "pictures", every_s=0.0) as progress:
        for _ in range(4):
            progress.advance(note="loss 1")
    show(["name", "count"], [["a", 1]])
    if fail:
        raise UserError("a mistake")

run(main, "it")
'''


def say(
    *args: str, env: Mapping[str, str] | None = None, terminal: bool = False
) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of the program above; on a terminal stdout has both."""
    clean = {k: v for k, v in os.environ.items() if k not in (log.VARIABLE, "NO_COLOR")}
    own = {**clean, "PYTHONPATH": str(ROOT), "TERM": "xterm", **(env or {})}
    command = [sys.executable, "-c", PROGRAM, *args]
    if not terminal:
        done = subprocess.run(command, env=own, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout, done.stderr
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 140))
    with subprocess.Popen(command, env=own, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        text = b""
        while True:
            try:
                part = os.read(ours, 65536)
            except OSError:  # of a terminal whose other end is closed
                break
            if not part:
                break
            text += part
    os.close(ours)
    return process.returncode, text.decode(), ""


def test_in_json_every_line_is_an_object_and_the_result_is_the_same() -> None:
    code, out, err = say("--fail", "--log=json")
    lines = [json.loads(line) for line in err.splitlines()]
    assert code == 2
    assert out == say("--fail")[1]
    levels = [line["level"] for line in lines]
    assert levels == ["note", "warning", "warning", *["progress"] * 5, "error"]
    assert lines[0]["message"] == "a note"
    assert lines[0]["number"] == 3
    assert "of a library" in lines[2]["message"]
    progress = lines[-2]
    assert (progress["message"], progress["done"], progress["total"]) == ("work", 4, 4)
    assert (progress["unit"], progress["note"]) == ("pictures", "loss 1")
    assert progress["rate"] > 0
    assert (lines[-1]["message"], lines[-1]["exit_code"]) == ("a mistake", 2)
    for line in lines:
        assert datetime.datetime.fromisoformat(line["time"]).tzinfo is not None


def test_quiet_says_what_is_wrong_and_nothing_else() -> None:
    code, out, err = say("--quiet", "--fail")
    assert code == 2
    assert out == say("--fail")[1]
    assert [line for line in err.splitlines() if "library" not in line and "<string>" not in line
            ] == ["a warning", "error: a mistake"]  # fmt: skip


@pytest.mark.parametrize("flags", [["--log=quiet"], ["--log", "quiet"], ["--quiet"]])
def test_flags_go_before_the_variable(flags: list[str]) -> None:
    assert "a note" not in say(*flags, env={log.VARIABLE: "plain"})[2]
    assert "a note" in say("--log=plain", env={log.VARIABLE: "quiet"})[2]
    assert "a note" not in say(env={log.VARIABLE: "quiet"})[2]


def test_a_pipe_gets_no_colours_unless_they_are_asked_for() -> None:
    _, out, err = say("--fail")
    assert "\x1b" not in out + err
    _, out, err = say("--fail", "--log=colour")
    assert "\x1b[31;1merror:\x1b[0m a mistake" in err
    assert "\x1b[33ma warning\x1b[0m" in err
    assert "\x1b" not in out


def test_a_terminal_gets_colours_and_a_bar() -> None:
    _, text, _ = say("--fail", terminal=True)
    assert "\x1b[31;1merror:\x1b[0m a mistake" in text
    assert "\x1b[2mname  count\x1b[0m" in text
    assert "work: 100%" in text


@pytest.mark.parametrize(
    ("args", "env"),
    [((), {"NO_COLOR": "1"}), ((), {"TERM": "dumb"}), (("--log=plain",), {})],
)  # fmt: skip
def test_a_terminal_without_colours(args: tuple[str, ...], env: dict[str, str]) -> None:
    _, text, _ = say("--fail", *args, env=env, terminal=True)
    assert "\x1b[31" not in text
    assert "\x1b[2m" not in text
    assert "error: a mistake" in text
    assert ("work: 4/4 pictures" in text) == bool(args)


def test_no_color_gives_way_to_a_flag() -> None:
    assert "\x1b[31;1m" in say("--fail", "--log=colour", env={"NO_COLOR": "1"})[2]


def test_a_mode_that_is_none_is_refused(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    def main() -> None:
        """Nothing."""

    assert "did you mean json?" in call(main, "--log=jsn").refusal()
    monkeypatch.setenv(log.VARIABLE, "loud")
    assert call(main).refusal().startswith("error: TESSERA_LOG=loud: choose one of quiet, plain")


def test_a_mode_ends_with_its_command(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    def main() -> None:
        """Says something."""
        log.note("here")

    monkeypatch.delenv(log.VARIABLE, raising=False)
    assert call(main, "--quiet").err == ""
    assert call(main).err == "here\n"
    with pytest.raises(UserError, match="stops"), log.speaking("json"):
        raise UserError("stops")
    assert log.VARIABLE not in os.environ


def test_progress_of_failed_work_is_silent_in_json(capsys: pytest.CaptureFixture[str]) -> None:
    def fail() -> None:
        with Progress(5, "broken") as progress:
            progress.advance(2)
            raise ValueError("stop")

    with log.speaking("json"), pytest.raises(ValueError, match="stop"):
        fail()
    assert capsys.readouterr().err == ""


def test_each_command_tells_of_the_modes(run_command) -> None:
    assert "--quiet, --log=MODE" in run_command("toolkit.inspect", "ls", "--help").stdout
