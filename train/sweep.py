"""A queue of trainings over the cards: one run for each style, for each row of a matrix, or for
each of both, trained and drawn, each a process.

python -m train.sweep dreambooth_lora --config=safe --main=fewshot --cards=1,2,3
python -m train.sweep dreambooth_lora --config=smoke --main=fewshot --cards=cpu,cpu --styles=2
python -m train.sweep matrix.toml --by=style --cards=1,2,3 --then=eval.run

A run's weights and pictures do not depend on the queue: alone or among fifteen, on one card or
three.
"""

import shlex
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from toolkit.core import command
from toolkit.core.cards import slots_of
from toolkit.core.config import describe, load_toml
from toolkit.core.errors import UserError
from toolkit.core.log import hint
from toolkit.core.matrix import Flags, Matrix, Resolved, Row, read_matrix
from toolkit.core.nearest import or_nearest
from toolkit.core.run_jobs import Job
from toolkit.core.show import show
from toolkit.store.layout import Layout, local_layout

_STYLIZE = "stylize."  # begins flags of the second stage
_OWN = ("files", "prompts", "seed", "where")  # of these, the ones that are not the method's


def sweep(
    what: str,
    *,
    config: str | None = None,
    main: str = "",
    by: Literal["style", "artist", "genre", "none"] | None = None,
    only: tuple[str, ...] = (),
    styles: int | None = None,
    cards: tuple[str, ...] = (),
    name: str | None = None,
    seed: tuple[int, ...] = (),
    where: str = "true",
    then: tuple[str, ...] = (),
    overwrite: bool = False,
    retries: int = 1,
    dry_run: bool = False,
    format: Literal["table", "json", "csv"] = "table",
    runs: Path = Path("runs"),
    shards: Path = Path("shards"),
    manifests: Path = Path("manifests"),
    **overrides: str,
) -> None:
    """Trains one run for each style of a dataset, or for each row of a matrix, or both, and makes
    their pictures.

    Interrupted, the same command goes on where it stopped. A run that fails is tried again, and
    leaves the others going on. Every few seconds a line tells where each card is. The table of all
    runs, with their last losses and what eval.run scored, is kept in runs/NAME/sweep.json too.

    Args:
        what: the method, or the TOML file of a matrix of trainings, as eval.ablate takes it.
        config: a preset or a TOML file; smoke otherwise. A matrix has its own.
        main: the dataset of the main task; the preset's otherwise.
        by: the column whose values are trained one by one; none: all in one run. style for a
            method, none for a matrix otherwise.
        only: these values, comma-separated; all otherwise.
        styles: the first so many of them.
        cards: numbers of GPUs, comma-separated, each for one process at a time; cpu, once for each
            process, on the CPU. All GPUs that there are otherwise, or one process on the CPU.
        name: of the runs, as NAME-STYLE-ROW-sSEED, as far as there are several; METHOD-CONFIG, or
            the file's, otherwise. A hash ends names that would be too long.
        seed: of all runs; of several, comma-separated, each run is trained with each. The preset's
            or the matrix's otherwise. It never depends on the cards.
        where: SQL condition besides.
        then: commands that follow for each run, comma-separated, as eval.run,eval.report. A matrix
            with flags of eval.run is scored by it in any case.
        overwrite: train runs anew whose flags are others than before.
        retries: how often a run that fails is begun again, a training where it stopped.
        dry_run: only print the commands.
        format: of what is printed in the end: table, json or csv.
        runs: folder of the runs.
        shards: folder of the tars.
        manifests: folder of the manifests.
    """
    from toolkit.core.run_jobs import Places, refuse_others, work
    from train.runs import RunFolder
    from train.sweep_jobs import Queue, jobs_of
    from train.sweep_table import keep, table_of

    layout = local_layout(shards, manifests)
    flags = {key: text for key, text in overrides.items() if not key.startswith(_STYLIZE)}
    drawn = {key.removeprefix(_STYLIZE): text for key, text in overrides.items()
             if key.startswith(_STYLIZE)}  # fmt: skip
    flags |= {"data.main": main} if main else {}
    matrix, settings = _wanted(what, config, name, flags, drawn)
    slots, device = _slots(cards)
    split = by or ("style" if len(matrix.rows) == 1 else "none")
    values: list[str] = []
    if split != "none":
        values = _values(layout, settings.data, split, where, only)[:styles]
    elif only or styles is not None:
        raise UserError("--only and --styles choose among values: add --by=style")
    later = {command: matrix.evaluate if command == "eval.run" else {} for command in then}
    if matrix.evaluate:
        later = {"eval.run": matrix.evaluate, **later}
    queue = Queue(
        matrix.name, matrix.method, matrix.config, device, where, split if values else "", values,
        matrix.rows, seed or matrix.seeds, matrix.stylize, later,
    )  # fmt: skip
    jobs = jobs_of(queue, Places(runs, shards, manifests))
    if dry_run:
        for job in jobs:
            print("\n".join(shlex.join(["python", *words]) for words in job.commands.values()))
        return
    if device == "cuda":
        _check_cards(cards)
    refuse_others(jobs, overwrite, "queue")

    def has_pictures(job: Job) -> bool:
        return RunFolder(job.run).dataset in layout.datasets()

    outcome = work(jobs, overwrite, has_pictures, slots, retries)
    names, rows = table_of(jobs, outcome)
    keep(names, rows, runs / queue.name)
    show(names, rows, format)
    hint(f"kept in {runs / queue.name / 'sweep.json'}")
    if outcome["failed"]:
        failed = "; ".join(job.label for job in outcome["failed"])
        raise UserError(f"{len(outcome['failed'])} of {len(jobs)} runs failed ({failed}): mend "
                        "what they say, the same command tries them again")  # fmt: skip


