"""Reads and decodes chosen samples of selections into one batch."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import Any

import numpy as np
import torch

from toolkit.core.errors import UserError
from toolkit.store.images import PictureError
from toolkit.store.selection import Selection
from toolkit.stream.augment import Augment
from toolkit.stream.batch import Batch, ImageSet
from toolkit.stream.buckets import BucketIndex
from toolkit.stream.buffers import Buffers
from toolkit.stream.coalesce import Piece, coalesce
from toolkit.stream.damage import refuse_damage
from toolkit.stream.decode import Framing, decode_cut
from toolkit.stream.features import FeatureReader
from toolkit.stream.lookup import Lookup
from toolkit.stream.partners import Partners
from toolkit.stream.reader import RangeReader, SharedRead
from toolkit.stream.rows import Sample
from toolkit.stream.schedule import Step, Want

MAX_SUBSTITUTES = 8
_TENSOR = "tensor "  # begins the role of what is read for a feature, before its number


class Assembler:
    """Makes batches of named selections.

    Bytes that are as they were packed but do not decode are replaced by the next sample of the same
    source, the same one wherever this runs, and counted.

    Args:
        selections: the sources, in the order of the batch's `tasks`.
        size: pixels a side of the square pictures; with `indices` no shape has more than size².
        roles: the roles whose pictures are read; all that a selection has otherwise.
        augment: how pictures are cut and flipped, and captions dropped.
        partners: draws other style pictures than those that the samples are linked to.
        features: what is read beside pictures, or in their place.
        indices: the rows of each selection by bucket, where batches are of different shapes.
    """

    def __init__(
        self,
        selections: Sequence[Selection],
        size: int,
        roles: Iterable[str] | None = None,
        augment: Augment = Augment(),  # noqa: B008 - frozen
        partners: Partners | None = None,
        features: Sequence[FeatureReader] = (),
        indices: Sequence[BucketIndex] = (),
    ):
        self._indices, self.most = tuple(indices), 0
        self.features = tuple(features)
        also = [role for f in self.features for role in (f.role, f.otherwise) if role]
        self.lookup = Lookup(selections, roles, partners, also)
        self.roles, self.size, self.augment = self.lookup.roles, size, augment
        self.reader, self.buffers = RangeReader(), Buffers()
        for feature in self.features:
            feature.check(augment)
        self.empty = {f.name: f.empty for f in features if f.empty is not None}

    def pending(self, chunks: Iterable[Sequence[Step]]) -> Iterator[tuple["Pending", int]]:
        """The steps as batches to be made, each with the position behind it. Samples are looked up
        a chunk at a time, since a look-up costs more than a row."""
        for steps in chunks:
            samples = iter(self.lookup.samples([want for step in steps for want in step.wants]))
            for step in steps:
                here = list(islice(samples, len(step.wants)))
                yield Pending(self, step.wants, here), step.position

    def assemble(self, wants: Sequence[Want]) -> Batch:
        """Reads and decodes a batch in this thread."""
        pending = Pending(self, wants, self.lookup.samples(wants))
        pending.open()
        pending.work()
        return pending.finish({})

    def shape_of(self, wants: Sequence[Want]) -> tuple[int, int]:
        """Height and width of the pictures of a batch."""
        first = wants[0]
        if first.bucket < 0:
            return self.size, self.size
        return self._indices[first.source].shapes[first.bucket]

    def next_row(self, want: Want) -> int:
        """The row behind the wanted one: of its source, and of its shape."""
        if want.bucket < 0:
            return (want.row + 1) % len(self.lookup.rows[want.source])
        return self._indices[want.source].after(want.bucket, want.row)

    def close(self) -> None:
        """Closes the shards."""
        self.reader.close()

    def decode(self, piece: Piece, data: bytes, seed: int, out: np.ndarray) -> Framing:
        """Decodes a picture into uint8 [H,W,3]. Raises PictureError; UserError where the bytes are
        not those that were packed."""
        try:
            return decode_cut(data, out, self.augment.cut(seed, piece.role))
        except PictureError:
            refuse_damage(self.lookup.layout_of(piece.path), piece, data)
            raise


class Pending:
    """A batch under construction: `open` it, `work` on it in any number of threads, `finish` it."""

    def __init__(self, owner: Assembler, wants: Sequence[Want], samples: list[Sample]):
        self._owner, self._wants, self._samples = owner, wants, samples
        self._problems: dict[int, str] = {}
        self._tensors: dict[tuple[int, int], bytes] = {}  # by feature and sample
        pieces = [
            (piece, number)
            for number, sample in enumerate(samples)
            for role, piece in sample.pieces.items()
            if role in owner.roles
        ]
        self._reads = coalesce(chain(pieces, self._located(range(len(wants)))))
        owner.reader.will_need(self._reads)
        self._pixels: dict[str, np.ndarray] = {}
        self._framings = {role: np.zeros((len(wants), 5), np.int64) for role in owner.roles}
        self._work: Iterator[tuple[SharedRead, Piece, int]] = iter(())

    def open(self) -> None:
        """Takes the memory that the pictures go to."""
        owner = self._owner
        shape = (len(self._wants), *owner.shape_of(self._wants), 3)
        owner.most = max(owner.most, len(self._wants))
        room = owner.most * owner.size**2 * 3  # batches of any shape and length will have it
        for role in owner.roles:
            self._pixels[role] = owner.buffers.take(shape, room)
        shared = [(SharedRead(owner.reader, read), read.pieces) for read in self._reads]
        self._work = iter([(read, *piece) for read, pieces in shared for piece in pieces])

    def work(self) -> None:
        """Reads and decodes what no other thread has begun; returns when nothing is left to begin.

        Raises UserError: a shard that cannot be read, or is damaged.
        """
        for read, piece, number in self._work:  # a list's iterator gives an item to one thread only
            try:
                self._decode(piece, number, read.bytes_of(piece))
            except PictureError as error:
                self._problems[number] = self._described(piece, number, error)

    def finish(self, cursor: Mapping[str, Any]) -> Batch:
        """The batch, once all work is done. Raises UserError when too many samples in a row do not
        decode."""
        owner, wants = self._owner, self._wants
        failing = sorted(self._problems)
        failures = [text for number in failing for text in self._substitute(number)]
        samples = self._samples
        weights = [s.weight * (not w.is_padding) for s, w in zip(samples, wants, strict=True)]
        dropped = [owner.augment.drops_caption(want.seed) for want in wants]
        return Batch(
            tasks=tuple(rows.name for rows in owner.lookup.rows),
            task=_tensor([want.source for want in wants], np.int64),
            images={role: self._images(role) for role in owner.roles},
            keys=tuple(sample.key for sample in samples),
            captions=tuple(
                "" if drop else s.caption for s, drop in zip(samples, dropped, strict=True)
            ),
            style_names=tuple(sample.style for sample in samples),
            weights=_tensor(weights, np.float32),
            sample_seed=_tensor([want.seed >> 1 for want in wants], np.int64),
            features={
                feature.name: feature.stack(
                    [self._tensors.get((f, i)) for i in range(len(samples))], dropped
                )
                for f, feature in enumerate(owner.features)
            },
            empty=owner.empty,
            num_substituted=len(failing),
            failures=tuple(failures),
            cursor=dict(cursor),
        )

    def _located(self, numbers: Sequence[int]) -> Iterator[tuple[Piece, int]]:
        """The tensors of some samples, their roles being numbers of features."""
        owner = self._owner
        for f, feature in enumerate(owner.features):
            pictures = [
                pieces.get(feature.role) or pieces.get(feature.otherwise or "")
                for pieces in (self._samples[number].pieces for number in numbers)
            ]
            augment, seeds = owner.augment, [self._wants[number].seed for number in numbers]
            flipped = [augment.cut(seed, feature.role).flipped for seed in seeds]
            views = [augment.view(seed, feature.role) for seed in seeds]
            found = feature.locate(pictures, flipped, views)
            for number, picture, tensor in zip(numbers, pictures, found, strict=True):
                if isinstance(tensor, str) and picture is not None:
                    self._problems[number] = self._described(picture, number, tensor)
                elif isinstance(tensor, Piece):
                    yield tensor._replace(role=f"{_TENSOR}{f}"), number

    def _decode(self, piece: Piece, number: int, data: bytes) -> None:
        if piece.role.startswith(_TENSOR):
            self._tensors[int(piece.role[len(_TENSOR) :]), number] = data
            return
        out, seed = self._pixels[piece.role][number], self._wants[number].seed
        self._framings[piece.role][number] = self._owner.decode(piece, data, seed, out)

    def _substitute(self, number: int) -> Iterator[str]:
        """Puts the next sample that decodes in the place of one that does not; yields what was
        wrong with each that was tried."""
        owner, want, problem = self._owner, self._wants[number], self._problems[number]
        for attempt in range(1, MAX_SUBSTITUTES + 1):
            yield problem
            want = want._replace(row=owner.next_row(want))
            (sample,) = owner.lookup.samples([want], attempt)
            self._samples[number] = sample
            del self._problems[number]
            for f in range(len(owner.features)):
                self._tensors.pop((f, number), None)
            pieces = [piece for piece in sample.pieces.values() if piece.role in owner.roles]
            for piece in chain(pieces, [found for found, _ in self._located([number])]):
                try:
                    data = owner.reader.read(piece.path, piece.offset, piece.size)
                    self._decode(piece, number, data)
                except PictureError as error:
                    self._problems[number] = self._described(piece, number, error)
            if number not in self._problems:
                return
            problem = self._problems[number]
        name = owner.lookup.rows[want.source].name
        raise UserError(
            f"{MAX_SUBSTITUTES + 1} samples of {name} in a row do not decode, the last is "
            f"{problem}; check the data with python -m toolkit.verify"
        )

    def _described(self, piece: Piece, number: int, error: PictureError | str) -> str:
        want, sample = self._wants[number], self._samples[number]
        name = self._owner.lookup.rows[want.source].name
        return f"{name}/{sample.key}: {piece.role} {piece.key}: {error}"

    def _images(self, role: str) -> ImageSet:
        pieces = [sample.pieces.get(role) for sample in self._samples]
        pixels, framings = self._pixels[role], self._framings[role]
        for number, piece in enumerate(pieces):
            if piece is None:
                pixels[number] = framings[number] = 0
        frames = torch.from_numpy(framings)
        return ImageSet(
            pixels=torch.from_numpy(pixels).permute(0, 3, 1, 2),
            present=_tensor([piece is not None for piece in pieces], np.bool_),
            keys=tuple(piece.key if piece else "" for piece in pieces),
            original_size=frames[:, :2],
            crop_offset=frames[:, 2:4],
            flipped=frames[:, 4].bool(),
        )


def _tensor(values: Sequence[Any], kind: type[np.generic]) -> torch.Tensor:
    return torch.from_numpy(np.array(values, kind))  # half the time of torch.tensor
