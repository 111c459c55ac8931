"""The pictures that pairs are drawn from: a query's rows of one split, without leaks."""

from collections import Counter
from dataclasses import dataclass
from typing import Any, Literal

from toolkit.core.errors import UserError
from toolkit.store.catalog import Catalog
from toolkit.store.near import SAME_BITS, near_hashes

Splits = Literal["train", "val", "test"]
SplitColumn = Literal["split", "split_artist_disjoint"]
_KEPT_FROM = {"train": "'val', 'test'", "val": "'test'", "test": ""}


@dataclass(frozen=True)
class Picture:
    """One candidate; texts are None where they are not known."""

    dataset: str
    key: str
    style: str | None
    artist: str | None
    genre: str | None
    caption: str | None
    phash: int | None


def find_candidates(
    catalog: Catalog, where: str, role: str, split: Splits, column: SplitColumn, notes: Counter[str]
) -> list[Picture]:
    """The pictures for which the condition holds, by dataset and key.

    A picture that says no split counts as train. One that is nearly the same as a picture of a
    later split (val after train, test after val) is left out, so that a score tells nothing it has
    seen. Pictures made from others do not count there: those others do, and a plan must be the same
    after it was taught.

    Args:
        catalog: over the packed datasets.
        where: SQL over the manifest's columns.
        role: content or style, for messages.
        split, column: which side, and which of the two splits.
        notes: told what is left out, and what could not be looked at.

    Raises:
        UserError: bad SQL, or nothing found.
    """
    condition = catalog.condition(where)
    side = f"coalesce({column}, 'train')"
    rows = f"FROM samples WHERE status = 'ok' AND ({condition}\n)"
    chosen = f"{rows} AND {side} = '{split}'"
    leaks: set[Any] = set()
    if _KEPT_FROM[split]:
        other = (
            "SELECT phash FROM samples WHERE status = 'ok' AND len(coalesce(links, [])) = 0 "
            f"AND {side} IN ({_KEPT_FROM[split]})"
        )
        found = catalog.rows(near_hashes(f"SELECT phash {chosen}", other, SAME_BITS))
        leaks = {phash for (phash,) in found}
    names = "dataset, key, style, artist, genre, caption, phash"
    pictures = [
        Picture(*row) for row in catalog.rows(f"SELECT {names} {chosen} ORDER BY dataset, key")
    ]
    kept = [p for p in pictures if p.phash not in leaks]
    if not kept:
        raise UserError(_nothing(catalog, where, role, split, column, rows, len(pictures)))
    if lost := len(pictures) - len(kept):
        notes[f"{role} pictures left out, nearly the same as one of {_later(split)}"] += lost
    if unknown := sum(p.phash is None for p in kept):
        notes[f"{role} pictures without a perceptual hash, not compared with others"] += unknown
    _refuse_double(kept, role)
    return kept


def _later(split: str) -> str:
    return _KEPT_FROM[split].replace("'", "").replace(", ", " or ")


def _refuse_double(pictures: list[Picture], role: str) -> None:
    """Keys name the targets, so they must not stand in two datasets."""
    first: dict[str, str] = {}
    for picture in pictures:
        if (other := first.setdefault(picture.key, picture.dataset)) != picture.dataset:
            raise UserError(
                f"the {role} {picture.key} stands in {other} and in {picture.dataset}: choose one "
                f"with --{role}_where=\"dataset='{other}'\""
            )


def _nothing(
    catalog: Catalog, where: str, role: str, split: str, column: str, rows: str, number: int
) -> str:
    flag = f"--{role}_where={where!r}"
    if number:
        return f"{flag}: all {number} of {split} are nearly the same as pictures of {_later(split)}"
    found = catalog.rows(f"SELECT DISTINCT coalesce({column}, 'train') AS side {rows} ORDER BY 1")
    if found:
        return f"{flag} has no picture of {split}, only of {', '.join(s for (s,) in found)}"
    hints = catalog.misspelt(where)
    return f"{flag} finds no picture" + "".join(f"; {hint}" for hint in hints)
