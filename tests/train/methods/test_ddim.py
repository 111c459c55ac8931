"""Deterministic steps against the flow of a normal distribution, which has a closed form."""

from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler, DPMSolverMultistepScheduler

from train.methods.ddim import invert, noised, steps_of, walk

SPREAD = 0.6


def schedule(prediction: str = "epsilon") -> dict[str, Any]:
    """As a checkpoint of another scheduler has it."""
    return dict(
        DPMSolverMultistepScheduler(
            beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", steps_offset=1,
            prediction_type=prediction,
        ).config
    )  # fmt: skip


def best(prediction: str) -> Any:
    """What the ideal network predicts of data that are normal with deviation SPREAD."""
    kept = DDIMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear"
    ).alphas_cumprod.double()

    def predict(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        a = kept[t].reshape(-1, 1, 1, 1)
        variance = a * SPREAD**2 + 1 - a
        data, noise = a.sqrt() * SPREAD**2 * x / variance, (1 - a).sqrt() * x / variance
        return noise if prediction == "epsilon" else a.sqrt() * noise - (1 - a).sqrt() * data

    return predict


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("first", [0, 250])
def test_inversion_scales_by_the_ratio_of_deviations(prediction: str, first: int) -> None:
    """x_t = x_0·σ_t/σ_0: the probability flow of a normal distribution (Song et al. 2021)."""
    config, steps = schedule(prediction), 500
    x = torch.randn(3, 4, 2, 2, dtype=torch.float64) * SPREAD
    found = invert(best(prediction), config, x, steps, first)
    t = int(steps_of(config, steps, first, "cpu")[0])
    a = float(DDIMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
              .alphas_cumprod[t])  # fmt: skip
    expected = x * ((a * SPREAD**2 + 1 - a) ** 0.5 / SPREAD)
    torch.testing.assert_close(found, expected, rtol=0.02, atol=1e-3)
    back = walk(best(prediction), config, found, steps, first)
    torch.testing.assert_close(back, x, rtol=0.01, atol=1e-3)


def test_noised_latents_have_the_noise_of_their_step() -> None:
    config = schedule()
    x, noise = torch.randn(2, 4, 2, 2), torch.randn(2, 4, 2, 2)
    t = int(steps_of(config, 10, 3, "cpu")[0])
    scheduler = DDIMScheduler(beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear")
    expected = scheduler.add_noise(x, noise, torch.tensor([t]))
    assert t == 601
    torch.testing.assert_close(noised(config, x, noise, 10, 3), expected)
