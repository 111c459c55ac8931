"""What the loader hands to a method. Shapes: N samples, S pixels a side."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch


@dataclass(frozen=True)
class ImageSet:
    """The pictures of one role.

    pixels: uint8 [N,3,S,S], RGB in 0..255, channels-last in memory.
    present: bool [N]; pixels of an absent picture are 0.
    keys: N keys, empty where absent.
    original_size: int64 [N,2], height and width of the stored picture in pixels.
    crop_offset: int64 [N,2], top and left of the cut in the stored picture, in pixels.
    flipped: bool [N], whether the cut was mirrored left to right.
    """

    pixels: torch.Tensor
    present: torch.Tensor
    keys: tuple[str, ...]
    original_size: torch.Tensor
    crop_offset: torch.Tensor
    flipped: torch.Tensor

    def floats(self) -> torch.Tensor:
        """Pixels as float32 in [-1,1], contiguous [N,3,S,S]; absent pictures are 0."""
        values = self.pixels.float().contiguous() / 127.5 - 1
        return values * self.present[:, None, None, None]


@dataclass(frozen=True)
class Batch:
    """One batch; it may mix tasks.

    tasks: names of the sources; task: int64 [N], index of each sample's source in `tasks`.
    images: role (target, content, style) to pictures.
    features: name to (tensor, mask), for latents, tokens and embeddings.
    empty: name of a caption's feature to what the empty caption is encoded as.
    keys, captions: N texts. style_names: N names, None where unknown.
    weights: float32 [N], sample weights.
    sample_seed: int64 [N], keys everything random about a sample: noise, time, dropout.
    num_substituted: samples that did not decode and were replaced by their neighbour.
    failures: what was wrong with each that was tried.
    cursor: the loader's state after this batch, as JSON values.
    """

    tasks: tuple[str, ...]
    task: torch.Tensor
    images: Mapping[str, ImageSet]
    keys: tuple[str, ...]
    captions: tuple[str, ...]
    style_names: tuple[str | None, ...]
    weights: torch.Tensor
    sample_seed: torch.Tensor
    features: Mapping[str, tuple[torch.Tensor, torch.Tensor]] = field(default_factory=dict)
    empty: Mapping[str, torch.Tensor] = field(default_factory=dict)
    num_substituted: int = 0
    failures: tuple[str, ...] = ()
    cursor: Mapping[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.keys)

    def __repr__(self) -> str:
        shapes = {role: list(images.pixels.shape) for role, images in self.images.items()}
        shapes |= {name: list(values.shape) for name, (values, _) in self.features.items()}
        return f"Batch(tasks={self.tasks}, {shapes}, keys={self.keys})"

    def part(self, start: int, stop: int) -> "Batch":
        """The samples `start` … `stop` − 1 as a batch of their own, sharing memory."""
        return self._at(slice(start, stop), range(start, min(stop, len(self))))

    def take(self, index: torch.Tensor) -> "Batch":
        """Some samples in any order, also more than once. index: int64 [M]."""
        return self._at(index, index.tolist())

    def _at(self, some: Any, numbers: Iterable[int]) -> "Batch":
        wanted = list(numbers)

        def texts(values: Sequence[Any]) -> tuple[Any, ...]:
            return tuple(values[number] for number in wanted)

        def cut(images: ImageSet) -> ImageSet:
            return ImageSet(
                images.pixels[some], images.present[some], texts(images.keys),
                images.original_size[some], images.crop_offset[some], images.flipped[some],
            )  # fmt: skip

        return replace(
            self,
            task=self.task[some],
            images={role: cut(images) for role, images in self.images.items()},
            keys=texts(self.keys),
            captions=texts(self.captions),
            style_names=texts(self.style_names),
            weights=self.weights[some],
            sample_seed=self.sample_seed[some],
            features={k: (t[some], m[some]) for k, (t, m) in self.features.items()},
        )

    def to(self, device: torch.device | str) -> "Batch":
        """The same batch with its tensors on `device`."""

        def move(images: ImageSet) -> ImageSet:
            return replace(
                images, pixels=images.pixels.to(device), present=images.present.to(device)
            )

        return replace(
            self,
            task=self.task.to(device),
            images={role: move(images) for role, images in self.images.items()},
            weights=self.weights.to(device),
            features={k: (t.to(device), m.to(device)) for k, (t, m) in self.features.items()},
        )
