"""The sections of the HTML report."""

import html
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from eval.charts import Bar, Point, bars, scatter
from eval.page import line_plot, table
from eval.report_text import PREFERRED, SCORE_HEADS, notes_of, origin, score_rows, style_rows
from eval.roster import Roster
from eval.shown import Shown
from eval.subject import Subject
from toolkit.core.keyed import key64
from toolkit.store.layout import Layout
from toolkit.store.sidecar import read_columns

_EXTREMES = 5  # pictures of the best, the worst and any
_LEGEND = """<p>↑ higher is better, ↓ lower. 95%: pigeonhole bootstrap over contents and styles.
Shuffled: the same pictures against another picture's reference. Unchanged: the content in the
picture's place. Real: one painting against another of its style; for sets, half of the references
against the other half. Small-sample floor: what two samples of these sizes of one distribution
would give.</p>"""


def sections(
    summary: Mapping[str, Any], subject: Subject, roster: Roster, layout: Layout, pictures: int
) -> list[tuple[str, str]]:
    """Titles and bodies. pictures: how many to show."""
    shown = Shown(roster, layout)
    parts = [
        ("Scores", _scores(summary)),
        ("Styles", _styles(summary)),
        ("Pictures", shown.spread(pictures)),
        ("Best, worst and any", _extremes(summary, shown, layout, min(pictures, _EXTREMES))),
        ("Not stylised enough", _under_stylised(summary, shown)),
        ("Cost", _cost(summary["cost"])),
    ]
    if summary["missing"]:
        parts.append(("Missing", _missing(summary)))
    if subject.method:
        parts.append(("Training", _training(subject.log)))
    parts.append(("How this was measured", _provenance(summary)))
    if subject.config:
        parts.append(("Configuration", f"<pre>{html.escape(subject.config)}</pre>"))
    return parts


def _scores(summary: Mapping[str, Any]) -> str:
    text = f"<p>{html.escape(origin(summary))}</p>" + table(SCORE_HEADS, score_rows(summary))
    text += _LEGEND
    if summary["nearer_own_style"] is not None:
        text += (
            f"<p><b>{summary['nearer_own_style']:.0%}</b> of {summary['sentinels']['pictures']} "
            "pictures are nearer in colour to their own style reference than to a shuffled one "
            "(50% would be chance).</p>"
        )
    text += "".join(f"<p>{html.escape(note)}</p>" for note in notes_of(summary))
    if summary["missing"]:
        names = ", ".join(gap["name"] for gap in summary["missing"])
        text += f"<p class='missing'>missing: {html.escape(names)} (see below)</p>"
    return text


def _missing(summary: Mapping[str, Any]) -> str:
    """What is lacking, with the command that gets it, and the metrics it is for."""
    found: dict[tuple[str, str, str], list[str]] = {}
    for gap in summary["missing"]:
        found.setdefault((gap["what"], gap["size"], gap["command"]), []).append(gap["name"])
    rows = [[", ".join(names), *gap] for gap, names in found.items()]
    return table(["metrics", "lack", "size", "get it with"], rows)


def _chosen(summary: Mapping[str, Any], role: str) -> Mapping[str, Any] | None:
    """The metric that stands for content or style in plots."""
    there = {m["name"]: m for m in summary["metrics"] if m["value"] is not None}
    return next((there[name] for name in PREFERRED[role] if name in there), None)


def _styles(summary: Mapping[str, Any]) -> str:
    text = table(*style_rows(summary))
    content, style = (_chosen(summary, role) for role in ("content", "style"))
    for metric in (content, style):
        if metric is None:
            continue
        name = metric["name"]
        rows = [
            Bar(label or "none", m["value"], m["low"], m["high"])
            for label, found in summary["styles"].items()
            if (m := found["metrics"].get(name))
        ]
        marks = {
            kind: value for kind, value in metric["baselines"].items()
            if value is not None and kind in ("shuffled", "unchanged")
        }  # fmt: skip
        text += f"<h3>{name}, {html.escape(metric['unit'])}</h3>" + bars(rows, name, marks)
    if content is None or style is None:
        return text
    points = []
    for label, found in summary["styles"].items():
        x, y = (found["metrics"].get(m["name"]) for m in (content, style))
        if x and y:
            ranges = [(m["low"], m["high"]) for m in (x, y)]
            points.append(Point(label or "none", x["value"], y["value"], ranges[0], ranges[1]))
    labels = [f"{m['name']} ({m['better']} is better)" for m in (content, style)]
    return text + "<h3>Content against style</h3>" + scatter(points, *labels)


