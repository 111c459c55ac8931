"""What every training method must do, found by folder: a new one is tested by existing."""

import copy
import dataclasses

import numpy as np
import pytest
import torch

from toolkit.core.config import load_toml, resolve
from toolkit.core.errors import UserError
from toolkit.store.layout import Layout
from toolkit.store.selection import select
from toolkit.stream.batch import Batch, ImageSet
from toolkit.stream.loader import Loader
from train.loop import backward
from train.methods import default_method_config, load_method, method_names, preset_path
from train.numerics import enable_gradient_checkpointing, open_numerics
from train.runs import build_method, default_config
from train.watch import request_for

NAMES = method_names()


def smoke(name: str):
    settings = resolve(default_config(name), load_toml(preset_path(name, "smoke")), "smoke")
    return dataclasses.replace(settings, threads=1)


@pytest.fixture(scope="module")
def batch(sample_data: Layout, tmp_path_factory) -> Batch:
    """Six samples of main and two of fill50k, at the size of the smoke presets."""
    cache = tmp_path_factory.mktemp("cache")
    selections = [
        select("main", "teacher", ["split = 'train'"], sample_data, cache),
        select("fill50k", "fill50k", ["split = 'train'"], sample_data, cache),
    ]
    needs = build_method(smoke(NAMES[0])).needs()
    loader = Loader(selections, {"main": 3, "fill50k": 1}, 8, needs.size, seed=1, workers=0)
    return next(iter(loader))


def part(batch: Batch, index: list[int]) -> Batch:
    """Some samples of a batch, in another order."""

    def take(images: ImageSet) -> ImageSet:
        return ImageSet(
            images.pixels[index], images.present[index], tuple(images.keys[i] for i in index),
            images.original_size[index], images.crop_offset[index], images.flipped[index],
        )  # fmt: skip

    return dataclasses.replace(
        batch,
        task=batch.task[index],
        images={role: take(images) for role, images in batch.images.items()},
        keys=tuple(batch.keys[i] for i in index),
        captions=tuple(batch.captions[i] for i in index),
        style_names=tuple(batch.style_names[i] for i in index),
        weights=batch.weights[index],
        sample_seed=batch.sample_seed[index],
    )


def opened(method):
    """Lets every parameter matter: fresh networks start with layers and gates at or near zero."""
    generator = torch.Generator().manual_seed(9)
    with torch.no_grad():
        for parameter in method.module().parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.02)
    return method


@pytest.mark.parametrize("name", NAMES)
def test_groups_hold_each_trainable_parameter_once(name: str) -> None:
    method = build_method(smoke(name))
    grouped = [id(p) for group in method.param_groups() for p in group["params"]]
    trainable = [id(p) for p in method.module().parameters() if p.requires_grad]
    assert sorted(grouped) == sorted(trainable)
    assert grouped


@pytest.mark.parametrize("name", NAMES)
def test_equal_seeds_build_equal_weights_and_leave_the_global_generator(name: str) -> None:
    before = torch.get_rng_state()
    first, second = (build_method(smoke(name)).trainable_state() for _ in range(2))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(first[key], second[key]) for key in first)
    other = build_method(dataclasses.replace(smoke(name), seed=5)).trainable_state()
    assert any(not torch.equal(first[key], other[key]) for key in first)


