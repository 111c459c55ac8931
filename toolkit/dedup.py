"""Finds pictures that are copies of each other, within and across datasets and splits.

python -m toolkit.dedup --datasets=content,wikiart --dry_run
python -m toolkit.dedup --datasets=content,wikiart --flipped
python -m train.run --where="keep"
"""

import os
from pathlib import Path
from typing import Literal

from toolkit.core.command import run
from toolkit.core.errors import UserError
from toolkit.core.log import hint, warn
from toolkit.core.show import show
from toolkit.store.catalog import Catalog, print_gaps, without_rehearsals
from toolkit.store.layout import local_layout

_SHOWN = 20  # rows of groups in a table


def main(
    where: str = "true",
    *,
    distance: int = 4,
    flipped: bool = False,
    same: str = "",
    flat: float = 0.02,
    derived: bool = False,
    dry_run: bool = False,
    jobs: int = os.cpu_count() or 1,
    datasets: tuple[str, ...] | None = None,
    format: Literal["table", "json", "csv"] = "table",
    shards: Path = Path("shards"),
    manifests: Path = Path("manifests"),
) -> None:
    """Groups copies, says which of them stay, and reports those that reach over splits.

    Copies have the same bytes, or perceptual hashes (pHash, 64 bits) that differ in a few bits;
    copies of copies are in one group. Of a group test pictures all stay, those of val give way to
    test alone, those of train to all, and among themselves to the one with the most pixels. That is
    written as a sidecar of each shard, `dedup`, with the columns dup_group, keep and dup_distance,
    which every WHERE knows from then on: --where="keep" trains without copies. What nobody looked
    at is kept: other datasets, and pictures that were made from others, as targets are, which look
    like those. No shard is changed.

    Args:
        where: an SQL expression; rows for which it does not hold take no part, and an earlier
            answer on them stays.
        distance: bits by which hashes of copies differ at most; 4 finds other sizes and
            compressions, more also crops, and pictures that only look alike.
        flipped: mirrored copies count too; each picture is read once for that.
        same: an SQL expression whose equal values make copies besides, as of the same name:
            "artist || '/' || title".
        flat: pictures whose grey levels deviate by less than this part of their range take no part,
            for all of them look alike; 0 to count them.
        derived: pictures that are linked to those they were made from take part as well.
        dry_run: write no answers (hashes of mirrored pictures are kept, for they take a while).
        jobs: processes that read pictures for --flipped.
        datasets: only these datasets; all but rehearsals otherwise.
        format: table (a summary), json or csv (every picture that has copies).
        shards: folder of the tars.
        manifests: folder of the manifests.
    """
    from toolkit.duplicates.report import MEMBERS, by_group, by_split, leaks
    from toolkit.duplicates.search import Wanted, search
    from toolkit.duplicates.sidecar import write_sidecars

    _check(distance, flat, jobs)
    layout = local_layout(shards, manifests)
    catalog = Catalog(layout, list(datasets) if datasets else without_rehearsals(layout))
    print_gaps(catalog)
    condition = catalog.condition(where)
    equal = catalog.expression(same, "same") if same else ""
    for line in catalog.misspelt(where):
        warn(line)
    num_derived = 0
    if not derived:
        rows_of = f"FROM samples WHERE status = 'ok' AND ({condition}\n) AND len(links) > 0"
        num_derived = catalog.rows(f"SELECT count(*) {rows_of}")[0][0]
        condition = f"({condition}\n) AND coalesce(len(links), 0) = 0"
    found = search(catalog, Wanted(condition, distance, flipped, equal, flat, jobs))
    groups = by_group(found)
    rows = [row for members in groups for row in members]
    if not dry_run:
        write_sidecars(layout, catalog.datasets, found)
    if format != "table":
        show(MEMBERS, [tuple(row[name] for name in MEMBERS) for row in rows], format)
        return
    show(("dataset", "split", "pictures", "copies", "give_way", "flat"), by_split(found))
    print(f"{len(found.groups)} groups of {len(rows)} pictures")
    unhashed = found.pictures.num_rows - found.num_hashed
    if unhashed:
        print(f"{unhashed} pictures without a hash (of one grey, or packed with --check=headers): "
              "only the same bytes make them copies")  # fmt: skip
    if num_derived:
        print(f"{num_derived} pictures were made from others and took no part: --derived")
    if rows:
        print()
        show(MEMBERS, [tuple(row[name] for name in MEMBERS) for row in rows[:_SHOWN]])
        if len(rows) > _SHOWN:
            print(f"… {len(rows) - _SHOWN} more: --format=csv lists all")
    if over := leaks(groups):
        print("\nleaks between splits:")
        show(("in", "and_in", "groups", "one_of_them"), over)
    if not dry_run:
        hint('\nwritten as sidecars: --where="keep" leaves what gives way out')


def _check(distance: int, flat: float, jobs: int) -> None:
    if not 0 <= distance <= 64:
        raise UserError(f"--distance={distance}: takes 0 to 64 bits")
    if not 0 <= flat < 1:
        raise UserError(f"--flat={flat}: takes a number from 0 to 1, as 0.02")
    if jobs < 1:
        raise UserError(f"--jobs={jobs}: takes 1 or more")


if __name__ == "__main__":
    run(main, "python -m toolkit.dedup")
