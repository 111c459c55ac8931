"""Draws another style picture for a sample than the one it is linked to.

A model that always sees the very picture that its target was made from can copy its content. With a
partner of the same style or artist it has to learn what they share.
"""

from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from toolkit.core.errors import UserError
from toolkit.core.keyed import key64
from toolkit.store.selection import Selection
from toolkit.stream.coalesce import Piece
from toolkit.stream.order import mix64
from toolkit.stream.rows import Rows
from toolkit.stream.schedule import Want

StylePartner = Literal["same_picture", "same_style", "same_artist", "random"]
_COLUMNS = {"same_style": "style", "same_artist": "artist"}
_TRIES = 8  # to draw another picture than the linked one


class Partners:
    """Draws from the targets of a selection, by the sample's seed alone.

    A sample whose style or artist the pool does not have keeps the picture that it is linked to.

    Args:
        pool: the style pictures to draw from.
        rule: what the partner shares with the sample: its style, its artist, or nothing.

    Raises:
        UserError: `same_picture`, which needs no partners; a pool in which no picture has a style
            or an artist.
    """

    def __init__(self, pool: Selection, rule: StylePartner):
        if rule == "same_picture":
            raise UserError("same_picture is the picture that a sample is linked to: no partners")
        self.pool, self._rule = pool, rule
        self._rows = Rows(pool, ["target"])
        self._key = np.uint64(key64("partner"))
        self._column = _COLUMNS.get(rule)
        if self._column:
            self._group_of, self._starts, self._members = _grouped(pool, self._column)
            if not self._group_of:
                raise UserError(f"no picture of {pool.name} has a known {self._column}")

    def num_without(self, selection: Selection) -> int:
        """How many samples find no partner and keep the picture that they are linked to."""
        if not self._column:
            return 0
        known = pa.array(sorted(self._group_of))
        found = pc.is_in(selection.table.column(self._column), value_set=known)
        return len(selection) - int(pc.sum(found).as_py() or 0)

    def draw(self, rows: Rows, want: Want, attempt: int = 0) -> Piece | None:
        """The style picture for a sample; None where the pool has none for it.

        attempt: another one draws another picture, where one did not decode.
        """
        first, count = 0, len(self._rows)
        if self._column:
            group = self._group_of.get(rows.value(self._column, want.row))
            if group is None:
                return None
            first, count = self._starts[group], self._starts[group + 1] - self._starts[group]
        own = rows.pieces(want.row).get("style")
        piece = None
        for number in range(_TRIES):
            draw = mix64(np.array([want.seed], np.uint64) ^ self._key)
            draw = mix64(draw + np.uint64(attempt * _TRIES + number))
            place = first + int(draw[0] % np.uint64(count))
            row = int(self._members[place]) if self._column else place
            piece = self._rows.pieces(row)["target"]._replace(role="style")
            if own is None or (piece.path, piece.offset) != (own.path, own.offset):
                break
        return piece


def _grouped(pool: Selection, column: str) -> tuple[dict[str, int], list[int], np.ndarray]:
    """(group of each value, where each group starts, rows by group), one more start than groups."""
    coded = pool.table.column(column).combine_chunks().dictionary_encode()
    codes = coded.indices.fill_null(len(coded.dictionary)).to_numpy()
    members = np.argsort(codes, kind="stable").astype(np.int32)
    counts = np.bincount(codes, minlength=len(coded.dictionary))[: len(coded.dictionary)]
    starts = np.concatenate([[0], np.cumsum(counts)]).tolist()
    return {value: i for i, value in enumerate(coded.dictionary.to_pylist())}, starts, members
