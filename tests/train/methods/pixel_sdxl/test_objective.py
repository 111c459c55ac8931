"""Times, losses and sampling against closed forms."""

import math

import numpy as np
import pytest
import torch
from scipy import stats

from train.methods.pixel_sdxl.objective import draw_times, mixed, picture_loss
from train.methods.pixel_sdxl.sampling import denoise, guided, times_of
from train.parts.noise import sample_generators

CPU = torch.device("cpu")


def pictures(count: int, seed: int = 0) -> torch.Tensor:
    return torch.rand(count, 3, 4, 6, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def test_times_follow_their_laws() -> None:
    generators = sample_generators(torch.arange(4000))
    logit = torch.logit(draw_times(generators, "logit_normal", CPU).double()).numpy()
    assert stats.kstest(logit, "norm", args=(0.8, 0.8)).pvalue > 1e-3
    uniform = draw_times(sample_generators(torch.arange(4000)), "uniform", CPU).numpy()
    assert stats.kstest(uniform, "uniform").pvalue > 1e-3


def test_a_mixture_goes_from_the_picture_to_the_noise() -> None:
    x0, noise = pictures(3), pictures(3, 1)
    found = mixed(x0, noise, torch.tensor([0.0, 1.0, 0.25]))
    assert torch.equal(found[0], x0[0])
    assert torch.equal(found[1], noise[1])
    torch.testing.assert_close(found[2], 0.75 * x0[2] + 0.25 * noise[2])


def test_the_velocity_loss_is_that_of_velocities() -> None:
    """Both velocities are written out; a perfect prediction costs nothing."""
    x0, noise, found = pictures(5), pictures(5, 1), pictures(5, 2)
    t = torch.tensor([0.01, 0.05, 0.3, 0.8, 1.0])
    x = mixed(x0, noise, t)
    for number, time in enumerate(t.tolist()):
        divisor = max(time, 0.05)
        own, wanted = (x - found)[number] / divisor, (x - x0)[number] / divisor
        expected = torch.nn.functional.mse_loss(own, wanted)
        loss = picture_loss(found, x0, t, "velocity")[number]
        torch.testing.assert_close(loss, expected, rtol=1e-4, atol=1e-6)
    plain = picture_loss(found, x0, t, "x0")
    torch.testing.assert_close(plain, (found - x0).square().mean((1, 2, 3)))
    assert picture_loss(x0, x0, t, "velocity").tolist() == [0.0] * 5


@pytest.mark.parametrize("schedule", ["linear", "flow_shift"])
@pytest.mark.parametrize("steps", [1, 2, 30])
def test_a_perfect_denoiser_reaches_the_picture(schedule: str, steps: int) -> None:
    x0, noise = pictures(2), pictures(2, 1)
    seen = []

    def predict(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        seen.append(float(t[0]))
        torch.testing.assert_close(x, mixed(x0, noise, t), rtol=1e-4, atol=1e-4)
        return x0

    times = times_of(steps, schedule, 3.0)  # type: ignore[arg-type]
    torch.testing.assert_close(denoise(predict, noise, times), x0)
    assert seen[0] == 1
    assert len(seen) == steps


def test_of_normal_pictures_it_draws_normal_pictures() -> None:
    """The best prediction of N(m, s²) from x_t is known; Euler's steps bring unit noise to it."""
    mean, deviation = 0.3, 0.5

    def predict(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        time = float(t[0])
        variance = (1 - time) ** 2 * deviation**2 + time**2
        gain = (1 - time) * deviation**2 / variance
        return mean + gain * (x - (1 - time) * mean)

    noise = torch.randn(20000, 1, 1, 1, generator=torch.Generator().manual_seed(0))
    made = denoise(predict, noise, times_of(400, "linear", 1.0)).flatten().double().numpy()
    assert abs(made.mean() - mean) < 0.01
    assert abs(made.std() - deviation) < 0.02


def test_schedules() -> None:
    linear = times_of(8, "linear", 3.0)
    assert linear.tolist() == [1 - k / 8 for k in range(9)]
    assert torch.equal(times_of(8, "flow_shift", 1.0), linear)
    shifted = times_of(8, "flow_shift", 3.0)
    for time, plain in zip(shifted.tolist(), linear.tolist(), strict=True):
        logit = math.inf if plain == 1 else math.log(plain / (1 - plain)) if plain else -math.inf
        own = math.inf if time == 1 else math.log(time / (1 - time)) if time else -math.inf
        assert own == pytest.approx(logit + math.log(3))  # a shift of log k in the logit
    half = times_of(4, "linear", 1.0, first=0.6)
    np.testing.assert_allclose(half, [0.6, 0.45, 0.3, 0.15, 0])


def test_guidance_leads_away_from_the_other() -> None:
    one, other = pictures(2), pictures(2, 1)
    assert torch.equal(guided(one, other, 0.0), other)
    torch.testing.assert_close(guided(one, other, 1.0), one)
    torch.testing.assert_close(guided(one, other, 3.0), other + 3 * (one - other))
