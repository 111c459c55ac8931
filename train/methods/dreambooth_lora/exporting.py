"""A trained style as a folder for other programs.

FOLDER/pytorch_lora_weights.safetensors   diffusers
FOLDER/kohya.safetensors                  kohya's sd-scripts, ComfyUI, web interfaces
FOLDER/README.md                          the model card
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from toolkit.core.files import make_folder, write_atomic
from train.lora.reading import FILE
from train.lora.weights import Lora
from train.lora.writing import write_lora
from train.methods.dreambooth_lora.config import Config, prompt_of

KOHYA, CARD = "kohya.safetensors", "README.md"


def write(lora: Lora, config: Config, out: Path, about: Mapping[str, Any]) -> Sequence[str]:
    """Writes the folder, and returns the names of its files."""
    make_folder(out)
    prompts = [prompt_of(config, "…", style) for style in config.styles]
    write_lora(lora, out / FILE, "diffusers")
    words = ", ".join(prompts)
    write_lora(
        lora, out / KOHYA, "kohya",
        {"modelspec.title": str(about.get("run", "")), "modelspec.trigger_phrase": words},
    )  # fmt: skip
    prompt = prompt_of(config, "a lighthouse", config.styles[0] if config.styles else None)
    card = f"""---
base_model: {config.backbone}
tags: [lora, text-to-image, diffusers]
---
# {about.get("run", "LoRA")}

Prompts: {words}

```python
from diffusers import DiffusionPipeline

pipe = DiffusionPipeline.from_pretrained("{config.backbone}")
pipe.load_lora_weights(".")
pipe("{prompt}").images[0]
```

| | |
| --- | --- |
| trained for | {about.get("step", "?")} steps |
| rank of the UNet, of the text encoders | {config.lora.unet_rank}, {config.lora.text_rank} |
| weights (sha256 of the checkpoint) | {about.get("weights", "?")} |

`{FILE}` is for diffusers, `{KOHYA}` for ComfyUI and others.
"""
    write_atomic(out / CARD, card)
    return [FILE, KOHYA, CARD]
