"""Reads and decodes chosen samples of selections into one batch."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch

from toolkit.core.errors import UserError
from toolkit.store.compile import ROLES
from toolkit.store.images import PictureError
from toolkit.store.selection import Selection
from toolkit.stream.augment import Augment
from toolkit.stream.batch import Batch, ImageSet
from toolkit.stream.buffers import Buffers
from toolkit.stream.coalesce import Piece, coalesce
from toolkit.stream.damage import refuse_damage
from toolkit.stream.decode import Framing, decode_square
from toolkit.stream.features import FeatureReader
from toolkit.stream.partners import Partners
from toolkit.stream.reader import RangeReader, SharedRead
from toolkit.stream.rows import Rows
from toolkit.stream.schedule import Want

MAX_SUBSTITUTES = 8
_NOWHERE = Framing(0, 0, 0, 0)


class Assembler:
    """Makes batches of named selections.

    Bytes that are as they were packed but do not decode are replaced by the next sample of the same
    source, the same one wherever this runs, and counted.

    Args:
        selections: the sources, in the order of the batch's `tasks`.
        size: pixels a side of the square pictures.
        roles: the roles whose pictures are read; all that a selection has otherwise.
        augment: how pictures are cut and flipped, and captions dropped.
        partners: draws other style pictures than those that the samples are linked to.
        features: what is read beside pictures, or in their place.
    """

    def __init__(
        self,
        selections: Sequence[Selection],
        size: int,
        roles: Iterable[str] | None = None,
        augment: Augment = Augment(),  # noqa: B008 - frozen
        partners: Partners | None = None,
        features: Sequence[FeatureReader] = (),
    ):
        found = {role for selection in selections for role in selection.roles}
        found |= {"style"} if partners else set()
        self.roles = tuple(role for role in ROLES if role in (set(roles) if roles else found))
        located = {*self.roles, *(feature.role for feature in features)}
        self.rows = tuple(Rows(selection, located) for selection in selections)
        self.size, self.augment = size, augment
        self.features, self.reader, self.buffers = tuple(features), RangeReader(), Buffers()
        self._layouts = {
            str(shard): selection.layout
            for selection in (*selections, *([partners.pool] if partners else []))
            for shard in selection.shards
        }
        self._partners = partners if "style" in located else None

    def plan(self, wants: Sequence[Want]) -> "Pending":
        """Finds the bytes of a batch and has them fetched from the disk."""
        return Pending(self, wants)

    def assemble(self, wants: Sequence[Want]) -> Batch:
        """Reads and decodes a batch in this thread."""
        pending = self.plan(wants)
        pending.open()
        pending.work()
        return pending.finish({})

    def close(self) -> None:
        """Closes the shards."""
        self.reader.close()

    def locate(self, number: int, want: Want, attempt: int = 0) -> dict[str, Piece]:
        """The pictures of a sample by role. attempt: of finding a substitute."""
        pieces = self.rows[want.source].pieces(want.row, number)
        if self._partners is not None:
            partner = self._partners.draw(self.rows[want.source], want, attempt)
            if partner is not None:
                pieces["style"] = partner._replace(number=number)
        return pieces

    def decode(self, piece: Piece, data: bytes, want: Want, out: np.ndarray) -> Framing:
        """Decodes a picture into uint8 [S,S,3]. Raises PictureError; UserError where the bytes are
        not those that were packed."""
        try:
            return decode_square(data, out, self.augment.cut(want.seed, piece.role))
        except PictureError:
            refuse_damage(self._layouts[piece.path], piece, data)
            raise


class Pending:
    """A batch under construction: `open` it, `work` on it in any number of threads, `finish` it."""

    def __init__(self, owner: Assembler, wants: Sequence[Want]):
        self._owner, self._wants = owner, list(wants)
        self._pieces = [owner.locate(index, want) for index, want in enumerate(wants)]
        wanted = (p for found in self._pieces for p in found.values() if p.role in owner.roles)
        self._reads = coalesce(wanted)
        for read in self._reads:
            owner.reader.will_need(read.path, read.offset, read.size)
        self._pixels: dict[str, np.ndarray] = {}
        self._framings: list[dict[str, Framing]] = [{} for _ in wants]
        self._problems: dict[int, str] = {}
        self._work: Iterator[tuple[SharedRead, Piece]] = iter(())

    def open(self) -> None:
        """Takes the memory that the pictures go to."""
        owner = self._owner
        shape = (len(self._wants), owner.size, owner.size, 3)
        for role in owner.roles:
            self._pixels[role] = owner.buffers.take(shape)
        shared = [(SharedRead(owner.reader, read), read.pieces) for read in self._reads]
        self._work = iter([(read, piece) for read, pieces in shared for piece in pieces])

    def work(self) -> None:
        """Reads and decodes what no other thread has begun; returns when nothing is left to begin.

        Raises UserError: a shard that cannot be read, or is damaged.
        """
        for read, piece in self._work:  # a list's iterator gives each item to one thread only
            want = self._wants[piece.number]
            out = self._pixels[piece.role][piece.number]
            try:
                framing = self._owner.decode(piece, read.bytes_of(piece), want, out)
            except PictureError as error:
                self._problems[piece.number] = self._described(want, piece, error)
            else:
                self._framings[piece.number][piece.role] = framing

    def finish(self, cursor: Mapping[str, Any]) -> Batch:
        """The batch, once all work is done. Raises UserError when too many samples in a row do not
        decode."""
        owner, wants = self._owner, self._wants
        failures = [text for i in sorted(self._problems) for text in self._substitute(i)]

        def column(name: str) -> list[Any]:
            return [owner.rows[want.source].value(name, want.row) for want in wants]

        return Batch(
            tasks=tuple(rows.name for rows in owner.rows),
            task=torch.tensor([want.source for want in wants], dtype=torch.int64),
            images={role: self._images(role) for role in owner.roles},
            keys=tuple(column("key")),
            captions=tuple(
                "" if owner.augment.drops_caption(want.seed) else caption
                for want, caption in zip(wants, column("caption"), strict=True)
            ),
            style_names=tuple(column("style")),
            weights=torch.tensor(
                [
                    0.0 if want.is_padding else weight
                    for want, weight in zip(wants, column("weight"), strict=True)
                ],
                dtype=torch.float32,
            ),
            sample_seed=torch.tensor([want.seed >> 1 for want in wants], dtype=torch.int64),
            features={
                feature.name: feature.read([found.get(feature.role) for found in self._pieces])
                for feature in owner.features
            },
            num_substituted=len(self._problems),
            failures=tuple(failures),
            cursor=dict(cursor),
        )

    def _substitute(self, index: int) -> Iterator[str]:
        """Puts the next sample that decodes in the place of one that does not; yields what was
        wrong with each that was tried."""
        owner, want, problem = self._owner, self._wants[index], self._problems[index]
        for attempt in range(1, MAX_SUBSTITUTES + 1):
            yield problem
            want = want._replace(row=(want.row + 1) % len(owner.rows[want.source]))
            pieces = owner.locate(index, want, attempt)
            self._framings[index] = {}
            for role in self._pixels.keys() & pieces.keys():
                piece = pieces[role]
                data = owner.reader.read(piece.path, piece.offset, piece.size)
                try:
                    framing = owner.decode(piece, data, want, self._pixels[role][index])
                except PictureError as error:
                    problem = self._described(want, piece, error)
                    break
                self._framings[index][role] = framing
            else:
                self._wants[index], self._pieces[index] = want, pieces
                return
        raise UserError(
            f"{MAX_SUBSTITUTES + 1} samples of {owner.rows[want.source].name} in a row do not "
            f"decode, the last is {problem}; check the data with python -m toolkit.verify"
        )

    def _described(self, want: Want, piece: Piece, error: PictureError) -> str:
        rows = self._owner.rows[want.source]
        return f"{rows.name}/{rows.value('key', want.row)}: {piece.role} {piece.key}: {error}"

    def _images(self, role: str) -> ImageSet:
        pixels = self._pixels[role]
        for index, framing in enumerate(self._framings):
            if role not in framing:
                pixels[index] = 0
        frames = [framing.get(role, _NOWHERE) for framing in self._framings]
        pieces = [found.get(role) for found in self._pieces]
        return ImageSet(
            pixels=torch.from_numpy(pixels).permute(0, 3, 1, 2),
            present=torch.tensor([piece is not None for piece in pieces], dtype=torch.bool),
            keys=tuple(piece.key if piece else "" for piece in pieces),
            original_size=torch.tensor([(f.height, f.width) for f in frames], dtype=torch.int64),
            crop_offset=torch.tensor([(f.top, f.left) for f in frames], dtype=torch.int64),
            flipped=torch.tensor([f.flipped for f in frames], dtype=torch.bool),
        )
