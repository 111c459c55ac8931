"""Plans which content a teacher paints in which style.

python -m toolkit.pairs --num_pairs=10000 --seeds=0,1,2
python -m toolkit.pairs --num_pairs=10000 --balance=style,artist --split=val
"""

import itertools
from collections import Counter
from pathlib import Path
from typing import Literal

from toolkit.core.checks import at_least
from toolkit.core.command import run
from toolkit.core.errors import UserError
from toolkit.core.files import make_folder
from toolkit.pairing.candidates import Picture, SplitColumn, Splits, find_candidates
from toolkit.pairing.draw import Tree, draw
from toolkit.pairing.plan import Target, plan_length, read_plan, targets, write_lines, write_plan
from toolkit.store.catalog import Catalog, print_gaps, without_rehearsals
from toolkit.store.layout import local_layout
from toolkit.store.near import are_alike

VERSION = 1
"""Of the way pairs are drawn: another draws others from the same arguments."""


def main(
    *,
    content_where: str = "dataset='content'",
    style_where: str = "dataset='wikiart'",
    num_pairs: int | None = None,
    seeds: tuple[int, ...] = (0,),
    split: Splits = "train",
    split_column: SplitColumn = "split",
    balance: tuple[Literal["style", "artist"], ...] = (),
    draw_seed: int = 0,
    out: Path | None = None,
    overwrite: bool = False,
    shards: Path = Path("shards"),
    manifests: Path = Path("manifests"),
) -> None:
    """Draws pairs of content and style pictures, and writes them as a plan for toolkit.teach.

    --num_pairs counts pairs; each becomes as many pictures as there are --seeds. Every content is
    in as many pairs as any other, give or take one. Both pictures of a pair are of the same split,
    they are never nearly the same, and neither is nearly the same as a picture of a later split.
    The same command writes the same plan; with more pairs or seeds, a plan that has the smaller
    one's pictures among its own.

    Args:
        content_where: SQL over the manifest's columns: the contents.
        style_where: the paintings.
        num_pairs: how many pairs; as many as there are contents otherwise.
        seeds: of the teacher's noise; all pairs come with the first one, then all with the next.
        split: train, val or test; a picture without a split counts as train.
        split_column: split, or split_artist_disjoint, in which no artist is on two sides.
        balance: style: every style as often as any other; style,artist: and in each style every
            artist; artist: every artist. Otherwise every painting. Those without a name have their
            turn as one.
        draw_seed: another draws other pairs.
        out: folder of pseudo_pairs_SPLIT.parquet and .jsonl; manifests/pairs otherwise.
        overwrite: replace a plan of that name that holds other pairs.
        shards: folder of the tars.
        manifests: folder of the manifests.
    """
    at_least(0, draw_seed=draw_seed, **{f"seeds={s}": s for s in seeds})
    if num_pairs is not None:
        at_least(1, num_pairs=num_pairs)
    if not seeds or len(set(seeds)) != len(seeds):
        raise UserError(f"--seeds={','.join(map(str, seeds))}: name one or more, each once")
    layout = local_layout(shards, manifests)
    catalog = Catalog(layout, without_rehearsals(layout))
    print_gaps(catalog)
    notes: Counter[str] = Counter()
    contents = find_candidates(catalog, content_where, "content", split, split_column, notes)
    styles = find_candidates(catalog, style_where, "style", split, split_column, notes)
    number = num_pairs or len(contents)
    pairs = _pairs(contents, styles, balance, draw_seed, number, notes)
    planned = list(targets(pairs, seeds, split))
    folder = make_folder(out or layout.manifests / "pairs")
    path = folder / f"pseudo_pairs_{split}.parquet"
    kept = 0 if overwrite else _kept(path, planned)
    how = {
        "version": VERSION, "content_where": content_where, "style_where": style_where,
        "num_pairs": number, "seeds": list(seeds), "split": split, "split_column": split_column,
        "balance": list(balance), "draw_seed": draw_seed,
    }  # fmt: skip
    write_lines(path.with_suffix(".jsonl"), planned)
    write_plan(path, how, planned)
    _print(path, contents, styles, len(pairs), len(seeds), kept, notes)


def _pairs(
    contents: list[Picture],
    styles: list[Picture],
    balance: tuple[str, ...],
    draw_seed: int,
    number: int,
    notes: Counter[str],
) -> list[tuple[Picture, Picture]]:
    """Raises UserError where there are not so many."""
    alike: set[tuple[int, int]] = set()

    def may_pair(content: int, style: int) -> bool:
        if are_alike(contents[content].phash, styles[style].phash):
            alike.add((content, style))
            return False
        return True

    tree = _tree(styles, balance, notes)
    drawn = list(itertools.islice(draw(len(contents), tree, draw_seed, may_pair), number))
    if alike:
        notes["pairs passed over, content and style nearly the same"] += len(alike)
    if len(drawn) < number:
        raise UserError(
            f"--num_pairs={number}: {len(contents)} contents and {len(styles)} styles make "
            f"{len(drawn)} pairs at most; --seeds=0,1,2 makes three pictures of each"
        )
    return [(contents[content], styles[style]) for content, style in drawn]


def _tree(styles: list[Picture], balance: tuple[str, ...], notes: Counter[str]) -> Tree:
    """The numbers of the styles, branched as `balance` says."""

    def branch(numbers: list[int], columns: list[str]) -> Tree:
        if not columns:
            return numbers
        groups: dict[str, list[int]] = {}
        for number in numbers:
            groups.setdefault(getattr(styles[number], columns[0]) or "", []).append(number)
        return [branch(groups[name], columns[1:]) for name in sorted(groups)]

    columns: list[str] = [column for column in ("style", "artist") if column in balance]
    for column in columns:
        if unnamed := sum(not getattr(style, column) for style in styles):
            notes[f"style pictures without {column}, which have their turn as one"] += unnamed
    return branch(list(range(len(styles))), columns)


def _kept(path: Path, planned: list[Target]) -> int:
    """How many pictures a plan that is there holds, all of which are in this one; raises UserError
    where some are not."""
    if not path.exists():
        return 0
    these = set(planned)
    others = [target.key for target in read_plan(path) if target not in these]
    length = plan_length(path)
    if others:
        raise UserError(
            f"{path} holds {length} pictures, {len(others)} of them not in this plan, as "
            f"{others[0]}: choose another --out=FOLDER, or give --overwrite"
        )
    return length


def _print(
    path: Path,
    contents: list[Picture],
    styles: list[Picture],
    num_pairs: int,
    num_seeds: int,
    kept: int,
    notes: Counter[str],
) -> None:
    print(f"{num_pairs} pairs × {num_seeds} seeds = {num_pairs * num_seeds} pictures: {path}")
    print(
        f"  drawn from {len(contents)} contents and {len(styles)} style pictures; as lines beside "
        "it: .jsonl"
    )
    if kept:
        print(f"  {kept} of its pictures were planned before")
    for note, count in sorted(notes.items()):
        print(f"  {note}: {count}")


if __name__ == "__main__":
    run(main, "python -m toolkit.pairs")
