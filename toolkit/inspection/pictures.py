"""The pictures of a row, and of what it is linked to: where they lie, their bytes, small versions.

Pictures are named by dataset, key and extension and found through the manifests, so nothing that a
request says becomes part of a path.
"""

import hashlib
import io
import threading
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from toolkit.core.errors import UserError
from toolkit.store.catalog import Catalog
from toolkit.store.images import (
    is_picture,
    load_picture,
    open_picture,
    picture_extension,
)
from toolkit.store.layout import Layout
from toolkit.store.samples import read_member

_PLACE = ("dataset", "key", "shard", "members")
_REMEMBERED = 20_000  # samples whose places are
_MIME = {"jpg": "jpeg", "tif": "tiff"}
_SHOWN_BY_BROWSERS = ("jpg", "png", "webp", "gif", "avif", "bmp")
_ROLES = ("content", "style", "source", "target")  # in this order, others behind them

Name = tuple[str, str]  # dataset, key


@dataclass(frozen=True)
class Picture:
    """One stored picture. label: the role it plays in the row it is shown with, or nothing;
    version: the beginning of its sha256, or nothing where the manifest has none."""

    label: str
    dataset: str
    key: str
    ext: str
    version: str


class Pictures:
    """Finds and reads pictures of all datasets of a layout. May be asked by several threads."""

    def __init__(self, layout: Layout):
        self.layout = layout
        self._catalog = Catalog(layout)
        self._lock = threading.Lock()
        self._places: OrderedDict[Name, dict[str, Any]] = OrderedDict()

    def of_rows(self, rows: Iterable[dict[str, Any]]) -> list[list[Picture]]:
        """What to show of each row: pictures that it was made from, then its own.

        rows: dataset, key, shard, members and links of each. A link to a sample that is not there
        is left out.
        """
        rows = list(rows)
        for row in rows:
            self._remember(row)
        linked = {(x["dataset"], x["key"]) for row in rows for x in row["links"] or ()}
        self._look_up(linked)
        return [self._of_row(row) for row in rows]

    def _of_row(self, row: dict[str, Any]) -> list[Picture]:
        found = []
        links = row["links"] or []
        for link in sorted(links, key=lambda x: _place_of(x["role"])):
            place = self._places.get((link["dataset"], link["key"]))
            found += _pictures(place, link["role"], only_first=True) if place else []
        return found + _pictures(row, _own_label({link["role"] for link in links}))

    def read(self, dataset: str, key: str, ext: str) -> bytes:
        """The bytes of a picture. Raises UserError: none there, or not what was packed."""
        self._look_up({(dataset, key)})
        place = self._places.get((dataset, key))
        member = next((m for m in (place or {}).get("members") or () if m["ext"] == ext), None)
        if place is None or member is None or not is_picture(ext):
            raise UserError(f"there is no picture {dataset}/{key}.{ext}")
        data = read_member(self.layout, place, member)
        if member["sha256"] not in (None, hashlib.sha256(data).hexdigest()):
            raise UserError(f"{dataset}/{key}.{ext} is not what the manifest says: "
                            f"python -m toolkit.verify {dataset} tells what is wrong")  # fmt: skip
        return data

    def _look_up(self, names: set[Name]) -> None:
        with self._lock:
            missing = sorted(
                name for name in names
                if name not in self._places and name[0] in self._catalog.datasets
            )  # fmt: skip
            if not missing:
                return
            datasets = sorted({dataset for dataset, _ in missing})
            rows = self._catalog.places(datasets, [key for _, key in missing])
        for row in rows:
            if (row["dataset"], row["key"]) in names:
                self._remember(row)

    def _remember(self, row: dict[str, Any]) -> None:
        with self._lock:
            kept = {name: row[name] for name in _PLACE}
            self._places[row["dataset"], row["key"]] = kept
            while len(self._places) > _REMEMBERED:
                self._places.popitem(last=False)


def shown_bytes(
    data: bytes, ext: str, width: int | None, as_stored: int | None = None
) -> tuple[str, bytes]:
    """A picture as browsers show it, at most `width` pixels wide and high: its MIME type and bytes.

    One that is no larger, nor, if given, of more than `as_stored` bytes, stays as it is stored.
    Raises PictureError.
    """
    from PIL import Image, ImageOps

    kind = picture_extension(ext) or ext
    image = open_picture(data)
    fits = width is None or max(image.size) <= width
    fits = fits and (as_stored is None or len(data) <= as_stored)
    if fits and kind in _SHOWN_BY_BROWSERS and (image.format or "").lower() in _names_of(kind):
        load_picture(image, data)  # what does not decode is said here, not by an empty frame
        return f"image/{_MIME.get(kind, kind)}", data
    if width is not None:
        image.draft("RGB", (2 * width, 2 * width))
    load_picture(image, data)
    image = ImageOps.exif_transpose(image).convert("RGB")
    if width is not None:
        image.thumbnail((width, width), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=85)
    return "image/jpeg", buffer.getvalue()


def _names_of(kind: str) -> tuple[str, ...]:
    return ("jpeg",) if kind == "jpg" else (kind,)


def _pictures(row: dict[str, Any], label: str, only_first: bool = False) -> list[Picture]:
    """The pictures of one sample, or its primary one alone. Several go by their own names."""
    members = [m for m in row["members"] or () if is_picture(m["ext"])]
    members = members[:1] if only_first else members
    own = [m["ext"].rpartition(".")[0] for m in members]
    labels = [label] if len(members) == 1 else own
    found = [
        Picture(name, row["dataset"], row["key"], m["ext"], (m["sha256"] or "")[:12])
        for name, m in zip(labels, members, strict=True)
    ]
    return sorted(found, key=lambda picture: _place_of(picture.label))


def _own_label(roles: set[str]) -> str:
    if "target" in roles:
        return "output"
    return "target" if roles else ""


def _place_of(role: str) -> int:
    return _ROLES.index(role) if role in _ROLES else len(_ROLES)
