"""The lock of a card: one large model at a time, in one process and in two."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from toolkit.core.errors import UserError
from toolkit.encoders.alone import alone_on, held_card

PROGRAM = (
    "import sys; from toolkit.encoders.alone import held_card\n"
    "with held_card(sys.argv[1], 'GPU 3', 'sdxl_ip_adapter'):\n"
    "    print('held', flush=True); sys.stdin.readline()"
)


@pytest.fixture
def card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An identity whose lock lies in a folder of the test's own."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    return "uuid-of-a-card"


def test_one_process_never_holds_a_card_twice(card: str) -> None:
    with (
        held_card(card, "GPU 0", "sdxl_ip_adapter"),
        pytest.raises(
            UserError, match=rf"GPU 0 is held by sdxl_ip_adapter \(process {os.getpid()}\)"
        ),
        held_card(card, "GPU 0", "style_adapter"),
    ):
        pass
    with held_card(card, "GPU 0", "style_adapter"), held_card("another", "GPU 1", "sdxl"):
        pass


def test_a_second_process_is_refused_until_the_first_ends(card: str) -> None:
    other = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, card], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    assert other.stdout
    assert other.stdout.readline() == "held\n"
    with (
        pytest.raises(UserError, match=rf"process {other.pid}\): wait for it, or choose another"),
        held_card(card, "GPU 3", "style_adapter"),
    ):
        pass
    other.kill()  # however it ends
    other.wait()
    with held_card(card, "GPU 3", "style_adapter"):
        pass


def test_a_cpu_is_not_held(card: str, tmp_path: Path) -> None:
    with alone_on(torch.device("cpu"), "a"), alone_on(torch.device("cpu"), "b"):
        assert not list(tmp_path.glob("tessera-card-*"))
