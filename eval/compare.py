"""Compares two scored runs, or folders, pair by pair.

python -m eval.compare demo other
python -m eval.compare runs/demo runs/other --format=json
"""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from toolkit.core import command
from toolkit.core.errors import UserError
from toolkit.core.nearest import or_nearest
from toolkit.core.show import show
from toolkit.store.card import root_sha256
from toolkit.store.layout import Layout, local_layout


def main(
    first: str,
    second: str,
    *,
    format: Literal["table", "json"] = "table",
    runs: Path = Path("runs"),
    shards: Path = Path("shards"),
    manifests: Path = Path("manifests"),
) -> None:
    """Says of each metric whether the second is better, worse, or inside noise.

    Pictures of the same content and style are compared with each other. A metric is compared only
    where both were measured alike: same weights, same settings.

    Args:
        first: a run's folder or name, or the name of a folder that eval.run scored.
        second: the other one.
        format: table or json.
        runs: folder of the runs.
        shards: folder of the tars.
        manifests: folder of the manifests.
    """
    from eval.paired import cells_of, clusters, differences, value_of

    layout = local_layout(shards, manifests)
    summaries = [summary_of(name, runs, layout) for name in (first, second)]
    metrics, apart = _shared(*summaries)
    names = [name for name, metric in metrics.items() if metric["kind"] == "picture"]
    cells = [cells_of(layout, summary["dataset"], names) for summary in summaries]
    better = {name: metrics[name]["better"] for name in names}
    found = differences(cells[0], cells[1], names, better)
    sets = [
        (name, *(value_of(summary, name) for summary in summaries), metric["better"])
        for name, metric in metrics.items()
        if metric["kind"] == "set"
    ]
    if format == "json":
        result = {"pairs": [asdict(one) for one in found], "sets": sets, "not_compared": apart}
        print(json.dumps(result, indent=1))
        return
    one, two = (summary["name"] for summary in summaries)
    show(
        ["metric", one, two, "difference", "95%", "p (Holm)", "pairs", f"{two} is"],
        [
            (f"{d.metric} ({d.better} is better)", f"{d.first:.4g}", f"{d.second:.4g}",
             f"{d.difference:+.3g}", f"{d.low:+.3g} … {d.high:+.3g}", f"{d.p:.3g}", str(d.pairs),
             d.verdict)
            for d in found
        ],
    )  # fmt: skip
    for role, count in clusters(cells[0], cells[1]).items():
        if count == 1:
            print(f"one {role} only: intervals and verdicts say nothing of other {role}s")
    for name, a, b, direction in sets:
        print(f"{name} ({direction} is better): {a:.4g} and {b:.4g}, of whole sets: no test of it")
    for name, why in apart.items():
        print(f"{name}: not compared, {why}")


def summary_of(name: str, runs: Path, layout: Layout) -> dict[str, Any]:
    """What eval.run wrote of a run or a folder. Raises UserError."""
    places = [folder / "scores" / "summary.json" for folder in (Path(name), runs / name)]
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        known = sorted(p.parent.parent.name for p in runs.glob("*/scores/summary.json"))
        there = f": scored are {', '.join(known)}" if known else ""
        there += or_nearest(
            Path(name).name, known or [p.parent.name for p in runs.glob("*/config.toml")]
        )
        raise UserError(f"{name} is not scored, python -m eval.run does that{there}")
    summary: dict[str, Any] = json.loads(path.read_text("utf-8"))
    dataset = summary["dataset"]
    if dataset not in layout.datasets() or summary["root_sha256"] != root_sha256(layout, dataset):
        raise UserError(f"the scores of {name} are of other pictures than {dataset} holds now")
    return summary


def _shared(first: dict[str, Any], second: dict[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """Metrics that both measured alike, and why others cannot be compared."""
    a, b = ({m["name"]: m for m in summary["metrics"]} for summary in (first, second))
    shared, apart = {}, {}
    for name in sorted(a.keys() | b.keys()):
        if name not in a or name not in b:
            apart[name] = f"{(second if name in a else first)['name']} has none"
        elif a[name]["fingerprint"] != b[name]["fingerprint"]:
            apart[name] = "other weights or settings: score both alike"
        elif None in (a[name]["value"], b[name]["value"]):
            apart[name] = "one of them has no score"
        else:
            shared[name] = a[name]
    return shared, apart


if __name__ == "__main__":
    command.run(main, "python -m eval.compare")
