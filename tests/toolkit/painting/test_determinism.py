"""The same bytes everywhere: with other CPU features, in other processes, and as recorded."""

import hashlib
import io
import os
import subprocess
import sys
import tokenize
from pathlib import Path

import numpy as np
import pytest

_ROOT = Path(__file__).parents[3]

# Prints the active CPU features, then one line per picture: its name and the hash of its bytes.
_PROGRAM = """
import hashlib
import numpy as np
from numpy._core import _multiarray_umath as core
from toolkit.painting import styles
from toolkit.teachers import statistics

print(*(name for name in core.__cpu_dispatch__ if core.__cpu_features__[name]))
y, x = np.mgrid[0:96, 0:120]
planes = (x * 2 + y, (x * y) // 40 + 60 * ((x // 24 + y // 20) % 2), 255 - 2 * y + (x * x) // 90)
picture = (np.stack(planes, axis=-1) % 256).astype(np.uint8)
for number, style in enumerate(styles.STYLES):
    for palette in range(4):
        rng = np.random.Generator(np.random.Philox(100 * number + palette))
        painting = style.paint(picture, rng, palette)
        print(style.name, palette, hashlib.sha256(painting.tobytes()).hexdigest())
        taught = statistics.transfer(picture, painting, palette)
        print("teacher", style.name, palette, hashlib.sha256(taught.tobytes()).hexdigest())
"""

# The hash of all the lines above except the first. It changes with every change of a renderer or
# of the teacher; a new teacher also needs a new name in `statistics.PROTOCOL`.
_RECORDED = "c344ca28f3edbe6474dfc6692ffaf2e231cc31406bc65150b82f43d53914002b"


def _run(disabled: str) -> tuple[set[str], str]:
    environment = {**os.environ, "PYTHONPATH": str(_ROOT)}
    environment.pop("NPY_DISABLE_CPU_FEATURES", None)
    if disabled:
        environment["NPY_DISABLE_CPU_FEATURES"] = disabled
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _PROGRAM],
        env=environment,
        cwd=_ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    features, _, hashes = done.stdout.partition("\n")
    return set(features.split()), hashes


@pytest.fixture(scope="module")
def plain() -> tuple[set[str], str]:
    """Active CPU features and hashes of a process in which nothing is switched off."""
    return _run("")


def test_bytes_do_not_depend_on_the_vector_units(plain: tuple[set[str], str]) -> None:
    features, hashes = plain
    assert len(hashes.splitlines()) == 40
    if not features:
        pytest.skip("numpy found no CPU feature that could be switched off")
    left, other = _run(" ".join(sorted(features)))
    assert not left
    assert other == hashes


def test_bytes_are_the_recorded_ones(plain: tuple[set[str], str]) -> None:
    assert hashlib.sha256(plain[1].encode()).hexdigest() == _RECORDED


def test_all_pictures_differ(plain: tuple[set[str], str]) -> None:
    hashes = [line.split()[-1] for line in plain[1].splitlines()]
    assert len(set(hashes)) == len(hashes)


def test_renderers_hold_no_floats() -> None:
    """No float type, float literal or true division stands on the byte path."""
    folder = _ROOT / "toolkit"
    files = [folder / "painting" / f"{name}.py" for name in (
        "integer", "marks", "strokes", "points", "facets", "flat", "hatching",
    )]  # fmt: skip
    for file in [*files, folder / "teachers" / "statistics.py"]:
        text = file.read_text(encoding="utf-8")
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            where = f"{file.name}:{token.start[0]}"
            if token.type == tokenize.OP and not token.line.startswith("@"):
                assert token.string not in {"/", "/=", "@"}, where
            elif token.type == tokenize.NUMBER:
                assert "." not in token.string, where
            elif token.type == tokenize.NAME:
                assert "float" not in token.string, where
                assert token.string not in {"sqrt", "exp", "sin", "cos", "std", "normal"}, where


def test_integers_of_the_generator_are_the_expected_ones() -> None:
    """numpy may change a distribution's stream in a release; then the recorded hash moves too."""
    rng = np.random.Generator(np.random.Philox(7))
    assert rng.integers(0, 1000, size=4).tolist() == [268, 468, 973, 426]
    assert rng.permutation(6).tolist() == [1, 2, 0, 5, 4, 3]
