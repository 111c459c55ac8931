"""The SDXL teacher on tiny random weights in the hub's layout: diffusers' real pipeline."""

import dataclasses
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch

from tests.conftest import picture
from toolkit.core.errors import UserError
from toolkit.teachers.api import Request
from toolkit.teachers.protocol import load_protocol
from toolkit.teachers.sdxl_ip_adapter import Settings, gentler, open_teacher, sentence, warnings

FP32 = Settings(precision="fp32", steps=8, strength=0.4)  # three steps are walked


def request(seed: int = 0, prompt: str = "a red cat", style: int = 2, size: int = 64) -> Request:
    return Request(picture(1, size, size), picture(style, 80, 56), f"style{style}", prompt, seed)


@pytest.fixture(scope="module")
def teacher(sdxl_weights: dict[str, str]) -> Any:
    return open_teacher(FP32, sdxl_weights, "cpu")


@contextmanager
def timesteps_of(teacher: Any) -> Iterator[list[int]]:
    """The timesteps at which the UNet is called inside the block."""
    seen: list[int] = []
    unet = teacher._pipeline.unet
    handle = unet.register_forward_pre_hook(lambda module, args: seen.append(int(args[1])))
    yield seen
    handle.remove()


@pytest.mark.parametrize(
    ("preset", "steps", "first"), [("a-fixed", 11, 401), ("a-generation", 10, 361)]
)
def test_a_preset_walks_its_steps_from_its_time(
    teacher: Any, preset: str, steps: int, first: int
) -> None:
    settings = dataclasses.replace(load_protocol(preset).settings, precision="fp32")
    with timesteps_of(teacher) as seen:
        teacher.make(request(), settings)
    assert (len(seen), seen[0], seen[-1]) == (steps, first, 1)
    assert settings.num_steps == steps


def test_the_schedule_is_sdxls_in_ddim(teacher: Any) -> None:
    """Betas of SDXL; nothing is clipped, and the end is not noise-free, as SDXL was trained."""
    scheduler = teacher._pipeline.scheduler
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float32) ** 2
    torch.testing.assert_close(scheduler.alphas_cumprod, torch.cumprod(1 - betas, 0))
    assert not scheduler.config.clip_sample
    assert scheduler.final_alpha_cumprod < 1


def test_it_makes_what_the_plain_pipeline_makes(
    teacher: Any, sdxl_weights: Mapping[str, str]
) -> None:
    from diffusers import DDIMScheduler, StableDiffusionXLImg2ImgPipeline
    from PIL import Image

    pipeline = StableDiffusionXLImg2ImgPipeline.from_pretrained(
        sdxl_weights["base"], add_watermarker=False
    )
    pipeline.scheduler = DDIMScheduler.from_config(
        pipeline.scheduler.config, clip_sample=False, set_alpha_to_one=False
    )
    pipeline.load_ip_adapter(
        sdxl_weights["ip_adapter"], subfolder="sdxl_models",
        weight_name="ip-adapter_sdxl.safetensors",
    )  # fmt: skip
    pipeline.set_ip_adapter_scale(0.30)
    asked = request(seed=5)
    wanted = pipeline(
        asked.prompt, image=Image.fromarray(asked.content), strength=0.4, guidance_scale=3.8,
        num_inference_steps=8, ip_adapter_image=Image.fromarray(asked.style),
        generator=torch.Generator().manual_seed(5), output_type="np",
    ).images[0]  # fmt: skip
    found = teacher.make(asked, FP32).pixels
    np.testing.assert_allclose(found, wanted * 255, atol=1.01)


@pytest.mark.slow
def test_seed_style_prompt_and_scale_change_the_picture_and_nothing_else_does(teacher: Any) -> None:
    base = teacher.make(request(), FP32).pixels
    assert base.shape == (64, 64, 3)
    np.testing.assert_array_equal(teacher.make(request(), FP32).pixels, base)
    for other, settings in (
        (request(seed=1), FP32),
        (request(style=3), FP32),
        (request(prompt="two dogs"), FP32),
        (request(), dataclasses.replace(FP32, ip_adapter_scale=0.9)),
        (request(), dataclasses.replace(FP32, ip_adapter_blocks="style", ip_adapter_scale=0.9)),
        (request(), dataclasses.replace(FP32, negative_prompt="ugly")),
        (request(), dataclasses.replace(FP32, style_fit="squash")),
        (request(), dataclasses.replace(FP32, original_size=1024)),
    ):
        assert (teacher.make(other, settings).pixels != base).any()
    np.testing.assert_array_equal(teacher.make(request(), FP32).pixels, base)


def test_guidance_of_one_needs_no_second_half(teacher: Any) -> None:
    settings = dataclasses.replace(FP32, guidance_scale=1.0)
    sizes: list[int] = []
    hook = teacher._pipeline.unet.register_forward_pre_hook(
        lambda module, args: sizes.append(len(args[0]))
    )
    teacher.make(request(), settings)
    hook.remove()
    assert set(sizes) == {1}


def test_a_style_and_a_caption_are_encoded_once(teacher: Any) -> None:
    calls: list[str] = []
    pipeline = teacher._pipeline
    hooks = [
        module.register_forward_pre_hook(lambda *_, name=name: calls.append(name))
        for name, module in (("style", pipeline.image_encoder), ("caption", pipeline.text_encoder))
    ]
    for seed in (0, 1, 2):
        teacher.make(request(seed, "a blue house", 9), FP32)
    for hook in hooks:
        hook.remove()
    assert calls.count("style") == 1
    assert calls.count("caption") == 1


