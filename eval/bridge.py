"""The one file of the evaluator that knows runs: where their pictures, costs and samples lie."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Outputs:
    """What a run left behind. dataset: its pictures' dataset. cost: of making them, empty if
    unknown. log: the training log. scores: folder for results. config: its configuration as text.
    trained_on: value of the column `split` of the samples it was trained on.
    """

    path: Path
    dataset: str
    cost: dict[str, Any]
    log: list[dict[str, Any]]
    scores: Path
    config: str
    trained_on: str


def outputs_of(run: Path) -> Outputs:
    """Opens a run. Raises UserError when there is none."""
    from train.log import read_log
    from train.runs import load_config, open_run

    folder = open_run(run)
    cost_path = run / "stylize.json"
    return Outputs(
        path=run,
        dataset=folder.dataset,
        cost=json.loads(cost_path.read_text("utf-8")) if cost_path.is_file() else {},
        log=read_log(folder.log) if folder.log.is_file() else [],
        scores=folder.scores,
        config=folder.config.read_text("utf-8"),
        trained_on=load_config(folder.config).data.split,
    )
