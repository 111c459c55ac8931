"""Writes one self-contained HTML file about a run: scores, pictures side by side, the loss.

python -m eval.report --run=runs/demo
"""

import html
import json
from collections import Counter
from pathlib import Path
from typing import Any

from eval.evalset import EvalSet, Item
from eval.page import figure, line_plot, page, table
from toolkit.core import command
from toolkit.core.errors import UserError
from toolkit.core.files import write_atomic
from toolkit.store.card import root_sha256
from toolkit.store.layout import local_layout

ROLES = ("content", "style", "target")


def main(
    *,
    run: Path,
    out: Path | None = None,
    pictures: int = 15,
    shards: Path = Path("shards"),
    manifests: Path = Path("manifests"),
) -> None:
    """Writes the report of a run that eval.run has scored.

    Args:
        run: the run's folder, for example runs/demo.
        out: the HTML file; runs/NAME/report.html otherwise.
        pictures: how many pictures to show.
        shards: folder of the tars.
        manifests: folder of the manifests.
    """
    from eval.bridge import outputs_of

    outputs = outputs_of(run)
    summary_path = outputs.scores / "summary.json"
    if not summary_path.is_file():
        raise UserError(f"the run is not scored yet: python -m eval.run --run={run}")
    summary = json.loads(summary_path.read_text("utf-8"))
    layout = local_layout(shards, manifests)
    if outputs.dataset not in layout.datasets():
        raise UserError(f"the pictures are gone: python -m train.stylize --run={run} makes them")
    if summary["root_sha256"] != root_sha256(layout, outputs.dataset):
        raise UserError(
            f"the scores are of other pictures than {outputs.dataset} holds now: "
            f"python -m eval.run --run={run} scores them"
        )
    evalset = EvalSet(layout, outputs.dataset)
    path = out or outputs.path / "report.html"
    parts = [
        ("Scores", _scores(summary)),
        ("Pictures", _pictures(evalset, pictures)),
        ("Cost", _cost(summary["cost"])),
        ("Training", _training(outputs.log)),
        ("Configuration", f"<pre>{html.escape(outputs.config)}</pre>"),
    ]
    write_atomic(path, page(f"Run {outputs.path.name}", parts))
    print(f"report: {path.resolve()}")


def _scores(summary: dict[str, Any]) -> str:
    rows = []
    for metric in summary["metrics"]:
        arrow = "↑" if metric["better"] == "higher" else "↓"
        baselines = metric["baselines"]
        rows.append([
            f"{metric['name']} {arrow}", f"{metric['value']:.3f}",
            f"{metric['low']:.3f} … {metric['high']:.3f}", _number(baselines.get("shuffled")),
            _number(baselines.get("unchanged")), metric["reference"], metric["extractor"],
        ])  # fmt: skip
    heads = [
        "metric",
        "mean",
        "95% interval",
        "against a shuffled reference",
        "unchanged content",
        "compared with",
        "extractor",
    ]
    text = (
        f"<p>{_origin(summary)} ↑ higher is better, ↓ lower. "
        "Intervals: pigeonhole bootstrap over contents and styles.</p>" + table(heads, rows)
    )
    if summary["nearer_own_style"] is not None:
        text += (
            f"<p><b>{summary['nearer_own_style']:.0%}</b> of the pictures are nearer in colour to "
            "their own style reference than to a shuffled one (50% would be chance).</p>"
        )
    for gap in summary["missing"]:
        text += f"<p class='missing'>missing: {html.escape(gap['what'])}</p>"
    return text


def _origin(summary: dict[str, Any]) -> str:
    """Of which pairs the pictures are, and whether the run was trained on any of them."""
    splits, trained_on = summary["splits"], summary["trained_on"]
    parts = ", ".join(f"{count} of split {html.escape(name)}" for name, count in splits.items())
    seen = splits.get(trained_on, 0)
    held_out = (
        f"<b>{seen} of these pairs were trained on.</b>"
        if seen
        else f"The run was trained on split {html.escape(trained_on)}: all of them are held out."
    )
    return f"{summary['pictures']} pictures of pairs: {parts}. {held_out}"


def _pictures(evalset: EvalSet, count: int) -> str:
    """Rows of content, style, teacher's target and the run's picture, spread over styles."""
    rows = []
    for item in _spread(evalset.items, count):
        output = evalset.output(item)
        cells = [
            figure(evalset.reference(item, role, 192), _caption(item, role))
            for role in ROLES
            if role in item.references
        ]
        cells.append(figure(output, "this run", 192))
        rows.append(f"<div class='row'>{''.join(cells)}</div>")
    return (
        "<p>From left to right: content (before), style reference, the teacher's target, "
        "this run's picture (after).</p>" + "".join(rows)
    )


def _spread(items: list[Item], count: int) -> list[Item]:
    """Pictures that show as much as possible: of the styles shown least so far the subject shown
    least, then the least shown picture of it, then the least shown reference."""
    styles: Counter[str] = Counter()
    contents: Counter[str] = Counter()
    chosen: list[Item] = []
    left = list(items)
    while left and len(chosen) < count:
        item = min(
            left,
            key=lambda i: (
                styles[_style(i)], contents[_subject(i)], contents[_key(i, "content")],
                styles[_key(i, "style")],
            ),
        )  # fmt: skip
        left.remove(item)
        chosen.append(item)
        styles.update({_style(item), _key(item, "style")})
        contents.update({_subject(item), _key(item, "content")})
    return chosen


def _key(item: Item, role: str) -> str:
    return item.references.get(role, ("", item.row["key"]))[1]


def _style(item: Item) -> str:
    return item.row["style"] or ""


def _subject(item: Item) -> str:
    """The content's key without its last part: crops of one photograph count as one subject."""
    return _key(item, "content").rpartition("-")[0]


def _caption(item: Item, role: str) -> str:
    if role == "style":
        return f"{item.row['style'] or 'style'}: {item.references[role][1]}"
    return "teacher" if role == "target" else item.references[role][1]


def _cost(cost: dict[str, Any]) -> str:
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
    return table(["", ""], rows)


def _training(log: list[dict[str, Any]]) -> str:
    loss = [(r["step"], r["loss"]) for r in log if "loss" in r]
    held_out = [(r["step"], r["eval_loss"]) for r in log if "eval_loss" in r]
    if not loss:
        return "<p>no log</p>"
    substituted = sum(r.get("substituted", 0) for r in log)
    waits = [r["wait_s"] / r["step_s"] for r in log if r.get("step_s")]
    return (
        line_plot({"loss of each step": loss, "loss of a fixed held-out batch": held_out})
        + f"<p>{len(loss)} steps; {substituted} samples did not decode and were replaced; "
        f"waiting for data took {sum(waits) / len(waits):.1%} of the time.</p>"
    )


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


if __name__ == "__main__":
    command.run(main, "python -m eval.report")
