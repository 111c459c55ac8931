"""A gallery as one HTML file: small pictures inside, searched, filtered and sorted in the page."""

import base64
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.core.errors import UserError
from toolkit.core.files import make_folder, write_atomic
from toolkit.core.progress import Progress
from toolkit.inspection.cards import cards
from toolkit.inspection.page_files import MARK, whole_page
from toolkit.inspection.pictures import Pictures, shown_bytes
from toolkit.inspection.table import Table
from toolkit.inspection.views import View
from toolkit.store.images import PictureError

PAGE_SIZE = 60
_AT_ONCE = 100  # rows
_AS_STORED = 32_000  # bytes of a picture that is small enough to stand in a page as it is


@dataclass(frozen=True)
class Written:
    """What a gallery's file holds. left_out: rows that the limit kept out; broken: pictures that
    are not shown, and why; size: bytes."""

    samples: int
    pictures: int
    left_out: int
    broken: list[tuple[str, str]]
    size: int


def about(table: Table, title: str, order: str, descending: bool, **more: Any) -> dict[str, Any]:
    """What the page knows before any row. order: the column that it begins with, or nothing."""
    return {
        "title": title, "columns": table.summary(), "order": order,
        "descending": descending, "page_size": PAGE_SIZE, "side": 192, **more,
    }  # fmt: skip


def check_out(out: Path) -> None:
    """Raises UserError for a name that is none of an HTML file, or a file that is no gallery."""
    if out.suffix != ".html":
        raise UserError(f"--out={out} writes HTML: name it NAME.html")
    if out.exists() and (not out.is_file() or MARK.encode() not in out.read_bytes()[:4000]):
        raise UserError(f"--out={out}: there is something else of this name: take another one")


def write_gallery(
    table: Table, pictures: Pictures, out: Path, title: str, view: View, limit: int, width: int
) -> Written:
    """Writes the first `limit` rows of the view, in its order, with each picture once.

    width: the longer side of pictures, in pixels. Raises UserError.
    """
    ids = table.view(view).ids
    shown: dict[tuple[str, str, str], dict[str, str]] = {}
    found: list[dict[str, Any]] = []
    with Progress(min(len(ids), limit), "gallery", "sample") as progress:
        for group in _groups(ids[:limit]):
            for card in cards(table, pictures, group):
                for picture in card["pictures"]:
                    name = (picture["dataset"], picture["key"], picture["ext"])
                    if name not in shown:
                        shown[name] = _embedded(pictures, *name, width)
                    picture.update(shown[name])
                found.append(card)
                progress.advance()
    left_out = max(0, len(ids) - limit)
    data = {
        "about": about(table, title, view.order, view.descending, left_out=left_out),
        "cards": found,
    }
    text = whole_page(data).encode()
    make_folder(out.parent)
    write_atomic(out, text)
    broken = [("/".join(n[:2]), x["problem"]) for n, x in shown.items() if "problem" in x]
    return Written(len(found), len(shown) - len(broken), left_out, broken, len(text))


def _groups(ids: np.ndarray) -> Iterator[np.ndarray]:
    for start in range(0, len(ids), _AT_ONCE):
        yield ids[start : start + _AT_ONCE]


def _embedded(pictures: Pictures, dataset: str, key: str, ext: str, width: int) -> dict[str, str]:
    try:
        kind, data = shown_bytes(pictures.read(dataset, key, ext), ext, width, _AS_STORED)
    except (UserError, PictureError) as error:
        return {"problem": str(error)}
    return {"data": f"data:{kind};base64,{base64.b64encode(data).decode()}"}
