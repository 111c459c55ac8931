"""One sample: its facts, its members as files, its pictures side by side."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.core.errors import UserError
from toolkit.core.files import atomic_path, make_folder
from toolkit.inspection.pictures import Pictures
from toolkit.store.catalog import no_dataset
from toolkit.store.images import PictureError, decode_rgb
from toolkit.store.layout import Layout
from toolkit.store.samples import SampleReader, read_member

_HEIGHT, _GAP, _LINE = 384, 8, 18  # pixels of a strip of pictures


def row_of(layout: Layout, sample: str) -> dict[str, Any]:
    """The manifest row of DATASET/KEY. Raises UserError."""
    dataset, slash, key = sample.partition("/")
    if not slash and sample in layout.datasets():
        raise UserError(
            f"{sample} is a dataset: write {sample}/KEY; its keys are listed by python -m "
            f"toolkit.query \"dataset='{sample}'\" --format=keys"
        )
    if not slash:
        raise UserError(
            f"{sample!r} is no sample: write DATASET/KEY, for example content/chelsea-00"
        )
    if dataset not in layout.datasets():
        raise UserError(no_dataset(dataset, layout.datasets()))
    return SampleReader(layout, dataset).row(key)


def facts(row: dict[str, Any]) -> list[tuple[str, str]]:
    """Names and values of a row as lines for people; what has no value is left out."""
    lines = [
        (name, _one_value(value))
        for name, value in row.items()
        if value not in (None, [], "") and name != "members"
    ]
    for member in row["members"] or ():
        lines.append(("member", f"{member['ext']}: {member['size']} bytes at {member['offset']}"))
    return lines


def save_members(layout: Layout, row: dict[str, Any], out: Path) -> list[Path]:
    """Writes a sample's members as files. Raises UserError: none, or not what was packed."""
    if not row["members"]:
        raise UserError(f"nothing to write: {row['source_id']} was not packed ({row['error']})")
    make_folder(out)
    written = []
    for member in row["members"]:
        data = read_member(layout, row, member)
        if member["sha256"] not in (None, hashlib.sha256(data).hexdigest()):
            raise UserError(
                f"the {member['ext']} of {row['dataset']}/{row['key']} is not what the manifest "
                f"says: python -m toolkit.verify {row['dataset']} tells what is wrong"
            )
        path = out / f"{row['key']}.{member['ext']}"
        path.write_bytes(data)
        written.append(path)
    return written


def pictures_of(layout: Layout, row: dict[str, Any]) -> list[tuple[str, np.ndarray]]:
    """What a sample was made from, then its own pictures: labels and pixels, uint8 [H,W,3].

    Raises UserError for a sample without pictures, or one that does not decode.
    """
    pictures = Pictures(layout)
    found = []
    for picture in pictures.of_rows([row])[0]:
        name = f"{picture.dataset}/{picture.key}"
        try:
            pixels = decode_rgb(pictures.read(picture.dataset, picture.key, picture.ext))
        except PictureError as error:
            raise UserError(f"{name} does not decode: {error}") from None
        found.append((f"{picture.label}: {name}" if picture.label else name, pixels))
    if not found:
        raise UserError(f"{row['dataset']}/{row['key']} has no picture: {row['error']}")
    return found


def side_by_side(pictures: list[tuple[str, np.ndarray]], height: int = _HEIGHT) -> np.ndarray:
    """Pictures of one height in a row, each above its label: uint8 [H,W,3]. Small ones are enlarged
    by whole pixels."""
    from PIL import Image, ImageDraw

    images = []
    for _, pixels in pictures:
        image = Image.fromarray(pixels)
        width = max(1, round(image.width * height / image.height))
        is_small = image.height * 3 <= height
        how = Image.Resampling.NEAREST if is_small else Image.Resampling.LANCZOS
        images.append(image.resize((width, height), how))
    whole = sum(image.width for image in images) + _GAP * (len(images) - 1)
    strip = Image.new("RGB", (whole, height + _LINE), "white")
    pen, left = ImageDraw.Draw(strip), 0
    for (label, _), image in zip(pictures, images, strict=True):
        strip.paste(image, (left, 0))
        pen.text((left + 2, height + 3), _fitting(pen, label, image.width - 4), fill="black")
        left += image.width + _GAP
    return np.asarray(strip)


def write_png(pixels: np.ndarray, out: Path) -> None:
    """Writes uint8 [H,W,3] as PNG. Raises UserError for another ending."""
    from PIL import Image

    if out.suffix.lower() != ".png":
        raise UserError(f"--png={out} writes a PNG: name it NAME.png")
    make_folder(out.parent)
    with atomic_path(out) as temporary:
        Image.fromarray(pixels).save(temporary, "PNG")


def _fitting(pen: Any, text: str, width: int) -> str:
    while text and pen.textlength(text) > width:
        text = text[:-2] + "…" if len(text) > 2 else ""
    return text


def _one_value(value: Any) -> str:
    if isinstance(value, list):
        return "; ".join(map(_one_value, value))
    if isinstance(value, dict):
        return ", ".join(f"{k}={v}" for k, v in value.items())
    return str(value)
