"""The one file of the evaluator that knows runs: where their pictures, costs and samples lie."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from eval.subject import Subject
from toolkit.core.errors import UserError
from toolkit.core.matrix import Resolved
from toolkit.core.nearest import or_nearest
from toolkit.store.layout import Layout


def subject_of(run: Path, layout: Layout, name: str | None = None) -> Subject:
    """A run's pictures. name: of the dataset, where they are not the usual ones. Raises UserError
    when there is no such run, or it has no pictures yet."""
    found = opened_run(run, name)
    if found.dataset not in layout.datasets():
        more = f" --name={name}" if name else ""
        raise UserError(
            f"the run has no such pictures yet: python -m train.stylize --run={run}{more} makes "
            "them"
        )
    return found


def opened_run(run: Path, name: str | None = None) -> Subject:
    """What is known of a run, and of its pictures in the dataset `name`, the usual ones otherwise:
    results of others go to a folder of that name beside the run's. Raises UserError when there is
    no such run."""
    from toolkit.stream.mix import parse_mix
    from toolkit.stream.tasks import dataset_of, in_split
    from train.log import read_log
    from train.runs import RunFolder, load_config, needs_of, open_run

    folder = open_run(run)
    settings = load_config(folder.config)
    data, (first, *rest) = settings.data, parse_mix(settings.data.mix)
    split = in_split(data.split)
    tasks = [(dataset_of(first, data.main), f"({data.where}) and ({split})")]
    tasks += [(dataset_of(name, data.main), split) for name in rest]
    held_out, label = "", {}
    if "style" not in needs_of(settings).inputs:
        names = ", ".join(f"'{dataset}'" for dataset, _ in tasks)
        held_out = f"dataset in ({names}) and split = '{data.val_split}'"
        # a label is the task's name where samples have no style, or where the method wants it so
        label = {
            "tasks": {dataset_of(name, data.main): name for name in (first, *rest)},
            "always": getattr(settings.method_config, "labels", "style") == "task",
        }
    cost = folder.cost_of(name or folder.dataset)
    other = RunFolder(folder.path.parent / name) if name else folder
    if name and other.config.is_file():
        raise UserError(f"--name={name}: {other.path} is a run of its own, give these another name")
    return Subject(
        name=other.path.name,
        method=settings.method,
        dataset=name or folder.dataset,
        scores=other.scores,
        cost=json.loads(cost.read_text("utf-8")) if cost.is_file() else {},
        references=held_out,
        label=label,
        trained_on=tasks,
        split=data.split,
        log=read_log(folder.log) if folder.log.is_file() else [],
        config=folder.config.read_text("utf-8"),
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


def resolved_flags(method: str, config: str, flags: Mapping[str, str]) -> Resolved:
    """As `train.settings.resolved_flags`."""
    from train.settings import resolved_flags as resolved

    return resolved(method, config, flags)


def check_later_flags(method: str, stylize: Mapping[str, str], evaluate: Mapping[str, str]) -> None:
    """Raises UserError for flags that train.stylize or eval.run do not take of a method's runs, or
    metrics that there are not: before hours of training, not behind them."""
    import inspect

    from eval import run
    from eval.metrics import metric_names
    from toolkit.core.command import field_of
    from train.methods import stylize_defaults
    from train.settings import check_stylize_flags

    check_stylize_flags(stylize_defaults(method), stylize)
    for flag in evaluate:
        if flag not in inspect.signature(run.main).parameters:
            field_of(flag, inspect.signature(run.main).parameters, [])
    for name in filter(None, evaluate.get("metrics", "").split(",")):
        if name not in metric_names():
            known = metric_names()
            raise UserError(
                f"unknown metric {name!r}: known are {', '.join(known)}{or_nearest(name, known)}"
            )
