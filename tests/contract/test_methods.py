"""What every training method must do, found by folder: a new one is tested by existing."""

import copy
import dataclasses
from typing import Any

import numpy as np
import pytest
import torch

from toolkit.core.errors import UserError
from toolkit.store.layout import Layout
from toolkit.stream.batch import Batch
from toolkit.stream.loader import Loader
from toolkit.stream.mix import parse_mix
from train.accumulate import backward
from train.config import RunConfig
from train.data import facts_of_data, open_data
from train.methods import (
    default_method_config,
    load_method,
    method_names,
    preset_path,
    stylize_defaults,
)
from train.methods.api import Method
from train.methods.needs import Needs
from train.numerics import enable_gradient_checkpointing, open_numerics
from train.runs import build_method, needs_of, settled
from train.settings import fresh_config


@dataclasses.dataclass(frozen=True)
class Case:
    """A method as its smoke preset has it on the sample data. batch: eight samples of the preset's
    mix, with what trains the method and what it makes pictures from."""

    settings: RunConfig
    batch: Batch

    @property
    def needs(self) -> Needs:
        return needs_of(self.settings)

    def build(self, seed: int = 0) -> Method:
        method: Method = build_method(dataclasses.replace(self.settings, seed=seed))
        return method

    def how(self, steps: int) -> Any:
        how = dataclasses.replace(stylize_defaults(self.settings.method), steps=steps)
        if hasattr(how, "guidance"):  # it makes differences of rounding larger
            how = dataclasses.replace(how, guidance=min(how.guidance, 2.0))
        styles = getattr(self.settings.method_config, "styles", ())
        return dataclasses.replace(how, target_style=styles[1]) if len(styles) > 1 else how


@pytest.fixture(scope="module", params=method_names())
def case(request: pytest.FixtureRequest, encoded_data: Layout) -> Case:
    settings = fresh_config(request.param, "smoke", {"threads": "1"})
    needs = needs_of(settings)
    data = open_data(settings.data, needs, encoded_data)
    settings = settled(settings, facts_of_data(data))
    needs = needs_of(settings)
    roles = tuple(dict.fromkeys((*needs.roles, *needs.inputs)))
    loader = Loader(
        data.selections, parse_mix(settings.data.mix), 8, needs.size, seed=1, workers=0,
        roles=roles, features=data.features,
    )  # fmt: skip
    return Case(settings, next(iter(loader)))


def part(batch: Batch, index: list[int]) -> Batch:
    """Some samples of a batch, in another order."""
    return batch.take(torch.tensor(index))


def opened(method):
    """Lets every parameter matter: fresh networks start with layers and gates at or near zero."""
    generator = torch.Generator().manual_seed(9)
    with torch.no_grad():
        for parameter in method.module().parameters():
            if parameter.requires_grad:
                parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.02)
    return method


def test_groups_hold_each_trainable_parameter_once(case: Case) -> None:
    method = case.build()
    grouped = [id(p) for group in method.param_groups() for p in group["params"]]
    trainable = [id(p) for p in method.module().parameters() if p.requires_grad]
    assert sorted(grouped) == sorted(trainable)
    assert grouped


def test_equal_seeds_build_equal_weights_and_leave_the_global_generator(case: Case) -> None:
    before = torch.get_rng_state()
    first, second = (case.build().trainable_state() for _ in range(2))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(first[key], second[key]) for key in first)
    other = case.build(5).trainable_state()
    assert any(not torch.equal(first[key], other[key]) for key in first)


