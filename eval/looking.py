"""Looks at stored pictures with extractors: several at once, none twice.

A view of a picture is what a metric compares: a generated picture as it is, a reference cut to its
shape in the middle and resized to it, as a model saw it.
"""

import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Generic, TypeVar

import numpy as np

from eval.feature_store import FeatureStore
from eval.features.api import Extractor, Features, checked
from eval.roster import Picture
from eval.together import TOGETHER, Together
from toolkit.store.images import decode_rgb
from toolkit.store.layout import Layout
from toolkit.store.samples import read_member

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")
Given = TypeVar("Given")
_PIXELS_BYTES = 32 << 20
_FEATURES_BYTES = 128 << 20


class View:
    """A stored picture at a size. size: (width, height) in pixels, None for its own."""

    def __init__(self, picture: Picture, size: tuple[int, int] | None = None):
        self.picture, self.size = picture, size
        # bytes and shape decide what is seen, whatever the picture is called
        self.name = picture.sha256 + ("" if size is None else f"@{size[0]}x{size[1]}")


class Looker:
    """What extractors see in stored pictures.

    layout: where these lie. store: keeps features that are small. Safe to use from several threads.
    """

    def __init__(self, layout: Layout, store: FeatureStore):
        self._layout, self.store, self._together = layout, store, Together()
        self._pixels = _Recent[str, np.ndarray](_PIXELS_BYTES, lambda pixels: pixels.nbytes)
        self._features = _Recent[tuple[str, str], Features](
            _FEATURES_BYTES, lambda parts: sum(part.nbytes for part in parts)
        )

    def features(self, view: View, extractor: Extractor) -> Features:
        """Raises CannotLook."""
        key = (extractor.fingerprint, view.name)
        return self._features.get(key, lambda: self._looked(view, extractor))

    def keep(self, view: View, extractor: Extractor) -> None:
        """Puts the features of a picture into the store, if they are not there. Raises
        CannotLook."""
        if self.store.features(extractor.fingerprint, view.name) is None:
            self.features(view, extractor)

    def look_ahead(self, views: Sequence[View], extractor: Extractor) -> None:
        """Looks at views together that were not looked at yet, where the extractor allows it."""
        if extractor.several is None or not extractor.kept:
            return
        missing = [
            view for view in views
            if self.store.features(extractor.fingerprint, view.name) is None
        ]  # fmt: skip
        if len(missing) < TOGETHER or not self._together.allowed(extractor):
            return
        several = [checked(self.pixels(view)) for view in missing[:TOGETHER]]
        for view, found in zip(missing, extractor.several(several), strict=False):
            self.store.keep_features(extractor.fingerprint, view.name, found)

    def text(self, text: str, extractor: Extractor) -> Features:
        """Of a text, by an extractor that reads."""
        assert extractor.text is not None
        key = (extractor.fingerprint, f"text {text}")
        return self._features.get(key, lambda: extractor.text(text))  # type: ignore[misc]

    def pixels(self, view: View) -> np.ndarray:
        """uint8 [H,W,3]."""
        return self._pixels.get(view.name, lambda: self._decoded(view))

    def _looked(self, view: View, extractor: Extractor) -> Features:
        known = self.store.features(extractor.fingerprint, view.name) if extractor.kept else None
        if known is not None:
            return known
        found = extractor.look(self.pixels(view))
        if extractor.kept:
            self.store.keep_features(extractor.fingerprint, view.name, found)
        return found

    def _decoded(self, view: View) -> np.ndarray:
        picture = view.picture
        row = {"dataset": picture.dataset, "shard": picture.shard}
        member = {"offset": picture.start, "size": picture.size}
        data = read_member(self._layout, row, member)
        return decode_rgb(data) if view.size is None else fitted(data, *view.size)


def fitted(data: bytes, width: int, height: int) -> np.ndarray:
    """A picture cut in the middle to a shape and resized to it: uint8 [height,width,3]."""
    if width == height:
        from toolkit.stream.decode import decode_cut

        out = np.empty((height, width, 3), np.uint8)
        decode_cut(data, out)
        return out
    from PIL import Image

    pixels = decode_rgb(data)
    own_height, own_width = pixels.shape[:2]
    scale = min(own_width / width, own_height / height)
    cut_width, cut_height = width * scale, height * scale
    left, top = (own_width - cut_width) / 2, (own_height - cut_height) / 2
    found = Image.fromarray(pixels).resize(
        (width, height), Image.Resampling.BICUBIC,
        (left, top, left + cut_width, top + cut_height), reducing_gap=2.0,
    )  # fmt: skip
    return np.asarray(found)


class _Recent(Generic[Key, Value]):
    """Values that were used last, up to a number of bytes; each is made once, by the thread that
    asks first, while others wait."""

    def __init__(self, limit: int, size: Callable[[Value], int]):
        self._limit, self._size, self._bytes = limit, size, 0
        self._there: OrderedDict[Key, Value] = OrderedDict()
        self._made: dict[Key, Future[Value]] = {}
        self._lock = threading.Lock()

    def get(self, key: Key, make: Callable[[], Value]) -> Value:
        with self._lock:
            if key in self._there:
                self._there.move_to_end(key)
                return self._there[key]
            waiting = self._made.get(key)
            if waiting is None:
                own = self._made[key] = Future()
        if waiting is not None:
            return waiting.result()
        try:
            value = make()
        except BaseException as error:
            with self._lock:
                del self._made[key]
            own.set_exception(error)
            raise
        with self._lock:
            self._there[key] = value
            self._bytes += self._size(value)
            while self._bytes > self._limit and len(self._there) > 1:
                _, old = self._there.popitem(last=False)
                self._bytes -= self._size(old)
            del self._made[key]
        own.set_result(value)
        return value


def by_threads(
    work: Callable[[Given], Value], given: Iterable[Given], threads: int | None = None
) -> Iterator[Value]:
    """The results of `work`, in order, made by a few threads that compute on one core each: what a
    network gives then does not depend on how many cores there are. Only a few are ahead."""
    threads = threads or len(os.sched_getaffinity(0))
    pool = ThreadPoolExecutor(threads, initializer=_alone_on_a_core)
    try:
        todo = iter(given)
        running = [pool.submit(work, one) for one in islice(todo, 2 * threads)]
        while running:
            yield running.pop(0).result()
            running += [pool.submit(work, one) for one in islice(todo, 1)]
    finally:
        pool.shutdown(cancel_futures=True)


def _alone_on_a_core() -> None:
    import torch

    torch.set_num_threads(1)
