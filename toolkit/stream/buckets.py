"""Pictures of like shape together: aspect buckets.

A batch holds pictures of one height and width, multiples of some number of pixels, near each
picture's own aspect and size, so that little is cut away and nothing is padded (NovelAI 2022,
"Aspect Ratio Bucketing"; SDXL, arXiv 2307.01952, section 2.3).
"""

from dataclasses import dataclass

import numpy as np

from toolkit.core.checks import at_least
from toolkit.core.errors import UserError
from toolkit.store.selection import Selection
from toolkit.stream.rows import whole_column


@dataclass(frozen=True)
class Buckets:
    """Which shapes there are.

    multiple: sides are multiples of so many pixels. size: no shape has more than size² pixels;
    larger pictures are made smaller. least: pictures that would have fewer than least² are left
    out; none is made larger. Raises UserError for a value out of its range.
    """

    multiple: int = 32
    size: int = 1024
    least: int = 768

    def __post_init__(self) -> None:
        at_least(1, multiple=self.multiple)
        if self.size < self.multiple:
            raise UserError(f"buckets.size={self.size}: takes {self.multiple} or more, multiple")
        if not 0 <= self.least <= self.size:
            raise UserError(f"buckets.least={self.least}: takes 0 to {self.size}, size")

    def shapes(self, heights: np.ndarray, widths: np.ndarray) -> np.ndarray:
        """int64 [N,2], height and width of each picture's bucket, 0 where it is left out.

        A picture of no more than size² pixels keeps its sides, rounded down. Of a larger one, both
        sides are scaled alike to size² and rounded up or down: of the four, the one nearest in
        aspect that exceeds neither size² nor the picture. heights, widths: int64 [N], pixels.
        """
        step, sides = self.multiple, np.stack([heights, widths], axis=1).astype(np.int64)
        floor = sides // step * step
        area = floor.prod(axis=1)
        scale = np.sqrt(self.size**2 / np.maximum(sides.prod(axis=1), 1))
        ideal = sides * scale[:, None] / step
        found = np.floor(ideal).astype(np.int64) * step
        wanted = widths / np.maximum(heights, 1)
        best = _apart(found, wanted)
        for up in ([False, True], [True, False], [True, True]):
            rounded = np.where(np.array(up), np.ceil(ideal), np.floor(ideal))
            other = rounded.astype(np.int64) * step
            fits = (other.prod(axis=1) <= self.size**2) & (other <= floor).all(axis=1)
            apart = np.where(fits, _apart(other, wanted), np.inf)
            found = np.where((apart < best)[:, None], other, found)
            best = np.minimum(best, apart)
        found = np.where((area <= self.size**2)[:, None], floor, found)
        is_small = (area < self.least**2) | (found == 0).any(axis=1)
        return np.where(is_small[:, None], 0, found)


def _apart(shapes: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """How far the aspects of shapes are from those wanted, as factors; an empty one infinitely."""
    height, width = np.maximum(shapes, 1).T
    ratio = (width / height) / np.maximum(wanted, 1e-9)
    apart = np.maximum(ratio, 1 / np.maximum(ratio, 1e-9))
    return np.where((shapes > 0).all(axis=1), apart, np.inf)


class BucketIndex:
    """The rows of a selection by bucket: four bytes a row.

    Args:
        selection: whose pictures' sizes decide.
        buckets: which shapes there are.

    shapes: (height, width) of each, sorted. num_left_out: rows that are in none.
    """

    def __init__(self, selection: Selection, buckets: Buckets):
        sizes = (whole_column(selection, name).fill_null(0) for name in ("height", "width"))
        found = buckets.shapes(*(np.asarray(column, np.int64) for column in sizes))
        code = found[:, 0] << 32 | found[:, 1]
        codes, number = np.unique(code, return_inverse=True)
        order = np.argsort(number, kind="stable").astype(np.int32)
        counts = np.bincount(number, minlength=len(codes))
        skipped = int(counts[0]) if len(codes) and codes[0] == 0 else 0
        self.num_left_out, first = skipped, int(skipped > 0)
        self.shapes = [(int(c >> 32), int(c & 0xFFFFFFFF)) for c in codes[first:]]
        self._rows = order[skipped:]
        self._starts = np.concatenate([[0], np.cumsum(counts[first:])]).astype(np.int64)

    def __len__(self) -> int:
        """Rows that are in a bucket."""
        return len(self._rows)

    @property
    def counts(self) -> np.ndarray:
        """Rows in each bucket, int64."""
        return np.diff(self._starts)

    def rows(self, bucket: int, index: np.ndarray) -> np.ndarray:
        """The rows of a bucket at some indices, int64 [M]."""
        return self._rows[self._starts[bucket] + index].astype(np.int64)

    def after(self, bucket: int, row: int) -> int:
        """The next row of the same bucket; behind the last comes the first."""
        mine = self._rows[self._starts[bucket] : self._starts[bucket + 1]]
        return int(mine[(int(np.searchsorted(mine, row)) + 1) % len(mine)])
