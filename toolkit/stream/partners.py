"""Draws another style picture for a sample than the one it is linked to.

A model that always sees the very picture that its target was made from can copy its content. With a
partner of the same style or artist it has to learn what they share.
"""

from collections.abc import Sequence
from typing import get_args

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from toolkit.core.errors import UserError
from toolkit.core.keyed import key64
from toolkit.store.selection import Selection
from toolkit.stream.coalesce import Piece
from toolkit.stream.names import StylePartner
from toolkit.stream.order import mix64
from toolkit.stream.rows import Rows, Sample

_COLUMNS = {"same_style": "style", "same_artist": "artist"}
_TRIES = 8


class Partners:
    """Draws from the targets of a selection, by the sample's seed alone.

    A sample whose style or artist the pool does not have keeps the picture that it is linked to.

    Args:
        pool: the style pictures to draw from.
        rule: what the partner shares with the sample: its style, its artist, or nothing.

    Raises:
        UserError: an unknown rule, or `same_picture`, which needs no partners; a pool in which no
            picture has a style or an artist.
    """

    def __init__(self, pool: Selection, rule: StylePartner):
        if rule == "same_picture":
            raise UserError("same_picture is the picture that a sample is linked to: no partners")
        if rule not in get_args(StylePartner):
            raise UserError(f"style partner {rule!r}: choose {', '.join(get_args(StylePartner))}")
        self.pool, self._rule = pool, rule
        self._rows = Rows(pool, ["target"])
        self._key = np.uint64(key64("partner"))
        self._column = _COLUMNS.get(rule)
        if self._column:
            self._group_of, self._starts, self._members = _grouped(pool, self._column)
            if not self._group_of:
                raise UserError(f"no picture of the pool {pool.name} has a known {self._column}")

    @property
    def identity(self) -> dict[str, str]:
        """What decides the draws, for the state of a stream."""
        return {"rule": self._rule, "pool": self.pool.fingerprint}

    def num_without(self, selection: Selection) -> int:
        """How many samples find no partner and keep the picture that they are linked to."""
        if not self._column:
            return 0
        known = pa.array(sorted(self._group_of))
        found = pc.is_in(selection.table.column(self._column), value_set=known)
        return len(selection) - int(pc.sum(found).as_py() or 0)

    def draw(
        self, samples: Sequence[Sample], seeds: Sequence[int], attempt: int = 0
    ) -> list[Piece | None]:
        """A style picture for each sample; None where the pool has none for it.

        attempt: another one draws another picture, where one did not decode.
        """
        spans = [self._span(sample) for sample in samples]
        found: list[Piece | None] = [None] * len(samples)
        place: dict[int, int] = {}
        left = [i for i, (_, count) in enumerate(spans) if count]
        for turn in range(_TRIES + 1):
            if not left:
                break
            draws = self._draws([seeds[i] for i in left], attempt * _TRIES + turn)
            for i, draw in zip(left, draws, strict=True):
                # always the linked picture, so far: then the next one
                place[i] = (draw if turn < _TRIES else place[i] + 1) % spans[i][1]
            rows = [spans[i][0] + place[i] for i in left]
            rows = self._members[rows].tolist() if self._column else rows
            for i, drawn in zip(left, self._rows.samples(rows), strict=True):
                found[i] = drawn.pieces["target"]._replace(role="style")
            left = [i for i in left if _same(found[i], samples[i].pieces.get("style"))]
        return found

    def _draws(self, seeds: list[int], turn: int) -> list[int]:
        keys = mix64(np.array(seeds, np.uint64) ^ self._key)
        draws: list[int] = mix64(keys + np.uint64(turn)).tolist()
        return draws

    def largest(self) -> int:
        """Bytes of the largest picture of the pool."""
        return self._rows.largest()

    def _span(self, sample: Sample) -> tuple[int, int]:
        """(first, number) of the pictures that a sample may get."""
        if not self._column:
            return 0, len(self._rows)
        group = self._group_of.get(getattr(sample, self._column))
        if group is None:
            return 0, 0
        return self._starts[group], self._starts[group + 1] - self._starts[group]


def _same(one: Piece | None, other: Piece | None) -> bool:
    return one is not None and other is not None and one[:2] == other[:2]


def _grouped(pool: Selection, column: str) -> tuple[dict[str, int], list[int], np.ndarray]:
    """(group of each value, where each group starts, rows by group), one more start than groups."""
    coded = pool.table.column(column).combine_chunks().dictionary_encode()
    codes = coded.indices.fill_null(len(coded.dictionary)).to_numpy()
    members = np.argsort(codes, kind="stable").astype(np.int32)
    counts = np.bincount(codes, minlength=len(coded.dictionary))[: len(coded.dictionary)]
    starts = np.concatenate([[0], np.cumsum(counts)]).tolist()
    return {value: i for i, value in enumerate(coded.dictionary.to_pylist())}, starts, members
