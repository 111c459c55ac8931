"""The method: its loss written out, text encoders, stages, shapes."""

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from diffusers import AutoencoderKL, UNet2DConditionModel

from tests.train.methods.pixel_sdxl.test_checkpoints import config_of
from tests.twins import sdxl
from toolkit.core.errors import UserError
from toolkit.stream.batch import Batch, ImageSet
from train.methods.api import StylizeRequest
from train.methods.pixel_sdxl.config import Config, Stylize
from train.methods.pixel_sdxl.method import Method
from train.numerics import enable_gradient_checkpointing
from train.parts.noise import normal, sample_generators


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sdxl(tmp_path_factory.mktemp("xl") / "sdxl")


def batch_of(height: int = 16, width: int = 24, count: int = 4) -> Batch:
    rng = np.random.default_rng(0)
    pixels = torch.from_numpy(rng.integers(0, 256, (count, 3, height, width), dtype=np.uint8))
    images = ImageSet(
        pixels, torch.ones(count, dtype=torch.bool), tuple("abcd"[:count]),
        torch.tensor([[2 * height, 3 * width]] * count), torch.tensor([[0, width // 2]] * count),
        torch.zeros(count, dtype=torch.bool),
    )  # fmt: skip
    return Batch(
        tasks=("main",), task=torch.zeros(count, dtype=torch.long), images={"target": images},
        keys=tuple("abcd"[:count]), captions=("cat", "dog", "red house", "street")[:count],
        style_names=(None,) * count, weights=torch.ones(count),
        sample_seed=torch.arange(count) + 5,
    )  # fmt: skip


def asked(how: Stylize, count: int = 2, content: torch.Tensor | None = None) -> StylizeRequest:
    none = torch.zeros(count, dtype=torch.bool)
    captions = ("cat", "dog", "red house")[:count]
    return StylizeRequest(content, None, none, captions, torch.arange(count) + 3, how)


@pytest.mark.parametrize("loss", ["x0", "velocity"])
def test_the_loss_is_that_of_the_predicted_picture(folder: Path, loss: str) -> None:
    """Written out for each sample alone."""
    method = Method(config_of(folder, loss=loss, noise_scale=2.0), 0)
    batch = batch_of()
    found = method.training_loss(batch)
    for number in range(len(batch)):
        (generator,) = sample_generators(batch.sample_seed[number : number + 1])
        t = torch.sigmoid(0.8 + 0.8 * torch.randn((), generator=generator))
        x0 = batch.images["target"].floats()[number : number + 1]
        noisy = (1 - t) * x0 + t * 2 * torch.randn(x0.shape[1:], generator=generator)
        text = method.network.words([batch.captions[number]], torch.device("cpu"))
        # twice as high as the batch, thrice as wide: halved, the cut begins 12 / 2 pixels from left
        sizes = torch.tensor([[32, 72, 0, 6, 16, 24]])
        with torch.no_grad():
            made = method.network(noisy, t[None], text, sizes)
        error = torch.nn.functional.mse_loss(made, x0)
        wanted = error if loss == "x0" else error / max(float(t), 0.05) ** 2
        torch.testing.assert_close(found.per_sample[number].detach(), wanted, rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(found.logs["mse"][number], error, rtol=1e-4, atol=1e-6)


def test_lpips_counts_less_the_more_noise_there_is(folder: Path, tmp_path: Path) -> None:
    state = torchvision.models.vgg16(weights=None).features.state_dict()
    path = tmp_path / "vgg16.pth"
    torch.save({f"features.{name}": value for name, value in state.items()}, path)
    batch = batch_of(64, 48, 2)
    plain = Method(config_of(folder, loss="x0"), 0).training_loss(batch)
    more = config_of(folder, loss="x0", lpips_weight=0.3, lpips_weights=str(path))
    method = Method(more, 0)
    found = method.training_loss(batch)
    added = found.per_sample - plain.per_sample
    torch.testing.assert_close(added.detach(), 0.3 * found.logs["lpips"], rtol=1e-3, atol=1e-7)
    generators = sample_generators(batch.sample_seed)
    t = torch.sigmoid(0.8 + 0.8 * normal(generators, (), "cpu"))
    noise = normal(generators, (3, 64, 48), "cpu")
    x0 = batch.images["target"].floats()
    noisy = (1 - t)[:, None, None, None] * x0 + t[:, None, None, None] * noise
    with torch.no_grad():
        text = method.network.words(batch.captions, torch.device("cpu"))
        made = method.network(noisy, t, text, method._sizes(batch))
        expected = (1 - t) * method._perceptual(made, x0)
    torch.testing.assert_close(found.logs["lpips"], expected, rtol=1e-4, atol=1e-7)


def test_each_part_has_a_rate_of_its_own(folder: Path) -> None:
    def names(config: Config) -> list[str]:
        return [group["name"] for group in Method(config, 0).param_groups()]

    assert names(config_of(folder)) == ["patches", "sdxl_unet_body"]
    assert names(config_of(folder, train_text=True)) == [
        "patches", "sdxl_unet_body", "text_encoder1", "text_encoder2"
    ]  # fmt: skip
    for stage in ("distil_encoder", "distil_decoder"):
        assert names(config_of(folder, stage=stage, patch=16)) == ["patches"]


def test_text_encoders_are_trained(folder: Path) -> None:
    """By what the loss says: against a difference quotient along the gradient."""
    method = Method(config_of(folder, train_text=True, loss="x0"), 0)
    batch = batch_of(16, 16, 2)
    for number in (0, 1):
        tower: Any = method.network.words.towers[number]  # type: ignore[index]
        method.module().zero_grad()
        method.training_loss(batch).per_sample.mean().backward()
        for name, parameter in tower.named_parameters():  # a frozen one is one that is not read
            assert parameter.requires_grad == (parameter.grad is not None), name
        trained = [p for p in tower.parameters() if p.grad is not None and p.grad.abs().sum() > 0]
        assert len(trained) > 10
        slope = sum(p.grad.double().square().sum() for p in trained)
        losses = []
        step = float(1e-2 / slope.sqrt())
        kept = [p.detach().clone() for p in trained]
        for sign in (1, -1):
            with torch.no_grad():
                for parameter, own in zip(trained, kept, strict=True):
                    parameter.copy_(own + sign * step * parameter.grad)
                losses.append(method.training_loss(batch).per_sample.mean().double())
        with torch.no_grad():
            for parameter, own in zip(trained, kept, strict=True):
                parameter.copy_(own)
        quotient = (losses[0] - losses[1]) / (2 * step)
        assert float(quotient / slope) == pytest.approx(1, rel=0.05)


def test_recomputed_activations_give_the_same_gradients(folder: Path) -> None:
    batch, found = batch_of(16, 16, 2), []
    for again in (False, True):
        method = Method(config_of(folder), 0)
        if again:
            enable_gradient_checkpointing(method.module())
        method.module().train()
        method.training_loss(batch).per_sample.mean().backward()
        found.append([p.grad for p in method.module().parameters()])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("noise", ["clean", "matched"])
@pytest.mark.parametrize("base", [64, 32])
def test_the_teachers_features_are_those_inside_diffusers_u_net(
    folder: Path, base: int, noise: str
) -> None:
    """Caught where the student's patches go in and come out; the autoencoder has 8 pixels a
    latent's."""
    patch = {64: 16, 32: 32}[base]
    config = config_of(folder, stage="distil_encoder", base_resolution=base, patch=patch,
                       image_size=64, teacher_noise=noise)  # fmt: skip
    method = Method(config, 0)
    batch = batch_of(64, 128, 2)
    pictures = batch.images["target"].floats()
    t = torch.tensor([0.9, 0.2])
    text, sizes = method._text(batch.captions), method._sizes(batch)
    given = (pictures, t, text, sizes)
    wanted = [
        method._teacher.features(*given, sample_generators(batch.sample_seed), last)
        for last in (False, True)
    ]
    unet: Any = UNet2DConditionModel.from_pretrained(folder / "unet").eval()
    vae: Any = AutoencoderKL.from_pretrained(folder / "vae").eval()
    generators = sample_generators(batch.sample_seed)
    level = {64: 1, 32: 2}[base]
    caught: dict[str, torch.Tensor] = {}
    places = {"in": unet.down_blocks[level].resnets[0],
              "out": unet.up_blocks[-level - 1].upsamplers[0]}  # fmt: skip
    for name, module in places.items():
        module.register_forward_pre_hook(lambda _, args, name=name: caught.update({name: args[0]}))
    with torch.no_grad():
        posterior = vae.encode(pictures).latent_dist
        drawn = posterior.mean + posterior.std * normal(generators, (4, 8, 16), "cpu")
        latents = drawn * vae.config.scaling_factor
        if noise == "matched":
            betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
            kept = (1 - betas).cumprod(0)[[899, 200]][:, None, None, None].float()
            fresh = normal(generators, (4, 8, 16), "cpu")
            latents = kept.sqrt() * latents + (1 - kept).sqrt() * fresh
        conditions = {"text_embeds": text.pooled, "time_ids": sizes}
        unet(latents, 999 * t, text.tokens, added_cond_kwargs=conditions)
    torch.testing.assert_close(wanted[0], caught["in"], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(wanted[1], caught["out"], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("stage", ["distil_encoder", "distil_decoder"])
def test_a_stage_trains_its_part_alone(folder: Path, stage: str) -> None:
    method = Method(config_of(folder, stage=stage, patch=16, image_size=64), 0)
    batch = batch_of(64, 64, 2)
    before = copy.deepcopy(method.module().state_dict())
    optimizer = torch.optim.Adam([p for g in method.param_groups() for p in g["params"]], 1e-2)
    losses = []
    for _ in range(15):
        optimizer.zero_grad()
        loss = method.training_loss(batch).per_sample.mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]
    changed = {
        name.split(".")[1] for name, value in method.module().state_dict().items()
        if not torch.equal(value, before[name])
    }  # fmt: skip
    assert changed == {"patch_encoder" if stage == "distil_encoder" else "patch_decoder"}


def test_pictures_of_any_shape(folder: Path) -> None:
    method = Method(config_of(folder), 0)
    how = Stylize(3, 2.0, height=24, width=40)
    made = method.stylize(asked(how))
    assert made.shape == (2, 3, 24, 40)
    assert torch.equal(made, method.stylize(asked(how)))
    alone = method.stylize(asked(how, 1))
    torch.testing.assert_close(alone, made[:1], rtol=1e-3, atol=1e-4)
    for other in (
        replace(how, guidance=1.0), replace(how, schedule="flow_shift"), replace(how, steps=4),
        replace(how, most=0.5), replace(how, negative="house"),
    ):  # fmt: skip
        assert not torch.equal(method.stylize(asked(other)), made)
    same = replace(how, schedule="flow_shift", flow_shift=1.0)
    assert torch.equal(method.stylize(asked(same)), made)


def test_from_a_picture_the_less_strength_the_nearer(folder: Path) -> None:
    method = Method(config_of(folder), 0)
    content = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1)) * 2 - 1
    begun = []
    method.network.forward = lambda x, *_: begun.append(x.clone()) or x  # type: ignore[method-assign]
    for strength in (0.1, 0.5, 1.0):
        how = Stylize(2, 1.0, init="content", strength=strength)
        method.stylize(asked(how, content=content))
        noise = normal(sample_generators(torch.arange(2) + 3), (3, 32, 32), "cpu")
        expected = (1 - strength) * content + strength * noise
        torch.testing.assert_close(begun[-2], expected)


def test_what_cannot_work_is_one_line(folder: Path) -> None:
    method = Method(config_of(folder), 0)
    for how, message in (
        (Stylize(2, height=30), r"--height=30: takes a multiple of 4, the patch, as 32"),
        (Stylize(2, init="content"), r"--init=content: give a picture"),
    ):
        with pytest.raises(UserError, match=message):
            method.stylize(asked(how))
    with pytest.raises(UserError, match=r"--width=30: takes a multiple of 4"):
        method.stylize(asked(Stylize(2, init="content"), content=torch.zeros(2, 3, 32, 30)))
    with pytest.raises(UserError, match=r"--image_size=30: takes a multiple of 4"):
        config_of(folder, image_size=30)
    with pytest.raises(UserError, match=r"--train_text: text encoders on a device of their own"):
        Config(train_text=True, text_device="cuda:1")
    wrong = Method(config_of(folder, stage="distil_encoder", patch=4), 0)
    with pytest.raises(UserError, match=r"the teacher's features are"):
        wrong.training_loss(batch_of(64, 64, 1))
