"""Writes a LoRA in one of the formats by name."""

from collections.abc import Mapping
from pathlib import Path

from train.lora.weights import Lora


def write_lora(lora: Lora, path: Path, to: str, more: Mapping[str, str] | None = None) -> None:
    """Writes a .safetensors file.

    Args:
        lora: what to write.
        path: of the file.
        to: diffusers or kohya.
        more: metadata besides, which diffusers' format has no room for.
    """
    if to == "kohya":
        from train.lora.kohya_format import write_kohya

        write_kohya(lora, path, more)
        return
    from train.lora.diffusers_format import write_diffusers

    write_diffusers(lora, path)