def _wanted(
    what: str, config: str | None, name: str | None, flags: Flags, drawn: Flags
) -> tuple[Matrix, Any]:
    """The rows that are trained, one where there is no matrix, and the settings of the first.
    flags: of all of them. Raises UserError."""
    from train.settings import fresh_config, resolved_flags

    if not what.endswith(".toml"):
        preset = config or "smoke"
        settings = fresh_config(what, preset, flags)
        _check_drawn(settings, drawn)
        base = name or f"{what}-{Path(preset).stem}"
        return Matrix(base, what, preset, (), (Row("", dict(flags), {}),), drawn, {}), settings
    if config:
        raise UserError(f"--config={config}: a matrix names its own, write it into {what}")

    def resolved(method: str, preset: str, own: Flags) -> Resolved:
        every = [resolved_flags(method, preset, some).flags for some in (own, flags)]
        return resolved_flags(method, preset, {**every[0], **every[1]})

    matrix = read_matrix(Path(what), name, resolved, lambda *_: None)
    settings = fresh_config(matrix.method, matrix.config, matrix.rows[0].flags)
    matrix = replace(matrix, stylize={**matrix.stylize, **drawn})
    _check_drawn(settings, matrix.stylize)
    return matrix, settings


def _check_drawn(settings: Any, drawn: Mapping[str, str]) -> None:
    """Raises UserError for flags that train.stylize does not take of such runs: before hours of
    training, not behind them."""
    from train.methods import stylize_defaults
    from train.settings import check_stylize_flags

    check_stylize_flags(stylize_defaults(settings.method, settings.method_config), drawn)


def _slots(cards: tuple[str, ...]) -> tuple[list[dict[str, str]], str]:
    """What each process finds in its environment, and the device of all of them. Raises
    UserError."""
    if not cards:
        import torch

        cards = tuple(map(str, range(torch.cuda.device_count()))) or ("cpu",)
    return slots_of(cards), "cpu" if set(cards) == {"cpu"} else "cuda"


def _check_cards(cards: tuple[str, ...]) -> None:
    """Raises UserError for GPUs where there are none."""
    import torch

    if not torch.cuda.device_count():
        raise UserError(f"--cards={','.join(cards)}: torch sees no GPU here; --cards=cpu trains "
                        "without")  # fmt: skip


def _values(layout: Layout, data: Any, by: str, where: str, only: tuple[str, ...]) -> list[str]:
    """The values of a column, in order. Raises UserError."""
    from toolkit.store.catalog import Catalog
    from toolkit.stream.mix import parse_mix
    from toolkit.stream.tasks import dataset_of, in_split

    dataset = dataset_of(next(iter(parse_mix(data.mix))), data.main)
    catalog = Catalog(layout, [dataset])
    conditions = [catalog.condition(text) for text in (where, in_split(data.split))]
    rows = catalog.rows(
        f"SELECT DISTINCT {by} FROM samples WHERE ({conditions[0]}\n) AND ({conditions[1]}\n) "
        f"AND status = 'ok' AND {by} <> '' ORDER BY 1"
    )
    found = [str(row[0]) for row in rows]
    if unknown := [value for value in only if value not in found]:
        near = or_nearest(unknown[0], found)
        raise UserError(f"--only={unknown[0]}: {dataset} has {', '.join(found)}{near}")
    if not found:
        raise UserError(f"no sample of {dataset} has a {by}: there is nothing to train one by one")
    return [value for value in found if not only or value in only]


def _fields(positional: list[str], flags: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """Settings of the runs, and options of their pictures."""
    from train.methods import method_names, stylize_defaults
    from train.settings import fresh_config

    method, config = positional[0] if positional else method_names()[0], flags.get("config")
    if method.endswith(".toml"):
        tree = load_toml(Path(method))
        method, config = str(tree.get("method", "")), str(tree.get("config", "smoke"))
        if (Path(positional[0]).parent / config).is_file():
            config = str(Path(positional[0]).parent / config)
    settings = fresh_config(method, config or "smoke", {})
    drawn = describe(stylize_defaults(method, settings.method_config))
    own = dict.fromkeys(_OWN, "see python -m train.stylize --help")
    texts = {f"{_STYLIZE}{key}": text for key, text in {**own, **drawn}.items()}
    return f"settings of {method}, and options of its pictures:", describe(settings) | texts


def _known(positional: list[str], flags: Mapping[str, str]) -> dict[str, list[str]]:
    from train.run import known_values

    found = known_values(positional, flags)
    return {**found, "what": found["method"]}


if __name__ == "__main__":
    command.run(sweep, "python -m train.sweep", fields=_fields, values=_known)
