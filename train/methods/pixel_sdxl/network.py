"""The network with what it is loaded from: an SDXL pipeline, or single files."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from toolkit.core.errors import UserError
from toolkit.encoders.loading import PLANNED, load, load_model
from train.lora.sdxl_names import authors_name
from train.methods.base import seeded
from train.methods.pipelines import pretrained
from train.methods.pixel_sdxl.checkpoints import (
    authors_names,
    load_unet,
    read_checkpoint,
    text_states,
    told,
)
from train.methods.pixel_sdxl.config import SIZE, Config
from train.methods.pixel_sdxl.net import SIZES, PixelUNet, Sizes
from train.methods.prompt_words import Embedded, Words


class PixelSDXL(nn.Module):
    """The U-Net on pixels, and the text encoders where they are trained; `loaded` tells what was
    taken. Raises UserError for weights that are not there or of another model."""

    def __init__(self, config: Config):
        super().__init__()
        unet, is_random = open_unet(config.pipeline)
        whole = {authors_name(name) for name in unet.state_dict()}
        self.unet = PixelUNet(unet, sizes_of(config))
        own = authors_names(self.unet)
        self.loaded = [f"U-Net of {config.backbone}: random weights"] if is_random else [
            f"U-Net of {config.backbone}: {line}"
            for line in told(len(own.keys() & whole), whole - own.keys(), own.keys() - whole)
        ]  # fmt: skip
        texts = {}
        if config.weights:
            path = Path(config.weights)
            state = read_checkpoint(path)
            self.loaded = [f"{path.name}: {line}" for line in load_unet(self.unet, state, path)]
            texts = text_states(state)
            self.loaded.append(f"{path.name}: {len(texts)} text encoders")
        self.words = Words(config.pipeline, config.train_text, texts).requires_grad_(True)
        self.words.freeze_unread()

    def forward(
        self, noisy: torch.Tensor, t: torch.Tensor, text: Embedded, sizes: torch.Tensor
    ) -> torch.Tensor:
        """The predicted picture, float [N,3,H,W]. noisy: of that shape; t: [N], 1 is noise; sizes:
        int64 [N,6], of `Body`."""
        assert text.pooled is not None
        found: torch.Tensor = self.unet(
            noisy, 999 * t, text.tokens, text.pooled, sizes.to(noisy.device)
        )
        return found


def open_unet(pipeline: str) -> tuple[Any, bool]:
    """diffusers' `UNet2DConditionModel` of SDXL, and whether its weights are random, which they are
    where a folder has its configuration alone. Raises UserError."""
    from diffusers import UNet2DConditionModel

    place, default = f"{pipeline}/unet", pretrained(pipeline, SIZE)
    files = {path.suffix or path.name for path in Path(place).glob("*")}
    is_random = bool(files) and not files & {".safetensors", PLANNED}
    if is_random:
        config = load(UNet2DConditionModel.load_config, place, default, flag="--backbone")
        with seeded(0):  # the teacher's are the same
            unet: Any = UNet2DConditionModel.from_config(config)
    else:
        unet = load_model(UNet2DConditionModel.from_pretrained, place, default, flag="--backbone")
    if unet.config.addition_embed_type != "text_time" or len(unet.down_blocks) != len(SIZES) + 1:
        raise UserError(f"--backbone={pipeline}: takes SDXL, whose U-Net has three levels")
    return unet, is_random


def sizes_of(config: Config) -> Sizes:
    """Those of base_resolution, with what is asked for instead."""
    usual = SIZES[config.base_resolution]
    return replace(
        usual, patch=config.patch_size, hidden=config.hidden or usual.hidden,
        blocks=config.blocks or usual.blocks, bottleneck=config.bottleneck,
    )  # fmt: skip
