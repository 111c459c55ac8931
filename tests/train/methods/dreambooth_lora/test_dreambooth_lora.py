"""The method beside diffusers' own pipelines with the same weights."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.twins import sdxl, stable_diffusion
from toolkit.core.errors import UserError
from toolkit.stream.batch import Batch, ImageSet
from train.accumulate import backward
from train.config import RunConfig
from train.lora.reading import FILE, read_lora
from train.methods.api import StylizeRequest
from train.methods.dreambooth_lora.config import (
    Config,
    LoraConfig,
    Stylize,
    needs,
    prompt_of,
    settle,
)
from train.methods.dreambooth_lora.few_shot import FewShot
from train.methods.dreambooth_lora.turning import turned
from train.methods.needs import DataFacts
from train.numerics import open_numerics

KINDS = ("epsilon", "v_prediction", "sdxl")


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("backbones")
    found = {kind: stable_diffusion(root / kind, kind) for kind in KINDS[:2]}
    return {**found, "sdxl": sdxl(root / "sdxl")}


def config_of(folder: Path, **more: Any) -> Config:
    config = replace(Config(backbone=str(folder)), **more)
    return settle(config, DataFacts({"main": ("03", "07"), "prior": (None,)}))


def batch_of(size: int, count: int = 4) -> Batch:
    """Samples of the style and of the prior by turns."""
    rng = np.random.default_rng(0)
    pixels = torch.from_numpy(rng.integers(0, 256, (count, 3, size, size), dtype=np.uint8))
    images = ImageSet(
        pixels, torch.ones(count, dtype=torch.bool), tuple("abcd"[:count]),
        torch.tensor([[40, 50]] * count), torch.tensor([[0, 6]] * count),
        torch.zeros(count, dtype=torch.bool),
    )  # fmt: skip
    return Batch(
        tasks=("main", "prior"), task=torch.arange(count) % 2, images={"target": images},
        keys=tuple("abcd"[:count]), captions=("cat", "dog", "red house", "street")[:count],
        style_names=("03", None, "07", None)[:count], weights=torch.ones(count),
        sample_seed=torch.arange(count) + 5,
    )  # fmt: skip


def opened(method: FewShot) -> FewShot:
    """B is zero at first: nothing would be seen of what is trained."""
    generator = torch.Generator().manual_seed(9)
    with torch.no_grad():
        for parameter in method.module().parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.3)
    return method


def asked(how: Stylize, styles: tuple[str | None, ...], seed: int = 3) -> StylizeRequest:
    count = len(styles)
    return StylizeRequest(
        None, None, torch.zeros(count, dtype=torch.bool), ("cat", "dog", "red house")[:count],
        torch.arange(count) + seed, how, styles=styles,
    )  # fmt: skip


def diffusers_pipeline(folder: Path, kind: str = "") -> Any:
    import diffusers

    pipe = getattr(diffusers, f"AutoPipelineFor{kind or 'Text2Image'}").from_pretrained(folder)
    pipe.scheduler = diffusers.DPMSolverMultistepScheduler.from_config(
        {**pipe.scheduler.config, "algorithm_type": "dpmsolver++"}
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


def noise_of(method: FewShot, seeds: list[int]) -> torch.Tensor:
    side = method.config.image_size // method.autoencoder.factor
    return torch.stack(
        [torch.randn(4, side, side, generator=torch.Generator().manual_seed(s)) for s in seeds]
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("guidance", [1.0, 5.0])
def test_at_scale_0_its_pictures_are_the_plain_pipelines(
    folders: dict[str, Path], kind: str, guidance: float
) -> None:
    method = opened(FewShot(config_of(folders[kind]), 0))
    how = Stylize(4, guidance, "noise", scale=0.0)
    made = method.stylize(asked(how, ("03", "07")))
    size = method.config.image_size
    expected = diffusers_pipeline(folders[kind])(
        ["an image of cat in style_03", "an image of dog in style_07"], height=size, width=size,
        num_inference_steps=4, guidance_scale=guidance, latents=noise_of(method, [3, 4]),
        output_type="pt",
    ).images  # fmt: skip
    torch.testing.assert_close((made + 1) / 2, expected, rtol=0, atol=1e-4)
    styled = method.stylize(asked(replace(how, scale=1.0), ("03", "07")))
    assert (styled - made).abs().mean() > 0.005


def test_the_strength_of_what_is_trained_is_put_back(folders: dict[str, Path]) -> None:
    method = opened(FewShot(config_of(folders["epsilon"]), 0))
    how = Stylize(2, 1.0, "noise")
    first = method.stylize(asked(how, ("03",)))
    for scale in (0.0, 0.4, 1.7):
        other = method.stylize(asked(replace(how, scale=scale), ("03",)))
        assert not torch.equal(other, first)
    assert torch.equal(method.stylize(asked(how, ("03",))), first)


@pytest.mark.parametrize("kind", KINDS)
def test_begun_at_the_average_it_is_image_to_image_of_it(
    folders: dict[str, Path], kind: str
) -> None:
    """diffusers encodes the average by drawing from the posterior; its mean is put there."""
    method = FewShot(config_of(folders[kind]), 0)
    size = method.config.image_size
    batch = batch_of(size)
    whole = batch.take(torch.tensor([0, 2]))
    more = batch.take(torch.tensor([0]))
    method.survey(
        iter([whole, replace(more, images={"target": batch.images["target"]}).part(0, 1)])
    )
    pixels = batch.images["target"].pixels.double() / 127.5 - 1
    torch.testing.assert_close(method.network.average[1], pixels[2].float(), rtol=0, atol=1e-6)
    made = method.stylize(asked(Stylize(5, 3.0, "average", strength=0.6), ("07",)))
    pipe = diffusers_pipeline(folders[kind], "Image2Image")
    with torch.no_grad():
        mean = pipe.vae.encode(method.network.average[1:2]).latent_dist.mode()
    pipe.vae.encode = lambda *_: _Fixed(mean)
    generator = torch.Generator().manual_seed(3)
    expected = pipe(
        "an image of cat in style_07", image=pixels[2:3].float() / 2 + 0.5, strength=0.6,
        num_inference_steps=5, guidance_scale=3.0, generator=generator, output_type="pt",
    ).images  # fmt: skip
    torch.testing.assert_close((made + 1) / 2, expected, rtol=0, atol=1e-4)


class _Fixed:
    def __init__(self, latents: torch.Tensor):
        self.latents = latents


def test_the_average_is_of_all_pictures_of_a_style_and_not_rounded(
    folders: dict[str, Path],
) -> None:
    method = FewShot(config_of(folders["epsilon"]), 0)
    batch = batch_of(32)
    all_03 = replace(batch, style_names=("03",) * 4)
    method.survey(iter([all_03.part(0, 3), all_03.part(3, 4)]))
    mean = batch.images["target"].pixels.double().mean(0)
    found = (method.network.average[0].double() + 1) * 127.5
    assert (found - mean).abs().max() < 1e-4
    assert (mean - mean.round()).abs().max() > 0.2  # bytes would not hold it
    assert method.network.average[1].abs().max() == 0


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("text_rank", [0, 2])
def test_a_mixed_batch_is_the_average_of_its_samples_alone(
    folders: dict[str, Path], kind: str, text_rank: int
) -> None:
    """Losses and gradients of four samples, two of the prior, as the loop adds them up."""
    lora = LoraConfig(4, text_rank=text_rank)
    config = config_of(folders[kind], prior_weight=0.7, rotate=9.0, lora=lora)
    settings = RunConfig(method="dreambooth_lora", threads=1)
    found = []
    for parts in ([0, 1, 2, 3], [0], [1], [2], [3]):
        method = opened(FewShot(config, 0))
        batch = batch_of(method.config.image_size).take(torch.tensor(parts))
        losses = backward(method, batch, open_numerics(settings), 1)
        named = dict(method.module().named_parameters())
        grads = {n: p.grad for n, p in named.items() if p.grad is not None}
        assert grads.keys() == {n for n, p in named.items() if p.requires_grad}
        found.append((losses["loss"], losses["mse"], grads))
    (loss, mse, grads), *alone = found
    torch.testing.assert_close(loss, torch.cat([one[0] for one in alone]), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(loss / mse, torch.tensor([1, 0.7, 1, 0.7]), rtol=1e-5, atol=0)
    largest = max(float(g.abs().max()) for g in grads.values())
    assert any("words" in name for name in grads) == (text_rank > 0)
    for name, grad in grads.items():
        mean = torch.stack([one[2][name] for one in alone]).mean(0)
        torch.testing.assert_close(grad, mean, rtol=1e-3, atol=1e-4 * largest)


@pytest.mark.parametrize("kind", KINDS)
def test_the_loss_is_of_what_the_checkpoint_predicts(folders: dict[str, Path], kind: str) -> None:
    """By diffusers' own scheduler, UNet and text encoders."""
    method = FewShot(config_of(folders[kind]), 0)
    size = method.config.image_size
    batch = batch_of(size).part(1, 2)
    seen: dict[str, torch.Tensor] = {}
    inner = method.network.unet.forward

    def spy(x: torch.Tensor, t: torch.Tensor, **given: Any) -> Any:
        seen.update(x=x, t=t, text=given["encoder_hidden_states"])
        seen["sizes"] = (given["added_cond_kwargs"] or {}).get("time_ids")
        return inner(x, t, **given)

    method.network.unet.forward = spy
    with torch.no_grad():
        found = method.training_loss(batch).per_sample
    pipe = diffusers_pipeline(folders[kind])
    import diffusers

    schedule = diffusers.DDPMScheduler.from_config(pipe.scheduler.config)
    generator = torch.Generator().manual_seed(int(batch.sample_seed[0]))
    pixels = batch.images["target"].floats()
    factor = pipe.vae_scale_factor
    draws = [torch.randn(1, 4, size // factor, size // factor, generator=generator)]
    t = (torch.rand((), generator=generator) * 1000).long()[None]
    noise = torch.randn(1, 4, size // factor, size // factor, generator=generator)
    with torch.no_grad():
        posterior = pipe.vae.encode(pixels).latent_dist
        latents = (posterior.mean + posterior.std * draws[0]) * pipe.vae.config.scaling_factor
        x = schedule.add_noise(latents, noise, t)
        given = pipe.encode_prompt(
            prompt="an image of dog", device="cpu", num_images_per_prompt=1,
            do_classifier_free_guidance=False,
        )  # fmt: skip
        added = None
        if kind == "sdxl":  # 40 × 50 pixels, cut 6 to the right, as 64 × 64
            ids = torch.tensor([[40, 50, 0, round(6 * size / 40), size, size]])
            torch.testing.assert_close(seen["sizes"], ids)
            added = {"text_embeds": given[2], "time_ids": ids}
        predicted = pipe.unet(x, t, given[0], added_cond_kwargs=added).sample
        target = noise
        if kind == "v_prediction":
            target = schedule.get_velocity(latents, noise, t)
        expected = (predicted - target).square().mean()
    assert seen["t"].tolist() == t.tolist()
    torch.testing.assert_close(seen["x"], x, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(found, expected[None], rtol=1e-4, atol=1e-5)


def test_only_attention_gets_adapters(folders: dict[str, Path]) -> None:
    config = config_of(folders["sdxl"], lora=LoraConfig(3, 6.0, text_rank=2))
    method = FewShot(config, 0)
    trained = {n for n, p in method.module().named_parameters() if p.requires_grad}
    assert trained
    for name in trained:
        path, _, which = name.partition(".lora_")
        assert which in ("A.style.weight", "B.style.weight")
        ends = ("to_q", "to_k", "to_v", "to_out.0", "q_proj", "k_proj", "v_proj", "out_proj")
        assert path.endswith(ends)
    unet = method.network.unet
    attentions = sum(name.endswith((".attn1", ".attn2")) for name, _ in unet.named_modules())
    assert sum(name.startswith("unet.") for name in trained) == attentions * 4 * 2
    layers = method.network.lora().layers
    assert set(layers) == {"unet", "text_encoder", "text_encoder_2"}
    assert {(x.rank, x.alpha) for x in layers["unet"].values()} == {(3, 6.0)}
    assert {(x.rank, x.alpha) for x in layers["text_encoder"].values()} == {(2, 2.0)}
    groups = {group["name"]: group for group in method.param_groups()}
    assert groups["text"]["lr_scale"] == 0.1
    assert len(groups["text"]["params"]) == sum(name.startswith("words.") for name in trained)


@pytest.mark.parametrize("kind", KINDS)
def test_what_it_exports_makes_its_pictures_in_diffusers(
    folders: dict[str, Path], tmp_path: Path, kind: str
) -> None:
    lora = LoraConfig(3, 1.2, text_rank=2, text_alpha=5.0)
    method = opened(FewShot(config_of(folders[kind], lora=lora), 0))
    names = method.export(tmp_path, {"run": "demo", "step": 7, "weights": "abc"})
    made = (method.stylize(asked(Stylize(3, 4.0, "noise"), ("03",))) + 1) / 2
    assert sorted(names) == sorted(path.name for path in tmp_path.iterdir())
    assert "style_03" in (tmp_path / "README.md").read_text()
    size = method.config.image_size
    for name in (FILE, "kohya.safetensors"):
        pipe = diffusers_pipeline(folders[kind])
        pipe.load_lora_weights(tmp_path, weight_name=name)
        found = pipe(
            "an image of cat in style_03", height=size, width=size, num_inference_steps=3,
            guidance_scale=4.0, latents=noise_of(method, [3]), output_type="pt",
        ).images  # fmt: skip
        torch.testing.assert_close(found, made, rtol=0, atol=1e-4)
        other = FewShot(config_of(folders[kind], lora=LoraConfig(4, text_rank=2)), 1)
        other.imported(tmp_path / name)
        again = (other.stylize(asked(Stylize(3, 4.0, "noise"), ("03",))) + 1) / 2
        torch.testing.assert_close(again, made, rtol=0, atol=1e-4)
    with pytest.raises(UserError, match=r"rank is 3, here it is 2: make it smaller"):
        FewShot(config_of(folders[kind], lora=LoraConfig(2, text_rank=2)), 1).imported(
            tmp_path / FILE
        )
    with pytest.raises(UserError, match="which is not trained here"):
        FewShot(config_of(folders[kind], lora=LoraConfig(4)), 1).imported(tmp_path / FILE)
    assert (
        read_lora(tmp_path / FILE).layers["unet"].keys()
        == method.network.lora().layers["unet"].keys()
    )


def test_pictures_of_no_style_are_the_backbones_own(folders: dict[str, Path]) -> None:
    """As prior pictures are made; among others they are the same."""
    method = opened(FewShot(config_of(folders["epsilon"]), 0))
    how = Stylize(2, 2.0)
    alone = method.stylize(asked(how, (None,)))
    mixed = method.stylize(asked(how, (None, "07", "03")))
    torch.testing.assert_close(mixed[:1], alone, rtol=0, atol=1e-5)
    plain = diffusers_pipeline(folders["epsilon"])(
        "an image of cat", height=32, width=32, num_inference_steps=2, guidance_scale=2.0,
        latents=noise_of(method, [3]), output_type="pt",
    ).images  # fmt: skip
    torch.testing.assert_close((alone + 1) / 2, plain, rtol=0, atol=1e-4)


def test_each_text_may_have_its_strength(folders: dict[str, Path]) -> None:
    """Beside others it is drawn as with that strength alone."""
    method = opened(FewShot(config_of(folders["epsilon"]), 0))
    method.network.average.uniform_(-1, 1, generator=torch.Generator().manual_seed(1))
    how = Stylize(5, 2.0, strength=0.8, strengths=("dog:0.4", "a: b:1"))
    assert [how.strength_of(text) for text in ("cat", "dog", "a: b")] == [0.8, 0.4, 1.0]
    mixed = method.stylize(asked(how, ("03", "07", "03")))
    for number, strength in enumerate((0.8, 0.4, 0.8)):
        plain = replace(how, strengths=(), strength=strength)
        alone = method.stylize(asked(plain, ("03", "07", "03")))
        torch.testing.assert_close(mixed[number], alone[number], rtol=0, atol=1e-4)
    assert not torch.allclose(
        mixed[1], method.stylize(asked(replace(how, strengths=()), ("03", "07")))[1]
    )


def test_prompts() -> None:
    config = Config(styles=("03", "Post-Impressionism"))
    assert prompt_of(config, "Dolphin", "03") == "an image of Dolphin in style_03"
    assert (
        prompt_of(config, "cat", "Post-Impressionism")
        == "an image of cat in style_post_impressionism"
    )
    assert prompt_of(config, "", "03") == "an image in style_03"
    assert prompt_of(config, "cat", None) == "an image of cat"
    assert prompt_of(Config(template="style_{style}"), "cat", "03") == "style_03"
    for wrong in ("a {thing}", "a {object", "{0}"):
        with pytest.raises(UserError, match="--template="):
            Config(template=wrong)
    with pytest.raises(UserError, match="takes the places"):
        Config(prior_template="{object} {style}")


def test_turned_pictures_keep_their_middle_and_come_back() -> None:
    side = 33
    rows = torch.linspace(-1, 1, side)
    disc = (rows[:, None] ** 2 + rows[None] ** 2 < 0.5).float().expand(1, 3, -1, -1)
    ramp = rows.expand(1, 3, side, side)
    found = turned(torch.cat([disc, ramp]), torch.tensor([4, 4]), 30.0)
    assert (found[0] - disc[0]).abs().mean() < 0.03
    assert (found[1] - ramp[0]).abs().mean() > 0.06
    torch.testing.assert_close(turned(ramp, torch.tensor([4]), 0.0), ramp, rtol=0, atol=1e-5)
    assert not torch.equal(*(turned(ramp, torch.tensor([s]), 30.0) for s in (4, 5)))


def test_what_cannot_work_is_told(folders: dict[str, Path], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nothing is trained"):
        LoraConfig(0)
    with pytest.raises(UserError, match="name no style"):
        settle(Config(backbone=str(folders["sdxl"])), DataFacts({"main": ("03", None)}))
    with pytest.raises(UserError, match="takes a multiple of 4"):
        config_of(folders["epsilon"], image_size=34)
    (tmp_path / "unet").mkdir()
    with pytest.raises(UserError, match="holds no pipeline of Stable Diffusion, vae, text_encoder"):
        needs(Config(backbone=str(tmp_path)))
    with pytest.raises(UserError, match="there is no such folder"):
        needs(Config(backbone="./nowhere"))
    method = FewShot(config_of(folders["epsilon"]), 0)
    with pytest.raises(UserError, match="the run knows 03, 07"):
        method.style_of(Stylize(target_style="9"), None, "")
    with pytest.raises(UserError, match="give a picture with --content"):
        method.stylize(asked(Stylize(init="content"), ("03",)))
