"""The report's numbers as Markdown, for issues and notes."""

from collections.abc import Mapping, Sequence
from typing import Any

TEXTS = "texts"
"""In the place of a split, of pictures that were drawn of texts alone."""
ARROWS = {"higher": "↑", "lower": "↓"}
PREFERRED = {  # metrics that stand for content and style in plots, the first that is there
    "content": ("lpips", "dinov2_similarity", "edge_structure"),
    "style": ("csd", "gram", "colour_histogram"),
}


def number(value: float | None) -> str:
    """Four digits; a dash for none."""
    return "–" if value is None else f"{value:.4g}"


def interval(found: Mapping[str, Any]) -> str:
    """The 95% interval of a result; a dash where there is none."""
    low, high = found.get("low"), found.get("high")
    return "–" if low is None or high is None else f"{low:.3g} … {high:.3g}"


SCORE_HEADS = [
    "metric", "value", "95%", "shuffled", "unchanged", "real", "small-sample floor", "pictures",
    "against",
]  # fmt: skip


def score_rows(summary: Mapping[str, Any]) -> list[list[str]]:
    """A row for each metric."""
    rows = []
    for metric in summary["metrics"]:
        shown = metric["baselines"]
        rows.append([
            f"{metric['name']} {ARROWS[metric['better']]}", number(metric["value"]),
            interval(metric), number(shown.get("shuffled")), number(shown.get("unchanged")),
            number(shown.get("real")), number(metric["expected"]), str(metric["num_samples"]),
            metric["reference"],
        ])  # fmt: skip
    return rows


def notes_of(summary: Mapping[str, Any]) -> list[str]:
    """What a reader has to know, a line each."""
    found = [summary["leaks"]["text"]]
    for metric in summary["metrics"]:
        found += [f"{metric['name']}: {note}" for note in metric["notes"]]
        found += [
            f"{metric['name']}: {count} pictures without a score: {reason}"
            for reason, count in metric["left_out"].items()
        ]
        found += [f"{metric['name']}: {name} {value}" for name, value in metric["beside"].items()]
    found += [f"not scored: {count}, {why}" for why, count in summary["not_scored"].items()]
    found += [
        f"{name}: a picture beside itself does not get the best score: do not trust it"
        for name in summary["sentinels"]["broken"]
    ]
    return found


def origin(summary: Mapping[str, Any]) -> str:
    """Of which split the pictures are, and whether any of them were trained on."""
    splits, trained_on = summary["splits"], summary["trained_on"]
    parts = ", ".join(
        f"{count} drawn from texts" if name == TEXTS else f"{count} of split {name}"
        for name, count in splits.items()
    )
    text = f"{summary['pictures']} pictures: {parts}."
    if set(splits) == {TEXTS}:
        return text
    if not trained_on:
        return f"{text} What the model was trained on is not known."
    seen = splits.get(trained_on, 0)
    if seen:
        return f"{text} {seen} of these pairs were trained on."
    return f"{text} The run was trained on split {trained_on}: all of them are held out."


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(c.replace("|", "\\|") for c in row) + " |" for row in lines)


def style_rows(summary: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """A row for each style, the metrics in columns."""
    names = [m["name"] for m in summary["metrics"] if m["kind"] == "picture"]
    rows = []
    for style, found in summary["styles"].items():
        cells = [found["metrics"].get(name) for name in names]
        texts = ["–" if c is None else f"{c['value']:.4g} ({interval(c)})" for c in cells]
        rows.append([style or "none", str(found["pictures"]), *texts])
    return ["style", "pictures", *names], rows


def markdown(title: str, summary: Mapping[str, Any]) -> str:
    """The report without its pictures."""
    parts = [f"# {title}", origin(summary), table(SCORE_HEADS, score_rows(summary))]
    parts.append("\n".join(f"* {note}" for note in notes_of(summary)))
    parts += ["## Styles", table(*style_rows(summary))]
    if summary["under_stylised"]["count"]:
        rows = [[p, str(n), str(of)] for p, n, of in summary["under_stylised"]["prompts"]]
        parts += ["## Not stylised enough", table(["prompt", "pictures", "of"], rows)]
    if summary["missing"]:
        rows = [[m["name"], m["what"], m["size"], f"`{m['command']}`"] for m in summary["missing"]]
        parts += ["## Missing", table(["metric", "lacks", "size", "get it with"], rows)]
    return "\n\n".join(parts) + "\n"
