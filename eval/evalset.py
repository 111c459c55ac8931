"""Generated pictures beside what they were made from."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from toolkit.core.errors import UserError
from toolkit.store.images import decode_rgb
from toolkit.store.layout import Layout
from toolkit.store.manifest import read_manifest
from toolkit.store.samples import SampleReader, read_member

ROLES = ("content", "style", "target")


@dataclass(frozen=True)
class Item:
    """One generated picture. row: its manifest row; shard: its manifest's stem; references: keys of
    content, style and target, where linked."""

    row: dict[str, Any]
    shard: str
    references: dict[str, tuple[str, str]]


class EvalSet:
    """The usable pictures of a dataset of outputs, with their references.

    Pictures are read when they are asked for, so memory holds manifest rows only.
    """

    def __init__(self, layout: Layout, dataset: str):
        self.layout, self.dataset = layout, dataset
        self.items = list(self._items())
        if not self.items:
            raise UserError(f"the dataset {dataset} holds no picture to score")
        self._readers: dict[str, SampleReader] = {}

    def _items(self) -> Iterator[Item]:
        for path in self.layout.manifests_of(self.dataset):
            for row in read_manifest(path):
                if row["status"] == "ok":
                    links = {ln["role"]: (ln["dataset"], ln["key"]) for ln in row["links"] or ()}
                    yield Item(row, path.stem, links)

    def output(self, item: Item) -> np.ndarray:
        """The generated picture: uint8 [S,S,3]."""
        return decode_rgb(read_member(self.layout, item.row, item.row["members"][0]))

    def reference(self, item: Item, role: str, size: int) -> np.ndarray:
        """A linked picture's central square, resized to `size` as the model saw it."""
        from toolkit.stream.decode import decode_square

        if role not in item.references:
            raise UserError(f"{self.dataset}/{item.row['key']} is linked to no {role}")
        dataset, key = item.references[role]
        reader = self._readers.setdefault(dataset, SampleReader(self.layout, dataset))
        out = np.empty((size, size, 3), np.uint8)
        decode_square(reader.picture(key), out)
        return out
