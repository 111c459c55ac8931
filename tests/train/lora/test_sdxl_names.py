"""SDXL's names of its weights, beside diffusers' own converter and a published file's keys."""

from pathlib import Path

import torch
from diffusers import UNet2DConditionModel
from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint

from tests.full_size import unet_sdxl
from tests.twins import sdxl
from train.lora.sdxl_names import authors_name

# keys of sd_xl_base_1.0.safetensors, without their prefix
KNOWN = {
    "time_embed.0.weight", "time_embed.2.bias", "label_emb.0.0.weight", "label_emb.0.2.weight",
    "input_blocks.0.0.weight", "input_blocks.1.0.in_layers.0.weight",
    "input_blocks.2.0.emb_layers.1.weight", "input_blocks.3.0.op.weight",
    "input_blocks.4.0.skip_connection.weight", "input_blocks.4.1.proj_in.weight",
    "input_blocks.5.1.transformer_blocks.1.attn2.to_k.weight", "input_blocks.6.0.op.bias",
    "input_blocks.8.1.transformer_blocks.9.ff.net.0.proj.weight",
    "middle_block.0.in_layers.2.weight", "middle_block.1.transformer_blocks.0.norm1.weight",
    "middle_block.2.out_layers.3.weight", "output_blocks.0.0.in_layers.0.weight",
    "output_blocks.2.2.conv.weight", "output_blocks.5.2.conv.bias",
    "output_blocks.8.0.out_layers.0.weight", "out.0.weight", "out.2.bias",
}  # fmt: skip


def test_published_keys_are_among_them() -> None:
    with torch.device("meta"):
        names = list(unet_sdxl().state_dict())
    found = {authors_name(name) for name in names}
    assert found >= KNOWN
    assert len(found) == len(names) == 1680


def test_diffusers_reads_them_back(tmp_path: Path) -> None:
    unet = UNet2DConditionModel.from_pretrained(sdxl(tmp_path / "xl") / "unet")
    own = unet.state_dict()
    theirs = {f"model.diffusion_model.{authors_name(name)}": value for name, value in own.items()}
    back = convert_ldm_unet_checkpoint(theirs, dict(unet.config))
    assert back.keys() == own.keys()
    assert all(torch.equal(back[name], own[name]) for name in own)
