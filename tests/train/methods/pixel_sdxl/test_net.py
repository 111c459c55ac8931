"""SDXL's body between patches, beside diffusers' whole U-Net."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel

from tests.full_size import unet_sdxl
from tests.twins import sdxl
from train.lora.sdxl_names import authors_name
from train.methods.pixel_sdxl.net import SIZES, Body, PatchDecoder, PatchEncoder, PixelUNet, Sizes


def conditions(count: int, text: int, pooled: int) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(3)
    return (
        torch.tensor([10.0, 700.5][:count]), torch.randn(count, 7, text, generator=generator),
        torch.randn(count, pooled, generator=generator),
        torch.tensor([[64, 48, 0, 4, 32, 32], [32, 32, 3, 0, 32, 48]][:count]),
    )  # fmt: skip


@pytest.mark.parametrize("level", [1, 2])
@pytest.mark.parametrize("shape", [(16, 16), (20, 12)])
def test_the_body_does_what_these_levels_do_in_the_whole(
    tmp_path: Path, level: int, shape: tuple[int, int]
) -> None:
    """What goes into the level and what its last block gives, caught inside diffusers' U-Net."""
    whole: Any = UNet2DConditionModel.from_pretrained(sdxl(tmp_path / "xl") / "unet").eval()
    body = Body(copy.deepcopy(whole), level)
    t, tokens, pooled, sizes = conditions(2, 40, 24)
    caught: dict[str, torch.Tensor] = {}
    places = {
        "in": whole.down_blocks[level].resnets[0],
        "out": whole.up_blocks[-level - 1].upsamplers[0],
    }
    for name, module in places.items():
        module.register_forward_pre_hook(
            lambda _, args, name=name: caught.update({name: args[0]})  # type: ignore[misc]
        )
    noisy = torch.randn(2, 4, *shape, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        whole(noisy, t, tokens, added_cond_kwargs={"text_embeds": pooled, "time_ids": sizes})
        found = body(caught["in"], t, tokens, pooled, sizes)
    assert body.channels_in == caught["in"].shape[1]
    assert body.channels_out == found.shape[1]
    torch.testing.assert_close(found, caught["out"], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("level", [1, 2])
def test_grids_with_odd_sides_come_out_as_they_went_in(tmp_path: Path, level: int) -> None:
    unet = UNet2DConditionModel.from_pretrained(sdxl(tmp_path / "xl") / "unet")
    net = PixelUNet(unet, Sizes(4, level, 8, 1))
    for height, width in ((20, 28), (12, 4), (36, 40)):
        found = net(torch.randn(2, 3, height, width), *conditions(2, 40, 24))
        assert found.shape == (2, 3, height, width)


def test_patches_are_those_of_the_picture() -> None:
    """Each goes in by its own pixels, and comes out at its own place."""
    torch.manual_seed(0)
    sizes = Sizes(4, 1, 8, 0)
    encoder, decoder = PatchEncoder(sizes, 5), PatchDecoder(sizes, 5)
    picture = torch.randn(1, 3, 8, 12)
    patch = picture[:, :, 4:8, 8:12]
    first = encoder.net[0]
    found = first(torch.nn.functional.pixel_unshuffle(picture, 4))[0, :, 1, 2]
    torch.testing.assert_close(found, first.weight[..., 0, 0] @ patch.flatten() + first.bias)
    last = decoder.net[-1]
    torch.nn.init.zeros_(last.weight)
    with torch.no_grad():
        last.bias.copy_(torch.arange(48.0))
    made = decoder(torch.zeros(1, 5, 2, 3))
    assert torch.equal(made[0, :, 4:8, 8:12], torch.arange(48.0).reshape(3, 4, 4))


FULL = {  # encoder, body, decoder
    64: (14_723_904, 2_547_148_800, 14_888_192),
    32: (45_339_520, 2_369_639_680, 45_833_472),
}
DROPPED = {
    64: {*(f"input_blocks.{n}" for n in range(4)), *(f"output_blocks.{n}" for n in (6, 7, 8)),
         "out.0", "out.2"},
    32: {*(f"input_blocks.{n}" for n in range(7)), *(f"output_blocks.{n}" for n in range(3, 9)),
         "out.0", "out.2"},
}  # fmt: skip


@pytest.mark.parametrize("base_resolution", [64, 32])
def test_full_size(base_resolution: int) -> None:
    """Every weight of SDXL's U-Net (2,567,463,684, as published) is kept or dropped by rule, and
    what is new is the patches'."""
    with torch.device("meta"):
        unet = unet_sdxl()
        sizes = {name: value.numel() for name, value in unet.state_dict().items()}
        assert sum(sizes.values()) == 2_567_463_684
        net = PixelUNet(unet, SIZES[base_resolution])
        parts = (net.patch_encoder, net.body, net.patch_decoder)
        assert tuple(sum(p.numel() for p in m.parameters()) for m in parts) == FULL[base_resolution]
        picture = torch.empty(1, 3, 1024, 1024)
        features = net.patch_encoder(picture)
        side = base_resolution
        assert features.shape == (1, {64: 320, 32: 640}[side], side, side)
        assert net.body.channels_out == {64: 640, 32: 1280}[side]
        cut = torch.empty(1, 77, 2048), torch.empty(1, 1280), torch.zeros(1, 6, dtype=torch.long)
        assert net(picture, torch.zeros(1), *cut).shape == picture.shape
    kept = {name.removeprefix("body.") for name in net.state_dict() if name.startswith("body.")}
    assert kept <= set(sizes)
    dropped = {authors_name(name) for name in set(sizes) - kept}
    last = {64: "output_blocks.5.2.", 32: "output_blocks.2.2."}[side]
    others = {name for name in dropped if not name.startswith(last)}
    assert {".".join(name.split(".")[:2]) for name in others} == DROPPED[side]
    assert len(dropped) - len(others) == 2
    lost = sum(count for name, count in sizes.items() if name not in kept)
    assert FULL[side][1] == 2_567_463_684 - lost


def test_a_bottleneck_narrows_what_goes_in() -> None:
    """JiT's: 128 numbers of each patch; the rest of the network stays as it is."""
    with torch.device("meta"):
        plain, narrow = (
            PatchEncoder(Sizes(32, 2, 768, 4, bottleneck), 640) for bottleneck in (0, 128)
        )
    assert narrow.net[0][0].weight.shape == (128, 3072, 1, 1)
    counts = [sum(p.numel() for p in m.parameters()) for m in (plain, narrow)]
    assert counts[0] - counts[1] == 3072 * 768 - (3072 * 128 + 128 * 768)
