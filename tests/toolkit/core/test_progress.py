"""Progress of long work: plain lines where standard error is no terminal, silence on failure."""

import os
import subprocess
import sys
import termios

import pytest

from toolkit.core.progress import Progress


def test_a_plain_line_says_what_was_done(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress(4, "verify", "shards") as progress:
        for _ in range(4):
            progress.advance()
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("verify: 4/4 shards, ")
    assert err.count("\n") == 1


def test_lines_come_as_often_as_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress(None, "pack x", every_s=0.0) as progress:
        progress.advance(3)
        progress.advance(2, "note")
    assert capsys.readouterr().err.splitlines() == ["pack x: 3", "pack x: 5 note", "pack x: 5 note"]


def test_nothing_is_said_about_no_work_or_failed_work(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress(None, "empty"):
        pass

    def fail() -> None:
        with Progress(5, "broken") as progress:
            progress.advance(2)
            raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        fail()
    assert capsys.readouterr().err == ""


def test_a_bar_on_a_terminal() -> None:
    program = (
        "from toolkit.core.progress import Progress\n"
        "with Progress(2, 'label', 'samples') as progress: progress.advance(2, 'loss=1')"
    )
    ours, theirs = os.openpty()
    termios.tcsetwinsize(theirs, (24, 140))
    try:
        subprocess.run(
            [sys.executable, "-c", program],
            stderr=theirs,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            check=True,
        )
        text = os.read(ours, 65536).decode()
    finally:
        os.close(theirs)
        os.close(ours)
    assert "label: 100%" in text
    assert "loss=1" in text
    assert len(text.splitlines()[-1]) <= 140


@pytest.mark.parametrize("columns", [0, 80])
def test_figures_come_before_the_bar_where_there_is_no_room_for_both(columns: int) -> None:
    program = (
        "from toolkit.core.progress import Progress\n"
        "with Progress(2, 'label', 'samples') as p: p.advance(2, 'loss 1, 3 samples/s, 2 GB')"
    )
    ours, theirs = os.openpty()
    termios.tcsetwinsize(theirs, (24, columns))
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    env.pop("COLUMNS", None)
    try:
        subprocess.run([sys.executable, "-c", program], stderr=theirs, env=env, check=True)
        text = os.read(ours, 65536).decode()
    finally:
        os.close(theirs)
        os.close(ours)
    assert "label: 2/2 [" in text
    assert "loss 1, 3 sam" in text
