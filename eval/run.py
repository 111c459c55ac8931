"""Scores the pictures of a run, or pictures that anybody's program made.

    python -m eval.run --run=runs/demo
    python -m eval.run --run=runs/demo --name=other    # pictures of train.stylize --name=other
    python -m eval.run --folder=pictures --contents=content --styles=wikiart

Every score of every picture is kept as a sidecar of the pictures' dataset, so queries find the
worst; the summary with 95% intervals goes to runs/NAME/scores/summary.json. A metric whose weights
are missing is listed as missing, with the command that gets them.
"""

import json
import math
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

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
    run: Path | None = None,
    folder: Path | None = None,
    contents: str = "",
    styles: str = "",
    name: str | None = None,
    metrics: tuple[str, ...] | None = None,
    weights: tuple[str, ...] = (),
    words: Path | None = None,
    probe: Path | None = None,
    references: str = "",
    trained_on: str = "",
    strict: bool = False,
    device: str = "cpu",
    limit: int | None = None,
    memory_limit: float = LIMIT,
    runs: Path = Path("runs"),
    shards: Path = Path("shards"),
    manifests: Path = Path("manifests"),
) -> None:
    """Scores the pictures that train.stylize made with a run, or those of a folder.

    Args:
        run: the run's folder, for example runs/demo.
        folder: pictures instead; what each was made from says a table metadata.csv in it
            (file_name, content, style_reference, style, caption), or their names, CONTENT_STYLE.
        contents: with --folder: the dataset of the contents, or a folder of them.
        styles: with --folder: the dataset of the style references, or a folder of them.
        name: with --folder: of the dataset of its pictures, and of the folder of results; the
            folder's own otherwise. With --run: of the dataset of other pictures of the run.
        metrics: only these metrics, comma-separated; all otherwise.
        weights: of extractors, as dinov2:FOLDER,clip:HUB_ID; the usual ones otherwise.
        words: texts that captions are retrieved among, a line each, for clip_r.
        probe: a style probe that eval.probe made, for style_top1; manifests/probe otherwise.
        references: SQL of pictures that stand for their styles, where pictures have a style but
            no reference of their own; of a run, its held-out ones otherwise.
        trained_on: SQL of the samples that a model was trained on, to find overlap; a run knows.
        strict: refuse to score when pictures that are evaluated with were trained on.
        device: cpu, cuda, cuda:1 ….
        limit: score only so many pictures, for a rehearsal; writes nothing.
        memory_limit: share of the machine's or the control group's memory above which scoring
            pauses and in the end stops; 1 for never.
        runs: folder of the runs.
        shards: folder of the tars.
        manifests: folder of the manifests.
    """
    from eval.evaluation import Evaluation, evaluate, open_metrics
    from eval.feature_store import FeatureStore
    from eval.features.api import Extractors
    from eval.leaks import find_leaks
    from eval.metrics.api import Tools
    from eval.report_text import TEXTS
    from eval.roster import Roster, pool_of
    from toolkit.encoders.device import usable_device

    layout = local_layout(shards, manifests)
    usable_device(device)
    tools = Tools(Extractors(weights_by_name(weights), device), words, probe or manifests / "probe")
    opened = open_metrics(metrics, tools)
    subject = _subject(run, folder, contents, styles, name, runs, layout)
    chosen = references or subject.references
    roster = Roster(layout, subject.dataset, pool_of(layout, chosen, subject.label))
    tasks = [("", trained_on)] if trained_on else subject.trained_on
    leaks = find_leaks(layout, roster, tasks)
    if strict and leaks.any:
        raise UserError(f"{leaks}: --strict refuses to score them")
    print(leaks)
    count = min(len(roster), limit or len(roster))
    with closing(FeatureStore(layout.manifests / ".features" / "features.sqlite")) as store:
        steps = partial(_steps, count, memory_limit)
        found: Evaluation = evaluate(layout, roster, store, opened, count, steps)
    _print(found, opened.missing, subject.cost, roster.counts)
    if limit is not None:
        print("a rehearsal: nothing was written")
        return
    _write_sidecars(layout, roster, found)
    splits = Counter(
        item.split or (TEXTS if set(item.refs) <= {"style"} and run else subject.split) or "none"
        for item in roster.items()
    )
    summary = {
        "name": subject.name,
        "method": subject.method,
        "dataset": subject.dataset,
        "root_sha256": root_sha256(layout, subject.dataset),
        "pictures": count,
        "not_scored": dict(roster.counts),
        "splits": splits,
        "references": chosen,
        "label": subject.label,
        "trained_on": subject.split,
        "cost": subject.cost,
        "leaks": {**asdict(leaks), "text": str(leaks)},
        **found.as_json(),
        "missing": [
            {"name": metric, "what": error.what, "size": error.size, "command": error.command}
            for metric, error in opened.missing.items()
        ],
    }
    path = make_folder(subject.scores) / "summary.json"
    if dropped := _scored_before(path) - {result.name for result in found.results}:
        print(f"scored before and not now: {', '.join(sorted(dropped))}; --metrics=… with all of "
              "them is quick, for their pictures are not looked at again")  # fmt: skip
    write_atomic(path, json.dumps(summary, indent=1, allow_nan=False) + "\n")
    print(f"per picture: {layout.manifests / subject.dataset / 'sidecars' / SIDECAR}")
    which = f"--run={run}" if run and not name else f"--name={subject.name}"
    print(f"summary: {path}; next: python -m eval.report {which}")


