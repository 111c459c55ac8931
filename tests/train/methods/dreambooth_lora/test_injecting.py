"""Style injection beside diffusers' plain pipeline, and of a picture into itself."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.train.methods.dreambooth_lora.test_dreambooth_lora import KINDS, asked, config_of, opened
from tests.twins import sdxl, stable_diffusion
from toolkit.core.errors import UserError
from train.methods.ddim import invert, walk
from train.methods.dreambooth_lora.config import Inject, Stylize
from train.methods.dreambooth_lora.few_shot import FewShot
from train.methods.dreambooth_lora.injecting import Asked, injected
from train.parts.injection import InjectedAttention, decoder_attentions


@pytest.fixture(scope="module", params=KINDS)
def method(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> FewShot:
    """With adapters that do something."""
    folder = tmp_path_factory.mktemp("backbone") / request.param
    if request.param == "sdxl":
        return opened(FewShot(config_of(sdxl(folder)), 0))
    return opened(FewShot(config_of(stable_diffusion(folder, request.param)), 0))


def given(method: FewShot, count: int = 2, guidance: float = 3.0, **more: Any) -> Asked:
    side = method.config.image_size // method.autoencoder.factor
    generator = torch.Generator().manual_seed(1)
    style, noise = (torch.randn(count, 4, side, side, generator=generator) for _ in range(2))
    size = [method.config.image_size] * 2
    with torch.no_grad():
        texts = (method._text(["cat", "dog"][:count], ["03"] * count), method._nothing("", count),
                 method._text([""] * count, ["03"] * count))  # fmt: skip
    usual = {"guidance": guidance, "steps": 4, "first": 0, "style": style * 0.8, "noise": noise}
    return Asked(*texts, torch.tensor([[*size, 0, 0, *size]] * count), **{**usual, **more})


def test_without_layers_or_with_all_of_the_plain_it_is_the_plain_pipeline(method: FewShot) -> None:
    """γ = 1 and nothing injected: diffusers' own pipeline with DDIM steps."""
    from diffusers import DDIMScheduler, DiffusionPipeline

    one = given(method)
    made, plain = injected(method.network, one, Inject(0, gamma=1.0))
    torch.testing.assert_close(made, plain, rtol=1e-4, atol=1e-4)
    pipe = DiffusionPipeline.from_pretrained(method.config.backbone)
    pipe.scheduler = DDIMScheduler.from_config(
        {**pipe.scheduler.config, "timestep_spacing": "leading", "clip_sample": False}
    )
    pipe.set_progress_bar_config(disable=True)
    with method.network.strength(0.0):
        made, _ = injected(method.network, one, Inject(0, gamma=1.0))
    size = method.config.image_size
    expected = pipe(
        ["an image of cat in style_03", "an image of dog in style_03"], height=size, width=size,
        num_inference_steps=4, guidance_scale=3.0, latents=one.noise, output_type="latent",
    ).images  # fmt: skip
    torch.testing.assert_close(made, expected, rtol=1e-3, atol=2e-3)


@pytest.mark.parametrize("gamma", [0.0, 0.6, 1.0])
def test_a_picture_injected_into_itself_is_its_plain_reconstruction(
    method: FewShot, gamma: float
) -> None:
    one = given(method, guidance=1.0)
    itself = replace(one, content=one.style, of_style=one.text)
    made, plain = injected(method.network, itself, Inject(6, gamma, 1.0))
    torch.testing.assert_close(made, plain, rtol=1e-3, atol=1e-3)

    def predict(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            return method.network(x, t, one.text, one.sizes)

    schedule = method.network.schedule
    expected = walk(predict, schedule, invert(predict, schedule, one.style, 4), 4)
    torch.testing.assert_close(made, expected, rtol=1e-3, atol=1e-3)


def test_gamma_layers_and_the_style_picture_each_matter(method: FewShot) -> None:
    """With random weights one can only tell that what is injected matters, by γ and layers."""
    one = given(method)
    plain = injected(method.network, one, Inject(0))[1]
    apart = [
        float((injected(method.network, one, Inject(6, gamma, 1.5))[0] - plain).norm())
        for gamma in (1.0, 0.5, 0.0)
    ]
    assert min(apart) > 1e-3
    assert len({round(value, 4) for value in apart}) == 3
    few = injected(method.network, one, Inject(1, 0.5, 1.5))[0]
    many = injected(method.network, one, Inject(6, 0.5, 1.5))[0]
    assert not torch.allclose(few, many, atol=1e-4)
    other = injected(method.network, replace(one, style=one.style.flip(0)), Inject(6))[0]
    assert not torch.allclose(other, injected(method.network, one, Inject(6))[0], atol=1e-4)


def test_the_network_is_as_it_was_behind_it(method: FewShot) -> None:
    one, groups = given(method), decoder_attentions(method.network.unet)
    with pytest.raises(IndexError):
        injected(method.network, replace(one, first=9), Inject(6))
    injected(method.network, one, Inject(6))
    attns = [attn for group in groups for attn in group]
    assert attns
    assert not any(isinstance(attn.processor, InjectedAttention) for attn in attns)


def test_pictures_are_made_with_it(method: FewShot) -> None:
    size = method.config.image_size
    style = torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(2)) * 2 - 1
    how = Stylize(4, 3.0, "average", inject=Inject(6, 0.5, adain=True))
    request = replace(asked(how, ("03", "07")), style=style)
    made = method.stylize(request)
    assert made.shape == (2, 3, size, size)
    assert torch.equal(made, method.stylize(request))
    alone = method.stylize(replace(asked(how, ("03",)), style=style[:1]))
    torch.testing.assert_close(alone, made[:1], rtol=0, atol=1e-3)
    for other in (
        replace(how, inject=Inject()), replace(how, inject=replace(how.inject, gamma=0.9)),
        replace(how, inject=replace(how.inject, adain=False)), replace(how, scale=0.0),
    ):  # fmt: skip
        assert not torch.equal(method.stylize(replace(request, how=other)), made)
    with pytest.raises(UserError, match="give a picture of the style with --style"):
        method.stylize(replace(request, style=None))


def test_what_cannot_be_injected_is_refused(tmp_path: Path) -> None:
    for wrong in ({"gamma": 1.5}, {"temperature": 0.0}, {"layers": -1}):
        with pytest.raises(UserError):
            Inject(**wrong)
