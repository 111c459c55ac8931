"""What a codec loses: PSNR of pictures that are encoded and decoded again.

    python -m bench.reconstruct FOLDER [--encoder=taef2] [--weights=DIR] [--size=256]

Pictures are scaled so that the shorter side fits, by each of the usual filters, and their centre is
cut out. The filter matters: the softer it is, the less there is to lose. Beside the figures, a
sheet is written: the worst picture, two in between and the best, each above what came back of it.
"""

from pathlib import Path
from typing import Any

import fire
import numpy as np
from PIL import Image, ImageOps

from bench.timing import machine, write_results

FILTERS = ("BILINEAR", "BICUBIC", "LANCZOS")


def main(
    pictures: str, encoder: str = "taef2", weights: str | None = None, size: int = 256,
    sheet: str = "/tmp/tessera-bench/reconstruct.png",
) -> None:  # fmt: skip
    """Measures and keeps bench/results/reconstruct.json."""
    from toolkit.encoders.api import open_encoder

    codec: Any = open_encoder(encoder, weights)
    suffixes = (".jpg", ".jpeg", ".png")
    paths = sorted(p for p in Path(pictures).rglob("*") if p.suffix.lower() in suffixes)
    rows = []
    for name in FILTERS:
        squares = [_square(path, size, getattr(Image.Resampling, name)) for path in paths]
        back = [_round_trip(codec, square) for square in squares]
        found = np.array([_psnr(a, b) for a, b in zip(squares, back, strict=True)])
        rows.append({
            "name": f"{encoder} at {size}, scaled by {name.lower()}", "pictures": len(paths),
            "mean_db": round(float(found.mean()), 2),
            "median_db": round(float(np.median(found)), 2),
            "worst_db": round(float(found.min()), 2),
        })  # fmt: skip
        if name == "BICUBIC":  # the loader's own
            order = found.argsort()
            shown = [order[0], order[len(order) // 4], order[len(order) // 2], order[-1]]
            columns = [np.concatenate([squares[i], back[i]]) for i in shown]
            Path(sheet).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.concatenate(columns, 1)).save(sheet)
            print(f"{sheet}: {', '.join(paths[i].name for i in shown)}")
    write_results("reconstruct", machine(), rows)


def _square(path: Path, size: int, resampling: Image.Resampling) -> np.ndarray:
    with Image.open(path) as opened:
        picture = ImageOps.exif_transpose(opened).convert("RGB")
    return np.asarray(ImageOps.fit(picture, (size, size), resampling))


def _round_trip(codec: Any, square: np.ndarray) -> np.ndarray:
    import torch

    pixels = torch.from_numpy(square.transpose(2, 0, 1).copy())[None]
    decoded = codec.decode(codec.latents(codec.encode(pixels)["latent"]))[0]
    values = (decoded.cpu().numpy().transpose(1, 2, 0) + 1) * 127.5
    return values.round().clip(0, 255).astype(np.uint8)


def _psnr(one: np.ndarray, other: np.ndarray) -> float:
    """Decibels, of 8-bit values. Identical pictures count as 100."""
    error = float(((one.astype(np.float64) - other) ** 2).mean())
    return 10 * np.log10(255**2 / error) if error else 100.0


if __name__ == "__main__":
    fire.Fire(main)
