"""Loaders over four small linked datasets, and a picture in a tar that is made unusable."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from toolkit.store.layout import Layout
from toolkit.store.selection import Selection, select
from toolkit.stream.loader import Loader

DATASETS = {"main": "targets", "fill50k": "circles", "photos": "photos", "paintings": "paintings"}
MIX = {"main": 3, "fill50k": 1}
BATCH, SIZE = 6, 32
Choose = Callable[..., Selection]
Open = Callable[..., Loader]


@pytest.fixture
def choose(triplets: Layout, tmp_path: Path) -> Choose:
    """`choose("main")`: the selection of one of `DATASETS`, compiled once a layout."""
    known: dict[tuple[str, bytes], Selection] = {}

    def start(name: str, layout: Layout = triplets) -> Selection:
        cards = b"".join(layout.card(dataset).read_bytes() for dataset in layout.datasets())
        place = (f"{layout} {name}", cards)
        if place not in known:
            known[place] = select(name, DATASETS[name], "true", layout, tmp_path / "cache")
        return known[place]

    return start


@pytest.fixture
def opened(choose: Choose, triplets: Layout) -> Iterator[Open]:
    """Opens loaders over targets (main) and circles (fill50k), and closes them in the end."""
    loaders = []

    def start(
        workers: int = 0,
        seed: int = 7,
        mix: dict[str, int] | None = None,
        layout: Layout = triplets,
        **more: Any,
    ) -> Loader:
        weights = mix or MIX
        more = {"batch_size": BATCH, "size": SIZE, **more}
        selections = [choose(name, layout) for name in weights]
        loaders.append(Loader(selections, weights, seed=seed, workers=workers, **more))
        return loaders[-1]

    yield start
    for loader in loaders:
        loader.close()
