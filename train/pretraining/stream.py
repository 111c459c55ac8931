"""Pictures and captions for pretraining, in the order that a seed gives."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from toolkit.store.layout import Layout
from toolkit.store.selection import select
from toolkit.stream.augment import Augment
from toolkit.stream.loader import Loader
from train.pretraining.fit import Batch


@contextmanager
def pictures(
    layout: Layout, dataset: str, size: int, batch_size: int, seed: int
) -> Iterator[Iterator[Batch]]:
    """An endless stream of (pictures, captions): float [N,3,S,S] in [-1,1], randomly cut and
    mirrored, of the dataset's training split."""
    chosen = select(dataset, dataset, "split = 'train'", layout)
    loader = Loader(
        [chosen], {dataset: 1}, batch_size, size, seed, roles=("target",),
        augment=Augment("random", 0.6, 0.5),
    )  # fmt: skip
    try:
        yield ((_channels_last(batch), batch.captions) for batch in loader)
    finally:
        loader.close()


def held_out(layout: Layout, dataset: str, size: int, count: int) -> Batch:
    """`count` pictures of the validation split, their centres, with captions."""
    chosen = select(dataset, dataset, "split = 'val'", layout)
    loader = Loader([chosen], {dataset: 1}, count, size, 0, workers=0, roles=("target",))
    batch = next(iter(loader))
    loader.close()
    return _channels_last(batch), batch.captions


def _channels_last(batch: Any) -> torch.Tensor:
    pixels: torch.Tensor = batch.images["target"].floats()
    return pixels.contiguous(memory_format=torch.channels_last)
