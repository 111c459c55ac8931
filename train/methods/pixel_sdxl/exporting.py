"""Trained weights as files for other programs.

FOLDER/pixel_sdxl.safetensors   the U-Net by SDXL's names, patches beside it
FOLDER/text_encoder…/           where they were trained, as transformers opens them
FOLDER/README.md                the model card
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from toolkit.core.files import make_folder, usual_mode, write_atomic
from train.methods.pixel_sdxl.checkpoints import UNET, authors_names
from train.methods.pixel_sdxl.config import Config
from train.methods.pixel_sdxl.network import PixelSDXL

FILE, CARD = "pixel_sdxl.safetensors", "README.md"


def write(network: PixelSDXL, config: Config, out: Path, about: Mapping[str, Any]) -> Sequence[str]:
    """Writes the folder, and returns the names of what is in it."""
    from safetensors.torch import save_file

    make_folder(out)
    own = network.unet.state_dict()
    state = {
        UNET + name: own[place].cpu().contiguous()
        for name, place in authors_names(network.unet).items()
    }
    facts = {"base_resolution": config.base_resolution, "patch": config.patch_size,
             "noise_scale": config.noise_scale, "prediction": "x0"}  # fmt: skip
    with usual_mode(out / FILE):
        save_file(state, out / FILE, metadata={name: str(value) for name, value in facts.items()})
    written = [FILE]
    for name, tower in zip(network.words.names, network.words.towers or (), strict=False):
        model: Any = tower
        model.save_pretrained(out / name)
        written.append(name)
    rows = "\n".join(f"| {name} | {value} |" for name, value in facts.items())
    card = f"""---
base_model: {config.backbone}
tags: [text-to-image, pixel-space]
---
# {about.get("run", "pixel SDXL")}

SDXL's U-Net on pixels. `{FILE}` has its weights under `{UNET}`, by SDXL's names, with
`patch_encoder` and `patch_decoder`; `--init_from={FILE}` begins with it.

| | |
| --- | --- |
{rows}
| trained for | {about.get("step", "?")} steps |
| weights (sha256 of the checkpoint) | {about.get("weights", "?")} |
"""
    write_atomic(out / CARD, card)
    return [*written, CARD]
