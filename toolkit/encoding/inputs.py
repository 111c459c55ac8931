"""Batches of what encoders read, made ahead of them: decoded pictures, or captions.

Batches never cross a shard, so that a shard's tensors are the same whoever else encodes.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Any, TypeVar

import numpy as np

from toolkit.encoding.fit import Fit, decode_fitted
from toolkit.encoding.plan import ShardTask
from toolkit.encoding.views import Views
from toolkit.store.images import PictureError, picture_extension
from toolkit.store.layout import Layout
from toolkit.stream.coalesce import Piece
from toolkit.stream.damage import refuse_damage
from toolkit.stream.decode import decode_cut
from toolkit.stream.reader import RangeReader

Made = TypeVar("Made")
AHEAD = 2  # batches that wait for the encoder


@dataclass(frozen=True)
class Item:
    """One thing to encode. key: of its sample; picture: offset in the shard of the picture that it
    is, or that its caption describes; prefix: what the names of its tensors begin with; view: which
    cut of it, 0 for the plain one."""

    key: str
    picture: int
    size: int
    prefix: str
    caption: str = ""
    view: int = 0


@dataclass(frozen=True)
class Inputs:
    """A batch. items: what is in it; pixels: uint8 [N,3,S,S] of pictures; problems: key to cause
    and error of the samples that do not decode, whose pixels mean nothing."""

    task: ShardTask
    items: tuple[Item, ...]
    pixels: np.ndarray | None = None
    problems: dict[str, tuple[str, str]] = field(default_factory=dict)

    @property
    def values(self) -> Any:
        """What an encoder takes: the pixels, or the captions."""
        return [item.caption for item in self.items] if self.pixels is None else self.pixels


def pictures_of(row: dict[str, Any], num_views: int = 0) -> list[Item]:
    """All pictures of a sample, each with its views behind it."""
    return [
        Item(row["key"], m["offset"], m["size"], m["ext"].rpartition(".")[0], view=view)
        for m in row["members"] or ()
        if picture_extension(m["ext"])
        for view in range(num_views + 1)
    ]


def caption_of(row: dict[str, Any]) -> list[Item]:
    """A sample's caption, which describes its target, or else its first picture."""
    pictures = pictures_of(row)
    target = next((item for item in pictures if item.prefix == "target"), *pictures[:1])
    return [Item(row["key"], target.picture, target.size, "", row["caption"] or "")]


def batches(
    tasks: Iterable[ShardTask], reads: str, batch_size: int, num_views: int = 0
) -> Iterator[tuple[ShardTask, tuple[Item, ...]]]:
    """The wanted items of the shards, in order, some at a time."""
    items_of = partial(pictures_of, num_views=num_views) if reads == "picture" else caption_of
    for task in tasks:
        rows = (row for row in task.rows if row["key"] in task.wanted and row["status"] == "ok")
        items = (item for row in rows for item in items_of(row))
        while batch := tuple(islice(items, batch_size)):
            yield task, batch


class PictureReader:
    """Decodes batches of pictures, in any thread.

    Args:
        layout: the data folders.
        size: pixels a side.
        fit: how a picture becomes a square.
        views: what is cut out of it besides.
    """

    def __init__(self, layout: Layout, size: int, fit: Fit, views: Views):
        self._layout, self._size, self._fit, self._views = layout, size, fit, views
        self._reader = RangeReader()

    def read(self, task: ShardTask, items: tuple[Item, ...]) -> Inputs:
        """Raises UserError for a shard that is damaged or cannot be read."""
        pixels = np.zeros((len(items), self._size, self._size, 3), np.uint8)
        tar, problems = str(self._layout.tar_named(task.dataset, task.stem)), {}
        for item, out in zip(items, pixels, strict=True):
            data = self._reader.read(tar, item.picture, item.size)
            try:
                if item.view:
                    decode_cut(data, out, self._views.cut(item.view))
                else:
                    decode_fitted(data, out, self._fit)
            except PictureError as error:
                piece = Piece(tar, item.picture, item.size, "target", item.key)
                refuse_damage(self._layout, piece, data)
                problems[item.key] = (error.cause, str(error))
        return Inputs(task, items, pixels.transpose(0, 3, 1, 2), problems)


class Pace:
    """How many batches are made at once, which may be lowered while they are."""

    def __init__(self, at_once: int):
        self.at_once = at_once

    def lower(self) -> bool:
        """One at a time from now on; False where it was so already."""
        was, self.at_once = self.at_once, 1
        return was > 1


def ahead(calls: Iterable[Callable[[], Made]], workers: int, pace: Pace) -> Iterator[Made]:
    """The results of the calls, in order, made by threads before they are asked for."""
    with ThreadPoolExecutor(workers, "encode-input") as pool:
        begun: deque[Future[Made]] = deque()
        source = iter(calls)
        try:
            while True:
                for call in islice(source, max(0, pace.at_once - len(begun))):
                    begun.append(pool.submit(call))
                if not begun:
                    return
                yield begun.popleft().result()
        finally:
            for future in begun:
                future.cancel()
