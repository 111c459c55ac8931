"""Pictures that follow others, beside diffusers' own pipelines with a ControlNet."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.train.methods.dreambooth_lora.test_dreambooth_lora import (
    asked,
    config_of,
    noise_of,
    opened,
)
from tests.twins import sdxl, stable_diffusion
from toolkit.core.errors import UserError
from train.methods.dreambooth_lora.config import Stylize
from train.methods.dreambooth_lora.controlling import Controller
from train.methods.dreambooth_lora.few_shot import FewShot


@pytest.fixture(scope="module", params=["epsilon", "sdxl"])
def places(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path]:
    """A pipeline, and a ControlNet whose zero convolutions are not zero any more."""
    from diffusers import ControlNetModel, UNet2DConditionModel

    folder = tmp_path_factory.mktemp("controlled") / request.param
    make = sdxl if request.param == "sdxl" else stable_diffusion
    base = make(folder)
    torch.manual_seed(0)
    unet = UNet2DConditionModel.from_pretrained(base, subfolder="unet")
    scale = 2 ** (3 if request.param == "sdxl" else 1)
    net = ControlNetModel.from_unet(
        unet, conditioning_embedding_out_channels=(4, 8, 8, 8)[: scale.bit_length()]
    )
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(torch.randn(parameter.shape) * 0.05)
    net.save_pretrained(folder.with_name("net"))
    return base, folder.with_name("net")


def pictures(size: int) -> torch.Tensor:
    """Discs of two sizes, float [2,3,S,S] in [-1,1]."""
    rows = torch.linspace(-1, 1, size)
    apart = rows[:, None] ** 2 + rows[None] ** 2
    return torch.stack([(apart < r).float() * 1.6 - 0.8 for r in (0.3, 0.7)])[:, None].expand(
        -1, 3, -1, -1
    )


@pytest.mark.parametrize("guidance", [1.0, 4.0])
def test_they_are_those_of_diffusers_pipeline(places: tuple[Path, Path], guidance: float) -> None:
    import diffusers

    base, place = places
    method = opened(FewShot(config_of(base), 0))
    size = method.config.image_size
    how = Stylize(3, guidance, "noise", scale=0.0, control="edge", control_net=str(place),
                  control_scale=0.7)  # fmt: skip
    request = replace(asked(how, ("03", "07")), content=pictures(size))
    made = method.stylize(request)
    net = diffusers.ControlNetModel.from_pretrained(place)
    name = "StableDiffusionXL" if method.network.is_sdxl else "StableDiffusion"
    pipe: Any = getattr(diffusers, f"{name}ControlNetPipeline").from_pretrained(
        base, controlnet=net
    )
    pipe.scheduler = diffusers.DPMSolverMultistepScheduler.from_config(
        {**pipe.scheduler.config, "algorithm_type": "dpmsolver++"}
    )
    pipe.set_progress_bar_config(disable=True)
    edges = Controller(how, method.network.unet, torch.device("cpu")).condition(pictures(size))
    expected = pipe(
        ["an image of cat in style_03", "an image of dog in style_07"], image=edges, height=size,
        width=size, num_inference_steps=3, guidance_scale=guidance,
        latents=noise_of(method, [3, 4]),
        controlnet_conditioning_scale=0.7, output_type="pt",
    ).images  # fmt: skip
    torch.testing.assert_close((made + 1) / 2, expected, rtol=0, atol=2e-4)
    free = method.stylize(replace(request, how=replace(how, control="none")))
    assert (free - made).abs().mean() > 1e-3
    assert not torch.equal(method.stylize(replace(request, content=-request.content)), free)


def test_edges_are_where_a_picture_changes(places: tuple[Path, Path]) -> None:
    base, place = places
    method = FewShot(config_of(base), 0)
    how = Stylize(control="edge", control_net=str(place))
    found = Controller(how, method.network.unet, torch.device("cpu")).condition(pictures(64))
    assert found.shape == (2, 3, 64, 64)
    assert set(found.unique().tolist()) == {0.0, 1.0}
    radius = 31.5 * 0.7**0.5
    y, x = np.nonzero(found[1, 0].numpy())
    assert np.abs(np.hypot(y - 31.5, x - 31.5) - radius).max() < 2
    assert len(y) > 4 * radius


def test_of_a_text_alone_it_follows_what_the_backbone_draws(places: tuple[Path, Path]) -> None:
    base, place = places
    method = opened(FewShot(config_of(base), 0))
    how = Stylize(3, 2.0, "noise", control="edge", control_net=str(place))
    made = method.stylize(asked(how, ("03", "07")))
    plain = method.stylize(asked(replace(how, control="none"), (None, None)))
    content = replace(asked(how, ("03", "07")), content=plain)
    torch.testing.assert_close(made, method.stylize(content), rtol=0, atol=1e-5)
    styled = method.stylize(asked(replace(how, control="none"), ("03", "07")))
    assert torch.equal(
        method.stylize(asked(replace(how, control="none"), ("03", "07"))), styled
    )  # the adapters are on again


def test_depth_is_near_white_and_far_black(places: tuple[Path, Path], tmp_path: Path) -> None:
    from transformers import DPTConfig, DPTForDepthEstimation, DPTImageProcessor

    torch.manual_seed(0)
    config = DPTConfig(
        hidden_size=16, num_hidden_layers=4, num_attention_heads=2, intermediate_size=24,
        image_size=32, patch_size=8, backbone_out_indices=[0, 1, 2, 3], fusion_hidden_size=8,
        neck_hidden_sizes=[4, 8, 8, 8], is_hybrid=False,
    )  # fmt: skip
    DPTForDepthEstimation(config).save_pretrained(tmp_path / "dpt")
    DPTImageProcessor(size={"height": 32, "width": 32}).save_pretrained(tmp_path / "dpt")
    base, place = places
    method = FewShot(config_of(base), 0)
    how = Stylize(2, control="depth", control_net=str(place), depth_model=str(tmp_path / "dpt"))
    controller = Controller(how, method.network.unet, torch.device("cpu"))
    found = controller.condition(pictures(method.config.image_size))
    assert found.shape == (2, 3, method.config.image_size, method.config.image_size)
    assert torch.equal(found[:, 0], found[:, 2])
    for one in found:
        assert (float(one.min()), float(one.max())) == pytest.approx((0.0, 1.0), abs=1e-5)
    assert method.stylize(asked(how, ("03",))).isfinite().all()


def test_what_cannot_be_followed_is_told(places: tuple[Path, Path], tmp_path: Path) -> None:
    base, place = places
    method = FewShot(config_of(base), 0)
    with pytest.raises(UserError, match="name a ControlNet for texts"):
        method.stylize(asked(Stylize(control="edge"), ("03",)))
    with pytest.raises(UserError, match="holds no usable weights"):
        method.stylize(asked(Stylize(control="edge", control_net=str(tmp_path)), ("03",)))
    with pytest.raises(UserError, match="choose one"):
        Stylize(control="edge", fallback=True)
    other = FewShot(config_of(stable_diffusion(tmp_path / "sd")), 0)
    if method.network.is_sdxl:
        with pytest.raises(UserError, match="it is of another model"):
            other.stylize(asked(Stylize(control="edge", control_net=str(place)), ("03",)))
