"""LoRAs as files, whoever made them.

python -m train.lora show style.safetensors
python -m train.lora convert style.safetensors --to=kohya --out=style-kohya.safetensors
python -m train.lora merge one.safetensors --others=two.safetensors --out=both.safetensors
python -m train.lora resize style.safetensors --rank=8 --out=small.safetensors
python -m train.lora bake style.safetensors --backbone=DIR --out=DIR2
"""

from collections import Counter
from pathlib import Path
from typing import Any, Literal

from toolkit.core.command import Commands, run
from toolkit.core.errors import UserError

Format = Literal["diffusers", "kohya"]


def show(lora: Path) -> None:
    """Lists what a LoRA changes, by how much, and what its metadata say.

    Args:
        lora: the file, or a folder of diffusers.
    """
    from toolkit.core.show import show as table
    from train.lora.reading import read_lora

    found = read_lora(lora)
    rows = []
    for component, layers in found.layers.items():
        ranks = Counter(layer.rank for layer in layers.values())
        alphas = Counter(layer.alpha for layer in layers.values())
        norm = sum(float(layer.delta().square().sum()) for layer in layers.values()) ** 0.5
        rows.append([
            component, len(layers), ", ".join(map(str, sorted(ranks))),
            ", ".join(f"{alpha:g}" for alpha in sorted(alphas)), f"{norm:.4g}",
        ])  # fmt: skip
    table(["part", "layers", "rank", "alpha", "norm of the change"], rows)
    for name, text in sorted(found.about.items()):
        print(f"{name}: {text[:200]}")


def convert(lora: Path, *, out: Path, to: Format = "diffusers") -> None:
    """Writes a LoRA in another format.

    Args:
        lora: the file, or a folder of diffusers.
        out: the file to write.
        to: diffusers, or kohya, which ComfyUI and the web interfaces read.
    """
    from train.lora.reading import read_lora

    _write(read_lora(lora), out, to)


def merge(
    lora: Path, *, others: tuple[Path, ...], out: Path, weights: tuple[float, ...] = (),
    rank: int = 0, to: Format = "diffusers",
) -> None:  # fmt: skip
    """Puts several LoRAs of one model together.

    Args:
        lora: the file, or a folder of diffusers.
        others: the same of those that are added, comma-separated.
        out: the file to write.
        weights: of each, comma-separated; 1 otherwise.
        rank: of the result; the sum of all ranks otherwise, which loses nothing.
        to: diffusers or kohya.
    """
    from train.lora.change import merged, resized
    from train.lora.reading import read_lora

    loras = (lora, *others)
    if weights and len(weights) != len(loras):
        raise UserError(f"--weights: {len(weights)} of them for {len(loras)} LoRAs")
    read = [read_lora(path) for path in loras]
    found = merged(read, weights or [1.0] * len(loras))
    if rank:
        found, kept = resized(found, rank)
        print(f"{kept:.2%} of the squared changes are kept")
    _write(found, out, to)


def resize(lora: Path, *, rank: int, out: Path, to: Format = "diffusers") -> None:
    """Makes a LoRA's rank smaller, as little as possible changed.

    Args:
        lora: the file, or a folder of diffusers.
        rank: the new one; layers of a smaller one stay as they are.
        out: the file to write.
        to: diffusers or kohya.
    """
    from train.lora.change import resized
    from train.lora.reading import read_lora

    found, kept = resized(read_lora(lora), rank)
    print(f"{kept:.2%} of the squared changes are kept")
    _write(found, out, to)


def bake(lora: Path, *, backbone: str, out: Path, scale: float = 1.0) -> None:
    """Adds a LoRA to a model's weights for good, and writes the whole pipeline.

    Args:
        lora: the file, or a folder of diffusers.
        backbone: the Stable Diffusion pipeline, by hub id or folder.
        out: the folder to write.
        scale: strength of the LoRA.
    """
    from diffusers import DiffusionPipeline

    from toolkit.encoders.loading import Pretrained, load, quiet
    from train.lora.change import add_to
    from train.lora.reading import read_lora

    if out.exists() and (out.is_file() or any(out.iterdir())):
        raise UserError(f"{out} holds something: name another --out")
    found = read_lora(lora)
    pipeline = load(
        DiffusionPipeline.from_pretrained, backbone, Pretrained(backbone, "unknown size"),
        flag="--backbone",
    )  # fmt: skip
    models: dict[str, Any] = {
        name: part for name, part in pipeline.components.items() if hasattr(part, "named_modules")
    }
    count = add_to(models, found, scale)
    with quiet():
        pipeline.save_pretrained(out)
    print(f"{out}: {count / 1e6:.2f} million weights changed")


def _write(lora: Any, out: Path, to: Format) -> None:
    from toolkit.core.files import make_folder
    from train.lora.writing import write_lora

    if out.suffix != ".safetensors":
        raise UserError(f"--out={out}: name a .safetensors file")
    make_folder(out.parent)
    write_lora(lora, out, to)
    print(f"{out}: {to}, {sum(1 for _ in lora)} layers")


if __name__ == "__main__":
    commands: Commands = {
        "show": show, "convert": convert, "merge": merge, "resize": resize, "bake": bake,
    }  # fmt: skip
    run(commands, "python -m train.lora")
