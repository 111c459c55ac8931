"""A few pictures of an export on one sheet."""

import hashlib
from typing import Any

import numpy as np

from toolkit.exporting.api import About
from toolkit.exporting.chosen import numbered_roles, rows_by_key
from toolkit.store.images import PictureError, decode_rgb, encode_jpeg, picture_extension
from toolkit.store.layout import Layout
from toolkit.store.samples import read_member

_ROWS, _COLUMNS, _SIDE, _GAP = 3, 4, 192, 4  # pixels


def contact_sheet(about: About) -> bytes | None:
    """A JPEG of a dozen samples, those whose hashes are smallest, so that the same selection shows
    the same; each beside what it is linked to. None where no picture can be read."""
    rows = about.chosen.few(_ROWS * _COLUMNS)
    strips = [strip for row in rows if (strip := _strip(about, row))]
    per_line = max(1, _COLUMNS // max((len(s) for s in strips), default=1))
    strips = strips[: _ROWS * per_line]
    if not strips:
        return None
    width = max(map(len, strips)) * per_line
    lines = -(-len(strips) // per_line)
    step = _SIDE + _GAP
    sheet = np.full((lines * step - _GAP, width * step - _GAP, 3), 255, np.uint8)
    for number, strip in enumerate(strips):
        top = number // per_line * step
        left = number % per_line * (width // per_line) * step
        for place, tile in enumerate(strip):
            x = left + place * step
            sheet[top : top + _SIDE, x : x + _SIDE] = tile
    return encode_jpeg(sheet, 85)


def _strip(about: About, row: dict[str, Any]) -> list[np.ndarray]:
    """A sample's further pictures and linked ones, then its own; empty where it cannot be read."""
    layout = about.layout
    members = [m for m in row["members"] if picture_extension(m["ext"])]
    tiles = [tile for m in members[:2] if (tile := _tile(layout, row, m)) is not None]
    if len(tiles) < min(2, len(members)):
        return []
    linked = []
    links = (row["links"] or []) if about.with_links else []
    for _, link in zip(numbered_roles([x["role"] for x in links]), links[:2], strict=False):
        other = rows_by_key(layout, link["dataset"], [link["key"]]).get(link["key"])
        found = other["members"] or () if other else ()
        first = next((m for m in found if picture_extension(m["ext"])), None)
        tile = _tile(layout, other, first) if other and first else None
        if tile is not None:
            linked.append(tile)
    return [*linked, *tiles[::-1]]


def _tile(layout: Layout, row: dict[str, Any], member: dict[str, Any]) -> np.ndarray | None:
    from PIL import Image, ImageOps

    data = read_member(layout, row, member)
    if member["sha256"] not in (None, hashlib.sha256(data).hexdigest()):
        return None
    try:
        image = Image.fromarray(decode_rgb(data))
    except PictureError:
        return None
    return np.asarray(ImageOps.fit(image, (_SIDE, _SIDE), Image.Resampling.BICUBIC))