def _scored_before(path: Path) -> set[str]:
    """Metrics of the summary that is replaced."""
    try:
        return {metric["name"] for metric in json.loads(path.read_text("utf-8"))["metrics"]}
    except (OSError, ValueError, LookupError, TypeError):
        return set()


def weights_by_name(weights: tuple[str, ...]) -> dict[str, str]:
    """Places by extractor. Raises UserError for a text without both."""
    found = {}
    for text in weights:
        extractor, colon, place = text.partition(":")
        if not colon or not place:
            raise UserError(f"--weights={text}: takes EXTRACTOR:PLACE, as dinov2:FOLDER")
        found[extractor] = place
    return found


def _subject(
    run: Path | None, folder: Path | None, contents: str, styles: str, name: str | None,
    runs: Path, layout: Layout,
) -> Any:  # fmt: skip
    """What is scored, an `eval.subject.Subject`."""
    if (run is None) == (folder is None):
        raise UserError("name either --run=runs/NAME or --folder=DIR")
    if run is not None:
        if contents or styles:
            raise UserError("--contents and --styles go with --folder")
        from eval.bridge import subject_of

        return subject_of(run, layout, name)
    from eval.folder import subject_of_folder

    assert folder is not None
    return subject_of_folder(folder, contents, styles, name, runs, layout)


def _steps(count: int, memory_limit: float, results: Iterable[Any]) -> Iterator[Any]:
    """The results, with progress, watched for memory."""
    watch = MemoryWatch(memory_limit)
    advice = "free some, or allow more with --memory_limit=, and score again"
    with Progress(count, "score", "pictures") as progress:
        for result in watched(results, watch, lambda: False, advice):
            yield result
            progress.advance()


def _write_sidecars(layout: Layout, roster: Any, found: Any) -> None:
    from toolkit.store.sidecar import write_columns

    scored = found.scored
    for stem in roster.shards():
        rows = {
            item.picture.key: {
                name: None if math.isnan(value) else float(value)
                for name, value in zip(scored.names, scored.values[item.number], strict=True)
            }
            for item in roster.items(stem)
        }
        write_columns(layout, roster.dataset, stem, SIDECAR, rows)


def _print(
    found: Any, missing: dict[str, Any], cost: dict[str, Any], not_scored: Counter[str]
) -> None:
    rows = []
    for result in found.results:
        shown = result.baselines
        rows.append((
            result.name, _number(result.value), _interval(result), _number(shown.get("shuffled")),
            _number(shown.get("unchanged")), _number(shown.get("real")), str(result.num_samples),
            result.better,
        ))  # fmt: skip
    heads = ["metric", "value", "95%", "shuffled", "unchanged", "real", "pictures", "better"]
    show(heads, rows)
    for result in found.results:
        for note in result.notes:
            print(f"{result.name}: {note}")
        for reason, number in result.left_out.items():
            print(f"{result.name}: {number} pictures without a score: {reason}")
    for reason, number in not_scored.items():
        print(f"not scored: {number}, {reason}")
    for name in found.sentinels.broken:
        print(f"{name}: a picture beside itself does not get the best score: do not trust it")
    for text, names in _by_message(missing).items():
        print(f"missing: {', '.join(names)}: {text}")
    if cost:
        print(
            f"cost: {cost['parameters'] / 1e6:.2f} million parameters, "
            f"{cost['seconds_per_picture']:.3f} s a picture on {cost['device']}, "
            f"peak memory {cost['peak_memory_bytes'] / 1e9:.2f} GB"
        )
    sys.stdout.flush()


def _by_message(missing: dict[str, Any]) -> dict[str, list[str]]:
    """What is missing, and the metrics that it is missing for."""
    found: dict[str, list[str]] = {}
    for name, error in missing.items():
        found.setdefault(str(error), []).append(name)
    return found


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.4g}"


def _interval(result: Any) -> str:
    return "–" if result.low is None else f"{result.low:.3g} … {result.high:.3g}"


def metric_values(_: list[str], __: Mapping[str, str]) -> dict[str, list[str]]:
    """The metrics there are."""
    from eval.metrics import metric_names

    return {"metrics": metric_names(), "by": metric_names()}


if __name__ == "__main__":
    command.run(main, "python -m eval.run", values=metric_values)
