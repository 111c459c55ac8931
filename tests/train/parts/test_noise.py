"""Noise belongs to the sample: batch layout and the global generator do not matter."""

import torch
from scipy import stats

from train.parts.noise import normal, sample_generators, uniform

SEEDS = torch.tensor([3, 2**62, 7, 11])


def draws(seeds: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    generators = sample_generators(seeds)
    return uniform(generators, "cpu"), normal(generators, (2, 3), "cpu")


def test_independent_of_the_batch_layout() -> None:
    t, noise = draws(SEEDS)
    for i in range(4):
        one_t, one_noise = draws(SEEDS[i : i + 1])
        assert torch.equal(one_t[0], t[i])
        assert torch.equal(one_noise[0], noise[i])


def test_global_generator_is_not_touched() -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    draws(SEEDS)
    assert torch.equal(torch.get_rng_state(), before)


def test_neighbouring_seeds_give_independent_draws() -> None:
    t, noise = draws(torch.arange(4000))
    assert stats.kstest(t.numpy(), "uniform").pvalue > 1e-3
    assert stats.kstest(noise.flatten().numpy(), "norm").pvalue > 1e-3
    assert abs(torch.corrcoef(torch.stack([t[:-1], t[1:]]))[0, 1]) < 0.05
