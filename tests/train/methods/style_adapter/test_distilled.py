"""An adapter beside a frozen PixArt: what is trained and what is not, bit for bit."""

import dataclasses
from typing import Any

import pytest
import torch
from diffusers import PixArtTransformer2DModel

from toolkit.stream.batch import Batch, ImageSet
from train.config import RunConfig
from train.methods.needs import DataFacts
from train.methods.style_adapter.config import AdapterConfig, Config, Stylize, settle
from train.methods.style_adapter.distilled import Distilled
from train.numerics import compile_checked, enable_gradient_checkpointing, open_numerics

PATHS = ("sdedit", "control")


def config(weights: dict[str, str], **changes: Any) -> Config:
    """With live encoders, settled."""
    adapter = AdapterConfig(**{"layers": 2, **changes.pop("adapter", {})})
    found = Config(
        stored=False, image_size=64, control_layers=2, adapter=adapter, **weights, **changes
    )
    styles = {"main": ("Cubism", "Ukiyo_e", None)}
    return settle(found, DataFacts(styles=styles))


def pictures(count: int, seed: int, present: list[bool] | None = None) -> ImageSet:
    g = torch.Generator().manual_seed(seed)
    there = torch.tensor(present or [True] * count)
    pixels = torch.randint(0, 256, (count, 3, 64, 64), generator=g, dtype=torch.uint8)
    zeros = torch.zeros(count, 2, dtype=torch.int64)
    return ImageSet(
        pixels * there[:, None, None, None], there, tuple(map(str, range(count))), zeros, zeros,
        torch.zeros(count, dtype=torch.bool),
    )  # fmt: skip


def batch(count: int = 4) -> Batch:
    """The last sample is of Fill50K: no style."""
    seeds = torch.arange(count) * 7919 + 5
    return Batch(
        tasks=("main", "fill50k"), task=torch.tensor([0] * (count - 1) + [1]),
        images={"target": pictures(count, 1), "content": pictures(count, 2),
                "style": pictures(count, 3, [True] * (count - 1) + [False])},
        keys=tuple(map(str, range(count))),
        captions=("a red cat", "two blue dogs", "", "a house")[:count],
        style_names=("Cubism", "Ukiyo_e", None, None)[:count],
        weights=torch.ones(count), sample_seed=seeds,
    )  # fmt: skip


def shaken(method: Distilled) -> Distilled:
    """With every trained weight mattering: much of it starts at zero."""
    g = torch.Generator().manual_seed(9)
    with torch.no_grad():
        for parameter in method.module().parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn(parameter.shape, generator=g) * 0.1)
    return method


@pytest.mark.parametrize("path", PATHS)
def test_only_what_is_beside_the_backbone_is_trained(
    pixart_weights: dict[str, str], path: str
) -> None:
    method = Distilled(config(pixart_weights, content_path=path), 0)
    student = method.module()
    trained = {name for name, p in student.named_parameters() if p.requires_grad}
    assert not any(
        name.startswith("transformer.") and ".processor." not in name for name in trained
    )
    layers = {name.split(".")[2] for name in trained if ".processor." in name}
    assert layers == {"2", "3"}  # the last two of four
    assert any(name.startswith("control.") for name in trained) == (path == "control")
    loss = method.training_loss(batch()).per_sample
    loss.mean().backward()
    for name, parameter in student.named_parameters():
        assert (parameter.grad is not None and parameter.grad.abs().sum() > 0) == (
            name in trained and not _waits(name)
        ), name
    grouped = {id(p) for group in method.param_groups() for p in group["params"]}
    assert grouped == {id(p) for p in student.parameters() if p.requires_grad}


def _waits(name: str) -> bool:
    """Behind a layer that begins at zero nothing has a gradient before its first step."""
    return name.startswith(("control.blocks.", "control.before."))


@pytest.mark.parametrize("path", PATHS)
def test_frozen_weights_stay_as_they_are_and_trained_ones_move(
    pixart_weights: dict[str, str], path: str
) -> None:
    method = Distilled(config(pixart_weights, content_path=path), 0)
    before = {k: v.clone() for k, v in method.module().state_dict().items()}
    optimizer = torch.optim.AdamW(method.param_groups(), lr=1e-2)
    for _ in range(3):
        optimizer.zero_grad()
        method.training_loss(batch()).per_sample.mean().backward()
        optimizer.step()
    moved = {k for k, v in method.module().state_dict().items() if not torch.equal(v, before[k])}
    trained = {n for n, p in method.module().named_parameters() if p.requires_grad}
    assert moved == trained
    assert trained | {"no_text", "style_means"} == set(method.trainable_state())


def gradients(method: Distilled) -> dict[str, torch.Tensor]:
    method.module().train()
    method.training_loss(batch()).per_sample.mean().backward()
    return {n: p.grad for n, p in method.module().named_parameters() if p.grad is not None}


