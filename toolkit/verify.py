"""Proves that the shards hold what the manifests say.

python -m toolkit.verify
python -m toolkit.verify wikiart --sample=200
python -m toolkit.verify --repair_manifest wikiart
"""

import random
from pathlib import Path

from toolkit.core.command import run
from toolkit.core.errors import UserError
from toolkit.core.progress import Progress
from toolkit.packing.repair import packed_names, repair
from toolkit.store.catalog import no_dataset
from toolkit.store.check import (
    Problem,
    check_card,
    check_shard,
    find_duplicates,
    find_lost_links,
    find_orphaned_datasets,
    find_orphans,
)
from toolkit.store.check_sidecars import check_sidecars
from toolkit.store.layout import Layout, local_layout

MAX_SHOWN = 10  # problems of one shard


def main(
    dataset: str | None = None,
    *,
    sample: int | None = None,
    repair_manifest: bool = False,
    shards: Path = Path("shards"),
    manifests: Path = Path("manifests"),
) -> None:
    """Checks tars against manifests: hashes, offsets, decoding, orphans, duplicate keys, links; and
    sidecars against both.

    Leaves with exit code 2 when anything is wrong, naming it.

    Args:
        dataset: check only this dataset.
        sample: check only so many randomly chosen shards' contents, for a quick look.
        repair_manifest: rebuild manifests that are missing or damaged from the tars, before the
            check; what only the manifests knew (failed inputs, extra, source ids) is lost.
        shards: folder of the tars.
        manifests: folder of the manifests.
    """
    layout = local_layout(shards, manifests)
    if repair_manifest:
        _repair(layout, dataset)
    has_tars = dataset is not None and any((layout.shards / dataset).glob("*.tar"))
    if dataset is not None and has_tars and not layout.manifests_of(dataset):
        raise UserError(
            f"{dataset} has tars and no manifest: pack it again, or rebuild its manifests with "
            f"python -m toolkit.verify --repair_manifest {dataset}"
        )
    names = layout.datasets()
    if dataset is not None and dataset not in names:
        raise UserError(no_dataset(dataset, names))
    names = [dataset] if dataset else names
    work = [(name, path) for name in names for path in layout.manifests_of(name)]
    if sample is not None and sample < 1:
        raise UserError(f"sample={sample}: takes 1 or more")
    if sample is not None:
        work = sorted(random.Random(0).sample(work, min(sample, len(work))))
    problems: list[Problem] = []
    num_samples = num_problems = 0
    with Progress(len(work), "verify", "shards") as progress:
        for name, path in work:
            checked, here = check_shard(layout, name, path)
            num_samples += checked
            num_problems += len(here)
            problems += _shortened(here, f"{name}/{path.stem}")
            progress.advance()
    others: list[Problem] = []
    for name in names:
        others += find_duplicates(layout, name)
        others += find_orphans(layout, name)
        others += find_lost_links(layout, name)
        others += check_card(layout, name)
        others += check_sidecars(layout, name)
    if dataset is None:
        others += find_orphaned_datasets(layout)
    problems, num_problems = problems + others, num_problems + len(others)
    for problem in problems:
        print(f"{problem.where}: {problem.what}")
    found = f"{num_problems} {'problem' if num_problems == 1 else 'problems'}"
    print(f"{num_samples} samples in {len(work)} shards checked, {found}")
    if problems:
        raise UserError(
            f"{found} found: the command that packed what is named above mends it, byte for byte "
            "where the raw data are as they were"
        )


def _shortened(problems: list[Problem], where: str) -> list[Problem]:
    left = len(problems) - MAX_SHOWN
    if left <= 0:
        return problems
    return [*problems[:MAX_SHOWN], Problem(where, f"{left} more problems of this shard")]


def _repair(layout: Layout, dataset: str | None) -> None:
    for name in [dataset] if dataset else packed_names(layout):
        done = repair(layout, name)
        for stem, problem in done.hopeless:
            print(f"{name}/{stem}: not rebuilt: {problem}")
        for stem in done.rebuilt:
            print(f"{name}/{stem}: manifest rebuilt")
        if done.rebuilt:
            print(f"{name}: failed inputs, extra and source ids of these shards are lost")


if __name__ == "__main__":
    run(main, "python -m toolkit.verify")
