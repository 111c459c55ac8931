"""The cookbook's answers: asked again, compared, written down.

    python -m docs.cookbook --folder=/tmp/tour           rewrites docs/cookbook.md

The folder is one in which the tour was walked, as far as its fifth step.
"""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import fire

_RECIPE = re.compile(
    r"^```\n(python -m [^\n]*)\n```\n\n```text\n(.*?)^```$", re.DOTALL | re.MULTILINE
)


def recipes(page: Path) -> list[tuple[str, str]]:
    """Each query of a page with the answer that stands below it."""
    return _RECIPE.findall(page.read_text("utf-8"))


def answer(command: str, folder: Path) -> str:
    """What a query prints in a folder. Raises CalledProcessError."""
    return subprocess.run(
        [sys.executable, *shlex.split(command)[1:]],
        cwd=folder, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip


def main(folder: str, page: str = "docs/cookbook.md") -> None:
    """Asks every query of the page in the folder, and writes the answers into it."""
    path = Path(page)

    def asked(found: re.Match[str]) -> str:
        return f"```\n{found[1]}\n```\n\n```text\n{answer(found[1], Path(folder))}```"

    path.write_text(_RECIPE.sub(asked, path.read_text("utf-8")), "utf-8")


if __name__ == "__main__":
    fire.Fire(main)
