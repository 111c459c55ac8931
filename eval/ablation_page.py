"""What an ablation found, as a page with pictures and as Markdown."""

import html
from collections.abc import Mapping, Sequence
from typing import Any

from eval.charts import Bar, Point, differences, scatter
from eval.page import page, table
from eval.report_text import ARROWS, PREFERRED, interval, number
from eval.report_text import table as markdown_table
from eval.roster import Item, Roster, pool_of
from eval.shown import Shown, in_a_row, lightly, spread
from toolkit.store.layout import Layout

_MARKS = {
    "better": " ▲",
    "worse": " ▼",
    "inside noise": " ·",
    "inside noise of seeds": " ·",
    "": "",
}
_LEGEND = (
    "▲ better and ▼ worse than the baseline, · inside noise. Intervals are of the pigeonhole "
    "bootstrap over contents and styles, p-values Holm's over all rows and metrics. With several "
    "seeds a difference counts only where no seed of the row lies among those of the baseline. "
    "Training: seconds of its process, interrupted attempts too."
)


def overview(result: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """A line for each row: scores with their verdicts, and what the row costs."""
    names = list(dict.fromkeys(entry["metric"] for entry in result["entries"]))
    better = {entry["metric"]: entry["better"] for entry in result["entries"]}
    metrics = (f"{name} {ARROWS[better[name]]}" for name in names)
    heads = ["row", *metrics, "training", "s a picture", "million trained", "memory GB"]
    lines = []
    for row in result["rows"]:
        entries = {e["metric"]: e for e in result["entries"] if e["row"] == row["name"]}
        cells = [
            f"{entries[name]['value']:.4g}{_MARKS[entries[name]['verdict']]}" if name in entries
            else row["state"]
            for name in names
        ]  # fmt: skip
        lines.append([row["name"], *cells, *_cost(row["cost"])])
    return heads, lines


def _cost(cost: Mapping[str, Any]) -> list[str]:
    seconds, at_least = cost.get("training_seconds"), "≥ " if cost.get("cut_short") else ""
    trained, memory = cost.get("trainable"), cost.get("peak_memory_bytes")
    return [
        "–" if seconds is None else f"{at_least}{_duration(seconds)}",
        number(cost.get("seconds_per_picture")),
        "–" if trained is None else f"{trained / 1e6:.3g}",
        "–" if memory is None else f"{memory / 1e9:.2f}",
    ]


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _in_full(result: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    heads = ["row", "metric", "value", "95%", "seeds", "difference", "95%", "p (Holm)", "pairs",
             "against the baseline"]  # fmt: skip
    lines = []
    for entry in result["entries"]:
        seeds = entry["seeds"]
        of_seeds = "–" if len(seeds) < 2 else f"{min(seeds):.4g} … {max(seeds):.4g}"
        compared = entry["difference"] is not None
        lines.append([
            entry["row"], f"{entry['metric']} {ARROWS[entry['better']]}", number(entry["value"]),
            interval(entry), of_seeds,
            f"{entry['difference']:+.3g}" if compared else "–",
            interval({"low": entry["difference_low"], "high": entry["difference_high"]}),
            f"{entry['p']:.3g}" if compared else "–", str(entry["pairs"]) if compared else "–",
            entry["verdict"] or ("no test of whole sets" if entry["kind"] == "set" else "–"),
        ])  # fmt: skip
    return heads, lines


def _rows(result: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    lines = []
    for row in result["rows"]:
        differs = ", ".join(f"{name} {value}" for name, value in row["differs"].items())
        lines.append([row["name"], differs or "–", ", ".join(row["runs"]), row["state"]])
    return ["row", "differs by", "runs", "state"], lines


def markdown(result: Mapping[str, Any]) -> str:
    """All of it but charts and pictures."""
    notes = "\n".join(f"* {note}" for note in result["notes"])
    parts = [f"# Ablation {result['name']}", markdown_table(*overview(result)), _LEGEND, notes]
    parts += ["## In full", markdown_table(*_in_full(result))]
    parts += ["## Rows", markdown_table(*_rows(result))]
    return "\n\n".join(part for part in parts if part) + "\n"


def ablation_page(result: Mapping[str, Any], layout: Layout, text: str, pictures: int) -> str:
    """HTML of a whole ablation. text: the matrix as its file has it; pictures: how many pairs to
    show."""
    notes = "".join(f"<p>{html.escape(note)}</p>" for note in result["notes"])
    parts = [
        ("Scores", table(*overview(result)) + f"<p>{_LEGEND}</p>" + notes),
        ("Differences from the baseline", _charts(result)),
        ("Content against style", _content_style(result)),
        ("Pictures", _pictures(result, layout, pictures)),
        ("In full", table(*_in_full(result))),
        ("Rows", table(*_rows(result))),
        ("The matrix", f"<pre>{html.escape(text)}</pre>"),
    ]
    return page(f"Ablation {result['name']} of {result['method']}", parts)


def _charts(result: Mapping[str, Any]) -> str:
    by_metric: dict[str, list[Mapping[str, Any]]] = {}
    for entry in result["entries"]:
        if entry["difference"] is not None:
            by_metric.setdefault(entry["metric"], []).append(entry)
    text = ""
    for name, entries in by_metric.items():
        rows = [
            Bar(e["row"] + _MARKS[e["verdict"]], e["difference"], e["difference_low"],
                e["difference_high"])
            for e in entries
        ]  # fmt: skip
        text += f"<h3>{name}, {entries[0]['better']} is better</h3>" + differences(rows, name)
    return text or "<p>nothing to compare with the baseline</p>"


def _content_style(result: Mapping[str, Any]) -> str:
    there = {(e["row"], e["metric"]): e for e in result["entries"] if e["kind"] == "picture"}
    names = {metric for _, metric in there}
    axes = [next((n for n in known if n in names), None) for known in PREFERRED.values()]
    if None in axes:
        return "<p>no metrics of both content and style were measured</p>"
    points = []
    for row in result["rows"]:
        found = [there.get((row["name"], str(axis))) for axis in axes]
        if found[0] and found[1]:
            x, y = found[0], found[1]
            points.append(
                Point(row["name"], x["value"], y["value"], (x["low"], x["high"]),
                      (y["low"], y["high"]))
            )  # fmt: skip
    better = {
        name: next(e["better"] for e in there.values() if e["metric"] == name) for name in axes
    }
    return scatter(points, *(f"{name} ({better[name]} is better)" for name in axes))


def _pictures(result: Mapping[str, Any], layout: Layout, count: int) -> str:
    """The same pairs by every row, of its first seed."""
    shown = []
    for row in result["rows"]:
        if row["dataset"]:
            pool = pool_of(layout, row["references"], row["label"])
            shown.append((row["name"], Shown(Roster(layout, row["dataset"], pool), layout)))
    if not shown:
        return "<p>no row has pictures yet</p>"
    first = shown[0][1]
    chosen = spread(list(lightly(first.roster)), count)
    found = [(name, one, _same(one.roster, chosen)) for name, one in shown]
    text = ""
    for place, item in enumerate(chosen, 1):
        figures = [
            one.picture(others[_pair(item)], name)
            for name, one, others in found
            if _pair(item) in others
        ]
        text += f"<h3>Pair {place}</h3>" + in_a_row([*first.references(item), *figures])
    return text


def _same(roster: Roster, chosen: Sequence[Item]) -> dict[tuple[str, ...], Item]:
    wanted = {_pair(item) for item in chosen}
    return {_pair(item): item for item in roster.items() if _pair(item) in wanted}


def _pair(item: Item) -> tuple[str, ...]:
    return item.cluster("content"), item.cluster("style"), item.caption or ""