def _extremes(
    summary: Mapping[str, Any], shown: Shown, layout: Layout, count: int
) -> str:  # fmt: skip
    """The best and worst pictures by the metrics that stand for content and style."""
    text = ""
    for role in ("style", "content"):
        metric = _chosen(summary, role)
        if metric is None:
            continue
        name = metric["name"]
        values = _column(shown.roster, layout, name)
        order = [int(n) for n in np.argsort(values, kind="stable") if not np.isnan(values[n])]
        best = order[::-1] if metric["better"] == "higher" else order
        anyhow = sorted(order, key=lambda n: key64("any", n))
        for title, numbers in (("best", best), ("worst", best[::-1]), ("any", anyhow)):
            text += f"<h3>{title} by {name}</h3>"
            text += "".join(
                shown.row(shown.roster.item(n), f"{name} {values[n]:.4g}") for n in numbers[:count]
            )
    return text or "<p>no metric has scores</p>"


def _column(roster: Roster, layout: Layout, name: str) -> np.ndarray:
    """A metric's scores, from the sidecar, in the roster's order."""
    values = np.full(len(roster), np.nan)
    for stem in roster.shards():
        rows = read_columns(layout, roster.dataset, stem, "scores")
        if name not in rows.column_names:
            continue
        found = dict(zip(rows["key"].to_pylist(), rows[name].to_pylist(), strict=True))
        for item in roster.items(stem):
            value = found.get(item.picture.key)
            if value is not None:
                values[item.number] = value
    return values


def _under_stylised(summary: Mapping[str, Any], shown: Shown) -> str:
    found = summary["under_stylised"]
    if not found["looked_at"]:
        return "<p>No style has two references or more to judge by.</p>"
    text = (
        f"<p>{found['count']} of {found['looked_at']} pictures are farther from the look of their "
        "style than its references are from one another, and went less than a quarter of the way "
        "from the content's.</p>"
    )
    if not found["count"]:
        return text
    rows = [[prompt, str(number), str(of)] for prompt, number, of in found["prompts"]]
    text += table(["prompt or content", "such pictures", "of"], rows)
    worst = {one["key"]: one for one in found["found"][:_EXTREMES]}
    for item in shown.roster.items():
        if item.picture.key in worst:
            one = worst[item.picture.key]
            moved = "" if one["moved"] is None else f", {one['moved']:.0%} of the way"
            apart = f"{one['distance']:.2f} spreads from {one['style']}"
            text += shown.row(item, f"{apart}, real ones up to {one['farthest']:.2f}{moved}")
    return text


def _provenance(summary: Mapping[str, Any]) -> str:
    rows = []
    for metric in summary["metrics"]:
        decided = {**metric["identity"], **metric["settings"]}
        rows.append([metric["name"], metric["unit"], json.dumps(decided, sort_keys=True)])
    versions = ", ".join(f"{name} {text}" for name, text in summary["versions"].items())
    facts = [
        ["pictures", f"dataset {summary['dataset']}, root {summary['root_sha256'][:16]}…"],
        ["program", versions],
    ]
    heads = ["metric", "unit and range", "weights and settings"]
    return table(["", ""], facts) + table(heads, rows)


def _cost(cost: Mapping[str, Any]) -> str:
    if not cost:
        return "<p>unknown: the pictures were not made by train.stylize</p>"
    rows = [
        ["parameters", f"{cost['parameters']:,}"],
        ["seconds per picture", f"{cost['seconds_per_picture']:.3f}"],
        ["solver steps", str(cost["solver_steps"])],
        ["peak memory of making them", f"{cost['peak_memory_bytes'] / 1e9:.2f} GB"],
        ["device", f"{cost['device']}, {cost['threads']} threads"],
        ["training steps", str(cost["step"])],
        ["weights, sha256", cost["weights"][:16] + "…"],
    ]
    if "trainable" in cost:
        rows.insert(1, ["of them trained", f"{cost['trainable']:,}"])
    return table(["", ""], rows)


def _training(log: Sequence[Mapping[str, Any]]) -> str:
    loss = [(r["step"], r["loss"]) for r in log if "loss" in r]
    held_out = [(r["step"], r["eval_loss"]) for r in log if "eval_loss" in r]
    if not loss:
        return "<p>no log</p>"
    substituted = sum(r.get("substituted", 0) for r in log)
    waits = [r["wait_s"] / r["step_s"] for r in log if r.get("step_s")]
    return (
        line_plot({"loss of each step": loss, "loss of a fixed held-out batch": held_out})
        + f"<p>{len(loss)} steps; {substituted} samples did not decode and were replaced; "
        f"waiting for data took {sum(waits) / max(1, len(waits)):.1%} of the time.</p>"
    )
