"""Which samples make a batch of one shape: an exact mix of batches, as a pure function.

The unit is the batch. Batch k of the stream is of one source, drawn as `Mix` draws samples: windows
of sum(weights) batches hold each source exactly `weight` times. An epoch of a source has ⌈n/B⌉
batches of each bucket with n pictures, gone through in an order that a key permutes; inside a
bucket the pictures are permuted anew each epoch, and its last batch is short. Position k·B + i
holds sample i of batch k, or nothing where the batch is shorter.
"""

from collections.abc import Mapping

import numpy as np

from toolkit.core.errors import UserError
from toolkit.core.keyed import key64
from toolkit.stream.buckets import BucketIndex
from toolkit.stream.mix import Mix, Place
from toolkit.stream.order import mix64, permute_blocks


class BucketMix:
    """The infinite order of batches of one shape each.

    Args:
        indices: the rows of each source by bucket.
        weights: whole-number weight of each source by name, in batches.
        batch_size: samples in a batch that is not the last of its bucket.
        seed: another seed gives another order.
        block: samples that stay together when a bucket is shuffled.

    Raises:
        UserError: as `Mix` does; a source without any picture that is large enough.
    """

    def __init__(
        self, indices: Mapping[str, BucketIndex], weights: Mapping[str, int], batch_size: int,
        seed: int, block: int = 1,
    ):  # fmt: skip
        for name in weights:
            if not len(indices[name]):
                raise UserError(
                    f"the mix takes {name}, but none of its {indices[name].num_left_out} pictures "
                    "is large enough: lower buckets.least"
                )
        self.batch_size, self.seed, self.block = batch_size, seed, block
        self._indices = [indices[name] for name in weights]
        ahead = [np.cumsum(-(-index.counts // batch_size)) for index in self._indices]
        self._ends = ahead  # batches of an epoch up to and with each bucket
        self._batches = Mix(
            {name: int(ends[-1]) for name, ends in zip(weights, ahead, strict=True)}, weights, seed
        )
        self.names, self.weights = self._batches.names, self._batches.weights
        self._seed_key = np.uint64(key64("sample", seed))
        self._inner = [np.uint64(key64("in bucket", seed, name)) for name in self.names]

    @property
    def window(self) -> int:
        """Number of positions over which the mix of batches is exact."""
        return self._batches.window * self.batch_size

    def positions(self, epochs: int) -> int:
        """Positions, in whole windows, after which the first source has been gone through so many
        times."""
        return self._batches.positions(epochs) * self.batch_size

    def shape_of(self, source: int, bucket: int) -> tuple[int, int]:
        """Height and width in pixels."""
        return self._indices[source].shapes[bucket]

    def lengths(self, starts: np.ndarray) -> np.ndarray:
        """Samples of the batches that begin at these positions, int64."""
        source, bucket, first, _ = self._found(starts // self.batch_size)
        total = np.array(
            [self._indices[s].counts[b] for s, b in zip(source, bucket, strict=True)], np.int64
        )
        return np.minimum(total - first, self.batch_size)

    def at(self, positions: np.ndarray) -> tuple[Place, np.ndarray]:
        """What stands at the positions, int64 [M], none behind the end of its batch; and the number
        of its bucket, int64 [M]."""
        batch, inside = np.divmod(positions.astype(np.int64), self.batch_size)
        source, bucket, first, epoch = self._found(batch)
        row = np.empty_like(batch)
        pairs = np.stack([source, bucket], axis=1)
        for number, of in np.unique(pairs, axis=0).tolist():
            mine = (source == number) & (bucket == of)
            index = self._indices[number]
            keys = mix64(mix64(epoch[mine].astype(np.uint64) ^ self._inner[number]) + np.uint64(of))
            order = (first + inside)[mine]
            image = permute_blocks(order, int(index.counts[of]), self.block, keys)
            row[mine] = index.rows(of, image)
        seeds = mix64(positions.astype(np.uint64) ^ self._seed_key)
        return Place(source, row, epoch, seeds), bucket

    def _found(self, batch: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Source, bucket, index in the bucket of the first sample, and epoch, of batches."""
        place = self._batches.at(batch)
        bucket, first = np.empty_like(place.row), np.empty_like(place.row)
        for number, ends in enumerate(self._ends):
            mine = place.source == number
            found = np.searchsorted(ends, place.row[mine], side="right")
            begun = np.concatenate([[0], ends])[found]
            bucket[mine], first[mine] = found, (place.row[mine] - begun) * self.batch_size
        return place.source, bucket, first, place.epoch
