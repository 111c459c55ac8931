"""Scores the pictures of a run.

    python -m eval.run --run=runs/demo

Every score of every picture is kept as a sidecar of the pictures' dataset; the summary with 95%
intervals goes to runs/NAME/scores/summary.json. A metric whose weights are missing is listed as
missing, with the command that gets them.
"""

import json
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

from eval.evalset import EvalSet, Item
from eval.metrics import metric_names, open_metric
from eval.metrics.api import Metric, MetricResult, MissingWeights
from toolkit.core import command
from toolkit.core.errors import UserError
from toolkit.core.files import make_folder, write_atomic
from toolkit.core.memory import LIMIT, MemoryWatch, watched
from toolkit.core.progress import Progress
from toolkit.core.show import show
from toolkit.store.card import root_sha256
from toolkit.store.layout import Layout, local_layout

SIDECAR = "scores"


def main(
    *,
    run: Path,
    metrics: tuple[str, ...] | None = None,
    limit: int | None = None,
    memory_limit: float = LIMIT,
    shards: Path = Path("shards"),
    manifests: Path = Path("manifests"),
) -> None:
    """Scores the pictures that train.stylize made with a run.

    Args:
        run: the run's folder, for example runs/demo.
        metrics: only these metrics, comma-separated; all otherwise.
        limit: score only so many pictures, for a rehearsal; writes nothing.
        memory_limit: share of the machine's or the control group's memory above which scoring
            pauses and in the end stops; 1 for never.
        shards: folder of the tars.
        manifests: folder of the manifests.
    """
    from eval.bridge import outputs_of

    layout = local_layout(shards, manifests)
    usable, missing = _open(metrics)
    outputs = outputs_of(run)
    if outputs.dataset not in layout.datasets():
        raise UserError(
            f"the run has no pictures yet: python -m train.stylize --run={run} makes them"
        )
    evalset = EvalSet(layout, outputs.dataset)
    items = evalset.items[:limit]
    scores = _score(evalset, items, usable, memory_limit)
    results = [_result(metric, items, scores) for metric in usable]
    _print(results, missing, outputs.cost)
    if limit is not None:
        print("a rehearsal: nothing was written")
        return
    _write_sidecars(layout, evalset, items, scores, usable)
    summary = {
        "dataset": outputs.dataset,
        "root_sha256": root_sha256(layout, outputs.dataset),
        "pictures": len(items),
        "splits": Counter(item.row["split"] or outputs.trained_on for item in items),
        "trained_on": outputs.trained_on,
        "cost": outputs.cost,
        "metrics": [asdict(result) for result in results],
        "nearer_own_style": _nearer(scores),
        "missing": [
            {"name": name, "what": str(error), "command": error.command}
            for name, error in missing.items()
        ],
    }
    path = make_folder(outputs.scores) / "summary.json"
    write_atomic(path, json.dumps(summary, indent=1) + "\n")
    print(f"per picture: {layout.manifests / outputs.dataset / 'sidecars' / SIDECAR}")
    print(f"summary: {path}; next: python -m eval.report --run={run}")


def _open(names: tuple[str, ...] | None) -> tuple[list[Metric], dict[str, MissingWeights]]:
    known = metric_names()
    for name in names or ():
        if name not in known:
            raise UserError(f"unknown metric {name!r}: known are {', '.join(known)}")
    usable, missing = [], {}
    for name in names or known:
        try:
            usable.append(open_metric(name))
        except MissingWeights as error:
            missing[name] = error
    return usable, missing


def _score(
    evalset: EvalSet, items: list[Item], metrics: list[Metric], memory_limit: float
) -> dict[str, list[float]]:
    """Columns of scores, one value per picture: `metric`, and its baselines `metric/shuffled`
    (against another picture's reference) and, for metrics against the style, `metric/unchanged`
    (the content in the output's place)."""
    from eval.statistics import shuffled

    others = {
        role: shuffled([item.references.get(role, ("", ""))[1] for item in items])
        for role in {metric.reference for metric in metrics}
    }
    columns: dict[str, list[float]] = {}
    steps = watched(
        enumerate(items), MemoryWatch(memory_limit), lambda: False,
        "free some, or allow more with --memory_limit=, and score again",
    )  # fmt: skip
    with Progress(len(items), "score", "pictures") as progress:
        for index, item in steps:
            output = evalset.output(item)
            size = output.shape[0]
            content = evalset.reference(item, "content", size)
            for metric in metrics:
                role = metric.reference
                reference = evalset.reference(item, role, size)
                other = evalset.reference(items[others[role][index]], role, size)
                values = {metric.name: metric.score(output, reference)}
                values[f"{metric.name}/shuffled"] = metric.score(output, other)
                if role == "style":
                    values[f"{metric.name}/unchanged"] = metric.score(content, reference)
                for name, value in values.items():
                    columns.setdefault(name, []).append(value)
            progress.advance()
    return columns


def _result(metric: Metric, items: list[Item], scores: dict[str, list[float]]) -> MetricResult:
    import numpy as np

    from eval.statistics import pigeonhole_interval

    values = np.array(scores[metric.name])
    groups = [
        [item.references.get(role, ("", ""))[1] for item in items] for role in ("content", "style")
    ]
    low, high = pigeonhole_interval(values, groups[0], groups[1])
    baselines = {
        name.partition("/")[2]: float(np.mean(column))
        for name, column in scores.items()
        if name.startswith(f"{metric.name}/")
    }
    return MetricResult(
        metric.name, float(values.mean()), low, high, len(values), metric.better,
        metric.reference, metric.extractor, baselines, metric.settings,
    )  # fmt: skip


def _nearer(scores: dict[str, list[float]]) -> float | None:
    """Share of pictures whose colours are nearer to their own style than to a shuffled one."""
    if "colour_distance" not in scores:
        return None
    pairs = zip(scores["colour_distance"], scores["colour_distance/shuffled"], strict=True)
    return sum(own < other for own, other in pairs) / len(scores["colour_distance"])


def _write_sidecars(
    layout: Layout,
    evalset: EvalSet,
    items: list[Item],
    scores: dict[str, list[float]],
    metrics: list[Metric],
) -> None:
    from toolkit.store.sidecar import write_columns

    by_key: dict[str, dict[str, Any]] = {
        item.row["key"]: {metric.name: scores[metric.name][index] for metric in metrics}
        for index, item in enumerate(items)
    }
    for path in layout.manifests_of(evalset.dataset):
        write_columns(layout, evalset.dataset, path.stem, SIDECAR, by_key)


def _print(
    results: list[MetricResult], missing: dict[str, MissingWeights], cost: dict[str, Any]
) -> None:
    rows = [
        (r.name, r.value, f"{r.low:.3f} … {r.high:.3f}", r.baselines.get("shuffled"),
         r.baselines.get("unchanged"), r.better, r.num_samples)
        for r in results
    ]  # fmt: skip
    names = ["metric", "mean", "95% interval", "shuffled", "unchanged content", "better", "n"]
    show(names, rows)
    for error in missing.values():
        print(f"missing: {error}")
    if cost:
        print(
            f"cost: {cost['parameters'] / 1e6:.2f} million parameters, "
            f"{cost['seconds_per_picture']:.3f} s a picture on {cost['device']}, "
            f"peak memory {cost['peak_memory_bytes'] / 1e9:.2f} GB"
        )


if __name__ == "__main__":
    command.run(main, "python -m eval.run")