@pytest.mark.parametrize("path", PATHS)
def test_computed_twice_gradients_are_the_same_and_nothing_warns(
    pixart_weights: dict[str, str], path: str, recwarn: Any, caplog: pytest.LogCaptureFixture
) -> None:
    kept = shaken(Distilled(config(pixart_weights, content_path=path), 0))
    again = shaken(Distilled(config(pixart_weights, content_path=path), 0))
    enable_gradient_checkpointing(again.module())
    calls = 0
    attention = again.module().transformer.transformer_blocks[3].attn2.to_q

    def count(*_: Any) -> None:
        nonlocal calls
        calls += 1

    attention.register_forward_hook(count)
    expected, found = gradients(kept), gradients(again)
    assert calls > 2  # of text and style, and both again for the gradients
    assert found.keys() == expected.keys()
    for name, grad in found.items():
        torch.testing.assert_close(grad, expected[name], rtol=1e-4, atol=1e-7)
    assert not [str(w.message) for w in recwarn if "processor" in str(w.message)]
    assert not caplog.records


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("path", PATHS)
def test_compiled_loss_and_gradients_are_the_same(
    pixart_weights: dict[str, str], path: str
) -> None:
    method = shaken(Distilled(config(pixart_weights, content_path=path), 0))
    plain = gradients(method)
    method.module().zero_grad(set_to_none=True)
    told = compile_checked(method, batch(), open_numerics(RunConfig()))
    assert told.startswith("compiled; loss ")
    method.module().zero_grad(set_to_none=True)
    found = gradients(method)
    assert found.keys() == plain.keys()
    for name, grad in found.items():
        torch.testing.assert_close(grad, plain[name], rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("path", PATHS)
def test_with_gates_at_zero_it_is_the_backbone_bit_for_bit(
    pixart_weights: dict[str, str], path: str
) -> None:
    """The branch that reads the content begins at zero as well."""
    method = Distilled(config(pixart_weights, content_path=path), 0)
    student = method.module()
    for name, parameter in student.named_parameters():
        if name.endswith(".gate"):
            parameter.data.zero_()
    plain = PixArtTransformer2DModel.from_pretrained(
        pixart_weights["backbone"], subfolder="transformer"
    ).eval()
    given = batch()
    conditions = method._conditions(given, torch.full((4,), 0.9))
    noisy = torch.randn(4, 4, 16, 16, generator=torch.Generator().manual_seed(1))
    t = torch.tensor([3, 400, 700, 999])
    with torch.no_grad():
        found = student(noisy, t, conditions)
        expected = plain(
            noisy, encoder_hidden_states=conditions.text[0],
            encoder_attention_mask=conditions.text[1], timestep=t,
            added_cond_kwargs={"resolution": None, "aspect_ratio": None}, return_dict=False,
        )[0]  # fmt: skip
    assert torch.equal(found, expected)


def test_the_latents_text_and_prediction_are_the_pipelines(pixart_weights: dict[str, str]) -> None:
    """Without style and guidance, what it makes from noise is what diffusers' pipeline makes."""
    from diffusers import PixArtAlphaPipeline

    method = Distilled(config(pixart_weights, content_path="sdedit"), 0)
    pipeline = PixArtAlphaPipeline.from_pretrained(pixart_weights["backbone"])
    pipeline.set_progress_bar_config(disable=True)
    given = batch()
    how = Stylize(steps=4, guidance=1.0, style_scale=0.0, strength=1.0)
    request = dataclasses.replace(method.request(given, how), captions=("a red cat",) * 4)
    made = method.stylize(request)
    from train.parts.noise import normal, sample_generators

    noise = normal(sample_generators(request.seeds), (4, 16, 16), "cpu")
    expected = pipeline(
        ["a red cat"] * 4, latents=noise, num_inference_steps=4, guidance_scale=1.0,
        use_resolution_binning=False, height=64, width=64, output_type="pt",
        clean_caption=False,
    ).images  # fmt: skip
    torch.testing.assert_close(made, expected * 2 - 1, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("path", "source", "proxy"),
    [
        ("control", "embedding", "content_picture"), ("sdedit", "patches", "content_picture"),
        ("control", "patches", "caption"), ("sdedit", "embedding", "style_mean"),
    ],
)  # fmt: skip
def test_what_it_makes_depends_on_what_it_should(
    pixart_weights: dict[str, str], path: str, source: str, proxy: str
) -> None:
    chosen = config(
        pixart_weights, content_path=path, adapter={"source": source, "content_source": proxy}
    )
    method = shaken(Distilled(chosen, 0))
    method.calibrate(iter([batch()] * 200))
    request = method.request(batch(), Stylize(steps=2, guidance=1.5, strength=0.8))
    made = method.stylize(request)
    assert made.shape == (4, 3, 64, 64)
    assert made.min() >= -1
    assert made.max() <= 1
    assert torch.equal(method.stylize(request), made)

    def differs(**changes: Any) -> torch.Tensor:
        other = method.stylize(dataclasses.replace(request, **changes))
        return (other - made).abs().flatten(1).amax(1) > 1e-4

    assert differs(seeds=request.seeds + 1).all()
    assert differs(content=request.content.flip(0)).all()
    flipped = differs(style=request.style.flip(2))
    assert flipped[:3].all()
    assert not flipped[3]  # which has no style
    none = dataclasses.replace(request.how, style_scale=0.0)
    assert differs(how=none)[:3].all()
    assert differs(captions=("another",) * 4).all()