def test_a_decoder_that_overflows_is_run_again_in_fp32(
    sdxl_weights: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(precision="bf16")
    teacher = open_teacher(settings, sdxl_weights, "cpu")
    vae = teacher._pipeline.vae
    decode = vae.decode

    def overflowing(values: torch.Tensor) -> Any:
        found = decode(values)
        if values.dtype != torch.float32:
            found.sample = found.sample * float("nan")
        return found

    monkeypatch.setattr(vae, "decode", overflowing)
    made = teacher.make(request(), settings)
    assert made.is_finite
    assert made.notes == ("decoded again in fp32",)
    assert made.pixels.std() > 1
    assert vae.dtype == torch.bfloat16


def test_latents_that_are_no_numbers_are_told(
    teacher: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    forward = teacher._pipeline.unet.forward
    monkeypatch.setattr(
        teacher._pipeline.unet, "forward",
        lambda *a, **k: tuple(x * float("nan") for x in forward(*a, **k)),
    )  # fmt: skip
    made = teacher.make(request(), FP32)
    assert (made.is_finite, made.notes) == (False, ("latents are not finite",))
    assert made.pixels.shape == (64, 64, 3)


def test_weights_that_are_not_there_are_one_line(sdxl_weights: dict[str, str]) -> None:
    with pytest.raises(UserError, match="no usable weights"):
        open_teacher(FP32, {**sdxl_weights, "base": sdxl_weights["ip_adapter"]}, "cpu")
    with pytest.raises(UserError, match="no usable weights"):
        open_teacher(FP32, {**sdxl_weights, "ip_adapter": sdxl_weights["base"]}, "cpu")


def test_the_ladder_follows_source_a() -> None:
    """Strength first, then the adapter's scale, guidance along; from 4.2's own numbers."""
    base = load_protocol("a-generation").settings
    history: list[tuple[str, ...]] = []
    found = []
    while settings := gentler(base, (history := [*history, ("structure",)])):
        found.append((settings.strength, settings.ip_adapter_scale, settings.guidance_scale))
    assert found == [(0.34, 0.3, 3.2), (0.28, 0.3, 2.9), (0.28, 0.24, 2.6), (0.28, 0.18, 2.3)]


def test_causes_choose_the_rung() -> None:
    base = load_protocol("a-fixed").settings
    leaked = gentler(base, [("leak",)])
    assert leaked is not None
    assert (leaked.strength, leaked.ip_adapter_scale, leaked.guidance_scale) == (0.45, 0.24, 3.5)
    broken = gentler(base, [("nan",)])
    assert broken is not None
    assert (broken.precision, broken.strength, broken.guidance_scale) == ("fp32", 0.45, 3.8)
    again = gentler(base, [("nan",), ("nan",)])  # precision was no help
    assert again is not None
    assert (again.precision, again.strength) == ("fp32", 0.3825)


def test_five_steps_are_always_left() -> None:
    base = Settings(steps=12, strength=0.5)
    settings: Settings | None = base
    history: list[tuple[str, ...]] = []
    while settings := gentler(base, (history := [*history, ("structure",)])):
        assert settings.num_steps >= 5


def test_what_a_paper_says(teacher: Any) -> None:
    said = sentence(load_protocol("a-fixed").settings, 512, (0, 1, 2))
    for part in (
        "512",
        "25 steps",
        "CFG=3.8",
        "strength=0.45",
        "ip_scale=0.3",
        "DDIM",
        "{0, 1, 2}",
    ):
        assert part in said
    assert "bad pictures" in warnings(Settings(sampler="euler"))[0]
    assert not warnings(Settings())


@pytest.mark.parametrize(
    "bad",
    [{"strength": 0.0}, {"strength": 1.2}, {"steps": 0}, {"ip_adapter_scale": 2.0}, {"steps": 2}],
)
def test_numbers_out_of_range_are_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(UserError, match=r"takes|leaves"):
        Settings(**bad)


@pytest.mark.parametrize("guidance", [3.8, 1.0])
def test_a_batch_is_its_pictures_up_to_a_level(teacher: Any, guidance: float) -> None:
    """Each with its own content, style, caption and seed."""
    settings = dataclasses.replace(FP32, guidance_scale=guidance, ip_adapter_scale=0.8)
    asked = [
        Request(picture(10 + i, 64, 64), picture(20 + i, 64, 64), f"s{i}", prompt, i)
        for i, prompt in enumerate(("a red cat", "two dogs", ""))
    ]
    alone = [teacher.make(one, settings).pixels.astype(int) for one in asked]
    together = [made.pixels.astype(int) for made in teacher.make_many(asked, settings)]
    for one, other in zip(alone, together, strict=True):
        assert np.abs(one - other).max() <= 1
    assert np.abs(alone[0] - alone[1]).max() > 20


def test_odd_sizes_are_refused(teacher: Any) -> None:
    odd = Request(picture(1, 60, 60), picture(2, 60, 60), "s", "", 0)
    with pytest.raises(ValueError, match="multiples of 8"):
        teacher.make(odd, FP32)
    with pytest.raises(ValueError, match="the same for all"):
        teacher.make_many([request(), request(size=72)], FP32)