@pytest.mark.parametrize("name", NAMES)
def test_a_samples_loss_does_not_depend_on_the_batch(name: str, batch: Batch) -> None:
    method = opened(build_method(smoke(name)))
    with torch.no_grad():
        whole = method.training_loss(batch).per_sample
        order = [5, 0, 7, 2]
        some = method.training_loss(part(batch, order)).per_sample
        alone = torch.cat([method.training_loss(part(batch, [i])).per_sample for i in order])
    assert whole.shape == (len(batch),)
    torch.testing.assert_close(some, whole[order], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(alone, whole[order], rtol=1e-4, atol=1e-5)
    assert len(set(whole.tolist())) == len(batch)


@pytest.mark.parametrize("name", NAMES)
def test_accumulated_gradients_are_those_of_the_batch(name: str, batch: Batch) -> None:
    """Two of eight samples weigh more; parts of three and two samples, of both tasks."""
    uneven = dataclasses.replace(batch, weights=torch.tensor([1.0, 3, 1, 1, 2, 1, 1, 1]))
    found = []
    for parts, recompute in ((1, False), (3, False), (8, False), (1, True)):
        method = opened(build_method(smoke(name)))
        method.module().train()
        if recompute:
            enable_gradient_checkpointing(method.module())
        losses = backward(method, uneven, open_numerics(smoke(name)), parts)
        grads = {n: p.grad for n, p in method.module().named_parameters() if p.grad is not None}
        found.append((losses, grads))
    (whole, expected), *others = found
    largest = max(float(g.abs().max()) for g in expected.values())
    for losses, grads in others:
        torch.testing.assert_close(losses, whole, rtol=1e-4, atol=1e-5)
        assert grads.keys() == expected.keys()
        for key, grad in grads.items():
            torch.testing.assert_close(grad, expected[key], rtol=1e-3, atol=1e-5 * largest)


@pytest.mark.parametrize("name", NAMES)
def test_overfits_one_batch(name: str, batch: Batch) -> None:
    method = build_method(smoke(name))
    optimizer = torch.optim.AdamW(method.param_groups(), lr=1e-3)
    few = part(batch, [0, 1, 2, 3])
    losses = []
    for _ in range(30):
        loss = method.training_loss(few).per_sample.mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] / 2


@pytest.mark.parametrize("name", NAMES)
def test_frozen_weights_stay_and_trained_ones_move(name: str, batch: Batch) -> None:
    method = build_method(smoke(name))
    before = copy.deepcopy(method.module().state_dict())
    optimizer = torch.optim.SGD(method.param_groups(), lr=1e-2)
    for _ in range(2):  # zero-initialised layers hold gradients back in the first step
        optimizer.zero_grad()
        method.training_loss(batch).per_sample.mean().backward()
        optimizer.step()
    trained = {n for n, p in method.module().named_parameters() if p.requires_grad}
    for key, value in method.module().state_dict().items():
        if key in trained and value.ndim > 1:  # a key bias, for one, has no gradient at all
            assert not torch.equal(value, before[key]), f"{key} was never trained"
        elif key not in trained and key.split(".")[0] != "adapter":
            assert torch.equal(value, before[key]), f"{key} is frozen and moved"


@pytest.mark.parametrize("name", NAMES)
def test_state_round_trip_and_refusal(name: str, batch: Batch) -> None:
    method = opened(build_method(smoke(name)))
    state = {key: value.clone() for key, value in method.trainable_state().items()}
    other = build_method(dataclasses.replace(smoke(name), seed=8))
    other.load_trainable_state(state)
    with torch.no_grad():
        a, b = (m.training_loss(batch).per_sample for m in (method, other))
    assert torch.equal(a, b)
    first = next(iter(state))
    with pytest.raises(UserError, match="another network"):
        other.load_trainable_state({k: v for k, v in state.items() if k != first})
    with pytest.raises(UserError, match="another network"):
        other.load_trainable_state({**state, first: state[first][None]})


@pytest.mark.parametrize("name", NAMES)
def test_stylize_is_finite_seeded_and_independent_of_the_batch(name: str, batch: Batch) -> None:
    method = opened(build_method(smoke(name)))
    method.module().eval()
    made = method.stylize(request_for(batch, steps=3))
    size = method.needs().size
    assert made.shape == (len(batch), 3, size, size)
    assert torch.isfinite(made).all()
    assert made.abs().max() <= 1
    assert torch.equal(made, method.stylize(request_for(batch, steps=3)))
    some = method.stylize(request_for(part(batch, [6, 1]), steps=3))
    torch.testing.assert_close(some, made[[6, 1]], rtol=1e-3, atol=1e-4)
    reseeded = dataclasses.replace(batch, sample_seed=batch.sample_seed + 1)
    assert not np.allclose(method.stylize(request_for(reseeded, steps=3)), made)


@pytest.mark.parametrize("name", NAMES)
def test_folder_has_readme_smoke_preset_and_docstrings(name: str) -> None:
    folder = preset_path(name, "smoke").parent.parent
    assert (folder / "README.md").read_text("utf-8").strip()
    assert load_method(name).Method.__doc__
    assert type(default_method_config(name)).__doc__
