"""JPEG files to measure on: crops of the photographs in scikit-image's wheel, quality 90, with
halved colour (4:2:0) as cameras and COCO have it."""

from pathlib import Path

import numpy as np

SIZE_PX = 512


def write_jpegs(folder: Path, count: int, size: int = SIZE_PX, classes: int = 0) -> Path:
    """Writes `count` different square JPEGs below `folder` unless they are there, a thousand a
    subfolder or, with `classes`, into so many folders by turns. size: pixels a side."""
    from PIL import Image

    from toolkit.painting.photographs import PHOTOGRAPHS, load

    done = folder / f"{count}-{size}-420.done"
    if done.exists():
        return folder
    rng = np.random.Generator(np.random.Philox(0))
    photographs = [load(photograph.name) for photograph in PHOTOGRAPHS if photograph.paintable]
    for number in range(count):
        photograph = photographs[number % len(photographs)]
        side = int(min(photograph.shape[:2]) * rng.uniform(0.6, 1.0))
        top, left = (int(rng.integers(0, n - side + 1)) for n in photograph.shape[:2])
        crop = Image.fromarray(photograph[top : top + side, left : left + side])
        part = number % classes if classes else number // 1000
        path = folder / f"{part:03d}" / f"{number:06d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        crop.resize((size, size)).save(path, quality=90, subsampling="4:2:0")
    done.touch()
    return folder
