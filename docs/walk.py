"""Runs the walk-through in docs/tour.md, command by command as it stands, and takes its pictures.

    python -m docs.walk --folder=/tmp/tour --pictures=docs/pictures

Pictures are taken of what the commands leave in the folder, with a browser (Chromium). Commands run
with the interpreter of this process. A command that fails ends the walk with what it said.
"""

import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import fire

ROOT = Path(__file__).resolve().parents[1]
# Picture: the page it is taken of, and how many pixels of it, wide and high.
PAGES = {
    "paintings": ("paintings.html#side=128", 1200, 620),
    "targets": ("targets.html#side=160", 1200, 640),
    "report": ("runs/tour/report.html", 1000, 900),
    "outputs": ("outputs.html#side=128", 1200, 640),
}
SAMPLES = "runs/tour/samples"


class CommandFailed(Exception):
    """A command of the walk-through that left with another code than 0."""


def commands(page: Path) -> list[str]:
    """The commands of a page's code blocks, in order."""
    blocks = re.findall(r"^```\n(.*?)^```$", page.read_text("utf-8"), re.DOTALL | re.MULTILINE)
    lines = [line.split("  #")[0].strip() for block in blocks for line in block.splitlines()]
    return [line for line in lines if line.startswith("python -m ")]


def walk(
    page: Path, folder: Path, replaced: Mapping[str, str] | None = None
) -> Iterator[tuple[str, str, float]]:
    """Runs the commands of a page in a folder: each with what it printed, and its seconds.

    replaced: texts in commands that become others, to make them shorter.

    Raises:
        CommandFailed: with what the command said.
    """
    for line in commands(page):
        typed = line
        for old, new in (replaced or {}).items():
            typed = typed.replace(old, new)
        start = time.monotonic()
        done = subprocess.run(
            [sys.executable, *shlex.split(typed)[1:]],
            cwd=folder, capture_output=True, text=True, check=False,
            env={**os.environ, "PYTHONPATH": os.environ.get("PYTHONPATH", str(ROOT))},
        )  # fmt: skip
        if done.returncode:
            raise CommandFailed(f"{typed}\n{done.stdout}\n{done.stderr}")
        yield line, done.stdout, time.monotonic() - start


@contextmanager
def browser() -> Iterator[Any]:
    """A Chromium without a window: the system's, or playwright's own."""
    import shutil

    from playwright.sync_api import sync_playwright

    flags = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as start:
        found = start.chromium.launch(executable_path=shutil.which("chromium"), args=flags)
        yield found
        found.close()


def take_pictures(folder: Path, out: Path) -> list[Path]:
    """Pictures of what the walk left in a folder, as JPEG; returns their paths."""
    from PIL import Image

    out.mkdir(parents=True, exist_ok=True)
    taken = []
    with browser() as open_browser:
        for name, (page, width, height) in PAGES.items():
            tab = open_browser.new_page(viewport={"width": width, "height": height})
            file, _, view = page.partition("#")
            tab.goto(f"{(folder / file).resolve().as_uri()}#{view}")
            tab.wait_for_function("() => [...document.querySelectorAll('img[src]')]"
                                  ".every(i => i.complete)")  # fmt: skip
            tab.wait_for_timeout(300)
            path = out / f"{name}.jpg"
            tab.screenshot(path=path, type="jpeg", quality=80)
            tab.close()
            taken.append(path)
    last = sorted((folder / SAMPLES).glob("*.png"))[-1]
    image = Image.open(last).convert("RGB")
    image.save(out / "samples.jpg", quality=88)
    return [*taken, out / "samples.jpg"]


def main(folder: str, pictures: str = "", page: str = "docs/tour.md") -> None:
    """Walks through, and prints each command with its seconds.

    Args:
        folder: where to work; made if it is not there.
        pictures: write the walk-through's pictures here.
        page: the walk-through.
    """
    place = Path(folder)
    place.mkdir(parents=True, exist_ok=True)
    for line, text, seconds in walk(Path(page), place):
        print(f"$ {line}\n{text}[{seconds:.0f} s]\n", flush=True)
    if pictures:
        for path in take_pictures(place, Path(pictures)):
            print(path)


if __name__ == "__main__":
    fire.Fire(main)
