"""Measures a run that translates between labels, as ot_cfm does.

    python -m eval.translation --run=runs/NAME --source=photos

How often translations of held-out pictures are taken for the target by probes that never saw them:
one of the pictures, decoded and encoded again, by means, deviations and slopes of the channels, and
one of the latents as they are made, by means and deviations. Whether edges stay where they were.
What simpler ways score on the same pictures. How exact each solver's round trip is.

Writes runs/NAME/scores/translation.json and .png, and runs/NAME/translation.html.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from toolkit.core import command
from toolkit.core.checks import at_least
from toolkit.core.errors import UserError
from toolkit.core.files import make_folder, write_atomic
from toolkit.core.show import show
from toolkit.store.layout import local_layout

# Options of train.stylize in whose place there are --guidances, --source, --targets and --budgets.
_ELSEWHERE = ("guidance", "source_style", "target_style", "tolerance")


def main(
    *,
    run: Path,
    checkpoint: Path | None = None,
    source: str = "",
    targets: tuple[str, ...] = (),
    samples: int = 48,
    guidances: tuple[float, ...] = (1.0, 1.5, 2.0, 3.0),
    probe_samples: int = 1500,
    budgets: tuple[int, ...] = (4, 8, 16, 24, 40, 80),
    numbered_crops: bool = False,
    shards: Path = Path("shards"),
    manifests: Path = Path("manifests"),
    **options: str,
) -> None:
    """Translates held-out pictures, and scores and shows them.

    Options of the translation (--solver, --steps, --depth …) are those of train.stylize.

    Args:
        run: the run's folder, for example runs/ot_cfm-cpu.
        checkpoint: a checkpoint by folder or name, as step-000100; the last one otherwise.
        source: the style to translate from; the first of the run otherwise.
        targets: the styles to translate to; all others of the run otherwise.
        samples: held-out cuts that are translated to each.
        guidances: weights of the guidance.
        probe_samples: cuts of each style, of what the run was trained on, that the probe is fitted
            to.
        budgets: evaluations each way of the round trips.
        numbered_crops: whether keys that differ in a last -NUMBER are of one photograph, as those
            of the sample data are; intervals are clustered by photograph.
        shards: folder of the tars.
        manifests: folder of the manifests.
    """
    from eval.bridge import translating_of
    from eval.translated import Translations

    at_least(2, samples=samples, probe_samples=probe_samples)
    if not guidances or min(guidances) < 0:
        raise UserError("--guidances: takes one weight or more, each 0 or more, as 1,2")
    opened, how = translating_of(run, checkpoint, options, local_layout(shards, manifests))
    measured = Translations(opened, how, source, targets, samples, probe_samples, numbered_crops)
    seconds = measured.forecast_s(guidances, budgets)
    print(f"translating, judging and round trips: about {seconds / 60:.1f} minutes", flush=True)
    rows = measured.rows(guidances)
    names = [
        "way", "target", "called target", "95%", "by its latents", "edges 4 px", "95%",
        "edges 1 px",
    ]  # fmt: skip
    show(names, [_texts(row) for row in rows])
    curve = measured.round_trips(budgets)
    result = {
        **measured.facts(),
        "rows": [asdict(row) for row in rows],
        "round_trip": curve,
    }
    _write(opened.folder, result, measured)


def _write(folder: Any, result: dict[str, Any], measured: Any) -> None:
    from PIL import Image

    from eval.translation_page import translation_page

    scores = make_folder(folder.scores)
    write_atomic(scores / "translation.json", json.dumps(result, indent=1) + "\n")
    names, sheet = measured.sheet()
    Image.fromarray(sheet).save(scores / "translation.png")
    path = folder.path / "translation.html"
    write_atomic(path, translation_page(result, names, sheet))
    print(f"numbers: {scores / 'translation.json'}; pictures: {scores / 'translation.png'}")
    print(f"report: {path.resolve()}")


def _texts(row: Any) -> tuple[str, ...]:
    called, coarse, fine = row.called, row.edges_4px, row.edges_1px
    return (
        row.what, row.target, f"{called.mean:.3f}", f"{called.low:.2f} … {called.high:.2f}",
        f"{row.called_latents.mean:.3f}", f"{coarse.mean:.3f}",
        f"{coarse.low:.2f} … {coarse.high:.2f}", f"{fine.mean:.3f}",
    )  # fmt: skip


def _fields(_: list[str], flags: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """The translation's options, as the run's method has them."""
    from eval.bridge import stylize_fields

    texts = stylize_fields(Path(flags.get("run", "")))
    for name in _ELSEWHERE:
        texts.pop(name, None)
    title = "options of the translation" + (":" if texts else " are listed with --run=…")
    return title, texts


if __name__ == "__main__":
    command.run(main, "python -m eval.translation", fields=_fields)