def test_a_samples_loss_does_not_depend_on_the_batch(case: Case) -> None:
    method = opened(case.build())
    with torch.no_grad():
        whole = method.training_loss(case.batch).per_sample
        order = [5, 0, 7, 2]
        some = method.training_loss(part(case.batch, order)).per_sample
        alone = torch.cat([method.training_loss(part(case.batch, [i])).per_sample for i in order])
    assert whole.shape == (len(case.batch),)
    torch.testing.assert_close(some, whole[order], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(alone, whole[order], rtol=1e-4, atol=1e-5)
    assert len(set(whole.tolist())) == len(case.batch)


def test_accumulated_gradients_are_those_of_the_batch(case: Case) -> None:
    """Two of eight samples weigh more; parts of three and two samples, of both tasks."""
    uneven = dataclasses.replace(case.batch, weights=torch.tensor([1.0, 3, 1, 1, 2, 1, 1, 1]))
    found = []
    for parts, recompute in ((1, False), (3, False), (8, False), (1, True)):
        method = opened(case.build())
        method.module().train()
        if recompute:
            enable_gradient_checkpointing(method.module())
        losses = backward(method, uneven, open_numerics(case.settings), parts)
        grads = {n: p.grad for n, p in method.module().named_parameters() if p.grad is not None}
        found.append((losses, grads))
    (whole, expected), *others = found
    largest = max(float(g.abs().max()) for g in expected.values())
    for losses, grads in others:
        torch.testing.assert_close(losses, whole, rtol=1e-4, atol=1e-5)
        assert grads.keys() == expected.keys()
        for key, grad in grads.items():
            torch.testing.assert_close(grad, expected[key], rtol=1e-3, atol=1e-5 * largest)


def test_each_sample_uses_each_trained_weight(case: Case) -> None:
    """Ranks exchange gradients weight by weight, so what a rank's samples are must not decide which
    ones it has."""
    method = opened(case.build())
    for index in range(len(case.batch)):
        method.module().zero_grad()
        backward(method, part(case.batch, [index]), open_numerics(case.settings))
        unused = [
            name
            for name, p in method.module().named_parameters()
            if p.requires_grad and p.grad is None
        ]
        assert not unused, case.batch.keys[index]


def test_overfits_one_batch(case: Case) -> None:
    method = case.build()
    optimizer = torch.optim.AdamW(method.param_groups(), lr=1e-3)
    few = part(case.batch, [0, 1, 2, 3])
    losses = []
    for _ in range(30):
        loss = method.training_loss(few).per_sample.mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    # beside a frozen backbone of random weights little can be learned; noise and times are fixed
    is_whole = all(p.requires_grad for p in method.module().parameters())
    assert losses[-1] < losses[0] * (0.5 if is_whole else 0.98)


def test_frozen_weights_stay_and_trained_ones_move(case: Case) -> None:
    method = opened(case.build())
    before = copy.deepcopy(method.module().state_dict())
    optimizer = torch.optim.SGD(method.param_groups(), lr=1e-2)
    for _ in range(2):
        optimizer.zero_grad()
        method.training_loss(case.batch).per_sample.mean().backward()
        optimizer.step()
    trained = {n for n, p in method.module().named_parameters() if p.requires_grad}
    for key, value in method.module().state_dict().items():
        if key in trained and value.ndim > 1:  # a key bias, for one, has no gradient at all
            assert not torch.equal(value, before[key]), f"{key} was never trained"
        elif key not in trained and key.split(".")[0] != "adapter":
            assert torch.equal(value, before[key]), f"{key} is frozen and moved"


def test_state_round_trip_and_refusal(case: Case) -> None:
    method = opened(case.build())
    state = {key: value.clone() for key, value in method.trainable_state().items()}
    other = case.build(8)
    other.load_trainable_state(state)
    with torch.no_grad():
        a, b = (m.training_loss(case.batch).per_sample for m in (method, other))
    assert torch.equal(a, b)
    first = next(iter(state))
    with pytest.raises(UserError, match="another network"):
        other.load_trainable_state({k: v for k, v in state.items() if k != first})
    with pytest.raises(UserError, match="another network"):
        other.load_trainable_state({**state, first: state[first][None]})


def test_stylize_is_finite_seeded_and_independent_of_the_batch(case: Case) -> None:
    method, how = opened(case.build()), case.how(3)
    method.module().eval()
    made = method.stylize(method.request(case.batch, how))
    assert made.shape == (len(case.batch), 3, case.needs.size, case.needs.size)
    assert torch.isfinite(made).all()
    assert made.abs().max() <= 1
    assert torch.equal(made, method.stylize(method.request(case.batch, how)))
    some = method.stylize(method.request(part(case.batch, [6, 1]), how))
    torch.testing.assert_close(some, made[[6, 1]], rtol=1e-3, atol=1e-4)
    if case.needs.inputs != ("target",):  # otherwise nothing about it is random
        reseeded = dataclasses.replace(case.batch, sample_seed=case.batch.sample_seed + 1)
        assert not np.allclose(method.stylize(method.request(reseeded, how)), made)


def test_columns_have_a_picture_for_each_sample(case: Case) -> None:
    columns = case.build().columns(case.batch, case.how(1))
    assert len(columns) > 1
    for pictures in columns.values():
        assert pictures.shape == (len(case.batch), 3, case.needs.size, case.needs.size)
        assert pictures.abs().max() <= 1


def test_a_weight_of_another_network_is_refused(case: Case) -> None:
    state = case.build().trainable_state()
    with pytest.raises(UserError, match="another network: extra does not match"):
        case.build().load_trainable_state({**state, "extra": torch.zeros(1)})


def test_folder_has_readme_smoke_preset_and_docstrings(case: Case) -> None:
    name = case.settings.method
    folder = preset_path(name, "smoke").parent.parent
    assert (folder / "README.md").read_text("utf-8").strip()
    assert load_method(name).Method.__doc__
    assert type(default_method_config(name)).__doc__
    assert type(stylize_defaults(name)).__doc__
