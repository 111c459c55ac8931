"""The one file of the evaluator that knows runs: where their pictures, costs and samples lie."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolkit.core.errors import UserError
from toolkit.store.layout import Layout


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
    """Opens a run whose pictures are each made after a picture of a style. Raises UserError when
    there is none, or its method knows styles by their names alone."""
    from train.log import read_log
    from train.runs import load_config, needs_of, open_run

    folder = open_run(run)
    settings = load_config(folder.config)
    if "style" not in needs_of(settings).inputs:
        raise UserError(
            f"pictures of {settings.method} have no style picture to be compared with: measure and "
            f"show them by python -m eval.translation --run={run}"
        )
    cost_path = run / "stylize.json"
    return Outputs(
        path=run,
        dataset=folder.dataset,
        cost=json.loads(cost_path.read_text("utf-8")) if cost_path.is_file() else {},
        log=read_log(folder.log) if folder.log.is_file() else [],
        scores=folder.scores,
        config=folder.config.read_text("utf-8"),
        trained_on=settings.data.split,
    )


def translating_of(
    run: Path, checkpoint: Path | None, options: Mapping[str, str], layout: Layout
) -> tuple[Any, Any]:
    """A run that translates between labels (`train.translating.Translating`), and how it is to do
    so. Raises UserError."""
    from toolkit.core.config import nest, resolve
    from train.methods import stylize_defaults
    from train.runs import load_config, open_run
    from train.trained import load_trained
    from train.translating import Translating

    folder = open_run(run)
    settings = load_config(folder.config)
    how = resolve(stylize_defaults(settings.method), nest(options), "the flags")
    return Translating(load_trained(folder, settings, checkpoint), layout), how


def stylize_fields(run: Path) -> dict[str, str]:
    """Help on the options of a run's method, by name; none where there is no such run."""
    from toolkit.core.config import describe
    from train.methods import stylize_defaults
    from train.runs import RunFolder, load_config

    config = RunFolder(run).config
    return describe(stylize_defaults(load_config(config).method)) if config.is_file() else {}
