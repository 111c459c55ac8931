"""All scored runs and folders in one table: metrics, and what the pictures cost.

python -m eval.leaderboard --by=edge_structure
"""

import json
from pathlib import Path
from typing import Any, Literal

from eval.run import metric_values
from toolkit.core import command
from toolkit.core.errors import UserError
from toolkit.core.nearest import or_nearest
from toolkit.core.show import show


def main(
    *,
    by: str = "",
    metrics: tuple[str, ...] | None = None,
    format: Literal["table", "json", "csv"] = "table",
    runs: Path = Path("runs"),
) -> None:
    """Lists what eval.run has scored, the best first.

    A value with * was measured with other weights or settings than the first one of its column,
    and cannot be compared with it; a number in brackets says of how many pictures a value is, where
    not of all. Which differences are more than noise, eval.compare says.

    Args:
        by: the metric to sort by; names otherwise.
        metrics: only these columns of metrics, comma-separated.
        format: table, json or csv.
        runs: folder of the runs.
    """
    summaries = [
        json.loads(path.read_text("utf-8")) for path in sorted(runs.glob("*/scores/summary.json"))
    ]
    summaries = [summary for summary in summaries if "styles" in summary]
    if not summaries:
        raise UserError(f"nothing in {runs} is scored: python -m eval.run --run={runs}/NAME does")
    known = sorted({m["name"] for summary in summaries for m in summary["metrics"]})
    for name in (*(metrics or ()), *([by] if by else ())):
        if name not in known:
            raise UserError(
                f"no run has the metric {name!r}: there are {', '.join(known)}"
                f"{or_nearest(name, known)}"
            )
    if by:
        summaries.sort(key=lambda summary: _rank(summary, by))
    columns = list(metrics or known)
    first: dict[str, str] = {}
    rows = [_row(summary, columns, first) for summary in summaries]
    heads = [
        "name",
        "method",
        "pictures",
        *columns,
        "parameters",
        "trained",
        "memory GB",
        "s a picture",
    ]
    show(heads, rows, format)


def _row(summary: dict[str, Any], columns: list[str], first: dict[str, str]) -> list[Any]:
    found = {m["name"]: m for m in summary["metrics"]}
    cells: list[str | None] = []
    for name in columns:
        metric = found.get(name)
        if metric is None or metric["value"] is None:
            cells.append(None)
            continue
        alike = first.setdefault(name, metric["fingerprint"]) == metric["fingerprint"]
        count = metric["num_samples"]
        some = "" if count == summary["pictures"] else f" ({count})"
        cells.append(f"{metric['value']:.4g}{'' if alike else '*'}{some}")
    cost = summary["cost"]
    memory = cost.get("peak_memory_bytes")
    return [
        summary["name"], summary["method"] or "folder", summary["pictures"], *cells,
        cost.get("parameters"), cost.get("trainable"),
        None if memory is None else round(memory / 1e9, 2),
        None if not cost else round(cost["seconds_per_picture"], 3),
    ]  # fmt: skip


def _rank(summary: dict[str, Any], by: str) -> float:
    """Less is better; runs without the metric come last."""
    metric = next((m for m in summary["metrics"] if m["name"] == by), None)
    if metric is None or metric["value"] is None:
        return float("inf")
    value = float(metric["value"])
    return -value if metric["better"] == "higher" else value


if __name__ == "__main__":
    command.run(main, "python -m eval.leaderboard", values=metric_values)
