"""A queue of trainings over the cards: one run for each style, trained and drawn, each a process.

python -m train.sweep dreambooth_lora --config=safe --main=fewshot --cards=1,2,3
python -m train.sweep dreambooth_lora --config=smoke --main=fewshot --cards=cpu,cpu --styles=2

A run's weights and pictures do not depend on the queue: alone or among fifteen, on one card or
three.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from toolkit.core import command
from toolkit.core.cards import slots_of
from toolkit.core.config import describe
from toolkit.core.errors import UserError
from toolkit.core.show import show
from toolkit.store.layout import Layout, local_layout

_STYLIZE = "stylize."  # begins flags of the second stage
_OWN = ("files", "prompts", "seed")  # of these, the ones that are not the method's


def sweep(
    method: str,
    *,
    config: str = "smoke",
    main: str = "",
    by: Literal["style", "artist", "genre"] = "style",
    only: tuple[str, ...] = (),
    styles: int | None = None,
    cards: tuple[str, ...] = (),
    name: str | None = None,
    seed: int | None = None,
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
    """Trains one run for each style of a dataset and makes its pictures.

    Interrupted, the same command goes on where it stopped. A run that fails is tried again, and
    leaves the others going on. Every few seconds a line tells where each card is.

    Args:
        method: the method.
        config: a preset or a TOML file.
        main: the dataset of the main task; the preset's otherwise.
        by: the column whose values are trained one by one.
        only: these values, comma-separated; all otherwise.
        styles: the first so many of them.
        cards: numbers of GPUs, comma-separated, each for one process at a time; cpu, once for each
            process, on the CPU. All GPUs that there are otherwise, or one process on the CPU.
        name: of the runs, as NAME-STYLE; METHOD-CONFIG otherwise.
        seed: of all runs; the preset's otherwise.
        where: SQL condition besides.
        then: commands that follow for each run, comma-separated, as eval.run,eval.report.
        overwrite: train runs anew whose flags are others than before.
        retries: how often a run that fails is begun again, a training where it stopped.
        dry_run: only print the commands.
        format: of what is printed in the end: table, json or csv.
        runs: folder of the runs.
        shards: folder of the tars.
        manifests: folder of the manifests.
    """
    import shlex

    from toolkit.core.run_jobs import Job, refuse_others, work
    from train.runs import RunFolder
    from train.settings import fresh_config

    layout = local_layout(shards, manifests)
    flags = {key: text for key, text in overrides.items() if not key.startswith(_STYLIZE)}
    drawn = {key.removeprefix(_STYLIZE): text for key, text in overrides.items()
             if key.startswith(_STYLIZE)}  # fmt: skip
    settings = fresh_config(method, config, {**flags, **({"data.main": main} if main else {})})
    _check_drawn(settings, drawn)
    slots, device = _slots(cards)
    base = name or f"{method}-{Path(config).stem}"
    values = _values(layout, settings.data, by, where, only)[:styles]
    more = [f"--{key}={text}" for key, text in flags.items()]
    more += [f"--data.main={main}"] if main else []
    more += [f"--seed={seed}"] if seed is not None else []
    data = [f"--shards={shards}", f"--manifests={manifests}"]
    jobs = []
    for value in values:
        run_name = f"{base}-{_slug(value)}"
        run = runs / run_name
        chosen = f"({where}) and {by} = '{value.replace(chr(39), chr(39) * 2)}'"
        commands = {
            "train": ["-m", "train.run", method, f"--config={config}", f"--name={run_name}",
                      f"--runs={runs}", *data, f"--device={device}", f"--where={chosen}", *more],
            "stylize": ["-m", "train.stylize", f"--run={run}", *data,
                        *(f"--{key}={text}" for key, text in drawn.items())],
            **{later: ["-m", later, f"--run={run}", *data] for later in then},
        }  # fmt: skip
        jobs.append(Job(value, run, runs / base / "jobs" / run_name, commands))
    if dry_run:
        for job in jobs:
            print("\n".join(shlex.join(["python", *words]) for words in job.commands.values()))
        return
    refuse_others(jobs, overwrite, "queue")

    def has_pictures(job: Job) -> bool:
        return RunFolder(job.run).dataset in layout.datasets()

    outcome = work(jobs, overwrite, has_pictures, slots, retries)
    rows = []
    for job in jobs:
        state = job.state()
        what = next(key for key, found in outcome.items() if job in found)
        took = [round(state.seconds.get(stage, 0.0), 1) for stage in job.commands]
        rows.append([job.label, str(job.run), state.failed or what, *took])
    show([by, "run", "state", *(f"{s} s" for s in ("train", "stylize", *then))], rows, format)
    if outcome["failed"]:
        failed = ", ".join(job.label for job in outcome["failed"])
        raise UserError(f"{len(outcome['failed'])} of {len(jobs)} runs failed ({failed}): mend "
                        "what they say, the same command tries them again")  # fmt: skip


def _check_drawn(settings: Any, drawn: Mapping[str, str]) -> None:
    """Raises UserError for flags that train.stylize does not take of such runs: before hours of
    training, not behind them."""
    from toolkit.core.config import nest, resolve
    from train.methods import stylize_defaults

    usual = stylize_defaults(settings.method, settings.method_config)
    resolve(usual, nest({key: text for key, text in drawn.items() if key not in _OWN}), "stylize")


def _slots(cards: tuple[str, ...]) -> tuple[list[dict[str, str]], str]:
    """What each process finds in its environment, and the device of all of them. Raises
    UserError."""
    if not cards:
        import torch

        cards = tuple(map(str, range(torch.cuda.device_count()))) or ("cpu",)
    return slots_of(cards), "cpu" if set(cards) == {"cpu"} else "cuda"


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
        raise UserError(f"--only={unknown[0]}: {dataset} has {', '.join(found)}")
    if not found:
        raise UserError(f"no sample of {dataset} has a {by}: there is nothing to train one by one")
    return [value for value in found if not only or value in only]


def _slug(value: str) -> str:
    from toolkit.store.keys import make_key

    return make_key(value)


def _fields(positional: list[str], flags: Mapping[str, str]) -> tuple[str, dict[str, str]]:
    """Settings of the runs, and options of their pictures."""
    from train.methods import method_names, stylize_defaults
    from train.settings import fresh_config

    method = positional[0] if positional else method_names()[0]
    settings = fresh_config(method, flags.get("config", "smoke"), {})
    drawn = describe(stylize_defaults(method, settings.method_config))
    own = dict.fromkeys(_OWN, "see python -m train.stylize --help")
    texts = {f"{_STYLIZE}{key}": text for key, text in {**own, **drawn}.items()}
    return f"settings of {method}, and options of its pictures:", describe(settings) | texts


if __name__ == "__main__":
    command.run(sweep, "python -m train.sweep", fields=_fields)
