"""Python and the packages that pyproject.toml asks for, without importing any of them."""

import importlib.metadata
import importlib.util
import re
import sys
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from toolkit.checkup.finding import Finding

NAME = "tessera-style"
OPTIONAL = {
    "ray": ("--engine=ray", "pip install ray"),
    "wandb": ("train.run --wandb", "pip install wandb"),
    "bitsandbytes": ("train.run --optimizer=adamw8bit, on a GPU", "pip install bitsandbytes"),
}
"""Packages that one flag asks for: which, and what gets them."""


class Wanted(NamedTuple):
    """A package as it is asked for. least: its lowest version, "" for any."""

    package: str
    least: str


def look_at_python(asked: str = "") -> Iterator[Finding]:
    """The interpreter. asked: as pyproject.toml does, `>=3.11`; read from there otherwise."""
    least = (asked or requirements()[0]).lstrip(">= ")
    found = ".".join(map(str, sys.version_info[:3]))
    is_fine = is_at_least(found, least)
    yield Finding(
        "python", "Python", "ok" if is_fine else "broken",
        f"{found} at {sys.executable}, {least} or newer is needed",
        "" if is_fine else f"make setup PYTHON=/path/to/python{least}",
    )  # fmt: skip


def look_at_packages(wanted: Sequence[Wanted] | None = None) -> Iterator[Finding]:
    """Each dependency: installed and new enough. wanted: those of pyproject.toml otherwise."""
    for package, least in requirements()[1] if wanted is None else wanted:
        asked = f"{package}>={least}" if least else package
        mend = f"pip install '{asked}'"
        try:
            found = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            yield Finding("packages", package, "broken", f"not installed, needed: {asked}", mend)
            continue
        is_fine = not least or is_at_least(found, least)
        told = found if is_fine else f"{found} is older than {least}"
        yield Finding(
            "packages", package, "ok" if is_fine else "broken", told, "" if is_fine else mend
        )


def look_at_optional() -> Iterator[Finding]:
    """Packages that one flag asks for."""
    for package, (flag, mend) in OPTIONAL.items():
        if importlib.util.find_spec(package) is None:
            yield Finding("optional", package, "missing", f"only for {flag}", mend)
        else:
            found = importlib.metadata.version(package)
            yield Finding("optional", package, "ok", f"{found}, for {flag}")


def requirements() -> tuple[str, list[Wanted]]:
    """The Python and the packages that are needed: of the pyproject.toml that lies beside this
    program, or of what was installed."""
    path = Path(__file__).resolve().parents[2] / "pyproject.toml"
    if path.is_file():
        project = tomllib.loads(path.read_text("utf-8"))["project"]
        if project["name"] == NAME:
            return project["requires-python"], [wanted_of(text) for text in project["dependencies"]]
    found = importlib.metadata.metadata(NAME)
    lines = [line for line in found.get_all("Requires-Dist") or [] if "extra ==" not in line]
    return found["Requires-Python"], [wanted_of(line) for line in lines]


def wanted_of(text: str) -> Wanted:
    """A requirement as `torch>=2.6`."""
    package = re.match(r"[A-Za-z0-9._-]+", text)
    least = re.search(r">=\s*([0-9.]+)", text)
    return Wanted(package[0] if package else text, least[1] if least else "")


def is_at_least(found: str, least: str) -> bool:
    """Whether a version is not below another: their first numbers, as 2.10.0 of 2.10.0+cu126."""
    one, other = (_numbers(text) for text in (found, least))
    width = max(len(one), len(other))
    return one + [0] * (width - len(one)) >= other + [0] * (width - len(other))


def _numbers(version: str) -> list[int]:
    match = re.match(r"[0-9]+(\.[0-9]+)*", version)
    return [int(part) for part in match[0].split(".")] if match else []
