"""The page about a run's translations."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from eval.page import figures, line_plot, page, table

_MOST = 12  # columns of the table of what targets were taken for
_FEW = 20  # pictures, of which one is a twentieth of a share
_LEGEND = """<dl>
<dt>unchanged</dt><dd>The original: what it scores without any translation.</dd>
<dt>colour transfer</dt><dd>The original with mean and covariance of the colours of a held-out
picture of the target.</dd>
<dt>AdaIN</dt><dd>Its latents with mean and deviation of each channel as such a picture's latents
have them.</dd>
<dt>guidance</dt><dd>The run's translation, at that weight of the guidance.</dd>
<dt>called target</dt><dd>The share of pictures that a probe takes for the target; higher is more of
its style. “By its latents” asks a probe that sees means and deviations of the latents only, before
they become pictures: AdaIN copies just those.</dd>
<dt>edges</dt><dd>Correlation of gradient magnitudes with the original's, blurred by so many pixels;
higher keeps more of what is shown. Style and structure are paid for with one another: look at both
columns.</dd>
<dt>95%</dt><dd>Intervals by bootstrap over pictures and targets; cuts of one picture count as
one.</dd>
</dl>"""


def translation_page(result: Mapping[str, Any], columns: Sequence[str], sheet: np.ndarray) -> str:
    """HTML of what `eval.translation` measured. sheet: uint8 [H,W,3], a row for each picture under
    the names of `columns`."""
    parts = [
        ("Translations", _rows(result)),
        ("Pictures", _pictures(columns, sheet)),
        ("The probe", _probe(result)),
        ("Round trips", _round_trips(result)),
    ]
    if len(result["targets"]) > 1:
        parts.insert(2, ("What translations are taken for", _taken_for(result)))
    return page(f"{result['run']}: from {result['source']}", parts)


def _rows(result: Mapping[str, Any]) -> str:
    scores = {
        "called": "called target", "called_latents": "by its latents",
        "edges_4px": "edges at 4 px", "edges_1px": "edges at 1 px",
    }  # fmt: skip
    heads = ["way", "target", *(text for name in scores.values() for text in (name, "95%"))]
    rows = [
        [row["what"], row["target"], *(text for name in scores for text in _texts(row[name]))]
        for row in result["rows"]
    ]
    how = result["options"]
    left_out = ("guidance", "solver", "steps", "source_style", "target_style")
    options = ", ".join(f"{name} {value}" for name, value in how.items() if name not in left_out)
    seconds = ", ".join(f"{what} {s:.2f} s" for what, s in result["seconds_per_picture"].items())
    return (
        f"<p>{result['samples']} cuts of {result['photographs']} held-out pictures, "
        f"{result['size_px']} px, step {result['step']}; {how['solver']}, {how['steps']} steps each"
        f" way; {options}. A picture took {seconds}.</p>"
        + _few(result)
        + table(heads, rows)
        + _LEGEND
    )


def _few(result: Mapping[str, Any]) -> str:
    if result["photographs"] >= _FEW:
        return ""
    return (
        f"<p><b>Few pictures:</b> {result['photographs']} are too few for differences of a tenth; "
        "hold more of them out.</p>"
    )


def _texts(share: Mapping[str, float]) -> tuple[str, str]:
    return f"{share['mean']:.3f}", f"{share['low']:.2f} … {share['high']:.2f}"


def _pictures(columns: Sequence[str], sheet: np.ndarray) -> str:
    side = sheet.shape[1] // len(columns)
    return "".join(
        figures(
            [
                (sheet[top : top + side, n * side : (n + 1) * side], name)
                for n, name in enumerate(columns)
            ]
        )
        for top in range(0, len(sheet), side)
    )


def _taken_for(result: Mapping[str, Any]) -> str:
    styles = list(result["probe_right"]) or result["targets"]
    rows = [
        [row["what"], row["target"], *(f"{row['taken_for'].get(s, 0):.2f}" for s in styles[:_MOST])]
        for row in result["rows"]
        if row["target"] != "all"
    ]
    return table(["way", "target", *styles[:_MOST]], rows)


def _probe(result: Mapping[str, Any]) -> str:
    rows = [
        [
            style,
            *_texts(right["called"]),
            *_texts(right["called_latents"]),
            str(right["cuts"]),
            str(right["pictures"]),
        ]
        for style, right in result["probe_right"].items()
    ]
    return (
        "<p>Linear classifiers, fitted to what the run was trained on; here on held-out originals. "
        "That of pictures sees means, deviations and slopes of channels, decoded and encoded again "
        "as translations are; that of latents sees means and deviations of the latents as they are "
        "made, which AdaIN copies from its reference.</p>"
        + table(
            ["style", "right, of pictures", "95%", "right, of latents", "95%", "cuts", "pictures"],
            rows,
        )
    )


def _round_trips(result: Mapping[str, Any]) -> str:
    lines: dict[str, list[tuple[float, float]]] = {}
    for point in result["round_trip"]:
        lines.setdefault(point["solver"], []).append((point["evaluations"], point["error"]))
    rows = [
        [solver, ", ".join(f"{count:g}: {error:.1e}" for count, error in points)]
        for solver, points in lines.items()
    ]
    return (
        "<p>Mean relative error of going back to the noise and forth again under the source's "
        "label, against evaluations of the network each way.</p>"
        + line_plot(lines, "evaluations", "relative error")
        + table(["solver", "evaluations: error"], rows)
    )
