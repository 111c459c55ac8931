"""The walk-through: known commands, two languages that say the same, a walk from a fresh clone."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from docs.cookbook import answer, recipes
from docs.walk import PAGES, commands, take_pictures, walk
from tests.browser import chromium
from tests.test_docs import check_flags
from toolkit.store.layout import Layout

ROOT = Path(__file__).resolve().parents[1]
TOUR, COOKBOOK = ROOT / "docs" / "tour.md", ROOT / "docs" / "cookbook.md"
TRANSLATED = [("README.md", "README.zh-CN.md"), ("docs/tour.md", "docs/tour.zh-CN.md")]
_FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def test_the_pages_have_what_they_promise() -> None:
    assert len(recipes(COOKBOOK)) == 10
    modules = {line.split()[2] for line in commands(TOUR)}
    wanted = "pack verify inspect query dedup pairs teach export"
    assert modules >= {f"toolkit.{name}" for name in wanted.split()}
    assert modules >= {"train.run", "train.stylize", "train.export", "eval.run", "eval.report"}


@pytest.mark.parametrize("line", [*commands(TOUR), *commands(COOKBOOK)])
def test_every_flag_is_known(line: str) -> None:
    check_flags(line)


@pytest.mark.parametrize(("original", "translated"), TRANSLATED)
def test_both_languages_say_the_same(original: str, translated: str) -> None:
    """The same commands, options, headings, tables and links, in one order."""
    first, second = ((ROOT / name).read_text("utf-8") for name in (original, translated))
    assert code(first) == code(second)
    assert spans(first) == spans(second)
    assert shape(first) == shape(second)


def code(text: str) -> list[str]:
    """Code blocks without comments."""
    found = []
    for _, block in _FENCED.findall(text):
        lines = [re.sub(r"(^|\s\s)\s*#.*", "", line).rstrip() for line in block.splitlines()]
        found.append("\n".join(line for line in lines if line))
    return found


def spans(text: str) -> set[str]:
    """Inline code."""
    prose = _FENCED.sub("", text)
    return {" ".join(found.split()) for found in re.findall(r"`([^`]+)`", prose)}


def shape(text: str) -> list[str]:
    """Levels of headings, columns of table rows, and pictures, as they come."""
    found = []
    for line in _FENCED.sub("", text).splitlines():
        if heading := re.match(r"#+(?= )", line):
            found.append(heading[0])
        elif line.startswith("|"):
            found.append(f"{line.replace('`|`', '').count('|')} bars")
        elif picture := re.match(r"!\[[^]]*\]\(([^)]+)\)", line):
            found.append(picture[1])
    return found


def test_a_translation_that_lost_an_option_is_seen() -> None:
    text = "# A\n\n`--x` and `y`\n\n```\npython -m a --b=1    # why\n```\n"
    assert code(text) == code(text.replace("why", "为什么"))
    assert code(text) != code(text.replace("--b=1", "--b=2"))
    assert spans(text) != spans(text.replace("`y`", "y"))
    assert shape(text) != shape(text.replace("# A", "## A"))


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_the_tour_from_a_fresh_clone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As it stands, in the clone itself; the cookbook behind the step that it follows; pictures."""
    clone = tmp_path / "tessera"
    subprocess.run(["git", "clone", "-q", ROOT, clone], check=True)
    monkeypatch.setenv("PYTHONPATH", str(clone))
    seen = []
    for line, text, _ in walk(clone / "docs" / "tour.md", clone):
        seen.append(line)
        if line.startswith("python -m toolkit.teach") and "--limit" not in line:
            for command, expected in recipes(COOKBOOK):
                check_answer(command, expected, answer(command, clone))
        if "--count" in line or "toolkit.query" in line:
            assert len(text.splitlines()) > 2, line
    assert seen == commands(TOUR)
    status = ["git", "status", "--porcelain"]
    assert not subprocess.run(status, cwd=clone, capture_output=True, check=True).stdout
    with chromium():  # skips where there is none
        pass
    for path in take_pictures(clone, tmp_path / "pictures"):
        assert (ROOT / "docs" / "pictures" / path.name).exists()
        assert np.asarray(Image.open(path)).std() > 20
    assert {path.stem for path in (tmp_path / "pictures").iterdir()} == {*PAGES, "samples"}


def check_answer(command: str, expected: str, found: str) -> None:
    """What a query answers is what the page shows; grades of targets, and so which ones are listed,
    may differ between kinds of processors."""
    if "targets" in command:
        assert found.splitlines()[0].split() == expected.splitlines()[0].split(), command
        assert len(found.splitlines()) > 2, command
    else:
        assert found == expected, command


def test_the_python_of_the_cookbook_runs(sample_data: Layout, tmp_path: Path) -> None:
    (block,) = (body for kind, body in _FENCED.findall(COOKBOOK.read_text()) if kind == "python")
    (tmp_path / "manifests").symlink_to(sample_data.manifests)
    done = subprocess.run(
        [sys.executable, "-c", block], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert "('Cubism', 28)" in done.stdout
