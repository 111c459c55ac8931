"""A whole Stable Diffusion from captions, beside diffusers' own pipeline."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.train.methods.dreambooth_lora.test_dreambooth_lora import batch_of, diffusers_pipeline
from tests.twins import sdxl, stable_diffusion
from toolkit.core.errors import UserError
from train.methods.api import Method as AnyMethod
from train.methods.api import StylizeRequest
from train.methods.dreambooth_lora.config import Config, Stylize, needs, settle
from train.methods.dreambooth_lora.method import Method
from train.methods.needs import DataFacts


def backbone_of(folder: Path) -> AnyMethod:
    config = Config(trains="backbone", backbone=str(folder))
    return Method(settle(config, DataFacts({"main": (None,)})), 0)


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction"])
def test_its_pictures_are_the_plain_pipelines(tmp_path: Path, kind: str) -> None:
    folder = stable_diffusion(tmp_path / "sd", kind)
    how = Stylize(4, 5.0, "noise")
    none = torch.zeros(2, dtype=torch.bool)
    request = StylizeRequest(None, None, none, ("cat", "red house"), torch.tensor([3, 4]), how)
    made = backbone_of(folder).stylize(request)
    noise = [torch.randn(4, 16, 16, generator=torch.Generator().manual_seed(s)) for s in (3, 4)]
    expected = diffusers_pipeline(folder)(
        ["cat", "red house"], height=32, width=32, num_inference_steps=4, guidance_scale=5.0,
        latents=torch.stack(noise), output_type="pt",
    ).images  # fmt: skip
    torch.testing.assert_close((made + 1) / 2, expected, rtol=0, atol=1e-4)


def test_it_trains_the_unet_alone_and_learns(tmp_path: Path) -> None:
    method = backbone_of(stable_diffusion(tmp_path / "sd"))
    batch = replace(batch_of(32), style_names=(None,) * 4)
    trained = [p for group in method.param_groups() for p in group["params"]]
    assert len(trained) == len(list(method.module().parameters()))
    optimizer = torch.optim.Adam(trained, 3e-3)
    losses = []
    for _ in range(12):
        optimizer.zero_grad()
        loss = method.training_loss(batch).per_sample.mean()
        loss.backward()
        losses.append(loss.item())
        optimizer.step()
    assert losses[-1] < 0.9 * losses[0]


def test_some_samples_go_without_their_caption(tmp_path: Path) -> None:
    """A tenth of them, decided by their seeds."""
    method = backbone_of(stable_diffusion(tmp_path / "sd"))
    seen: list[str] = []
    encode = method.text  # type: ignore[attr-defined]

    def listening(captions: list[str]) -> object:
        seen.extend(captions)
        return encode(captions)

    method.text = listening  # type: ignore[attr-defined]
    batch = batch_of(32)
    for first in range(0, 400, 4):
        method.training_loss(replace(batch, sample_seed=torch.arange(4) + first))
    assert 0.05 < seen.count("") / len(seen) < 0.16
    assert set(seen) == {"", *batch.captions}


def test_sdxl_is_refused(tmp_path: Path) -> None:
    config = Config(trains="backbone", backbone=str(sdxl(tmp_path / "xl")))
    assert needs(config).roles == ("target",)
    with pytest.raises(UserError, match="takes no SDXL"):
        Method(config, 0)
