"""The selections behind a mix: which dataset each task streams, and under which condition."""

from toolkit.core.errors import UserError
from toolkit.core.nearest import or_nearest
from toolkit.store.layout import Layout
from toolkit.store.selection import Selection, select
from toolkit.stream.mix import parse_mix


def tasks_of(
    mix: str, main: str, where: str, split: str, layout: Layout
) -> tuple[dict[str, int], list[Selection]]:
    """(weight of each task, its selection), in the order of the mix.

    Args:
        mix: as in main:3,fill50k:1; `main` is the dataset named by `main`, any other task is the
            dataset of its own name.
        where: SQL condition on the first task's samples.
        split: which samples of all tasks.
        layout: the data folders.

    Raises:
        UserError: a malformed mix, a task that is no dataset, and as `select` does.
    """
    weights = parse_mix(mix)
    packed = layout.datasets()
    for name in weights:
        if name != "main" and name not in packed:
            raise UserError(
                f"mix={mix}: {name} is no dataset; write NAME:WEIGHT, NAME being main "
                f"(the dataset {main}) or one of {', '.join(packed)}; without it, --mix=main:1"
                f"{or_nearest(name, ['main', *packed])}"
            )
    first, *rest = weights
    chosen = [select(first, dataset_of(first, main), [where, in_split(split)], layout)]
    return weights, chosen + [select(name, name, in_split(split), layout) for name in rest]


def in_split(split: str) -> str:
    """SQL for the samples of a split; what was packed without one is there to train on."""
    return f"split = '{split}'" + (" or split is null" if split == "train" else "")


def dataset_of(task: str, main: str) -> str:
    """The dataset that a task streams."""
    return main if task == "main" else task
