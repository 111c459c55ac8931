"""Freed tensors of runs that save memory go back to the system."""

import subprocess
import sys

import pytest

from tests.conftest import ROOT

SCRIPT = """
import sys, torch
from toolkit.core.memory import anonymous_bytes
from train.allocator import give_back_large_tensors
from train.settings import fresh_config

changes = dict(word.split("=") for word in sys.argv[1:])
done = give_back_large_tensors(fresh_config("style_adapter", "smoke", changes))
del (large := [torch.ones(30_000_000 // 4)])[:]  # glibc's threshold follows it
kept = [torch.ones(1_000_000) for _ in range(64)]  # 4 MB each
full = anonymous_bytes()
del kept[::2]
print(done, round((full - anonymous_bytes()) / 1e6))
"""


@pytest.mark.parametrize(
    ("flags", "freed_mb"),
    [
        (["device=cpu"], 0),
        (["device=cpu", "optim.gradient_checkpointing=true"], 128),
        (["device=cpu", "optim.gradient_accumulation_steps=4"], 128),
    ],
)
def test_what_lies_between_tensors_in_use(flags: list[str], freed_mb: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *flags],
        cwd=ROOT, capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    said, freed = done.stdout.split()
    assert said == str(freed_mb > 0)
    assert abs(int(freed) - freed_mb) < 10
