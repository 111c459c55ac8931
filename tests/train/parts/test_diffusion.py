"""The forward process against diffusers and against Bayes' rule; the variational bound against the
entropy of a normal distribution, which it is where the network knows everything."""

import math

import numpy as np
import pytest
import torch
from diffusers import DDPMScheduler, DPMSolverMultistepScheduler

from train.methods.schedule import diffusion_of
from train.parts.diffusion import Diffusion, discretized_log_likelihood

PIXART = dict(
    DPMSolverMultistepScheduler(beta_start=1e-4, beta_end=0.02, beta_schedule="linear").config
)


def diffusion(**changes: object) -> Diffusion:
    return diffusion_of({**PIXART, **changes})


def samples(count: int = 6) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(0)
    data, noise = (torch.randn(count, 4, 3, 3, generator=g) for _ in range(2))
    return data, noise, torch.tensor([0, 1, 10, 500, 998, 999])[:count]


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
def test_the_forward_process_is_diffusers(prediction: str) -> None:
    config = {**PIXART, "prediction_type": prediction, "_use_default_values": []}
    ours, theirs = diffusion_of(config), DDPMScheduler.from_config(config)
    data, noise, t = samples()
    x = ours.noised(data, noise, t)
    torch.testing.assert_close(x, theirs.add_noise(data, noise, t))
    target = ours.target(data, noise, t)
    known = {"epsilon": noise, "sample": data, "v_prediction": theirs.get_velocity(data, noise, t)}
    torch.testing.assert_close(target, known[prediction])
    found = ours.data_of(target, x, t)
    torch.testing.assert_close(found[:4], data[:4], atol=1e-4, rtol=1e-4)
    # where there is next to no signal, a little rounding is divided by it
    torch.testing.assert_close(found, data, atol=2e-3, rtol=2e-3)
    assert ours.num_steps == 1000


def test_nothing_of_the_checkpoints_schedule_is_chosen_here() -> None:
    other = diffusion(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012)
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
    torch.testing.assert_close(other.signal**2, torch.cumprod(1 - betas, 0).float())


@pytest.mark.parametrize("step", [1, 30, 700])
def test_the_posterior_is_that_of_bayes_rule(step: int) -> None:
    """q(x_{t−1} | x_t, x_0), its density multiplied out on a grid."""
    ours, betas = diffusion(), np.linspace(1e-4, 0.02, 1000)
    before, beta = np.prod(1 - betas[:step]), betas[step]
    x0, xt = 0.7, -0.4
    grid = np.linspace(-8, 8, 400_001)
    log = -((xt - math.sqrt(1 - beta) * grid) ** 2) / (2 * beta)
    log -= (grid - math.sqrt(before) * x0) ** 2 / (2 * (1 - before))
    weights = np.exp(log - log.max())
    weights /= weights.sum()
    mean = (weights * grid).sum()
    variance = (weights * (grid - mean) ** 2).sum()
    t = torch.tensor([step])
    found = ours._posterior_mean(torch.tensor([x0]), torch.tensor([xt]), t)
    assert found.item() == pytest.approx(mean, abs=1e-4)
    assert ours.least[step].exp().item() == pytest.approx(variance, rel=1e-3)


def test_the_bound_is_the_entropy_where_all_is_known() -> None:
    """For normal data each reverse step is normal, so a network that knows its mean and variance
    makes the bound tight: summed over all steps it is the entropy of the data, in bins 2/255 wide,
    less nothing but what the last step keeps of the data."""
    ours, s = diffusion(), 0.2
    t = torch.arange(1000).repeat(3000)
    g = torch.Generator().manual_seed(1)
    data, noise = (torch.randn(len(t), 1, generator=g) for _ in range(2))
    x = ours.noised(data * s, noise, t)
    kept = ours.signal.double() ** 2
    of_all = kept * s**2 + 1 - kept  # variance of x_t
    alpha, before = kept[1:] / kept[:-1], of_all[:-1]
    variance = before - alpha * before**2 / of_all[1:]  # of x_{t−1} given x_t
    variance = torch.cat([s**2 * (1 - kept[:1]) / of_all[:1], variance])
    share = ((variance.log() - ours.least) / (ours.most - ours.least)).float()[t, None]
    mean = (ours.signal * s**2 / of_all).float()[t, None] * x  # of x_0 given x_t
    predicted = (x - ours.signal[t, None] * mean) / ours.noise[t, None]
    bound = ours.variational_bound(predicted, 2 * share - 1, data * s, x, t)
    total = bound.double().mean().item() * 1000
    entropy = 0.5 * math.log2(2 * math.pi * math.e * s**2) + math.log2(255 / 2)
    assert total == pytest.approx(entropy, rel=0.01)


def test_a_divergence_is_that_of_two_normals() -> None:
    """With the posterior's own variance and noise that is off by one: (Δμ)²/2σ², in bits."""
    ours = diffusion()
    data, noise, _ = samples(1)
    for step in (1, 40, 900):
        t = torch.tensor([step])
        x = ours.noised(data, noise, t)
        found = ours.variational_bound(noise + 1, torch.full_like(noise, -1.0), data, x, t)
        betas = torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)
        kept = torch.cumprod(1 - betas, 0)
        off = betas[step] / (1 - betas[step]).sqrt() / (1 - kept[step]).sqrt()  # of the mean
        variance = betas[step] * (1 - kept[step - 1]) / (1 - kept[step])
        assert found.item() == pytest.approx((off**2 / variance / 2 / math.log(2)).item(), rel=1e-2)


def test_the_bound_trains_the_variance_only() -> None:
    ours = diffusion()
    data, noise, t = samples()
    predicted, variance = (noise + 0.1).requires_grad_(), torch.zeros_like(noise).requires_grad_()
    x = ours.noised(data, noise, t)
    ours.variational_bound(predicted, variance, data, x, t).sum().backward()
    assert predicted.grad is None
    assert variance.grad is not None
    assert (variance.grad.flatten(1).abs().sum(1) > 0).all()


def test_the_bins_of_a_normal_are_all_of_it() -> None:
    model = torch.distributions.Normal(torch.tensor(0.3), torch.tensor(0.7))
    bins = torch.linspace(-1, 1, 256)
    total = discretized_log_likelihood(bins, model).exp().sum().item()
    assert total == pytest.approx(1, abs=1e-5)
