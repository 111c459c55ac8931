"""Encoding into sidecars against the encoder alone, on the same batches in the same run.

    python -m bench.encode [--weights=DIR] [--count=64] [--size=256] [--rounds=5]

Ours reads tars, decodes 512-pixel JPEGs, encodes, converts and writes; the limit is a loop over the
same batches, decoded before, that calls the encoder and drops what it gives. Without --weights, the
network has random ones of the same shapes.
"""

import shutil
import time
from pathlib import Path

import fire

from bench.pictures import write_jpegs
from bench.timing import machine, pairs, summary, write_results

BATCH = 8


def main(
    weights: str = "", count: int = 64, size: int = 256, rounds: int = 5,
    folder: str = "/tmp/tessera-bench",
) -> None:  # fmt: skip
    """Measures and keeps bench/results/encode.json."""
    from toolkit.encoders.api import open_encoder
    from toolkit.encoding.frame import Wanted
    from toolkit.encoding.inputs import PictureReader, batches
    from toolkit.encoding.plan import shards_of, tasks
    from toolkit.encoding.run import Job, encode, encode_pictures
    from toolkit.packing.dataset import pack
    from toolkit.sources.folder import open_source
    from toolkit.store.catalog import Catalog
    from toolkit.store.layout import Layout
    from toolkit.store.recipe import Recipe

    root = Path(folder) / "encode"
    shutil.rmtree(root, ignore_errors=True)
    layout = Layout(root / "s", root / "m")
    pictures = write_jpegs(Path(folder) / f"encode-{count}", count)
    pack(open_source(pictures), "main", layout, 32)
    encoder = open_encoder("taef2", weights or _random(root / "weights"))
    catalog = Catalog(layout)
    function = encode_pictures(encoder, ("latent",), "float16", flip=False)
    recipe = Recipe(encoder.identity, ("latent",), {"size": size})
    job = Job(Wanted("latents", recipe, "true"), "picture", function, BATCH, size)
    todo = [t for t in tasks(catalog, "true", shards_of(catalog, "true"), "latents", "")
            if not isinstance(t, int)]  # fmt: skip
    reader = PictureReader(layout, size, "crop")
    decoded = [reader.read(*batch).pixels for batch in batches(todo, "picture", BATCH)]

    def ours() -> float:
        for kind in ("s", "m"):
            shutil.rmtree(root / kind / "main" / "sidecars", ignore_errors=True)
        start = time.perf_counter()
        encode(catalog, job)
        return time.perf_counter() - start

    def limit() -> float:
        import torch

        start = time.perf_counter()
        for pixels in decoded:
            encoder.encode(torch.from_numpy(pixels))
        return time.perf_counter() - start

    rows = [summary(f"taef2 at {size}: the bare encoder", pairs(ours, limit, rounds), count)]
    write_results("encode", {**machine(), "batch": BATCH, "samples": count}, rows)


def _random(folder: Path) -> str:
    from safetensors.torch import save_file

    from toolkit.encoders.taef2 import FILES, make_decoder, make_encoder

    folder.mkdir(parents=True, exist_ok=True)
    for name, module in zip(FILES, (make_encoder(), make_decoder()), strict=True):
        save_file(module.state_dict(), folder / name)
    return str(folder)


if __name__ == "__main__":
    fire.Fire(main)
