"""Writes a report of scored pictures: one HTML file without any outside file, Markdown, and JSON.

python -m eval.report --run=runs/demo
python -m eval.report --name=pictures          # those that eval.run scored with --folder
"""

import json
from pathlib import Path
from typing import Any

from toolkit.core import command
from toolkit.core.errors import UserError
from toolkit.core.files import write_atomic
from toolkit.core.nearest import or_nearest
from toolkit.store.card import root_sha256
from toolkit.store.layout import Layout, local_layout


def main(
    *,
    run: Path | None = None,
    name: str | None = None,
    out: Path | None = None,
    pictures: int = 15,
    runs: Path = Path("runs"),
    shards: Path = Path("shards"),
    manifests: Path = Path("manifests"),
) -> None:
    """Writes the report of what eval.run has scored.

    Args:
        run: the run's folder, for example runs/demo.
        name: of the scored folder of pictures, instead.
        out: the HTML file; runs/NAME/report.html otherwise. Markdown and JSON lie beside it.
        pictures: how many pictures to show, and how many of the best, worst and others.
        runs: folder of the runs.
        shards: folder of the tars.
        manifests: folder of the manifests.
    """
    from eval.page import page
    from eval.report_page import sections
    from eval.report_text import markdown
    from eval.roster import Roster, pool_of
    from eval.subject import Subject

    layout = local_layout(shards, manifests)
    if (run is None) == (name is None):
        raise UserError("name either --run=runs/NAME or --name=NAME, as it was scored")
    if run is not None:
        from eval.bridge import opened_run

        subject: Subject = opened_run(run)
        again = f"--run={run}"
    else:
        assert name is not None
        subject = Subject(name, "", name, runs / name / "scores")
        again = "--folder=DIR"
    summary = _summary(subject, layout, again)
    roster = Roster(
        layout, subject.dataset, pool_of(layout, summary["references"], summary.get("label"))
    )
    path = out or subject.scores.parent / "report.html"
    title = f"{'Run' if run else 'Pictures'} {subject.name}"
    parts = sections(summary, subject, roster, layout, pictures)
    write_atomic(path, page(title, parts))
    write_atomic(path.with_suffix(".md"), markdown(title, summary))
    write_atomic(path.with_suffix(".json"), json.dumps(summary, indent=1) + "\n")
    print(f"report: {path.resolve()}; beside it {path.stem}.md and {path.stem}.json")


def _summary(subject: Any, layout: Layout, again: str) -> dict[str, Any]:
    """What eval.run wrote, if it is of the pictures that are there."""
    path = subject.scores / "summary.json"
    if not path.is_file():
        known = sorted(p.parent.parent.name for p in path.parents[2].glob("*/scores/summary.json"))
        there = f"; scored are {', '.join(known)}" if known else ""
        there += or_nearest(path.parents[1].name, known)
        raise UserError(f"nothing is scored there yet: python -m eval.run {again} does{there}")
    if subject.dataset not in layout.datasets():
        raise UserError(f"the pictures are gone: {_made_by(subject, again)}")
    summary: dict[str, Any] = json.loads(path.read_text("utf-8"))
    is_current = summary.get("root_sha256") == root_sha256(layout, subject.dataset)
    if not is_current or "styles" not in summary:
        raise UserError(
            f"the scores are of other pictures than {subject.dataset} holds now: "
            f"python -m eval.run {again} scores them"
        )
    return summary


def _made_by(subject: Any, again: str) -> str:
    return f"python -m {'train.stylize' if subject.method else 'eval.run'} {again} makes them"


if __name__ == "__main__":
    command.run(main, "python -m eval.report")
