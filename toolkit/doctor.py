"""Looks whether everything that Tessera needs is there and works, and tells what mends the rest.

python -m toolkit.doctor
python -m toolkit.doctor --format=json
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from toolkit.checkup import data, libraries, machine, packages
from toolkit.checkup.finding import COLOURS, FIELDS, Finding, guarded
from toolkit.checkup.probe import try_out
from toolkit.core import log
from toolkit.core.command import run
from toolkit.core.show import show
from toolkit.store.layout import Layout, local_layout
from toolkit.store.range_cache import cache_folder

_WIDTH = 28  # of what was looked at, in a table


def main(
    *,
    format: Literal["table", "json", "csv"] = "table",
    runs: Path = Path("runs"),
    shards: Path = Path("shards"),
    manifests: Path = Path("manifests"),
) -> None:
    """Looks at Python, packages, compiled libraries, GPUs, machine, disks, weights and packed data.

    Nothing is changed, downloaded or asked for elsewhere. Libraries are tried in a process of their
    own, so a broken one is told and not fatal. Each line is ok; missing, for what only some uses
    need; warning; or broken. Leaves with exit code 1 if anything is broken.

    Args:
        format: table, for people; json or csv.
        runs: folder of all runs.
        shards: folder of the tars.
        manifests: folder of the manifests.
    """
    layout = local_layout(shards, manifests)
    found: list[Finding] = []
    for finding in _findings(layout, runs):
        if format == "table":
            _tell(finding, found[-1].part if found else "")
        found.append(finding)
    if format != "table":
        show(FIELDS, [finding.values() for finding in found], format)
    counts = {state: sum(one.state == state for one in found) for state in COLOURS}
    if format == "table":
        print(f"\n{', '.join(f'{count} {state}' for state, count in counts.items())}")
        if counts["missing"]:
            print("what is missing is needed only for what is named beside it")
    if counts["broken"]:
        raise SystemExit(1)


def _findings(layout: Layout, runs: Path) -> Iterator[Finding]:
    """All of them, each as soon as it is known."""
    yield from guarded("python", packages.look_at_python)
    yield from guarded("packages", packages.look_at_packages)
    if log.mode() == "colour":
        log.hint("trying libraries, which takes some seconds")
    probed = try_out()
    yield from guarded("libraries", lambda: libraries.look_at_libraries(probed))
    yield from guarded("gpu", lambda: libraries.look_at_gpus(probed))
    yield from guarded("machine", machine.look_at_machine)
    places = {
        "shards": layout.shards, "manifests": layout.manifests, "runs": runs,
        "hub cache": machine.hub_cache(), "TESSERA_CACHE": cache_folder(),
    }  # fmt: skip
    yield from guarded("disk", lambda: machine.look_at_disks(places))
    yield from guarded("data", lambda: data.look_at_data(layout))
    yield from guarded("weights", lambda: libraries.look_at_weights(probed))
    yield from guarded("optional", packages.look_at_optional)


def _tell(finding: Finding, before: str) -> None:
    if finding.part != before:
        print(("\n" if before else "") + log.paint(finding.part, "dim", sys.stdout))
    state = log.paint(f"{finding.state:<8}", COLOURS[finding.state], sys.stdout)
    print(f"  {state} {finding.what:<{_WIDTH}} {finding.found}", flush=True)
    if finding.mend:
        print(f"  {'':<8} {'':<{_WIDTH}} → {finding.mend}", flush=True)


if __name__ == "__main__":
    run(main, "python -m toolkit.doctor")
