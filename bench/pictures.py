"""JPEG files to measure on: crops of the photographs in scikit-image's wheel, quality 90."""

from pathlib import Path

import numpy as np

SIZE_PX = 512


def write_jpegs(folder: Path, count: int, size: int = SIZE_PX) -> Path:
    """Writes `count` different square JPEGs below `folder`, a thousand a subfolder, unless they are
    there. size: pixels a side."""
    from PIL import Image

    from toolkit.painting.photographs import PHOTOGRAPHS, load
    from toolkit.store.images import encode_jpeg

    done = folder / f"{count}-{size}.done"
    if done.exists():
        return folder
    rng = np.random.Generator(np.random.Philox(0))
    photographs = [load(photograph.name) for photograph in PHOTOGRAPHS if photograph.paintable]
    for number in range(count):
        photograph = photographs[number % len(photographs)]
        side = int(min(photograph.shape[:2]) * rng.uniform(0.6, 1.0))
        top, left = (int(rng.integers(0, n - side + 1)) for n in photograph.shape[:2])
        crop = Image.fromarray(photograph[top : top + side, left : left + side])
        path = folder / f"{number // 1000:03d}" / f"{number:06d}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode_jpeg(np.asarray(crop.resize((size, size))), quality=90))
    done.touch()
    return folder
