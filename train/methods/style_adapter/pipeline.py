"""A trained style adapter as one object, for other programs, and as a folder, for the hub.

FOLDER/style_adapter.safetensors   what was trained, nothing of the backbone
FOLDER/config.json                 the method's settings, the backbone's and image encoder's names
FOLDER/README.md                   the model card
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps

from toolkit.core.config import resolve
from toolkit.core.errors import UserError
from toolkit.core.files import make_folder, write_atomic
from train.methods.api import StylizeRequest
from train.methods.style_adapter.config import Config, Stylize, stylize
from train.methods.style_adapter.distilled import Distilled

WEIGHTS, CONFIG, CARD = "style_adapter.safetensors", "config.json", "README.md"


class StyleAdapterPipeline:
    """Repaints pictures in the style of another.

    Args:
        method: with its weights, on its device.
    """

    def __init__(self, method: Distilled):
        self._method = method

    @classmethod
    def from_pretrained(
        cls,
        folder: str | Path,
        backbone: str | None = None,
        image_encoder: str | None = None,
        device: str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> "StyleAdapterPipeline":
        """Opens what `save_pretrained` wrote.

        Args:
            folder: it, or the hub id of one.
            backbone, image_encoder: hub ids or folders, in the place of those that it names.
            device: of all networks.
            dtype: of the frozen networks' weights and of all arithmetic.

        Raises:
            UserError: a folder that holds something else, weights that cannot be loaded.
        """
        from safetensors.torch import load_file

        place = _local(folder)
        try:
            tree = json.loads((place / CONFIG).read_text("utf-8"))
            state = load_file(place / WEIGHTS)
        except (OSError, ValueError) as error:
            raise UserError(f"{folder} holds no style adapter: {error}") from None
        config = resolve(Config(), tree, str(place / CONFIG))
        config = replace(
            config, backbone=backbone or config.backbone,
            image_encoder=image_encoder or config.image_encoder,
        )  # fmt: skip
        method = Distilled(config, seed=0)
        method.load_trainable_state(state)
        method.module().to(device, dtype).eval()
        return cls(method)

    def save_pretrained(
        self, folder: str | Path, about: Mapping[str, Any] | None = None
    ) -> Sequence[str]:
        """Writes the folder, and returns the names of its files. about: what the card tells
        besides, by name."""
        from safetensors.torch import save

        out = make_folder(Path(folder))
        state = self._method.trainable_state()
        write_atomic(
            out / WEIGHTS, save({k: v.float().cpu().contiguous() for k, v in state.items()})
        )
        config = asdict(self._method.config)
        write_atomic(out / CONFIG, json.dumps(config, indent=1) + "\n")
        count = sum(v.numel() for v in state.values())
        write_atomic(out / CARD, card(self._method.config, count, about or {}))
        return WEIGHTS, CONFIG, CARD

    def __call__(
        self,
        image: Image.Image | Sequence[Image.Image],
        style: Image.Image | Sequence[Image.Image],
        prompt: str | Sequence[str] = "",
        num_inference_steps: int | None = None,
        guidance_scale: float | None = None,
        strength: float | None = None,
        style_scale: float = 1.0,
        seed: int = 0,
    ) -> list[Image.Image]:
        """Pictures of the contents in the styles, square; the middle of what is not is taken.

        Args:
            image: contents, one or several.
            style: style pictures, as many, or one for all.
            prompt: what the contents show; may be empty.
            num_inference_steps, guidance_scale, strength: as `train.stylize` has them; what suits
                the network otherwise.
            style_scale: 0 is no style, 1 as trained.
            seed: of the noise; picture n takes seed + n.
        """
        contents = [image] if isinstance(image, Image.Image) else list(image)
        styles = [style] if isinstance(style, Image.Image) else list(style)
        prompts = [prompt] if isinstance(prompt, str) else list(prompt)
        count = len(contents)
        styles = styles * count if len(styles) == 1 else styles
        prompts = prompts * count if len(prompts) == 1 else prompts
        if not count or not len(styles) == len(prompts) == count:
            raise ValueError(
                f"{count} contents, {len(styles)} styles and {len(prompts)} prompts do not go "
                "together"
            )
        usual = stylize(self._method.config)
        how = Stylize(
            steps=num_inference_steps or usual.steps,
            guidance=usual.guidance if guidance_scale is None else guidance_scale,
            style_scale=style_scale,
            strength=usual.strength if strength is None else strength,
        )
        request = StylizeRequest(
            content=self._pixels(contents), style=self._pixels(styles),
            has_style=torch.ones(count, dtype=torch.bool), captions=tuple(prompts),
            seeds=torch.arange(seed, seed + count), how=how,
        )  # fmt: skip
        made = (self._method.stylize(request).float().cpu() + 1) * 127.5
        pixels = made.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).numpy()
        return [Image.fromarray(one) for one in pixels]

    def _pixels(self, pictures: Sequence[Image.Image]) -> torch.Tensor:
        """float [N,3,S,S] in [-1,1], on the device."""
        size = self._method.config.image_size
        fitted = [ImageOps.fit(p.convert("RGB"), (size, size), Image.Resampling.BICUBIC)
                  for p in pictures]  # fmt: skip
        values = torch.from_numpy(np.stack([np.asarray(p) for p in fitted]))
        device = next(self._method.module().parameters()).device
        return values.permute(0, 3, 1, 2).float().to(device) / 127.5 - 1


def card(config: Config, count: int, about: Mapping[str, Any]) -> str:
    """The model card, in the hub's format."""
    how = config.adapter
    lines = [
        "---", f"base_model: {config.backbone}", "library_name: tessera",
        "tags: [style-transfer, pixart, ip-adapter]", "---", "", "# Style adapter", "",
        f"{count / 1e6:.1f} million weights beside the frozen `{config.backbone}`: {how.tokens} "
        f"style tokens from the {how.source} of `{config.image_encoder}`, purification "
        f"{how.purification}, the last {how.layers or 'all'} layers, content path "
        f"{config.content_path}, {config.image_size} pixels, objective {config.objective}.", "",
        "```python", "from train.methods.style_adapter.pipeline import StyleAdapterPipeline", "",
        'pipeline = StyleAdapterPipeline.from_pretrained("THIS FOLDER")',
        "picture = pipeline(content, style, prompt)[0]", "```", "",
        *(f"* {name}: {value}" for name, value in about.items()),
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def _local(folder: str | Path) -> Path:
    path = Path(folder)
    if path.is_dir() or str(folder).count("/") != 1 or str(folder).startswith((".", "/", "~")):
        return path
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(str(folder), allow_patterns=[WEIGHTS, CONFIG, CARD]))
    except Exception as error:  # the hub raises many kinds
        raise UserError(f"{folder} is no folder, and not on the hub: {str(error)[:160]}") from None
