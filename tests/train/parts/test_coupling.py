"""Couplings of noise and data, against brute force, closed forms and torchcfm."""

import itertools
from typing import Any

import pytest
import torch

from train.parts.coupling import couple, transport_cost
from train.parts.flow import interpolate


@pytest.fixture
def torchcfm(peer: Any) -> Any:
    return peer("flow", "torchcfm.conditional_flow_matching")


def points(count: int, seed: int, shift: float = 0.0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, 2, 3, generator=generator) + shift


def cost_of(noise: torch.Tensor, data: torch.Tensor) -> float:
    return float((noise - data).square().sum())


@pytest.mark.parametrize("seed", range(5))
def test_the_optimal_permutation_is_the_best_of_all(seed: int) -> None:
    noise, data = points(6, seed), points(6, seed + 100, shift=1.0)
    pairs = couple("ot_hungarian", noise, data, [0] * 6, 0)
    assert sorted(pairs.noise.tolist()) == list(range(6))
    assert pairs.data.tolist() == list(range(6))
    best = min(cost_of(noise[list(order)], data) for order in itertools.permutations(range(6)))
    assert cost_of(noise[pairs.noise], data) == pytest.approx(best, rel=1e-6)
    assert best < cost_of(noise, data)


def test_in_one_dimension_the_order_is_kept() -> None:
    """Brenier's map between distributions on a line is the rising one."""
    noise, data = torch.randn(50, 1), torch.rand(50, 1) * 9
    pairs = couple("ot_hungarian", noise, data, [0] * 50, 0)
    assert torch.equal(noise[pairs.noise].argsort(dim=0), data.argsort(dim=0))


def test_inside_labels_each_label_keeps_its_own_noise() -> None:
    noise, data = points(7, 1), points(7, 2)
    labels = [0, 1, 0, 2, 1, 1, 0]
    pairs = couple("c2ot", noise, data, labels, 0)
    assert [labels[n] for n in pairs.noise.tolist()] == labels
    for label in set(labels):
        mine = [n for n, other in enumerate(labels) if other == label]
        best = min(
            cost_of(noise[list(order)], data[mine]) for order in itertools.permutations(mine)
        )
        chosen = pairs.noise[mine]
        assert cost_of(noise[chosen], data[mine]) == pytest.approx(best, rel=1e-6)


def test_transport_over_all_labels_skews_the_noise_of_a_label_and_c2ot_does_not() -> None:
    """Two labels whose data lie to the left and to the right: plain transport gives each the noise
    of its own side, so that its mean is not 0 as it is when pictures are made."""
    skew = {}
    for kind in ("ot_hungarian", "c2ot"):
        seen = []
        for seed in range(40):
            noise = torch.randn(32, 1, generator=torch.Generator().manual_seed(seed))
            labels = [0, 1] * 16
            data = torch.tensor(labels)[:, None] * 10.0 - 5
            pairs = couple(kind, noise, data, labels, 0)
            seen.append(noise[pairs.noise][::2].mean())
        skew[kind] = abs(float(torch.stack(seen).mean()))
    assert skew["ot_hungarian"] > 0.6
    assert skew["c2ot"] < 0.1


def test_independent_pairs_stay_as_they_are() -> None:
    pairs = couple("independent", points(4, 1), points(4, 2), [0] * 4, 0)
    assert pairs.noise.tolist() == pairs.data.tolist() == [0, 1, 2, 3]


def test_transport_lowers_the_variance_of_the_regression_target() -> None:
    """At equal batch, in the dimensions where minibatch transport has something to choose."""
    spread = {}
    for kind in ("independent", "ot_hungarian"):
        targets = []
        for seed in range(30):
            noise, data = points(64, seed), points(64, seed + 1000, shift=2.0)
            pairs = couple(kind, noise, data, [0] * 64, 0)
            targets.append(data[pairs.data] - noise[pairs.noise])
        spread[kind] = float(torch.cat(targets).var(dim=0).mean())
    assert spread["independent"] == pytest.approx(2, rel=0.05)  # 1 of the noise, 1 of the data
    assert spread["ot_hungarian"] < 0.6 * spread["independent"]


def test_the_exact_plan_is_that_of_torchcfm_and_drawn_with_replacement(torchcfm: Any) -> None:
    from torchcfm.optimal_transport import OTPlanSampler

    noise, data = points(8, 3), points(8, 4, shift=0.5)
    plan = OTPlanSampler("exact").get_map(noise, data)
    chosen = couple("ot_hungarian", noise, data, [0] * 8, 0).noise
    expected = torch.zeros(8, 8, dtype=torch.double)
    expected[chosen, torch.arange(8)] = 1 / 8
    torch.testing.assert_close(torch.as_tensor(plan), expected)
    torch.testing.assert_close(
        transport_cost(noise, data), torch.cdist(data.flatten(1), noise.flatten(1)).double() ** 2,
        rtol=1e-4, atol=1e-4,
    )  # fmt: skip
    drawn = [couple("ot_exact", noise, data, [0] * 8, seed) for seed in range(200)]
    for pairs in drawn:
        assert torch.equal(chosen[pairs.data], pairs.noise)
    counts = torch.stack([torch.bincount(pairs.data, minlength=8) for pairs in drawn]).float()
    assert (counts > 1).any()
    assert counts.mean(0).sub(1).abs().max() < 0.25  # uniform: standard error 0.07


def test_paths_are_those_of_torchcfm(torchcfm: Any) -> None:
    noise, data, t = points(5, 5), points(5, 6), torch.rand(5)
    _, x_t, velocity = torchcfm.ConditionalFlowMatcher(
        sigma=0.0
    ).sample_location_and_conditional_flow(noise, data, t)
    torch.testing.assert_close(interpolate(data, noise, t), x_t)
    torch.testing.assert_close(data - noise, velocity)
