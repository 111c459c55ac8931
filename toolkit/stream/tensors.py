"""Sidecar tensors in the stream, in the place of pictures and captions or beside them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from toolkit.core.errors import UserError
from toolkit.core.nearest import or_nearest
from toolkit.store.recipe import Recipe, common_recipe
from toolkit.store.selection import Selection
from toolkit.store.tensors import read_empty
from toolkit.stream.augment import Augment
from toolkit.stream.coalesce import Piece
from toolkit.stream.tensor_index import open_index, used_shards


def sources_of(
    selections: Sequence[Selection], role: str, otherwise: str | None
) -> list[tuple[Selection, str]]:
    """Selections with the role of theirs whose pictures' tensors a feature takes."""
    found = [(selection, role) for selection in selections if role in selection.roles]
    rest = [s for s in selections if role not in s.roles and otherwise in s.roles]
    return found + [(selection, otherwise) for selection in rest if otherwise]


class TensorReader:
    """A `FeatureReader` of one output of a sidecar.

    Tokens are padded to the encoder's full length, so that shapes do not change from batch to
    batch. Where a caption is dropped, the encoding of the empty text stands in its place.

    Args:
        name: of the feature in batches.
        role: of the pictures that the tensors belong to; captions belong to the target.
        sidecar: its name.
        selections: all whose samples may be asked for.
        pool: of partners, whose targets are shown as styles.
        output: the encoder's output; the sidecar's first otherwise.
        cache: folder for the index; that of the selections otherwise.
        command: what makes the sidecar, or, beginning with `--`, flags of `toolkit.encode`.
        otherwise: the role whose pictures' tensors stand in, in selections without that role.

    Raises:
        UserError: a sidecar that is missing, stale or made in different ways; samples that it does
            not answer for.
    """

    def __init__(
        self,
        name: str,
        role: str,
        sidecar: str,
        selections: Sequence[Selection],
        output: str | None = None,
        pool: Selection | None = None,
        cache: Path | None = None,
        command: str = "",
        otherwise: str | None = None,
    ):
        self.name, self.role, self.sidecar = name, role, sidecar
        self.otherwise = otherwise
        sources = sources_of(selections, role, otherwise)
        sources += [(pool, "target")] if pool else []
        used = used_shards(sources)
        if not used:
            raise UserError(
                f"no selection has pictures in the role {role}, so {name} has no tensors"
            )
        self._recipe = common_recipe(used, sidecar, command)
        self.output = output or self._recipe.outputs[0]
        if self.output not in self._recipe.outputs:
            known = self._recipe.outputs
            raise UserError(
                f"the sidecar {sidecar} has no output {self.output!r}: it has {', '.join(known)}"
                f"{or_nearest(self.output, known)}"
            )
        self._index = open_index(used, sidecar, self._recipe, self.output, cache)
        self._length = self._recipe.encoder.get("length") if self.output == "tokens" else None
        self._empty = read_empty(*next(iter(used)), sidecar, self.output)
        self.empty = None if self._empty is None else torch.from_numpy(self._empty.copy())
        for selection, its_role in sources:
            lacking, count = self._index.lacking(selection, its_role)
            if lacking:
                raise UserError(
                    f"{lacking} of {count} samples of {selection.name} are not in the sidecar "
                    f"{sidecar}: encode a wider query, what is there stays"
                )

    @property
    def recipe(self) -> Recipe:
        """How the sidecar was made."""
        return self._recipe

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one tensor; where they are ragged, of the longest."""
        return self._index.shape

    @property
    def identity(self) -> Mapping[str, Any]:
        """Which output of which sidecar, and how it was made."""
        found = {"role": self.role, "output": self.output, "recipe": self._recipe.sha256}
        return found if self.otherwise is None else {**found, "otherwise": self.otherwise}

    def check(self, augment: Augment) -> None:
        """As `FeatureReader` has it."""
        if self.output != "latent":  # embeddings and tokens need not follow each cut
            return
        settings = self._recipe.settings
        if augment.crop != "center" and not self._views:
            raise UserError(
                f"crop={augment.crop}: {self.sidecar} holds latents of one cut; encode others with "
                "--views, under another --sidecar"
            )
        if augment.crop != "center" and augment.least_scale != settings["least_scale"]:
            raise UserError(
                f"least_scale={augment.least_scale}: the cuts in {self.sidecar} were made with "
                f"{settings['least_scale']}"
            )
        if augment.flip and not self._has_flipped:
            raise UserError(
                f"flip={augment.flip}: {self.sidecar} has no mirrored latents; encode with --flip "
                "under another --sidecar"
            )

    def locate(
        self,
        pictures: Sequence[Piece | None],
        flipped: Sequence[bool],
        views: Sequence[float | None],
    ) -> list[Piece | str | None]:
        """As `FeatureReader` has it."""
        return [
            piece and self._located(piece, self._variant(is_flipped, view))
            for piece, is_flipped, view in zip(pictures, flipped, views, strict=True)
        ]

    def largest(self) -> int:
        """Bytes of the largest tensor."""
        return self._index.largest()

    def stack(
        self, data: Sequence[bytes | None], dropped: Sequence[bool]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """As `FeatureReader` has it."""
        first, *tail = self._index.shape
        length = self._length or first
        values = np.zeros((len(data), length, *tail), self._index.dtype)
        mask = np.zeros((len(data), length), np.bool_)
        for row, there, bytes_, is_dropped in zip(values, mask, data, dropped, strict=True):
            if bytes_ is None:
                continue
            array = self._array(bytes_)
            if is_dropped and self._empty is not None:
                array = self._empty
            row[: len(array)], there[: len(array)] = array, True
        present = mask if self._length else mask.any(axis=1)
        return torch.from_numpy(values), torch.from_numpy(present)

    @property
    def _has_flipped(self) -> bool:
        return bool(self._recipe.settings.get("flip"))

    @property
    def _views(self) -> int:
        return int(self._recipe.settings.get("views", 0))

    def _variant(self, is_flipped: bool, view: float | None) -> int:
        """The place among `variants`."""
        number = 0 if view is None or not self._views else 1 + int(view * self._views)
        return (2 * number + is_flipped) if self._has_flipped else number

    def _located(self, piece: Piece, variant: int) -> Piece | str:
        found = self._index.find(piece.path, piece.offset)
        if found is None:
            return f"{self.sidecar} does not have it"
        if not found.size:
            return f"not encoded, {found.cause}"
        return Piece(found.tar, found.offset(variant), found.size, self.role, piece.key)

    def _array(self, data: bytes) -> np.ndarray:
        """The array of a file in numpy's format; dtype and all dimensions but one are known."""
        start = 10 + int.from_bytes(data[8:10], "little")
        if data[:6] != b"\x93NUMPY" or start > len(data):
            raise UserError(
                f"a tensor of the sidecar {self.sidecar} is damaged: python -m toolkit.verify "
                "tells which, and what to do"
            )
        return np.frombuffer(data, self._index.dtype, offset=start).reshape(
            -1, *self._index.shape[1:]
        )
